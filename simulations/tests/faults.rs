//! Each kind of fault does what it says, the promises hold under it, and each kind of hostile host
//! is really met and survived.

use std::time::Duration;

use cyxwiz_sim::{
    Faults, Figures, Plan, Scenario, Span, Violation,
    faults::{
        Churn, Clocks, CrashFaults, DiskFaults, Hostile, Latency, LinkFaults, Partitions, Pauses,
        SessionLaw, Speeds, Widths,
    },
    simulate,
};

/// Jobs over a time that is long enough for every fault to fall on one of them.
fn plan(faults: Faults) -> Plan {
    Plan {
        workers: 6,
        submitters: 2,
        jobs: 24,
        arrival: Duration::from_secs(40),
        training: Span::millis(500, 12_000),
        cancelled_permille: 100,
        faults,
        faults_for: Duration::from_secs(60),
        liveness: Duration::from_secs(1_200),
        ..Plan::default()
    }
}

fn run(seed: u64, plan: Plan) -> Result<Figures, Violation> {
    let scenario = Scenario::named("smoke").expect("a scenario of the table");
    simulate(&scenario, seed, plan)
}

/// Runs a few seeds; every accepted job must have come to an end.
fn holds(faults: &Faults, seeds: std::ops::Range<u64>) -> Vec<Figures> {
    let one = |seed| {
        let figures = run(seed, plan(faults.clone()))
            .unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        let ended = figures.completed + figures.failed + figures.cancelled;
        assert_eq!(ended, figures.accepted, "seed {seed}: {figures:?}");
        figures
    };
    seeds.map(one).collect()
}

fn total(figures: &[Figures], of: impl Fn(&Figures) -> u64) -> u64 {
    figures.iter().map(of).sum()
}

#[test]
fn late_copies_overtaking_and_clogs() {
    let links = LinkFaults {
        latency: Latency::Lognormal { median_us: 30_000, sigma_permille: 600 },
        late_copies_permille: 50,
        late_copy_after: Span::millis(500, 8_000),
        overtaken_permille: 100,
        overtaken_by: Span::millis(5, 800),
        clogs: 30,
        clog_lasts: Span::millis(1_000, 8_000),
        ..LinkFaults::default()
    };
    let figures = holds(&Faults { links, ..Faults::default() }, 0..4);
    assert!(total(&figures, |it| it.faults.late_copies) > 100);
    assert!(total(&figures, |it| it.faults.overtaken) > 100);
    assert!(total(&figures, |it| it.faults.clogged) > 10);
}

#[test]
fn regions_and_narrow_lines() {
    let narrow = Some(Widths { least_kbit: 256, most_kbit: 2_000 });
    let links = LinkFaults {
        latency: Latency::Regions { jitter_permille: 100 },
        uplink: narrow,
        downlink: narrow,
        ..LinkFaults::default()
    };
    let far = holds(&Faults { links, ..Faults::default() }, 0..3);
    let near = holds(&Faults::default(), 0..3);
    let median = |figures: &[Figures]| figures.iter().map(|it| it.accept_ms.p50).sum::<f64>();
    assert!(median(&far) > median(&near) * 2.0, "{} and {}", median(&far), median(&near));
}

#[test]
fn partitions_of_every_shape() {
    let lasts = Span::millis(2_000, 12_000);
    let none = Partitions { lasts, ..Partitions::default() };
    for shape in [
        Partitions { two_way: 4, ..none },
        Partitions { one_way: 4, ..none },
        Partitions { bridges: 4, ..none },
        Partitions { hosts: 6, ..none },
        Partitions { leaders: 4, ..none },
        Partitions { regions: 4, ..none },
    ] {
        let faults = Faults { partitions: shape, ..Faults::default() };
        let figures = holds(&faults, 0..2);
        assert!(total(&figures, |it| it.faults.cuts) > 4, "{shape:?}");
        assert!(total(&figures, |it| it.faults.blocked) > 20, "{shape:?}");
    }
}

