//! The addresses under which peers were, or are said to be, reachable: who to dial when short of
//! peers, and when to try again one that did not answer. Kept small; the network's own table is
//! Kademlia's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    entries: BTreeMap<PeerId, Entry>,
}

#[derive(Debug)]
struct Entry {
    addresses: Vec<Multiaddr>,
    failures: u32,
    next_dial: Instant,
}

impl AddressBook {
    /// Notes an address, without its `/p2p/…`; whether it is new.
    pub(crate) fn add(&mut self, peer: PeerId, address: &Multiaddr, now: Instant) -> bool {
        let address = without_peer(address);
        if !self.entries.contains_key(&peer) && self.entries.len() >= MAX_PEERS {
            let worst = self.entries.iter().max_by_key(|(_, entry)| entry.failures);
            if let Some(worst) = worst.map(|(peer, _)| *peer) {
                self.entries.remove(&worst);
            }
        }
        let fresh = || Entry { addresses: Vec::new(), failures: 0, next_dial: now };
        let entry = self.entries.entry(peer).or_insert_with(fresh);
        if entry.addresses.contains(&address) {
            return false;
        }
        if entry.addresses.len() >= MAX_ADDRESSES {
            entry.addresses.remove(0);
        }
        entry.addresses.push(address);
        true
    }

    pub(crate) fn of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.entries.get(peer).map(|entry| entry.addresses.clone()).unwrap_or_default()
    }

    pub(crate) fn answered(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.failures = 0;
        }
    }

    pub(crate) fn failed(&mut self, peer: &PeerId, now: Instant) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.failures = entry.failures.saturating_add(1);
            entry.next_dial = now + pause(entry.failures);
        }
    }

    /// Up to `count` peers worth dialling now, fewest failures first; each is not offered again
    /// for a while.
    pub(crate) fn candidates(
        &mut self,
        count: usize,
        now: Instant,
        mut wanted: impl FnMut(&PeerId) -> bool,
    ) -> Vec<PeerId> {
        let mut ready: Vec<_> = self
            .entries
            .iter()
            .filter(|(peer, entry)| entry.next_dial <= now && wanted(peer))
            .map(|(peer, entry)| (entry.failures, *peer))
            .collect();
        ready.sort_unstable();
        ready.truncate(count);
        let chosen: Vec<_> = ready.into_iter().map(|(_, peer)| peer).collect();
        for peer in &chosen {
            if let Some(entry) = self.entries.get_mut(peer) {
                entry.next_dial = now + pause(entry.failures);
            }
        }
        chosen
    }
}

pub(crate) fn without_peer(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    if let Some(Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
}

/// Whether only this machine can dial it: of no use to a peer elsewhere.
pub(crate) fn is_local(address: &Multiaddr) -> bool {
    address.iter().any(|part| {
        matches!(part, Protocol::Ip4(ip) if ip.is_loopback() || ip.is_unspecified())
            || matches!(part, Protocol::Ip6(ip) if ip.is_loopback() || ip.is_unspecified())
    })
}

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(7)).min(LONGEST_PAUSE)
}

const MAX_PEERS: usize = 1024;
const MAX_ADDRESSES: usize = 8;
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_peers_are_tried_ever_more_rarely() {
        let mut book = AddressBook::default();
        let start = Instant::now();
        let peer = PeerId::random();
        let address: Multiaddr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        assert!(book.add(peer, &address, start));
        assert!(!book.add(peer, &address.clone().with(Protocol::P2p(peer)), start));
        assert_eq!(book.candidates(4, start, |_| true), [peer]);
        book.failed(&peer, start);
        assert!(book.candidates(4, start + FIRST_PAUSE, |_| true).is_empty());
        assert_eq!(book.candidates(4, start + FIRST_PAUSE * 2, |_| true), [peer]);
    }

    #[test]
    fn strangers_cannot_grow_the_book() {
        let mut book = AddressBook::default();
        let now = Instant::now();
        for port in 0..2_000_u32 {
            let address = format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap();
            book.add(PeerId::random(), &address, now);
        }
        assert_eq!(book.entries.len(), MAX_PEERS);
    }
}
