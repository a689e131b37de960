//! What goes wrong: crashes, disks that lie when the plan says so, and what [`crate::faults`]
//! lists. The moments and victims are drawn here; `plan` draws when, `strike` does what happens
//! then, `links` cuts and mends, `troubles` keeps what is wrong with whom.

mod links;
mod plan;
mod strike;
mod troubles;

use std::time::Duration;

#[cfg(feature = "mutants")]
use cyxwiz_protocol::mutant::{self, Mutant};
use cyxwiz_protocol::{Command, Input, Instant, spec};

pub(super) use troubles::Troubles;

use super::World;
use crate::{
    chance::{Span, below, place},
    faults::FaultCounts,
    host::Part,
    observe::MarkKind,
    queue::{Happening, HostId, Life},
    scenario::{Crashes, FsyncModel},
    workload::Wish,
};

/// From the end of a flush until the peer learns of it.
pub(super) const TELL_FLUSHED: Span = Span::micros(10, 500);
/// When a disk that skips fsync writes: the page cache of Linux is flushed after 5 to 30 s.
const WRITEBACK: Span = Span::millis(5_000, 30_000);
/// Neighbours that a host dials when it comes up.
const DIALLED: usize = 4;
/// How long a user takes to notice that the machine is back.
const USER_RETURNS: Duration = Duration::from_millis(100);

impl World {
    pub(super) fn plan_crashes(&mut self, begin: Instant) {
        let Some(Crashes { coordinator, workers, submitters, .. }) = self.plan.crashes else {
            return;
        };
        let times = [
            (Part::Coordinator, coordinator),
            (Part::Worker, workers),
            (Part::Submitter, submitters),
        ];
        let window = u64::try_from(self.plan.faults_for.as_micros()).unwrap_or(u64::MAX);
        for (part, crashes) in times {
            let hosts = self.hosts_of(part);
            for _ in 0..crashes {
                let victim = hosts[place(&mut self.chance.faults, hosts.len())];
                let after = Duration::from_micros(below(&mut self.chance.faults, window));
                self.queue.plan(begin + after, Happening::Crash(victim));
            }
        }
    }

    pub(super) fn hosts_of(&self, part: Part) -> Vec<HostId> {
        self.hosts.iter().filter(|host| host.part == part).map(|host| host.id).collect()
    }

    pub(super) fn on_crash(&mut self, id: HostId) {
        let Some(crashes) = self.plan.crashes else { return };
        let down = crashes.down.draw(&mut self.chance.faults);
        self.crash(id, Some(down));
    }

    /// A host falls over, for so long or until something else brings it back. One that is down
    /// already, or shall be up from now on, is spared.
    fn crash(&mut self, id: HostId, down: Option<Duration>) -> bool {
        let now = self.now;
        if !self.host(id).is_up() || now >= self.heals_at {
            return false;
        }
        self.counts.crashes += 1;
        let host = &mut self.hosts[id.index()];
        let part = host.part;
        self.observer.crashed(id, part, now);
        for (run, computed) in host.crash(now, &mut self.chance.disk) {
            if let Some(job) = self.workload.index_of(run.job) {
                self.observer.stopped(job, id, computed, false);
            }
        }
        // What was under way to the disk may have reached it.
        self.look_at_seat(id);
        self.mesh.leave_all(id, &mut self.chance.network);
        self.unlink(id);
        self.troubles.of_mut(id).paused_until = now;
        self.troubles.leading.remove(&id);
        let back = down.map(|down| (now + down).min(self.heals_at));
        if let Some(back) = back {
            self.queue.plan(back, Happening::Start(id));
        }
        for wish in self.workload.lost_with(id) {
            self.queue.plan(back.unwrap_or(now) + USER_RETURNS, Happening::Wish(wish));
        }
        true
    }

    pub(super) fn on_start(&mut self, id: HostId) {
        let now = self.now;
        if self.troubles.of(id).away && now < self.heals_at {
            return;
        }
        let host = self.host_mut(id);
        if host.is_up() {
            return;
        }
        let first = match host.start(now) {
            Ok(first) => first,
            Err(error) => {
                let what = format!("{} cannot open its own store: {error}", host.peer_id);
                return self.judge.accuse(now, "a store opens again", what);
            }
        };
        let (life, part) = (host.life(), host.part);
        if life.number > 0 {
            self.observer.mark(now, MarkKind::Return, format!("{} {}", part.name(), id.0));
        }
        self.trace.note(now, id, crate::trace::Shape::start(), &first);
        self.carry_out(life, first);
        self.rearm(life);
        if self.troubles.of(id).disk_full {
            self.feed(life, Input::DiskFull(true));
        }
        for _ in 0..DIALLED.min(self.hosts.len() - 1) {
            let other = place(&mut self.chance.network, self.hosts.len());
            self.link(id, self.hosts[other].id);
        }
    }

    pub(super) fn plan_flush(&mut self, of: Life) {
        let span = if self.skips_fsync(of.host) { WRITEBACK } else { self.plan.flush };
        let mut takes = span.draw(&mut self.chance.disk);
        let trouble = self.troubles.of(of.host);
        if trouble.slow_until > self.now {
            takes *= self.plan.faults.disks.slow_factor.max(1);
        }
        let at = (self.now + takes).max(trouble.stalled_until);
        self.queue.plan(at, Happening::Durable(of));
    }

    pub(super) fn skips_fsync(&self, host: HostId) -> bool {
        if self.host(host).part != Part::Coordinator {
            return false;
        }
        #[cfg(feature = "mutants")]
        if mutant::is(Mutant::AcknowledgeBeforeFlush) {
            return !self.host(host).leads();
        }
        self.plan.fsync == FsyncModel::Skipped
    }

    /// How long a process of this host computes.
    pub(super) fn training_at(&self, host: HostId) -> Span {
        let Span { least_us, most_us } = self.plan.training;
        match u64::from(self.troubles.of(host).speed_permille) {
            1_000 => self.plan.training,
            speed => Span::micros(least_us * 1_000 / speed, most_us * 1_000 / speed),
        }
    }

    /// A user wants something of its machine; when that is down or stands still, later.
    pub(super) fn on_wish(&mut self, wish: Wish) {
        if self.workload.is_overtaken(wish) {
            return;
        }
        let case = &self.workload.cases[wish.job()];
        let (submitter, life) = (case.submitter, self.host(case.submitter).life());
        if !self.host(submitter).is_up() {
            return self.queue.plan(self.now + super::ASK_AGAIN, Happening::Wish(wish));
        }
        let paused_until = self.troubles.of(submitter).paused_until;
        if paused_until > self.now {
            return self.queue.plan(paused_until, Happening::Wish(wish));
        }
        let command = match wish {
            Wish::Submit(_) => Command::Submit(Box::new(case.spec.clone())),
            Wish::Cancel(_) => Command::Cancel(case.spec.id),
            Wish::Order(_, number) if number % 2 == 0 => {
                Command::Order(case.spec.id, spec::Wish::Pause)
            }
            Wish::Order(..) => Command::Order(case.spec.id, spec::Wish::Resume),
        };
        let id = self.workload.ask(wish, self.now);
        self.feed(life, Input::Command { id, command });
    }

    /// What went wrong in this run.
    pub(super) fn fault_counts(&self) -> FaultCounts {
        let mut counts = self.troubles.counts.clone();
        self.network.add_counts(&mut counts);
        counts.hostile = self.mischief.counts();
        counts
    }
}
