//! Leading: states go out to the members, and count when enough of them have them on disk.

use std::{sync::Arc, time::Duration};

use super::{
    Committee, Entry, Office, Register, Replica, files_of, flight::Flight, leadership::Sent,
};
use crate::{
    Ballot, JobId, PeerId,
    context::Context,
    coordinator::WorkerRecord,
    job::JobRecord,
    limits,
    message::{
        membership::CommitteeRecord,
        query::DecisionRecord,
        replication::{Accept, Held, Seating, SeatingRegister, Step},
    },
    mutant::{self, Mutant},
    record::Key,
    signed::Signed,
    spec::{JobSpec, KeptSpec},
    timers::Timer,
};

/// How often files are asked for again that could not be had.
const FILES_AGAIN: Duration = Duration::from_secs(10);
/// Messages to one member that wait for their answer; what comes up meanwhile shares the next.
const WINDOW: usize = 8;

impl Committee {
    pub(super) fn version(&self, job: JobId) -> u64 {
        self.entries.get(&job).map_or(0, |entry| entry.register.version)
    }

    /// Puts who sits to the members, under this leader's ballot.
    pub(super) fn seat_anew(&mut self, seating: Seating, cx: &mut Context<'_>) {
        let me = self.me();
        let Office::Leading(leadership) = &mut self.office else {
            return;
        };
        leadership.seat_followers(&seating, me);
        leadership.seated = cx.now;
        leadership.seating_holders.clear();
        leadership.note_own(cx.batch, None, Some(seating.epoch));
        for follower in leadership.followers.values_mut() {
            follower.seating_due = true;
        }
        let ballot = leadership.ballot;
        self.seat.seating = Some(SeatingRegister { ballot, seating });
        self.save_seat(cx);
    }

    /// Wants a new job to be taken in.
    pub(crate) fn admit(&mut self, spec: KeptSpec, record: JobRecord, cx: &mut Context<'_>) {
        let Some(ballot) = self.ballot() else { return };
        cx.save::<Signed<JobSpec>>(Key::Spec(record.job), spec.signed());
        let register = Register { ballot, version: 0, record: record.clone() };
        let entry = Entry { register, spec: Arc::new(spec), decisions: Vec::new() };
        self.entries.insert(record.job, Box::new(entry));
        if let Office::Leading(leadership) = &mut self.office {
            leadership.flights.insert(record.job, Flight::default());
        }
        self.propose(record, cx);
    }

    /// Wants `record` to be the job's next state, and keeps how its worker was chosen.
    pub(crate) fn award(
        &mut self,
        record: JobRecord,
        decision: DecisionRecord,
        cx: &mut Context<'_>,
    ) {
        self.keep_decision(record.job, decision, cx);
        self.propose(record, cx);
    }

    /// Wants `record` to be the job's next state. The leader alone proposes.
    pub(crate) fn propose(&mut self, record: JobRecord, cx: &mut Context<'_>) {
        let job = record.job;
        let Some(ballot) = self.ballot() else { return };
        let everyone = self.seating().map(Seating::replicas).unwrap_or_default();
        let (Office::Leading(leadership), Some(entry)) =
            (&mut self.office, self.entries.get_mut(&job))
        else {
            return;
        };
        let flight = leadership.flights.entry(job).or_insert_with(|| {
            let before = entry.register.version;
            let holders = everyone.into_iter().map(|replica| (replica, before)).collect();
            Flight::chosen_before(before, entry.register.record.clone(), holders)
        });
        let version = entry.register.version + 1;
        entry.register = Register { ballot, version, record: record.clone() };
        cx.save(Key::Register(job), &entry.register);
        flight.propose(version, record);
        leadership.note_own(cx.batch, Some((job, version)), None);
        for follower in leadership.followers.values_mut() {
            follower.behind.remove(&job);
            follower.fresh.insert(job);
        }
    }

    /// Lets the other members know how a worker did.
    pub(crate) fn share_rating(&mut self, peer: PeerId, rating: &WorkerRecord) {
        if let Office::Leading(leadership) = &mut self.office {
            for follower in leadership.followers.values_mut() {
                follower.ratings.insert(peer, rating.clone());
            }
        }
    }

    /// Whether a finished job may go: everyone has it as finished, so that nobody can bring it
    /// back as anything else.
    pub(crate) fn may_forget(&self, job: JobId) -> bool {
        let Office::Leading(leadership) = &self.office else {
            return false;
        };
        let everywhere = match leadership.flight(job) {
            Some(flight) => mutant::is(Mutant::ForgetTooEarly) && flight.is_certain(),
            None => true,
        };
        everywhere && self.newest(job).is_some_and(JobRecord::is_finished)
    }

    /// A finished job that nobody will ask for any more.
    pub(crate) fn forget(&mut self, job: JobId, cx: &mut Context<'_>) {
        if !self.may_forget(job) {
            return;
        }
        self.erase(job, cx);
        if let Office::Leading(leadership) = &mut self.office {
            for follower in leadership.followers.values_mut() {
                // What a member never hears of it forgets under a later leader.
                if follower.forget.len() < limits::FINISHED_JOBS {
                    follower.forget.push_back(job);
                }
            }
        }
    }

