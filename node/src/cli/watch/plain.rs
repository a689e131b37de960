//! The course of a job as lines for a log: every change of state, and about one report an epoch,
//! at most one a second.

use std::time::{Duration, Instant};

use super::frame::before_training;
use crate::api::view::{JobEvent, JobPhase, JobView, ProgressView};
use crate::cli::metrics;
use crate::cli::quantity::{Ids, clock, rate, short_job};
use crate::cli::table::phase_word;

#[derive(Debug)]
pub(super) struct Plain {
    ids: Ids,
    state: Option<(JobPhase, u32)>,
    why: Option<String>,
    trouble: Option<String>,
    /// Epoch of the last line, and when it was written.
    reported: Option<(u32, Instant)>,
    /// The newest report, while it is not written.
    pending: Option<String>,
}

impl Plain {
    pub(super) fn new(ids: Ids) -> Self {
        Self { ids, state: None, why: None, trouble: None, reported: None, pending: None }
    }

    /// The lines that an event adds.
    pub(super) fn take(&mut self, event: &JobEvent, now: Instant) -> Vec<String> {
        match event {
            JobEvent::State { job } => self.state(job),
            JobEvent::Report { progress, .. } => {
                self.trouble = None;
                self.report(progress, now).into_iter().collect()
            }
            JobEvent::Trouble { message } => {
                let known = self.trouble.replace(message.clone());
                if known.as_ref() == Some(message) { Vec::new() } else { vec![message.clone()] }
            }
        }
    }

    fn state(&mut self, job: &JobView) -> Vec<String> {
        self.trouble = None;
        let mut lines = Vec::new();
        let attempt = job.attempts.len() as u32;
        if self.state.replace((job.state, attempt)) != Some((job.state, attempt)) {
            lines.extend(self.pending.take());
            self.reported = None;
            lines.push(self.state_line(job));
        }
        let why = job.waiting.as_ref().map(|waiting| waiting.why.clone());
        if why != self.why {
            lines.extend(why.as_ref().map(|why| format!("  {why}")));
            self.why = why;
        }
        lines
    }

    fn state_line(&self, job: &JobView) -> String {
        let (name, id) = (&job.name, short_job(&job.job));
        let mut line = format!("job {name} ({id}) {}", phase_word(job.state));
        if let (JobPhase::Running, Some(attempt)) = (job.state, job.attempts.last()) {
            line.push_str(&format!(" on {}", self.ids.peer(&attempt.worker)));
            if attempt.attempt > 1 {
                line.push_str(&format!(", attempt {}", attempt.attempt));
            }
        }
        line
    }

    fn report(&mut self, progress: &ProgressView, now: Instant) -> Option<String> {
        // Before the first batch there is nothing to tell but that it takes its time.
        let reads = progress.epochs == 0 && progress.elapsed_ms > 0;
        if progress.metrics.is_empty() && !reads {
            return None;
        }
        let line = report_line(progress);
        let due = self.reported.is_none_or(|(epoch, at)| {
            let past = now.saturating_duration_since(at);
            past >= LONG || (epoch != progress.epoch && past >= SHORT)
        });
        if !due {
            self.pending = Some(line);
            return None;
        }
        self.pending = None;
        self.reported = Some((progress.epoch, now));
        Some(line)
    }
}

/// `epoch 12/50  loss 0.1234  accuracy 96.1 %  val 95.2 %  45.3k samples/s  ETA 0:07`
pub(crate) fn report_line(progress: &ProgressView) -> String {
    // Of a single pass over the rows, it is the batches that move.
    let (word, at, all) = match progress.epochs {
        0 => return format!("{}  {}", before_training(progress), clock(progress.elapsed_ms)),
        1 => ("batch", progress.batch, progress.batches),
        epochs => ("epoch", progress.epoch, epochs),
    };
    let digits = all.to_string().len();
    let mut parts = vec![format!("{word} {at:>digits$}/{all}")];
    parts.extend(metrics::in_short(&progress.metrics));
    if progress.samples_per_second > 0.0 {
        parts.push(format!("{} samples/s", rate(progress.samples_per_second)));
    }
    parts.extend(progress.eta_ms.map(|eta| format!("ETA {}", clock(eta))));
    parts.join("  ")
}

const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(10);
