//! The committee's record where everybody can look it up: in the network's hash table, under one
//! key, as the frame with which a peer would be told it. It is for those who know a dead member
//! only, or nobody; whoever reads it believes its signatures and nothing else.
//!
//! Storing and finding records is the net's business, when to do so the node's.

use crate::{
    Network,
    directory::{Directory, Learned},
    message::{Message, decode_message, membership::Membership},
};

const KEY_DOMAIN: &[u8] = b"cyxwiz/committee/1\0";

/// Under which key the network keeps the record.
#[must_use]
pub fn committee_key(network: &Network) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(KEY_DOMAIN).update(&network.id().0);
    hasher.finalize().as_bytes().to_vec()
}

/// Whether a peer keeps `offered` under that key in place of `held`: a sound record,
/// and newer than a sound one that is there. The same bytes again are welcome.
#[must_use]
pub fn keeps_committee(network: &Network, offered: &[u8], held: Option<&[u8]>) -> bool {
    let mut directory = Directory::default();
    if let Some(held) = held {
        learn(&mut directory, network, held);
    }
    let news = learn(&mut directory, network, offered);
    news || (held == Some(offered) && directory.committee().is_some())
}

/// The newest sound record among `found`, if there is one.
#[must_use]
pub fn newest_committee(network: &Network, found: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut directory = Directory::default();
    let newer = found.iter().filter(|frame| learn(&mut directory, network, frame));
    newer.last().cloned()
}

/// Whether the frame is a sound record that is news to `directory`.
fn learn(directory: &mut Directory, network: &Network, frame: &[u8]) -> bool {
    let Ok(Message::Membership(Membership::Committee(signed))) =
        decode_message(network.id(), frame)
    else {
        return false;
    };
    let Ok(record) = signed.verify(network.id()) else { return false };
    matches!(directory.learn(record, network), Ok(Learned::Leader | Learned::Refreshed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Ballot, CellId, Identity, StoreId, UnixMillis,
        charter::{Founding, Ticket},
        message::{
            encode_message,
            membership::{CommitteeRecord, Member},
        },
    };

    const NOW: UnixMillis = UnixMillis(1_000);

    struct Lab {
        charter: Identity,
        network: Network,
    }

    impl Lab {
        fn new(seed: u8) -> Self {
            let charter = Identity::from_seed([seed; 32]);
            let network = Network::new("lab", charter.id()).unwrap();
            Self { charter, network }
        }

        /// A record of `leader` alone, who holds a seat of this lab.
        fn record(&self, leader: &Identity, generation: u32, term: u64, epoch: u64) -> Vec<u8> {
            let (peer, store) = (leader.id(), StoreId([1; 16]));
            let ticket = Ticket::issue(&self.charter, &self.network, [3; 32], UnixMillis(2_000));
            let credential = ticket.seat(&self.network, peer);
            let founding =
                Founding::sign(&self.charter, &self.network, (peer, store), generation, NOW);
            let record = CommitteeRecord {
                cell: CellId::default(),
                founding,
                epoch,
                ballot: Ballot { term, leader: peer },
                members: vec![Member { peer, store, credential }],
            };
            let id = self.network.id();
            let signed = leader.sign(id, NOW, 1, record).into_signed();
            encode_message(id, &Message::Membership(Membership::Committee(signed)))
        }
    }

    #[test]
    fn a_newer_record_replaces_an_older_one_and_never_the_other_way_round() {
        let (lab, leader) = (Lab::new(1), Identity::from_seed([7; 32]));
        let keeps =
            |offered: &[u8], held: Option<&[u8]>| keeps_committee(&lab.network, offered, held);
        let first = lab.record(&leader, 0, 1, 1);
        assert!(keeps(&first, None));
        assert!(keeps(&first, Some(&first)), "published again");
        assert!(keeps(&first, Some(b"damaged")));
        for newer in [(0, 1, 2), (0, 2, 1), (1, 1, 1)] {
            let newer = lab.record(&leader, newer.0, newer.1, newer.2);
            assert!(keeps(&newer, Some(&first)));
            assert!(!keeps(&first, Some(&newer)));
            let found = [newer.clone(), first.clone(), b"noise".to_vec()];
            assert_eq!(newest_committee(&lab.network, &found), Some(newer));
        }
        assert_eq!(newest_committee(&lab.network, &[]), None);
    }

    #[test]
    fn what_the_charter_did_not_allow_is_not_kept() {
        let (lab, other) = (Lab::new(1), Lab::new(2));
        let leader = Identity::from_seed([7; 32]);
        let foreign = other.record(&leader, 0, 1, 1);
        let sound = lab.record(&leader, 0, 1, 1);
        let mut forged = sound.clone();
        *forged.last_mut().unwrap() ^= 1;
        let bad: [&[u8]; 5] = [b"", b"noise", &foreign, &forged, &sound[..sound.len() - 1]];
        for bytes in bad {
            assert!(!keeps_committee(&lab.network, bytes, None));
            assert_eq!(newest_committee(&lab.network, &[bytes.to_vec()]), None);
        }
        assert_ne!(committee_key(&lab.network), committee_key(&other.network));
    }
}
