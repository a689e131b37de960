//! The rules on which the two promises of a committee rest: nothing chosen is lost, and what is
//! final stays.
//!
//! A register is written under a ballot, and chosen once a quorum has it on disk. The rules are
//! functions of what they are shown, generic in ballot and member, so that production and the
//! exhaustive model in `tests/model` decide by the same lines. They know no messages, no disk and
//! no time: to write before answering, and to ask again, is the caller's part.
//!
//! The lemmas that they serve:
//!
//! - **L1, one proposer per ballot.** Within a ballot one leader proposes, with rising versions,
//!   each made from the one before.
//! - **L2, later ballots extend.** Whatever is proposed under a later ballot was made from every
//!   value that was chosen before.
//! - **L3, across configurations.** Any two quorums that may act on one register meet, also while
//!   the members change.

use std::iter;

use crate::mutant::{self, Mutant};

/// How new the content of a register is. The ballot counts first: a leader's one step outranks
/// any number of steps that an earlier leader did not get chosen (L2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank<B> {
    /// Under which it was proposed.
    pub ballot: B,
    /// Rises with every step of the register; the same step proposed again keeps it.
    pub version: u64,
}

/// Who counts in a configuration. Borrowed, because both sides keep their members as they like;
/// no side names a member twice.
#[derive(Debug)]
pub struct Seats<'a, M> {
    old: &'a [M],
    new: Option<&'a [M]>,
}

impl<'a, M: PartialEq> Seats<'a, M> {
    /// One set of members.
    #[must_use]
    pub const fn stable(members: &'a [M]) -> Self {
        Self { old: members, new: None }
    }

    /// On the way from one set to another.
    #[must_use]
    pub const fn joint(old: &'a [M], new: &'a [M]) -> Self {
        Self { old, new: Some(new) }
    }

    /// Whether two sets must agree.
    #[must_use]
    pub const fn is_joint(&self) -> bool {
        self.new.is_some()
    }

    /// Whether `member` counts on either side.
    #[must_use]
    pub fn contains(&self, member: &M) -> bool {
        self.sides().any(|side| side.contains(member))
    }

    /// Whether the members for which `has` holds decide: a majority of the members and, while
    /// joint, of each side by itself (L2, L3). A majority of all of them together would not do: it
    /// can leave out a majority of the old side, and with it what that side has chosen. Without
    /// members there is no quorum.
    pub fn is_quorum(&self, has: impl Fn(&M) -> bool) -> bool {
        if mutant::is(Mutant::MajorityOfUnion) {
            return self.is_majority_of_union(has);
        }
        self.sides().all(|side| {
            let count = side.iter().filter(|member| has(member)).count();
            count > side.len() / 2
        })
    }

    /// What [`Mutant::MajorityOfUnion`] takes for a quorum.
    fn is_majority_of_union(&self, has: impl Fn(&M) -> bool) -> bool {
        let mut all: Vec<&M> = Vec::new();
        for member in self.sides().flatten() {
            if !all.contains(&member) {
                all.push(member);
            }
        }
        all.iter().filter(|member| has(member)).count() > all.len() / 2
    }

    fn sides(&self) -> impl Iterator<Item = &'a [M]> {
        iter::once(self.old).chain(self.new)
    }
}

/// Whether a member that promised `promised` may stand with its own ballot `ours`. Never with the
/// same one twice: after a restart it no longer knows what it proposed under it (L1). The promise
/// to itself is on disk before it asks others.
pub fn may_stand<B: Ord>(promised: Option<B>, ours: B) -> bool {
    Some(ours) > promised
}

/// Whether a member that promised `promised` may promise `asked`, and so refuse everything lower
/// from then on (L2). The same ballot again is the same candidate asking again, because a ballot
/// contains its owner.
pub fn may_promise<B: Ord>(promised: Option<B>, asked: B) -> bool {
    Some(asked) >= promised
}

/// Whether a member that promised `promised` may accept what is proposed under `ballot`. Otherwise
/// it would take part in choosing what the candidate to whom it promised did not hear of (L2). Who
/// accepts promises the ballot as well.
pub fn may_accept<B: Ord>(promised: Option<B>, ballot: B) -> bool {
    Some(ballot) >= promised
}

/// Whether what is `offered` replaces what is `held`. What is older than that was overtaken on the
/// way. Under the same ballot the held content was made from it, so that it may be acknowledged;
/// it must not be written (L1).
pub fn replaces<B: Ord>(held: Option<Rank<B>>, offered: Rank<B>) -> bool {
    Some(offered) > held
}

/// The newest of what a candidate was told about one register, where it counts as one of those
/// who tell. From it the new leader goes on: it contains all that was chosen, because one of the
/// quorum that promised is also of the quorum that accepted (L2). For the register of the
/// configuration: the candidate needs a quorum of *that* configuration, and a seat in it (L3).
pub fn newest<B: Ord>(reports: impl IntoIterator<Item = Option<Rank<B>>>) -> Option<Rank<B>> {
    reports.into_iter().flatten().max()
}

/// Whether a whole quorum reported just the `newest` rank. Then it is chosen. Anything else may
/// or may not be: the new leader proposes it again under its own ballot, and neither acts on it
/// nor tells of it before that is chosen (L2).
pub fn is_known_chosen<M: PartialEq, B: Ord>(
    seats: &Seats<'_, M>,
    newest: &Rank<B>,
    reported: impl Fn(&M) -> Option<Rank<B>>,
) -> bool {
    seats.is_quorum(|member| reported(member).as_ref() == Some(newest))
}

