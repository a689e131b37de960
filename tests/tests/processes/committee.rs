//! The job outlives its coordinator: what is promised while members of the committee are killed,
//! held, cut short of their disks, and started again.

use std::{
    fs,
    time::{Duration, Instant},
};

use cyxwiz_tests::{Committee, Held, Job, Network, Node, SOON, Stop, eventually, trainers_of};
use serde_json::Value;

use crate::promises::{
    LASTING, RECOVERED, attempts, awaits_result, has_everything_home, nothing_trains, says_the_same,
};

/// A worker that runs one job at a time, so that others wait.
const ONE_AT_A_TIME: [&str; 6] = ["--memory-mb", "2048", "--threads", "1", "--max-concurrent", "1"];
/// Epochs after which a worker is killed that writes a checkpoint every hundred.
const ENOUGH: u64 = 1_000;
/// Where the next attempt is at least: no more than the newest few checkpoints are under way.
const GONE_ON: u64 = 300;

#[test]
fn a_killed_leader_is_followed_by_another_and_no_job_notices() {
    let (network, mut committee, laptop) = Network::with_committee("takeover", 3);
    let workers = ["one", "two"].map(|name| network.worker(name, &ONE_AT_A_TIME));
    laptop.awaits_workers(2);
    let cli = laptop.cli();
    let running = ["r-1", "r-2"].map(|name| Job::short(name).epochs(LASTING).submit(&cli));
    for job in &running {
        laptop.awaits_training(job);
    }
    let trainers = workers.each_ref().map(|worker| Held::trainers_of(&worker.data_dir));
    let queued = ["q-1", "q-2", "q-3"].map(|name| Job::short(name).submit(&cli));
    let before = committee.leader();
    committee.kill(before.index);
    let after = committee.leader_after(before);
    assert_ne!(after.index, before.index);
    for (worker, held) in workers.iter().zip(&trainers) {
        assert_eq!(trainers_of(&worker.data_dir), held.pids(), "nothing was started anew");
    }
    drop(trainers);

    let jobs: Vec<Value> =
        running.iter().chain(&queued).map(|job| awaits_result(&laptop, job)).collect();
    for job in &jobs {
        assert_eq!(attempts(job), 1, "no worker was lost: {job:#}");
    }
    committee.start_again(before.index);
    committee.leader();
    for index in 0..3 {
        for job in &jobs {
            says_the_same(committee.node(index), job);
        }
    }
    has_everything_home(&laptop);
    nothing_trains(&workers);
}

#[test]
fn a_killed_follower_is_not_missed_and_follows_again() {
    let (network, mut committee, laptop) = Network::with_committee("follower", 3);
    let worker = network.worker("worker", &ONE_AT_A_TIME);
    laptop.awaits_workers(1);
    let leader = committee.leader();
    let follower = (leader.index + 1) % 3;
    the_office_is_told(&committee_views(&committee, 3), &committee.node(leader.index).peer);
    tells(committee.node(leader.index), "3 of 3 members answer: 1 more may be lost");
    let running = Job::short("running").epochs(LASTING).submit(&laptop.cli());
    laptop.awaits_training(&running);
    committee.kill(follower);
    let meanwhile = Job::short("meanwhile").submit(&laptop.cli());
    tells(committee.node(leader.index), "2 of 3 members answer: one more loss stops");
    let jobs = [running, meanwhile].map(|job| awaits_result(&laptop, &job));
    assert_eq!(committee.leader(), leader, "nobody had a reason to elect");
    committee.start_again(follower);
    committee.leader();
    for job in &jobs {
        assert_eq!(attempts(job), 1, "{job:#}");
        says_the_same(committee.node(follower), job);
    }
    nothing_trains([&worker]);
}

#[test]
fn without_a_majority_nothing_is_accepted_and_nothing_is_lost() {
    let (network, mut committee, laptop) = Network::with_committee("minority", 3);
    let worker = network.worker("worker", &ONE_AT_A_TIME);
    laptop.awaits_workers(1);
    let cli = laptop.cli();
    let running = Job::short("running").epochs(LASTING).submit(&cli);
    let queued = Job::short("queued").submit(&cli);
    laptop.awaits_training(&running);
    let leader = committee.leader();
    // The leader stays, and has nobody to agree with.
    let gone = [(leader.index + 1) % 3, (leader.index + 2) % 3];
    for follower in gone {
        committee.kill(follower);
    }
    eventually(SOON, "the last one to stand down", || {
        let status = committee.node(leader.index).cli().try_json(&["node", "status"])?;
        let leading = status["coordinator"]["leading"] == true;
        if leading { Err(status["coordinator"].to_string()) } else { Ok(()) }
    });
    tells(committee.node(leader.index), "a majority is missing");
    let refused = Job::short("refused").submit_with(&cli, &["--id-only"]);
    let refused = refused.exits(3).says(&["is kept by this node", "node status"]);
    assert_eq!(refused.stdout, "", "{}", refused.told());
    for follower in gone {
        committee.start_again(follower);
    }
    committee.leader();
    let all = [running, queued, awaits_job_called(&laptop, "refused")];
    let jobs = all.map(|job| awaits_result(&laptop, &job));
    for job in &jobs[1..] {
        assert_eq!(attempts(job), 1, "{job:#}");
    }
    has_everything_home(&laptop);
    nothing_trains([&worker]);
}

