//! Bytes that mean harm: cut, flipped, mixed, made up. Nothing panics, and no document is
//! believed that its author did not sign.

use cyxwiz_protocol::{
    Input,
    message::{
        FrameError, Gossip, Message, auction::Auction, decode_gossip, decode_message,
        submission::Submission,
    },
    signed::Rejection,
};
use proptest::prelude::*;

use super::{HEAD, believed, samples};
use crate::harness::{Bench, Role, Who, network_id, other_network_id};

fn frame(name: &str) -> Vec<u8> {
    let mut frames = samples::frames().into_iter();
    frames.find(|(known, _)| *known == name).expect("a sample of this name").1
}

#[test]
fn a_frame_that_was_cut_is_not_read() {
    for (name, bytes) in samples::frames() {
        for cut in 0..bytes.len() {
            assert_eq!(believed(name, &bytes[..cut]), None, "{name} cut to {cut}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(believed(name, &longer), None, "{name} and a byte");
    }
}

/// What flips of one bit may leave believed: the documents that stood there, and no others.
fn assert_unforged(name: &str, original: &[u8], changed: &[u8]) {
    let (before, after) = (believed(name, original), believed(name, changed));
    if let (Some(Some(before)), Some(Some(after))) = (before, after) {
        assert_eq!(before, after, "{name}: a changed document is believed");
    }
}

#[test]
fn no_single_bit_can_be_changed_in_a_document() {
    for name in ["cancel", "award", "invitation", "gossip_announcement", "receipt_cancelled"] {
        let bytes = frame(name);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_unforged(name, &bytes, &changed);
        }
    }
}

#[test]
fn every_bit_of_a_signature_counts() {
    let bytes = frame("cancel");
    for bit in (bytes.len() - 64) * 8..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(believed("cancel", &changed), None, "bit {bit}");
    }
}

#[test]
fn lengths_that_lie_are_refused() {
    for name in ["renew", "offer", "answer_jobs", "submit", "refused_workload"] {
        let bytes = frame(name);
        for at in HEAD..bytes.len().saturating_sub(8) {
            for lie in [u64::MAX, u64::from(u32::MAX), 1 << 20, 1 << 40] {
                let mut changed = bytes.clone();
                changed[at..at + 8].copy_from_slice(&lie.to_le_bytes());
                assert_unforged(name, &bytes, &changed);
            }
        }
    }
}

#[test]
fn other_networks_and_versions_are_told_apart() {
    let bytes = frame("ask_committee");
    let error = decode_message(other_network_id(), &bytes).expect_err("another network's");
    assert!(matches!(error, FrameError::Network { theirs } if theirs == network_id()));
    let mut newer = bytes;
    newer[0] = 3;
    let error = decode_message(network_id(), &newer).expect_err("another version");
    assert!(error.to_string().contains("version 3; this peer speaks 2"), "{error}");

    let Message::Submission(Submission::Cancel { order, .. }) =
        decode_message(network_id(), &frame("cancel")).expect("a sample")
    else {
        panic!("an order");
    };
    let error = order.verify(other_network_id()).expect_err("signed for another network");
    assert!(matches!(error, Rejection::Network { .. }), "{error}");
    // The document names its version too, where the signature binds it.
    let mut newer = frame("cancel");
    newer[HEAD + 4 + 4 + 8 + 8] = 3;
    let error = cancel_error(&newer);
    assert!(matches!(error, Rejection::Version { theirs: 3 }), "{error}");
}

fn cancel_error(bytes: &[u8]) -> Rejection {
    let Ok(Message::Submission(Submission::Cancel { order, .. })) =
        decode_message(network_id(), bytes)
    else {
        panic!("still a frame");
    };
    order.verify(network_id()).expect_err("not to be believed")
}

