//! The loop: the next thing that happens goes to its host, the host's peer thinks, and its
//! effects are carried out as a node does.

mod audit;
mod carry_out;
mod disks;
mod faults;
mod mischief;
mod outcome;
mod setup;
mod witness;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cyxwiz_protocol::{
    Input, Instant, JobId, Network, PeerId, Rng, Run, TaskEvent, effects::Acceptance,
    report::Ending,
};

use crate::{
    figures::Figures,
    host::Host,
    invariant::{Fact, Judge, Violation},
    links::Links,
    mesh::Mesh,
    observe::{MarkKind, Observation, Observer},
    queue::{Happening, HostId, Life, Queue},
    scenario::{Plan, Scenario},
    tape::Tape,
    trace::{Shape, Trace},
    trainer::{Holdings, Step, checkpoint},
    workload::Workload,
};

/// Runs one scenario from one seed to its end: its figures, or the first promise that broke.
pub fn simulate(scenario: &Scenario, seed: u64, plan: Plan) -> Result<Figures, Violation> {
    let Observation { figures, violation, .. } = observe(scenario, seed, plan, None);
    violation.map_or(Ok(figures), Err)
}

/// Runs one scenario from one seed until it ends or a promise breaks: everything that was seen,
/// with a recording of the host of this number.
#[must_use]
pub fn observe(scenario: &Scenario, seed: u64, plan: Plan, record: Option<u32>) -> Observation {
    #[cfg(feature = "mutants")]
    let _broken = cyxwiz_protocol::mutant::activate(plan.mutant);
    let mut world = World::new(seed, plan);
    if let Some(host) = record.and_then(|number| world.hosts.get_mut(number as usize)) {
        host.tape = Some(Box::new(Tape::of(host.id)));
    }
    if let Err(violation) = world.run() {
        let whom = violation.invariant.to_owned();
        world.observer.mark(violation.at, MarkKind::Violation, whom);
    }
    world.observation(scenario.name(), seed)
}

/// A user whose wish could not be fulfilled tries again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct World {
    plan: Plan,
    /// How frames get from host to host.
    network: Links,
    identity: Network,
    now: Instant,
    heals_at: Instant,
    over_at: Instant,
    queue: Queue,
    hosts: Vec<Host>,
    by_peer: BTreeMap<PeerId, HostId>,
    links: BTreeSet<(HostId, HostId)>,
    mesh: Mesh,
    holdings: Holdings,
    workload: Workload,
    judge: Judge,
    trace: Trace,
    chance: Chance,
    counts: Counts,
    audit: audit::Audit,
    seats: disks::Seats,
    troubles: faults::Troubles,
    mischief: mischief::Mischief,
    observer: Observer,
}

/// The streams that are drawn from while a world goes on.
#[derive(Debug)]
struct Chance {
    network: Rng,
    disk: Rng,
    trainer: Rng,
    faults: Rng,
}

/// What is counted on the way.
#[derive(Debug, Default)]
struct Counts {
    bytes: u64,
    crashes: u64,
    /// Of processes that ended well, by what they made.
    of_success: BTreeMap<Run, Duration>,
    most_planned: usize,
    /// Jobs of which an "accepted" was told.
    accepted: BTreeSet<JobId>,
    /// Orders to pause and to resume that were noted.
    orders: u64,
}

impl World {
    fn run(&mut self) -> Result<(), Violation> {
        while let Some((at, what)) = self.queue.next() {
            assert!(at >= self.now, "time goes forward");
            if self.observer.is_due(at) {
                self.sample(at);
            }
            self.now = at;
            self.counts.most_planned = self.counts.most_planned.max(self.queue.len());
            let over = self.on(what);
            if let Some(violation) = self.judge.verdict() {
                return Err(violation.clone());
            }
            if over {
                break;
            }
        }
        Ok(())
    }