#[test]
fn a_held_leader_is_replaced_and_does_not_act_when_it_goes_on() {
    let (network, mut committee, laptop) = Network::with_committee("held", 3);
    let workers = ["one", "two"].map(|name| network.worker(name, &ONE_AT_A_TIME));
    laptop.awaits_workers(2);
    let cli = laptop.cli();
    let running = Job::short("running").epochs(LASTING).submit(&cli);
    laptop.awaits_training(&running);
    let queued = Job::short("queued").submit(&cli);
    let before = committee.leader();
    let held = Instant::now();
    committee.pause(before.index);
    let after = committee.leader_after(before);
    assert_ne!(after.index, before.index);
    let meanwhile = Job::short("meanwhile").submit(&cli);
    let done = awaits_result(&laptop, &meanwhile);
    eventually(SOON, "6 s to pass", || {
        let since = held.elapsed();
        if since >= Duration::from_secs(6) { Ok(()) } else { Err(format!("{since:?}")) }
    });
    committee.resume(before.index);
    // At once: what it tells it has from the one that leads now, or it tells nothing.
    let old = committee.node(before.index).cli();
    if let Ok(told) = old.try_json(&["job", "status", &meanwhile]) {
        assert_eq!(told["result"], done["result"], "{told:#}");
    }
    // Through the old leader's own node it is the new one that accepts.
    let through = Job::short("through").submit(&old);
    let now = committee.leader();
    assert!(now.term >= after.term, "{now:?} after {after:?}");
    let status = committee.node(before.index).cli().json(&["node", "status"]);
    assert_eq!(status["committee"]["leader"], committee.node(now.index).peer.as_str());
    for job in [&running, &queued, &meanwhile, &through] {
        let job = awaits_result(&laptop, job);
        assert_eq!(attempts(&job), 1, "{job:#}");
        (0..3).for_each(|index| says_the_same(committee.node(index), &job));
    }
    nothing_trains(&workers);
}

#[test]
fn a_member_without_its_disk_is_another_one_and_is_admitted_again() {
    let (network, mut committee, laptop) = Network::with_committee("diskless", 3);
    let _worker = network.worker("worker", &ONE_AT_A_TIME);
    laptop.awaits_workers(1);
    let mut jobs = vec![awaits_result(&laptop, &Job::short("first").submit(&laptop.cli()))];
    // A follower, then whoever leads.
    for (name, away) in [("second", 1), ("third", 0)] {
        let leader = committee.leader();
        let index = (leader.index + away) % 3;
        let epoch = epoch_at(committee.node(leader.index));
        committee.kill(index);
        fs::remove_dir_all(committee.node(index).data_dir.join("store")).expect("it is ours");
        committee.start_again(index);
        let job = Job::short(name).submit(&laptop.cli());
        eventually(SOON, "another committee", || {
            let now = epoch_at(committee.node(committee.leader().index));
            if now >= epoch + 2 { Ok(()) } else { Err(format!("epoch {now}")) }
        });
        committee.awaits_members();
        jobs.push(awaits_result(&laptop, &job));
        for job in &jobs {
            says_the_same(committee.node(index), job);
        }
    }
}

#[test]
fn who_knows_a_dead_leader_alone_finds_the_living() {
    let (network, mut committee, laptop) = Network::with_committee("stale", 3);
    let _worker = network.worker("worker", &ONE_AT_A_TIME);
    laptop.awaits_workers(1);
    let leader = committee.leader();
    let invite_of = |index: usize| {
        let status = committee.node(index).cli().json(&["node", "status"]);
        status["invite"].as_str().expect("text").to_owned()
    };
    let address_of = |invite: &str| invite.split_once('@').expect("an address").1.to_owned();
    let (dead, living) = (invite_of(leader.index), invite_of((leader.index + 1) % 3));
    let both = format!("{dead},{}", address_of(&living));
    // It joined through the leader once, and was away when that died.
    let mut known = network.start("known", &["--join", &dead]);
    eventually(SOON, "acquaintances", || {
        let status = known.cli().try_json(&["node", "status"])?;
        let enough = status["connected"].as_u64() >= Some(3);
        if enough { Ok(()) } else { Err(status["connected"].to_string()) }
    });
    known.stop(Stop::Terminate);
    committee.kill(leader.index);
    known.start_again();
    let stranger = network.start("stranger", &["--join", &both]);
    for node in [&known, &stranger] {
        let job = Job::short(&node.name).submit(&node.cli());
        awaits_result(node, &job);
        has_everything_home(node);
    }
}

