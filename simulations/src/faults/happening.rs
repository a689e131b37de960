//! Faults as things that happen in a world.

use crate::{host::Part, observe::MarkKind, queue::HostId};

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

impl Fault {
    /// How it is told of in a report; crashes tell of themselves, and attackers never rest.
    pub(crate) const fn mark(&self) -> Option<(MarkKind, &'static str)> {
        Some(match self {
            Self::Cut(shape) => (MarkKind::Partition, shape.name()),
            Self::Mend(_) => (MarkKind::Heal, "a partition"),
            Self::LoseDisk => (MarkKind::Trouble, "a coordinator's disk is lost"),
            Self::Clog => (MarkKind::Trouble, "a link clogs"),
            Self::Pause(_) => (MarkKind::Trouble, "a host stands still"),
            Self::SlowDisk => (MarkKind::Trouble, "a disk is slow"),
            Self::StallDisk => (MarkKind::Trouble, "a disk stalls"),
            Self::FillDisk => (MarkKind::Trouble, "a disk is full"),
            Self::EmptyDisk(_) => (MarkKind::Heal, "a full disk"),
            Self::Crash(_)
            | Self::CrashAll
            | Self::Leave(_)
            | Self::Down(_)
            | Self::Up(_)
            | Self::GiveUp { .. }
            | Self::Mischief(_)
            | Self::Heard { .. }
            | Self::HeardCall(_) => return None,
        })
    }
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::TwoWay => "two sides",
            Self::OneWay => "one way",
            Self::Bridge => "two sides and a bridge",
            Self::Host => "one host",
            Self::Leader => "the leader",
            Self::Region => "a region",
        }
    }
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
