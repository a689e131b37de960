//! Losses: the reference against central differences of itself and values worked out by hand, the
//! engines against the reference.

use super::*;

fn functions<E: Engine>(engine: &mut E, width: usize) -> Vec<LossFunction<Pair<E::Tensor>>> {
    let weights: Vec<f32> = (0..width).map(|n| 0.25 + n as f32 * 0.5).collect();
    let mut weights = || {
        let fast = engine.upload(&weights, &[width]).unwrap();
        Some(Pair { fast, exact: Reference.upload(&weights, &[width]).unwrap() })
    };
    vec![
        LossFunction::SoftmaxCrossEntropy { smoothing: 0.0, weights: None },
        LossFunction::SoftmaxCrossEntropy { smoothing: 0.1, weights: None },
        LossFunction::SoftmaxCrossEntropy { smoothing: 0.0, weights: weights() },
        LossFunction::SoftmaxCrossEntropy { smoothing: 0.3, weights: weights() },
        LossFunction::BinaryCrossEntropy { positive_weight: None },
        LossFunction::BinaryCrossEntropy { positive_weight: weights() },
        LossFunction::Squared,
        LossFunction::Absolute,
        LossFunction::Huber { delta: 0.7 },
    ]
}

fn split<F, T>(function: &LossFunction<Pair<F>>, side: impl Fn(&Pair<F>) -> T) -> LossFunction<T> {
    match function {
        LossFunction::SoftmaxCrossEntropy { smoothing, weights } => {
            let (smoothing, weights) = (*smoothing, weights.as_ref().map(side));
            LossFunction::SoftmaxCrossEntropy { smoothing, weights }
        }
        LossFunction::BinaryCrossEntropy { positive_weight } => {
            LossFunction::BinaryCrossEntropy { positive_weight: positive_weight.as_ref().map(side) }
        }
        LossFunction::Squared => LossFunction::Squared,
        LossFunction::Absolute => LossFunction::Absolute,
        LossFunction::Huber { delta } => LossFunction::Huber { delta: *delta },
    }
}

fn is_softmax<T>(function: &LossFunction<Pair<T>>) -> bool {
    matches!(function, LossFunction::SoftmaxCrossEntropy { .. })
}