/// Whether a leader may propose the new side alone: the joint configuration is chosen, so that no
/// majority of the old side is ignorant of it, and every version of a register that was chosen
/// before is on the disks of a joint quorum, because a majority of the new side alone is what later
/// leaders ask (L3). What is proposed since needs both sides before it is chosen. `holds` answers
/// for any of them; registers known to be held may be left out.
pub fn may_leave_joint<M: PartialEq, R>(
    seats: &Seats<'_, M>,
    configuration: R,
    registers: impl IntoIterator<Item = R>,
    holds: impl Fn(&M, &R) -> bool,
) -> bool {
    seats.is_joint()
        && iter::once(configuration)
            .chain(registers)
            .all(|register| seats.is_quorum(|member| holds(member, &register)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn rank(ballot: u8, version: u64) -> Rank<u8> {
        Rank { ballot, version }
    }

    fn decides(seats: &Seats<'_, u8>, have: &[u8]) -> bool {
        seats.is_quorum(|member| have.contains(member))
    }

    #[test]
    fn the_ballot_counts_before_the_version() {
        assert!(rank(2, 1) > rank(1, 9));
        assert!(rank(2, 2) > rank(2, 1));
        assert!(replaces(None, rank(1, 1)));
        assert!(replaces(Some(rank(1, 9)), rank(2, 1)));
        assert!(!replaces(Some(rank(2, 1)), rank(2, 1)));
        assert!(!replaces(Some(rank(2, 1)), rank(1, 9)));
    }

    #[test]
    fn a_ballot_is_stood_with_once_and_promised_again_to_the_same_candidate() {
        for (promised, stand, promise) in [
            (None, true, true),
            (Some(1), true, true),
            (Some(2), false, true),
            (Some(3), false, false),
        ] {
            assert_eq!(may_stand(promised, 2), stand, "{promised:?}");
            assert_eq!(may_promise(promised, 2), promise, "{promised:?}");
            assert_eq!(may_accept(promised, 2), promise, "{promised:?}");
        }
    }

    #[test]
    fn a_quorum_is_more_than_half_of_each_side() {
        let five = Seats::stable(&[1, 2, 3, 4, 5]);
        assert!(!five.is_joint());
        assert!(decides(&five, &[1, 3, 5]));
        assert!(!decides(&five, &[1, 3, 6, 7]), "strangers do not count");
        assert!(!decides(&Seats::stable(&[1, 2]), &[1]));
        assert!(!decides(&Seats::stable(&[]), &[1]), "nobody is no quorum");

        let growing = Seats::joint(&[1], &[1, 2, 3]);
        assert!(growing.is_joint() && growing.contains(&3) && !growing.contains(&4));
        assert!(decides(&growing, &[1, 2]));
        assert!(!decides(&growing, &[2, 3]), "a majority of all, none of the old side");
        assert!(!decides(&growing, &[1]), "the old side alone");
    }

    #[test]
    fn any_two_quorums_of_neighbours_meet() {
        let (old, new) = ([1, 2, 3], [3, 4, 5, 6]);
        let neighbours = [Seats::stable(&old), Seats::joint(&old, &new), Seats::stable(&new)];
        for pair in neighbours.windows(2) {
            for one in 0..1_u8 << 6 {
                let other = !one;
                let met = pair[0].is_quorum(|member| one >> (member - 1) & 1 == 1)
                    && pair[1].is_quorum(|member| other >> (member - 1) & 1 == 1);
                assert!(!met, "{one:06b} and the rest both decide: {pair:?}");
            }
        }
    }

    #[test]
    fn chosen_is_what_a_whole_quorum_reports_alike() {
        let seats = Seats::stable(&[0, 1, 2]);
        let known = |reports: [Option<Rank<u8>>; 3]| {
            let newest = newest(reports).expect("one reports");
            (newest, is_known_chosen(&seats, &newest, |&member: &usize| reports[member]))
        };
        assert_eq!(newest::<u8>([None, None]), None);
        let (low, high) = (Some(rank(1, 4)), Some(rank(2, 1)));
        assert_eq!(known([high, high, low]), (rank(2, 1), true));
        assert_eq!(known([low, high, None]), (rank(2, 1), false));
        assert_eq!(known([low, low, high]), (rank(2, 1), false), "only the newest counts");
    }

    #[test]
    fn leaving_needs_the_configuration_and_every_register_on_both_sides() {
        let joint = Seats::joint(&[1], &[1, 2, 3]);
        let leave = |seats, holders: [&[u8]; 3]| {
            may_leave_joint(seats, 0, [1, 2], |member, &register: &usize| {
                holders[register].contains(member)
            })
        };
        assert!(leave(&joint, [&[1, 2], &[1, 3], &[1, 2, 3]]));
        assert!(!leave(&joint, [&[1], &[1, 3], &[1, 2]]), "the configuration is not chosen");
        assert!(!leave(&joint, [&[1, 2], &[1, 3], &[1]]), "a register is not copied");
        assert!(!leave(&Seats::stable(&[1]), [&[1], &[1], &[1]]), "there is nothing to leave");
    }
}
