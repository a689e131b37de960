//! The first act of a leader: what the members have becomes its own to keep.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Committee, Office, Rank, Register, Replica, flight::Flight, leadership::Leadership, rules,
    takeover::Inheritance,
};
use crate::{
    Ballot, JobId,
    context::Context,
    job::JobRecord,
    message::{
        membership::Member,
        replication::{Copied, Seating},
    },
    mutant::{self, Mutant},
    record::Key,
    timers::Timer,
};

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
            None => Arc::new(copy.spec.as_ref()?.verify(cx.network).ok()?.into()),
        };
        let copy = Copied { register: Register { ballot, ..copy.register }, ..copy };
        let files = self.files_lacking(&copy.register.record, &spec, cx.network);
        let version = self.keep_copy(copy, spec, cx);
        let record = self.newest(job)?.clone();
        if !files.is_empty() {
            // Those who told of the state have its files; this leader goes on meanwhile.
            self.fetch(&record, record.submitter, files, cx);
            self.lacks_files.insert(job, cx.now);
        }
        let known = holds.iter().filter(|(_, jobs)| jobs.contains_key(&job));
        let mut holders: BTreeMap<Replica, u64> = known.map(|(who, _)| (*who, 0)).collect();
        holders.insert(self.me(), 0);
        Some(Flight::doubtful(version, record, holders))
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
        if mutant::is(Mutant::ForgetOrdersAtTakeover) {
            entry.register.record.forget_orders();
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
            return Some(Flight::chosen_before(rank.version, record, holders));
        }
        if !mutant::is(Mutant::KeepOldBallot) {
            entry.register.ballot = ballot;
        }
        cx.save(Key::Register(job), &entry.register);
        Some(Flight::doubtful(rank.version, record, holders))
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
                Flight::chosen_before(version, record, holders)
            });
            for replica in &new {
                if let Some(follower) = leadership.followers.get_mut(replica) {
                    follower.behind.insert(job);
                }
            }
        }
    }
}
