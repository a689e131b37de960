//! What a run looks like from outside: the life of each job, the traffic and the work of each
//! peer, how many waited and ran in each second, and what fell when. Counters alone: nothing here
//! has any influence on the run.

use std::time::Duration;

use cyxwiz_protocol::{Instant, PeerId};
use serde::Serialize;

use crate::{figures::Figures, host::Part, invariant::Violation, queue::HostId};

/// Everything that is known of a run once it is over.
#[derive(Clone, Debug)]
pub struct Observation {
    pub figures: Figures,
    /// The first promise that broke; with it the run ended early.
    pub violation: Option<Violation>,
    pub jobs: Vec<JobLine>,
    pub peers: Vec<PeerLine>,
    pub seconds: Vec<Second>,
    pub marks: Vec<Mark>,
    /// The recorded lives of the host that was to be recorded, and its key.
    pub recorded: Option<Recorded>,
}

/// What was recorded of one host.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// One recording for each life.
    pub lives: Vec<Vec<u8>>,
    /// The secret of its identity, which is worth nothing outside its simulation.
    pub key: [u8; 32],
}

/// The life of a job; moments in seconds since the world began.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobLine {
    pub job: String,
    pub submitter: u32,
    pub submitted_s: Option<f64>,
    pub accepted_s: Option<f64>,
    pub assigned_s: Option<f64>,
    pub started_s: Option<f64>,
    pub done_s: Option<f64>,
    pub attempts: u64,
    pub end: JobEnd,
    pub computed_s: f64,
    pub wasted_s: f64,
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobEnd {
    Completed,
    Failed,
    Cancelled,
    /// Not ended, or nobody led who could tell.
    Open,
}

/// The traffic and the work of one peer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeerLine {
    pub host: u32,
    pub peer: String,
    pub part: &'static str,
    pub messages_out: u64,
    pub bytes_out: u64,
    pub messages_in: u64,
    pub bytes_in: u64,
    /// Everything that it handled, timeouts and flushes included.
    pub inputs: u64,
    pub crashes: u64,
    pub runs: u64,
    pub computed_s: f64,
    /// Computing against what its slots could do until the last job ended; none but for workers.
    pub utilisation: Option<f64>,
}

/// The state at the end of one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Second {
    pub second: u64,
    /// Accepted jobs that have not ended and run nowhere.
    pub queued: u64,
    /// Processes.
    pub running: u64,
    /// Coordinators that lead.
    pub leaders: u64,
    /// Hosts that are up.
    pub up: u64,
    /// Jobs accepted and ended so far.
    pub accepted: u64,
    pub ended: u64,
    /// On all links, within this second.
    pub bytes: u64,
}

/// Something that happened to the world at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    pub at_us: u64,
    pub what: MarkKind,
    /// Who or what was hit.
    pub whom: String,
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkKind {
    Crash,
    Return,
    Partition,
    Heal,
    /// Something else that goes wrong for a while.
    Trouble,
    Violation,
}

impl MarkKind {
    /// In a word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Return => "return",
            Self::Partition => "partition",
            Self::Heal => "heal",
            Self::Trouble => "trouble",
            Self::Violation => "violation",
        }
    }
}

impl JobEnd {
    /// In a word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Open => "open",
        }
    }
}