#[test]
fn crashes_by_kind() {
    let down = Span::millis(200, 8_000);
    let crashes = CrashFaults {
        coordinators: 2,
        leaders: 3,
        all_coordinators: 1,
        workers: 6,
        submitters: 3,
        down,
        ..CrashFaults::default()
    };
    let figures = holds(&Faults { crashes, ..Faults::default() }, 0..4);
    assert!(total(&figures, |it| it.crashes) > 30);
    assert!(total(&figures, |it| it.faults.leaders_crashed) > 4);
    assert!(total(&figures, |it| it.faults.all_crashed) > 1);
}

#[test]
fn disks_that_are_slow_stall_or_are_full() {
    let disks = DiskFaults {
        slow: 6,
        slow_factor: 50,
        slow_lasts: Span::millis(2_000, 10_000),
        stalls: 6,
        stall_lasts: Span::millis(1_000, 6_000),
        full: 3,
        full_lasts: Span::millis(2_000, 10_000),
    };
    let slow = holds(&Faults { disks, ..Faults::default() }, 0..4);
    assert!(total(&slow, |it| it.faults.slow_disks) > 10);
    assert!(total(&slow, |it| it.faults.stalls) > 10);
    assert!(total(&slow, |it| it.faults.full_disks) > 4);
    let quick = holds(&Faults::default(), 0..4);
    let worst = |figures: &[Figures]| figures.iter().map(|it| it.accept_ms.p99).sum::<f64>();
    assert!(worst(&slow) > worst(&quick) * 5.0, "{} and {}", worst(&slow), worst(&quick));
}

#[test]
fn clocks_that_differ_and_run_apart() {
    let clocks = Clocks { skew_ms: 40_000, drift_ppm: 5_000 };
    let faults = Faults { clocks, ..Faults::default() };
    let drifting = holds(&faults, 0..3);
    let exact = holds(&Faults::default(), 0..3);
    assert_ne!(drifting[0].trace, exact[0].trace);
}

#[test]
fn hosts_that_stand_still_handle_later_what_waited() {
    let pauses = Pauses {
        coordinators: 2,
        leaders: 2,
        workers: 8,
        submitters: 2,
        lasts: Span::millis(1_000, 15_000),
    };
    let figures = holds(&Faults { pauses, ..Faults::default() }, 0..4);
    assert!(total(&figures, |it| it.faults.pauses) > 30);
    assert!(total(&figures, |it| it.faults.put_off) > 200);
}

#[test]
fn workers_that_come_and_go() {
    for sessions in [
        SessionLaw::Weibull { scale_ms: 20_000, shape_permille: 600 },
        SessionLaw::Lognormal { median_ms: 15_000, sigma_permille: 1_000 },
    ] {
        let away = Span::millis(1_000, 10_000);
        let churn = Churn { sessions, away, ..Churn::default() };
        let figures = holds(&Faults { churn, ..Faults::default() }, 0..3);
        assert!(total(&figures, |it| it.faults.departures) > 20, "{sessions:?}");
    }
}

#[test]
fn a_trace_says_who_is_there() {
    let text = "0,worker-0,down\n0,worker-1,down\n1000,coordinator-0,down\n4000,coordinator-0,up\n\
                30000,worker-0,up\n50000,worker-2,up\n";
    let trace = text.parse().expect("a trace");
    let churn = Churn { trace, ..Churn::default() };
    let figures = holds(&Faults { churn, ..Faults::default() }, 0..2);
    for figures in figures {
        // Two go, the coordinator goes and comes, and one is not there before it first comes.
        assert_eq!(figures.faults.departures, 4, "{figures:?}");
    }
}

#[test]
fn slow_workers_take_longer() {
    let of = |permille| Speeds { least_permille: permille, most_permille: permille };
    let time = |permille| {
        let faults = Faults { speeds: of(permille), ..Faults::default() };
        holds(&faults, 1..2)[0].virtual_s
    };
    assert!(time(100) > time(1_000) + 20.0);
}

