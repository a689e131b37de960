//! Joining: which addresses to dial when, until one of them answered, and again when the last
//! connection is lost. The pauses grow and are jittered, so that a network that comes back is
//! not met by all its peers at once. A policy: it dials nothing itself.

use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;

#[derive(Debug)]
pub(crate) struct Join {
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    address: Multiaddr,
    attempt: u32,
    next: Instant,
    dialling: Option<ConnectionId>,
}

/// One attempt that came to nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setback {
    pub(crate) address: Multiaddr,
    pub(crate) attempt: u32,
    pub(crate) retry_in: Duration,
}

impl Join {
    pub(crate) fn new(addresses: Vec<Multiaddr>, now: Instant) -> Self {
        let target = |address| Target { address, attempt: 0, next: now, dialling: None };
        Self { targets: addresses.into_iter().take(MAX_TARGETS).map(target).collect() }
    }

    /// Addresses to dial now, by position.
    pub(crate) fn due(&self, now: Instant) -> Vec<(usize, Multiaddr)> {
        let due = |(_, it): &(usize, &Target)| it.dialling.is_none() && it.next <= now;
        let targets = self.targets.iter().enumerate();
        targets.filter(due).map(|(at, it)| (at, it.address.clone())).collect()
    }

    pub(crate) fn dialling(&mut self, at: usize, connection: ConnectionId) {
        self.targets[at].dialling = Some(connection);
        self.targets[at].attempt = self.targets[at].attempt.saturating_add(1);
    }

    /// The dial of a join address failed; `chance` is any number, for the jitter.
    pub(crate) fn failed(
        &mut self,
        connection: ConnectionId,
        now: Instant,
        chance: u32,
    ) -> Option<Setback> {
        let target = self.targets.iter_mut().find(|it| it.dialling == Some(connection))?;
        let retry_in = pause(target.attempt, chance);
        target.dialling = None;
        target.next = now + retry_in;
        Some(Setback { address: target.address.clone(), attempt: target.attempt, retry_in })
    }

    /// The dial of a join address succeeded; should that peer prove of no use, it is dialled
    /// again after the longest pause.
    pub(crate) fn succeeded(&mut self, connection: ConnectionId, now: Instant) {
        let mut targets = self.targets.iter_mut();
        if let Some(target) = targets.find(|it| it.dialling == Some(connection)) {
            target.dialling = None;
            target.next = now + LONGEST_PAUSE;
        }
    }

    /// The last connection was lost: begin again.
    pub(crate) fn restart(&mut self, now: Instant) {
        for target in &mut self.targets {
            target.attempt = 0;
            target.next = now;
        }
    }
}

/// Doubling from [`FIRST_PAUSE`], give or take a quarter.
fn pause(attempt: u32, chance: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    let whole = doubled.min(LONGEST_PAUSE);
    whole * 3 / 4 + whole / 2 * (chance % 1000) / 1000
}

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
const MAX_TARGETS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_fifteen_seconds_and_jitter_by_a_quarter() {
        let middle = |attempt| pause(attempt, 500);
        assert_eq!(middle(1), FIRST_PAUSE);
        assert_eq!(middle(2), FIRST_PAUSE * 2);
        assert_eq!(middle(7), LONGEST_PAUSE);
        assert_eq!(middle(u32::MAX), LONGEST_PAUSE);
        assert_eq!(pause(1, 0), FIRST_PAUSE * 3 / 4);
        assert!(pause(1, 999) < FIRST_PAUSE * 5 / 4);
    }

    #[test]
    fn an_address_is_dialled_once_at_a_time() {
        let start = Instant::now();
        let address: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        let mut join = Join::new(vec![address.clone()], start);
        assert_eq!(join.due(start), [(0, address.clone())]);
        let connection = ConnectionId::new_unchecked(7);
        join.dialling(0, connection);
        assert!(join.due(start + LONGEST_PAUSE).is_empty());
        let setback = join.failed(connection, start, 500).unwrap();
        assert_eq!(setback, Setback { address, attempt: 1, retry_in: FIRST_PAUSE });
        assert!(join.due(start).is_empty());
        assert_eq!(join.due(start + FIRST_PAUSE).len(), 1);
        assert_eq!(join.failed(ConnectionId::new_unchecked(8), start, 0), None);
    }
}
