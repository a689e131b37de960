//! The test of the tests: each deliberate break of the protocol is noticed within a stated number
//! of seeds, and the unbroken protocol passes the very same runs.
//!
//! `MUTANTS_FULL=200 cargo test -p cyxwiz-sim --features mutants --test mutants --release --
//! --nocapture` counts for the first 200 seeds of each scenario how many notice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use cyxwiz_protocol::mutant::Mutant;
use cyxwiz_sim::{Scenario, Violation, simulate};

/// Which scenario notices which break, and within how many seeds.
const CASES: [(Mutant, &str, u64); 30] = [
    (Mutant::AnswerBeforeMajority, "takeover", 5),
    (Mutant::CountBeforeMajority, "takeover", 5),
    (Mutant::NoteCancelBeforeMajority, "takeover", 5),
    (Mutant::OneDiskIsEnough, "takeover", 5),
    (Mutant::AcknowledgeBeforeFlush, "takeover", 5),
    (Mutant::AcknowledgeWithoutDisk, "takeover", 5),
    (Mutant::PromiseInMemory, "takeover", 5),
    (Mutant::FollowLowerBallots, "upheaval", 10),
    (Mutant::OverwriteNewer, "upheaval", 20),
    (Mutant::VersionsBeforeBallots, "upheaval", 40),
    (Mutant::ForgetWhatOthersHold, "takeover", 50),
    (Mutant::FoundIsChosen, "upheaval", 50),
    (Mutant::KeepOldBallot, "seesaw", 40),
    (Mutant::ForgetCancelAtTakeover, "takeover", 50),
    (Mutant::ForgetTooEarly, "recall", 10),
    (Mutant::KeepOldSeating, "stragglers", 20),
    (Mutant::LeaveJointWithoutCopies, "reconfiguration", 20),
    (Mutant::LeaveJointEarly, "reconfiguration", 50),
    (Mutant::MajorityOfUnion, "reconfiguration", 100),
    (Mutant::WithoutJoint, "reconfiguration", 20),
    (Mutant::NewDiskOldName, "reconfiguration", 20),
    (Mutant::AnybodySettles, "dishonest", 50),
    (Mutant::SettleTwice, "churn", 50),
    (Mutant::ReuseAttempt, "churn", 20),
    (Mutant::IgnoreLostLease, "outlived", 20),
    (Mutant::NoteOrderBeforeMajority, "interrupted", 5),
    (Mutant::ForgetOrdersAtTakeover, "interrupted", 5),
    (Mutant::QueueSilentPaused, "interrupted", 40),
    (Mutant::ObeyOldOrders, "interrupted", 5),
    (Mutant::PausedBeforeDead, "interrupted", 5),
];

/// What one break came to in one scenario.
#[derive(Default)]
struct Row {
    runs: u64,
    caught: u64,
    first: Option<u64>,
    by: BTreeMap<&'static str, u64>,
}

fn run(name: &str, seed: u64, mutant: Option<Mutant>) -> Result<(), Violation> {
    let scenario = Scenario::named(name).expect("a scenario of the table");
    let mut plan = scenario.plan(seed).expect("it was checked when it was made");
    plan.mutant = mutant;
    simulate(&scenario, seed, plan).map(drop)
}

/// Tries seeds until one notices; all of `full` seeds when the whole table is wanted.
fn hunt(mutant: Mutant, scenario: &str, within: u64, full: Option<u64>) -> Row {
    let mut row = Row::default();
    for seed in 0..full.unwrap_or(within) {
        row.runs += 1;
        if let Err(violation) = run(scenario, seed, Some(mutant)) {
            row.caught += 1;
            row.first.get_or_insert(seed);
            *row.by.entry(violation.invariant).or_default() += 1;
            if full.is_none() {
                break;
            }
        }
    }
    row
}

/// Does `work` for each place of a list of `length`, on every core.
fn everywhere<T: Send>(length: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= length {
                        break;
                    }
                    let one = work(place);
                    done.lock().expect("no thread panics with it").push((place, one));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread panics with it");
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, one)| one).collect()
}

#[test]
fn every_break_is_in_the_table() {
    let in_table: BTreeSet<Mutant> = CASES.iter().map(|(mutant, ..)| *mutant).collect();
    assert_eq!(in_table, BTreeSet::from(Mutant::ALL));
}

#[test]
fn each_break_is_caught_and_nothing_else_is() {
    let full = std::env::var("MUTANTS_FULL").ok().and_then(|seeds| seeds.parse().ok());
    let rows = everywhere(CASES.len(), |place| {
        let (mutant, scenario, within) = CASES[place];
        hunt(mutant, scenario, within, full)
    });
    println!("{:<28}{:<18}{:>6}{:>12}  by", "break", "scenario", "first", "caught");
    let mut missed = Vec::new();
    let mut seeds: BTreeMap<&str, u64> = BTreeMap::new();
    for ((mutant, scenario, within), row) in CASES.iter().zip(&rows) {
        let first = row.first.map_or_else(|| "never".to_owned(), |seed| seed.to_string());
        let caught = format!("{} of {}", row.caught, row.runs);
        let by: Vec<_> = row.by.iter().map(|(name, times)| format!("{name} ({times})")).collect();
        println!("{:<28}{scenario:<18}{first:>6}{caught:>12}  {}", mutant.name(), by.join("; "));
        if row.first.is_none_or(|seed| seed >= *within) {
            missed.push(format!("{} in {within} seeds of {scenario}", mutant.name()));
        }
        let most = seeds.entry(*scenario).or_default();
        *most = (*most).max(row.first.map_or(row.runs, |seed| seed + 1));
    }
    let whole: Vec<_> = seeds
        .iter()
        .flat_map(|(name, most)| (0..full.unwrap_or(*most)).map(move |seed| (*name, seed)))
        .collect();
    let broken: Vec<_> = everywhere(whole.len(), |place| {
        let (name, seed) = whole[place];
        run(name, seed, None).err().map(|violation| format!("{name} seed {seed}: {violation}"))
    });
    let broken: Vec<_> = broken.into_iter().flatten().collect();
    println!("unbroken: {} runs, {} violations", whole.len(), broken.len());
    assert!(broken.is_empty(), "without any break: {broken:#?}");
    assert!(missed.is_empty(), "not noticed: {missed:#?}");
}
