//! `cyxwiz demo`: a whole network at work on this machine, from nothing to a trained model, with
//! every step shown as it happens.

mod chaos;
mod reports;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    Context, DemoArgs,
    client::Client,
    cluster::{Cluster, Coordinators, Node, interrupted},
    error::{CommandError, Kind},
    job,
    output::Stream,
    quantity,
    table::Rows,
    watch,
};
use crate::{
    api::view::{DecisionView, JobPhase, JobView, ResultView, SubmitRequest},
    job_file::JobFile,
};

/// The bundled job and its data; where they come from is told in `node/examples/README.md`.
pub(crate) const JOB: &str = include_str!("../../examples/digits.toml");
pub(crate) const DATA: &[u8] = include_bytes!("../../examples/digits.csv");
pub(crate) const DATA_NAME: &str = "digits.csv";

/// Finding each other takes a second or two; a loaded machine may need more.
const JOINING: Duration = Duration::from_secs(60);
/// The bundled job takes seconds; many of them on few cores take their turns.
const TRAINING: Duration = Duration::from_secs(600);

/// A network that has come together.
#[derive(Debug)]
struct Assembled {
    coordinators: Coordinators,
    workers: Vec<Node>,
    /// Of the peer from which jobs are handed in.
    client: Client,
}

/// Says what happens, and when since the beginning.
struct Teller<'a> {
    context: &'a Context,
    began: Instant,
}

impl Teller<'_> {
    fn step(&self, text: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.context.output.say(&format!("{seconds:>6.1} s  {text}"));
    }
}

/// See the module's text.
pub(crate) fn run(context: &Context, args: &DemoArgs) -> Result<(), CommandError> {
    let began = Instant::now();
    let output = &context.output;
    if args.chaos && (args.coordinators < 3 || args.workers < 2) {
        return Err(CommandError::usage("who is left when one of them is killed?")
            .hint("--chaos needs 3 or 5 coordinators and 2 workers or more"));
    }
    output.say(&format!(
        "A network of {} processes on this machine trains {}.\n",
        args.coordinators + args.workers + 2,
        quantity::of(u64::from(args.jobs), "model"),
    ));
    let mut cluster = Cluster::new(args.keep)?;
    let teller = Teller { context, began };
    let outcome = assemble(args, &mut cluster, &teller).and_then(|assembled| {
        if args.chaos {
            chaos::play(&teller, assembled, &mut cluster)
        } else {
            play(&teller, args, &assembled, &mut cluster)
        }
    });
    if args.keep {
        output.say(&format!("the network's folder is kept: {}", cluster.root().display()));
    }
    let (members, ending) = (cluster.len(), Instant::now());
    drop(cluster);
    output.say(&format!("{members} processes ended in {:.1} s", ending.elapsed().as_secs_f64()));
    // What following a job says of coming back to it is not true here.
    outcome.map_err(|error| if error.kind == Kind::Interrupted { interrupted() } else { error })
}

fn play(
    teller: &Teller<'_>,
    args: &DemoArgs,
    assembled: &Assembled,
    cluster: &mut Cluster,
) -> Result<(), CommandError> {
    let output = &teller.context.output;
    let client = &assembled.client;
    let data = write_data(cluster)?;
    let mut jobs = Vec::new();
    for number in 0..args.jobs {
        cluster.check_interrupt()?;
        jobs.push(submit(teller, assembled, &request(u64::from(number), &data)?)?);
    }
    let first = &jobs[0];
    show_award(teller, client, cluster, first)?;
    output.say("");
    let show = watch::Show::Course(Stream::Stderr);
    let mut ended = vec![watch::follow(client, first, show, output)?];
    for id in &jobs[1..] {
        ended.push(cluster.wait("training", TRAINING, || {
            let job = client.job(id)?;
            Ok(job.state.is_final().then_some(job))
        })?);
    }
    conclude(teller, client, &ended, None)
}

