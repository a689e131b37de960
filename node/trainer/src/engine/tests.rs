//! The engines against the f64 reference on drawn shapes and values: the CPU engine on one thread
//! and on three, and against itself over numbers of threads; ArrayFire where it is there.

mod arrays;
pub(crate) mod engines;
mod images;
mod losses;
mod memory;

use proptest::prelude::*;

use super::cpu::CpuEngine;
use super::reference::{Exact, Reference};
use super::*;
pub(crate) use engines::on_each;

const FUNCTIONS: [Activation; 8] = [
    Activation::Relu,
    Activation::LeakyRelu,
    Activation::Tanh,
    Activation::Sigmoid,
    Activation::Softmax,
    Activation::Gelu,
    Activation::Silu,
    Activation::Elu,
];

/// One tensor on the engine under test and on the reference.
struct Pair<T> {
    fast: T,
    exact: Exact,
}

fn drawn<E: Engine>(engine: &mut E, seed: u64, shape: &[usize], bound: f32) -> Pair<E::Tensor> {
    use crate::random::{Purpose, Stream};
    let mut values = vec![0.0; shape.iter().product()];
    Stream::new(seed, Purpose::Order { epoch: 7 }).fill_uniform(&mut values, bound);
    let fast = engine.upload(&values, shape).unwrap();
    Pair { fast, exact: Reference.upload(&values, shape).unwrap() }
}

/// The same values with those below `bound` replaced by `instead`: next to a kink or to a
/// division by zero, two right computations may disagree.
fn away_from_zero<E: Engine>(
    engine: &mut E,
    from: &Pair<E::Tensor>,
    bound: f32,
    instead: f32,
) -> Pair<E::Tensor> {
    let values: Vec<f32> = engine
        .download(&from.fast)
        .unwrap()
        .into_iter()
        .map(|value| if value.abs() < bound { instead } else { value })
        .collect();
    let shape = &from.exact.shape;
    let fast = engine.upload(&values, shape).unwrap();
    Pair { fast, exact: Reference.upload(&values, shape).unwrap() }
}

/// Equal within `tolerance` of the largest value, or of one, the size of the operands: where
/// they cancel, what is left has fewer digits.
fn near<E: Engine>(engine: &mut E, found: &E::Tensor, exact: &Exact, tolerance: f64) {
    let largest = exact.values.iter().fold(1.0_f64, |all, value| all.max(value.abs()));
    within(engine, found, exact, tolerance * largest);
}

