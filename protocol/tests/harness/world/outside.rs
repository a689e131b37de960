//! The world outside the peers: inspecting and fetching take a moment, training as long as the
//! test says.

use std::time::Duration;

use cyxwiz_protocol::{
    ArtifactId, Input, Task, TaskEvent, effects::Collecting, report::Ending, spec::FileRef,
};

use super::World;
use crate::harness::{Who, ms, progress, success};

/// What becomes of files that a peer shall fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetching {
    Works,
    /// An error each time.
    Fails,
    /// Nothing is heard of it.
    Hangs,
}

/// How long a run takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Training(pub(crate) Duration);

impl Default for Training {
    fn default() -> Self {
        Self(ms(5_000))
    }
}

/// A success whose files are others than those that went in.
fn trained() -> Ending {
    let Ending::Succeeded(mut success) = success() else { panic!("it is one") };
    for output in &mut success.outputs {
        output.artifact = ArtifactId([7; 32]);
    }
    Ending::Succeeded(success)
}

impl World {
    pub(super) fn work(&mut self, who: Who, task: Task) {
        match task {
            Task::Inspect { spec, .. } => {
                let files = spec.inputs.iter().map(|input| input.artifact);
                self.node(who).files.extend(files);
                let event = TaskEvent::Inspected { job: spec.id, result: Ok(()) };
                self.post(who, Input::Task(event), ms(20));
            }
            Task::Run { run, .. } => {
                let Training(duration) = self.training;
                self.post(who, Input::Task(TaskEvent::Started { run }), ms(50));
                let event = TaskEvent::Progress { run, progress: progress(5) };
                self.post(who, Input::Task(event), duration / 2);
                let event = TaskEvent::Ended { run, ending: trained(), compute_ms: 5_000 };
                self.post(who, Input::Task(event), duration);
            }
            Task::Stop { run, why } => {
                self.killed.push((who, run, why));
                let event = TaskEvent::Ended { run, ending: Ending::Cancelled, compute_ms: 1 };
                self.post(who, Input::Task(event), ms(30));
            }
            Task::Discard { .. } => {}
            Task::Collect { job, why, files, .. } => self.fetch(who, job, why, &files),
        }
    }

    fn fetch(&mut self, who: Who, job: cyxwiz_protocol::JobId, why: Collecting, files: &[FileRef]) {
        assert!(files.iter().all(|file| file.artifact != ArtifactId([0; 32])));
        let node = self.node(who);
        let result = match node.fetching {
            Fetching::Works => {
                node.files.extend(files.iter().map(|file| file.artifact));
                Ok(())
            }
            Fetching::Fails => Err("nobody has it".to_owned()),
            Fetching::Hangs => return,
        };
        self.post(who, Input::Task(TaskEvent::Collected { job, why, result }), ms(40));
    }
}
