//! Connections that come and go, cuts between hosts, and the end of all of it.

use std::time::Duration;

use cyxwiz_protocol::Input;

use super::World;
use crate::{
    chance::{Span, happens, place},
    faults::{Fault, Shape},
    host::Part,
    partition::Cut,
    queue::{Happening, HostId},
    regions,
};

/// How long a connection outlives the way that it takes: the time-outs of TCP, QUIC and pings.
const NOTICED: Span = Span::millis(1_000, 15_000);

impl World {
    /// The first dial between two makes a connection, of which both learn.
    pub(in crate::world) fn link(&mut self, one: HostId, other: HostId) {
        let pair = (one.min(other), one.max(other));
        if one == other || !self.host(other).is_up() || self.is_apart(one, other) {
            return;
        }
        if !self.links.insert(pair) {
            return;
        }
        for (to, other) in [(one, other), (other, one)] {
            let at = self.now + self.network.latency((other, to), &mut self.chance.network);
            let to = self.host(to).life();
            self.queue.plan(at, Happening::Connected { to, other });
        }
    }

    pub(super) fn unlink(&mut self, gone: HostId) {
        let links = self.links.extract_if(.., |pair| pair.0 == gone || pair.1 == gone);
        for (one, other) in links.collect::<Vec<_>>() {
            let to = if one == gone { other } else { one };
            let at = self.now + self.network.latency((gone, to), &mut self.chance.network);
            let to = self.host(to).life();
            self.queue.plan(at, Happening::Disconnected { to, other: gone });
        }
    }

    /// A connection needs both ways.
    fn is_apart(&self, one: HostId, other: HostId) -> bool {
        self.network.is_cut(one, other) || self.network.is_cut(other, one)
    }

    pub(super) fn cut(&mut self, shape: Shape) {
        if self.now >= self.heals_at {
            return;
        }
        let everyone = self.hosts.len() + self.mischief.len();
        let coordinators = self.hosts_of(Part::Coordinator);
        let rng = &mut self.chance.faults;
        let cut = match shape {
            Shape::TwoWay => Cut::by_lot(everyone, false, &[], rng),
            Shape::OneWay => Cut::by_lot(everyone, true, &[], rng),
            Shape::Bridge => {
                // A coordinator between the two, and a tenth of the others with it.
                let mut bridge = vec![coordinators[place(rng, coordinators.len())]];
                let others = self.hosts.iter().filter(|host| host.part != Part::Coordinator);
                bridge.extend(others.map(|host| host.id).filter(|_| happens(rng, 100)));
                Cut::by_lot(everyone, false, &bridge, rng)
            }
            Shape::Host => {
                let alone = self.hosts[place(rng, self.hosts.len())].id;
                Cut::around(everyone, |host| host == alone)
            }
            Shape::Leader => {
                let Some(leader) = self.acting_leader() else { return };
                Cut::around(everyone, |host| host == leader)
            }
            Shape::Region if self.network.has_regions() => {
                let alone = place(rng, regions::COUNT);
                let links = &self.network;
                Cut::around(everyone, |host| links.region(host) == alone)
            }
            Shape::Region => Cut::by_lot(everyone, false, &[], rng),
        };
        self.troubles.cuts += 1;
        self.troubles.counts.cuts += 1;
        let number = self.troubles.cuts;
        self.network.cut(number, cut);
        let lasts = self.plan.faults.partitions.lasts.draw(&mut self.chance.faults);
        let ends = (self.now + lasts.max(Duration::from_millis(1))).min(self.heals_at);
        self.queue.plan(ends, Happening::Fault(Box::new(Fault::Mend(number))));
        let broken = self.links.iter().copied().filter(|pair| self.is_apart(pair.0, pair.1));
        for (one, other) in broken.collect::<Vec<_>>() {
            let at = self.now + NOTICED.draw(&mut self.chance.faults);
            self.queue.plan(at, Happening::Fault(Box::new(Fault::GiveUp { one, other })));
        }
    }

    /// A connection over a way that is still cut is closed at both ends.
    pub(super) fn give_up(&mut self, one: HostId, other: HostId) {
        if !self.is_apart(one, other) || !self.links.remove(&(one, other)) {
            return;
        }
        self.troubles.given_up.insert((one, other));
        for (to, other) in [(one, other), (other, one)] {
            let to = self.host(to).life();
            self.queue.plan(self.now, Happening::Disconnected { to, other });
        }
    }

    pub(super) fn mend(&mut self, number: u64) {
        self.network.mend(number);
        self.dial_again();
    }

    /// What was connected before a cut finds each other again.
    fn dial_again(&mut self) {
        for (one, other) in std::mem::take(&mut self.troubles.given_up) {
            if self.is_apart(one, other) {
                self.troubles.given_up.insert((one, other));
            } else if self.host(one).is_up() {
                self.link(one, other);
            }
        }
    }

    /// From now on nothing is lost and nobody falls over; who is down comes back by itself.
    pub(in crate::world) fn on_heal(&mut self) {
        self.network.heal();
        self.dial_again();
        for index in 0..self.hosts.len() {
            let (id, life) = (self.hosts[index].id, self.hosts[index].life());
            let trouble = self.troubles.of_mut(id);
            (trouble.away, trouble.slow_until) = (false, self.now);
            let was_full = std::mem::take(&mut trouble.disk_full);
            if was_full {
                self.feed(life, Input::DiskFull(false));
            }
            if !self.host(id).is_up() {
                self.queue.plan(self.now, Happening::Start(id));
            }
        }
    }
}
