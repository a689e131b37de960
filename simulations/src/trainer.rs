//! The model of the executor: a job computes for a drawn time, says a few times how far it is,
//! and ends well, or fails in a way that another attempt may repair. Files are names of content
//! and who holds them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cyxwiz_protocol::{
    ArtifactId, Instant, JobId, PeerId, Rng, Run,
    effects::{Collecting, StopReason},
    report::{Checkpoint, Ending, FailureClass, Progress, Success},
    spec::FileRef,
};

use crate::{
    chance::{Span, happens},
    queue::HostId,
};

/// How long a process takes to come up, its inputs fetched.
const PREPARING: Span = Span::millis(10, 60);
/// How long a process takes to die.
const DYING: Span = Span::millis(5, 200);
/// How long a process takes to end the batch that it is at and to write down how far it is.
const PAUSING: Span = Span::millis(5, 1_500);
/// Times that a process tells of its progress.
const REPORTS: u32 = 4;

/// The processes of one host.
#[derive(Debug, Default)]
pub(crate) struct Trainer {
    processes: BTreeMap<Run, Process>,
    /// Runs that were to be stopped when there was no process of them.
    stopped_without: BTreeSet<Run>,
    tokens: u64,
}

#[derive(Debug)]
struct Process {
    /// Tells the steps of this process from those of one that was stopped.
    token: u64,
    began: Instant,
    step: Duration,
    steps_done: u32,
    steps: u32,
    /// Steps that an earlier attempt did.
    resumed: u32,
    fails: bool,
    /// Whether and why it is about to end.
    stopping: Option<StopReason>,
}

/// When the next step of a process is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) after: Duration,
    pub(crate) token: u64,
}

/// What a step came to.
#[derive(Debug)]
pub(crate) enum Step {
    Started(Due),
    Progress(Progress, Due),
    /// It was paused, and left a state if it came so far.
    Paused {
        progress: Option<Progress>,
        computed: Duration,
    },
    Ended {
        ending: Ending,
        computed: Duration,
    },
}

/// Files that are being fetched.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// Whether a submission waits for them.
    pub(crate) inspects: bool,
    pub(crate) job: JobId,
    pub(crate) why: Collecting,
    pub(crate) files: Vec<FileRef>,
    pub(crate) from: Vec<PeerId>,
}

impl Trainer {
    /// Begins a run; how many processes there are with it.
    pub(crate) fn begin(
        &mut self,
        run: Run,
        now: Instant,
        (training, failing_permille): (Span, u32),
        resumed: u32,
        rng: &mut Rng,
    ) -> (Due, usize) {
        self.tokens += 1;
        let token = self.tokens;
        let fails = happens(rng, failing_permille);
        // One that fails does so on its way.
        let steps = if fails { 2 } else { REPORTS + 1 };
        let process = Process {
            token,
            began: now,
            step: training.draw(rng) / (REPORTS + 1),
            steps_done: 0,
            steps,
            resumed: resumed.min(REPORTS),
            fails,
            stopping: None,
        };
        self.processes.insert(run, process);
        (Due { after: PREPARING.draw(rng), token }, self.processes.len())
    }

    /// Kills or pauses a run, if there is one; it ends when its process is dead.
    pub(crate) fn stop(&mut self, run: Run, why: StopReason, rng: &mut Rng) -> Option<Due> {
        let Some(process) = self.processes.get_mut(&run) else {
            self.stopped_without.insert(run);
            return None;
        };
        if process.stopping.is_some_and(|before| before != StopReason::Paused || before == why) {
            return None;
        }
        self.tokens += 1;
        (process.token, process.stopping) = (self.tokens, Some(why));
        let takes = if why == StopReason::Paused { PAUSING } else { DYING };
        Some(Due { after: takes.draw(rng), token: self.tokens })
    }

    /// Whether the order to stop a run came before the order to begin it.
    pub(crate) fn was_stopped_before(&self, run: Run) -> bool {
        self.stopped_without.contains(&run)
    }

