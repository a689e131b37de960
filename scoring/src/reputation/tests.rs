use super::*;

const DAY_SECS: u64 = 24 * HOUR_SECS;

fn after(events: impl IntoIterator<Item = Evidence>) -> Reputation {
    let mut reputation = Reputation::new();
    for event in events {
        reputation.record(0, event);
    }
    reputation
}

fn successes(n: usize) -> Reputation {
    after(std::iter::repeat_n(Evidence::Success, n))
}

#[test]
fn bound_matches_the_real_valued_formula_everywhere() {
    for s in 0..=200_u32 {
        for f in 0..=200_u32 {
            let bound = lower_bound(u64::from(s) * ONE_EVENT, u64::from(f) * ONE_EVENT);
            let (s, f, z) = (f64::from(s) + 1.0, f64::from(f) + 1.0, 1.645);
            let n = s + f;
            let root = (s * f / n + z * z / 4.0).sqrt();
            let expected = 1000.0 * (s + z * z / 2.0 - z * root) / (n + z * z);
            let error = expected - f64::from(bound.get());
            assert!((-0.01..1.01).contains(&error), "{s}/{f}: {bound}, expected {expected}");
        }
    }
}

#[test]
fn bound_of_known_records() {
    for (s, f, hundredths) in
        [(0, 0, 12), (5, 0, 55), (10, 0, 70), (50, 0, 92), (50, 5, 81), (200, 40, 79)]
    {
        let bound = lower_bound(s * ONE_EVENT, f * ONE_EVENT).get();
        assert_eq!((bound + 5) / 10, hundredths, "{s}/{f}");
    }
}

#[test]
fn bound_is_monotone_in_both_counts() {
    let bound = |s: u64, f: u64| lower_bound(s * ONE_EVENT, f * ONE_EVENT);
    for s in 0..200 {
        for f in 0..200 {
            assert!(bound(s + 1, f) >= bound(s, f), "success at {s}/{f}");
            assert!(bound(s, f + 1) <= bound(s, f), "failure at {s}/{f}");
        }
    }
}

#[test]
fn a_failure_costs_more_than_a_success_earns() {
    for n in [10, 20, 50, 100, 199] {
        let before = successes(n);
        let (mut better, mut worse) = (before.clone(), before.clone());
        better.record(0, Evidence::Success);
        worse.record(0, Evidence::Failure);
        let gained = better.score(0).get() - before.score(0).get();
        let lost = before.score(0).get() - worse.score(0).get();
        assert!(lost >= 3 * gained && lost >= 10, "at {n}: +{gained} -{lost}");
    }
}

#[test]
fn half_of_the_evidence_is_left_after_thirty_days() {
    let reputation = successes(100);
    for (days, expected) in [(0, 100.0), (15, 70.710_678), (30, 50.0), (60, 25.0), (45, 35.355_339)]
    {
        let left = reputation.faded(days * DAY_SECS).successes as f64 / ONE_EVENT as f64;
        assert!((left - expected).abs() < 0.001, "after {days} days: {left}");
    }
    assert_eq!(reputation.score(3000 * DAY_SECS), Reputation::new().score(0));
}

#[test]
fn frequent_readings_fade_like_one() {
    let mut often = successes(100);
    for minute in 0..60 * 24 * 30 {
        often = often.faded(minute * 60);
    }
    often = often.faded(30 * DAY_SECS);
    let once = successes(100).faded(30 * DAY_SECS);
    assert_eq!(often.faded_until_secs, once.faded_until_secs);
    assert!(once.successes.abs_diff(often.successes) <= 720, "{often:?} {once:?}");
}

#[test]
fn a_fraud_is_a_quarantine_and_then_a_heavy_debt() {
    let mut reputation = successes(50);
    let honest = reputation.score(31 * DAY_SECS);
    reputation.record(DAY_SECS, Evidence::Fraud);
    reputation.record(DAY_SECS, Evidence::Success);
    assert_eq!(reputation.score(DAY_SECS), Permille::ZERO);
    assert!(reputation.is_quarantined(31 * DAY_SECS - 1));
    assert!(!reputation.is_quarantined(31 * DAY_SECS));
    let served = reputation.score(31 * DAY_SECS);
    assert!(served > Permille::ZERO && served.get() + 200 < honest.get(), "{served} {honest}");
}

#[test]
fn trials_count_events_once_and_for_good() {
    let mut reputation = after([Evidence::Success, Evidence::Failure, Evidence::Fraud]);
    reputation.record(1000 * DAY_SECS, Evidence::Success);
    assert_eq!(reputation.trials(), 4);
}

#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let mut reputation = successes(10);
    reputation.record(100 * DAY_SECS, Evidence::Success);
    let ahead = reputation.score(100 * DAY_SECS);
    assert_eq!(reputation.score(0), ahead);
    reputation.record(0, Evidence::Success);
    assert!(reputation.score(100 * DAY_SECS) > ahead);
}

#[test]
fn a_hostile_record_is_read_within_bounds() {
    for faded_until_secs in [0, u64::MAX] {
        let mut hostile = Reputation {
            successes: u64::MAX,
            failures: u64::MAX,
            faded_until_secs,
            quarantined_until_secs: 0,
            trials: u32::MAX,
        };
        for now in [0, 1, u64::MAX - 1, u64::MAX] {
            assert!(hostile.score(now) <= Permille::ONE);
            hostile.record(now, Evidence::Success);
            hostile.record(now, Evidence::Failure);
        }
        hostile.record(u64::MAX, Evidence::Fraud);
        assert_eq!(hostile.trials(), u32::MAX);
        assert!(hostile.successes <= EVIDENCE_MAX && hostile.failures <= EVIDENCE_MAX);
    }
}
