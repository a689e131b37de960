//! What the network costs a job: the CNN, trained by the trainer's process alone and as a job of a
//! network on this machine, in turns. Of the job all time counts from its acceptance to its
//! completion: the auction, the start of the process, reports, checkpoints and the way of the
//! result. All of them share this machine's processors, so that processor time tells more surely
//! than the clock what is added: that of every process of the network counts, idle as they may be.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    super::{assemble, disk, machine},
    Samples,
    jobs::{self, Model},
};
use crate::{
    api::view::SubmitRequest,
    cli::{
        Context, TrainingArgs,
        client::Client,
        cluster::Cluster,
        error::CommandError,
        quantity,
        table::{Facts, Rows},
    },
    job_file::JobFile,
};

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    machine: String,
    load_average: [f64; 2],
    model: &'static str,
    threads: u32,
    rounds: u32,
    rows: usize,
    epochs: u32,
    /// From the start of the process to its end.
    alone_s: Samples,
    /// From the acceptance of the job to its completion.
    job_s: Samples,
    /// Of that, what the process says that it trained.
    trained_s: Samples,
    /// Of each round, what it takes alone divided by what it takes as a job.
    ratio: Samples,
    /// Of each job, the part of its time in which its process trained: the same, but for what the
    /// machine did besides in one turn and not in the other.
    trained_share: Samples,
    /// Processor time of the process alone.
    alone_cpu_s: Samples,
    /// Processor time of the job's process and of all nodes, over the same time.
    job_cpu_s: Samples,
    /// Of each round, by processor time.
    cpu_ratio: Samples,
}

/// What a run takes.
#[derive(Clone, Copy, Debug)]
struct Taken {
    seconds: f64,
    cpu_seconds: f64,
}

/// See the module's text.
pub(super) fn run(context: &Context, args: &TrainingArgs) -> Result<(), CommandError> {
    let load_before = disk::load_average();
    let mut cluster = Cluster::new(false)?;
    let threads = args.threads.to_string();
    let options =
        ["--worker", "--allow-unsandboxed", "--threads", &threads, "--max-concurrent", "1"];
    let network = assemble(&mut cluster, 1, 1, &options)?;
    let client = network.laptop.client()?;
    // What this process starts from here on comes after other programs, as workers' runs do.
    rustix::process::nice(crate::executor::NICENESS).map_err(|source| {
        CommandError::failure("cannot become as patient as a worker's runs").because(&source)
    })?;
    context.output.say(&format!("{} processes have found each other", cluster.len()));
    let folder = cluster.root().join("bench");
    jobs::write(MODEL, args.rows, &folder)?;
    let mut turns = Turns { client, cluster, folder, threads, runs: 0 };
    // The first job is not counted: it carries the data set to the worker.
    turns.as_job(1)?;
    let mut rounds = Vec::new();
    for number in 1..=args.rounds {
        let alone = turns.alone(args.epochs)?;
        let (job, trained_s) = turns.as_job(args.epochs)?;
        context.output.say(&format!(
            "round {number} of {}: {:.2} s alone, {:.2} s as a job, ratio {:.3}, by processor \
             time {:.3}",
            args.rounds,
            alone.seconds,
            job.seconds,
            alone.seconds / job.seconds,
            alone.cpu_seconds / job.cpu_seconds
        ));
        rounds.push((alone, job, trained_s));
    }
    let each =
        |figure: fn(&(Taken, Taken, f64)) -> f64| Samples::of(rounds.iter().map(figure).collect());
    let measured = Measured {
        machine: machine(),
        load_average: [load_before, disk::load_average()],
        model: MODEL.name(),
        threads: args.threads,
        rounds: args.rounds,
        rows: args.rows,
        epochs: args.epochs,
        alone_s: each(|(alone, ..)| alone.seconds),
        job_s: each(|(_, job, _)| job.seconds),
        trained_s: each(|(.., trained)| *trained),
        ratio: each(|(alone, job, _)| alone.seconds / job.seconds),
        trained_share: each(|(_, job, trained)| trained / job.seconds),
        alone_cpu_s: each(|(alone, ..)| alone.cpu_seconds),
        job_cpu_s: each(|(_, job, _)| job.cpu_seconds),
        cpu_ratio: each(|(alone, job, _)| alone.cpu_seconds / job.cpu_seconds),
    };
    context.output.show(&measured, || table(&measured))
}

/// The same work in two ways.
struct Turns {
    client: Client,
    cluster: Cluster,
    /// Holds the data.
    folder: PathBuf,
    threads: String,
    runs: u32,
}

impl Turns {
    /// What a process takes which is nobody's worker.
    fn alone(&mut self, epochs: u32) -> Result<Taken, CommandError> {
        self.runs += 1;
        let dir = self.cluster.root().join(format!("alone-{}", self.runs));
        let laid = self.lay(&dir, &MODEL.workload(epochs, RATE)?.to_json());
        laid.map_err(|source| CommandError::failure("cannot lay out a run").because(&source))?;
        let failed =
            |source| CommandError::failure("cannot start the trainer alone").because(&source);
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["__train", "--allow-unsandboxed"]).arg(&dir).arg(&self.threads);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let (began, used) = (Instant::now(), disk::family_cpu_seconds(std::process::id()));
        let own = disk::process_cpu_seconds(std::process::id());
        let mut process = command.spawn().map_err(failed)?;
        // It stops where its input ends.
        let control = process.stdin.take();
        let output = process.wait_with_output().map_err(failed)?;
        let seconds = began.elapsed().as_secs_f64();
        drop(control);
        if output.status.success() {
            let all = disk::family_cpu_seconds(std::process::id()) - used;
            let cpu_seconds = all - (disk::process_cpu_seconds(std::process::id()) - own);
            return Ok(Taken { seconds, cpu_seconds });
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let last = said.lines().last().unwrap_or("it said nothing");
        Err(CommandError::failure(format!("the trainer alone failed: {last}")))
    }

