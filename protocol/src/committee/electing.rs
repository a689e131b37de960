//! From silence to a leader: a canvass that binds nobody, then promises of a majority, then the
//! newest state of every job.

use std::collections::BTreeSet;

use super::{Committee, Office, Rank, Replica, rules, takeover::Takeover};
use crate::{
    Ballot,
    context::Context,
    limits,
    message::replication::{Copied, SeatingRegister, Step, Summary},
    mutant::{self, Mutant},
    timers::Timer,
};

/// Times that promises are asked for in one ballot before the canvass begins anew.
const TRIES: u32 = 4;

impl Committee {
    /// No leader was heard of for long, or an election came to nothing.
    pub(crate) fn on_election_timeout(&mut self, cx: &mut Context<'_>) {
        if !self.is_seated() {
            return;
        }
        match &mut self.office {
            Office::Leading(_) => {}
            Office::Preparing(takeover) if takeover.tries < TRIES => {
                takeover.tries += 1;
                self.ask_for_promises(cx);
                cx.after(self.timing.accept_resend, Timer::Election);
            }
            Office::Preparing(_) | Office::Following | Office::Canvassing { .. } => {
                let wait = self.timing.election + cx.rng.below(self.timing.election);
                cx.after(wait, Timer::Election);
                self.canvass(cx);
            }
        }
    }

    /// Waits for a leader to be heard of.
    pub(super) fn await_leader(&mut self, cx: &mut Context<'_>) {
        if !self.is_seated() {
            return;
        }
        // One that sits alone has nobody to wait for.
        let alone = self.others().is_empty();
        let wait = self.timing.election + cx.rng.below(self.timing.election);
        cx.after(if alone { std::time::Duration::ZERO } else { wait }, Timer::Election);
    }

    fn canvass(&mut self, cx: &mut Context<'_>) {
        let (ballot, me) = (self.next_ballot(), self.me());
        let supporters = BTreeSet::from([me]);
        let enough = self.seating().is_some_and(|it| it.is_quorum(|who| who == me));
        if enough {
            return self.prepare(ballot, cx);
        }
        self.office = Office::Canvassing { ballot, supporters };
        for other in self.others() {
            self.tell(other, Step::Canvass { ballot }, cx);
        }
    }

    pub(super) fn on_canvass(&mut self, from: Replica, ballot: Ballot, cx: &mut Context<'_>) {
        let quiet = self.heard.is_none_or(|at| cx.now.since(at) >= self.timing.election);
        // One that does not know that it sits supports whoever does: this binds nobody.
        let known = !self.is_seated() || self.seating().is_some_and(|it| it.seats(from));
        let leads = matches!(self.office, Office::Leading(_));
        let may_stand = rules::may_stand(Some(self.seat.promised), ballot);
        if known && quiet && !leads && may_stand && ballot.leader == from.peer {
            self.tell(from, Step::Supported { ballot }, cx);
        }
    }

    pub(super) fn on_supported(&mut self, from: Replica, ballot: Ballot, cx: &mut Context<'_>) {
        let sits = self.sits(from);
        let Office::Canvassing { ballot: asked, supporters } = &mut self.office else {
            return;
        };
        if *asked != ballot || !sits {
            return;
        }
        supporters.insert(from);
        let Some(seating) = self.seat.seating.as_ref().map(|it| &it.seating) else {
            return;
        };
        if seating.is_quorum(|replica| supporters.contains(&replica)) {
            self.prepare(ballot, cx);
        }
    }

    /// Promises itself a ballot and asks the others for theirs.
    pub(super) fn prepare(&mut self, ballot: Ballot, cx: &mut Context<'_>) {
        // Never twice with the same ballot, also when terms have come to their end.
        if !rules::may_stand(Some(self.seat.promised), ballot) {
            return;
        }
        self.seat.promised = ballot;
        self.highest_term = self.highest_term.max(ballot.term);
        self.save_seat(cx);
        self.office = Office::Preparing(Takeover::new(ballot, cx.batch));
        self.ask_for_promises(cx);
        cx.after(self.timing.accept_resend, Timer::Election);
    }

