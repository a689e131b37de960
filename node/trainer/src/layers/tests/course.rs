//! Twenty steps of training on each engine, step for step beside the CPU engine: the same start,
//! the same rows, Adam. Losses agree within 1e-4 of their size, which is what rounding makes of a
//! run by then; a wrong gradient or a missed term is hundreds of times that.

use super::*;
use crate::definition::OptimizerSpec;
use crate::optimizer::Optimizer;

const STEPS: u32 = 20;
const BATCH: usize = 16;
const TOLERANCE: f64 = 1e-4;

fn models() -> [(&'static str, &'static str, Vec<usize>); 3] {
    [
        (
            "mlp",
            r#"{type="dense", units=64, activation="relu"},
               {type="dense", units=32, activation="relu"}, {type="dense", units=10}"#,
            vec![64],
        ),
        (
            "cnn",
            r#"{type="conv2d", filters=8, kernel=3, padding=1, activation="relu"},
               {type="max_pool2d", kernel=2},
               {type="conv2d", filters=16, kernel=3, padding=1, activation="relu"},
               {type="batch_norm"}, {type="max_pool2d", kernel=2}, {type="flatten"},
               {type="dense", units=32, activation="relu"}, {type="dense", units=10}"#,
            vec![1, 8, 8],
        ),
        (
            "transformer",
            r#"{type="embedding", vocabulary=50, dimensions=16}, {type="positional_embedding"},
               {type="residual", layers=[{type="layer_norm"},
                    {type="attention", heads=4, causal=true}]},
               {type="residual", layers=[{type="layer_norm"},
                    {type="dense", units=32, activation="gelu"}, {type="dense", units=16}]},
               {type="layer_norm"}, {type="flatten"}, {type="dense", units=10}"#,
            vec![12],
        ),
    ]
}

/// Losses of all steps.
fn course<E: Engine>(engine: &mut E, name: &str, layers: &str, input: &[usize]) -> Vec<f64> {
    let chain = Chain::new(&parsed(&layers.replace('\n', " ")), input).unwrap();
    let mut network = Network::new(engine, &chain, &chain.start(5)).unwrap();
    let adam: OptimizerSpec = toml::from_str("type = \"adam\"\nlearning_rate = 0.003").unwrap();
    let tensors = chain.tensors().into_iter().filter(|tensor| tensor.role == Role::Parameter);
    let shapes: Vec<Vec<usize>> = tensors.map(|tensor| tensor.shape).collect();
    let mut optimizer = Optimizer::new(engine, adam, &shapes).unwrap();
    let shape = batched(BATCH, chain.input());
    let plain = LossFunction::SoftmaxCrossEntropy { smoothing: 0.0, weights: None };
    let mut losses = Vec::new();
    for batch in 1..=STEPS {
        let mut values = drawn(shape.iter().product(), batch % 5);
        if name == "transformer" {
            values.iter_mut().for_each(|value| *value = ((*value + 1.5) / 3.0 * 50.0).floor());
        }
        let ids: Vec<u32> = (0..BATCH as u32).map(|row| (row * 7 + batch % 5) % 10).collect();
        let (x, ids) = (engine.upload(&values, &shape).unwrap(), engine.upload_ids(&ids).unwrap());
        let tape = network.forward(engine, x, Moment { batch, rows: BATCH, ..MOMENT }).unwrap();
        let target = Target::Classes(&ids);
        let found = engine.loss(&plain, tape.output(), target, BATCH as f64).unwrap();
        let gradients = network.backward(engine, tape, found.gradient).unwrap();
        optimizer.step(engine, network.parameters_mut(), &gradients, 0.003).unwrap();
        losses.push(found.loss);
    }
    losses
}

#[test]
fn twenty_steps_lead_the_same_way_on_every_engine() {
    for (name, layers, input) in models() {
        let expected = course(&mut CpuEngine::new(1).unwrap(), name, layers, &input);
        assert!(expected[19] < 0.98 * expected[0], "{name} learns: {expected:?}");
        on_each!(3, engine => {
            let found = course(engine, name, layers, &input);
            let pairs = expected.iter().zip(&found);
            let off = pairs.map(|(expected, found)| (found / expected - 1.0).abs());
            let most = off.fold(0.0, f64::max);
            eprintln!("{name} on {}: off by {most:.1e} at most", engine.name());
            assert!(most < TOLERANCE, "{name}: {found:?}, not {expected:?}");
        });
    }
}