/// How many marks are kept: more cannot be told apart in a picture.
const MARKS: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Observer {
    pub(crate) jobs: Vec<JobSeen>,
    pub(crate) peers: Vec<PeerSeen>,
    pub(crate) seconds: Vec<Second>,
    pub(crate) marks: Vec<Mark>,
    now: Second,
    pub(crate) last_end: Instant,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct JobSeen {
    pub(crate) assigned_at: Option<Instant>,
    pub(crate) ended_at: Option<Instant>,
    pub(crate) computed: Duration,
    accepted: bool,
    running: u32,
    succeeded: bool,
    waits: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PeerSeen {
    pub(crate) messages_out: u64,
    pub(crate) bytes_out: u64,
    pub(crate) messages_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) inputs: u64,
    pub(crate) crashes: u64,
    pub(crate) runs: u64,
    pub(crate) computed: Duration,
}

impl Observer {
    pub(crate) fn new(jobs: usize, peers: usize) -> Self {
        Self {
            jobs: vec![JobSeen::default(); jobs],
            peers: vec![PeerSeen::default(); peers],
            ..Self::default()
        }
    }

    /// Whether a second ended before `at`, so that [`Self::sample`] is due.
    pub(crate) const fn is_due(&self, at: Instant) -> bool {
        at.0 >= (self.now.second + 1) * 1_000_000
    }

    /// Ends every second that is over at `at`.
    pub(crate) fn sample(&mut self, at: Instant, leaders: u64, up: u64) {
        while self.is_due(at) {
            (self.now.leaders, self.now.up) = (leaders, up);
            self.seconds.push(self.now);
            self.now.second += 1;
            self.now.bytes = 0;
        }
    }

    pub(crate) fn sent(&mut self, from: HostId, bytes: usize) {
        self.now.bytes += bytes as u64;
        if let Some(peer) = self.peers.get_mut(from.index()) {
            peer.messages_out += 1;
            peer.bytes_out += bytes as u64;
        }
    }

    /// An input of `bytes`; those without any came from within.
    pub(crate) fn handled(&mut self, by: HostId, bytes: usize) {
        if let Some(peer) = self.peers.get_mut(by.index()) {
            peer.inputs += 1;
            peer.messages_in += u64::from(bytes > 0);
            peer.bytes_in += bytes as u64;
        }
    }

    pub(crate) fn accepted(&mut self, job: usize) {
        self.now.accepted += u64::from(!self.jobs[job].accepted);
        self.jobs[job].accepted = true;
        self.weigh(job);
    }

    pub(crate) fn assigned(&mut self, job: usize, at: Instant) {
        self.jobs[job].assigned_at.get_or_insert(at);
    }

    pub(crate) fn began(&mut self, job: usize, worker: HostId) {
        self.now.running += 1;
        self.jobs[job].running += 1;
        self.peers[worker.index()].runs += 1;
        self.weigh(job);
    }

    /// A process is dead, well or not.
    pub(crate) fn stopped(&mut self, job: usize, worker: HostId, computed: Duration, well: bool) {
        self.now.running = self.now.running.saturating_sub(1);
        let seen = &mut self.jobs[job];
        seen.running = seen.running.saturating_sub(1);
        seen.computed += computed;
        seen.succeeded |= well;
        self.peers[worker.index()].computed += computed;
        self.weigh(job);
    }

    /// The user learnt of the end.
    pub(crate) fn ended(&mut self, job: usize, at: Instant) {
        self.last_end = self.last_end.max(at);
        self.now.ended += u64::from(self.jobs[job].ended_at.is_none());
        self.jobs[job].ended_at.get_or_insert(at);
        self.weigh(job);
    }

    pub(crate) fn crashed(&mut self, host: HostId, part: Part, at: Instant) {
        self.peers[host.index()].crashes += 1;
        self.mark(at, MarkKind::Crash, format!("{} {}", part.name(), host.0));
    }

    pub(crate) fn mark(&mut self, at: Instant, what: MarkKind, whom: String) {
        if self.marks.len() < MARKS {
            self.marks.push(Mark { at_us: at.0, what, whom });
        }
    }

    /// Counts a job among those that wait, or no longer.
    fn weigh(&mut self, job: usize) {
        let seen = &mut self.jobs[job];
        let over = seen.ended_at.is_some() || seen.succeeded;
        let waits = seen.accepted && !over && seen.running == 0;
        match (std::mem::replace(&mut seen.waits, waits), waits) {
            (false, true) => self.now.queued += 1,
            (true, false) => self.now.queued -= 1,
            (true, true) | (false, false) => {}
        }
    }
}

impl PeerSeen {
    pub(crate) fn line(&self, host: HostId, peer: PeerId, part: Part, could: Duration) -> PeerLine {
        let worked = part == Part::Worker && !could.is_zero();
        PeerLine {
            host: host.0,
            peer: peer.to_string(),
            part: part.name(),
            messages_out: self.messages_out,
            bytes_out: self.bytes_out,
            messages_in: self.messages_in,
            bytes_in: self.bytes_in,
            inputs: self.inputs,
            crashes: self.crashes,
            runs: self.runs,
            computed_s: self.computed.as_secs_f64(),
            utilisation: worked.then(|| self.computed.as_secs_f64() / could.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000)
    }

    #[test]
    fn a_job_waits_from_its_acceptance_until_it_runs_and_again_after_a_failure() {
        let worker = HostId(0);
        let mut observer = Observer::new(1, 1);
        observer.accepted(0);
        observer.sample(at(1), 1, 1);
        observer.began(0, worker);
        observer.sample(at(2), 1, 1);
        observer.stopped(0, worker, Duration::from_secs(1), false);
        observer.sample(at(3), 0, 1);
        observer.began(0, worker);
        observer.stopped(0, worker, Duration::from_secs(2), true);
        observer.ended(0, at(4));
        observer.sample(at(5), 1, 1);
        let queued: Vec<_> = observer.seconds.iter().map(|second| second.queued).collect();
        let running: Vec<_> = observer.seconds.iter().map(|second| second.running).collect();
        assert_eq!((queued, running), (vec![1, 0, 1, 0, 0], vec![0, 1, 0, 0, 0]));
        assert_eq!(observer.jobs[0].computed, Duration::from_secs(3));
        assert_eq!(observer.peers[0].runs, 2);
    }

    #[test]
    fn seconds_without_events_are_there_too_and_bytes_belong_to_one() {
        let mut observer = Observer::new(0, 1);
        observer.sent(HostId(0), 100);
        assert!(!observer.is_due(Instant(999_999)));
        observer.sample(at(3), 1, 1);
        let bytes: Vec<_> = observer.seconds.iter().map(|second| second.bytes).collect();
        assert_eq!(bytes, [100, 0, 0]);
    }
}