    /// Own writes are on disk.
    pub(super) fn on_own_flushed(&mut self, batch: u64, cx: &mut Context<'_>) {
        let me = self.me();
        let epoch = self.seating().map_or(0, |seating| seating.epoch);
        let Office::Leading(leadership) = &mut self.office else {
            return;
        };
        let mut jobs = Vec::new();
        while let Some(own) = leadership.own.pop_front_if(|first| first.batch <= batch) {
            if own.epoch == Some(epoch) {
                leadership.seating_holders.insert(me);
            }
            jobs.extend(own.jobs);
        }
        for (job, version) in jobs {
            self.note_held(me, job, version);
        }
        self.look_at_seating(cx);
    }

    /// A member has these.
    pub(super) fn on_accepted(
        &mut self,
        from: Replica,
        ballot: Ballot,
        (serial, epoch): (u64, u64),
        items: &[(JobId, Held)],
        cx: &mut Context<'_>,
    ) {
        let known = self.seating().map_or(0, |seating| seating.epoch);
        let Office::Leading(leadership) = &mut self.office else {
            return;
        };
        let Some(follower) = leadership.followers.get_mut(&from) else {
            return;
        };
        if leadership.ballot != ballot {
            return;
        }
        follower.heard = Some(cx.now);
        let sent = follower.sent.remove(&serial);
        if epoch == known && sent.as_ref().is_some_and(|sent| sent.seating) {
            leadership.seating_holders.insert(from);
        }
        // What was not answered for waits for its files; it is asked for again in time.
        let asked = sent.map(|sent| sent.jobs).unwrap_or_default();
        follower.late.extend(asked.into_iter().map(|job| (job, cx.now)));
        for (job, _) in items {
            follower.late.remove(job);
        }
        for (job, held) in items {
            match held {
                Held::Version(version) => self.note_held(from, *job, *version),
                Held::NoSpec => self.send_again(from, *job, false),
                Held::Later => self.restate(*job, cx),
            }
        }
        self.look_at_seating(cx);
    }

    /// A replica has a version of a job on disk: perhaps that is enough.
    fn note_held(&mut self, who: Replica, job: JobId, version: u64) {
        let newest = self.version(job);
        let (Office::Leading(leadership), Some(register)) = (&mut self.office, &self.seat.seating)
        else {
            return;
        };
        let Some(flight) = leadership.flights.get_mut(&job) else {
            return;
        };
        flight.note(who, version);
        while let Some(record) = flight.next_chosen(&register.seating) {
            self.turn.records.push(record);
        }
        if flight.has_landed(&register.seating, newest) {
            leadership.flights.remove(&job);
        }
        if version < newest {
            self.send_again(who, job, true);
        }
    }

    /// Others decide from now on: what is enough may have changed for every job.
    pub(super) fn count_again(&mut self) {
        let (entries, records) = (&self.entries, &mut self.turn.records);
        let (Office::Leading(leadership), Some(register)) = (&mut self.office, &self.seat.seating)
        else {
            return;
        };
        leadership.flights.retain(|job, flight| {
            while let Some(record) = flight.next_chosen(&register.seating) {
                records.push(record);
            }
            let newest = entries.get(job).map_or(0, |entry| entry.register.version);
            !flight.has_landed(&register.seating, newest)
        });
    }

    fn send_again(&mut self, to: Replica, job: JobId, knows_spec: bool) {
        let Office::Leading(leadership) = &mut self.office else {
            return;
        };
        let Some(flight) = leadership.flights.get_mut(&job) else {
            return;
        };
        if !knows_spec {
            flight.note_without_spec(to);
        }
        let Some(follower) = leadership.followers.get_mut(&to) else {
            return;
        };
        let under_way = follower.sent.values().any(|sent| sent.jobs.contains(&job));
        if !under_way && !follower.fresh.contains(&job) {
            follower.behind.insert(job);
        }
    }

    /// A member has a state under a later ballot than the one that a majority has: this leader's
    /// own ballot is above both.
    fn restate(&mut self, job: JobId, cx: &mut Context<'_>) {
        let (Office::Leading(leadership), Some(entry)) =
            (&mut self.office, self.entries.get_mut(&job))
        else {
            return;
        };
        let ballot = leadership.ballot;
        let Some(flight) = leadership.flights.get_mut(&job) else {
            return;
        };
        if entry.register.ballot == ballot {
            return;
        }
        // Another version, so that no answer to what was sent before is taken for one to this.
        let (version, record) = (entry.register.version + 1, entry.register.record.clone());
        entry.register = Register { ballot, version, record: record.clone() };
        cx.save(Key::Register(job), &entry.register);
        flight.restate(version, record);
        leadership.note_own(cx.batch, Some((job, version)), None);
        for follower in leadership.followers.values_mut() {
            follower.behind.insert(job);
        }
    }

