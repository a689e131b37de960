//! What happens when a fault strikes.

use std::time::Duration;

use cyxwiz_protocol::{Input, Instant};

use super::World;
use crate::{
    chance::{Span, place},
    faults::{Fault, Victim},
    host::Part,
    queue::{Happening, HostId},
};

/// Fewer coordinators lose no disk: the others would be no majority.
const FEWEST_FOR_LOST_DISKS: usize = 3;

impl World {
    pub(in crate::world) fn on_fault(&mut self, fault: Fault) {
        if let Some((kind, what)) = fault.mark() {
            self.observer.mark(self.now, kind, what.to_owned());
        }
        match fault {
            Fault::Crash(victim) => self.crash_one(victim),
            Fault::CrashAll => self.crash_all(),
            Fault::LoseDisk => self.lose_disk(),
            Fault::Leave(host) => self.leave(host),
            Fault::Down(host) => {
                if self.now < self.heals_at {
                    self.troubles.of_mut(host).away = true;
                    self.troubles.counts.departures += 1;
                    self.crash(host, None);
                }
            }
            Fault::Up(host) => {
                self.troubles.of_mut(host).away = false;
                self.queue.plan(self.now, Happening::Start(host));
            }
            Fault::Cut(shape) => self.cut(shape),
            Fault::Mend(number) => self.mend(number),
            Fault::GiveUp { one, other } => self.give_up(one, other),
            Fault::Clog => self.clog(),
            Fault::Pause(victim) => self.pause(victim),
            Fault::SlowDisk => self.slow_disk(),
            Fault::StallDisk => self.stall_disk(),
            Fault::FillDisk => self.fill_disk(),
            Fault::EmptyDisk(host) => self.empty_disk(host),
            Fault::Mischief(rogue) => self.on_mischief(rogue),
            Fault::Heard { by, from, bytes } => self.on_heard(by, from, &bytes),
            Fault::HeardCall(by) => self.on_heard_call(by),
        }
    }

    fn choose(&mut self, victim: Victim) -> Option<HostId> {
        match victim {
            Victim::Leader => self.acting_leader(),
            Victim::Any(part) => {
                let hosts = self.hosts_of(part);
                (!hosts.is_empty()).then(|| hosts[place(&mut self.chance.faults, hosts.len())])
            }
        }
    }

    fn crash_one(&mut self, victim: Victim) {
        let Some(host) = self.choose(victim) else { return };
        let down = self.down();
        if self.crash(host, Some(down)) && victim == Victim::Leader {
            self.troubles.counts.leaders_crashed += 1;
        }
    }

    fn down(&mut self) -> Duration {
        self.plan.faults.crashes.down.draw(&mut self.chance.faults)
    }

    fn crash_all(&mut self) {
        let mut crashed = false;
        for host in self.hosts_of(Part::Coordinator) {
            let down = self.down();
            crashed |= self.crash(host, Some(down));
        }
        self.troubles.counts.all_crashed += u64::from(crashed);
    }

    /// One coordinator of three or more, none other of which is down or lost its disk lately:
    /// what the committee promised must be on the disks that are left.
    fn lose_disk(&mut self) {
        let hosts = self.hosts_of(Part::Coordinator);
        let every = Duration::from_millis(self.plan.faults.crashes.lost_disk_every_ms);
        let lately = self.troubles.disk_lost_at.is_some_and(|at| self.now.since(at) < every);
        let all_up = hosts.iter().all(|host| self.host(*host).is_up());
        if hosts.len() < FEWEST_FOR_LOST_DISKS || lately || !all_up {
            return;
        }
        let victim = hosts[place(&mut self.chance.faults, hosts.len())];
        let down = self.down();
        if self.outlives_disk_of(victim) && self.crash(victim, Some(down)) {
            self.host_mut(victim).lose_disk();
            self.holdings.lose(victim);
            self.look_at_seat(victim);
            self.troubles.disk_lost_at = Some(self.now);
            self.troubles.counts.lost_disks += 1;
        }
    }

    /// A session of a worker ends, and the next begins when it is back.
    fn leave(&mut self, host: HostId) {
        let away = self.plan.faults.churn.away.draw(&mut self.chance.faults);
        if self.crash(host, Some(away)) {
            self.troubles.counts.departures += 1;
        }
        self.plan_leave(self.now + away, host);
    }

