//! `cyxwiz demo --chaos`: a job that outlives its coordinator and its worker. The leader is killed
//! while the job trains, then the worker that trains it, each by SIGKILL and at a moment that is
//! waited for; what follows is measured and told, and the job finishes.

mod timeline;

use std::time::{Duration, Instant};

use serde::Serialize;

use self::timeline::Timeline;
use super::{
    Assembled, JOINING, TRAINING, Teller, conclude, reports::Reports, request, show_award, submit,
    tail, unless_unreachable, write_data,
};
use crate::{
    api::view::{JobView, OfficeView, SubmitRequest},
    cli::{client::Client, cluster::Cluster, error::CommandError},
};

/// What was survived, and how long it took to be noticed.
#[derive(Debug, Serialize)]
pub(super) struct Survived {
    /// From the leader's death until another acts.
    leader_loss_to_new_leader_s: f64,
    /// From the leader's death until the submitter is answered again.
    leader_loss_to_answer_s: f64,
    /// Epochs of training that the job made while nobody led.
    epochs_without_leader: u32,
    /// From the worker's death until the next attempt has a worker.
    worker_loss_to_next_attempt_s: f64,
    resumed_from_epoch: u32,
    /// From its new start until the killed coordinator follows with every job on its disk.
    rejoined_s: f64,
    attempts: usize,
    epochs: u32,
}

/// Plays it out.
pub(super) fn play(
    teller: &Teller<'_>,
    assembled: Assembled,
    cluster: &mut Cluster,
) -> Result<(), CommandError> {
    let mut request = long_job(&assembled, cluster)?;
    let epochs = super::training(&mut request.job).epochs;
    let job = submit(teller, &assembled, &request)?;
    let mut stage = Stage {
        teller,
        reports: Reports::listen(&assembled.client, &job)?,
        assembled,
        cluster,
        job,
        timeline: Timeline::new(teller.began),
    };
    stage.timeline.add("the job is accepted by a majority", None);
    show_award(teller, &stage.assembled.client, stage.cluster, &stage.job)?;
    stage.timeline.add("a worker has it", None);
    let kept = stage.await_checkpoint(0)?;

    let lost = stage.lose_leader()?;
    let kept = stage.await_checkpoint(kept)?;
    let moved = stage.lose_worker(lost.dead, kept)?;
    let ended = stage.finish()?;
    let survived = Survived {
        leader_loss_to_new_leader_s: lost.to_new_leader.as_secs_f64(),
        leader_loss_to_answer_s: lost.to_answer.as_secs_f64(),
        epochs_without_leader: lost.epochs,
        worker_loss_to_next_attempt_s: moved.to_next_attempt.as_secs_f64(),
        resumed_from_epoch: moved.resumed_from,
        rejoined_s: moved.rejoined.as_secs_f64(),
        attempts: ended.attempts.len(),
        epochs,
    };
    teller.context.output.say(&format!("\n{}", stage.timeline.text()));
    conclude(teller, &stage.assembled.client, &[ended], Some(&survived))
}

struct Stage<'a> {
    teller: &'a Teller<'a>,
    reports: Reports,
    assembled: Assembled,
    cluster: &'a mut Cluster,
    job: String,
    timeline: Timeline,
}

struct LeaderLoss {
    /// Its place among the coordinators.
    dead: usize,
    to_new_leader: Duration,
    to_answer: Duration,
    epochs: u32,
}

struct WorkerLoss {
    to_next_attempt: Duration,
    resumed_from: u32,
    rejoined: Duration,
}

