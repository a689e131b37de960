//! One of many identities that an attacker mints for nothing: offers, bids, questions and nonsense
//! as fast as it can.

use cyxwiz_protocol::{
    RequestId,
    message::{
        Message,
        membership::{Membership, Offer},
        query::{Query, Question},
    },
};
use cyxwiz_scoring::Load;

use super::{Deed, Rogue, Scene, bidder, boast, garbler::nonsense};
use crate::chance::below;

/// What it sends to each coordinator at a time.
const BURST: u64 = 8;

pub(super) fn act(rogue: &mut Rogue, scene: &Scene<'_>) -> Vec<Deed> {
    let mut deeds = bidder::bid(rogue, scene);
    for number in 0..BURST {
        let request = RequestId(below(&mut rogue.rng, u64::MAX));
        let message = match below(&mut rogue.rng, 6) {
            0 => Message::Membership(Membership::Offer(Offer {
                capability: boast(),
                load: Load::idle(&boast()),
                running: scene.rumours.runs().into_iter().take(8).collect(),
                stands_ms: u32::MAX,
            })),
            1 => Message::Membership(Membership::AskCommittee),
            2 => Message::Membership(Membership::Leaving),
            3 => Message::Query(Query::Ask { request, question: Question::Workers }),
            4 => {
                let question = Question::Jobs { submitter: None, after: None };
                Message::Query(Query::Ask { request, question })
            }
            _ => {
                let to = rogue.one_of(scene.coordinators);
                let bytes = nonsense(rogue);
                // Seldom: who sends nothing else is shut out at once.
                if number == 0 {
                    deeds.extend(to.map(|to| Deed::Direct { to, bytes }));
                }
                continue;
            }
        };
        deeds.extend(scene.for_coordinators(&message));
    }
    deeds
}
