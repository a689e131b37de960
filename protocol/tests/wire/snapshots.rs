//! Bytes as they were when they were last meant to change. A change here breaks networks and
//! stores: raise the protocol's version, then make the files anew with `UPDATE_SNAPSHOTS=1`.

use std::{collections::BTreeSet, fs, path::PathBuf};

use cyxwiz_protocol::{
    Key, RequestId, TaskEvent, Timer,
    message::{
        Message,
        auction::{Auction, Award},
        decode_gossip, decode_message, encode_gossip, encode_message,
        run::RunStep,
        submission::Submission,
    },
    report::{Ending, FailureClass},
};

use super::samples;
use crate::harness::{Bench, Role, Who, job, network_id, run};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots")
}

/// Compares with the file called `name`, or makes it.
fn snapshot(name: &str, bytes: &[u8]) {
    let path = directory().join(format!("{name}.hex"));
    let text: String = hex::encode(bytes)
        .as_bytes()
        .chunks(96)
        .map(|line| format!("{}\n", std::str::from_utf8(line).expect("hex is ASCII")))
        .collect();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &text).expect("the snapshot can be written");
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, known, "{name} is another: see the head of this file");
}

#[test]
fn frames_are_as_they_were() {
    for (name, frame) in samples::frames() {
        snapshot(name, &frame);
    }
}

#[test]
fn every_file_has_its_sample() {
    let mut names: BTreeSet<String> =
        samples::frames().into_iter().map(|(name, _)| name.to_owned()).collect();
    names.extend(records().into_iter().map(|(name, _)| name));
    for entry in fs::read_dir(directory()).expect("the snapshots are here") {
        let file = entry.expect("readable").file_name().into_string().expect("plain name");
        let name = file.strip_suffix(".hex").unwrap_or(&file);
        assert!(names.contains(name), "{file} is of nothing");
    }
}

#[test]
fn frames_read_back() {
    for (name, message) in samples::messages() {
        let bytes = encode_message(network_id(), &message);
        let read = decode_message(network_id(), &bytes).expect(name);
        assert_eq!(read, message, "{name}");
        assert_eq!(encode_message(network_id(), &read), bytes, "{name}");
        assert!(super::believed(name, &bytes).is_some(), "{name}");
    }
    for (name, gossip) in samples::gossip() {
        let bytes = encode_gossip(network_id(), &gossip);
        let read = decode_gossip(network_id(), &bytes).expect(name);
        assert_eq!(read, gossip, "{name}");
        assert!(super::believed(name, &bytes).is_some(), "{name}");
    }
}

/// What peers of each role keep, by name.
fn records() -> Vec<(String, Vec<u8>)> {
    let (coordinator, submitter) = (Who::Coordinator, Who::Submitter);
    let mut leader = Bench::leading();
    let offer = cyxwiz_protocol::message::membership::Membership::Offer(samples::offer(0));
    leader.from(Who::Worker(1), &Message::Membership(offer));
    let submit = Submission::Submit { request: RequestId(1), spec: samples::job_spec() };
    leader.from(submitter, &Message::Submission(submit));
    leader.task(TaskEvent::Inspected { job: job(1), result: Ok(()) });
    leader.flush();
    leader.wait_for(Timer::Announce);
    let ballot = cyxwiz_protocol::Ballot { term: 1, leader: coordinator.id() };
    let mut bids = samples::bids(1);
    (bids.ballot, bids.round) = (ballot, 1);
    let bids = samples::signed(Who::Worker(1), bids);
    leader.from(Who::Worker(1), &Message::Auction(Auction::Bids(bids)));
    leader.flush();
    let class = FailureClass::OutOfMemory;
    let broke = Ending::Failed { class, message: "it broke".to_owned() };
    let receipt = samples::signed(Who::Worker(1), samples::receipt(broke));
    leader.from(Who::Worker(1), &Message::Run(RunStep::Receipt(receipt)));
    leader.flush();
    // The worker is rated when its failure is certain, in a batch of its own.
    leader.flush();

    let mut worker = Bench::joined(Who::Worker(1), Role::Worker(1));
    let award = samples::signed(coordinator, Award { ballot, ..samples::award() });
    let award = Auction::Award { award, spec: samples::job_spec() };
    worker.from(coordinator, &Message::Auction(award));
    worker.task(TaskEvent::Ended { run: run(1, 1), ending: Ending::Cancelled, compute_ms: 1 });
    worker.flush();

    let mut outbox = Bench::joined(submitter, Role::Submitter);
    let spec = Box::new(crate::harness::spec(1));
    outbox.command(cyxwiz_protocol::Command::Submit(spec));
    outbox.flush();

    let disks = [leader.disk, worker.disk, outbox.disk];
    let named = disks.into_iter().flatten().map(|(key, value)| {
        let name = match Key::from_bytes(&key).expect("a key of this crate") {
            Key::Seat => "seat",
            Key::Register(_) => "register",
            Key::Spec(_) => "spec",
            Key::Decision(_) => "decision",
            Key::Reputation(_) => "reputation",
            Key::Run(_) => "run",
            Key::Outbox(_) => "outbox",
        };
        let key_and_value = [key, value].concat();
        (format!("record_{name}"), key_and_value)
    });
    named.collect()
}

#[test]
fn records_are_as_they_were() {
    let records = records();
    let names: BTreeSet<_> = records.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), 7, "one of each: {names:?}");
    for (name, bytes) in &records {
        snapshot(name, bytes);
    }
}