/// Shares of classes, or chances: between 0 and 1, and in each row 1 in all.
fn shares<E: Engine>(engine: &mut E, seed: u64, shape: &[usize]) -> Pair<E::Tensor> {
    let drawn = drawn(engine, seed, shape, 2.0);
    let fast = engine.activate(Activation::Softmax, &drawn.fast).unwrap();
    let values = engine.download(&fast).unwrap();
    Pair { fast, exact: Reference.upload(&values, shape).unwrap() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_engines_compute_them(
        seed in any::<u64>(),
        rows in 1_usize..300,
        columns in 1_usize..40,
        threads in prop::sample::select(vec![1_usize, 3]),
    ) {
        on_each!(threads, engine => {
            let output = drawn(engine, seed, &[rows, columns], 8.0);
            let target = shares(engine, seed ^ 1, &[rows, columns]);
            let ids: Vec<u32> =
                (0..rows).map(|row| (seed as usize % 97 + row) as u32 % columns as u32).collect();
            let divisor = rows as f64 * 1.5;
            let uploaded = engine.upload_ids(&ids).unwrap();
            for function in functions(engine, columns) {
                let (fast, exact) = (split(&function, |p| p.fast.clone()), split(&function, |p| p.exact.clone()));
                let mut check = |fast_target, exact_target| {
                    let found = engine.loss(&fast, &output.fast, fast_target, divisor).unwrap();
                    let expected = Reference.loss(&exact, &output.exact, exact_target, divisor).unwrap();
                    let off = (found.loss - expected.loss).abs();
                    assert!(off <= 1e-5 * expected.loss.max(1.0), "{fast:?}: off by {off:e}");
                    within(engine, &found.gradient, &expected.gradient, 1e-4 / divisor);
                };
                check(Target::Values(&target.fast), Target::Values(&target.exact));
                if is_softmax(&function) {
                    check(Target::Classes(&uploaded), Target::Classes(&ids));
                }
            }
            prop_assert_eq!(
                engine.argmax_rows(&output.fast).unwrap(),
                Reference.argmax_rows(&output.exact).unwrap()
            );
            let product = engine.multiply(&output.fast, &target.fast).unwrap();
            near(engine, &product, &Reference.multiply(&output.exact, &target.exact).unwrap(), 1e-6);
        });
    }
}

#[test]
fn gradients_of_the_reference_are_the_slopes_of_its_losses() {
    const H: f64 = 1e-6;
    let engine = &mut CpuEngine::new(1).unwrap();
    let output = drawn(engine, 4, &[5, 4], 3.0).exact;
    let target = shares(engine, 9, &[5, 4]).exact;
    let ids = vec![3, 0, 1, 2, 3];
    for function in functions(engine, 4) {
        let exact = split(&function, |pair| pair.exact.clone());
        for classes in [false, true] {
            if classes && !is_softmax(&function) {
                continue;
            }
            let loss = |output: &Exact| {
                let target = if classes { Target::Classes(&ids) } else { Target::Values(&target) };
                Reference.loss(&exact, output, target, 3.0).unwrap()
            };
            let found = loss(&output).gradient;
            for index in 0..output.values.len() {
                let at = |offset: f64| {
                    let mut moved = output.clone();
                    moved.values[index] += offset;
                    loss(&moved).loss
                };
                let slope = (at(H) - at(-H)) / (2.0 * H);
                let off = (slope - found.values[index]).abs();
                assert!(off < 1e-8, "{exact:?} {index}: {}, not {slope}", found.values[index]);
            }
        }
    }
}

/// `CrossEntropyLoss`, `BCEWithLogitsLoss`, `L1Loss` and `HuberLoss` on numbers that need no
/// machine: ln 2 = 0.6931, ln 4 = 1.3863.
#[test]
fn losses_by_hand() {
    let ln2 = std::f64::consts::LN_2;
    on_each!(1, engine => {
        let weights = engine.upload(&[3.0], &[1]).unwrap();
        let mut check =
            |function, output: &[f32], target: &[f32], divisor: f64, loss: f64, slopes: &[f64]| {
                let shape = [1, output.len()];
                let (output, target) =
                    (engine.upload(output, &shape).unwrap(), engine.upload(target, &shape).unwrap());
                let found = engine.loss(&function, &output, Target::Values(&target), divisor).unwrap();
                assert!((found.loss - loss).abs() < 1e-6, "{function:?}: {}, not {loss}", found.loss);
                let exact = Exact { values: slopes.to_vec(), shape: shape.to_vec() };
                within(engine, &found.gradient, &exact, 1e-6);
            };
        let entropy = LossFunction::SoftmaxCrossEntropy { smoothing: 0.0, weights: None };
        check(entropy, &[3.0, 3.0], &[1.0, 0.0], 1.0, ln2, &[-0.5, 0.5]);
        // Of four equal logits any shares that add up to 1 have the same loss.
        let smooth = LossFunction::SoftmaxCrossEntropy { smoothing: 0.4, weights: None };
        let slopes = [0.25 - 0.7, 0.15, 0.15, 0.15];
        check(smooth, &[0.0; 4], &[1.0, 0.0, 0.0, 0.0], 1.0, 2.0 * ln2, &slopes);
        let weighted = LossFunction::BinaryCrossEntropy { positive_weight: Some(weights) };
        check(weighted.clone(), &[0.0], &[1.0], 1.0, 3.0 * ln2, &[-1.5]);
        check(weighted, &[0.0], &[0.0], 1.0, ln2, &[0.5]);
        let plain = LossFunction::BinaryCrossEntropy { positive_weight: None };
        check(plain.clone(), &[200.0, -200.0], &[1.0, 0.0], 2.0, 0.0, &[0.0, 0.0]);
        check(plain, &[200.0, -200.0], &[0.0, 1.0], 2.0, 200.0, &[0.5, -0.5]);
        check(
            LossFunction::Absolute,
            &[1.0, 5.0, 2.0],
            &[3.0, 4.0, 2.0],
            3.0,
            1.0,
            &[-1.0 / 3.0, 1.0 / 3.0, 0.0],
        );
        let huber = LossFunction::Huber { delta: 2.0 };
        check(huber, &[1.0, 5.0], &[0.0, 0.0], 2.0, (0.5 + 8.0) / 2.0, &[0.5, 1.0]);
        check(LossFunction::Squared, &[1.0, 5.0], &[0.0, 1.0], 2.0, 8.5, &[1.0, 4.0]);
    });
}

/// Rows of any rank: a class for each place of each sequence.
#[test]
fn rows_may_have_more_than_one_axis() {
    on_each!(1, engine => {
        let flat = drawn(engine, 3, &[6, 4], 2.0).fast;
        let values = engine.download(&flat).unwrap();
        let deep = engine.upload(&values, &[2, 3, 4]).unwrap();
        let ids = engine.upload_ids(&[0, 1, 2, 3, 0, 1]).unwrap();
        let entropy = LossFunction::SoftmaxCrossEntropy { smoothing: 0.0, weights: None };
        let one = engine.loss(&entropy, &flat, Target::Classes(&ids), 6.0).unwrap();
        let two = engine.loss(&entropy, &deep, Target::Classes(&ids), 6.0).unwrap();
        assert_eq!(one.loss, two.loss);
        assert_eq!(engine.download(&one.gradient).unwrap(), engine.download(&two.gradient).unwrap());
    });
}

#[test]
fn losses_are_the_same_bits_on_any_number_of_threads() {
    for function in functions(&mut CpuEngine::new(1).unwrap(), 37) {
        let results = [1, 2, 3].map(|threads| {
            let engine = &mut CpuEngine::new(threads).unwrap();
            let output = drawn(engine, 1, &[1000, 37], 4.0).fast;
            let target = shares(engine, 2, &[1000, 37]).fast;
            let function = split(&function, |pair| pair.fast.clone());
            let found = engine.loss(&function, &output, Target::Values(&target), 1000.0).unwrap();
            (found.loss.to_bits(), found.gradient)
        });
        assert!(results.iter().all(|result| *result == results[0]));
    }
}
