//! When what goes wrong: moments drawn from the time between the first job and the healing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cyxwiz_protocol::Instant;

use super::World;
use crate::{
    chance::below,
    churn::Named,
    faults::{Fault, Faults, Shape, Victim},
    host::Part,
    queue::{Happening, HostId},
};

impl World {
    pub(in crate::world) fn plan_faults(&mut self, begin: Instant) {
        let Faults { links, partitions, crashes, disks, pauses, .. } = self.plan.faults.clone();
        let any = Victim::Any;
        self.scatter(begin, crashes.coordinators, || Fault::Crash(any(Part::Coordinator)));
        self.scatter(begin, crashes.leaders, || Fault::Crash(Victim::Leader));
        self.scatter(begin, crashes.all_coordinators, || Fault::CrashAll);
        self.scatter(begin, crashes.workers, || Fault::Crash(any(Part::Worker)));
        self.scatter(begin, crashes.submitters, || Fault::Crash(any(Part::Submitter)));
        self.scatter(begin, crashes.lost_disks, || Fault::LoseDisk);
        self.scatter(begin, partitions.two_way, || Fault::Cut(Shape::TwoWay));
        self.scatter(begin, partitions.one_way, || Fault::Cut(Shape::OneWay));
        self.scatter(begin, partitions.bridges, || Fault::Cut(Shape::Bridge));
        self.scatter(begin, partitions.hosts, || Fault::Cut(Shape::Host));
        self.scatter(begin, partitions.leaders, || Fault::Cut(Shape::Leader));
        self.scatter(begin, partitions.regions, || Fault::Cut(Shape::Region));
        self.scatter(begin, links.clogs, || Fault::Clog);
        self.scatter(begin, disks.slow, || Fault::SlowDisk);
        self.scatter(begin, disks.stalls, || Fault::StallDisk);
        self.scatter(begin, disks.full, || Fault::FillDisk);
        self.scatter(begin, pauses.coordinators, || Fault::Pause(any(Part::Coordinator)));
        self.scatter(begin, pauses.leaders, || Fault::Pause(Victim::Leader));
        self.scatter(begin, pauses.workers, || Fault::Pause(any(Part::Worker)));
        self.scatter(begin, pauses.submitters, || Fault::Pause(any(Part::Submitter)));
        self.plan_sessions(begin);
        self.plan_trace(begin);
        for rogue in self.mischief.hosts() {
            self.plan_fault(begin, Fault::Mischief(rogue));
        }
    }

    pub(in crate::world) fn plan_fault(&mut self, at: Instant, fault: Fault) {
        self.queue.plan(at, Happening::Fault(Box::new(fault)));
    }

    fn scatter(&mut self, begin: Instant, times: u32, fault: impl Fn() -> Fault) {
        let window = u64::try_from(self.plan.faults_for.as_micros()).unwrap_or(u64::MAX);
        for _ in 0..times {
            let after = Duration::from_micros(below(&mut self.chance.faults, window));
            self.plan_fault(begin + after, fault());
        }
    }

    fn plan_sessions(&mut self, begin: Instant) {
        for host in self.hosts_of(Part::Worker) {
            self.plan_leave(begin, host);
        }
    }

    /// The session that begins at `from` ends when its law says so, if that is before the end of
    /// all faults.
    pub(super) fn plan_leave(&mut self, from: Instant, host: HostId) {
        let Some(session) = self.plan.faults.churn.sessions.draw(&mut self.chance.faults) else {
            return;
        };
        if from + session < self.heals_at {
            self.plan_fault(from + session, Fault::Leave(host));
        }
    }

    /// A host that a trace first brings up is down until then.
    fn plan_trace(&mut self, begin: Instant) {
        let trace = self.plan.faults.churn.trace.clone();
        let mut places: BTreeMap<Named, HostId> = BTreeMap::new();
        for part in [Part::Coordinator, Part::Worker, Part::Submitter] {
            let named = (0..).map(|index| Named { part, index });
            places.extend(named.zip(self.hosts_of(part)));
        }
        let mut seen = BTreeSet::new();
        for step in trace.steps() {
            let Some(&host) = places.get(&step.host) else {
                continue;
            };
            if seen.insert(host) && step.up {
                self.plan_fault(begin, Fault::Down(host));
            }
            let at = begin + step.at;
            let fault = if step.up { Fault::Up(host) } else { Fault::Down(host) };
            self.plan_fault(at, fault);
        }
    }
}
