//! What is waited for when somebody dies, by `kill -9` and again and again: the leader, until
//! another acts and a job that is handed in meanwhile is accepted and trains; a worker, until the
//! job that it ran has another.

use std::{
    path::PathBuf,
    thread::{self, JoinHandle},
    time::Instant,
};

use serde::Serialize;

use super::{Network, PATIENCE, Spread, assemble, disk, machine};
use crate::{
    api::view::{JobView, SubmitRequest},
    cli::{
        Context, FailoverArgs,
        client::Client,
        cluster::Cluster,
        demo,
        error::{CommandError, Kind},
        quantity,
        table::{Facts, Rows},
    },
    clock::unix_now,
};

/// What was measured; times are in seconds.
#[derive(Debug, Serialize)]
struct Measured {
    machine: String,
    load_average: [f64; 2],
    coordinators: u16,
    workers: usize,
    syncs_per_second: f64,
    leader_losses: Vec<LeaderLoss>,
    to_new_leader_s: Spread,
    to_accepted_s: Spread,
    to_started_s: Spread,
    to_whole_s: Spread,
    worker_losses_s: Vec<f64>,
    worker_loss_s: Spread,
}

/// One death of a leader; times since then, if nothing else is said.
#[derive(Debug, Serialize)]
struct LeaderLoss {
    /// Another coordinator acts as leader.
    new_leader_s: f64,
    /// A job that was handed in at the moment of the death is on the disks of a majority.
    accepted_s: f64,
    /// Its process is up.
    started_s: f64,
    /// From its new start until the dead one follows and has every job.
    whole_s: f64,
    term: u64,
}

/// See the module's text.
pub(super) fn run(context: &Context, args: &FailoverArgs) -> Result<(), CommandError> {
    let load_before = disk::load_average();
    let mut cluster = Cluster::new(args.keep)?;
    let outcome = measure(context, args, &mut cluster, load_before);
    if args.keep {
        context.output.say(&format!("the network's folder is kept: {}", cluster.root().display()));
    }
    outcome
}

fn measure(
    context: &Context,
    args: &FailoverArgs,
    cluster: &mut Cluster,
    load_before: f64,
) -> Result<(), CommandError> {
    let output = &context.output;
    let syncs_per_second = disk::syncs_per_second(cluster.root())?;
    let options = ["--worker", "--allow-unsandboxed", "--threads", "1", "--max-concurrent", "4"];
    let network = assemble(cluster, args.coordinators, WORKERS, &options)?;
    output.say(&format!("{} processes have found each other", cluster.len()));
    let client = network.laptop.client()?;
    let data = demo::write_data(cluster)?;
    let mut killer = Killer { network, client, cluster, data, jobs: 0 };
    killer.warm_up()?;

    let mut leader_losses = Vec::new();
    for number in 1..=args.leaders {
        let loss = killer.lose_leader()?;
        output.say(&format!(
            "leader {number} of {} killed: new leader after {:.2} s, job accepted after {:.2} s, \
             started after {:.2} s; whole again after {:.2} s",
            args.leaders, loss.new_leader_s, loss.accepted_s, loss.started_s, loss.whole_s
        ));
        leader_losses.push(loss);
    }
    let mut worker_losses_s = Vec::new();
    for number in 1..=args.workers {
        let seconds = killer.lose_worker()?;
        output.say(&format!(
            "worker {number} of {} killed: next attempt after {seconds:.2} s",
            args.workers
        ));
        worker_losses_s.push(seconds);
    }
    let of =
        |figure: fn(&LeaderLoss) -> f64| Spread::of(leader_losses.iter().map(figure).collect());
    let measured = Measured {
        machine: machine(),
        load_average: [load_before, disk::load_average()],
        coordinators: args.coordinators,
        workers: killer.network.workers.len(),
        syncs_per_second,
        to_new_leader_s: of(|loss| loss.new_leader_s),
        to_accepted_s: of(|loss| loss.accepted_s),
        to_started_s: of(|loss| loss.started_s),
        to_whole_s: of(|loss| loss.whole_s),
        leader_losses,
        worker_loss_s: Spread::of(worker_losses_s.clone()),
        worker_losses_s,
    };
    output.show(&measured, || table(&measured))
}

fn table(measured: &Measured) -> String {
    let mut facts = Facts::default();
    facts.add("machine", measured.machine.as_str());
    let [before, after] = measured.load_average;
    facts.add("load average", format!("{before:.1} before, {after:.1} after"));
    let coordinators = quantity::of(measured.coordinators.into(), "coordinator");
    let workers = quantity::of(measured.workers as u64, "worker");
    facts.add("network", format!("{coordinators} and {workers} on loopback"));
    let syncs = measured.syncs_per_second;
    facts.add("disk", format!("{syncs:.0} synced appends a second, one after the other"));

    let titles = ["after", ">runs", ">p50", ">p90", ">p99", ">max", "goal"];
    let mut rows = Rows::new(&titles);
    let mut add = |what: &str, spread: &Spread, goal: &str| {
        let seconds = |value: f64| format!("{value:.2} s");
        if spread.runs > 0 {
            let Spread { runs, p50, p90, p99, max } = *spread;
            let figures = [p50, p90, p99, max].map(seconds);
            let cells = [what.to_owned(), runs.to_string()].into_iter().chain(figures);
            rows.add(cells.chain([goal.to_owned()]));
        }
    };
    add("leader killed: another acts", &measured.to_new_leader_s, "");
    add("leader killed: next job accepted", &measured.to_accepted_s, "");
    add("leader killed: next job's process up", &measured.to_started_s, "<= 3 s");
    add("killed leader started again: follows", &measured.to_whole_s, "");
    add("worker killed: job has another", &measured.worker_loss_s, "<= 10 s");
    format!("{}\n\n{}", facts.text(), rows.text())
}