    /// The next step of the process; none when it was stopped in the meantime.
    pub(crate) fn step(&mut self, run: Run, token: u64, now: Instant) -> Option<Step> {
        let process = self.processes.get_mut(&run).filter(|process| process.token == token)?;
        let computed = now.since(process.began);
        if process.stopping == Some(StopReason::Paused) {
            let done = process.steps_done.checked_sub(1);
            // Past what the last step told of.
            let progress = done.map(|done| Progress { batch: 2, ..progress(done, computed) });
            self.processes.remove(&run);
            return Some(Step::Paused { progress, computed });
        }
        process.steps_done += 1;
        let ending = if process.stopping.is_some() {
            Ending::Cancelled
        } else if process.steps_done == 1 {
            process.steps_done += process.resumed;
            return Some(Step::Started(Due { after: process.step, token }));
        } else if process.steps_done <= process.steps {
            let progress = progress(process.steps_done - 1, computed);
            return Some(Step::Progress(progress, Due { after: process.step, token }));
        } else if process.fails {
            let message = "the simulated process failed".to_owned();
            Ending::Failed { class: FailureClass::Internal, message }
        } else {
            Ending::Succeeded(success(run))
        };
        self.processes.remove(&run);
        Some(Step::Ended { ending, computed })
    }

    /// The host fell over and every process with it: how long each had computed.
    pub(crate) fn crash(&mut self, now: Instant) -> Vec<(Run, Duration)> {
        self.stopped_without.clear();
        let processes = std::mem::take(&mut self.processes);
        let spent = |(run, process): (Run, Process)| (run, now.since(process.began));
        processes.into_iter().map(spent).collect()
    }

    /// Whether the process of this run is alive.
    pub(crate) fn has(&self, run: Run) -> bool {
        self.processes.contains_key(&run)
    }

    /// Processes that are not dead.
    pub(crate) fn len(&self) -> usize {
        self.processes.len()
    }
}

fn progress(done: u32, computed: Duration) -> Progress {
    Progress {
        epoch: done,
        epochs: REPORTS,
        batch: 1,
        batches: 1,
        elapsed_ms: u64::try_from(computed.as_millis()).unwrap_or(u64::MAX),
        ..Progress::default()
    }
}

/// What a run makes: its name follows from the run, so that a wrong one is told at sight.
pub(crate) fn success(run: Run) -> Success {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"cyxwiz/model\0").update(&run.job.0).update(&run.attempt.0.to_le_bytes());
    let file = FileRef {
        name: "model.safetensors".parse().expect("a plain name"),
        artifact: ArtifactId(*hasher.finalize().as_bytes()),
        size: 4_096,
    };
    Success {
        outputs: vec![file],
        metrics: Vec::new(),
        parameters: 1_000,
        engine: "simulated".to_owned(),
        threads: 1,
    }
}

/// The state that a run has written down after so many steps.
pub(crate) fn checkpoint(run: Run, progress: &Progress) -> Option<Checkpoint> {
    let begun = (progress.epoch, progress.batch) > (0, 1);
    if !begun || progress.epoch >= progress.epochs {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"cyxwiz/checkpoint\0").update(&run.job.0);
    hasher.update(&run.attempt.0.to_le_bytes()).update(&progress.epoch.to_le_bytes());
    hasher.update(&progress.batch.to_le_bytes());
    let file = FileRef {
        name: "checkpoint.safetensors".parse().expect("a plain name"),
        artifact: ArtifactId(*hasher.finalize().as_bytes()),
        size: 8_192,
    };
    Some(Checkpoint { epoch: progress.epoch, batch: progress.batch - 1, file })
}

/// The data of a job that has some.
pub(crate) fn data(index: usize) -> FileRef {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"cyxwiz/data\0").update(&(index as u64).to_le_bytes());
    FileRef {
        name: "data.csv".parse().expect("a plain name"),
        artifact: ArtifactId(*hasher.finalize().as_bytes()),
        size: 100_000,
    }
}

/// Who has which files. They are on disk, so that a crash takes none.
#[derive(Debug, Default)]
pub(crate) struct Holdings(BTreeMap<ArtifactId, BTreeSet<HostId>>);

impl Holdings {
    pub(crate) fn add(&mut self, files: &[FileRef], host: HostId) {
        for file in files {
            self.0.entry(file.artifact).or_default().insert(host);
        }
    }

    /// The disk of a host is lost, and everything on it.
    pub(crate) fn lose(&mut self, host: HostId) {
        for holders in self.0.values_mut() {
            holders.remove(&host);
        }
    }

    /// Whether `host` has all of these.
    pub(crate) fn has(&self, files: &[FileRef], host: HostId) -> bool {
        let held = |file: &FileRef| self.0.get(&file.artifact).is_some_and(|it| it.contains(&host));
        files.iter().all(held)
    }
}