impl Stage<'_> {
    /// Looks until there is something, with the course of the training shown meanwhile. A job
    /// that ends too early has nothing more to show.
    fn wait<T>(
        &mut self,
        what: &str,
        mut ready: impl FnMut(&Assembled, &Reports) -> Result<Option<T>, CommandError>,
    ) -> Result<T, CommandError> {
        let (reports, assembled) = (&mut self.reports, &self.assembled);
        let output = &self.teller.context.output;
        self.cluster.wait(what, PATIENCE, || {
            reports.tell(output);
            if let Some(job) = reports.ended() {
                let end = job.failure.map_or("it is done".to_owned(), |failure| failure.message);
                let text = format!("the job ended before the chaos did ({what}): {end}");
                return Err(CommandError::failure(text).hint("try it again"));
            }
            ready(assembled, reports)
        })
    }

    /// Waits until the committee keeps a checkpoint newer than that of `epoch`.
    fn await_checkpoint(&mut self, epoch: u32) -> Result<u32, CommandError> {
        let id = self.job.clone();
        let checkpoint = self.wait("a checkpoint", |assembled, _| {
            let job = unless_unreachable(assembled.client.job(&id))?;
            Ok(job.and_then(|job| job.checkpoint).filter(|it| it.epoch > epoch))
        })?;
        let size = self.assembled.coordinators.len();
        self.step(
            &format!(
                "a checkpoint of epoch {} is on the disks of a majority of {size}",
                checkpoint.epoch
            ),
            None,
        );
        Ok(checkpoint.epoch)
    }

    /// Kills who leads, and sees who leads next and what the job did meanwhile.
    fn lose_leader(&mut self) -> Result<LeaderLoss, CommandError> {
        let leading = self.wait("a leader", |assembled, _| Ok(assembled.coordinators.whole()))?;
        let before = self.reports.newest();
        let (dead, seen) = (leading.at, self.reports.count());
        let killed = self.assembled.coordinators.kill(self.cluster, dead)?;
        self.step(
            &format!("coordinator …{} leads, and is killed (SIGKILL)", tail(&leading.peer)),
            None,
        );

        let next =
            self.wait("a new leader", |assembled, _| Ok(assembled.coordinators.leading()))?;
        let to_new_leader = killed.elapsed();
        let term = next.seat.term;
        let text = format!("coordinator …{} leads in term {term}", tail(&next.peer));
        self.step(&text, Some(to_new_leader));
        let id = self.job.clone();
        let job =
            self.wait("an answer", |assembled, _| unless_unreachable(assembled.client.job(&id)))?;
        let to_answer = killed.elapsed();
        // Reports go by gossip and need no leader.
        self.wait("a report", |_, reports| Ok((reports.count() > seen).then_some(())))?;
        let after = self.reports.newest();
        let epoch = |report: &Option<super::reports::Report>| {
            report.as_ref().map_or(0, |report| report.progress.epoch)
        };
        let text = format!(
            "the submitter is answered; attempt {} has trained on, from epoch {} to {}",
            job.attempts.len(),
            epoch(&before),
            epoch(&after)
        );
        self.step(&text, Some(to_answer));
        let epochs = epoch(&after).saturating_sub(epoch(&before));
        Ok(LeaderLoss { dead, to_new_leader, to_answer, epochs })
    }

    /// Kills the worker that trains, lets the dead coordinator come back meanwhile, and sees who
    /// trains next and from where.
    fn lose_worker(&mut self, dead: usize, kept: u32) -> Result<WorkerLoss, CommandError> {
        let newest = self.wait("a report", |_, reports| Ok(reports.newest()))?;
        let worker = self.assembled.workers.iter().find(|it| it.peer == newest.worker);
        let worker = worker.cloned().ok_or_else(|| {
            CommandError::failure(format!("a stranger trains: {}", newest.worker))
        })?;
        let killed = self.cluster.kill(&worker)?;
        let (who, epoch) = (tail(&worker.peer), newest.progress.epoch);
        self.step(&format!("worker …{who} trains epoch {epoch}, and is killed (SIGKILL)"), None);

        let restarted = Instant::now();
        self.assembled.coordinators.restart(self.cluster, dead)?;
        self.wait("the killed coordinator's return", |assembled, _| {
            let seat = assembled.coordinators.view(dead).and_then(|view| view.coordinator);
            let follows = seat.is_some_and(|it| it.seat.office == OfficeView::Follower);
            Ok((follows && assembled.coordinators.whole().is_some()).then_some(()))
        })?;
        let rejoined = restarted.elapsed();
        self.step("the killed coordinator is back, and follows with every job", Some(rejoined));

        let (id, attempt) = (self.job.clone(), newest.attempt + 1);
        let job = self.wait("the next attempt", |assembled, _| {
            let job = unless_unreachable(assembled.client.job(&id))?;
            Ok(job.filter(|job| job.attempts.iter().any(|it| it.attempt == attempt)))
        })?;
        let to_next_attempt = killed.elapsed();
        self.step("its lease ran out, and another worker has the job", Some(to_next_attempt));
        let first = self.wait("its first report", |_, reports| Ok(reports.first_of(attempt)))?;
        let (who, at, of) = (tail(&first.worker), first.progress.epoch, first.progress.epochs);
        let kept = job.checkpoint.map_or(kept, |checkpoint| checkpoint.epoch);
        let resumed_from = if at >= kept { kept } else { 0 };
        let from = match resumed_from {
            0 => "begins anew".to_owned(),
            epoch => format!("goes on from the checkpoint of epoch {epoch}"),
        };
        let text = format!("worker …{who} {from}: it trains epoch {at} of {of}");
        self.step(&text, Some(killed.elapsed()));
        Ok(WorkerLoss { to_next_attempt, resumed_from, rejoined })
    }

    /// Waits for the end.
    fn finish(&mut self) -> Result<JobView, CommandError> {
        let (reports, output) = (&mut self.reports, &self.teller.context.output);
        let (client, id) = (&self.assembled.client, &self.job);
        let ended = self.cluster.wait("training", TRAINING, || {
            reports.tell(output);
            let job = unless_unreachable(client.job(id))?;
            Ok(job.filter(|job| job.state.is_final()))
        })?;
        self.step("the job is done, and its model is on the disks of a majority", None);
        Ok(ended)
    }

    /// Says it and notes it.
    fn step(&mut self, text: &str, took: Option<Duration>) {
        let after = took.map(|took| format!(" ({:.1} s after)", took.as_secs_f64()));
        self.teller.step(&format!("{text}{}", after.unwrap_or_default()));
        self.timeline.add(text, took);
    }
}

