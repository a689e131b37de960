//! Hands in jobs and then other content under the same id, tries the ids of others, and cancels
//! and pauses what is not its own. Its own jobs are jobs: what is accepted of them must end.

use cyxwiz_protocol::{
    CellId, JobId, RequestId,
    message::{Message, pausing::Pausing, submission::Submission},
    signed::Signed,
    spec::{CancelOrder, Estimate, JobKind, JobLimits, JobSpec, PauseOrder, Priority, Wish},
};
use cyxwiz_scoring::Requirements;

use super::{Deed, Rogue, Scene};
use crate::chance::below;

/// Jobs of its own that it hands in, in all.
const JOBS: usize = 8;

/// What it handed in.
#[derive(Debug, Default)]
pub(super) struct Wares {
    specs: Vec<(JobId, Signed<JobSpec>)>,
}

pub(super) fn act(rogue: &mut Rogue, scene: &Scene<'_>) -> Vec<Deed> {
    let request = RequestId(below(&mut rogue.rng, u64::MAX));
    let known = rogue.one_of(&scene.rumours.runs()).map(|run| run.job);
    let own = rogue.wares.specs.first().map(|(job, _)| *job);
    match (below(&mut rogue.rng, 6), known, own) {
        (0, _, _) if rogue.wares.specs.len() < JOBS && !scene.healed => {
            let id = JobId::new(scene.unix, &mut rogue.rng);
            let spec = rogue.sign(scene, spec(id, "mine"));
            rogue.wares.specs.push((id, spec.clone()));
            submit(scene, request, spec)
        }
        // Other content under an id of its own, and of another.
        (1, _, Some(job)) | (2, Some(job), _) => {
            let other = rogue.sign(scene, spec(job, "something-else"));
            submit(scene, request, other)
        }
        (3, Some(job), _) => {
            let order = rogue.sign(scene, CancelOrder { job });
            scene.for_coordinators(&Message::Submission(Submission::Cancel { request, order }))
        }
        // Its own would never end.
        (4, Some(job), _) if rogue.wares.specs.iter().all(|(own, _)| *own != job) => {
            let order = rogue.sign(scene, PauseOrder { job, wish: Wish::Pause });
            scene.for_coordinators(&Message::Pausing(Pausing::Order { request, order }))
        }
        (5, _, Some(_)) => {
            let again = rogue.wares.specs[0].1.clone();
            submit(scene, request, again)
        }
        _ => Vec::new(),
    }
}

fn submit(scene: &Scene<'_>, request: RequestId, spec: Signed<JobSpec>) -> Vec<Deed> {
    scene.for_coordinators(&Message::Submission(Submission::Submit { request, spec }))
}

fn spec(id: JobId, name: &str) -> JobSpec {
    JobSpec {
        id,
        cell: CellId::default(),
        name: name.parse().expect("plain letters"),
        kind: JobKind::Train,
        workload: " ".repeat(100),
        inputs: Vec::new(),
        requirements: Requirements { memory_mb: 256, ..Requirements::default() },
        priority: Priority::default(),
        limits: JobLimits::default(),
        estimate: Estimate::default(),
    }
}