#[test]
fn the_next_worker_goes_on_from_the_checkpoint_of_a_killed_one() {
    let (network, mut committee, laptop) = Network::with_committee("checkpoint", 3);
    let mut workers = ["one", "two"].map(|name| network.worker(name, &ONE_AT_A_TIME));
    laptop.awaits_workers(2);
    let job = Job::short("saved").epochs(6_000).trains("checkpoint_every_epochs = 100");
    let job = job.trains("checkpoint_min_seconds = 0").submit(&laptop.cli());
    let epoch_of = |attempt: u64| {
        eventually(RECOVERED, &format!("attempt {attempt} to tell how far it is"), || {
            let job = laptop.cli().try_json(&["job", "status", &job])?;
            let newest = &job["attempts"][attempts(&job).saturating_sub(1)];
            let epoch = job["progress"]["epoch"].as_u64().filter(|epoch| *epoch >= ENOUGH);
            let here = newest["attempt"] == attempt && job["state"] == "running";
            epoch.filter(|_| here).ok_or(job.to_string())
        })
    };
    epoch_of(1);
    // What the worker leaves is the committee's, not one leader's.
    let leader = committee.leader();
    committee.kill(leader.index);
    committee.leader_after(leader);
    // The next leader has heard of the attempt, and gives it no more grace.
    epoch_of(1);
    let first = laptop.cli().job(&job)["attempts"][0]["worker"].clone();
    let victim = workers.iter_mut().find(|worker| worker.peer == first).expect("one of the two");
    victim.stop(Stop::Kill);
    let events = laptop.cli().start(&["job", "watch", &job, "--output", "jsonl"], "");
    let done = awaits_result(&laptop, &job);
    assert_eq!(attempts(&done), 2, "{done:#}");
    assert_ne!(done["result"]["worker"], first, "{done:#}");
    let events = events.wait(SOON).succeeds().json_lines();
    let second = |event: &&Value| event["event"] == "report" && event["attempt"] == 2;
    let epochs = events.iter().filter(second).map(|it| it["progress"]["epoch"].as_u64());
    let lowest = epochs.min().flatten();
    assert!(lowest >= Some(GONE_ON), "the second attempt began at epoch {lowest:?}");
}

#[test]
fn a_result_comes_home_to_a_submitter_that_was_killed() {
    let (network, _committee, mut laptop) = Network::with_committee("home", 3);
    let _worker = network.worker("worker", &ONE_AT_A_TIME);
    laptop.awaits_workers(1);
    let job = Job::short("away").epochs(LASTING).submit(&laptop.cli());
    laptop.stop(Stop::Kill);
    laptop.start_again();
    let done = awaits_result(&laptop, &job);
    assert_eq!(attempts(&done), 1, "{done:#}");
    has_everything_home(&laptop);
    let out = network.folder().join("home");
    laptop.cli().run(&["job", "results", &job, "--out", &out.to_string_lossy()]).succeeds();
    assert!(out.join("model.safetensors").is_file());
}

/// One of them leads and the others follow; each says which, to scripts and to people.
fn the_office_is_told(views: &[(Value, String)], leader: &str) {
    for (view, text) in views {
        let leads = view["peer"] == leader;
        assert_eq!(view["coordinator"]["leading"], leads, "{view:#}");
        assert_eq!(view["committee"]["leader"], leader, "{view:#}");
        let office = if leads { "leader" } else { "follower" };
        assert_eq!(view["coordinator"]["seat"]["office"], office, "{view:#}");
        let office = if leads { "coordinator, leading" } else { "coordinator, following" };
        assert!(text.contains(office) && text.contains("(leader)"), "{text}");
    }
}

/// Waits until `node status` says this to people.
#[track_caller]
fn tells(node: &Node, words: &str) {
    eventually(SOON, words, || {
        let text = node.cli().run(&["node", "status"]).stdout;
        if text.contains(words) { Ok(()) } else { Err(text) }
    });
}

fn committee_views(committee: &Committee, count: usize) -> Vec<(Value, String)> {
    let view = |index| {
        let cli = committee.node(index).cli();
        let text = cli.run(&["node", "status"]).succeeds().stdout;
        (cli.json(&["node", "status"]), text)
    };
    (0..count).map(view).collect()
}

fn epoch_at(node: &Node) -> u64 {
    node.cli().json(&["node", "status"])["committee"]["epoch"].as_u64().expect("a number")
}

/// Waits until the committee has the job of this name, and returns its id.
#[track_caller]
fn awaits_job_called(node: &Node, name: &str) -> String {
    eventually(SOON, &format!("the job {name}"), || {
        let jobs = node.cli().try_json(&["job", "list"])?;
        let named = jobs.as_array().into_iter().flatten().find(|job| job["name"] == name);
        named.and_then(|job| job["job"].as_str().map(str::to_owned)).ok_or(jobs.to_string())
    })
}
