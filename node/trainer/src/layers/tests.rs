//! Gradients of whole networks on the f64 reference engine against central differences of the
//! loss, parameter by parameter; and the CPU engine against the reference on the same network.

use super::*;
use crate::definition::{Activation, LayerSpec};
use crate::engine::cpu::CpuEngine;
use crate::engine::reference::{Exact, Reference};
use crate::engine::{LossFunction, Target};
use crate::random::{Purpose, Stream};

const ROWS: usize = 5;
const FEATURES: usize = 4;
const OUTPUTS: usize = 3;
const MOMENT: Moment = Moment { seed: 11, epoch: 2, batch: 3, rows: ROWS, first_row: 0 };

fn specs(function: Activation, dropout: f64) -> Vec<LayerSpec> {
    vec![
        LayerSpec::Flatten {},
        LayerSpec::Dense { units: 6, activation: Some(function) },
        LayerSpec::Dropout { rate: dropout },
        LayerSpec::Dense { units: 5, activation: None },
        LayerSpec::Activation { function },
        LayerSpec::Dense { units: OUTPUTS as u32, activation: None },
    ]
}

#[derive(Clone, Copy, Debug)]
enum Goal {
    Classes,
    Values,
}

fn drawn(count: usize, epoch: u32) -> Vec<f32> {
    let mut values = vec![0.0; count];
    Stream::new(3, Purpose::Order { epoch }).fill_uniform(&mut values, 1.5);
    values
}

/// Loss of one training step and its gradients.
fn step<E: Engine>(
    engine: &mut E,
    network: &mut Network<E::Tensor>,
    goal: Goal,
) -> (f64, Vec<E::Tensor>) {
    let x = engine.upload(&drawn(ROWS * FEATURES, 1), &[ROWS, FEATURES]).unwrap();
    let tape = network.forward(engine, x, MOMENT).unwrap();
    let found = match goal {
        Goal::Classes => {
            let ids = engine.upload_ids(&[0, 2, 1, 1, 0]).unwrap();
            let plain = LossFunction::SoftmaxCrossEntropy { smoothing: 0.0, weights: None };
            engine.loss(&plain, tape.output(), Target::Classes(&ids), ROWS as f64).unwrap()
        }
        Goal::Values => {
            let target = engine.upload(&drawn(ROWS * OUTPUTS, 2), &[ROWS, OUTPUTS]).unwrap();
            let count = (ROWS * OUTPUTS) as f64;
            let target = Target::Values(&target);
            engine.loss(&LossFunction::Squared, tape.output(), target, count).unwrap()
        }
    };
    (found.loss, network.backward(engine, tape, found.gradient).unwrap())
}

fn cases() -> Vec<(Activation, f64, Goal)> {
    let functions = [
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Softmax,
        Activation::Gelu,
        Activation::Silu,
        Activation::Elu,
    ];
    let both = |function| [(function, 0.0, Goal::Classes), (function, 0.4, Goal::Values)];
    functions.into_iter().flat_map(both).collect()
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    const H: f64 = 1e-6;
    for (function, dropout, goal) in cases() {
        let chain = Chain::new(&specs(function, dropout), &[FEATURES]).unwrap();
        let engine = &mut Reference;
        let mut network = Network::new(engine, &chain, &chain.start(5)).unwrap();
        let (_, gradients) = step(engine, &mut network, goal);
        assert_eq!(gradients.len(), network.parameters_mut().len());
        for (parameter, gradient) in gradients.iter().enumerate() {
            for index in 0..gradient.values.len() {
                let mut loss_at = |offset: f64| {
                    network.parameters_mut()[parameter].values[index] += offset;
                    let (loss, _) = step(&mut Reference, &mut network, goal);
                    network.parameters_mut()[parameter].values[index] -= offset;
                    loss
                };
                let slope = (loss_at(H) - loss_at(-H)) / (2.0 * H);
                let found = gradient.values[index];
                let case = format!("{function:?} {goal:?}, parameter {parameter}, value {index}");
                assert!((slope - found).abs() < 1e-7, "{case}: {found}, not {slope}");
            }
        }
    }
}