/// Equal within `most`.
fn within<E: Engine>(engine: &mut E, found: &E::Tensor, exact: &Exact, most: f64) {
    let values = engine.download(found).unwrap();
    assert_eq!(values.len(), exact.values.len());
    for (index, (value, exact)) in values.iter().zip(&exact.values).enumerate() {
        let off = (f64::from(*value) - exact).abs();
        assert!(off <= most, "value {index} is {value}, not {exact}: off by {off:e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn linear_and_its_gradients(
        seed in any::<u64>(),
        rows in prop::sample::select(vec![vec![], vec![1], vec![69], vec![3, 11], vec![2, 3, 4]]),
        inputs in 1_usize..300,
        outputs in 1_usize..70,
        threads in prop::sample::select(vec![1_usize, 3]),
    ) {
        on_each!(threads, engine => {
            let x = drawn(engine, seed, &[&rows[..], &[inputs]].concat(), 2.0);
            let w = drawn(engine, seed ^ 1, &[outputs, inputs], 1.0);
            let b = drawn(engine, seed ^ 2, &[outputs], 1.0);
            let dy = drawn(engine, seed ^ 3, &[&rows[..], &[outputs]].concat(), 1.0);
            let y = engine.linear(&x.fast, &w.fast, &b.fast).unwrap();
            near(engine, &y, &Reference.linear(&x.exact, &w.exact, &b.exact).unwrap(), 1e-5);
            let wanted = InputGradient::Wanted;
            let found = engine.linear_backward(&x.fast, &w.fast, &dy.fast, wanted).unwrap();
            let exact = Reference.linear_backward(&x.exact, &w.exact, &dy.exact, wanted).unwrap();
            near(engine, &found.weight, &exact.weight, 1e-5);
            near(engine, &found.bias, &exact.bias, 1e-5);
            near(engine, &found.input.unwrap(), &exact.input.unwrap(), 1e-5);
        });
    }

    #[test]
    fn activations_and_their_gradients(
        seed in any::<u64>(),
        rows in 1_usize..40,
        columns in 1_usize..40,
        function in prop::sample::select(FUNCTIONS.to_vec()),
    ) {
        on_each!(1, engine => {
            let x = drawn(engine, seed, &[rows, columns], 6.0);
            let x = away_from_zero(engine, &x, 1e-3, 0.5);
            let dy = drawn(engine, seed ^ 1, &[rows, columns], 1.0);
            let y = engine.activate(function, &x.fast).unwrap();
            let exact = Reference.activate(function, &x.exact).unwrap();
            near(engine, &y, &exact, 2e-6);
            let dx = engine.activate_backward(function, &x.fast, &y, &dy.fast).unwrap();
            let exact = Reference.activate_backward(function, &x.exact, &exact, &dy.exact).unwrap();
            near(engine, &dx, &exact, 5e-6);
        });
    }

    #[test]
    fn optimizer_steps(seed in any::<u64>(), count in 1_usize..200, nesterov in any::<bool>()) {
        on_each!(1, engine => {
            let shape = [count];
            let gradient = drawn(engine, seed ^ 1, &shape, 1.0);
            let gradient = away_from_zero(engine, &gradient, 0.2, 0.5);
            let sgd = SgdStep { learning_rate: 0.1, momentum: 0.9, nesterov, weight_decay: 0.01 };
            let (mut p, mut v) = (drawn(engine, seed, &shape, 1.0), drawn(engine, 5, &shape, 1.0));
            engine.sgd(&mut p.fast, &gradient.fast, Some(&mut v.fast), &sgd).unwrap();
            Reference.sgd(&mut p.exact, &gradient.exact, Some(&mut v.exact), &sgd).unwrap();
            within(engine, &p.fast, &p.exact, 1e-6);
            within(engine, &v.fast, &v.exact, 1e-6);
            engine.sgd(&mut p.fast, &gradient.fast, None, &sgd).unwrap();
            Reference.sgd(&mut p.exact, &gradient.exact, None, &sgd).unwrap();
            within(engine, &p.fast, &p.exact, 1e-6);

            // Both moments begin at zero, as in training: drawn ones make steps of any size.
            let (mut m, mut s) = (drawn(engine, 6, &shape, 0.0), drawn(engine, 7, &shape, 0.0));
            let mut step = AdamStep {
                learning_rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1,
                shrink: 0.999, correction1: 0.1, correction2: 0.001,
            };
            for _ in 0..3 {
                let both = Moments { first: &mut m.fast, second: &mut s.fast };
                engine.adam(&mut p.fast, &gradient.fast, both, &step).unwrap();
                let both = Moments { first: &mut m.exact, second: &mut s.exact };
                Reference.adam(&mut p.exact, &gradient.exact, both, &step).unwrap();
                (step.correction1, step.correction2) = (0.19, 0.002);
            }
            within(engine, &p.fast, &p.exact, 1e-6);
            within(engine, &m.fast, &m.exact, 1e-6);
            within(engine, &s.fast, &s.exact, 1e-8);
        });
    }

    #[test]
    fn rmsprop_steps(
        seed in any::<u64>(),
        count in prop::sample::select(vec![1_usize, 90, 40_000]),
        centered in any::<bool>(),
        momentum in prop::sample::select(vec![0.0, 0.9]),
        threads in prop::sample::select(vec![1_usize, 3]),
    ) {
        on_each!(threads, engine => {
            let shape = [count];
            let mut p = drawn(engine, seed, &shape, 1.0);
            let (mut s, mut m, mut v) =
                (drawn(engine, 1, &shape, 0.0), drawn(engine, 2, &shape, 0.0), drawn(engine, 3, &shape, 0.0));
            let step =
                RmsStep { learning_rate: 0.01, alpha: 0.9, epsilon: 1e-3, momentum, weight_decay: 0.1 };
            for round in 0..3 {
                let gradient = drawn(engine, seed ^ round, &shape, 1.0);
                let state = RmsState {
                    square: &mut s.fast,
                    mean: centered.then_some(&mut m.fast),
                    velocity: (momentum > 0.0).then_some(&mut v.fast),
                };
                engine.rmsprop(&mut p.fast, &gradient.fast, state, &step).unwrap();
                let state = RmsState {
                    square: &mut s.exact,
                    mean: centered.then_some(&mut m.exact),
                    velocity: (momentum > 0.0).then_some(&mut v.exact),
                };
                Reference.rmsprop(&mut p.exact, &gradient.exact, state, &step).unwrap();
            }
            within(engine, &p.fast, &p.exact, 2e-5);
            within(engine, &s.fast, &s.exact, 1e-6);
            within(engine, &m.fast, &m.exact, 1e-6);
            near(engine, &v.fast, &v.exact, 2e-4);
        });
    }

    #[test]
    fn sums_and_sizes(seed in any::<u64>(), count in 1_usize..50_000, limit in 0.1_f64..1.0) {
        let results = [1, 2, 3].map(|threads| {
            sizes(&mut CpuEngine::new(threads).unwrap(), seed, count, limit)
        });
        prop_assert!(results.iter().all(|result| *result == results[0]));
        if let Some(mut held) = engines::arrayfire() {
            sizes(&mut held.engine, seed, count, limit);
        }
    }
}

/// Checks sums and sizes of drawn values; gives the bits of what it found.
fn sizes<E: Engine>(engine: &mut E, seed: u64, count: usize, limit: f64) -> (u64, Vec<u32>) {
    let mut sum = drawn(engine, seed, &[count], 2.0);
    let part = drawn(engine, seed ^ 1, &[count], 2.0);
    engine.accumulate(&mut sum.fast, &part.fast).unwrap();
    Reference.accumulate(&mut sum.exact, &part.exact).unwrap();
    near(engine, &sum.fast, &sum.exact, 1e-6);
    engine.scale_in_place(&mut sum.fast, 0.3).unwrap();
    Reference.scale_in_place(&mut sum.exact, 0.3).unwrap();
    near(engine, &sum.fast, &sum.exact, 1e-6);
    let squares = engine.sum_of_squares(&sum.fast).unwrap();
    let exact = Reference.sum_of_squares(&sum.exact).unwrap();
    assert!((squares - exact).abs() <= 1e-6 * exact, "{squares}, not {exact}");
    engine.clamp(&mut sum.fast, limit).unwrap();
    Reference.clamp(&mut sum.exact, limit).unwrap();
    near(engine, &sum.fast, &sum.exact, 1e-6);
    let bits = engine.download(&sum.fast).unwrap().into_iter().map(f32::to_bits);
    (squares.to_bits(), bits.collect())
}

/// Whether a training diverges is seen from this number.
#[test]
fn the_size_of_a_gradient_is_finite_if_its_values_are() {
    on_each!(1, engine => {
        for (values, expected) in [
            ([0.0, -0.0, 0.0], 0.0),
            ([3e30, 0.0, -4e30], 25e60),
            ([3e-30, 0.0, -4e-30], 25e-60),
            ([f32::MAX, 0.0, 0.0], f64::from(f32::MAX) * f64::from(f32::MAX)),
        ] {
            let x = engine.upload(&values, &[3]).unwrap();
            let found = engine.sum_of_squares(&x).unwrap();
            assert!((found - expected).abs() <= 1e-6 * expected, "{values:?}: {found}");
        }
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for others in [0.0, 1.0, 3e30] {
                let x = engine.upload(&[others, wrong, others], &[3]).unwrap();
                let found = engine.sum_of_squares(&x).unwrap();
                assert!(!found.is_finite(), "{wrong} {others}: {found}");
            }
        }
    });
}

