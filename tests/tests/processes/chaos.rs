//! Every part of a network is killed at every step of a job's life, as a seed says: rounds of one
//! job and one fault each, on one network that lives on.
//!
//! A failing round names itself; `CYXWIZ_TESTS_SEED` and `CYXWIZ_TESTS_ROUND` have it again alone.
//! The soak takes `CYXWIZ_TESTS_ROUNDS` of them:
//! `cargo test -p cyxwiz-tests --test processes -- --ignored --nocapture soak`.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use cyxwiz_tests::{
    Chance, Command, Committee, Job, Network, Node, SOON, Stop, TRAINED, eventually, trainers_of,
};
use serde_json::Value;

use crate::promises::{
    attempts, awaits_result, has_everything_home, nothing_trains, says_the_same,
};

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Leader,
    Follower,
    Worker,
    Submitter,
    /// All members in one moment.
    Committee,
    LeaderAndWorker,
}

/// How far the job has come by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// It is being handed in.
    Submission,
    Acceptance,
    Award,
    Training,
    /// The training is over, and its receipt under way.
    Receipt,
}

const VICTIMS: [Victim; 6] = [
    Victim::Leader,
    Victim::Follower,
    Victim::Worker,
    Victim::Submitter,
    Victim::Committee,
    Victim::LeaderAndWorker,
];

const MOMENTS: [Moment; 5] =
    [Moment::Submission, Moment::Acceptance, Moment::Award, Moment::Training, Moment::Receipt];

const SEATS: usize = 3;
/// Rounds after which everyone is asked for every job of them.
const CHAPTER: u64 = 15;
/// The longest that a submission is under way before the fault, in milliseconds.
const SUBMISSION_MS: u64 = 250;
/// The longest that a receipt is under way before the fault, in milliseconds.
const RECEIPT_MS: u64 = 80;
/// The longest that a victim is away, in milliseconds: some come back before they are missed.
const AWAY_MS: u64 = 2_500;

#[test]
fn whoever_is_killed_whenever_every_job_is_done_and_counted_once() {
    run("chaos", 10);
}

#[test]
#[ignore = "takes an hour; see the text of this file"]
fn soak() {
    run("soak", number_from("CYXWIZ_TESTS_ROUNDS").unwrap_or(500));
}

fn run(name: &str, rounds: u64) {
    let chance = Chance::new(name);
    let mut stage = Stage::new(name);
    let only = number_from("CYXWIZ_TESTS_ROUND");
    let mut faults: BTreeMap<(Victim, Moment), u32> = BTreeMap::new();
    for number in only.unwrap_or(0)..only.map_or(rounds, |only| only + 1) {
        let (victim, moment) = fault_of(&chance, number);
        *faults.entry((victim, moment)).or_default() += 1;
        let start = Instant::now();
        eprintln!("{name}, round {number}: {victim:?} at {moment:?}");
        stage.round(number, victim, moment, &mut chance.part(number));
        eprintln!("{name}, round {number}: done in {:?}", start.elapsed());
        if number % CHAPTER == CHAPTER - 1 {
            stage.close_chapter();
        }
    }
    stage.close_chapter();
    eprintln!("{name}: {faults:?}; {:?}", stage.tally);
}

/// Each victim has its turn, and in as many turns as there are moments each moment.
fn fault_of(chance: &Chance, round: u64) -> (Victim, Moment) {
    let of = |several: u64| (round / several, usize::try_from(round % several).expect("small"));
    let (cycle, turn) = of(VICTIMS.len() as u64);
    let mut victims = VICTIMS;
    chance.part(cycle ^ (1 << 40)).shuffle(&mut victims);
    let (cycle, step) = of(MOMENTS.len() as u64);
    let mut moments = MOMENTS;
    chance.part(cycle ^ (1 << 41)).shuffle(&mut moments);
    (victims[turn], moments[step])
}

/// The network on which it happens.
struct Stage {
    committee: Committee,
    workers: Vec<Node>,
    laptop: Node,
    /// Is never hit.
    onlooker: Node,
    ended: Vec<Value>,
    tally: Tally,
    // Goes last: the others' data lie in its folder.
    network: Network,
}

#[derive(Debug, Default)]
struct Tally {
    completed: u32,
    /// Submissions that died with their node before anybody had said yes.
    never_accepted: u32,
    attempts: usize,
}

impl Stage {
    fn new(name: &str) -> Self {
        let (network, committee, laptop) = Network::with_committee(name, SEATS);
        let options = ["--memory-mb", "2048", "--threads", "1", "--max-concurrent", "2"];
        let workers = ["one", "two"].map(|name| network.worker(name, &options)).into();
        let onlooker = network.node("onlooker", &[]);
        onlooker.awaits_workers(2);
        let (ended, tally) = (Vec::new(), Tally::default());
        Self { committee, workers, laptop, onlooker, ended, tally, network }
    }

