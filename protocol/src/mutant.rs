//! Deliberate breaks of the protocol, so that the tests of it can be tested: whoever says that the
//! simulator keeps the promises shows that it notices when one is not kept.
//!
//! Without the feature `mutants`, which a test of `cyxwiz-sim` alone turns on, [`is`] is a constant
//! no and the compiler leaves nothing of the places that ask. With it, one break at most is active
//! in a thread, chosen while the program runs.

/// What is broken on purpose. Each says what goes wrong, and which promise must fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "mutants",
    derive(PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[cfg_attr(not(feature = "mutants"), expect(dead_code, reason = "the simulator makes two of them"))]
pub enum Mutant {
    /// A submitter is told "accepted" when the leader alone has the job on disk: an accepted job
    /// is lost with the leader.
    AnswerBeforeMajority,
    /// "Counted" is told when the leader alone has it on disk: the worker drops the result, and a
    /// later leader does not know that it was counted.
    CountBeforeMajority,
    /// A wish to cancel is answered when the leader alone has it on disk: it may be forgotten.
    NoteCancelBeforeMajority,
    /// A state counts as chosen when one member has it on disk, be it the leader itself.
    OneDiskIsEnough,
    /// Followers acknowledge before their disks have what they acknowledge; the simulator does
    /// this: what was acknowledged does not survive a crash.
    AcknowledgeBeforeFlush,
    /// Followers acknowledge registers that they keep in memory alone.
    AcknowledgeWithoutDisk,
    /// A promise is not written down: after a restart, older ballots are followed again.
    PromiseInMemory,
    /// A member follows a lower ballot than it promised: an old leader gets states chosen that the
    /// new one never heard of.
    FollowLowerBallots,
    /// A message that was overtaken replaces what is newer on a member's disk.
    OverwriteNewer,
    /// At takeover the number of steps decides which state is newer, and not whose they are.
    VersionsBeforeBallots,
    /// At takeover the new leader goes on from what it has itself: what others hold is forgotten.
    ForgetWhatOthersHold,
    /// At takeover every state counts as chosen that the new leader finds on its own disk.
    FoundIsChosen,
    /// At takeover a state is proposed again under the ballot that it had (the case of figure 8 of
    /// the Raft paper): what is then chosen loses against an older leader's later ballot.
    KeepOldBallot,
    /// At takeover the wish to cancel is not taken over.
    ForgetCancelAtTakeover,
    /// At takeover the candidate keeps to the members that it knows, though others have sat down.
    KeepOldSeating,
    /// A finished job is forgotten as soon as that it is finished is chosen: a member that has an
    /// earlier state brings it back.
    ForgetTooEarly,
    /// The new members do not get the jobs before they decide alone.
    LeaveJointWithoutCopies,
    /// The new members decide alone as soon as their names are on enough disks.
    LeaveJointEarly,
    /// While members change, a majority of all of them is enough, instead of one of each side.
    MajorityOfUnion,
    /// Members change at once, without a time in which both sides must agree.
    WithoutJoint,
    /// A disk that was lost keeps its name; the simulator does this: a voter has forgotten what it
    /// promised and held.
    NewDiskOldName,
    /// Whoever sends a receipt of a job is believed, whether or not it was awarded the attempt.
    AnybodySettles,
    /// A job that has ended is settled once more by a later receipt.
    SettleTwice,
    /// The next attempt has the number of the last: one lease is held by two workers.
    ReuseAttempt,
    /// A worker goes on computing when its lease has run out.
    IgnoreLostLease,
    /// An order to pause or to go on is answered when the leader alone has it on disk: it may be
    /// forgotten.
    NoteOrderBeforeMajority,
    /// At takeover the orders to pause and to go on are not taken over.
    ForgetOrdersAtTakeover,
    /// A job whose worker fell silent goes back into the queue, though it shall be paused.
    QueueSilentPaused,
    /// An order that was overtaken by a later one is obeyed.
    ObeyOldOrders,
    /// A running job is called paused as soon as its worker was told to pause it.
    PausedBeforeDead,
}

#[cfg(feature = "mutants")]
mod active {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    impl Mutant {
        /// Every one of them.
        pub const ALL: [Self; 30] = [
            Self::AnswerBeforeMajority,
            Self::CountBeforeMajority,
            Self::NoteCancelBeforeMajority,
            Self::OneDiskIsEnough,
            Self::AcknowledgeBeforeFlush,
            Self::AcknowledgeWithoutDisk,
            Self::PromiseInMemory,
            Self::FollowLowerBallots,
            Self::OverwriteNewer,
            Self::VersionsBeforeBallots,
            Self::ForgetWhatOthersHold,
            Self::FoundIsChosen,
            Self::KeepOldBallot,
            Self::ForgetCancelAtTakeover,
            Self::KeepOldSeating,
            Self::ForgetTooEarly,
            Self::LeaveJointWithoutCopies,
            Self::LeaveJointEarly,
            Self::MajorityOfUnion,
            Self::WithoutJoint,
            Self::NewDiskOldName,
            Self::AnybodySettles,
            Self::SettleTwice,
            Self::ReuseAttempt,
            Self::IgnoreLostLease,
            Self::NoteOrderBeforeMajority,
            Self::ForgetOrdersAtTakeover,
            Self::QueueSilentPaused,
            Self::ObeyOldOrders,
            Self::PausedBeforeDead,
        ];

        /// As it is written on command lines and in scenario files.
        #[must_use]
        pub const fn name(self) -> &'static str {
            match self {
                Self::AnswerBeforeMajority => "answer-before-majority",
                Self::CountBeforeMajority => "count-before-majority",
                Self::NoteCancelBeforeMajority => "note-cancel-before-majority",
                Self::OneDiskIsEnough => "one-disk-is-enough",
                Self::AcknowledgeBeforeFlush => "acknowledge-before-flush",
                Self::AcknowledgeWithoutDisk => "acknowledge-without-disk",
                Self::PromiseInMemory => "promise-in-memory",
                Self::FollowLowerBallots => "follow-lower-ballots",
                Self::OverwriteNewer => "overwrite-newer",
                Self::VersionsBeforeBallots => "versions-before-ballots",
                Self::ForgetWhatOthersHold => "forget-what-others-hold",
                Self::FoundIsChosen => "found-is-chosen",
                Self::KeepOldBallot => "keep-old-ballot",
                Self::ForgetCancelAtTakeover => "forget-cancel-at-takeover",
                Self::KeepOldSeating => "keep-old-seating",
                Self::ForgetTooEarly => "forget-too-early",
                Self::LeaveJointWithoutCopies => "leave-joint-without-copies",
                Self::LeaveJointEarly => "leave-joint-early",
                Self::MajorityOfUnion => "majority-of-union",
                Self::WithoutJoint => "without-joint",
                Self::NewDiskOldName => "new-disk-old-name",
                Self::AnybodySettles => "anybody-settles",
                Self::SettleTwice => "settle-twice",
                Self::ReuseAttempt => "reuse-attempt",
                Self::IgnoreLostLease => "ignore-lost-lease",
                Self::NoteOrderBeforeMajority => "note-order-before-majority",
                Self::ForgetOrdersAtTakeover => "forget-orders-at-takeover",
                Self::QueueSilentPaused => "queue-silent-paused",
                Self::ObeyOldOrders => "obey-old-orders",
                Self::PausedBeforeDead => "paused-before-dead",
            }
        }
    }

    /// Breaks the protocol in this way, on this thread, until the guard is dropped.
    #[must_use]
    pub fn activate(mutant: Option<Mutant>) -> Active {
        Active { before: ACTIVE.replace(mutant) }
    }

    /// See [`activate`].
    #[derive(Debug)]
    pub struct Active {
        before: Option<Mutant>,
    }

    impl Drop for Active {
        fn drop(&mut self) {
            ACTIVE.set(self.before);
        }
    }

    /// Whether the protocol is broken in this way on this thread.
    #[must_use]
    pub fn is(mutant: Mutant) -> bool {
        ACTIVE.get() == Some(mutant)
    }
}

#[cfg(feature = "mutants")]
pub use active::{Active, activate, is};

/// Whether the protocol is broken in this way: never, in a build without the feature.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn is(_: Mutant) -> bool {
    false
}