    /// One thing happens; true when the run is over with it.
    fn on(&mut self, what: Happening) -> bool {
        let Some(what) = self.unless_paused(what) else {
            return false;
        };
        match what {
            Happening::Start(host) => self.on_start(host),
            Happening::Crash(host) => self.on_crash(host),
            Happening::Frame { to, from, bytes } => {
                let from = self.peer_id(from);
                self.feed(to, Input::Frame { from, bytes });
            }
            Happening::Gossip { to, from, message } => self.on_gossip(to, from, message),
            Happening::Connected { to, other } => {
                let other = self.peer_id(other);
                self.feed(to, Input::Connected(other));
            }
            Happening::Disconnected { to, other } => {
                let other = self.peer_id(other);
                self.feed(to, Input::Disconnected(other));
            }
            Happening::Timeout(of) => self.on_timeout(of),
            Happening::Durable(of) => self.on_durable(of),
            Happening::Flushed { of, batch } => self.on_flushed(of, batch),
            Happening::Task { of, event } => {
                self.feed(of, Input::Task(*event));
            }
            Happening::Training { of, run, token } => self.on_training(of, run, token),
            Happening::Fetched { of, fetch } => self.on_fetched(of, *fetch),
            Happening::Own { of, bytes } => {
                let from = self.peer_id(of.host);
                self.feed(of, Input::Gossip { from, bytes });
            }
            Happening::Wish(wish) => self.on_wish(wish),
            Happening::Fault(fault) => self.on_fault(*fault),
            Happening::Heal => self.on_heal(),
            Happening::Audit => return self.on_audit(),
        }
        false
    }

    /// Notes how things stood when the last second ended.
    fn sample(&mut self, at: Instant) {
        let leaders = self.coordinators().iter().filter(|host| host.leads()).count() as u64;
        let up = self.hosts.iter().filter(|host| host.is_up()).count() as u64;
        self.observer.sample(at, leaders, up);
    }

    /// They come first.
    fn coordinators(&self) -> &[Host] {
        &self.hosts[..self.plan.coordinators as usize]
    }

    fn host(&self, id: HostId) -> &Host {
        &self.hosts[id.index()]
    }

    fn host_mut(&mut self, id: HostId) -> &mut Host {
        &mut self.hosts[id.index()]
    }

    fn peer_id(&self, id: HostId) -> PeerId {
        match self.hosts.get(id.index()) {
            Some(host) => host.peer_id,
            None => self.mischief.peer_id(id),
        }
    }

    /// One input for a peer, unless that life is over.
    fn feed(&mut self, to: Life, input: Input) -> Option<Acceptance> {
        let shape = Shape::of(&input);
        let now = self.now;
        let host = self.host_mut(to.host);
        if !host.lives(to) {
            return None;
        }
        let local = host.local(now);
        let effects = host.handle(local, input)?;
        self.observer.handled(to.host, shape.bytes());
        let verdict = effects.verdict;
        self.trace.note(now, to.host, shape, &effects);
        self.carry_out(to, effects);
        self.rearm(to);
        verdict
    }

    /// Plans the peer's next deadline, if it is sooner than what is planned.
    fn rearm(&mut self, of: Life) {
        let now = self.now;
        let host = self.host_mut(of.host);
        let Some(deadline) = host.peer.as_ref().and_then(cyxwiz_protocol::Peer::next_deadline)
        else {
            return;
        };
        let at = host.global(deadline.at).max(now);
        if host.wakes_at.is_none_or(|planned| planned > at) {
            host.wakes_at = Some(at);
            self.queue.plan(at, Happening::Timeout(of));
        }
    }

    fn on_timeout(&mut self, of: Life) {
        let now = self.now;
        let host = self.host_mut(of.host);
        // Another is planned for a sooner moment, or was.
        if !host.lives(of) || host.wakes_at != Some(now) {
            return;
        }
        host.wakes_at = None;
        let due = host
            .peer
            .as_ref()
            .and_then(cyxwiz_protocol::Peer::next_deadline)
            .is_some_and(|deadline| host.global(deadline.at) <= now);
        if due {
            self.feed(of, Input::Timeout);
            self.note_spin(of);
        } else {
            self.rearm(of);
        }
    }