#[test]
fn a_document_of_one_kind_never_passes_for_another() {
    let (bids, submit) = (frame("bids"), frame("submit"));
    let mut award = frame("award")[..HEAD + 8].to_vec();
    award.extend(&bids[HEAD + 8..]);
    award.extend(&submit[HEAD + 16..]);
    let Ok(Message::Auction(Auction::Award { award, .. })) = decode_message(network_id(), &award)
    else {
        panic!("in form it is an award");
    };
    let error = award.verify(network_id()).expect_err("bids are no award");
    assert!(matches!(error, Rejection::Kind { theirs: 4, .. }), "{error}");

    for (name, bytes) in samples::frames() {
        if !name.starts_with("gossip") {
            continue;
        }
        for kind in 0..3_u32 {
            let mut other = bytes.clone();
            other[HEAD..HEAD + 4].copy_from_slice(&kind.to_le_bytes());
            let same = other == bytes;
            assert_eq!(believed(name, &other).is_some(), same, "{name} as {kind}");
            let wrong_kind = match decode_gossip(network_id(), &other) {
                Ok(Gossip::Announcement(signed)) => signed.verify(network_id()).err(),
                Ok(Gossip::Report(signed)) => signed.verify(network_id()).err(),
                Ok(Gossip::Committee(signed)) => signed.verify(network_id()).err(),
                Err(error) => panic!("{name} as {kind}: {error}"),
            };
            assert!(same || matches!(wrong_kind, Some(Rejection::Kind { .. })));
        }
    }
}

/// The points of small order: for each, one signature fits every message under the plain check.
const SMALL_ORDER: [&str; 8] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
];

#[test]
fn a_key_that_fits_every_message_signs_none() {
    for author in SMALL_ORDER {
        for nonce in SMALL_ORDER {
            let mut bytes = frame("cancel");
            let at = HEAD + 4 + 4 + 8 + 8 + 2 + 2 + 16;
            bytes[at..at + 32].copy_from_slice(&hex::decode(author).expect("hex"));
            let signature = bytes.len() - 64;
            bytes[signature..signature + 32].copy_from_slice(&hex::decode(nonce).expect("hex"));
            bytes[signature + 32..].fill(0);
            let error = cancel_error(&bytes);
            assert!(matches!(error, Rejection::Key), "{author}: {error}");
        }
    }
}

#[test]
fn a_signature_belongs_to_its_document_alone() {
    let (mine, other) = (frame("receipt_cancelled"), frame("receipt_failed"));
    let mut moved = mine.clone();
    let at = moved.len() - 64;
    moved[at..].copy_from_slice(&other[other.len() - 64..]);
    assert_eq!(believed("receipt_cancelled", &moved), None);
}

/// Bytes of a sample with a few changes, among them moves of whole runs.
fn mutated() -> impl Strategy<Value = (&'static str, Vec<u8>, Vec<u8>)> {
    let frames = samples::frames();
    let edits = prop::collection::vec((any::<u32>(), any::<u32>(), any::<u8>()), 1..6);
    (0..frames.len(), edits).prop_map(move |(index, edits)| {
        let (name, original) = frames[index].clone();
        let mut bytes = original.clone();
        for (from, to, value) in edits {
            let length = bytes.len().max(1);
            let (from, to) = (from as usize % length, to as usize % length);
            match value % 4 {
                0 => bytes[to] = value,
                1 => bytes[to] ^= value,
                2 => bytes.truncate(to.max(HEAD)),
                _ => bytes.insert(to, bytes[from]),
            }
        }
        (name, original, bytes)
    })
}

fn benches() -> [Bench; 2] {
    [Bench::leading(), Bench::joined(Who::Worker(1), Role::Worker(2))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _direct = decode_message(network_id(), &bytes);
        let head = &frame("ask_committee")[..HEAD];
        let framed = [head, &bytes].concat();
        let _direct = decode_message(network_id(), &framed);
        let _gossip = decode_gossip(network_id(), &framed);
    }

    #[test]
    fn mutations_forge_nothing((name, original, bytes) in mutated()) {
        assert_unforged(name, &original, &bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Of a leader and a worker, whatever they are sent.
    #[test]
    fn a_peer_survives_what_it_is_sent(inputs in prop::collection::vec(mutated(), 1..40)) {
        for mut bench in benches() {
            for (name, original, bytes) in &inputs {
                for bytes in [bytes, original] {
                    let (from, bytes) = (Who::Coordinator.id(), bytes.clone());
                    let told = bench.give(match name.starts_with("gossip") {
                        true => Input::Gossip { from, bytes },
                        false => Input::Frame { from: Who::Worker(1).id(), bytes },
                    });
                    prop_assert!(!told.contains(&"write register j1".to_owned()));
                }
                bench.live(std::time::Duration::from_millis(100));
                bench.flush();
            }
        }
    }
}
