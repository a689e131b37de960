//! Leading: states go out to the members, and count when enough of them have them on disk.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    Committee, Entry, MemberStatus, Office, Rank, Register, Replica, flight::Flight, rules,
    takeover::Inheritance,
};
use crate::{
    Ballot, Instant, JobId, PeerId,
    context::Context,
    coordinator::WorkerRecord,
    job::{JobRecord, JobState},
    limits,
    message::{
        membership::{CommitteeRecord, Member},
        query::DecisionRecord,
        replication::{Accept, Copied, Held, Seating, SeatingRegister, Step},
    },
    mutant::{self, Mutant},
    record::Key,
    signed::{Signed, Verified},
    spec::JobSpec,
    timers::Timer,
};

/// Messages to one member that wait for their answer; what comes up meanwhile shares the next.
const WINDOW: usize = 8;

/// A ballot that a majority promised to.
#[derive(Debug)]
pub(super) struct Leadership {
    pub(super) ballot: Ballot,
    pub(super) since: Instant,
    /// What everyone may know, since a majority has the seating under this ballot.
    record: Option<Box<Verified<CommitteeRecord>>>,
    flights: BTreeMap<JobId, Flight>,
    followers: BTreeMap<Replica, Follower>,
    /// Own writes that wait for the disk, oldest first.
    own: VecDeque<Own>,
    seating_holders: BTreeSet<Replica>,
    serial: u64,
}

/// Another member, as its leader sees it.
#[derive(Debug, Default)]
struct Follower {
    heard: Option<Instant>,
    /// Jobs with a new state: somebody waits for it.
    fresh: BTreeSet<JobId>,
    /// Jobs whose newest state it lacks for longer.
    behind: BTreeSet<JobId>,
    sent: BTreeMap<u64, Sent>,
    /// Jobs that it was sent and whose files it fetches, and since when.
    late: BTreeMap<JobId, Instant>,
    seating_due: bool,
    forget: VecDeque<JobId>,
    ratings: BTreeMap<PeerId, WorkerRecord>,
}

#[derive(Debug)]
struct Sent {
    at: Instant,
    jobs: Vec<JobId>,
    seating: bool,
}

/// Writes of one input.
#[derive(Debug)]
struct Own {
    batch: u64,
    jobs: Vec<(JobId, u64)>,
    epoch: Option<u64>,
}

impl Leadership {
    const fn new(ballot: Ballot, since: Instant) -> Self {
        Self {
            ballot,
            since,
            record: None,
            flights: BTreeMap::new(),
            followers: BTreeMap::new(),
            own: VecDeque::new(),
            seating_holders: BTreeSet::new(),
            serial: 0,
        }
    }

    pub(super) const fn acts(&self) -> bool {
        self.record.is_some()
    }

    pub(super) fn record(&self) -> Option<&Verified<CommitteeRecord>> {
        self.record.as_deref()
    }

    pub(super) fn flight(&self, job: JobId) -> Option<&Flight> {
        self.flights.get(&job)
    }

    /// Whether those who joined may decide alone: who sits and every job is on enough disks of
    /// both sides.
    pub(super) fn may_leave_joint(&self, seating: &Seating, newest: impl Fn(JobId) -> u64) -> bool {
        let jobs = self.flights.keys().copied().map(Some);
        rules::may_leave_joint(&seating.seats_by_side(), None, jobs, |member, job| {
            let replica = member.replica();
            match job {
                None => self.seating_holders.contains(&replica),
                Some(_) if mutant::is(Mutant::LeaveJointEarly) => true,
                Some(job) => self.flights.get(job).is_none_or(|it| it.holds(replica, newest(*job))),
            }
        })
    }

    /// Whether the seating is on enough disks.
    pub(super) fn seating_is_chosen(&self, seating: &Seating) -> bool {
        seating.is_quorum(|replica| self.seating_holders.contains(&replica))
    }

    /// When a member was last heard of.
    pub(super) fn heard(&self, replica: Replica) -> Option<Instant> {
        self.followers.get(&replica).and_then(|follower| follower.heard)
    }

    pub(super) fn members(&self, me: Replica, now: Instant) -> Vec<MemberStatus> {
        let own = MemberStatus { peer: me.peer, silent_ms: Some(0), behind: 0 };
        let others = self.followers.iter().map(|(replica, follower)| MemberStatus {
            peer: replica.peer,
            silent_ms: follower
                .heard
                .map(|at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX)),
            behind: follower.fresh.len()
                + follower.behind.len()
                + follower.late.len()
                + follower.sent.values().map(|sent| sent.jobs.len()).sum::<usize>(),
        });
        std::iter::once(own).chain(others).collect()
    }

    fn note_own(&mut self, batch: u64, job: Option<(JobId, u64)>, epoch: Option<u64>) {
        match self.own.back_mut() {
            Some(own) if own.batch == batch => {
                own.jobs.extend(job);
                own.epoch = epoch.or(own.epoch);
            }
            _ => self.own.push_back(Own { batch, jobs: job.into_iter().collect(), epoch }),
        }
    }

    /// Members that were not here before begin with nothing, others stay.
    fn seat_followers(&mut self, seating: &Seating, me: Replica) {
        let seated = seating.replicas();
        self.followers.retain(|replica, _| seated.contains(replica));
        for replica in seated.into_iter().filter(|replica| *replica != me) {
            self.followers.entry(replica).or_default();
        }
    }
}

