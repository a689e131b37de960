//! Metrics against values worked out by hand.

use super::*;

fn seen(outputs: Outputs) -> Seen {
    Seen { loss: 6.0, weight: 4.0, outputs }
}

#[track_caller]
fn written(tally: &Tally, expected: &[(&str, f64)]) {
    let mut metrics = BTreeMap::new();
    tally.write("test_", &mut metrics);
    let names: Vec<&str> = metrics.keys().map(String::as_str).collect();
    assert_eq!(names, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, value) in expected {
        assert!((metrics[*name] - value).abs() < 1e-12, "{name}: {}", metrics[*name]);
    }
}

#[test]
fn of_classes() {
    let mut tally = Tally::new(Loss::SoftmaxCrossEntropy, 4, Some(2), true);
    let logits = [
        [3.0, 2.0, 1.0, 0.0], // is 0, rank 0
        [3.0, 2.0, 1.0, 0.0], // is 1, rank 1
        [3.0, 2.0, 1.0, 0.0], // is 2, rank 2
        [1.0, 1.0, 1.0, 0.0], // is 1, rank 1: of equals the first comes before
    ];
    tally.add(&seen(Outputs::Classes {
        predicted: vec![0, 0, 0, 0],
        truth: vec![0, 1, 2, 1],
        logits: Some(logits.concat()),
    }));
    tally.add(&seen(Outputs::Classes {
        predicted: vec![1, 2],
        truth: vec![1, 2],
        logits: Some([[0.0, 9.0, 0.0, 0.0], [0.0, 0.0, 9.0, 0.0]].concat()),
    }));
    // Class 0: 1 of 4 right, all found; 1: 1 of 1 right, 1 of 3 found; 2: 1 of 1, 1 of 2.
    // Class 3 is neither predicted nor there.
    written(
        &tally,
        &[
            ("test_accuracy", 3.0 / 6.0),
            ("test_f1", (0.4 + 0.5 + 2.0 / 3.0) / 3.0),
            ("test_loss", 1.5),
            ("test_precision", (0.25 + 1.0 + 1.0) / 3.0),
            ("test_recall", (1.0 + 1.0 / 3.0 + 0.5) / 3.0),
            ("test_top_2_accuracy", 5.0 / 6.0),
        ],
    );
    let counts = vec![vec![1, 0, 0, 0], vec![2, 1, 0, 0], vec![1, 0, 1, 0], vec![0, 0, 0, 0]];
    assert_eq!(tally.confusion(), Some(Confusion { counts }));
    assert_eq!(tally.class_scores()[1].rows, 3);
    assert_eq!(tally.class_scores()[3].f1, 0.0);
    let many = Tally::new(Loss::SoftmaxCrossEntropy, 101, None, true);
    assert_eq!(many.confusion(), None);
}

#[test]
fn of_yes_and_no() {
    let mut tally = Tally::new(Loss::BinaryCrossEntropy, 1, None, true);
    let predicted = vec![2.0, 1.0, -1.0, 0.0, -3.0];
    tally.add(&seen(Outputs::Values { predicted, truth: vec![1.0, 0.0, 1.0, 0.0, 0.0] }));
    written(
        &tally,
        &[
            ("test_accuracy", 3.0 / 5.0),
            ("test_f1", 0.5),
            ("test_loss", 1.5),
            ("test_precision", 0.5),
            ("test_recall", 0.5),
        ],
    );
    assert_eq!(tally.confusion(), Some(Confusion { counts: vec![vec![2, 1], vec![1, 1]] }));
    let mut two = Tally::new(Loss::BinaryCrossEntropy, 2, None, true);
    two.add(&seen(Outputs::Values { predicted: vec![1.0, -1.0], truth: vec![1.0, 1.0] }));
    assert_eq!(two.confusion(), None);
    assert_eq!(two.class_scores().len(), 2);
}

#[test]
fn of_values() {
    let mut tally = Tally::new(Loss::Huber, 2, None, false);
    tally.add(&seen(Outputs::Values {
        predicted: vec![1.0, 10.0, 2.0, 20.0, 6.0, 30.0],
        truth: vec![1.0, 10.0, 2.0, 20.0, 3.0, 30.0],
    }));
    tally.add_gradient_norm(1.0);
    tally.add_gradient_norm(4.0);
    // Around their mean 2 the first column's targets spread by 2; its errors are 9.
    written(
        &tally,
        &[
            ("test_gradient_norm", 2.5),
            ("test_loss", 1.5),
            ("test_mae", 0.5),
            ("test_r2", ((1.0 - 4.5) + 1.0) / 2.0),
            ("test_rmse", (9.0_f64 / 6.0).sqrt()),
        ],
    );
    let mut flat = Tally::new(Loss::Mse, 1, None, false);
    flat.add(&seen(Outputs::Values { predicted: vec![1.0, 2.0], truth: vec![5.0, 5.0] }));
    let mut metrics = BTreeMap::new();
    flat.write("", &mut metrics);
    assert!(!metrics.contains_key("r2"), "targets that are all equal have none");
}
