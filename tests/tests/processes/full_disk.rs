//! A coordinator without room on its disk: no new jobs, in words, and nothing lost of the old.

use cyxwiz_tests::{Committee, Job, Network, SOON, SmallDisk, eventually};

use crate::promises::{LASTING, attempts, awaits_result, has_everything_home};

/// In mebibytes: a coordinator keeps 256 free.
const DISK: u32 = 420;
const BALLAST: usize = 180;

#[test]
fn a_leader_with_a_full_disk_refuses_in_words_and_accepts_again_when_there_is_room() {
    let network = Network::new("full");
    let disk = match SmallDisk::new(&network.folder().join("small").join("store"), DISK) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("SKIPPED: no small disk on this machine: {why}"),
    };
    let invite = ["--coordinator", "--join", &network.coordinator_invite];
    let small = network.start_at(disk.place(), "small", &invite);
    small.awaits_coordinator();
    let others = ["second", "third"].map(|name| network.start(name, &invite));
    let committee = Committee::new([small].into_iter().chain(others).collect());
    assert_eq!(committee.leader().index, 0, "the founder leads");
    let small = committee.node(0);
    let _worker = network.worker("worker", &["--memory-mb", "2048", "--threads", "1"]);
    let laptop = network.node("laptop", &[]);
    laptop.awaits_workers(1);
    let cli = laptop.cli();
    let running = Job::short("running").epochs(LASTING).submit(&cli);
    laptop.awaits_training(&running);

    disk.fill(small, BALLAST);
    let awaits_log = |words: &str| {
        eventually(SOON, words, || {
            let log = small.log();
            if log.contains(words) { Ok(()) } else { Err(log) }
        });
    };
    awaits_log("the disk is nearly full");
    let refused = Job::short("refused").submit_with(&cli, &["--id-only"]);
    let refused = refused.exits(1).says(&["disk is full"]);
    assert_eq!(refused.stdout, "", "{}", refused.told());
    let running = awaits_result(&laptop, &running);
    assert_eq!(attempts(&running), 1, "{running:#}");

    disk.clear(small);
    awaits_log("the disk has room again");
    awaits_result(&laptop, &Job::short("again").submit(&cli));
    has_everything_home(&laptop);
}
