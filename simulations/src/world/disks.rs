//! The disks of coordinators, looked at from outside: who sits by what they hold, what they hold
//! of each job, and whether what a replica says of its disk is so.

use std::collections::BTreeMap;

use cyxwiz_protocol::{
    Ballot, JobId, Key, PeerId, StoreId,
    inspect::{self, RegisterOnDisk, SeatOnDisk, SeatingOnDisk},
    message::replication::{Held, Replication, Step},
};

use super::World;
use crate::{
    host::Part,
    invariant::{Copies, Fact},
    queue::HostId,
};

/// What the disks say of who sits.
#[derive(Debug, Default)]
pub(super) struct Seats {
    /// As each coordinator's disk has it.
    on_disk: BTreeMap<HostId, SeatOnDisk>,
    /// The newest that enough of its own members were seen to hold: it is in force.
    chosen: Option<SeatingOnDisk>,
}

impl World {
    /// What this coordinator's disk holds has changed, or it has another disk.
    pub(super) fn look_at_seat(&mut self, id: HostId) {
        if self.host(id).part != Part::Coordinator {
            return;
        }
        let seat = self.host(id).disk.value(&Key::Seat.to_bytes()).map(inspect::seat);
        match seat {
            Some(Ok(seat)) => {
                if self.seats.on_disk.insert(id, seat.clone()) == Some(seat) {
                    return;
                }
            }
            Some(Err(error)) => {
                let what = format!("the disk of host {}: {error}", id.0);
                return self.judge.accuse(self.now, "a store opens again", what);
            }
            None => {
                self.seats.on_disk.remove(&id);
            }
        }
        self.look_who_sits();
    }

    fn look_who_sits(&mut self) {
        let known = || self.seats.on_disk.values().filter_map(|seat| seat.seating.as_ref());
        let age = |seating: &Option<SeatingOnDisk>| seating.as_ref().map(|it| it.age);
        let newer = known().filter(|it| Some(it.age) > age(&self.seats.chosen));
        let chosen = newer.filter(|it| self.is_held(it)).max_by_key(|it| it.age).cloned();
        if chosen.is_some() {
            self.seats.chosen = chosen;
        }
        let Some(in_force) = age(&self.seats.chosen) else { return };
        let others: Vec<_> = known().map(|it| it.age).collect();
        for other in others {
            self.judge.see(self.now, &Fact::Seated { in_force, other });
        }
    }

    /// Whether enough of its members have just this seating on disk.
    fn is_held(&self, seating: &SeatingOnDisk) -> bool {
        let holds = |member: &(PeerId, StoreId)| {
            let seat = self.replica(*member).and_then(|id| self.seats.on_disk.get(&id));
            seat.is_some_and(|seat| seat.seating.as_ref() == Some(seating))
        };
        let majority = |side: &Vec<_>| side.iter().filter(|it| holds(it)).count() > side.len() / 2;
        seating.sides.iter().all(majority)
    }

    /// Whether so many sit by the disk of this coordinator, and nothing changes.
    pub(super) fn sits_among(&self, id: HostId, members: usize) -> bool {
        let seating = self.seats.on_disk.get(&id).and_then(|seat| seat.seating.as_ref());
        seating.is_some_and(|it| it.sides.len() == 1 && it.sides[0].len() == members)
    }

    /// Whether enough of every side are left to decide without this disk: a committee that has
    /// not grown yet outlives nobody's.
    pub(super) fn outlives_disk_of(&self, victim: HostId) -> bool {
        let known = self.seats.on_disk.values().filter_map(|seat| seat.seating.as_ref());
        let in_force = self.seats.chosen.as_ref().map(|it| it.age);
        let left = |side: &Vec<(PeerId, StoreId)>| {
            let left = side.iter().filter_map(|member| self.replica(*member));
            left.filter(|id| *id != victim).count() > side.len() / 2
        };
        let mut asked = known.filter(|it| Some(it.age) >= in_force);
        asked.all(|seating| seating.sides.iter().all(left))
    }

    /// The coordinator that is this replica; none when its disk is lost.
    fn replica(&self, (peer, store): (PeerId, StoreId)) -> Option<HostId> {
        let id = *self.by_peer.get(&peer)?;
        (self.host(id).store() == store).then_some(id)
    }

