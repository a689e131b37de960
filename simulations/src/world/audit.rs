//! Looking a leader in the cards: what it answers when asked is what it will keep to. The question
//! comes from nobody in the world and changes nothing in it.

use std::time::Duration;

use cyxwiz_protocol::{
    Input, JobId, PeerId, RequestId, Run, Send,
    job::{JobRecord, JobState},
    message::{
        Message, decode_message, encode_message,
        query::{Answer, Query, Question},
    },
};

use super::World;
use crate::{
    host::{Host, Part},
    invariant::{Fact, Remains, Sizes},
    queue::{Happening, HostId},
};

/// How often it is looked at, beside what happens to a job.
const EVERY: Duration = Duration::from_millis(500);
/// Jobs that are looked at each time.
const JOBS: usize = 4;
/// One round through all jobs looks at this part of those that had ended: they are not to change,
/// and they all are looked at when someone leads anew, and in the end.
const ENDED_PART: usize = 8;
/// Asks in nobody's name.
const AUDITOR: PeerId = PeerId([0xA5; 32]);

#[derive(Debug, Default)]
pub(super) struct Audit {
    /// The job that comes next.
    next: usize,
    rounds: usize,
}

/// What a leader says of a job.
enum Answered {
    Known(Box<JobRecord>),
    Unknown,
}

impl World {
    /// Looks at a few jobs in turn; true when everything has ended, or should have.
    pub(super) fn on_audit(&mut self) -> bool {
        for id in self.hosts_of(Part::Coordinator) {
            self.look_at_new_leader(id);
        }
        self.look_at_some();
        self.see_sizes(0);
        if self.now >= self.over_at || (self.now >= self.heals_at && self.has_settled()) {
            self.look_at_all();
            let remains = self.remains();
            self.judge.see(self.now, &Fact::Over(remains));
            return true;
        }
        self.queue.plan(self.now + EVERY, Happening::Audit);
        false
    }

    fn look_at_some(&mut self) {
        let mut looked_at = 0;
        for _ in 0..self.workload.cases.len() {
            let case = &self.workload.cases[self.audit.next];
            let (job, ended) = (case.spec.id, case.ending.is_some());
            let skipped = ended && self.audit.next % ENDED_PART != self.audit.rounds % ENDED_PART;
            self.audit.next += 1;
            if self.audit.next == self.workload.cases.len() {
                self.audit = Audit { next: 0, rounds: self.audit.rounds + 1 };
            }
            if skipped {
                continue;
            }
            self.look_at(job);
            looked_at += 1;
            if looked_at == JOBS {
                return;
            }
        }
    }

    /// A coordinator that begins to lead, again or for the first time, must know everything that
    /// was promised.
    pub(super) fn look_at_new_leader(&mut self, id: HostId) {
        if self.host(id).part != Part::Coordinator {
            return;
        }
        if !self.host(id).leads() {
            self.troubles.leading.remove(&id);
        } else if self.troubles.leading.insert(id) {
            self.look_at_all();
        }
    }

    fn look_at_all(&mut self) {
        for index in 0..self.workload.cases.len() {
            self.look_at(self.workload.cases[index].spec.id);
        }
    }

    /// Asks every coordinator that says it leads for one job, and shows the answers to the
    /// invariants.
    pub(super) fn look_at(&mut self, job: JobId) {
        self.look_at_disks(job);
        let leaders = self.leaders();
        for (index, &leader) in leaders.iter().enumerate() {
            let newest = index + 1 == leaders.len() && self.is_newest(leader);
            match self.ask(leader, job) {
                Some(Answered::Unknown) if newest => {
                    if !self.workload.may_be_forgotten(job) {
                        self.judge.see(self.now, &Fact::Unknown { job });
                    }
                }
                Some(Answered::Known(record)) => {
                    self.workload.note_record(&record);
                    self.look_for_the_living(&record);
                    let network = self.identity.id();
                    let fact = Fact::Chosen { record: &record, network, newest };
                    self.judge.see(self.now, &fact);
                }
                // It does not know of its successor yet.
                Some(Answered::Unknown) | None => {}
            }
        }
    }

