//! What a watcher knows of a job: its state, its last report, and the curves since it looks.

use crate::api::view::{JobEvent, JobView, ProgressView};

/// Grows by the events of one job.
#[derive(Debug, Default)]
pub(super) struct Course {
    pub(super) job: Option<JobView>,
    pub(super) progress: Option<ProgressView>,
    pub(super) worker: Option<String>,
    pub(super) attempt: u32,
    /// Loss over epochs, of the attempt that runs.
    pub(super) loss: Curve,
    pub(super) validation: Curve,
    pub(super) trouble: Option<String>,
}

impl Course {
    pub(super) fn take(&mut self, event: &JobEvent) {
        match event {
            JobEvent::State { job } => {
                self.trouble = None;
                if let Some(attempt) = job.attempts.last() {
                    self.begin(attempt.attempt);
                    self.worker = Some(attempt.worker.clone());
                }
                if let Some(progress) = &job.progress {
                    self.report(progress);
                }
                self.job = Some(JobView::clone(job));
            }
            JobEvent::Report { attempt, worker, progress, number: _ } => {
                self.trouble = None;
                self.begin(*attempt);
                self.worker = Some(worker.clone());
                self.report(progress);
            }
            JobEvent::Trouble { message } => self.trouble = Some(message.clone()),
        }
    }

    /// A new attempt begins its curves anew.
    fn begin(&mut self, attempt: u32) {
        if attempt > self.attempt {
            *self = Self { job: self.job.take(), attempt, ..Self::default() };
        }
    }

    /// States are asked for and reports are told, so an older one may come later.
    fn report(&mut self, progress: &ProgressView) {
        if self.progress.as_ref().is_some_and(|last| last.done > progress.done) {
            return;
        }
        let epochs = progress.done * f64::from(progress.epochs);
        if let Some(loss) = progress.metrics.get("loss") {
            self.loss.add(epochs, *loss);
        }
        // It is measured at an epoch's end and repeated until the next one.
        if let Some(loss) = progress.metrics.get("val_loss")
            && self.validation.points.last().is_none_or(|(_, last)| last != loss)
        {
            self.validation.add(epochs, *loss);
        }
        self.progress = Some(progress.clone());
    }
}

/// Points in the order of x, thinned when there are too many.
#[derive(Debug, Default)]
pub(super) struct Curve {
    pub(super) points: Vec<(f64, f64)>,
}

impl Curve {
    /// Leaves out what lies behind the last point: the same report may come twice.
    fn add(&mut self, x: f64, y: f64) {
        if self.points.last().is_some_and(|(last, _)| *last >= x) {
            return;
        }
        if self.points.len() >= MAX_POINTS {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.points.push((x, y));
    }
}

/// Many times what a terminal can show.
const MAX_POINTS: usize = 4_096;