    /// Jobs whose registers the flush under way writes.
    pub(super) fn registers_in_flush(&self, host: HostId) -> Vec<JobId> {
        if self.host(host).part != Part::Coordinator {
            return Vec::new();
        }
        let keys = self.host(host).disk.flushing().filter_map(|key| Key::from_bytes(key).ok());
        let jobs = keys.filter_map(|key| match key {
            Key::Register(job) => Some(job),
            Key::Seat
            | Key::Spec(_)
            | Key::Decision(_)
            | Key::Reputation(_)
            | Key::Run(_)
            | Key::Outbox(_) => None,
        });
        let mut jobs: Vec<_> = jobs.collect();
        jobs.sort_unstable();
        jobs.dedup();
        jobs
    }

    /// What everyone who may decide has of a job on disk.
    pub(super) fn look_at_disks(&mut self, job: JobId) {
        let may_be_forgotten = self.workload.may_be_forgotten(job);
        let Some(in_force) = &self.seats.chosen else { return };
        let key = Key::Register(job);
        let bytes = key.to_bytes();
        let (mut held, mut places) = (Vec::new(), BTreeMap::new());
        for host in self.coordinators() {
            let read = |value| inspect::register(key, value).ok();
            places.insert(host.id, held.len());
            held.push(host.disk.value(&bytes).and_then(read));
        }
        let sides = |seating: &SeatingOnDisk| -> Vec<Vec<Option<usize>>> {
            let place = |member: &(PeerId, StoreId)| Some(places[&self.replica(*member)?]);
            seating.sides.iter().map(|side| side.iter().map(place).collect()).collect()
        };
        if may_be_forgotten {
            // Perhaps nobody looks at it between its end and that.
            let copies = Copies { job, held: &held, sides: &sides(in_force), in_force: true };
            if let Some(record) = copies.ended() {
                self.workload.note_record(record);
            }
            return;
        }
        // Whoever knows of a later seating would ask those who sit in it.
        let known = self.seats.on_disk.values().filter_map(|seat| seat.seating.as_ref());
        let mut later: BTreeMap<_, _> =
            known.filter(|it| it.age > in_force.age).map(|it| (it.age, sides(it))).collect();
        let now = sides(in_force);
        later.insert(in_force.age, now);
        for (index, sides) in later.into_values().enumerate() {
            let copies = Copies { job, held: &held, sides: &sides, in_force: index == 0 };
            self.judge.see(self.now, &Fact::OnDisks(copies));
        }
    }

    /// A replica says what it promised and what it has.
    pub(super) fn witness_replica(&mut self, from: HostId, replication: &Replication) {
        let host = self.host(from);
        let replica = (host.peer_id, host.store());
        let seat = self.seats.on_disk.get(&from);
        let promised = seat.map_or(Ballot::default(), |seat| seat.promised);
        match &replication.step {
            Step::Promise { ballot, .. } => {
                let told = Fact::Promised { replica, ballot: *ballot, on_disk: promised };
                self.judge.see(self.now, &told);
            }
            Step::Accepted { ballot, items, .. } => {
                // One that sits no more has given everything up in the meantime.
                let sits = seat.is_some_and(|seat| seat.seating.is_some());
                let has = items.iter().filter_map(|(job, held)| match held {
                    Held::Version(version) => Some((*job, *version)),
                    Held::NoSpec | Held::Later => None,
                });
                let mut has = has.peekable();
                // An answer without a claim binds nobody.
                if has.peek().is_some() {
                    let mut lacking = has
                        .filter(|(job, version)| sits && !self.has(from, *job, *ballot, *version));
                    let lacking = lacking.next().map(|(job, _)| job);
                    let told = Fact::Followed { replica, ballot: *ballot, lacking };
                    self.judge.see(self.now, &told);
                }
            }
            Step::Canvass { .. }
            | Step::Supported { .. }
            | Step::Prepare { .. }
            | Step::Refused { .. }
            | Step::Fetch { .. }
            | Step::Fetched { .. }
            | Step::Accept(_)
            | Step::Beat { .. }
            | Step::Heard { .. }
            | Step::Stand { .. } => {}
        }
    }

    /// Whether the disk has this version of a job, or a later one.
    fn has(&self, host: HostId, job: JobId, ballot: Ballot, version: u64) -> bool {
        let key = Key::Register(job);
        let value = self.host(host).disk.value(&key.to_bytes());
        let register: Option<RegisterOnDisk> =
            value.and_then(|value| inspect::register(key, value).ok());
        register.is_some_and(|held| held.version >= version || held.ballot > ballot)
    }
}