#[test]
fn the_cpu_engine_computes_the_same_network() {
    for (function, dropout, goal) in cases() {
        let chain = Chain::new(&specs(function, dropout), &[FEATURES]).unwrap();
        let values = chain.start(5);
        let cpu = &mut CpuEngine::new(1).unwrap();
        let mut network = Network::new(cpu, &chain, &values).unwrap();
        let (loss, gradients) = step(cpu, &mut network, goal);
        let mut exact = Network::new(&mut Reference, &chain, &values).unwrap();
        let (exact_loss, exact_gradients) = step(&mut Reference, &mut exact, goal);
        assert!((loss - exact_loss).abs() < 1e-6, "{function:?}: {loss}, not {exact_loss}");
        for (found, exact) in gradients.iter().zip(&exact_gradients) {
            let found = cpu.download(found).unwrap();
            assert!(distance(&found, exact) < 2e-6, "{function:?} {goal:?}");
        }
    }
}

/// Largest difference.
fn distance(found: &[f32], exact: &Exact) -> f64 {
    assert_eq!(found.len(), exact.values.len());
    let off = |(found, exact): (&f32, &f64)| (f64::from(*found) - exact).abs();
    found.iter().zip(&exact.values).map(off).fold(0.0, f64::max)
}

#[test]
fn dropout_zeroes_its_share_only_while_training() {
    let specs =
        [LayerSpec::Dense { units: 100, activation: None }, LayerSpec::Dropout { rate: 0.25 }];
    let chain = Chain::new(&specs, &[FEATURES]).unwrap();
    let engine = &mut CpuEngine::new(1).unwrap();
    let mut network = Network::new(engine, &chain, &chain.start(5)).unwrap();
    let x = engine.upload(&drawn(200 * FEATURES, 1), &[200, FEATURES]).unwrap();
    let plain = network.predict(engine, x.clone(), 200).unwrap();
    let plain = engine.download(&plain).unwrap();
    let mut forward = |engine: &mut CpuEngine, moment| {
        let tape = network.forward(engine, x.clone(), Moment { rows: 200, ..moment }).unwrap();
        engine.download(tape.output()).unwrap()
    };
    let dropped = forward(engine, MOMENT);
    let zeros = dropped.iter().filter(|value| **value == 0.0).count();
    // Binomial: 20 000 draws, standard deviation 61.
    assert!((4700..5300).contains(&zeros), "{zeros}");
    for (dropped, plain) in dropped.iter().zip(&plain) {
        assert!(*dropped == 0.0 || (dropped * 0.75 - plain).abs() < 1e-5);
    }
    assert_eq!(dropped, forward(engine, MOMENT));
    assert_ne!(dropped, forward(engine, Moment { batch: 4, ..MOMENT }));
    assert!(plain.iter().all(|value| *value != 0.0));
}

/// Rows of a part are dropped as they would be in the whole.
#[test]
fn parts_of_a_batch_have_the_masks_of_the_whole() {
    let specs = [LayerSpec::Dense { units: 9, activation: None }, LayerSpec::Dropout { rate: 0.4 }];
    let chain = Chain::new(&specs, &[FEATURES]).unwrap();
    let engine = &mut CpuEngine::new(1).unwrap();
    let mut network = Network::new(engine, &chain, &chain.start(5)).unwrap();
    let mut forward = |range: std::ops::Range<usize>| {
        let rows = range.len();
        let values = &drawn(20 * FEATURES, 1)[range.start * FEATURES..range.end * FEATURES];
        let x = engine.upload(values, &[rows, FEATURES]).unwrap();
        let moment = Moment { rows, first_row: range.start, ..MOMENT };
        let tape = network.forward(engine, x, moment).unwrap();
        engine.download(tape.output()).unwrap()
    };
    let whole = forward(0..20);
    let parts = [forward(0..7), forward(7..13), forward(13..20)].concat();
    assert_eq!(whole, parts);
    assert!(whole.contains(&0.0));
}