    /// With the seating on enough disks the ballot is this leader's, for everyone to know.
    fn look_at_seating(&mut self, cx: &mut Context<'_>) {
        let Some(SeatingRegister { seating, .. }) = &self.seat.seating else {
            return;
        };
        let Office::Leading(leadership) = &mut self.office else {
            return;
        };
        if !leadership.seating_is_chosen(seating) {
            return;
        }
        let known = leadership.record.as_ref().map(|record| record.epoch);
        if known == Some(seating.epoch) {
            return;
        }
        let record = cx.sign(CommitteeRecord {
            cell: seating.cell,
            founding: seating.founding,
            epoch: seating.epoch,
            ballot: leadership.ballot,
            members: seating.everyone(),
        });
        self.turn.elected |= known.is_none();
        self.turn.record = Some(record.clone());
        leadership.record = Some(Box::new(record));
        if !self.is_seated() {
            // It led the change that ended its own term.
            self.step_down(cx);
        }
    }

    pub(super) fn on_heard(&mut self, from: Replica, ballot: Ballot, cx: &mut Context<'_>) {
        if let Office::Leading(leadership) = &mut self.office
            && leadership.ballot == ballot
            && let Some(follower) = leadership.followers.get_mut(&from)
        {
            follower.heard = Some(cx.now);
        }
    }

    /// Says that it is here, sends again what was not answered, and gives up when it hears of no
    /// majority.
    pub(crate) fn on_beat_timeout(&mut self, cx: &mut Context<'_>) {
        let me = self.me();
        let Office::Leading(leadership) = &mut self.office else {
            return;
        };
        let resend = self.timing.accept_resend;
        for follower in leadership.followers.values_mut() {
            let overdue: Vec<u64> = follower
                .sent
                .iter()
                .filter(|(_, sent)| cx.now.since(sent.at) >= resend)
                .map(|(serial, _)| *serial)
                .collect();
            for sent in overdue.iter().filter_map(|serial| follower.sent.remove(serial)) {
                follower.seating_due |= sent.seating;
                follower.behind.extend(sent.jobs);
            }
            let late = follower.late.extract_if(.., |_, since| cx.now.since(*since) >= resend * 2);
            follower.behind.extend(late.map(|(job, _)| job));
        }
        let quiet = self.timing.step_down;
        let here = |replica: Replica| {
            let heard = leadership.heard(replica).unwrap_or(leadership.seated);
            replica == me || cx.now.since(heard) < quiet
        };
        let Some(register) = &self.seat.seating else {
            return;
        };
        if !register.seating.is_quorum(here) {
            return self.step_down(cx);
        }
        self.beat(cx);
        self.look_at_members(cx);
        self.look_for_files(cx);
        cx.after(self.timing.beat, Timer::Beat);
    }

    /// Asks again for the files of states that were taken over without them.
    fn look_for_files(&mut self, cx: &mut Context<'_>) {
        let due = self.lacks_files.iter().find(|(_, at)| cx.now.since(**at) >= FILES_AGAIN);
        let Some(job) = due.map(|(job, _)| *job) else {
            return;
        };
        let Some(entry) = self.entries.get(&job) else {
            self.lacks_files.remove(&job);
            return;
        };
        let files = files_of(entry.record(), &entry.spec, cx.network);
        self.fetch(entry.record(), entry.record().submitter, files, cx);
        self.lacks_files.insert(job, cx.now);
    }

    pub(super) fn beat(&self, cx: &mut Context<'_>) {
        if let Office::Leading(leadership) = &self.office {
            for replica in leadership.followers.keys() {
                self.tell(*replica, Step::Beat { ballot: leadership.ballot }, cx);
            }
        }
    }

    /// Sends each member what it lacks. Called once at the end of every input, so that what one
    /// input decides goes out together.
    pub(crate) fn pump(&mut self, cx: &mut Context<'_>) {
        let Office::Leading(leadership) = &mut self.office else {
            return;
        };
        let away = self.timing.accept_resend;
        let Some(register) = &self.seat.seating else {
            return;
        };
        let mut messages = Vec::new();
        for (replica, follower) in &mut leadership.followers {
            // One that is silent is sent no more than who sits, until it answers.
            let here = follower.heard.is_some_and(|at| cx.now.since(at) < away);
            let window = if here { WINDOW } else { usize::from(follower.seating_due) };
            while follower.sent.len() < window && follower.wants_something() {
                leadership.serial += 1;
                let (serial, ballot) = (leadership.serial, leadership.ballot);
                let seating = std::mem::take(&mut follower.seating_due);
                let copies = if here {
                    follower.next_copies(*replica, &self.entries, &leadership.flights)
                } else {
                    Vec::new()
                };
                let jobs = copies.iter().map(|copy| copy.job).collect();
                follower.sent.insert(serial, Sent { at: cx.now, jobs, seating });
                let accept = Accept {
                    ballot,
                    serial,
                    seating: seating.then(|| Box::new(register.clone())),
                    copies,
                    forget: follower.next_forgotten(),
                    ratings: follower.next_ratings(),
                };
                messages.push((*replica, Step::Accept(accept)));
            }
        }
        for (replica, step) in messages {
            self.tell(replica, step, cx);
        }
    }
}
