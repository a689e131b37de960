//! A coordinator's disk stands still for a while: what needs no disk goes on, nothing is said to be
//! safe that is not, and whoever waits hears what for and gets it once.

use cyxwiz_tests::{Job, Network, Node, SOON, StuckDisk, TRAINED, eventually};

#[test]
fn a_coordinator_whose_disk_stands_still_answers_and_keeps_people_waiting_who_need_it() {
    let network = Network::new("slow-disk");
    let disk = match StuckDisk::new(&network.folder().join("coordinator")) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("SKIPPED: no disk can stand still here: {why}"),
    };
    let invite = ["--coordinator", "--join", &network.coordinator_invite];
    let _coordinator = network.start_at(disk.place(), "coordinator", &invite);
    let laptop = network.node("laptop", &[]);
    laptop.awaits_coordinator();
    let options = ["--memory-mb", "2048", "--threads", "1"];
    let _one = network.worker("one", &options);
    laptop.awaits_workers(1);
    let cli = laptop.cli();

    disk.hold();
    let submitting = Job::endless("patient").start_submit(&cli, &["--id-only"]);
    // Whoever is new is met, which the coordinator notes down when it can.
    let _two = network.worker("two", &options);
    laptop.awaits_workers(2);
    submitting.awaits_words("still waiting");
    assert_eq!(cli.json(&["job", "list", "--all"]), serde_json::json!([]));
    assert_eq!(unaccepted(&laptop), 1);
    disk.release();
    let outcome = submitting.wait(TRAINED).succeeds();
    let job = outcome.stdout.trim();
    laptop.awaits_training(job);

    disk.hold();
    let cancelling = cli.start(&["job", "cancel", job], "");
    cancelling.awaits_words("still waiting");
    assert_eq!(cli.job(job)["state"], "running");
    disk.release();
    cancelling.wait(TRAINED).succeeds();
    laptop.awaits(job, "cancelled");

    let jobs = cli.json(&["job", "list", "--all"]);
    assert_eq!(jobs.as_array().map(Vec::len), Some(1), "{jobs:#}");
    eventually(SOON, "nothing to be handed in", || {
        let left = unaccepted(&laptop);
        if left == 0 { Ok(()) } else { Err(left) }
    });
}

fn unaccepted(node: &Node) -> u64 {
    let status = node.cli().json(&["node", "status"]);
    status["submitter"]["unaccepted"].as_u64().expect("a number")
}