    /// Counts timeouts that follow each other in no time.
    fn note_spin(&mut self, of: Life) {
        let now = self.now;
        let host = self.host_mut(of.host);
        host.spins = if host.wakes_at == Some(now) { host.spins + 1 } else { 0 };
        if host.spins > 0 {
            let spins = host.spins;
            self.see_sizes(spins);
        }
    }

    fn on_gossip(&mut self, to: Life, from: HostId, message: u64) {
        if self.host(to.host).lives(to)
            && let Some(bytes) = self.mesh.arrive(message, to.host)
        {
            let input = Input::Gossip { from: self.peer_id(from), bytes: bytes.to_vec() };
            if self.feed(to, input) == Some(Acceptance::Accept) {
                let (targets, length) = self.mesh.onward(message, to.host, from);
                self.spread(message, to.host, targets, length);
            }
        }
        self.mesh.end_copy(message);
    }

    fn on_durable(&mut self, of: Life) {
        if !self.host(of.host).lives(of) {
            return;
        }
        let written = self.registers_in_flush(of.host);
        let Some((batch, more)) = self.host_mut(of.host).disk.finish_flush() else {
            return;
        };
        self.look_at_seat(of.host);
        for job in written {
            self.look_at_disks(job);
        }
        // What is durable and not told yet is a place where a crash may fall.
        let told = self.now + faults::TELL_FLUSHED.draw(&mut self.chance.disk);
        self.queue.plan(told, Happening::Flushed { of, batch });
        if more {
            self.plan_flush(of);
        }
    }

    fn on_flushed(&mut self, of: Life, batch: u64) {
        if !self.host(of.host).lives(of) {
            return;
        }
        while let Some((_, effects)) =
            self.host_mut(of.host).held.pop_front_if(|(number, _)| *number <= batch)
        {
            self.act(of, effects);
        }
        self.feed(of, Input::Flushed { batch });
        self.look_at_new_leader(of.host);
    }

    fn on_training(&mut self, of: Life, run: Run, token: u64) {
        let now = self.now;
        let host = self.host_mut(of.host);
        if !host.lives(of) {
            return;
        }
        let Some(step) = host.trainer.step(run, token, now) else {
            return;
        };
        let event = match step {
            Step::Started(due) => {
                self.plan_training(of, run, due);
                if let Some(case) = self.workload.case_of(run.job) {
                    case.started_at.get_or_insert(now);
                }
                TaskEvent::Started { run }
            }
            Step::Progress(progress, due) => {
                self.plan_training(of, run, due);
                if let Some(checkpoint) = checkpoint(run, &progress) {
                    self.holdings.add(std::slice::from_ref(&checkpoint.file), of.host);
                    self.feed(of, Input::Task(TaskEvent::Checkpointed { run, checkpoint }));
                }
                TaskEvent::Progress { run, progress }
            }
            Step::Paused { progress, computed } => {
                if let Some(checkpoint) = progress.and_then(|it| checkpoint(run, &it)) {
                    self.holdings.add(std::slice::from_ref(&checkpoint.file), of.host);
                    self.feed(of, Input::Task(TaskEvent::Checkpointed { run, checkpoint }));
                }
                self.end_training(of, run, Ending::Cancelled, computed)
            }
            Step::Ended { ending, computed } => self.end_training(of, run, ending, computed),
        };
        self.feed(of, Input::Task(event));
    }

    /// A process is dead.
    fn end_training(
        &mut self,
        of: Life,
        run: Run,
        ending: Ending,
        computed: Duration,
    ) -> TaskEvent {
        let well = matches!(ending, Ending::Succeeded(_));
        if let Some(job) = self.workload.index_of(run.job) {
            self.observer.stopped(job, of.host, computed, well);
        }
        if let Ending::Succeeded(success) = &ending {
            self.counts.of_success.insert(run, computed);
            self.holdings.add(&success.outputs, of.host);
        }
        let worker = self.peer_id(of.host);
        self.judge.see(self.now, &Fact::Ended { worker, run, ending: &ending });
        let compute_ms = u64::try_from(computed.as_millis()).unwrap_or(u64::MAX);
        TaskEvent::Ended { run, ending, compute_ms }
    }
}