    /// A cancelled or paused job has no process any more, where messages do not come later than
    /// leases last.
    fn look_for_the_living(&mut self, record: &JobRecord) {
        let (JobState::Cancelled { at } | JobState::Paused { since: at }) = record.state else {
            return;
        };
        // An attempt that was given up before may waste its time until its own lease is over.
        let last = record.attempts.last();
        let ended = last.filter(|it| it.end.as_ref().is_some_and(|end| end.at == at));
        let Some(attempt) = ended.map(|it| it.attempt) else { return };
        let run = Run { job: record.job, attempt };
        let counts = &self.troubles.counts;
        if counts.pauses + counts.clogs > 0 || self.plan.faults.links.late_copies_permille > 0 {
            return;
        }
        let alive = self.hosts.iter().find(|host| host.trainer.has(run));
        if let Some(worker) = alive.map(|host| host.peer_id) {
            self.judge.see(self.now, &Fact::RunsOn { job: record.job, worker });
        }
    }

    /// A leader's word on a job.
    fn ask(&mut self, leader: HostId, job: JobId) -> Option<Answered> {
        let (now, network) = (self.now, self.identity.id());
        let leader = self.host_mut(leader);
        let local = leader.local(now);
        let request = RequestId(0);
        let question = Query::Ask { request, question: Question::Job(job) };
        let bytes = encode_message(network, &Message::Query(question));
        let input = Input::Frame { from: AUDITOR, bytes };
        let effects = leader.handle(local, input)?;
        let frame = effects.sends.into_iter().find_map(|send| match send {
            Send::Direct { to: AUDITOR, frame } => Some(frame),
            Send::Direct { .. }
            | Send::Publish { .. }
            | Send::Subscribe(_)
            | Send::Unsubscribe(_)
            | Send::Ban { .. } => None,
        })?;
        let Ok(Message::Query(Query::Answer { answer, .. })) = decode_message(network, &frame)
        else {
            return None;
        };
        match *answer {
            Answer::Job(Some(detail)) => Some(Answered::Known(Box::new(detail.record))),
            Answer::Job(None) => Some(Answered::Unknown),
            Answer::Jobs(_) | Answer::Workers(_) => None,
        }
    }

    pub(super) fn see_sizes(&mut self, spins: u32) {
        let sizes = Sizes {
            hosts: self.hosts.len(),
            jobs: self.workload.cases.len(),
            planned: self.queue.len() + self.mesh.len(),
            held: self.hosts.iter().map(|host| host.held.len()).max().unwrap_or(0),
            spins,
        };
        self.judge.see(self.now, &Fact::Sizes(sizes));
    }

    /// Whether nothing is left to be done, by what is cheap to ask.
    fn has_settled(&self) -> bool {
        if !self.coordinators().iter().any(Host::leads) {
            return false;
        }
        let Remains { unanswered, followed, runs, .. } = self.leftovers();
        unanswered == 0 && followed == 0 && runs == 0 && self.workload.open() == 0
    }

    fn remains(&mut self) -> Remains {
        let workload = &mut self.workload;
        let mut ended = |job| workload.case_of(job).is_some_and(|case| case.ending.is_some());
        let mut unfinished: Vec<_> = self.counts.accepted.iter().copied().collect();
        unfinished.retain(|&job| !ended(job));
        Remains { unfinished, ..self.leftovers() }
    }

    fn leftovers(&self) -> Remains {
        let mut remains = Remains { unanswered: self.workload.unanswered(), ..Remains::default() };
        for host in &self.hosts {
            match host.part {
                Part::Coordinator => {}
                Part::Submitter => {
                    let status = host.peer.as_ref().map(cyxwiz_protocol::Peer::status);
                    remains.followed += status.map_or(1, |it| it.unaccepted + it.unfinished);
                }
                Part::Worker => {
                    let idle = host.peer.as_ref().is_some_and(cyxwiz_protocol::Peer::is_idle);
                    remains.runs += host.trainer.len() + usize::from(!idle);
                }
            }
        }
        remains
    }
}
