//! Rates against values that follow from PyTorch's definitions by hand.

use std::collections::BTreeMap;

use super::*;

fn schedule(text: &str, epochs: u32, batches: u32) -> Schedule {
    let text = format!(
        r#"{{"epochs": {epochs}, "batch_size": 8, "loss": "mse",
            "optimizer": {{"type": "sgd", "learning_rate": 0.8}}, {text}}}"#
    );
    Schedule::new(&serde_json::from_str(&text).unwrap(), batches)
}

#[track_caller]
fn rates(schedule: &Schedule, expected: &[f64]) {
    for (step, expected) in (0..).zip(expected) {
        let found = schedule.rate(step);
        assert!((found - expected).abs() < 1e-12, "step {step}: {found}, not {expected}");
    }
}

#[test]
fn rates_by_epoch() {
    let step = schedule(r#""schedule": {"type": "step", "every_epochs": 2, "factor": 0.5}"#, 6, 2);
    rates(&step, &[0.8, 0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.2]);
    let fall = schedule(r#""schedule": {"type": "exponential", "factor": 0.5}"#, 3, 2);
    rates(&fall, &[0.8, 0.8, 0.4, 0.4, 0.2, 0.2]);
    // (1 + cos(pi t / 4)) / 2 for t = 0, 1, 2, 3.
    let cosine = schedule(r#""schedule": {"type": "cosine", "final": 0.4}"#, 4, 1);
    let half_root = std::f64::consts::FRAC_1_SQRT_2 / 2.0;
    rates(&cosine, &[0.8, 0.4 + 0.4 * (0.5 + half_root), 0.6, 0.4 + 0.4 * (0.5 - half_root)]);
    rates(&schedule(r#""schedule": {"type": "constant"}"#, 4, 1), &[0.8; 4]);
}

#[test]
fn a_warm_up_is_a_line_before_the_schedule() {
    let warmup = r#""warmup": {"steps": 4, "start_factor": 0.25}"#;
    rates(&schedule(warmup, 6, 1), &[0.2, 0.35, 0.5, 0.65, 0.8, 0.8]);
    let step = format!(r#"{warmup}, "schedule": {{"type": "exponential", "factor": 0.5}}"#);
    rates(&schedule(&step, 8, 2), &[0.2, 0.35, 0.5, 0.65, 0.8, 0.8, 0.4, 0.4, 0.2]);
    let cosine = r#""warmup": {"epochs": 1, "start_factor": 0.5}, "schedule": {"type": "cosine"}"#;
    // Two epochs are left for the fall.
    rates(&schedule(cosine, 3, 2), &[0.4, 0.6, 0.8, 0.8, 0.4, 0.4]);
    let third = schedule(r#""warmup": {"steps": 2}"#, 3, 1);
    rates(&third, &[0.8 / 3.0, 0.8 * 2.0 / 3.0, 0.8]);
}

#[test]
fn one_cycle_rises_and_falls() {
    let cycle = r#""schedule": {"type": "one_cycle", "max": 1.0, "pct_start": 0.5,
        "div_factor": 4, "final_div_factor": 10}"#;
    let cycle = schedule(cycle, 5, 2);
    // Of ten steps the rise ends at 0.5 * 10 - 1, the fall at the last.
    assert!((cycle.rate(0) - 0.25).abs() < 1e-12);
    assert!((cycle.rate(2) - 0.625).abs() < 1e-12);
    assert!((cycle.rate(4) - 1.0).abs() < 1e-12);
    assert!((cycle.rate(9) - 0.025).abs() < 1e-12);
    assert!((5..9).all(|step| cycle.rate(step) > cycle.rate(step + 1)));
    // OneCycleLR(max_lr=0.8, total_steps=10): its defaults.
    let plain = schedule(r#""schedule": {"type": "one_cycle"}"#, 10, 1);
    rates(&plain, &[0.032, 0.416, 0.8]);
    assert!((plain.rate(9) - 0.8 / 25.0 / 1e4).abs() < 1e-12);
    assert!((plain.rate(10)).is_finite());
    let short = schedule(r#""schedule": {"type": "one_cycle"}"#, 1, 1);
    assert!(short.rate(0).is_finite() && short.rate(0) > 0.0);
}

#[test]
fn a_plateau_lowers_the_rate_after_patience() {
    let text = r#""schedule": {"type": "reduce_on_plateau", "metric": "loss", "factor": 0.5,
        "patience": 1, "min": 0.3, "threshold": 0.1}"#;
    let mut plateau = schedule(text, 20, 1);
    let mut heard = |value: f64| {
        plateau.epoch_end(&BTreeMap::from([("loss".to_owned(), value)]));
        plateau.rate(5)
    };
    // 0.95 is not a tenth better than 1; the second such epoch is one too many.
    assert_eq!([1.0, 0.95, 0.95].map(&mut heard), [0.8, 0.8, 0.4]);
    assert_eq!([0.5, 0.5, 0.5].map(&mut heard), [0.4, 0.4, 0.3]);
    assert_eq!([0.5, 0.5, 0.5].map(&mut heard), [0.3, 0.3, 0.3]);
    let rising = text.replace("\"loss\"", "\"r2\"");
    let mut plateau = schedule(&rising, 20, 1);
    for (value, rate) in [(0.5, 0.8), (0.6, 0.8), (0.61, 0.8), (0.61, 0.4)] {
        plateau.epoch_end(&BTreeMap::from([("r2".to_owned(), value)]));
        assert_eq!(plateau.rate(0), rate, "at {value}");
    }
}

#[test]
fn what_a_plateau_keeps_is_taken_up_again() {
    let text = r#""schedule": {"type": "reduce_on_plateau", "metric": "loss", "patience": 0}"#;
    let mut first = schedule(text, 20, 1);
    for value in [3.0, 3.0, 2.0] {
        first.epoch_end(&BTreeMap::from([("loss".to_owned(), value)]));
    }
    let kept = serde_json::to_string(&first.plateau().unwrap()).unwrap();
    let mut second = schedule(text, 20, 1);
    assert!(second.resume(Some(serde_json::from_str(&kept).unwrap())));
    assert_eq!(first.plateau(), second.plateau());
    assert!(!second.resume(None));
    assert!(!schedule(r#""seed": 1"#, 20, 1).resume(first.plateau().cloned()));
}