impl Committee {
    /// A majority has promised, and everything that it has is here: the newest states are this
    /// leader's to keep, and those that are not known to be chosen are proposed again.
    pub(super) fn lead(&mut self, cx: &mut Context<'_>) {
        let office = std::mem::replace(&mut self.office, Office::Following);
        let Office::Preparing(takeover) = office else {
            self.office = office;
            return;
        };
        let (ballot, me) = (takeover.ballot, self.me());
        let Inheritance { holds, mut fetched } = takeover.into_inheritance();
        let Some(seating) = self.seating().cloned() else {
            return;
        };
        let mut leadership = Leadership::new(ballot, cx.now);
        leadership.seat_followers(&seating, me);
        for replica in holds.keys() {
            if let Some(follower) = leadership.followers.get_mut(replica) {
                follower.heard = Some(cx.now);
            }
        }
        let mut jobs: BTreeSet<JobId> = self.entries.keys().copied().collect();
        jobs.extend(fetched.keys());
        for job in jobs {
            let flight = match fetched.remove(&job) {
                Some(copy) => self.adopt(job, copy, ballot, &holds, cx),
                None => self.inherit(job, &seating, ballot, &holds, cx),
            };
            let Some(flight) = flight else { continue };
            let version = self.version(job);
            if !flight.is_certain() {
                leadership.note_own(cx.batch, Some((job, version)), None);
            }
            if flight.has_landed(&seating, version) {
                continue;
            }
            for (replica, follower) in &mut leadership.followers {
                if !flight.holds(*replica, version) {
                    follower.behind.insert(job);
                }
            }
            leadership.flights.insert(job, flight);
        }
        self.office = Office::Leading(Box::new(leadership));
        cx.timers.clear(Timer::Election);
        cx.after(self.timing.beat, Timer::Beat);
        self.seat_anew(seating, cx);
        self.beat(cx);
    }

    /// A state that only others had: it becomes this leader's own.
    fn adopt(
        &mut self,
        job: JobId,
        copy: Copied,
        ballot: Ballot,
        holds: &BTreeMap<Replica, BTreeMap<JobId, Rank>>,
        cx: &mut Context<'_>,
    ) -> Option<Flight> {
        let spec = match self.entries.get(&job) {
            Some(entry) => Arc::clone(&entry.spec),
            None => Arc::new(copy.spec.as_ref()?.verify(cx.network).ok()?),
        };
        let copy = Copied { register: Register { ballot, ..copy.register }, ..copy };
        let files = self.files_lacking(&copy.register.record, &spec, cx.network);
        let version = self.keep_copy(copy, spec, cx);
        let record = self.newest(job)?.clone();
        if !files.is_empty() {
            // Those who told of the state have its files; this leader goes on meanwhile.
            self.fetch(&record, record.submitter, files, cx);
        }
        let known = holds.iter().filter(|(_, jobs)| jobs.contains_key(&job));
        let mut holders: BTreeMap<Replica, u64> = known.map(|(who, _)| (*who, 0)).collect();
        holders.insert(self.me(), 0);
        let mut flight = Flight::new(None, holders);
        flight.propose(version, record);
        Some(flight)
    }

    /// A state that this leader has already.
    fn inherit(
        &mut self,
        job: JobId,
        seating: &Seating,
        ballot: Ballot,
        holds: &BTreeMap<Replica, BTreeMap<JobId, Rank>>,
        cx: &mut Context<'_>,
    ) -> Option<Flight> {
        let me = self.me();
        let entry = self.entries.get_mut(&job)?;
        if mutant::is(Mutant::ForgetCancelAtTakeover) {
            entry.register.record.cancel_requested = false;
        }
        let (rank, record) = (entry.register.rank(), entry.register.record.clone());
        let mut holders = BTreeMap::from([(me, rank.version)]);
        for (replica, jobs) in holds {
            if let Some(held) = jobs.get(&job) {
                holders.insert(*replica, if *held == rank { rank.version } else { 0 });
            }
        }
        let reported = |member: &Member| {
            let replica = member.replica();
            if replica == me {
                return Some(rank);
            }
            holds.get(&replica).and_then(|jobs| jobs.get(&job)).copied()
        };
        if rules::is_known_chosen(&seating.seats_by_side(), &rank, reported)
            || mutant::is(Mutant::FoundIsChosen)
        {
            return Some(Flight::new(Some(record), holders));
        }
        if !mutant::is(Mutant::KeepOldBallot) {
            entry.register.ballot = ballot;
        }
        cx.save(Key::Register(job), &entry.register);
        let mut flight = Flight::new(None, holders);
        flight.restate(rank.version, record);
        Some(flight)
    }

    fn version(&self, job: JobId) -> u64 {
        self.entries.get(&job).map_or(0, |entry| entry.register.version)
    }

