//! What is yet to happen, in the order of time; what happens at the same microsecond comes in
//! the order in which it was planned.

use std::{cmp::Ordering, collections::BinaryHeap};

use cyxwiz_protocol::{Instant, Run, TaskEvent};

use crate::workload::Wish;

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
    Audit,
    Heal,
}

#[derive(Debug)]
struct Planned {
    at: Instant,
    number: u64,
    what: Happening,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Planned>,
    planned: u64,
}

impl Queue {
    pub(crate) fn plan(&mut self, at: Instant, what: Happening) {
        self.planned += 1;
        self.heap.push(Planned { at, number: self.planned, what });
    }

    pub(crate) fn next(&mut self) -> Option<(Instant, Happening)> {
        self.heap.pop().map(|planned| (planned.at, planned.what))
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

// The heap hands out its greatest: the earliest must be that.
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}
