//! Effects, carried out as a node does it: writes first, and whatever comes with writes waits
//! until they are on disk.

use std::{mem, time::Duration};

use cyxwiz_protocol::{
    Effects, Event, PeerId, Reply, Run, Send, Task, TaskEvent, Topic, Verified,
    effects::Collecting,
    message::{
        Message, decode_message, pausing::OrderRefusal, pausing::Pausing, run::RunStep,
        submission::Refusal, submission::Submission,
    },
    report::{Checkpoint, Ending, FailureClass},
    spec::{FileRef, JobSpec},
};

use super::{ASK_AGAIN, World};
use crate::{
    chance::Span,
    host::Part,
    invariant::Fact,
    queue::{Happening, HostId, Life},
    trainer::{Due, Fetch},
    workload::Wish,
};

/// How long it takes to look at a spec without inputs.
const INSPECTION: Span = Span::micros(500, 5_000);
/// How long it takes to fetch the files of a result.
const FETCHING: Span = Span::millis(5, 100);

impl World {
    pub(super) fn carry_out(&mut self, of: Life, mut effects: Effects) {
        let Some(batch) = effects.batch else {
            return self.act(of, effects);
        };
        let writes = mem::take(&mut effects.writes);
        let host = self.host_mut(of.host);
        host.held.push_back((batch, effects));
        if host.disk.commit(batch, writes) {
            self.plan_flush(of);
        }
        if self.skips_fsync(of.host) {
            self.queue.plan(self.now, Happening::Flushed { of, batch });
        }
    }

    pub(super) fn act(&mut self, of: Life, effects: Effects) {
        for send in effects.sends {
            self.send(of, send);
        }
        for task in effects.tasks {
            self.begin(of, task);
        }
        for event in effects.events {
            self.tell(event);
        }
    }

    fn send(&mut self, of: Life, send: Send) {
        match send {
            Send::Direct { to, frame } => self.send_frame(of.host, to, frame),
            Send::Publish { topic, frame } => self.publish(of, topic, frame),
            Send::Subscribe(topic) => self.mesh.join(topic, of.host, &mut self.chance.network),
            Send::Unsubscribe(topic) => self.mesh.leave(topic, of.host, &mut self.chance.network),
            Send::Ban { peer, for_, .. } if self.mischief.knows(peer) => {
                self.mischief.note_ban(of.host, peer, self.now + for_);
            }
            Send::Ban { peer, why, .. } => {
                self.judge.see(self.now, &Fact::ShutOut { peer, why: &why });
            }
        }
    }

    fn send_frame(&mut self, from: HostId, to: PeerId, bytes: Vec<u8>) {
        match self.host(from).part {
            Part::Coordinator => self.overhear(from, &bytes),
            Part::Submitter => self.note_order(&bytes),
            Part::Worker => {}
        }
        if self.hands_to_hostile(from, to, &bytes) {
            return;
        }
        let Some(&to) = self.by_peer.get(&to) else {
            return;
        };
        let life = self.host(to).life();
        if to == from {
            return self.queue.plan(self.now, Happening::Frame { to: life, from, bytes });
        }
        self.counts.bytes += bytes.len() as u64;
        self.observer.sent(from, bytes.len());
        if !self.host(to).is_up() {
            return;
        }
        self.link(from, to);
        let arrivals =
            self.network.carry(self.now, (from, to), bytes.len(), &mut self.chance.network);
        for at in arrivals {
            let frame = Happening::Frame { to: life, from, bytes: bytes.clone() };
            self.queue.plan(at, frame);
        }
    }

    /// A user's order leaves its machine: what it says is certain from now on.
    fn note_order(&mut self, bytes: &[u8]) {
        let network = self.identity.id();
        let Ok(Message::Pausing(Pausing::Order { order, .. })) = decode_message(network, bytes)
        else {
            return;
        };
        if let Ok(order) = order.verify(network) {
            let (number, wish) = (order.header().sequence, order.wish);
            self.judge.see(self.now, &Fact::Ordered { job: order.job, number, wish });
        }
    }

