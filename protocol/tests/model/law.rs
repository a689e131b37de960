//! The rules by which the model acts: those of production, or all of them but one.

use cyxwiz_protocol::rules::{self, Seats};

use crate::state::{Ballot, Rank, Replica};

/// What a committee must not do. Each is a mistake that would be easy to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// Accepts what comes, whatever was promised.
    IgnorePromises,
    /// Promises, and loses the write in a crash.
    PromiseBeforeTheDisk,
    /// Says to have accepted, and loses the write in a crash.
    AcceptBeforeTheDisk,
    /// Takes the larger version for the newer, whatever the ballots.
    VersionsBeforeBallots,
    /// Writes what comes late over what the same leader made from it.
    WriteOlder,
    /// Takes over nothing but what it knows to be chosen.
    ForgetUnchosen,
    /// Takes what it adopted for chosen.
    ActOnAdopted,
    /// Drops the old side before the new one has everything.
    LeaveWithoutCopying,
    /// Drops the old side before a majority of it knows that there is a new one.
    LeaveBeforeJointIsChosen,
    /// While joint, counts a majority of all members.
    MajorityOfAll,
    /// Goes by its own configuration, whatever it was told.
    KeepOwnConfiguration,
    /// Stands before its promise to itself is on disk.
    ReuseBallot,
}

/// The rules, of which one may be broken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Law {
    pub(crate) broken: Option<Break>,
}

impl Law {
    pub(crate) fn breaks(self, what: Break) -> bool {
        self.broken == Some(what)
    }

    pub(crate) fn may_stand(self, promised: Option<Ballot>, ours: Ballot) -> bool {
        rules::may_stand(promised, ours)
    }

    pub(crate) fn may_promise(self, promised: Option<Ballot>, asked: Ballot) -> bool {
        rules::may_promise(promised, asked)
    }

    pub(crate) fn may_accept(self, promised: Option<Ballot>, ballot: Ballot) -> bool {
        self.breaks(Break::IgnorePromises) || rules::may_accept(promised, ballot)
    }

    pub(crate) fn replaces(self, held: Option<Rank>, offered: Rank) -> bool {
        match (self.broken, held) {
            (Some(Break::VersionsBeforeBallots), Some(held)) => {
                by_version(&offered) > by_version(&held)
            }
            (Some(Break::WriteOlder), Some(held)) => offered.ballot >= held.ballot,
            _ => rules::replaces(held, offered),
        }
    }

    pub(crate) fn newest(self, reports: impl Iterator<Item = Option<Rank>>) -> Option<Rank> {
        if self.breaks(Break::VersionsBeforeBallots) {
            return reports.flatten().max_by_key(by_version);
        }
        rules::newest(reports)
    }

    pub(crate) fn is_quorum(
        self,
        seats: &Seats<'_, Replica>,
        has: impl Fn(&Replica) -> bool,
    ) -> bool {
        if self.breaks(Break::MajorityOfAll) {
            let all: Vec<_> = (0..4).filter(|replica| seats.contains(replica)).collect();
            return Seats::stable(&all).is_quorum(has);
        }
        seats.is_quorum(has)
    }

    pub(crate) fn is_known_chosen(
        self,
        seats: &Seats<'_, Replica>,
        newest: &Rank,
        reported: impl Fn(&Replica) -> Option<Rank>,
    ) -> bool {
        rules::is_known_chosen(seats, newest, reported)
    }

    /// `holds` answers for the configuration with `None` and for the job with its rank.
    pub(crate) fn may_leave_joint(
        self,
        seats: &Seats<'_, Replica>,
        job: Option<Rank>,
        holds: impl Fn(&Replica, &Option<Rank>) -> bool,
    ) -> bool {
        match self.broken {
            Some(Break::LeaveWithoutCopying) => rules::may_leave_joint(seats, None, [], holds),
            Some(Break::LeaveBeforeJointIsChosen) => {
                let holds = |member: &_, register: &Option<Rank>| {
                    register.is_none() || holds(member, register)
                };
                rules::may_leave_joint(seats, None, job.map(Some), holds)
            }
            _ => rules::may_leave_joint(seats, None, job.map(Some), holds),
        }
    }
}

const fn by_version(rank: &Rank) -> (u64, Ballot) {
    (rank.version, rank.ballot)
}
