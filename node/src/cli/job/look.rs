//! The commands that look at jobs and wait for them: list, status, watch, wait, cancel.

use super::outcome::{add_result, outcome, summary};
use super::pause::from;
use super::submit::takes;
use super::{CancelArgs, JobArgs, ListArgs};
use crate::api::view::{JobLineView, JobPhase, JobView, ProgressView};
use crate::cli::client::Client;
use crate::cli::error::CommandError;
use crate::cli::metrics;
use crate::cli::output::{Format, Output, Stream};
use crate::cli::quantity::{
    ago, clock, coarse, duration, now, number, of, percent, rate, short_job,
};
use crate::cli::table::{Facts, Rows, phase_cell, phase_word};
use crate::cli::watch::{self, Show};
use crate::cli::{Context, resolve};

pub(super) fn list(context: &Context, args: &ListArgs) -> Result<(), CommandError> {
    let output = &context.output;
    let jobs = context.reach(&args.reach)?.client.jobs(!args.all)?;
    if jobs.is_empty() {
        output.say(match args.all {
            true => "the network has no jobs",
            false => "this node has submitted no job; --all lists those of everybody",
        });
        if output.format == Format::Table {
            return Ok(());
        }
    }
    output.show_all(&jobs, || table(&jobs, args.all, output, now()))
}

fn table(jobs: &[JobLineView], all: bool, output: &Output, now: u64) -> String {
    let titles: &[&str] = match all {
        true => &["job", "name", "state", ">done", "worker", ">attempts", "accepted", "submitter"],
        false => &["job", "name", "state", ">done", "worker", ">attempts", "accepted"],
    };
    let ids: Vec<_> = jobs.iter().map(|line| line.job.as_str()).collect();
    let mut rows = Rows::new(titles);
    for job in jobs {
        let done = match (job.state, job.progress) {
            (JobPhase::Completed, _) => percent(1.0),
            (_, Some(share)) => percent(share),
            (_, None) => "-".to_owned(),
        };
        let worker = job.worker.as_ref().map_or("-".to_owned(), |id| output.ids.peer(id));
        let mut cells = vec![
            output.ids.job(&job.job, &ids).into(),
            job.name.as_str().into(),
            phase_cell(job.state),
            done.into(),
            worker.into(),
            job.attempts.to_string().into(),
            ago(job.accepted_at, now).into(),
        ];
        if all {
            let mine =
                if job.mine { "this node".to_owned() } else { output.ids.peer(&job.submitter) };
            cells.push(mine.into());
        }
        rows.add::<comfy_table::Cell>(cells);
    }
    rows.text()
}

pub(super) fn status(context: &Context, args: &JobArgs) -> Result<(), CommandError> {
    let reached = context.reach(&args.reach)?;
    let client = &reached.client;
    let job = client.job(&resolve::job(client, &args.job)?)?;
    context.output.show(&job, || facts(&job, &context.output, now()))?;
    context.output.say(&format!("\n{}", next_step(&job)));
    Ok(())
}

fn facts(job: &JobView, output: &Output, now: u64) -> String {
    let mut facts = Facts::default();
    facts.add("job", format!("{} {}", job.name, job.job));
    let mine = if job.mine { "this node".to_owned() } else { output.ids.peer(&job.submitter) };
    facts.add(
        "accepted",
        format!("{}, from {mine}, priority {}", ago(job.accepted_at, now), job.priority),
    );
    facts.add("state", state(job, now));
    if let Some(waiting) = &job.waiting {
        facts.add("waiting", waiting.why.as_str());
    }
    if let Some(failure) = &job.failure {
        facts.add("failure", failure.message.as_str());
    }
    if let Some(attempt) = job.attempts.last().filter(|_| job.result.is_none()) {
        let number = attempt.attempt;
        facts.add("worker", format!("{}, attempt {number}", output.ids.peer(&attempt.worker)));
    }
    if let Some(progress) = job.progress.as_ref().filter(|_| job.state == JobPhase::Running) {
        facts.add("progress", how_far(progress));
        facts.add_all("uses", uses(progress));
        facts.add_all("metrics", metrics::table(&progress.metrics));
    }
    if job.result.is_none() {
        facts.add("expected", takes(&job.estimate));
    }
    if let Some(result) = &job.result {
        add_result(&mut facts, result, output.ids);
    }
    facts.text()
}