    /// A link between a coordinator and anyone else, one way.
    fn clog(&mut self) {
        let coordinators = self.hosts_of(Part::Coordinator);
        let rng = &mut self.chance.faults;
        let one = coordinators[place(rng, coordinators.len())];
        let other = self.hosts[place(rng, self.hosts.len())].id;
        let way = if place(rng, 2) == 0 { (one, other) } else { (other, one) };
        let lasts = self.plan.faults.links.clog_lasts.draw(rng);
        self.network.clog(way, (self.now + lasts).min(self.heals_at));
        self.troubles.counts.clogs += 1;
    }

    fn pause(&mut self, victim: Victim) {
        let Some(host) = self.choose(victim) else { return };
        let lasts = self.plan.faults.pauses.lasts.draw(&mut self.chance.faults);
        let until = (self.now + lasts).min(self.heals_at);
        let trouble = self.troubles.of_mut(host);
        trouble.paused_until = trouble.paused_until.max(until);
        self.troubles.pauses_end = self.troubles.pauses_end.max(until);
        self.troubles.counts.pauses += 1;
    }

    /// What happens to a host that stands still waits, in its order, until it moves again.
    pub(in crate::world) fn unless_paused(&mut self, what: Happening) -> Option<Happening> {
        if self.troubles.pauses_end <= self.now {
            return Some(what);
        }
        let of = match &what {
            Happening::Frame { to, .. }
            | Happening::Gossip { to, .. }
            | Happening::Connected { to, .. }
            | Happening::Disconnected { to, .. } => *to,
            Happening::Timeout(of)
            | Happening::Flushed { of, .. }
            | Happening::Task { of, .. }
            | Happening::Training { of, .. }
            | Happening::Fetched { of, .. }
            | Happening::Own { of, .. } => *of,
            // Of the world, or of the machine below the peer.
            Happening::Start(_)
            | Happening::Crash(_)
            | Happening::Durable(_)
            | Happening::Wish(_)
            | Happening::Fault(_)
            | Happening::Audit
            | Happening::Heal => return Some(what),
        };
        let until = self.troubles.of(of.host).paused_until;
        if until <= self.now || !self.host(of.host).lives(of) {
            return Some(what);
        }
        if let Happening::Timeout(_) = what {
            // One that is planned twice would be taken for an old one.
            let now = self.now;
            let host = self.host_mut(of.host);
            if host.wakes_at != Some(now) {
                return None;
            }
            host.wakes_at = Some(until);
        }
        self.troubles.counts.put_off += 1;
        self.queue.plan(until, what);
        None
    }

    fn slow_disk(&mut self) {
        let Some((host, ends)) = self.disk_trouble(self.plan.faults.disks.slow_lasts) else {
            return;
        };
        let trouble = self.troubles.of_mut(host);
        trouble.slow_until = trouble.slow_until.max(ends);
        self.troubles.counts.slow_disks += 1;
    }

    fn stall_disk(&mut self) {
        let Some((host, ends)) = self.disk_trouble(self.plan.faults.disks.stall_lasts) else {
            return;
        };
        let trouble = self.troubles.of_mut(host);
        trouble.stalled_until = trouble.stalled_until.max(ends);
        self.troubles.counts.stalls += 1;
    }

    /// Half of the time a coordinator's disk, else anyone's; and until when.
    fn disk_trouble(&mut self, lasts: Span) -> Option<(HostId, Instant)> {
        let part = match place(&mut self.chance.faults, 4) {
            0 | 1 => Part::Coordinator,
            2 => Part::Worker,
            _ => Part::Submitter,
        };
        let host = self.choose(Victim::Any(part))?;
        let lasts = lasts.draw(&mut self.chance.faults);
        Some((host, (self.now + lasts).min(self.heals_at)))
    }

    fn fill_disk(&mut self) {
        let Some(host) = self.choose(Victim::Any(Part::Coordinator)) else { return };
        if self.now >= self.heals_at {
            return;
        }
        self.troubles.of_mut(host).disk_full = true;
        self.troubles.counts.full_disks += 1;
        let life = self.host(host).life();
        self.feed(life, Input::DiskFull(true));
        let lasts = self.plan.faults.disks.full_lasts.draw(&mut self.chance.faults);
        let ends = (self.now + lasts).min(self.heals_at);
        self.plan_fault(ends, Fault::EmptyDisk(host));
    }

    fn empty_disk(&mut self, host: HostId) {
        self.troubles.of_mut(host).disk_full = false;
        let life = self.host(host).life();
        self.feed(life, Input::DiskFull(false));
    }
}