    /// Asks those who have not promised, or for what is still missing of their copies.
    fn ask_for_promises(&self, cx: &mut Context<'_>) {
        let (Office::Preparing(takeover), Some(register)) = (&self.office, &self.seat.seating)
        else {
            return;
        };
        let ballot = takeover.ballot;
        for replica in takeover.silent(&register.seating, self.me()) {
            let seating = Box::new(register.clone());
            self.tell(replica, Step::Prepare { ballot, seating }, cx);
        }
        self.ask_for_copies(cx);
    }

    fn ask_for_copies(&self, cx: &mut Context<'_>) {
        let Office::Preparing(takeover) = &self.office else {
            return;
        };
        for (replica, mut jobs) in takeover.to_fetch() {
            jobs.truncate(limits::COPIES / 4);
            self.tell(replica, Step::Fetch { ballot: takeover.ballot, jobs }, cx);
        }
    }

    pub(super) fn on_prepare(
        &mut self,
        from: Replica,
        ballot: Ballot,
        seating: SeatingRegister,
        cx: &mut Context<'_>,
    ) {
        if rules::may_promise(Some(self.seat.promised), ballot) {
            self.learn_seating(from, seating, cx);
        }
        if !self.is_seated() || !self.sits(from) || ballot.leader != from.peer {
            return;
        }
        if !rules::may_promise(Some(self.seat.promised), ballot) {
            let promised = self.seat.promised;
            return self.tell(from, Step::Refused { promised }, cx);
        }
        // Who tells what it holds has it on disk: the answer follows a write, also when nothing
        // is new in it.
        self.promise(ballot, cx);
        self.follow(cx);
        let holds: Vec<Summary> = self.entries.values().map(|entry| summary(entry)).collect();
        let chunks: Vec<&[Summary]> = match holds.len() {
            0 => vec![&[]],
            _ => holds.chunks(limits::SUMMARIES).collect(),
        };
        let parts = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        for (part, holds) in (0..).zip(chunks) {
            let seating = self.seat.seating.clone().map(Box::new);
            let step = Step::Promise { ballot, seating, part, parts, holds: holds.to_vec() };
            self.tell(from, step, cx);
        }
    }

    /// Follows no older ballot from now on.
    pub(super) fn promise(&mut self, ballot: Ballot, cx: &mut Context<'_>) {
        self.seat.promised = ballot;
        self.highest_term = self.highest_term.max(ballot.term);
        if !mutant::is(Mutant::PromiseInMemory) {
            self.save_seat(cx);
        }
    }

    pub(super) fn on_promise(
        &mut self,
        from: Replica,
        ballot: Ballot,
        seating: Option<SeatingRegister>,
        part: (u32, u32),
        holds: Vec<Summary>,
        cx: &mut Context<'_>,
    ) {
        let sits = self.sits(from);
        let Office::Preparing(takeover) = &mut self.office else {
            return;
        };
        if takeover.ballot != ballot || !sits {
            return;
        }
        takeover.on_promise(from, seating, part, holds);
        self.go_on_preparing(cx);
    }

    /// Looks whether enough is here for the next step, and takes it.
    pub(super) fn go_on_preparing(&mut self, cx: &mut Context<'_>) {
        self.adopt_newer_seating(cx);
        let (me, entries) = (self.me(), &self.entries);
        let (Office::Preparing(takeover), Some(register)) = (&mut self.office, &self.seat.seating)
        else {
            return;
        };
        if !takeover.has_quorum(&register.seating, me) {
            return;
        }
        takeover.look_for(|job| entries.get(&job).map(|entry| entry.register.rank()));
        if takeover.is_ready() {
            self.lead(cx);
        } else {
            self.ask_for_copies(cx);
        }
    }

