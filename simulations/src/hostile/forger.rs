//! Claims work that it never did: receipts of attempts that were never made, that others have, or
//! that are to come; and it takes, declines and renews what is not its own.

use cyxwiz_protocol::{
    Attempt, Digest, Run, Topic,
    message::{
        Gossip, Message,
        auction::Auction,
        run::{Renewal, RunStep},
    },
    report::{Ending, FailureClass, Progress, Receipt, Report},
};

use super::{Deed, Rogue, Scene};
use crate::{chance::below, trainer::success};

pub(super) fn act(rogue: &mut Rogue, scene: &Scene<'_>) -> Vec<Deed> {
    let Some(called) = rogue.one_of(&scene.rumours.runs()) else {
        return Vec::new();
    };
    // The attempt that was called out, the one before, the one after.
    let attempt = called.attempt.0.saturating_sub(1)
        + u32::try_from(below(&mut rogue.rng, 3)).expect("less than three");
    let run = Run { job: called.job, attempt: Attempt(attempt) };
    match below(&mut rogue.rng, 8) {
        0 => scene.for_coordinators(&Message::Auction(Auction::Taken(run))),
        1 => scene.for_coordinators(&Message::Auction(Auction::Declined(run))),
        2 => {
            let renewal = Renewal { run, progress: Some(Progress::default()), checkpoint: None };
            scene.for_coordinators(&Message::Run(RunStep::Renew(vec![renewal])))
        }
        3 => {
            let report = Report {
                job: run.job,
                attempt: run.attempt,
                number: 1,
                previous: Digest::of(b"nothing"),
                progress: Progress::default(),
            };
            let report = rogue.sign(scene, report);
            vec![scene.gossip(Topic::reports_of(run.job), &Gossip::Report(report))]
        }
        4 => {
            let message = "so that another attempt is made".to_owned();
            let ending = Ending::Failed { class: FailureClass::Diverged, message };
            let receipt = rogue.sign(scene, receipt(run, ending));
            scene.for_coordinators(&Message::Run(RunStep::Receipt(receipt)))
        }
        _ => {
            // The very files that the run makes, should someone else have them already.
            let receipt = rogue.sign(scene, receipt(run, Ending::Succeeded(success(run))));
            scene.for_coordinators(&Message::Run(RunStep::Receipt(receipt)))
        }
    }
}

/// A receipt that looks as one should.
pub(super) fn receipt(run: Run, ending: Ending) -> Receipt {
    Receipt {
        job: run.job,
        attempt: run.attempt,
        ending,
        compute_ms: 10_000,
        reports: 4,
        chain: Digest::of(&run.job.0),
    }
}
