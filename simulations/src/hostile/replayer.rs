//! Sends what others sent before, as it was: to coordinators over its own connection, and on
//! gossip once more.

use super::{Deed, Rogue, Scene};
use crate::chance::place;

/// Frames that it sends at a time.
const AT_ONCE: usize = 4;

pub(super) fn act(rogue: &mut Rogue, scene: &Scene<'_>) -> Vec<Deed> {
    let mut deeds = Vec::new();
    let (frames, gossip) = (&scene.rumours.frames, &scene.rumours.gossip);
    for _ in 0..AT_ONCE.min(frames.len()) {
        let bytes = frames[place(&mut rogue.rng, frames.len())].clone();
        if let Some(to) = rogue.one_of(scene.coordinators) {
            deeds.push(Deed::Direct { to, bytes });
        }
    }
    if !gossip.is_empty() {
        let (topic, bytes) = gossip[place(&mut rogue.rng, gossip.len())].clone();
        deeds.push(Deed::Gossip { topic, bytes });
    }
    deeds
}
