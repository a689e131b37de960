//! Who sits: candidates are noted, the committee grows to three and five, and a member that is
//! gone for good makes room for another. One change at a time, each by way of a joint committee in
//! which the old and the new majority both have a say.

use std::collections::{BTreeMap, BTreeSet};

use cyxwiz_scoring::{Candidate, Permille, Reachability, rank_candidates};

use super::{Committee, Office, Replica};
use crate::{
    Instant,
    charter::Credential,
    context::Context,
    limits,
    message::{
        membership::Member,
        replication::{Seating, Step},
    },
    mutant::{self, Mutant},
    timers::Timer,
};

/// Sizes that a committee grows to: each survives the loss of fewer than half of it.
const SIZES: [usize; 3] = [1, 3, 5];

/// Peers that have the right to sit and do not.
#[derive(Debug, Default)]
pub(super) struct Candidates(BTreeMap<Replica, Standing>);

#[derive(Debug)]
struct Standing {
    member: Member,
    since: Instant,
    heard: Instant,
}

impl Candidates {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Committee {
    /// Says that it would sit, to whoever leads, as long as it does not.
    pub(crate) fn on_stand_timeout(&mut self, cx: &mut Context<'_>) {
        cx.after(self.timing.stand, Timer::Stand);
        if self.is_seated() {
            return;
        }
        let Some(record) = cx.directory.committee() else {
            return;
        };
        let leader = record.members.iter().find(|member| member.peer == record.ballot.leader);
        if let Some(leader) = leader.map(Member::replica)
            && leader.peer != self.me.peer
        {
            self.tell(leader, Step::Stand { credential: self.me.credential }, cx);
        }
    }

    pub(super) fn on_stand(&mut self, from: Replica, credential: Credential, cx: &mut Context<'_>) {
        let valid = credential.verify(cx.charter, from.peer, cx.unix).is_ok();
        let seated = self.seating().is_some_and(|seating| seating.seats(from));
        if !valid || seated || !self.is_leading() {
            return;
        }
        let room = self.candidates.0.len() < limits::CANDIDATES;
        if !room && !self.candidates.0.contains_key(&from) {
            return;
        }
        // A peer stands with the disk that it has now.
        self.candidates.0.retain(|replica, _| replica.peer != from.peer || *replica == from);
        let member = Member { peer: from.peer, store: from.store, credential };
        let standing = self.candidates.0.entry(from).or_insert(Standing {
            member,
            since: cx.now,
            heard: cx.now,
        });
        (standing.member, standing.heard) = (member, cx.now);
    }

    /// Goes on with a change of members, or begins one.
    pub(super) fn look_at_members(&mut self, cx: &mut Context<'_>) {
        let stale = self.timing.stand * 4;
        self.candidates.0.retain(|_, standing| cx.now.since(standing.heard) < stale);
        let Some(seating) = self.seating().cloned() else {
            return;
        };
        let Office::Leading(leadership) = &self.office else {
            return;
        };
        if !leadership.acts() || !leadership.seating_is_chosen(&seating) {
            return;
        }
        if !seating.is_joint() {
            if let Some(joining) = self.next_members(&seating, cx) {
                let next = match joining {
                    members if mutant::is(Mutant::WithoutJoint) => {
                        Seating { members, ..seating.clone() }
                    }
                    joining => Seating { joining, ..seating.clone() },
                };
                self.change_seating(next, &seating, cx);
            }
            return;
        }
        if leadership.may_leave_joint(&seating) {
            let members = seating.joining.clone();
            let next = Seating { members, joining: Vec::new(), ..seating.clone() };
            self.change_seating(next, &seating, cx);
        }
    }

    fn change_seating(&mut self, mut next: Seating, before: &Seating, cx: &mut Context<'_>) {
        next.epoch = before.epoch + 1;
        let joint = next.is_joint();
        self.seat_anew(next, cx);
        if joint && !mutant::is(Mutant::LeaveJointWithoutCopies) {
            self.send_all_to_newcomers(before);
        } else {
            self.count_again();
        }
        let seating = self.seating().cloned();
        self.candidates
            .0
            .retain(|replica, _| seating.as_ref().is_none_or(|it| !it.seats(*replica)));
    }

    /// Who should sit next, if that is not who sits now.
    fn next_members(&self, seating: &Seating, cx: &Context<'_>) -> Option<Vec<Member>> {
        let sitting = &seating.members;
        let gone = sitting.iter().find(|member| self.is_gone(member.replica(), cx));
        let best = self.best_candidates(sitting, gone, cx);
        if let Some(gone) = gone {
            let successor = best.first()?;
            let stay = sitting.iter().filter(|member| member.replica() != gone.replica());
            return Some(stay.chain([successor]).copied().collect());
        }
        let size = SIZES.into_iter().find(|size| *size > sitting.len())?;
        let wanted = size - sitting.len();
        let grown = sitting.iter().chain(best.iter().take(wanted)).copied();
        (best.len() >= wanted).then(|| grown.collect())
    }

    /// Whether a member is away for so long that another takes its seat, or came back without
    /// its disk.
    fn is_gone(&self, replica: Replica, cx: &Context<'_>) -> bool {
        if replica == self.me() {
            return false;
        }
        let Office::Leading(leadership) = &self.office else {
            return false;
        };
        let without_disk = self.candidates.0.keys().any(|it| it.peer == replica.peer);
        let heard = leadership.heard(replica).unwrap_or(leadership.since);
        without_disk || cx.now.since(heard) >= self.timing.replace_after
    }

    /// Those who could sit, best first: present for longest, reachable, one seat a peer.
    fn best_candidates(
        &self,
        sitting: &[Member],
        gone: Option<&Member>,
        cx: &Context<'_>,
    ) -> Vec<Member> {
        // Here for a moment, and heard of just now: a joint committee needs them.
        let settled = self.candidates.0.values().filter(|standing| {
            cx.now.since(standing.since) >= self.timing.stand / 4
                && cx.now.since(standing.heard) < self.timing.stand * 3 / 2
        });
        let candidates: Vec<_> = settled
            .map(|standing| Candidate {
                key: standing.member.replica(),
                operator: standing.member.peer,
                // An hour of presence counts in full.
                uptime: Permille::ratio(cx.now.since(standing.since).as_secs().min(3_600), 3_600),
                reputation: Permille::ONE,
                reachability: Reachability::Direct,
                tie: 0,
            })
            .collect();
        let seated: BTreeSet<_> = sitting
            .iter()
            .map(|member| member.peer)
            .filter(|peer| gone.is_none_or(|gone| gone.peer != *peer))
            .collect();
        rank_candidates(&candidates, &seated)
            .into_iter()
            .filter_map(|ranked| self.candidates.0.get(&ranked.key))
            .map(|standing| standing.member)
            .collect()
    }
}
