//! `cyxwiz bench`: what placing a job costs on this machine, measured on real processes, sockets
//! and disks. Two figures that users of schedulers know: the time from handing a job in to its
//! training process being up, and placements per second when many jobs wait.
//!
//! `failover` measures what is waited for when the leader or a worker is killed, `training` how
//! fast models train.
//!
//! The first runs real jobs on real workers, one after the other. For the second the workers are
//! `load`: peers on loopback that bid and take awards like any other, but train nothing, since a
//! machine's cores would otherwise be what is measured. Beside both stands a bound that was
//! measured in the same run: what the disk allows.

mod disk;
mod failover;
mod load;
mod training;

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{
    BenchArgs, BenchCommand, Context,
    client::Client,
    cluster::{Cluster, Coordinators, Node},
    demo,
    error::CommandError,
    quantity,
    table::Facts,
};
use crate::clock::unix_now;

pub(super) use training::train_in_turns;

/// A job that fails to start in this time is a failed benchmark.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    machine: String,
    /// Runnable processes of the whole machine over a minute, before and after.
    load_average: [f64; 2],
    coordinators: u16,
    workers: u16,
    /// From the request to hand a job in until its process is up, in milliseconds.
    submit_to_start_ms: Spread,
    /// From the request until the job is on the disks of a majority.
    submit_to_accepted_ms: Spread,
    placements: u32,
    placements_per_second: f64,
    /// The same machine's disk: appends of 256 bytes, each synced before the next.
    syncs_per_second: f64,
    idle: Idle,
}

/// A worker that has nothing to do.
#[derive(Debug, Serialize)]
struct Idle {
    /// Of one core.
    cpu_percent: f64,
    memory_mb: f64,
}

#[derive(Debug, Serialize)]
struct Spread {
    runs: usize,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = values.len().saturating_sub(1);
            values.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
        };
        Self { runs: values.len(), p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }

    fn text(&self, unit: &str) -> String {
        let Self { runs, p50, p90, p99, max } = self;
        format!(
            "p50 {p50:.1} {unit}, p90 {p90:.1} {unit}, p99 {p99:.1} {unit}, max {max:.1} {unit} \
             ({runs} runs)"
        )
    }
}

/// See the module's text.
pub(crate) fn run(context: &Context, args: &BenchArgs) -> Result<(), CommandError> {
    match &args.only {
        Some(BenchCommand::Failover(args)) => return failover::run(context, args),
        Some(BenchCommand::Training(args)) => return training::run(context, args),
        None => {}
    }
    let output = &context.output;
    let load_before = disk::load_average();
    let mut cluster = Cluster::new(false)?;
    let syncs_per_second = disk::syncs_per_second(cluster.root())?;
    output.say(&format!("disk: {syncs_per_second:.0} synced appends a second"));

    let options = ["--worker", "--allow-unsandboxed", "--threads", "1", "--max-concurrent", "8"];
    let network = assemble(&mut cluster, args.coordinators, args.workers, &options)?;
    let client = network.laptop.client()?;
    output.say(&format!("{} processes have found each other", cluster.len()));

    let (accepted, started) = one_by_one(context, &mut cluster, &client, args.jobs)?;
    let idle = idle(&mut cluster)?;
    let (placements, placements_per_second) =
        load::placements(context, &mut cluster, &network.invite, &client, args.placements)?;
    let measured = Measured {
        machine: machine(),
        load_average: [load_before, disk::load_average()],
        coordinators: args.coordinators,
        workers: args.workers,
        submit_to_start_ms: Spread::of(started),
        submit_to_accepted_ms: Spread::of(accepted),
        placements,
        placements_per_second,
        syncs_per_second,
        idle,
    };
    output.show(&measured, || table(&measured))
}

/// A network to measure.
struct Network {
    coordinators: Coordinators,
    workers: Vec<Node>,
    laptop: Node,
    /// For whoever else joins.
    invite: String,
}

/// Starts everybody and waits until the committee has its size and knows the workers.
fn assemble(
    cluster: &mut Cluster,
    coordinators: u16,
    workers: u16,
    options: &[&str],
) -> Result<Network, CommandError> {
    let bootstrap = cluster.bootstrap("bench")?;
    let coordinators = Coordinators::start(cluster, &bootstrap, coordinators)?;
    let workers: Result<Vec<_>, _> = (1..=workers)
        .map(|number| cluster.node(&format!("worker-{number}"), &bootstrap.invite, options))
        .collect();
    let workers = workers?;
    let laptop = cluster.node("laptop", &bootstrap.invite, &[])?;
    let client = laptop.client()?;
    cluster.wait("growing the committee", PATIENCE, || Ok(coordinators.whole()))?;
    cluster.wait("finding each other", PATIENCE, || {
        let sitting = client.node()?.committee.map_or(0, |committee| committee.members.len());
        let joined = sitting == coordinators.len() && client.workers()?.len() == workers.len();
        Ok(joined.then_some(()))
    })?;
    Ok(Network { coordinators, workers, laptop, invite: bootstrap.invite })
}