    fn round(&mut self, number: u64, victim: Victim, moment: Moment, chance: &mut Chance) {
        let leader = self.committee.leader();
        let name = format!("round-{number}");
        let job = Job::short(&name).epochs(2_000).seed(number).limit("attempts = 16");
        let job = job.trains("checkpoint_every_epochs = 200").trains("checkpoint_min_seconds = 0");
        let mut handing_in = Some(job.start_submit(&self.laptop.cli(), &["--id-only"]));
        let mut id = None;
        if moment == Moment::Submission {
            thread::sleep(Duration::from_millis(chance.below(SUBMISSION_MS)));
        } else {
            let outcome = handing_in.take().expect("it is there").wait(TRAINED).succeeds();
            id = Some(outcome.stdout.trim().to_owned());
        }
        let worker = self.reach(moment, id.as_deref(), chance);
        let follower = (leader.index + 1) % SEATS;
        let members: Vec<usize> = match victim {
            Victim::Leader | Victim::LeaderAndWorker => vec![leader.index],
            Victim::Follower => vec![follower],
            Victim::Committee => (0..SEATS).collect(),
            Victim::Worker | Victim::Submitter => Vec::new(),
        };
        let hits_worker = matches!(victim, Victim::Worker | Victim::LeaderAndWorker);
        self.committee.kill_all(&members);
        let mut others: Vec<&mut Node> = Vec::new();
        if hits_worker {
            others.push(&mut self.workers[worker]);
        }
        if victim == Victim::Submitter {
            others.push(&mut self.laptop);
        }
        for node in &mut others {
            node.stop(Stop::Kill);
        }
        thread::sleep(Duration::from_millis(chance.below(AWAY_MS)));
        for node in others {
            node.start_again();
        }
        for member in members {
            self.committee.start_again(member);
        }
        let id = id.or_else(|| self.id_of(&name, handing_in.take(), victim));
        let Some(id) = id else {
            self.tally.never_accepted += 1;
            return;
        };
        self.check(&id, hits_worker);
    }

    /// Waits until the job has come so far; returns the worker that has it, or any.
    fn reach(&self, moment: Moment, id: Option<&str>, chance: &mut Chance) -> usize {
        let any = usize::try_from(chance.below(self.workers.len() as u64)).expect("few");
        let (Some(id), Moment::Award | Moment::Training | Moment::Receipt) = (id, moment) else {
            return any;
        };
        let peer = eventually(SOON, "an award", || {
            let job = self.onlooker.cli().try_json(&["job", "status", id])?;
            let worker = job["attempts"][0]["worker"].as_str().map(str::to_owned);
            worker.ok_or(job.to_string())
        });
        let place = self.workers.iter().position(|worker| worker.peer == peer);
        let place = place.expect("it is one of the workers");
        let trains = |wanted: bool, what: &str| {
            eventually(SOON, what, || {
                let trains = !trainers_of(&self.workers[place].data_dir).is_empty();
                let job = self.onlooker.cli().try_json(&["job", "status", id])?;
                let ended = job["ended_at"].is_u64();
                if trains == wanted || ended { Ok(()) } else { Err(job.to_string()) }
            });
        };
        if moment != Moment::Award {
            trains(true, "its process");
        }
        if moment == Moment::Receipt {
            trains(false, "the end of its process");
            thread::sleep(Duration::from_millis(chance.below(RECEIPT_MS)));
        }
        place
    }

    /// The id of a job that was being handed in when the fault came, if it is kept anywhere.
    fn id_of(&self, name: &str, handing_in: Option<Command>, victim: Victim) -> Option<String> {
        let outcome = handing_in?.wait(TRAINED);
        if outcome.code == Some(0) {
            return Some(outcome.stdout.trim().to_owned());
        }
        let kept = outcome.stderr.split_once(" is kept by this node");
        if let Some((before, _)) = kept {
            return before.rsplit(' ').next().map(str::to_owned);
        }
        // The node that would have said more was killed.
        assert_eq!(victim, Victim::Submitter, "{}", outcome.told());
        has_everything_accepted(&self.laptop);
        let jobs = eventually(SOON, "the jobs", || self.onlooker.cli().try_json(&["job", "list"]));
        let named = jobs.as_array().into_iter().flatten().filter(|job| job["name"] == name);
        let ids: Vec<_> = named.filter_map(|job| job["job"].as_str()).collect();
        assert!(ids.len() <= 1, "one submission became {ids:?}");
        ids.first().map(|id| (*id).to_owned())
    }

    fn check(&mut self, id: &str, lost_worker: bool) {
        self.committee.leader();
        let job = awaits_result(&self.onlooker, id);
        if !lost_worker {
            assert_eq!(attempts(&job), 1, "its worker lived: {job:#}");
        }
        has_everything_home(&self.laptop);
        let out = self.network.folder().join(format!("results-{id}"));
        let out = out.to_string_lossy();
        self.laptop.cli().run(&["job", "results", id, "--out", &out]).succeeds();
        self.tally.completed += 1;
        self.tally.attempts += attempts(&job);
        self.ended.push(job);
    }

    /// Whatever was said of a job is said by all, and nothing is left over.
    fn close_chapter(&mut self) {
        self.committee.awaits_members();
        for job in self.ended.drain(..) {
            for index in 0..SEATS {
                says_the_same(self.committee.node(index), &job);
            }
        }
        nothing_trains(&self.workers);
    }
}

#[track_caller]
fn has_everything_accepted(node: &Node) {
    eventually(SOON, "an answer to what was handed in", || {
        let status = node.cli().try_json(&["node", "status"])?;
        let own = &status["submitter"];
        if own["unaccepted"] == 0 { Ok(()) } else { Err(own.to_string()) }
    });
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