/// The bundled job with so many epochs that it trains for a while on this machine: a worker has
/// measured how fast it is.
fn long_job(assembled: &Assembled, cluster: &mut Cluster) -> Result<SubmitRequest, CommandError> {
    let workers: Result<Vec<_>, _> = assembled.workers.iter().map(super::Node::client).collect();
    let workers = workers?;
    let mflops = cluster.wait("the workers' speed", JOINING, || {
        let views: Result<Vec<_>, _> = workers.iter().map(Client::node).collect();
        let speeds = views?.into_iter().filter_map(|view| view.worker).map(|it| it.mflops);
        Ok(speeds.max())
    })?;
    let mut request = request(0, &write_data(cluster)?)?;
    let mflop = u64::from(mflops) * TRAINS_FOR.as_secs();
    let epochs = (mflop / MFLOP_AN_EPOCH).clamp(250, 20_000);
    let training = super::training(&mut request.job);
    training.epochs = u32::try_from(epochs).unwrap_or(u32::MAX);
    training.checkpoint_every_epochs = (training.epochs / 100).max(1);
    training.checkpoint_min_seconds = 1;
    Ok(request)
}

/// Each step takes seconds at most; a busy machine may need a multiple.
const PATIENCE: Duration = Duration::from_secs(180);
/// Two checkpoints, an election, and a rest twice as long: were the job done before the worker is
/// killed, there would be nothing to show.
const TRAINS_FOR: Duration = Duration::from_secs(20);
/// The bundled job: 167,178 parameters, 1,293 rows, six operations for each of both.
const MFLOP_AN_EPOCH: u64 = 1_297;