/// Starts everybody and waits until they know each other.
fn assemble(
    args: &DemoArgs,
    cluster: &mut Cluster,
    teller: &Teller<'_>,
) -> Result<Assembled, CommandError> {
    let bootstrap = cluster.bootstrap("demo")?;
    teller.step(&format!("bootstrap peer listens on {}", bootstrap.address));
    let coordinators = Coordinators::start(cluster, &bootstrap, args.coordinators)?;
    for coordinator in coordinators.nodes() {
        teller.step(&format!("coordinator …{} joins by its invite", tail(&coordinator.peer)));
    }
    let mut workers = Vec::new();
    for number in 1..=args.workers {
        let memory = memory_mb(number).to_string();
        let options = [
            "--worker",
            "--allow-unsandboxed",
            "--threads",
            "1",
            "--memory-mb",
            &memory,
            "--report-interval-ms",
            "100",
        ];
        let worker = cluster.node(&format!("worker-{number}"), &bootstrap.invite, &options)?;
        teller.step(&format!("worker …{} joins with {memory} MiB", tail(&worker.peer)));
        workers.push(worker);
    }
    let laptop = cluster.node("laptop", &bootstrap.invite, &[])?;
    teller.step(&format!("a laptop …{} joins to hand jobs in", tail(&laptop.peer)));
    let client = laptop.client()?;
    let leading = cluster.wait("growing the committee", JOINING, || Ok(coordinators.whole()))?;
    let (size, seat) = (coordinators.len(), leading.seat);
    teller.step(&match size {
        1 => format!("the committee is …{} alone", tail(&leading.peer)),
        _ => format!(
            "the committee has grown to {size}: …{} leads in term {}, epoch {}",
            tail(&leading.peer),
            seat.term,
            seat.epoch
        ),
    });
    let wanted = usize::from(args.workers);
    cluster.wait("finding each other", JOINING, || {
        let known = client.node()?.committee.is_some_and(|it| it.members.len() == size);
        let ready =
            known && unless_unreachable(client.workers())?.is_some_and(|it| it.len() >= wanted);
        Ok(ready.then_some(()))
    })?;
    let workers_known = quantity::of(u64::from(args.workers), "worker");
    teller.step(&format!("everyone has found everyone; the leader knows {workers_known}"));
    Ok(Assembled { coordinators, workers, client })
}

/// An answer, or nothing while no coordinator gives one.
fn unless_unreachable<T>(answer: Result<T, CommandError>) -> Result<Option<T>, CommandError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind == Kind::Unreachable => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits for the award and tells what each bid was worth.
fn show_award(
    teller: &Teller<'_>,
    client: &Client,
    cluster: &mut Cluster,
    job: &str,
) -> Result<(), CommandError> {
    let output = &teller.context.output;
    let placed = cluster.wait("finding a worker", JOINING, || {
        let job = client.job(job)?;
        Ok((!job.decisions.is_empty() || job.state.is_final()).then_some(job))
    })?;
    if let Some(decision) = placed.decisions.first() {
        teller.step("bids are in, and this is what each is worth:");
        output.say(&indent(&bids(decision)));
        let winner = decision.bids.first().map_or("nobody", |bid| bid.worker.as_str());
        teller.step(&format!(
            "worker {} has it, {:.1} ms after the call; it trains:",
            output.ids.peer(winner),
            decision.took_ms
        ));
    }
    Ok(())
}

/// Workers that differ, so that the scores have something to tell: the job asks for 256 MiB, and
/// room for twice that counts in full.
const fn memory_mb(number: u16) -> u32 {
    match number {
        1 => 2_048,
        2 => 448,
        3 => 320,
        _ => 1_024,
    }
}

/// Lays the bundled data where jobs find them.
pub(crate) fn write_data(cluster: &Cluster) -> Result<PathBuf, CommandError> {
    let data = cluster.root().join(DATA_NAME);
    std::fs::write(&data, DATA).map_err(|source| {
        CommandError::failure(format!("cannot write {}", data.display())).because(&source)
    })?;
    Ok(data)
}

/// Hands a job in.
fn submit(
    teller: &Teller<'_>,
    assembled: &Assembled,
    request: &SubmitRequest,
) -> Result<String, CommandError> {
    let answer = assembled.client.submit(request)?;
    let coordinators = &assembled.coordinators;
    let disks = match coordinators.len() {
        1 => "the coordinator's disk".to_owned(),
        size => format!("the disks of {} of {size} coordinators", coordinators.majority()),
    };
    teller.step(&format!(
        "job {} is accepted and on {disks}: {} parameters, {} rows",
        answer.job,
        quantity::count(answer.parameters),
        quantity::count(answer.train_rows),
    ));
    Ok(answer.job)
}