#[test]
fn hostile_hosts_of_each_kind_are_met_and_survived() {
    let none = Hostile { every: Span::millis(100, 500), ..Hostile::default() };
    for (kind, hostile) in [
        ("forgers", Hostile { forgers: 2, ..none }),
        ("replayers", Hostile { replayers: 2, ..none }),
        ("no-shows", Hostile { no_shows: 2, ..none }),
        ("impostors", Hostile { impostors: 2, ..none }),
        ("garblers", Hostile { garblers: 2, ..none }),
        ("sybils", Hostile { sybils: 12, ..none }),
        ("hostile submitters", Hostile { submitters: 2, ..none }),
    ] {
        let figures = holds(&Faults { hostile, ..Faults::default() }, 0..2);
        let sent = total(&figures, |it| it.faults.hostile[kind].sent);
        assert!(sent > 100, "{kind}: {sent} sent");
        let completed = total(&figures, |it| it.completed);
        assert!(completed > 20, "{kind}: {completed} completed");
        match kind {
            "no-shows" => assert!(total(&figures, |it| it.faults.hostile[kind].awards) > 2),
            "garblers" => assert!(total(&figures, |it| it.faults.hostile[kind].bans) > 0),
            "forgers" | "sybils" | "hostile submitters" => {
                assert!(total(&figures, |it| it.faults.hostile[kind].heard) > 10, "{kind}");
            }
            _ => {}
        }
    }
}

#[test]
fn a_swarm_draws_another_mix_from_each_seed_and_the_promises_hold() {
    let mut mixes = std::collections::BTreeSet::new();
    for seed in 0..8 {
        let faults = Faults::everything().of_seed(seed);
        assert_eq!(faults, Faults::everything().of_seed(seed));
        mixes.insert(faults.to_string());
        holds(&faults, seed..seed + 1);
    }
    assert_eq!(mixes.len(), 8, "{mixes:?}");
}

#[test]
fn the_swarm_of_the_built_in_scenario_is_everything() {
    let swarm = Scenario::named("swarm").expect("a scenario of the table");
    for seed in 0..4 {
        let plan = swarm.plan(seed).expect("a plan");
        assert_eq!(plan.faults, Faults::everything().of_seed(seed));
        assert!(plan.to_string().ends_with(&plan.faults.to_string()), "{plan}");
    }
}

#[test]
fn plans_that_ask_for_what_cannot_be_are_refused() {
    let swarm = Scenario::named("swarm").expect("a scenario of the table");
    for (setting, told) in [
        ("faults.churn.trace=0,worker-8,down", "there is no worker-8"),
        ("faults.crashes.lost_disks=1", "only with 3 coordinators"),
        ("faults.links.overtaken_permille=1001", "of a thousand"),
        ("faults.speeds.least_permille=9000", "no range of speeds"),
    ] {
        let error = swarm.clone().with(&[setting.to_owned()]).unwrap_err().to_string();
        assert!(error.contains(told), "{setting}: {error}");
    }
}

#[test]
fn faults_repeat_with_their_seed() {
    let faults = Faults::everything().of_seed(3);
    assert_eq!(run(3, plan(faults.clone())), run(3, plan(faults)));
}

#[test]
fn a_swarm_against_several_coordinators() {
    for coordinators in [3, 5, 7] {
        for seed in 0..3 {
            let mut faults = Faults::everything().of_seed(seed);
            // Whether workers that are far away get work is a matter of its own, below.
            faults.links.latency = Latency::Plan;
            let plan = Plan { coordinators, ..plan(faults) };
            let figures = run(seed, plan)
                .unwrap_or_else(|violation| panic!("{coordinators}, seed {seed}: {violation}"));
            assert_eq!(figures.accepted, 24, "{coordinators}, seed {seed}");
        }
    }
}

/// Between Cape Town and Sydney a bid is under way for longer than a round of 250 ms takes.
#[test]
fn workers_that_are_far_away_get_work_too() {
    let latency = Latency::Constant { us: 200_000 };
    let links = LinkFaults { latency, ..LinkFaults::default() };
    holds(&Faults { links, ..Faults::default() }, 0..2);
}
