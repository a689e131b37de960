//! Sends bytes that were altered, cut short or made up, directly and on gossip.

use cyxwiz_protocol::Topic;

use super::{Deed, Rogue, Scene};
use crate::chance::{below, place};

/// The longest nonsense, in bytes.
const LONGEST: u64 = 2_048;

pub(super) fn act(rogue: &mut Rogue, scene: &Scene<'_>) -> Vec<Deed> {
    let mut deeds = Vec::new();
    let frames = &scene.rumours.frames;
    if !frames.is_empty() {
        let frame = frames[place(&mut rogue.rng, frames.len())].clone();
        let bytes = garble(rogue, frame);
        deeds.extend(rogue.one_of(scene.coordinators).map(|to| Deed::Direct { to, bytes }));
    }
    let gossip = &scene.rumours.gossip;
    if !gossip.is_empty() {
        let (topic, bytes) = gossip[place(&mut rogue.rng, gossip.len())].clone();
        let bytes = garble(rogue, bytes);
        deeds.push(Deed::Gossip { topic, bytes: bytes.clone() });
        deeds.extend(rogue.one_of(scene.workers).map(|to| Deed::Direct { to, bytes }));
    } else {
        let bytes = nonsense(rogue);
        deeds.push(Deed::Gossip { topic: Topic::Committee, bytes });
    }
    deeds
}

fn garble(rogue: &mut Rogue, mut bytes: Vec<u8>) -> Vec<u8> {
    let length = bytes.len().max(1);
    match below(&mut rogue.rng, 5) {
        // Of another version or network: the head of a frame.
        0 => flip(rogue, &mut bytes, 18),
        1 | 2 => flip(rogue, &mut bytes, length),
        3 => bytes.truncate(place(&mut rogue.rng, length)),
        _ => bytes = nonsense(rogue),
    }
    bytes
}

fn flip(rogue: &mut Rogue, bytes: &mut [u8], within: usize) {
    let at = place(&mut rogue.rng, within.max(1));
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << below(&mut rogue.rng, 8);
    }
}

/// Bytes that were never anything.
pub(super) fn nonsense(rogue: &mut Rogue) -> Vec<u8> {
    let length = below(&mut rogue.rng, LONGEST);
    (0..length).map(|_| rogue.rng.bytes::<1>()[0]).collect()
}