/// The bundled job; each `number` trains from another start.
pub(crate) fn request(number: u64, data: &Path) -> Result<SubmitRequest, CommandError> {
    let mut job = JobFile::parse(JOB)
        .map_err(|error| CommandError::failure("the bundled job is damaged").because(&error))?;
    training(&mut job).seed += number;
    let files = [(DATA_NAME.to_owned(), data.to_owned())].into();
    SubmitRequest::new(job, files)
        .map_err(|source| CommandError::failure("no id for the job").because(&source))
}

/// How the bundled job trains.
pub(crate) fn training(job: &mut JobFile) -> &mut cyxwiz_trainer::TrainingSpec {
    job.training.as_mut().expect("the bundled job is a training")
}

/// What came of it: a model that opens in Python.
fn conclude(
    teller: &Teller<'_>,
    client: &Client,
    ended: &[JobView],
    survived: Option<&chaos::Survived>,
) -> Result<(), CommandError> {
    let output = &teller.context.output;
    let folder = teller.context.data_dir.join("demo");
    let mut models = Vec::new();
    for job in ended {
        let Some(result) = &job.result else {
            let why = job.failure.as_ref().map_or("cancelled", |failure| &failure.message);
            return Err(CommandError::new(Kind::JobFailed, format!("job {}: {why}", job.job)));
        };
        client.collect(&job.job)?;
        let folder = if ended.len() == 1 { folder.clone() } else { folder.join(&job.job) };
        job::fetch::save(client, &result.files, &folder, true)?;
        models.push((job, result, folder.join("model.safetensors")));
    }
    if models.len() > 1 {
        output.say(&format!("\n{}", who_did_what(&models)));
    }
    let (job, result, model) = &models[0];
    debug_assert_eq!(job.state, JobPhase::Completed);
    let accuracy = result.metrics.get("test_accuracy").copied().unwrap_or(0.0);
    let mut document = serde_json::json!({
        "jobs": models.iter().map(|(job, _, _)| &job.job).collect::<Vec<_>>(),
        "test_accuracy": accuracy,
        "model": model,
        "seconds": teller.began.elapsed().as_secs_f64(),
    });
    if let Some(survived) = survived {
        document["chaos"] = serde_json::to_value(survived).unwrap_or_default();
    }
    output.show(&document, || {
        format!(
            "\ntest accuracy  {}, on digits that training never saw\nmodel          {}\n\
             open it        {}",
            quantity::percent(accuracy),
            model.display(),
            job::fetch::snippet(model),
        )
    })
}

fn who_did_what(models: &[(&JobView, &ResultView, PathBuf)]) -> String {
    let mut rows = Rows::new(&["job", "worker", ">attempts", ">test accuracy", ">trained in"]);
    for (job, result, _) in models {
        let accuracy = result.metrics.get("test_accuracy").copied().unwrap_or(0.0);
        rows.add([
            job.job.clone(),
            format!("…{}", tail(&result.worker)),
            job.attempts.len().to_string(),
            quantity::percent(accuracy),
            quantity::duration(result.compute_ms),
        ]);
    }
    rows.text()
}

/// The bids and what each factor brought them.
fn bids(decision: &DecisionView) -> String {
    let Some(first) = decision.bids.first() else { return String::new() };
    // A factor that is worth the same to all says nothing here.
    let telling: Vec<usize> = (0..first.terms.len())
        .filter(|&at| {
            decision.bids.iter().any(|bid| bid.terms[at].points != first.terms[at].points)
        })
        .collect();
    let mut titles = vec!["worker".to_owned(), ">score".to_owned()];
    titles.extend(telling.iter().map(|&at| format!(">{}", first.terms[at].factor)));
    let mut rows = Rows::new(&titles.iter().map(String::as_str).collect::<Vec<_>>());
    for bid in &decision.bids {
        let mut cells = vec![format!("…{}", tail(&bid.worker)), bid.score.to_string()];
        cells.extend(telling.iter().map(|&at| format!("+{}", bid.terms[at].points)));
        rows.add(cells);
    }
    rows.text()
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("          {line}")).collect::<Vec<_>>().join("\n")
}

fn tail(peer: &str) -> &str {
    peer.get(peer.len().saturating_sub(6)..).unwrap_or(peer)
}