    /// Puts who sits to the members, under this leader's ballot.
    pub(super) fn seat_anew(&mut self, seating: Seating, cx: &mut Context<'_>) {
        let me = self.me();
        let Office::Leading(leadership) = &mut self.office else {
            return;
        };
        leadership.seat_followers(&seating, me);
        leadership.seating_holders.clear();
        leadership.note_own(cx.batch, None, Some(seating.epoch));
        for follower in leadership.followers.values_mut() {
            follower.seating_due = true;
        }
        let ballot = leadership.ballot;
        self.seat.seating = Some(SeatingRegister { ballot, seating });
        self.save_seat(cx);
    }

    /// Every job goes to those who sit from now on, before those who rise may leave.
    pub(super) fn send_all_to_newcomers(&mut self, before: &Seating) {
        let me = self.me();
        let Some(seating) = self.seating().cloned() else {
            return;
        };
        let versions: Vec<(JobId, u64, JobRecord)> = self
            .entries
            .iter()
            .map(|(job, entry)| (*job, entry.register.version, entry.register.record.clone()))
            .collect();
        let Office::Leading(leadership) = &mut self.office else {
            return;
        };
        let old: Vec<Replica> =
            before.replicas().into_iter().filter(|it| seating.seats(*it)).chain([me]).collect();
        let new: Vec<Replica> =
            seating.replicas().into_iter().filter(|it| !before.seats(*it)).collect();
        for (job, version, record) in versions {
            leadership.flights.entry(job).or_insert_with(|| {
                let holders = old.iter().map(|replica| (*replica, version)).collect();
                Flight::new(Some(record), holders)
            });
            for replica in &new {
                if let Some(follower) = leadership.followers.get_mut(replica) {
                    follower.behind.insert(job);
                }
            }
        }
    }

    /// Wants a new job to be taken in.
    pub(crate) fn admit(
        &mut self,
        spec: Arc<Verified<JobSpec>>,
        record: JobRecord,
        cx: &mut Context<'_>,
    ) {
        let Some(ballot) = self.ballot() else { return };
        cx.save::<Signed<JobSpec>>(Key::Spec(record.job), spec.signed());
        let register = Register { ballot, version: 0, record: record.clone() };
        self.entries.insert(record.job, Entry { register, spec, decisions: Vec::new() });
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
            Flight::new(Some(entry.register.record.clone()), holders)
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
        !leadership.flights.contains_key(&job)
            && self.newest(job).is_some_and(JobRecord::is_finished)
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
            let heard = leadership.heard(replica);
            replica == me || heard.is_some_and(|at| cx.now.since(at) < quiet)
        };
        let Some(register) = &self.seat.seating else {
            return;
        };
        if !register.seating.is_quorum(here) {
            return self.step_down(cx);
        }
        self.beat(cx);
        self.look_at_members(cx);
        cx.after(self.timing.beat, Timer::Beat);
    }

    fn beat(&self, cx: &mut Context<'_>) {
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

impl Follower {
    fn wants_something(&self) -> bool {
        let idle = self.sent.is_empty() && (!self.forget.is_empty() || !self.ratings.is_empty());
        self.seating_due || !self.fresh.is_empty() || !self.behind.is_empty() || idle
    }

    fn next_copies(
        &mut self,
        me: Replica,
        entries: &BTreeMap<JobId, Entry>,
        flights: &BTreeMap<JobId, Flight>,
    ) -> Vec<Copied> {
        let (mut copies, mut bytes) = (Vec::new(), 0);
        while copies.len() < limits::COPIES && bytes < limits::COPIES_BYTES {
            let Some(job) = self.fresh.pop_first().or_else(|| self.behind.pop_first()) else {
                break;
            };
            let (Some(entry), Some(flight)) = (entries.get(&job), flights.get(&job)) else {
                continue;
            };
            let copy = entry.copy(!flight.knows(me));
            bytes += copy.weight();
            copies.push(copy);
        }
        copies
    }

    fn next_forgotten(&mut self) -> Vec<JobId> {
        let count = self.forget.len().min(limits::COPIES);
        self.forget.drain(..count).collect()
    }

    fn next_ratings(&mut self) -> Vec<(PeerId, WorkerRecord)> {
        let mut next = Vec::new();
        while next.len() < limits::COPIES
            && let Some(rating) = self.ratings.pop_first()
        {
            next.push(rating);
        }
        next
    }
}

impl Copied {
    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let spec = self.spec.as_ref().map_or(0, Signed::len);
        let record = &self.register.record;
        let receipt = match &record.state {
            JobState::Completed { receipt, .. } => receipt.len(),
            JobState::Queued { .. }
            | JobState::Assigned
            | JobState::Failed { .. }
            | JobState::Cancelled { .. } => limits::TEXT_BYTES,
        };
        let attempts = record.attempts.len() * 512;
        let decisions =
            self.decisions.iter().map(|it| 512 * (it.ranking.len() + it.refused.len() + 1));
        512 + spec + receipt + attempts + decisions.sum::<usize>()
    }
}