    /// What a coordinator promises counts from the moment at which it leaves.
    fn overhear(&mut self, from: HostId, bytes: &[u8]) {
        let Ok(message) = decode_message(self.identity.id(), bytes) else {
            let what = "a coordinator sent what cannot be read".to_owned();
            return self.judge.accuse(self.now, "frames can be read", what);
        };
        self.witness(from, &message);
        self.mischief.listen_in(self.identity.id(), &message);
        match message {
            Message::Submission(Submission::Accepted { job, .. }) => {
                if self.workload.case_of(job).is_some() {
                    self.counts.accepted.insert(job);
                    self.workload.note_accepted(job);
                }
                self.judge.see(self.now, &Fact::AcceptedTold { job });
                self.look_at(job);
            }
            Message::Submission(Submission::CancelNoted { job, .. }) => {
                self.judge.see(self.now, &Fact::CancelTold { job });
                self.look_at(job);
            }
            Message::Pausing(Pausing::Noted { job, number, .. }) => {
                self.counts.orders += 1;
                self.judge.see(self.now, &Fact::OrderTold { job, number });
                self.look_at(job);
            }
            Message::Submission(Submission::Ended { job }) => self.look_at(job),
            Message::Run(RunStep::Counted { run, .. }) => self.look_at(run.job),
            Message::Submission(_)
            | Message::Pausing(_)
            | Message::Run(_)
            | Message::Membership(_)
            | Message::Auction(_)
            | Message::Query(_)
            | Message::Replication(_) => {}
        }
    }

    fn publish(&mut self, of: Life, topic: Topic, frame: Vec<u8>) {
        self.witness_gossip(of.host, topic, &frame);
        let length = frame.len();
        let (message, targets) =
            self.mesh.publish(topic, of.host, &frame, &mut self.chance.network);
        if self.mesh.is_member(topic, of.host) {
            // Gossip brings nobody its own messages; the node does.
            self.queue.plan(self.now, Happening::Own { of, bytes: frame });
        }
        self.spread(message, of.host, targets, length);
        self.mesh.forget_if_over(message);
    }

    /// Copies of a message go to neighbours, each over a link of its own.
    pub(super) fn spread(
        &mut self,
        message: u64,
        from: HostId,
        targets: Vec<HostId>,
        length: usize,
    ) {
        for target in targets {
            self.counts.bytes += length as u64;
            self.observer.sent(from, length);
            let to = self.host(target).life();
            let arrivals =
                self.network.carry(self.now, (from, target), length, &mut self.chance.network);
            for at in arrivals {
                if self.mesh.depart(message, target) {
                    self.queue.plan(at, Happening::Gossip { to, from, message });
                }
            }
        }
    }

    fn begin(&mut self, of: Life, task: Task) {
        match task {
            Task::Inspect { spec, from } => self.inspect(of, &spec, from),
            Task::Run { run, spec, resume, sources } => {
                self.prepare_run(of, run, &spec, resume, &sources);
            }
            Task::Stop { run, why } => {
                let host = &mut self.hosts[of.host.index()];
                if let Some(due) = host.trainer.stop(run, why, &mut self.chance.trainer) {
                    self.plan_training(of, run, due);
                }
            }
            // What a run made stays; it is content, not scratch.
            Task::Discard { .. } => {}
            Task::Collect { job, why, files, from } => {
                let fetch = Box::new(Fetch { inspects: false, job, why, files, from });
                let at = self.now + FETCHING.draw(&mut self.chance.trainer);
                self.queue.plan(at, Happening::Fetched { of, fetch });
            }
        }
    }

    fn inspect(&mut self, of: Life, spec: &Verified<JobSpec>, from: PeerId) {
        let (job, files) = (spec.id, spec.inputs.clone());
        let at = self.now + INSPECTION.draw(&mut self.chance.trainer);
        let why = Collecting::Keeping;
        let fetch = Box::new(Fetch { inspects: true, job, why, files, from: vec![from] });
        self.queue.plan(at, Happening::Fetched { of, fetch });
    }

    /// A run begins with its files, or ends for want of them.
    fn prepare_run(
        &mut self,
        of: Life,
        run: Run,
        spec: &JobSpec,
        resume: Option<Checkpoint>,
        sources: &[PeerId],
    ) {
        if !self.get_files(of.host, &spec.inputs, sources) {
            let message = "the input files could not be fetched".to_owned();
            let ending = Ending::Failed { class: FailureClass::Internal, message };
            let event = Box::new(TaskEvent::Ended { run, ending, compute_ms: 0 });
            let at = self.now + FETCHING.draw(&mut self.chance.trainer);
            return self.queue.plan(at, Happening::Task { of, event });
        }
        // Without the checkpoint it begins at the beginning.
        let resumed =
            resume.filter(|it| self.get_files(of.host, std::slice::from_ref(&it.file), sources));
        self.begin_run(of, run, resumed.map_or(0, |checkpoint| checkpoint.epoch));
    }