    fn lay(&self, dir: &Path, job: &str) -> std::io::Result<()> {
        std::fs::create_dir_all(dir.join("inputs"))?;
        for name in FILES {
            std::fs::copy(self.folder.join(name), dir.join("inputs").join(name))?;
        }
        std::fs::write(dir.join("job.json"), job)
    }

    /// What a job takes from its acceptance to its completion, and the seconds that its process
    /// trained.
    fn as_job(&mut self, epochs: u32) -> Result<(Taken, f64), CommandError> {
        let used = self.cpu_seconds();
        let job = self.client.submit(&self.request(epochs)?)?.job;
        let client = &self.client;
        let ended = self.cluster.wait("training", TRAINING, || {
            // Each look is work for processors that are to train; both times come from the job.
            std::thread::sleep(BETWEEN_LOOKS);
            let view = client.job(&job)?;
            Ok(view.state.is_final().then_some(view))
        })?;
        let (Some(result), Some(ended_at)) = (&ended.result, ended.ended_at) else {
            let why = ended.failure.map_or("it was cancelled".to_owned(), |it| it.message);
            return Err(CommandError::failure(format!("the job failed: {why}")));
        };
        let taken = ended_at.saturating_sub(ended.accepted_at);
        let cpu_seconds = self.cpu_seconds() - used;
        let taken = Taken { seconds: taken as f64 / 1_000.0, cpu_seconds };
        Ok((taken, result.compute_ms as f64 / 1_000.0))
    }

    /// Of all processes of the network so far, with those that they had.
    fn cpu_seconds(&self) -> f64 {
        self.cluster.pids().map(disk::family_cpu_seconds).sum()
    }

    fn request(&self, epochs: u32) -> Result<SubmitRequest, CommandError> {
        let damaged = |source: &dyn std::error::Error| {
            CommandError::failure("the bench's job is damaged").because(source)
        };
        let workload = MODEL.workload(epochs, RATE)?.to_json();
        let mut document: serde_json::Value =
            serde_json::from_str(&workload).map_err(|error| damaged(&error))?;
        document["name"] = "bench".into();
        document["requirements"] = serde_json::json!({ "memory_mb": MEMORY_MB });
        let job = JobFile::parse(&document.to_string()).map_err(|error| damaged(&error))?;
        let files = FILES.map(|name| (name.to_owned(), self.folder.join(name)));
        SubmitRequest::new(job, files.into()).map_err(|error| damaged(&error))
    }
}

fn table(measured: &Measured) -> String {
    let mut facts = Facts::default();
    facts.add("machine", measured.machine.as_str());
    let [before, after] = measured.load_average;
    facts.add("load average", format!("{before:.1} before, {after:.1} after"));
    facts.add("network", "1 coordinator and 1 worker on loopback");
    let Measured { model, threads, rounds, rows, epochs, .. } = measured;
    let epochs = quantity::of(u64::from(*epochs), "epoch");
    facts.add(
        "each",
        format!("{model}, {threads} threads, {rounds} rounds of {epochs} of {rows} rows"),
    );
    let mut table = Rows::new(&["what", ">median", ">least", ">most", "goal"]);
    let mut add = |what: &str, figures: &Samples, goal: &str, text: fn(f64) -> String| {
        let Samples { median, least, most } = *figures;
        let cells = [text(median), text(least), text(most), goal.to_owned()];
        table.add([what.to_owned()].into_iter().chain(cells));
    };
    let seconds = |value: f64| format!("{value:.2} s");
    add("the trainer alone", &measured.alone_s, "", seconds);
    add("as a job, from acceptance to completion", &measured.job_s, "", seconds);
    add("of that, training", &measured.trained_s, "", seconds);
    let ratio = |value: f64| format!("{value:.3}");
    add("alone to job", &measured.ratio, ">= 0.97", ratio);
    add("training to job", &measured.trained_share, "", ratio);
    add("processor time, alone", &measured.alone_cpu_s, "", seconds);
    add("processor time, the job and all nodes", &measured.job_cpu_s, "", seconds);
    add("alone to job, by processor time", &measured.cpu_ratio, ">= 0.97", ratio);
    format!("{}\n\n{}", facts.text(), table.text())
}

const MODEL: Model = Model::Cnn;
const RATE: f64 = 0.001;
/// The data of a model of pictures.
const FILES: [&str; 2] = ["x.npy", "y.npy"];
/// Far more than the model and its data take.
const MEMORY_MB: u32 = 1_024;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// A job that is not done by then never will be.
const TRAINING: Duration = Duration::from_secs(3_600);
