//! Every state of the register protocol at small bounds, under the very rules of production.
//!
//! Random faults find what happens often; this finds what can happen at all, as long as three or
//! four replicas, three ballots and two steps of a job suffice for it. Each rule is then broken
//! once, which must lead to a state that breaks a property: otherwise either the rule is not
//! needed or the model does not look where it matters.

mod committee;
mod explorer;
mod law;
mod properties;
mod state;

use std::time::Instant;

use committee::{Committee, Scope};
use explorer::{Explored, explore};
use law::{Break, Law};
use properties::Sight;
use state::Members;

const A: Members = Members::NONE.with(0);
const C: Members = Members::NONE.with(2);
const ABC: Members = Members(0b111);
const ABD: Members = Members(0b1011);

const fn fixed(ballots: &'static [u8], versions: u64) -> Scope {
    Scope { founders: ABC, target: None, ballots, versions }
}

fn search(label: &str, scope: Scope, broken: Option<Break>) -> Explored<Sight> {
    let begun = Instant::now();
    let explored = explore(&Committee { scope, law: Law { broken } }, 5_000_000);
    let Explored { states, depth, .. } = &explored;
    println!("{label}: {states} states, {depth} steps deep, {:.1?}", begun.elapsed());
    explored
}

#[test]
fn probe() {
    for (label, scope) in [
        ("012 v1", fixed(&[0, 1, 2], 1)),
        ("01 v2", fixed(&[0, 1], 2)),
        ("01 v3", fixed(&[0, 1], 3)),
        ("growth 01 v1", Scope { founders: A, target: Some(ABC), ballots: &[0, 1], versions: 1 }),
        ("shrink 20 v1", Scope { founders: ABC, target: Some(C), ballots: &[2, 0], versions: 1 }),
        ("growth 010 v1", Scope { founders: A, target: Some(ABC), ballots: &[0, 1, 0], versions: 1 }),
        ("010 v2", fixed(&[0, 1, 0], 2)),
        ("012 v2", fixed(&[0, 1, 2], 2)),
    ] {
        let found = search(label, scope, None);
        println!("{:?}", found.sights);
        if let Some(c) = found.counterexample {
            println!("{c}");
        }
    }
    let _ = ABD;
}
