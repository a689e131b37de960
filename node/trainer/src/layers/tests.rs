//! Gradients of whole networks on the f64 reference engine against central differences of the
//! loss, parameter by parameter; and the engines against the reference on the same network.

mod course;
mod sequence;

use std::collections::BTreeMap;

use super::*;
use crate::definition::{Activation, LayerSpec};
use crate::engine::cpu::CpuEngine;
use crate::engine::images::{Images, Window};
use crate::engine::reference::{Exact, Reference};
use crate::engine::tests::on_each;
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

/// Rows of [`PICTURE`] values through every kind of layer that works on pictures.
const PICTURE: [usize; 3] = [2, 6, 5];

/// Layers in TOML.
fn parsed(layers: &str) -> Vec<LayerSpec> {
    #[derive(serde::Deserialize)]
    struct Table {
        layers: Vec<LayerSpec>,
    }
    toml::from_str::<Table>(&format!("layers = [{layers}]")).unwrap().layers
}

/// Models for rows of the given shape, each with layers that the others lack.
fn models() -> Vec<(&'static str, &'static [usize])> {
    vec![
        (
            r#"{type="conv2d", filters=4, kernel=3, padding=1, activation="tanh"},
               {type="max_pool2d", kernel=2}, {type="flatten"}, {type="dense", units=3}"#,
            &PICTURE,
        ),
        (
            r#"{type="conv2d", filters=4, kernel=[3, 2], stride=[2, 1], padding=[1, 0],
                dilation=[1, 2], groups=2, bias=false}, {type="batch_norm"},
               {type="activation", function="sigmoid"},
               {type="avg_pool2d", kernel=[2, 3], stride=1, padding=[1, 0]},
               {type="flatten"}, {type="dropout", rate=0.2}, {type="dense", units=3}"#,
            &PICTURE,
        ),
        (
            r#"{type="dense", units=60, activation="silu"}, {type="reshape", shape=[2, 6, 5]},
               {type="conv2d", filters=3, kernel=[2, 4], padding="same"},
               {type="layer_norm", axes=3}, {type="global_avg_pool"}, {type="batch_norm"},
               {type="dense", units=3}"#,
            &[FEATURES],
        ),
        (
            r#"{type="residual", activation="tanh", layers=[
                    {type="conv2d", filters=2, kernel=3, padding=1, activation="gelu"},
                    {type="batch_norm"}]},
               {type="residual", layers=[{type="conv2d", filters=3, kernel=3, stride=2, padding=1},
                    {type="residual", layers=[{type="activation", function="tanh"}]}]},
               {type="max_pool2d", kernel=3, stride=2, padding=1}, {type="flatten"},
               {type="dense", units=3}"#,
            &PICTURE,
        ),
        (
            r#"{type="dense", units=5, activation="tanh"}, {type="layer_norm"},
               {type="residual", layers=[{type="dense", units=4, activation="elu"}]},
               {type="flatten"}, {type="dense", units=3}"#,
            &[3, 4],
        ),
        (r#"{type="flatten"}, {type="residual", layers=[{type="dense", units=3}]}"#, &PICTURE),
    ]
}

