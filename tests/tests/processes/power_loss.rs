//! The power fails everywhere at once, and each disk keeps what was synced and nothing else: every
//! job that was accepted is there when the power is back.

use std::{thread, time::Duration};

use cyxwiz_tests::{Chance, Committee, Job, Mains, Network};

use crate::promises::{awaits_result, has_everything_home, says_the_same};

const CUTS: u64 = 4;
/// The longest that the committee works between two cuts, in milliseconds.
const BETWEEN_MS: u64 = 1_500;

#[test]
fn what_was_accepted_outlives_a_power_cut_of_the_whole_committee() {
    let mut chance = Chance::new("power loss");
    let network = Network::new("power");
    let seats = ["seat-0", "seat-1", "seat-2"];
    let mains = seats.map(|name| Mains::new(&network.folder().join(name)));
    let [Ok(a), Ok(b), Ok(c)] = &mains else {
        return eprintln!("SKIPPED: no power cuts on this machine: {mains:?}");
    };
    let mains = [a, b, c];
    let invite = ["--coordinator", "--join", &network.coordinator_invite];
    let nodes = seats.iter().zip(mains);
    let nodes = nodes.map(|(name, mains)| network.start_at(mains.place(), name, &invite));
    let mut committee = Committee::new(nodes.collect());
    let _worker = network.worker("worker", &["--memory-mb", "4096", "--max-concurrent", "4"]);
    let laptop = network.node("laptop", &[]);
    laptop.awaits_workers(1);
    let mut jobs = Vec::new();
    for cut in 0..CUTS {
        for number in 0..3 {
            let job = Job::short(&format!("job-{cut}-{number}")).limit("attempts = 16");
            jobs.push(job.submit(&laptop.cli()));
        }
        thread::sleep(Duration::from_millis(chance.below(BETWEEN_MS)));
        committee.kill_all(&[0, 1, 2]);
        for mains in mains {
            mains.lose();
        }
        (0..3).for_each(|index| committee.start_again(index));
        committee.leader();
    }
    for job in &jobs {
        let job = awaits_result(&laptop, job);
        (0..3).for_each(|index| says_the_same(committee.node(index), &job));
    }
    has_everything_home(&laptop);
}