/// Products that are divided over rows and over columns, with a summed axis longer than one
/// block of the kernel.
#[test]
fn products_are_the_same_bits_on_any_number_of_threads() {
    for (rows, inputs, outputs) in [(33, 777, 205), (301, 600, 47), (64, 1000, 64)] {
        let results = [1, 2, 3, 4, 7].map(|threads| {
            let engine = &mut CpuEngine::new(threads).unwrap();
            let x = drawn(engine, 1, &[rows, inputs], 2.0).fast;
            let w = drawn(engine, 2, &[outputs, inputs], 1.0).fast;
            let b = drawn(engine, 3, &[outputs], 1.0).fast;
            let y = engine.linear(&x, &w, &b).unwrap();
            let back = engine.linear_backward(&x, &w, &y, InputGradient::Wanted).unwrap();
            (y, back.weight, back.bias, back.input)
        });
        assert!(results.iter().all(|result| *result == results[0]), "{rows} {inputs} {outputs}");
    }
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    on_each!(1, engine => {
        let (two, three) = (engine.zeros(&[2, 2]).unwrap(), engine.zeros(&[3, 3]).unwrap());
        let bias = engine.zeros(&[2]).unwrap();
        assert!(matches!(engine.linear(&three, &two, &bias), Err(EngineError::Shape { .. })));
        assert!(matches!(engine.multiply(&two, &three), Err(EngineError::Shape { .. })));
        assert!(matches!(engine.upload(&[1.0], &[2]), Err(EngineError::Shape { .. })));
        let entropy = LossFunction::SoftmaxCrossEntropy { smoothing: 0.0, weights: None };
        let [outside, short, right] =
            [&[0, 2][..], &[0], &[0, 0]].map(|ids| engine.upload_ids(ids).unwrap());
        let wrong = engine.loss(&entropy, &two, Target::Classes(&outside), 2.0);
        assert!(matches!(wrong, Err(EngineError::Class { class: 2, classes: 2, .. })));
        let wrong = engine.loss(&entropy, &two, Target::Classes(&short), 2.0);
        assert!(matches!(wrong, Err(EngineError::Shape { .. })));
        let wrong = engine.loss(&LossFunction::Absolute, &two, Target::Classes(&right), 2.0);
        assert!(matches!(wrong, Err(EngineError::Shape { .. })));
        let wrong = engine.loss(&LossFunction::Squared, &two, Target::Values(&three), 2.0);
        assert!(matches!(wrong, Err(EngineError::Shape { .. })));
        let weights = LossFunction::BinaryCrossEntropy { positive_weight: Some(three) };
        let wrong = engine.loss(&weights, &two, Target::Values(&two), 2.0);
        assert!(matches!(wrong, Err(EngineError::Shape { .. })));
        assert!(matches!(CpuEngine::new(usize::MAX), Err(EngineError::Unavailable(_))));
        let huge = engine.zeros(&[usize::MAX / 8]);
        assert!(matches!(huge, Err(EngineError::OutOfMemory { .. })));
    });
}
