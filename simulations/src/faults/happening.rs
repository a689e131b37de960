//! Faults as things that happen in a world.

use crate::{host::Part, queue::HostId};

/// Something goes wrong, or is mended.
#[derive(Debug)]
pub(crate) enum Fault {
    Crash(Victim),
    /// Every coordinator at once.
    CrashAll,
    /// A coordinator falls over and its disk is gone.
    LoseDisk,
    /// A session ends; the next begins later.
    Leave(HostId),
    /// A churn trace says so.
    Down(HostId),
    Up(HostId),
    Cut(Shape),
    Mend(u64),
    /// Connections over a link that is still cut are given up.
    GiveUp {
        one: HostId,
        other: HostId,
    },
    Clog,
    Pause(Victim),
    SlowDisk,
    StallDisk,
    FillDisk,
    EmptyDisk(HostId),
    /// A hostile host does its next deed.
    Mischief(HostId),
    /// A frame comes to a hostile host.
    Heard {
        by: HostId,
        from: HostId,
        bytes: Vec<u8>,
    },
    /// A call for bids comes to a hostile host.
    HeardCall(HostId),
}

/// Whom a fault is for, chosen when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// Any host of this part.
    Any(Part),
    /// Whoever leads.
    Leader,
}

/// Who cannot reach whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    TwoWay,
    OneWay,
    Bridge,
    Host,
    Leader,
    Region,
}
