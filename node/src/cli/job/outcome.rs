//! How a job ended: in words for people, as an exit code for scripts.

use crate::api::view::{FileView, JobPhase, JobView, ResultView};
use crate::cli::error::{CommandError, Kind};
use crate::cli::metrics;
use crate::cli::quantity::{Ids, bytes, count, duration, short_job};
use crate::cli::table::{Facts, phase_word};

/// An error unless the job completed. To be asked of a job that has ended; one that has not is
/// [`Kind::NotFinished`].
pub(crate) fn outcome(job: &JobView) -> Result<(), CommandError> {
    let (name, id) = (&job.name, short_job(&job.job));
    match job.state {
        JobPhase::Completed => Ok(()),
        JobPhase::Paused => {
            let message = format!("job {name} ({id}) is paused");
            let hint = format!("let it go on with `cyxwiz job resume {}`", job.job);
            Err(CommandError::new(Kind::NotFinished, message).hint(hint))
        }
        JobPhase::Queued | JobPhase::Running | JobPhase::Pausing => {
            let message = format!("job {name} ({id}) is still {}", phase_word(job.state));
            let hint = format!("follow it with `cyxwiz job watch {}`", job.job);
            Err(CommandError::new(Kind::NotFinished, message).hint(hint))
        }
        JobPhase::Cancelled => {
            let message = format!("job {name} ({id}) was cancelled");
            Err(CommandError::new(Kind::Cancelled, message))
        }
        JobPhase::Failed => {
            let (kind, why) = match &job.failure {
                Some(failure) if failure.kind == NOBODY_COULD => {
                    (Kind::NobodyCould, failure.message.as_str())
                }
                Some(failure) => (Kind::JobFailed, failure.message.as_str()),
                None => (Kind::JobFailed, "the reason is not known"),
            };
            let hint = format!("`cyxwiz job why {}` tells each attempt and each refusal", job.job);
            Err(CommandError::new(kind, format!("job {name} ({id}) failed: {why}")).hint(hint))
        }
    }
}

/// What a completed job brought, as facts below each other.
pub(crate) fn summary(job: &JobView, ids: Ids) -> String {
    let mut facts = Facts::default();
    facts.add("job", format!("{} {}", job.name, job.job));
    facts.add("state", state(job));
    if let Some(result) = &job.result {
        add_result(&mut facts, result, ids);
    }
    facts.text()
}

/// The state and how long it took to get there.
fn state(job: &JobView) -> String {
    let word = phase_word(job.state);
    let Some(ended) = job.ended_at else { return word.to_owned() };
    let total = duration(ended.saturating_sub(job.accepted_at));
    match job.attempts.len() {
        0 | 1 => format!("{word} after {total}"),
        attempts => format!("{word} after {total} and {attempts} attempts"),
    }
}

pub(super) fn add_result(facts: &mut Facts, result: &ResultView, ids: Ids) {
    facts.add_all("metrics", metrics::table(&result.metrics));
    facts.add("worker", ids.peer(&result.worker));
    let compute = duration(result.compute_ms);
    let threads = if result.threads == 1 { "thread" } else { "threads" };
    facts.add("compute", format!("{compute} on {}, {} {threads}", result.engine, result.threads));
    facts.add("parameters", count(result.parameters));
    let line = |file: &FileView| format!("{}  {}", file.name, bytes(file.size));
    facts.add_all("files", result.files.iter().map(line));
    let model = result.files.iter().find(|file| file.name.ends_with(".safetensors"));
    if let Some(model) = model.filter(|model| !model.sha256.is_empty()) {
        facts.add("sha256", format!("{}  {}", model.sha256, model.name));
    }
}

/// The kind of a failure that no worker could have avoided, as the local API writes it.
const NOBODY_COULD: &str = "nobody_could";
