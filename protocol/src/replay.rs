//! Freshness of documents that make something happen when they arrive: announcements, bids,
//! reports. What is kept for good (specs, awards, receipts) needs no window: its handling is
//! idempotent by job and attempt.

use std::{collections::BTreeMap, time::Duration};

use crate::{PeerId, UnixMillis, limits, signed::Header};

/// How far an author's clock may differ from ours: the allowance of TLS and Kerberos deployments
/// is minutes; two cover machines that keep time at all.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(120);

/// Why a document is not fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    #[error("issued {} s away from this peer's clock; set the clocks", .0.as_secs())]
    Clock(Duration),
    #[error("seen before")]
    Replayed,
}

/// What each author has said.
#[derive(Debug, Default)]
pub struct ReplayWindow {
    authors: BTreeMap<PeerId, Seen>,
}

#[derive(Debug)]
struct Seen {
    numbers: Window,
    at: UnixMillis,
}

/// The highest number seen, from 1 on, and which of the 128 below it were.
#[derive(Debug, Default)]
pub(crate) struct Window {
    highest: u64,
    below: u128,
}

impl ReplayWindow {
    /// Takes note of a document; an error when it is not fresh.
    pub fn admit(&mut self, header: &Header, now: UnixMillis) -> Result<(), Stale> {
        let distance = header.issued_at.distance(now);
        if distance > CLOCK_TOLERANCE {
            return Err(Stale::Clock(distance));
        }
        let Some(seen) = self.authors.get_mut(&header.author) else {
            self.make_room(now);
            let numbers = Window { highest: header.sequence, below: 0 };
            self.authors.insert(header.author, Seen { numbers, at: now });
            return Ok(());
        };
        seen.numbers.admit(header.sequence)?;
        seen.at = now;
        Ok(())
    }

    /// Forgets an author whose documents would fail the clock check by now, else the one that
    /// has been quiet the longest.
    fn make_room(&mut self, now: UnixMillis) {
        if self.authors.len() < limits::REPLAY_AUTHORS {
            return;
        }
        self.authors.retain(|_, seen| seen.at.distance(now) <= CLOCK_TOLERANCE * 2);
        if self.authors.len() >= limits::REPLAY_AUTHORS
            && let Some(quietest) = self.authors.iter().min_by_key(|(_, seen)| seen.at)
        {
            let quietest = *quietest.0;
            self.authors.remove(&quietest);
        }
    }
}

impl Window {
    const SIZE: u64 = 128;

    /// Takes note of a number; an error when it was seen, or is too far behind to tell.
    pub(crate) fn admit(&mut self, sequence: u64) -> Result<(), Stale> {
        if sequence > self.highest {
            let ahead = sequence - self.highest;
            self.below = match ahead {
                1..Self::SIZE => (self.below << ahead) | (1 << (ahead - 1)),
                Self::SIZE => 1 << (Self::SIZE - 1),
                _ => 0,
            };
            self.highest = sequence;
            return Ok(());
        }
        let behind = self.highest - sequence;
        if behind == 0 || behind > Self::SIZE || self.below >> (behind - 1) & 1 == 1 {
            return Err(Stale::Replayed);
        }
        self.below |= 1 << (behind - 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NetworkId;

    fn header(sequence: u64, issued_at: u64) -> Header {
        Header {
            version: 1,
            kind: 1,
            network: NetworkId([0; 16]),
            author: PeerId([1; 32]),
            issued_at: UnixMillis(issued_at),
            sequence,
        }
    }

    #[test]
    fn each_sequence_number_counts_once_in_any_order() {
        let now = UnixMillis(1_000_000);
        let mut window = ReplayWindow::default();
        for sequence in [10, 12, 11, 300, 172, 299] {
            assert_eq!(window.admit(&header(sequence, now.0), now), Ok(()), "{sequence}");
            assert_eq!(window.admit(&header(sequence, now.0), now), Err(Stale::Replayed));
        }
        assert_eq!(window.admit(&header(171, now.0), now), Err(Stale::Replayed), "too old");
        assert_eq!(window.admit(&header(10, now.0), now), Err(Stale::Replayed));
    }

    #[test]
    fn a_document_from_another_hour_is_stale() {
        let now = UnixMillis(10_000_000);
        let mut window = ReplayWindow::default();
        let hour = 3_600_000;
        for issued_at in [now.0 - hour, now.0 + hour] {
            assert_eq!(
                window.admit(&header(1, issued_at), now),
                Err(Stale::Clock(Duration::from_secs(3_600)))
            );
        }
    }

    #[test]
    fn the_number_of_authors_is_bounded() {
        let now = UnixMillis(1_000_000);
        let mut window = ReplayWindow::default();
        for author in 0..limits::REPLAY_AUTHORS as u64 + 10 {
            let mut header = header(1, now.0);
            header.author.0[..8].copy_from_slice(&author.to_le_bytes());
            window.admit(&header, now).unwrap();
        }
        assert_eq!(window.authors.len(), limits::REPLAY_AUTHORS);
    }
}