    /// A member that promised knew of later changes: those who sit now must promise too.
    fn adopt_newer_seating(&mut self, cx: &mut Context<'_>) {
        let Office::Preparing(takeover) = &self.office else {
            return;
        };
        let Some(newer) = takeover.newest_seating().cloned() else {
            return;
        };
        if mutant::is(Mutant::KeepOldSeating) {
            return;
        }
        let me = self.me();
        if !self.learn_seating(me, newer, cx) {
            return;
        }
        if self.is_seated() {
            self.ask_for_promises(cx);
        } else {
            self.follow(cx);
        }
    }

    /// Takes over who sits, if that is news, allowed, and told by one of them.
    pub(super) fn learn_seating(
        &mut self,
        from: Replica,
        other: SeatingRegister,
        cx: &mut Context<'_>,
    ) -> bool {
        let news = self.is_newer_seating(&other)
            && (other.seating.seats(from) || self.sits(from))
            && other.seating.verify(cx.charter).is_ok();
        if news {
            self.seat.seating = Some(other);
            self.save_seat(cx);
        }
        news
    }

    fn is_newer_seating(&self, other: &SeatingRegister) -> bool {
        let age =
            |it: &SeatingRegister| (it.seating.founding.generation, it.ballot, it.seating.epoch);
        self.seat.seating.as_ref().is_none_or(|known| age(known) < age(other))
    }

    pub(super) fn on_refused(&mut self, from: Replica, promised: Ballot, cx: &mut Context<'_>) {
        if !self.sits(from) {
            return;
        }
        self.highest_term = self.highest_term.max(promised.term);
        let own = match &self.office {
            Office::Leading(leadership) => leadership.ballot,
            Office::Preparing(takeover) => takeover.ballot,
            Office::Following | Office::Canvassing { .. } => return,
        };
        if promised > own {
            self.step_down(cx);
        }
    }

    pub(super) fn on_fetch(
        &self,
        from: Replica,
        ballot: Ballot,
        jobs: &[crate::JobId],
        cx: &mut Context<'_>,
    ) {
        // Only whoever prepared this ballot with this replica's promise may look.
        if ballot != self.seat.promised || ballot.leader != from.peer {
            return;
        }
        let mut bytes = 0;
        let copies: Vec<Copied> = jobs
            .iter()
            .filter_map(|job| self.entries.get(job))
            .map(|entry| entry.copy(true))
            .take_while(|copy| {
                let first = bytes == 0;
                bytes += copy.weight();
                first || bytes <= limits::COPIES_BYTES
            })
            .collect();
        self.tell(from, Step::Fetched { ballot, copies }, cx);
    }

    pub(super) fn on_fetched(
        &mut self,
        from: Replica,
        ballot: Ballot,
        copies: Vec<Copied>,
        cx: &mut Context<'_>,
    ) {
        let Office::Preparing(takeover) = &mut self.office else {
            return;
        };
        if takeover.ballot == ballot && !copies.is_empty() {
            takeover.on_fetched(from, copies);
            takeover.tries = 0;
            self.go_on_preparing(cx);
        }
    }

    /// Whoever leads, it is not this replica.
    pub(super) fn step_down(&mut self, cx: &mut Context<'_>) {
        self.turn.deposed |= self.is_leading();
        if self.turn.deposed {
            self.turn.elected = false;
            self.turn.records.clear();
        }
        self.office = Office::Following;
        cx.timers.clear(Timer::Beat);
        self.await_leader(cx);
    }

    /// Gives up what it did for itself, in favour of another.
    pub(super) fn follow(&mut self, cx: &mut Context<'_>) {
        if matches!(self.office, Office::Following) {
            self.await_leader(cx);
        } else {
            self.step_down(cx);
        }
    }
}

fn summary(entry: &super::Entry) -> Summary {
    let Rank { ballot, version } = entry.register.rank();
    Summary { job: entry.register.record.job, ballot, version }
}
