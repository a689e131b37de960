//! What is yet to happen, in the order of time; what happens at the same microsecond comes in
//! the order in which it was planned.
//!
//! The heap holds times and places alone, since it moves its entries about; what happens then
//! stays where it was put.

use std::{cmp::Reverse, collections::BinaryHeap, mem};

use cyxwiz_protocol::{Instant, Run, TaskEvent};

use crate::{faults::Fault, workload::Wish};

/// A host by its place in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostId(pub(crate) u32);

impl HostId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// One life of a host: what was on its way to an earlier one is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Life {
    pub(crate) host: HostId,
    pub(crate) number: u32,
}

#[derive(Debug)]
pub(crate) enum Happening {
    Start(HostId),
    Crash(HostId),
    Frame {
        to: Life,
        from: HostId,
        bytes: Vec<u8>,
    },
    /// A copy of a gossip message comes over one hop.
    Gossip {
        to: Life,
        from: HostId,
        message: u64,
    },
    Connected {
        to: Life,
        other: HostId,
    },
    Disconnected {
        to: Life,
        other: HostId,
    },
    Timeout(Life),
    /// The flush that is under way has reached the platter.
    Durable(Life),
    /// The peer learns of it.
    Flushed {
        of: Life,
        batch: u64,
    },
    Task {
        of: Life,
        event: Box<TaskEvent>,
    },
    /// A training process takes its next step.
    Training {
        of: Life,
        run: Run,
        token: u64,
    },
    /// A fetch of files ends, one way or the other.
    Fetched {
        of: Life,
        fetch: Box<crate::trainer::Fetch>,
    },
    /// A publication comes back to its publisher.
    Own {
        of: Life,
        bytes: Vec<u8>,
    },
    Wish(Wish),
    /// Something goes wrong, or is mended.
    Fault(Box<Fault>),
    Audit,
    Heal,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Planned>>,
    happenings: Vec<Slot>,
    /// The first slot without a happening.
    vacant: Option<u32>,
    planned: u64,
}

/// Compared in the order of its fields.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Planned {
    at: Instant,
    number: u64,
    slot: u32,
}

#[derive(Debug)]
enum Slot {
    Taken(Happening),
    /// And the next of its kind.
    Vacant(Option<u32>),
}

impl Queue {
    pub(crate) fn plan(&mut self, at: Instant, what: Happening) {
        self.planned += 1;
        let slot = self.keep(what);
        self.heap.push(Reverse(Planned { at, number: self.planned, slot }));
    }

    pub(crate) fn next(&mut self) -> Option<(Instant, Happening)> {
        let Reverse(Planned { at, slot, .. }) = self.heap.pop()?;
        let place = &mut self.happenings[slot as usize];
        match mem::replace(place, Slot::Vacant(self.vacant.replace(slot))) {
            Slot::Taken(what) => Some((at, what)),
            Slot::Vacant(_) => unreachable!("what is planned has a slot until it comes"),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    fn keep(&mut self, what: Happening) -> u32 {
        let Some(slot) = self.vacant else {
            let slot = u32::try_from(self.happenings.len()).expect("the judge ends it far sooner");
            self.happenings.push(Slot::Taken(what));
            return slot;
        };
        match mem::replace(&mut self.happenings[slot as usize], Slot::Taken(what)) {
            Slot::Vacant(next) => self.vacant = next,
            Slot::Taken(_) => unreachable!("the list of vacant slots holds no other"),
        }
        slot
    }
}
