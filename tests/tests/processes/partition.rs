//! Cables that are pulled: whoever is cut off stands down, the majority goes on, and nothing is
//! decided twice.

use cyxwiz_tests::{Committee, Cut, Job, Lan, Network, SOON, eventually};

use crate::promises::{LASTING, attempts, awaits_result, nothing_trains, says_the_same};

#[test]
fn a_leader_that_is_cut_off_stands_down_and_follows_when_it_is_back() {
    let lan = match Lan::new(3) {
        Ok(lan) => lan,
        Err(why) => return eprintln!("SKIPPED: no network namespaces on this machine: {why}"),
    };
    let network = Network::at(&lan.middle(), "lan", 0);
    let seat = |index| {
        let invite = ["--coordinator", "--join", &network.coordinator_invite];
        network.start_at(&lan.host(index), &format!("seat-{index}"), &invite)
    };
    let committee = Committee::new((0..3).map(seat).collect());
    let options = ["--memory-mb", "2048", "--threads", "1", "--max-concurrent", "2"];
    let worker = network.worker("worker", &options);
    let laptop = network.node("laptop", &[]);
    laptop.awaits_workers(1);
    let mut jobs = Vec::new();
    for cut in [Cut::Both, Cut::Mute, Cut::Deaf] {
        let submit = |what| Job::short(&format!("{what}-{cut:?}")).submit(&laptop.cli());
        let before = committee.leader();
        let running = Job::short(&format!("running-{cut:?}")).epochs(LASTING);
        let running = running.submit(&laptop.cli());
        laptop.awaits_training(&running);
        lan.cut(before.index, cut);
        let rest: Vec<usize> = committee.up().filter(|index| *index != before.index).collect();
        let after = committee.leader_among_after(&rest, before);
        eventually(SOON, "the old leader to stand down", || {
            let status = committee.node(before.index).cli().try_json(&["node", "status"])?;
            let leading = status["coordinator"]["leading"] == true;
            if leading { Err(status["committee"].to_string()) } else { Ok(()) }
        });
        let meanwhile = submit("meanwhile");
        let meanwhile = awaits_result(&laptop, &meanwhile);
        lan.mend(before.index, cut);
        let now = committee.leader();
        assert!(now.term >= after.term, "{now:?} after {after:?}");
        let later = submit("later");
        jobs.extend([meanwhile, awaits_result(&laptop, &later), awaits_result(&laptop, &running)]);
    }
    committee.awaits_members();
    for job in &jobs {
        assert_eq!(attempts(job), 1, "its worker was never cut off: {job:#}");
        (0..3).for_each(|index| says_the_same(committee.node(index), job));
    }
    nothing_trains([&worker]);
}
