//! The reports of a job as they come by gossip, whoever leads: read beside, so that what trains is
//! seen to train while nobody coordinates.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    api::view::{JobEvent, JobView, ProgressView},
    cli::{client::Client, error::CommandError, output::Output, watch},
};

/// What one job has reported so far.
#[derive(Clone, Debug)]
pub(super) struct Reports {
    // Shared by the thread that reads and whoever looks: only what is newest counts, and neither
    // may make the other wait as a channel would.
    heard: Arc<Mutex<Heard>>,
    told: Instant,
    told_of: u32,
}

#[derive(Debug, Default)]
struct Heard {
    newest: Option<Report>,
    /// The first report of the newest attempt.
    first: Option<Report>,
    count: u32,
    ended: Option<JobView>,
}

/// One report of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) attempt: u32,
    pub(super) worker: String,
    pub(super) progress: ProgressView,
}

impl Reports {
    pub(super) fn listen(client: &Client, job: &str) -> Result<Self, CommandError> {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (events, into) = (client.events(job)?, Arc::clone(&heard));
        let read = move || {
            // A stream that breaks leaves what was heard; whoever waits has a limit of its own.
            for event in events.map_while(Result::ok) {
                lock(&into).take(event);
            }
        };
        let thread = thread::Builder::new().name("reports".to_owned()).spawn(read);
        thread.map_err(|source| CommandError::failure("cannot start a thread").because(&source))?;
        Ok(Self { heard, told: Instant::now(), told_of: 0 })
    }

    pub(super) fn newest(&self) -> Option<Report> {
        lock(&self.heard).newest.clone()
    }

    /// The first report of this attempt, which tells where it began.
    pub(super) fn first_of(&self, attempt: u32) -> Option<Report> {
        lock(&self.heard).first.clone().filter(|first| first.attempt == attempt)
    }

    /// How many came.
    pub(super) fn count(&self) -> u32 {
        lock(&self.heard).count
    }

    /// The job, once it has ended.
    pub(super) fn ended(&self) -> Option<JobView> {
        lock(&self.heard).ended.clone()
    }

    /// Shows the newest report, now and then, unless it was shown.
    pub(super) fn tell(&mut self, output: &Output) {
        let count = self.count();
        if self.told.elapsed() < PAUSE || count == self.told_of {
            return;
        }
        if let Some(newest) = self.newest() {
            (self.told, self.told_of) = (Instant::now(), count);
            output.say(&format!("          {}", watch::report_line(&newest.progress)));
        }
    }
}

impl Heard {
    fn take(&mut self, event: JobEvent) {
        match event {
            JobEvent::Report { attempt, worker, progress, .. } => {
                // Before the first epoch there is nothing to tell.
                if progress.epochs == 0 {
                    return;
                }
                self.count += 1;
                let report = Report { attempt, worker, progress };
                if self.first.as_ref().is_none_or(|first| first.attempt != attempt) {
                    self.first = Some(report.clone());
                }
                self.newest = Some(report);
            }
            JobEvent::State { job } => self.ended = job.state.is_final().then_some(*job),
            JobEvent::Trouble { .. } => {}
        }
    }
}

/// A holder does not panic; if one did, what it left is as good.
fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So few lines leave the steps in sight.
const PAUSE: Duration = Duration::from_secs(3);
