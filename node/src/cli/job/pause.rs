//! `cyxwiz job pause` and `job resume`: what was ordered, and how the job stands with it.

use super::{JobArgs, PauseArgs};
use crate::api::view::{JobPhase, JobView, OrderView};
use crate::cli::error::CommandError;
use crate::cli::quantity::{coarse, now, short_job};
use crate::cli::table::phase_word;
use crate::cli::watch;
use crate::cli::{Context, resolve};

pub(super) fn pause(context: &Context, args: &PauseArgs) -> Result<(), CommandError> {
    let reached = context.reach(&args.job.reach)?;
    let client = &reached.client;
    let mut order = client.pause(&resolve::job(client, &args.job.job)?)?;
    if args.wait && order.job.state != JobPhase::Paused {
        order.job = watch::until_paused(client, &order.job.job)?;
    }
    let output = &context.output;
    output.show(&order, || paused(&order, now()))?;
    if order.job.state.is_final() {
        let message = format!("job {} had ended before it could be paused", order.job.name);
        return Err(CommandError::failure(message)
            .hint(format!("see how: cyxwiz job status {}", order.job.job)));
    }
    output.say(&format!("\nnext: cyxwiz job resume {}", order.job.job));
    Ok(())
}

pub(super) fn resume(context: &Context, args: &JobArgs) -> Result<(), CommandError> {
    let reached = context.reach(&args.reach)?;
    let client = &reached.client;
    let order = client.resume(&resolve::job(client, &args.job)?)?;
    let output = &context.output;
    output.show(&order, || resumed(&order))?;
    output.say(&format!("\nnext: cyxwiz job watch {}", order.job.job));
    Ok(())
}

fn paused(OrderView { changed, job }: &OrderView, now: u64) -> String {
    let (name, id) = (&job.name, short_job(&job.job));
    let word = if *changed { "" } else { " already" };
    match job.state {
        JobPhase::Paused => {
            let since = job.paused_at.filter(|_| !changed);
            let since = since.map(|at| format!(", for {}", coarse(now.saturating_sub(at))));
            let since = since.unwrap_or_default();
            format!("job {name} ({id}) is paused{word}{since}; it goes on {}", from(job))
        }
        JobPhase::Pausing => {
            format!("job {name} ({id}) is being paused{word}: its worker leaves a checkpoint")
        }
        JobPhase::Queued
        | JobPhase::Running
        | JobPhase::Completed
        | JobPhase::Failed
        | JobPhase::Cancelled => format!("job {name} ({id}) {}", is(job.state)),
    }
}

fn resumed(OrderView { changed, job }: &OrderView) -> String {
    let (name, id) = (&job.name, short_job(&job.job));
    if !changed {
        return format!("job {name} ({id}) was not paused: it {}", is(job.state));
    }
    match job.state {
        // Its worker had not stopped yet.
        JobPhase::Running => format!("job {name} ({id}) goes on where it is"),
        JobPhase::Queued => format!("job {name} ({id}) waits for a worker, to go on {}", from(job)),
        JobPhase::Pausing
        | JobPhase::Paused
        | JobPhase::Completed
        | JobPhase::Failed
        | JobPhase::Cancelled => format!("job {name} ({id}) {}", is(job.state)),
    }
}

fn is(state: JobPhase) -> String {
    match state {
        JobPhase::Queued | JobPhase::Running | JobPhase::Pausing | JobPhase::Paused => {
            format!("is {}", phase_word(state))
        }
        JobPhase::Completed | JobPhase::Failed => phase_word(state).to_owned(),
        JobPhase::Cancelled => "was cancelled".to_owned(),
    }
}

/// Where a paused job goes on.
pub(super) fn from(job: &JobView) -> String {
    match &job.checkpoint {
        None => "from its beginning".to_owned(),
        Some(at) if at.batch == 0 => format!("after epoch {}", at.epoch),
        Some(at) => {
            let batches = if at.batch == 1 { "batch" } else { "batches" };
            format!("after epoch {} and {} {batches} of the next", at.epoch, at.batch)
        }
    }
}