    fn begin_run(&mut self, of: Life, run: Run, resumed: u32) {
        let work = (self.training_at(of.host), self.plan.failing_permille);
        let host = &mut self.hosts[of.host.index()];
        if host.trainer.was_stopped_before(run) {
            let what = format!("{} begins {run} after the order to stop it", host.peer_id);
            self.judge.accuse(self.now, "cancel means stopped", what);
        }
        let (due, running) =
            host.trainer.begin(run, self.now, work, resumed, &mut self.chance.trainer);
        let worker = host.peer_id;
        if let Some(job) = self.workload.index_of(run.job) {
            self.observer.began(job, of.host);
        }
        self.plan_training(of, run, due);
        let slots = self.plan.slots;
        self.judge.see(self.now, &Fact::Began { worker, running, slots });
    }

    pub(super) fn plan_training(&mut self, of: Life, run: Run, due: Due) {
        let step = Happening::Training { of, run, token: due.token };
        self.queue.plan(self.now + due.after, step);
    }

    /// Files can be had from whoever is up and holds them all.
    fn get_files(&mut self, host: HostId, files: &[FileRef], from: &[PeerId]) -> bool {
        let had = self.holdings.has(files, host)
            || from
                .iter()
                .filter_map(|peer| self.by_peer.get(peer))
                .any(|&other| self.host(other).is_up() && self.holdings.has(files, other));
        if had {
            self.holdings.add(files, host);
        }
        had
    }

    pub(super) fn on_fetched(&mut self, of: Life, fetch: Fetch) {
        let Fetch { inspects, job, why, files, from } = fetch;
        if !self.host(of.host).lives(of) {
            return;
        }
        let result = if self.get_files(of.host, &files, &from) {
            Ok(())
        } else {
            Err("nobody that is up has the files".to_owned())
        };
        let event = if inspects {
            TaskEvent::Inspected { job, result: result.map_err(Refusal::Inputs) }
        } else {
            TaskEvent::Collected { job, why, result }
        };
        self.feed(of, cyxwiz_protocol::Input::Task(event));
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Reply { id, reply } => {
                if let Some(wish) = self.workload.answered(id) {
                    self.on_reply(wish, &reply);
                }
            }
            Event::Forgotten { job } if self.workload.may_be_forgotten(job) => {}
            Event::Forgotten { job } => {
                let what = format!("the submitter of job {job} was told that it is forgotten");
                self.judge.accuse(self.now, "nothing is forgotten", what);
            }
            Event::Ended { job } => {
                if let Some(job) = self.workload.index_of(job) {
                    self.observer.ended(job, self.now);
                }
            }
            Event::Awarded { run, .. } => {
                if let Some(job) = self.workload.index_of(run.job) {
                    self.observer.assigned(job, self.now);
                }
            }
            Event::Report { .. }
            | Event::Committee { .. }
            | Event::Announced { .. }
            | Event::RunTaken { .. }
            | Event::ClockDiffers { .. } => {}
        }
    }

    fn on_reply(&mut self, wish: Wish, reply: &Reply) {
        match (wish, reply) {
            (Wish::Submit(index), Reply::Accepted { .. }) => {
                self.workload.cases[index].accepted_at.get_or_insert(self.now);
                self.observer.accepted(index);
            }
            (Wish::Cancel(index), Reply::CancelNoted { .. }) => {
                self.workload.note_cancel_answer(index);
            }
            // Perhaps the job was on its way: a user tries again.
            (Wish::Order(index, _), Reply::Order { result: Err(OrderRefusal::Unknown), .. })
                if !self.workload.cases[index].refused =>
            {
                self.queue.plan(self.now + ASK_AGAIN, Happening::Wish(wish));
            }
            (Wish::Order(index, number), Reply::Order { result, .. })
                if self.workload.is_overtaken(wish) || *result != Err(OrderRefusal::Overtaken) =>
            {
                self.workload.note_order_answer(index, number);
            }
            // A limit, or nobody there at this moment: a user tries again.
            (_, Reply::Refused { refusal: Refusal::Full(_), .. } | Reply::Busy(_))
            | (_, Reply::Unreachable(_)) => {
                let after: Duration = ASK_AGAIN;
                self.queue.plan(self.now + after, Happening::Wish(wish));
            }
            (Wish::Submit(index), Reply::Refused { .. }) => {
                self.workload.cases[index].refused = true;
            }
            // Nothing was there to be cancelled.
            (Wish::Cancel(index), Reply::Refused { .. }) => {
                self.workload.note_cancel_answer(index);
            }
            (
                _,
                Reply::Refused { .. }
                | Reply::Accepted { .. }
                | Reply::CancelNoted { .. }
                | Reply::Order { .. }
                | Reply::Answer(_)
                | Reply::Collected
                | Reply::CollectFailed(_)
                | Reply::Done,
            ) => {
                let what = format!("{wish:?} was answered with {reply:?}");
                self.judge.accuse(self.now, "answers fit their commands", what);
            }
        }
    }
}