/// What the process takes of its machine, as far as that tells.
fn uses(progress: &ProgressView) -> Option<String> {
    let parts = [
        progress.cpu_percent.map(|cpu| format!("{cpu} % of a core")),
        progress.memory_mb.map(|memory| format!("{memory} MB of memory")),
        progress.gpu_percent.map(|gpu| format!("{gpu} % of its GPU")),
        progress.gpu_memory_mb.map(|memory| format!("{memory} MB of its GPU's memory")),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn how_far(progress: &ProgressView) -> String {
    let (epoch, epochs) = (progress.epoch, progress.epochs);
    let (batch, batches) = (progress.batch, progress.batches);
    let mut text = match epochs {
        0 => watch::before_training(progress).to_owned(),
        epochs => format!("{}, epoch {epoch} of {epochs}", percent(progress.done)),
    };
    if batches > 1 {
        text.push_str(&format!(", batch {batch} of {batches}"));
    }
    if progress.samples_per_second > 0.0 {
        text.push_str(&format!(", {} samples/s", rate(progress.samples_per_second)));
    }
    if progress.learning_rate > 0.0 {
        text.push_str(&format!(", learning rate {}", number(progress.learning_rate)));
    }
    if progress.elapsed_ms > 0 {
        text.push_str(&format!(", for {}", clock(progress.elapsed_ms)));
    }
    if let Some(eta) = progress.eta_ms {
        text.push_str(&format!(", ETA {}", clock(eta)));
    }
    text
}

fn state(job: &JobView, now: u64) -> String {
    let mut text = phase_word(job.state).to_owned();
    if let Some(ended) = job.ended_at {
        let took = duration(ended.saturating_sub(job.accepted_at));
        text.push_str(&format!(" {}, after {took}", ago(ended, now)));
    } else if job.cancel_requested {
        text.push_str(", being cancelled");
    } else if let Some(at) = job.paused_at {
        let since = coarse(now.saturating_sub(at));
        text.push_str(&format!(" for {since}; it goes on {}", from(job)));
    }
    text
}

fn next_step(job: &JobView) -> String {
    let id = &job.job;
    match job.state {
        JobPhase::Queued => format!("next: cyxwiz job why {id}"),
        JobPhase::Paused => format!("next: cyxwiz job resume {id}"),
        JobPhase::Running | JobPhase::Pausing => format!("next: cyxwiz job watch {id}"),
        JobPhase::Completed => format!("next: cyxwiz job results {id}"),
        JobPhase::Failed | JobPhase::Cancelled => format!("next: cyxwiz job why {id}"),
    }
}

pub(super) fn watch(context: &Context, args: &JobArgs) -> Result<(), CommandError> {
    let reached = context.reach(&args.reach)?;
    let job = resolve::job(&reached.client, &args.job)?;
    until_end(context, &reached.client, &job, Show::Course(Stream::Stdout), false)
}

pub(super) fn wait(context: &Context, args: &JobArgs) -> Result<(), CommandError> {
    let reached = context.reach(&args.reach)?;
    let job = resolve::job(&reached.client, &args.job)?;
    until_end(context, &reached.client, &job, Show::End, false)
}

/// Follows a job, shows how it ended unless `silent`, and fails as it did.
pub(super) fn until_end(
    context: &Context,
    client: &Client,
    job: &str,
    show: Show,
    silent: bool,
) -> Result<(), CommandError> {
    let output = &context.output;
    let job = watch::follow(client, job, show, output)?;
    // As lines, the last event was the job at its end already.
    let told = output.format == Format::Jsonl && show != Show::End;
    if !silent && !told && (job.state == JobPhase::Completed || output.format != Format::Table) {
        if matches!(show, Show::Course(_)) && output.format == Format::Table {
            output.say("");
        }
        output.show(&job, || summary(&job, output.ids))?;
    }
    outcome(&job)?;
    output.say(&format!("\nnext: cyxwiz job results {}", job.job));
    Ok(())
}

pub(super) fn cancel(context: &Context, args: &CancelArgs) -> Result<(), CommandError> {
    let reached = context.reach(&args.job.reach)?;
    let client = &reached.client;
    let job = resolve::job(client, &args.job.job)?;
    let noted = client.cancel(&job)?;
    let output = &context.output;
    if !args.wait {
        return output.show(&noted, || cancelled_so_far(&noted));
    }
    let job = watch::follow(client, &job, Show::End, output)?;
    output.show(&job, || cancelled_so_far(&job))?;
    match job.state {
        JobPhase::Cancelled => Ok(()),
        JobPhase::Completed => {
            let message = format!("job {} had completed before it could be cancelled", job.name);
            Err(CommandError::failure(message)
                .hint(format!("its files are there: cyxwiz job results {}", job.job)))
        }
        JobPhase::Queued
        | JobPhase::Running
        | JobPhase::Pausing
        | JobPhase::Paused
        | JobPhase::Failed => outcome(&job),
    }
}

fn cancelled_so_far(job: &JobView) -> String {
    let (name, id) = (&job.name, short_job(&job.job));
    match job.state {
        JobPhase::Queued | JobPhase::Running | JobPhase::Pausing | JobPhase::Paused => {
            let attempts = of(job.attempts.len() as u64, "attempt");
            format!("job {name} ({id}) is being cancelled after {attempts}")
        }
        JobPhase::Completed | JobPhase::Failed | JobPhase::Cancelled => {
            format!("job {name} ({id}) {}", phase_word(job.state))
        }
    }
}
