//! Whole runs from outside: they repeat, they hold, and a broken promise is noticed.

use cyxwiz_sim::{Figures, Options, Plan, Scenario, Violation, scenario, simulate};

fn run(name: &str, seed: u64, options: Options) -> Result<Figures, Violation> {
    let scenario = Scenario::named(name).expect("a scenario of the table");
    let plan = Plan::new(scenario, seed, options).expect("options within bounds");
    simulate(scenario, seed, plan)
}

fn holds(name: &str, seed: u64) -> Figures {
    run(name, seed, Options::default()).unwrap_or_else(|violation| {
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
fn a_small_scale_run_uses_every_worker() {
    let options = Options { workers: Some(50), jobs: Some(250), ..Options::default() };
    let figures = run("scale", 1, options).unwrap();
    assert_eq!(figures.completed, 250);
    assert!(figures.runs_per_worker[0] > 0, "{:?}", figures.runs_per_worker);
}

/// The test of the tests: a coordinator that promises before its disk holds what it promises is
/// found out, by the invariant that is there for it.
#[test]
fn a_skipped_fsync_is_caught() {
    let options = Options { skip_fsync: true, ..Options::default() };
    let caught = (0..5).filter_map(|seed| run("churn", seed, options).err());
    let violations: Vec<_> = caught.map(|violation| violation.invariant).collect();
    assert!(violations.len() >= 3, "{violations:?}");
    assert!(violations.contains(&"an accepted job is never lost"), "{violations:?}");
}

#[test]
fn sizes_beyond_the_limits_are_refused() {
    let none = Options { jobs: Some(0), ..Options::default() };
    let many = Options { workers: Some(u32::MAX), ..Options::default() };
    for options in [none, many] {
        assert!(Plan::new(scenario::ALL[0], 1, options).is_err());
    }
}
