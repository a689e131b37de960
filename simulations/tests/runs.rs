//! Whole runs from outside: they repeat, they hold, and a broken promise is noticed.

use cyxwiz_sim::{Figures, Scenario, Violation, simulate};

fn run(name: &str, seed: u64, settings: &[&str]) -> Result<Figures, Violation> {
    let settings: Vec<_> = settings.iter().map(|&setting| setting.to_owned()).collect();
    let scenario = Scenario::named(name).expect("a scenario of the table");
    let scenario = scenario.with(&settings).expect("settings that can be simulated");
    let plan = scenario.plan(seed).expect("it was checked when it was made");
    simulate(&scenario, seed, plan)
}

fn holds(name: &str, seed: u64) -> Figures {
    run(name, seed, &[]).unwrap_or_else(|violation| {
        panic!("{violation}; again: cyxwiz-sim run {name} --seed {seed}")
    })
}

/// Every job that was accepted came to one of the three ends.
fn assert_all_ended(figures: &Figures) {
    let ended = figures.completed + figures.failed + figures.cancelled;
    assert_eq!(ended, figures.accepted, "{figures:?}");
}

#[test]
fn equal_seeds_give_equal_traces_and_other_seeds_others() {
    for name in ["smoke", "churn"] {
        let first = holds(name, 7);
        assert_eq!(first, holds(name, 7));
        assert_ne!(first.trace, holds(name, 8).trace);
    }
}

#[test]
fn smoke_completes_every_job_without_waste() {
    for seed in 0..20 {
        let figures = holds("smoke", seed);
        assert_eq!((figures.accepted, figures.completed), (20, 20), "seed {seed}");
        assert_eq!((figures.attempts, figures.wasted_permille), (20, 0), "seed {seed}");
    }
}

#[test]
fn a_burst_spreads_over_equal_workers() {
    for seed in 0..20 {
        assert_eq!(holds("burst", seed).runs_per_worker, [3, 3, 4], "seed {seed}");
    }
}

#[test]
fn loss_delays_and_loses_nothing() {
    for seed in 0..10 {
        let figures = holds("loss", seed);
        assert_eq!(figures.accepted, 30, "seed {seed}");
        assert_all_ended(&figures);
    }
}

#[test]
fn crashes_lose_no_accepted_job() {
    let mut crashes = 0;
    for seed in 0..20 {
        let figures = holds("churn", seed);
        assert_eq!(figures.accepted, 40, "seed {seed}");
        assert_all_ended(&figures);
        crashes += figures.crashes;
    }
    assert!(crashes > 100, "only {crashes} crashes: the scenario tests nothing");
}

#[test]
fn what_is_paused_and_resumed_ends_all_the_same() {
    let mut orders = 0;
    for seed in 0..10 {
        let figures = holds("interrupted", seed);
        assert_eq!(figures.accepted, 50, "seed {seed}");
        assert_all_ended(&figures);
        orders += figures.orders;
    }
    assert!(orders > 1_000, "only {orders} orders: the scenario tests nothing");
}

#[test]
fn a_small_scale_run_uses_every_worker() {
    let figures = run("scale", 1, &["workers=50", "jobs=250", "arrival=1s"]).unwrap();
    assert_eq!(figures.completed, 250);
    assert!(figures.runs_per_worker[0] > 0, "{:?}", figures.runs_per_worker);
}

/// The test of the tests: a coordinator that promises before its disk holds what it promises is
/// found out, by the invariant that is there for it.
#[test]
fn a_skipped_fsync_is_caught() {
    let caught = (0..5).filter_map(|seed| run("churn", seed, &["fsync=skipped"]).err());
    let violations: Vec<_> = caught.map(|violation| violation.invariant).collect();
    assert!(violations.len() >= 3, "{violations:?}");
    assert!(violations.contains(&"what was told outlives any minority"), "{violations:?}");
}

/// Worlds in which a promise was broken once: a replica took over who sits from a leader that it
/// had promised not to follow any more; a lease ran out while the wish to cancel was written; a new
/// leader never took up a job whose chosen state it had to say again.
#[test]
fn what_was_found_once_stays_repaired() {
    for (name, seed, option) in [
        ("swarm", 1389, "coordinators=5"),
        ("partition", 6085, "coordinators=3"),
        ("swarm", 20075, "coordinators=5"),
    ] {
        run(name, seed, &[option]).unwrap_or_else(|violation| panic!("{name} {seed}: {violation}"));
    }
}