fn table(measured: &Measured) -> String {
    let mut facts = Facts::default();
    facts.add("machine", measured.machine.as_str());
    let [before, after] = measured.load_average;
    facts.add("load average", format!("{before:.1} before, {after:.1} after"));
    facts.add(
        "network",
        format!(
            "{} and {} on loopback",
            quantity::of(measured.coordinators.into(), "coordinator"),
            quantity::of(measured.workers.into(), "worker"),
        ),
    );
    let start = measured.submit_to_start_ms.text("ms");
    facts.add_all("submit to process up", [start, "goal: p50 < 50 ms, p99 < 250 ms".to_owned()]);
    facts.add("submit to accepted", measured.submit_to_accepted_ms.text("ms"));
    let (rate, syncs) = (measured.placements_per_second, measured.syncs_per_second);
    let ratio = rate / syncs;
    let placements =
        format!("{rate:.0} a second, {ratio:.2} for each sync that the disk can do ({syncs:.0}/s)");
    facts.add_all("placements", [placements, "goal: 1000 a second or more".to_owned()]);
    let Idle { cpu_percent, memory_mb } = measured.idle;
    facts.add_all(
        "idle worker",
        [
            format!("{cpu_percent:.1} % of a core, {memory_mb:.0} MB resident"),
            "goal: < 1 % of a core, < 60 MB".to_owned(),
        ],
    );
    facts.text()
}

/// Real jobs, each handed in when the one before has started and was stopped again.
fn one_by_one(
    context: &Context,
    cluster: &mut Cluster,
    client: &Client,
    count: u32,
) -> Result<(Vec<f64>, Vec<f64>), CommandError> {
    let data = demo::write_data(cluster)?;
    let (mut accepted, mut started) = (Vec::new(), Vec::new());
    // The first job is not counted: it carries the data set to everyone.
    for number in 0..=count {
        let request = demo::request(u64::from(number), &data)?;
        let (begun_at, begun) = (unix_now().0, Instant::now());
        let job = client.submit(&request)?.job;
        let accepted_ms = begun.elapsed().as_secs_f64() * 1_000.0;
        let started_at = cluster.wait("starting a job", PATIENCE, || {
            let view = client.job(&job)?;
            if view.state.is_final() && view.started_at.is_none() {
                let why = view.failure.map_or("ended".to_owned(), |failure| failure.message);
                return Err(CommandError::failure(format!("a job did not start: {why}")));
            }
            Ok(view.started_at)
        })?;
        client.cancel(&job)?;
        cluster.wait("ending a job", PATIENCE, || {
            Ok(client.job(&job)?.state.is_final().then_some(()))
        })?;
        if number > 0 {
            accepted.push(accepted_ms);
            started.push(started_at.saturating_sub(begun_at) as f64);
        }
        if number % 10 == 0 {
            context.output.say(&format!("{number} of {count} jobs have started"));
        }
    }
    Ok((accepted, started))
}

/// What a worker without work takes, over five seconds.
fn idle(cluster: &mut Cluster) -> Result<Idle, CommandError> {
    let Some(pid) = cluster.pid_of("worker-1") else {
        return Ok(Idle { cpu_percent: f64::NAN, memory_mb: f64::NAN });
    };
    let began = Instant::now();
    let before = disk::process_cpu_seconds(pid);
    let span = Duration::from_secs(5);
    cluster.wait("idling", span * 2, || Ok((began.elapsed() >= span).then_some(())))?;
    let used = disk::process_cpu_seconds(pid) - before;
    Ok(Idle {
        cpu_percent: 100.0 * used / began.elapsed().as_secs_f64(),
        memory_mb: disk::process_memory_mb(pid),
    })
}

fn machine() -> String {
    let hardware = crate::hardware::probe(std::path::Path::new("."));
    let name = hardware.cpu_model.unwrap_or_else(|| "unknown processor".to_owned());
    let memory = hardware.memory_total_mib.unwrap_or(0);
    format!("{name}, {} cores, {}", hardware.usable_cores, quantity::mebibytes(memory as u32))
}