struct Killer<'a> {
    network: Network,
    client: Client,
    cluster: &'a mut Cluster,
    data: PathBuf,
    jobs: u64,
}

impl Killer<'_> {
    /// The first job carries the data set to everyone.
    fn warm_up(&mut self) -> Result<(), CommandError> {
        let request = self.request()?;
        let job = self.client.submit(&request)?.job;
        self.await_start(&job)?;
        self.end(&job)
    }

    /// A job that outlives every measurement.
    fn request(&mut self) -> Result<SubmitRequest, CommandError> {
        self.jobs += 1;
        let mut request = demo::request(self.jobs, &self.data)?;
        demo::training(&mut request.job).epochs = 1_000_000;
        Ok(request)
    }

    fn lose_leader(&mut self) -> Result<LeaderLoss, CommandError> {
        let coordinators = &self.network.coordinators;
        let leading =
            self.cluster.wait("a whole committee", PATIENCE, || Ok(coordinators.whole()))?;
        let request = self.request()?;
        let killed_at = unix_now().0;
        let killed = self.network.coordinators.kill(self.cluster, leading.at)?;
        let submitting = submit_beside(&self.client, request, killed)?;

        let coordinators = &self.network.coordinators;
        let next = self.cluster.wait("a new leader", PATIENCE, || Ok(coordinators.leading()))?;
        let new_leader_s = killed.elapsed().as_secs_f64();
        self.cluster
            .wait("an acceptance", PATIENCE, || Ok(submitting.is_finished().then_some(())))?;
        let submitted = submitting.join();
        let Accepted { job, seconds: accepted_s } = submitted.map_err(|_panic| {
            CommandError::failure("the thread that hands a job in has ended")
        })??;
        let started_at = self.await_start(&job)?;
        let started_s = started_at.saturating_sub(killed_at) as f64 / 1_000.0;
        self.end(&job)?;

        let restarted = Instant::now();
        self.network.coordinators.restart(self.cluster, leading.at)?;
        let coordinators = &self.network.coordinators;
        self.cluster.wait("the dead one's return", PATIENCE, || Ok(coordinators.whole()))?;
        let whole_s = restarted.elapsed().as_secs_f64();
        Ok(LeaderLoss { new_leader_s, accepted_s, started_s, whole_s, term: next.seat.term })
    }

    /// Seconds from the death of a worker to the award of its job to another. It dies just after
    /// it renewed its lease: no other moment has a longer wait.
    fn lose_worker(&mut self) -> Result<f64, CommandError> {
        let request = self.request()?;
        let job = self.client.submit(&request)?.job;
        self.await_start(&job)?;
        let before = self.client.job(&job)?;
        let runs_at = before.attempts.last().map_or("", |attempt| attempt.worker.as_str());
        let worker = self.network.workers.iter().find(|worker| worker.peer == runs_at);
        let worker = worker
            .cloned()
            .ok_or_else(|| CommandError::failure(format!("a stranger runs the job: {runs_at}")))?;
        let killed_at = unix_now().0;
        self.cluster.kill(&worker)?;
        let number = before.attempts.len();
        let awarded_at = self.look("the next attempt", &job, |view| {
            view.attempts.get(number).map(|attempt| attempt.awarded_at)
        })?;
        self.end(&job)?;
        self.cluster.restart(&worker)?;
        let (client, wanted) = (&self.client, self.network.workers.len());
        self.cluster.wait("the worker's return", PATIENCE, || {
            Ok((client.workers()?.len() == wanted).then_some(()))
        })?;
        Ok(awarded_at.saturating_sub(killed_at) as f64 / 1_000.0)
    }

    /// When its process was up, as the leader learnt it.
    fn await_start(&mut self, job: &str) -> Result<u64, CommandError> {
        self.look("a start", job, |view| view.started_at)
    }

    fn end(&mut self, job: &str) -> Result<(), CommandError> {
        self.client.cancel(job)?;
        self.look("an end", job, |view| view.state.is_final().then_some(()))
    }

    /// Looks at a job until it has something; a leader that is missed meanwhile is waited for.
    fn look<T>(
        &mut self,
        what: &str,
        job: &str,
        find: impl Fn(&JobView) -> Option<T>,
    ) -> Result<T, CommandError> {
        let client = &self.client;
        self.cluster.wait(what, PATIENCE, || match client.job(job) {
            Ok(view) => match find(&view) {
                Some(found) => Ok(Some(found)),
                None if view.state.is_final() => {
                    let why = view.failure.map_or("it ended".to_owned(), |it| it.message);
                    Err(CommandError::failure(format!("waiting for {what}: {why}")))
                }
                None => Ok(None),
            },
            Err(error) if error.kind == Kind::Unreachable => Ok(None),
            Err(error) => Err(error),
        })
    }
}

/// A job, and how long after the death of the leader it was accepted.
struct Accepted {
    job: String,
    seconds: f64,
}

/// Hands a job in while nobody leads; it is tried again until somebody does. The thread ends when
/// it is accepted.
fn submit_beside(
    client: &Client,
    request: SubmitRequest,
    killed: Instant,
) -> Result<JoinHandle<Result<Accepted, CommandError>>, CommandError> {
    let client = client.clone();
    let submit = move || {
        let answer = client.submit(&request)?;
        Ok(Accepted { job: answer.job, seconds: killed.elapsed().as_secs_f64() })
    };
    let thread = thread::Builder::new().name("submit".to_owned()).spawn(submit);
    thread.map_err(|source| CommandError::failure("cannot start a thread").because(&source))
}

/// One to kill, one to take over, and one beside.
const WORKERS: u16 = 3;
