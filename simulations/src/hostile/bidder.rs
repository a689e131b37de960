//! Bids below everyone for everything. What it is awarded it leaves alone, takes and leaves alone,
//! takes and renews as if it worked, or claims to have finished with files that nobody has.

use std::collections::BTreeMap;

use cyxwiz_protocol::{
    ArtifactId, Run,
    message::{
        Message,
        auction::{Announcement, Auction, Bid, Bids, Call},
        membership::{Membership, Offer},
        run::{Renewal, RunStep},
    },
    report::{Ending, Progress},
};
use cyxwiz_scoring::Load;

use super::{Deed, Rogue, Scene, boast, forger::receipt};
use crate::{chance::below, queue::HostId, trainer::success};

/// Runs that it makes something of.
const RUNS: usize = 64;
/// How long an offer stands, in milliseconds.
const STANDS_MS: u32 = 30_000;

/// What it was awarded, and how it goes on.
#[derive(Debug, Default)]
pub(super) struct Works(BTreeMap<Run, (HostId, Way)>);

#[derive(Clone, Copy, Debug)]
enum Way {
    /// As if the award had never come.
    Silent,
    /// It says that it has it, and nothing more.
    Taken,
    /// It renews its lease without end.
    Renewing,
    /// It claims a result again and again.
    Claiming,
}

pub(super) fn act(rogue: &mut Rogue, scene: &Scene<'_>) -> Vec<Deed> {
    let running: Vec<Run> = rogue.works.0.keys().copied().take(2).collect();
    let offer =
        Offer { capability: boast(), load: Load::idle(&boast()), running, stands_ms: STANDS_MS };
    let mut deeds = scene.for_coordinators(&Message::Membership(Membership::Offer(offer)));
    let works: Vec<_> = rogue.works.0.iter().map(|(run, work)| (*run, *work)).collect();
    for (run, (leader, way)) in works {
        let message = match way {
            // How long it may renew is for the limits of the spec, which are days.
            Way::Renewing if scene.healed => continue,
            Way::Silent | Way::Taken => continue,
            Way::Renewing => {
                let progress = Some(Progress::default());
                Message::Run(RunStep::Renew(vec![Renewal { run, progress, checkpoint: None }]))
            }
            Way::Claiming => claim(rogue, scene, run),
        };
        deeds.push(scene.direct(leader, &message));
    }
    deeds
}

/// Success with a file of a name that no content has.
fn claim(rogue: &mut Rogue, scene: &Scene<'_>, run: Run) -> Message {
    let mut claimed = success(run);
    for file in &mut claimed.outputs {
        file.artifact = ArtifactId([0xBA; 32]);
    }
    let receipt = rogue.sign(scene, receipt(run, Ending::Succeeded(claimed)));
    Message::Run(RunStep::Receipt(receipt))
}

/// Everything that was called out, for nothing, at once.
pub(super) fn bid(rogue: &mut Rogue, scene: &Scene<'_>) -> Vec<Deed> {
    let Some(announcement) = &scene.rumours.announcement else {
        return Vec::new();
    };
    if announcement.round == rogue.round_answered {
        return Vec::new();
    }
    rogue.round_answered = announcement.round;
    let bids = rogue.bids(scene, announcement);
    scene.for_coordinators(&bids)
}

impl Rogue {
    fn bids(&mut self, scene: &Scene<'_>, announcement: &Announcement) -> Message {
        let bid = |call: &Call| Bid {
            job: call.job,
            attempt: call.attempt,
            price: 0,
            start_ms: 0,
            warm_permille: 1_000,
        };
        let bids = Bids {
            ballot: announcement.ballot,
            round: announcement.round,
            capability: boast(),
            load: Load::idle(&boast()),
            bids: announcement.calls.iter().map(bid).collect(),
        };
        Message::Auction(Auction::Bids(self.sign(scene, bids)))
    }
}

pub(super) fn hear(
    rogue: &mut Rogue,
    scene: &Scene<'_>,
    from: HostId,
    message: &Message,
) -> Vec<Deed> {
    match message {
        Message::Auction(Auction::Invitation(signed)) => {
            let Ok(announcement) = signed.verify(scene.network) else {
                return Vec::new();
            };
            let bids = rogue.bids(scene, &announcement);
            vec![scene.direct(from, &bids)]
        }
        Message::Auction(Auction::Award { award, .. }) => {
            let Ok(award) = award.verify(scene.network) else {
                return Vec::new();
            };
            rogue.awards += 1;
            let run = award.run();
            let way = match below(&mut rogue.rng, 4) {
                0 => Way::Silent,
                1 => Way::Taken,
                2 => Way::Renewing,
                _ => Way::Claiming,
            };
            if rogue.works.0.len() < RUNS {
                rogue.works.0.entry(run).or_insert((from, way));
            }
            match way {
                Way::Silent => Vec::new(),
                Way::Taken | Way::Renewing | Way::Claiming => {
                    vec![scene.direct(from, &Message::Auction(Auction::Taken(run)))]
                }
            }
        }
        Message::Run(RunStep::Counted { run, .. } | RunStep::Stop(run)) => {
            rogue.works.0.remove(run);
            Vec::new()
        }
        Message::Run(_)
        | Message::Auction(_)
        | Message::Membership(_)
        | Message::Submission(_)
        | Message::Query(_)
        | Message::Pausing(_)
        | Message::Replication(_) => Vec::new(),
    }
}
