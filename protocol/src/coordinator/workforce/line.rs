//! Workers with room, in the order in which they are asked. Kept up with every change, so that
//! nobody walks all workers to find a few.

use std::collections::{BTreeMap, BTreeSet};

use cyxwiz_scoring::DeviceKind;

use crate::PeerId;

/// Where a worker stands in line; the smaller is asked first. The least busy go first, and among
/// equals whoever was asked longest ago, so that newcomers get their turn and nobody's is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// What it owes for invitations that it left without an answer.
    pub(super) silence: u8,
    /// It did worse than one that nobody knows.
    pub(super) poor: bool,
    /// Eighths of its slots that are taken.
    pub(super) busy: u8,
    /// The turn in which it was asked last.
    pub(super) asked: u64,
}

/// The line of each kind of device.
#[derive(Debug, Default)]
pub(super) struct Line {
    places: BTreeSet<(DeviceKind, Place, PeerId)>,
    counts: BTreeMap<DeviceKind, usize>,
}

impl Line {
    pub(super) fn enter(&mut self, kinds: &[DeviceKind], place: Place, peer: PeerId) {
        for &kind in kinds {
            if self.places.insert((kind, place, peer)) {
                *self.counts.entry(kind).or_default() += 1;
            }
        }
    }

    pub(super) fn leave(&mut self, kinds: &[DeviceKind], place: Place, peer: PeerId) {
        for &kind in kinds {
            if self.places.remove(&(kind, place, peer))
                && let Some(count) = self.counts.get_mut(&kind)
            {
                *count -= 1;
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.counts.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many have a device of the kind and room for a job.
    pub(super) fn len_of(&self, kind: DeviceKind) -> usize {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// Everyone with a device of the kind and room for a job.
    pub(super) fn of(&self, kind: DeviceKind) -> impl Iterator<Item = PeerId> {
        let first = Place { silence: 0, poor: false, busy: 0, asked: 0 };
        let from = (kind, first, PeerId([0; 32]));
        self.places.range(from..).take_while(move |(of, ..)| *of == kind).map(|(_, _, peer)| *peer)
    }
}