/// Loss of one training step and its gradients.
fn step<E: Engine>(
    engine: &mut E,
    network: &mut Network<E::Tensor>,
    goal: Goal,
) -> (f64, Vec<E::Tensor>) {
    let shape = batched(ROWS, network.chain().input());
    let x = engine.upload(&drawn(shape.iter().product(), 1), &shape).unwrap();
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

fn functions() -> impl Iterator<Item = (String, Chain, Goal)> {
    cases().into_iter().map(|(function, dropout, goal)| {
        let chain = Chain::new(&specs(function, dropout), &[FEATURES]).unwrap();
        (format!("{function:?} {goal:?}"), chain, goal)
    })
}

fn pictures() -> impl Iterator<Item = (String, Chain, Goal)> {
    models().into_iter().map(|(layers, input)| {
        let layers = layers.replace('\n', " ");
        let chain = Chain::new(&parsed(&layers), input).unwrap();
        (layers, chain, Goal::Classes)
    })
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    const H: f64 = 1e-6;
    for (name, chain, goal) in functions().chain(pictures()) {
        let engine = &mut Reference;
        let mut network = Network::new(engine, &chain, &chain.start(5)).unwrap();
        let (_, gradients) = step(engine, &mut network, goal);
        assert_eq!(gradients.len(), network.parameters_mut().len());
        for (parameter, gradient) in gradients.iter().enumerate() {
            // Large weights by some of their values.
            let step_by = gradient.values.len().div_ceil(40);
            for index in (0..gradient.values.len()).step_by(step_by) {
                let mut loss_at = |offset: f64| {
                    network.parameters_mut()[parameter].values[index] += offset;
                    let (loss, _) = step(&mut Reference, &mut network, goal);
                    network.parameters_mut()[parameter].values[index] -= offset;
                    loss
                };
                let slope = (loss_at(H) - loss_at(-H)) / (2.0 * H);
                let found = gradient.values[index];
                let case = format!("{name}, parameter {parameter}, value {index}");
                assert!((slope - found).abs() < 1e-7, "{case}: {found}, not {slope}");
            }
        }
    }
}

#[test]
fn the_engines_compute_the_same_network() {
    for (name, chain, goal) in functions().chain(pictures()) {
        on_each!(1, engine => { same_network(engine, &name, &chain, goal); });
    }
}

/// Two steps and a prediction on `engine` and on the reference.
fn same_network<E: Engine>(engine: &mut E, name: &str, chain: &Chain, goal: Goal) {
    let values = chain.start(5);
    let mut network = Network::new(engine, chain, &values).unwrap();
    let mut exact = Network::new(&mut Reference, chain, &values).unwrap();
    // The second step goes by buffers that the first has changed.
    for _ in 0..2 {
        let (loss, gradients) = step(engine, &mut network, goal);
        let (exact_loss, exact_gradients) = step(&mut Reference, &mut exact, goal);
        assert!((loss - exact_loss).abs() < 2e-6, "{name}: {loss}, not {exact_loss}");
        for (found, exact) in gradients.iter().zip(&exact_gradients) {
            let found = engine.download(found).unwrap();
            let off = distance(&found, exact);
            // Slopes behind a norm of few values: one that takes its mean in 32 bits is off by more.
            assert!(off < 2e-5, "{name}: off by {off:e}");
        }
    }
    let shape = batched(ROWS, chain.input());
    let x = drawn(shape.iter().product(), 6);
    let found = engine.upload(&x, &shape).unwrap();
    let found = network.predict(engine, found, ROWS).unwrap();
    let expected = Reference.upload(&x, &shape).unwrap();
    let expected = exact.predict(&mut Reference, expected, ROWS).unwrap();
    assert_eq!(expected.shape, batched(ROWS, chain.output()));
    let off = distance(&engine.download(&found).unwrap(), &expected);
    assert!(off < 5e-6, "{name}: a prediction is off by {off:e}");
}

#[test]
fn tensors_are_named_as_in_pytorch() {
    let named = |layers: &str, input: &[usize]| {
        let tensors = Chain::new(&parsed(&layers.replace('\n', " ")), input).unwrap().tensors();
        let named = tensors.into_iter().map(|tensor| (tensor.name, tensor.shape));
        named.collect::<Vec<_>>()
    };
    let expected = |list: &[(&str, &[usize])]| {
        let all = list.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec()));
        all.collect::<Vec<_>>()
    };
    let (layers, input) = models()[3];
    let names = expected(&[
        ("0.layers.0.weight", &[2, 2, 3, 3]),
        ("0.layers.0.bias", &[2]),
        ("0.layers.2.weight", &[2]),
        ("0.layers.2.bias", &[2]),
        ("0.layers.2.running_mean", &[2]),
        ("0.layers.2.running_var", &[2]),
        ("2.layers.0.weight", &[3, 2, 3, 3]),
        ("2.layers.0.bias", &[3]),
        ("2.projection.weight", &[3, 2, 1, 1]),
        ("2.projection.bias", &[3]),
        ("5.weight", &[3, 12]),
        ("5.bias", &[3]),
    ]);
    assert_eq!(named(layers, input), names);
    let (layers, input) = models()[1];
    assert_eq!(named(layers, input)[0], ("0.weight".to_owned(), vec![4, 1, 3, 2]));
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

/// A rectification that works after the pooling behind it gives what it gave before it; the mean of
/// a window would be another, and stays behind it.
#[test]
fn rectified_and_pooled_is_the_same_in_either_order() {
    let window =
        Window { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], before: [1, 1], after: [1, 1] };
    let chain = |pool: &str| {
        let pool = format!("{{ type = \"{pool}\", kernel = 3, stride = 2, padding = 1 }}");
        let layers = format!("{{ type = \"activation\", function = \"relu\" }}, {pool}");
        Chain::new(&parsed(&layers), &PICTURE).unwrap()
    };
    let (largest, mean) = (chain("max_pool2d"), chain("avg_pool2d"));
    on_each!(1, engine => {
        let shape = [&[ROWS], &PICTURE[..]].concat();
        let x = engine.upload(&drawn(ROWS * values(&PICTURE) as usize, 0), &shape).unwrap();
        let rectified = engine.activate(Activation::Relu, &x).unwrap();
        let dy = drawn(ROWS * values(largest.output()) as usize, 1);
        let dy = engine.upload(&dy, &[&[ROWS], largest.output()].concat()).unwrap();
        let of_largest = engine.max_pool2d_backward(&rectified, &dy, &window).unwrap();
        let of_mean = engine.avg_pool2d_backward(&dy, &shape, &window).unwrap();
        let y_largest = engine.max_pool2d(&rectified, &window).unwrap();
        let y_mean = engine.avg_pool2d(&rectified, &window).unwrap();
        for (chain, y, back) in [(&largest, y_largest, of_largest), (&mean, y_mean, of_mean)] {
            let dx = engine.activate_backward(Activation::Relu, &x, &rectified, &back).unwrap();
            let pass = chain.forward(engine, &mut [], Rc::new(x.clone()), MOMENT).unwrap();
            assert_eq!(engine.download(&pass.output).unwrap(), engine.download(&y).unwrap());
            let (slope, wanted) = (Rc::new(dy.clone()), InputGradient::Wanted);
            let found = chain.backward(engine, &[], pass.kept, slope, wanted, ROWS).unwrap();
            let found = engine.download(&found.input.unwrap()).unwrap();
            assert_eq!(found, engine.download(&dx).unwrap());
            assert!(found.iter().any(|slope| *slope != 0.0));
            let scored = chain.predict(engine, &[], Rc::new(x.clone()), ROWS).unwrap();
            assert_eq!(engine.download(&scored).unwrap(), engine.download(&y).unwrap());
        }
    });
}
