//! What goes wrong: crashes at drawn moments, and disks that lie when the plan says so. Partitions
//! and faults of disks will hang on here as happenings of their own.

use std::time::Duration;

use cyxwiz_protocol::Instant;

use super::World;
use crate::{
    chance::{Span, below, place},
    host::Part,
    network::NetworkModel,
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
            let hosts: Vec<_> =
                self.hosts.iter().filter(|host| host.part == part).map(|host| host.id).collect();
            for _ in 0..crashes {
                let victim = hosts[place(&mut self.chance.faults, hosts.len())];
                let after = Duration::from_micros(below(&mut self.chance.faults, window));
                self.queue.plan(begin + after, Happening::Crash(victim));
            }
        }
    }

    pub(super) fn on_crash(&mut self, id: HostId) {
        let Some(crashes) = self.plan.crashes else { return };
        let now = self.now;
        // One that is down already, or shall be up from now on, is spared.
        if !self.host(id).is_up() || now >= self.heals_at {
            return;
        }
        self.counts.crashes += 1;
        let host = &mut self.hosts[id.index()];
        self.counts.computed += host.crash(now, &mut self.chance.disk);
        self.mesh.leave_all(id, &mut self.chance.network);
        self.unlink(id);
        let back = now + crashes.down.draw(&mut self.chance.faults);
        self.queue.plan(back.min(self.heals_at), Happening::Start(id));
        for wish in self.workload.lost_with(id) {
            self.queue.plan(back.min(self.heals_at) + USER_RETURNS, Happening::Wish(wish));
        }
    }

    pub(super) fn on_start(&mut self, id: HostId) {
        let now = self.now;
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
        let life = host.life();
        self.trace.note(now, id, crate::trace::Shape::start(), &first);
        self.carry_out(life, first);
        self.rearm(life);
        for _ in 0..DIALLED.min(self.hosts.len() - 1) {
            let other = place(&mut self.chance.network, self.hosts.len());
            self.link(id, self.hosts[other].id);
        }
    }

    /// The first dial between two makes a connection, of which both learn.
    pub(super) fn link(&mut self, one: HostId, other: HostId) {
        let pair = (one.min(other), one.max(other));
        if one == other || !self.host(other).is_up() || !self.links.insert(pair) {
            return;
        }
        for (to, other) in [(one, other), (other, one)] {
            let at = self.now + self.network.latency(&mut self.chance.network);
            let to = self.host(to).life();
            self.queue.plan(at, Happening::Connected { to, other });
        }
    }

    fn unlink(&mut self, gone: HostId) {
        let links = self.links.extract_if(.., |pair| pair.0 == gone || pair.1 == gone);
        for (one, other) in links.collect::<Vec<_>>() {
            let to = self.host(if one == gone { other } else { one }).life();
            let at = self.now + self.network.latency(&mut self.chance.network);
            self.queue.plan(at, Happening::Disconnected { to, other: gone });
        }
    }

    /// From now on nothing is lost and nobody falls over; who is down comes back by itself.
    pub(super) fn on_heal(&mut self) {
        self.network = NetworkModel::reliable(self.plan.network.latency);
    }

    pub(super) fn plan_flush(&mut self, of: Life) {
        let span = if self.skips_fsync(of.host) { WRITEBACK } else { self.plan.flush };
        let at = self.now + span.draw(&mut self.chance.disk);
        self.queue.plan(at, Happening::Durable(of));
    }

    pub(super) fn skips_fsync(&self, host: HostId) -> bool {
        self.plan.fsync == FsyncModel::Skipped && self.host(host).part == Part::Coordinator
    }

    /// A user wants something of its machine; when that is down, later.
    pub(super) fn on_wish(&mut self, wish: Wish) {
        use cyxwiz_protocol::{Command, Input};
        let (Wish::Submit(index) | Wish::Cancel(index)) = wish;
        let case = &self.workload.cases[index];
        let life = self.host(case.submitter).life();
        if !self.host(case.submitter).is_up() {
            return self.queue.plan(self.now + super::ASK_AGAIN, Happening::Wish(wish));
        }
        let command = match wish {
            Wish::Submit(_) => Command::Submit(Box::new(case.spec.clone())),
            Wish::Cancel(_) => Command::Cancel(case.spec.id),
        };
        let id = self.workload.ask(wish, self.now);
        self.feed(life, Input::Command { id, command });
    }
}
