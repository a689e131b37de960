//! Layers for sequences: what they compute against plain loops over PyTorch's formulas, their
//! gradients against central differences, and the engines against the reference.

use super::*;

const ROWS: usize = 3;
const POSITIONS: usize = 4;
const WIDTH: usize = 6;
const UNITS: usize = 5;
const VOCABULARY: u32 = 7;
const AT: Moment = Moment { rows: ROWS, ..MOMENT };

fn gru(return_sequences: bool) -> LayerSpec {
    LayerSpec::Gru { units: UNITS as u32, return_sequences }
}

fn lstm(return_sequences: bool) -> LayerSpec {
    LayerSpec::Lstm { units: UNITS as u32, return_sequences }
}

fn attention(causal: bool, dropout: f64) -> LayerSpec {
    LayerSpec::Attention { heads: 2, causal, dropout }
}

/// Models of one layer for sequences each, that take ids or values.
fn cases() -> Vec<(&'static str, bool, Vec<LayerSpec>)> {
    let embedding = || LayerSpec::Embedding { vocabulary: VOCABULARY, dimensions: WIDTH as u32 };
    vec![
        ("embedding", true, vec![embedding()]),
        ("positional", false, vec![LayerSpec::PositionalEmbedding {}]),
        ("attention", false, vec![attention(false, 0.0)]),
        ("causal attention", false, vec![attention(true, 0.0)]),
        ("attention with dropout", false, vec![attention(true, 0.3)]),
        ("gru", false, vec![gru(false)]),
        ("gru, all positions", false, vec![gru(true)]),
        ("lstm", false, vec![lstm(false)]),
        ("lstm, all positions", false, vec![lstm(true)]),
        (
            "one after the other",
            true,
            vec![
                embedding(),
                LayerSpec::PositionalEmbedding {},
                attention(true, 0.2),
                gru(true),
                lstm(true),
                LayerSpec::Dense { units: 3, activation: Some(Activation::Gelu) },
                lstm(false),
            ],
        ),
    ]
}

fn input(ids: bool) -> (Vec<f32>, Vec<usize>) {
    if ids {
        let values = drawn(ROWS * POSITIONS, 1).into_iter();
        let values = values.map(|value| ((value + 1.5) / 3.0 * VOCABULARY as f32).floor());
        (values.collect(), vec![POSITIONS])
    } else {
        (drawn(ROWS * POSITIONS * WIDTH, 1), vec![POSITIONS, WIDTH])
    }
}

/// The mean square of the output's distance to drawn values, and its gradients.
fn pass<E: Engine>(
    engine: &mut E,
    network: &mut Network<E::Tensor>,
    ids: bool,
    output: &[usize],
) -> (f64, Vec<E::Tensor>) {
    let (values, shape) = input(ids);
    let x = engine.upload(&values, &batched(ROWS, &shape)).unwrap();
    let tape = network.forward(engine, x, AT).unwrap();
    let shape = batched(ROWS, output);
    let count: usize = shape.iter().product();
    let target = engine.upload(&drawn(count, 2), &shape).unwrap();
    let target = Target::Values(&target);
    let found = engine.loss(&LossFunction::Squared, tape.output(), target, count as f64).unwrap();
    (found.loss, network.backward(engine, tape, found.gradient).unwrap())
}

#[test]
fn gradients_of_sequence_layers_are_the_slopes_of_the_loss() {
    const H: f64 = 1e-5;
    for (name, ids, specs) in cases() {
        let chain = Chain::new(&specs, &input(ids).1).unwrap();
        let engine = &mut Reference;
        let mut network = Network::new(engine, &chain, &chain.start(5)).unwrap();
        let (_, gradients) = pass(engine, &mut network, ids, chain.output());
        assert_eq!(gradients.len(), network.parameters_mut().len(), "{name}");
        for (parameter, gradient) in gradients.iter().enumerate() {
            for index in 0..gradient.values.len() {
                let mut loss_at = |offset: f64| {
                    network.parameters_mut()[parameter].values[index] += offset;
                    let (loss, _) = pass(&mut Reference, &mut network, ids, chain.output());
                    network.parameters_mut()[parameter].values[index] -= offset;
                    loss
                };
                let slope = (loss_at(H) - loss_at(-H)) / (2.0 * H);
                let found = gradient.values[index];
                let case = format!("{name}, parameter {parameter}, value {index}");
                assert!((slope - found).abs() < 1e-8, "{case}: {found}, not {slope}");
            }
        }
    }
}

/// What a first layer has no use for, one further in needs.
#[test]
fn gradients_pass_through_sequence_layers_to_those_before() {
    const H: f64 = 1e-5;
    for (name, ids, mut specs) in cases().into_iter().filter(|(_, ids, _)| !ids) {
        specs.insert(0, LayerSpec::Dense { units: WIDTH as u32, activation: None });
        let chain = Chain::new(&specs, &[POSITIONS, WIDTH]).unwrap();
        let mut network = Network::new(&mut Reference, &chain, &chain.start(5)).unwrap();
        let (_, gradients) = pass(&mut Reference, &mut network, ids, chain.output());
        for index in 0..gradients[0].values.len() {
            let mut loss_at = |offset: f64| {
                network.parameters_mut()[0].values[index] += offset;
                let (loss, _) = pass(&mut Reference, &mut network, ids, chain.output());
                network.parameters_mut()[0].values[index] -= offset;
                loss
            };
            let slope = (loss_at(H) - loss_at(-H)) / (2.0 * H);
            let found = gradients[0].values[index];
            assert!((slope - found).abs() < 1e-8, "{name}, value {index}: {found}, not {slope}");
        }
    }
}

#[test]
fn the_engines_compute_the_same_sequence_layers() {
    for (name, ids, specs) in cases() {
        on_each!(3, engine => { same_layers(engine, name, ids, &specs) });
    }
}

fn same_layers<E: Engine>(engine: &mut E, name: &str, ids: bool, specs: &[LayerSpec]) {
    let chain = Chain::new(specs, &input(ids).1).unwrap();
    let start = chain.start(5);
    let mut network = Network::new(engine, &chain, &start).unwrap();
    let (loss, gradients) = pass(engine, &mut network, ids, chain.output());
    let mut exact = Network::new(&mut Reference, &chain, &start).unwrap();
    let (exact_loss, slopes) = pass(&mut Reference, &mut exact, ids, chain.output());
    assert!((loss - exact_loss).abs() < 1e-6, "{name}: {loss}, not {exact_loss}");
    assert_eq!(gradients.len(), slopes.len(), "{name}");
    for (parameter, (found, exact)) in gradients.iter().zip(&slopes).enumerate() {
        let found = engine.download(found).unwrap();
        assert!(distance(&found, exact) < 2e-6, "{name}, parameter {parameter}");
    }
}

/// Outputs of one layer in f64, and its start values by name.
fn outputs(spec: LayerSpec) -> (Vec<f64>, BTreeMap<String, Vec<f64>>) {
    let chain = Chain::new(&[spec], &[POSITIONS, WIDTH]).unwrap();
    let start = chain.start(9);
    let network = Network::new(&mut Reference, &chain, &start).unwrap();
    let x = Reference.upload(&input(false).0, &[ROWS, POSITIONS, WIDTH]).unwrap();
    let y = network.predict(&mut Reference, x, ROWS).unwrap();
    let named = start.into_iter().map(|tensor| {
        let values = tensor.values.iter().map(|value| f64::from(*value)).collect();
        (tensor.name, values)
    });
    (y.values, named.collect())
}

/// Vector `index` of the input, which has one for each position of each row.
fn vector(index: usize) -> Vec<f64> {
    let all = input(false).0;
    all[index * WIDTH..(index + 1) * WIDTH].iter().map(|value| f64::from(*value)).collect()
}

/// `weight · x + bias`, rows `first..first + count` of it.
fn affine(x: &[f64], weight: &[f64], bias: &[f64], first: usize, count: usize) -> Vec<f64> {
    let row = |row: usize| {
        let weight = &weight[row * x.len()..(row + 1) * x.len()];
        bias[row] + weight.iter().zip(x).map(|(weight, x)| weight * x).sum::<f64>()
    };
    (first..first + count).map(row).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn close(name: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 1e-7, "{name}, {index}: {found}, not {expected}");
    }
}

/// The formulas in the documentation of `torch.nn.GRU` and `torch.nn.LSTM`, position by position.
#[test]
fn recurrent_layers_compute_what_pytorch_documents() {
    for (name, spec, gates) in [("gru", gru(true), 3), ("lstm", lstm(true), 4)] {
        let (found, state) = outputs(spec);
        let [wi, wh] = ["0.weight_ih_l0", "0.weight_hh_l0"].map(|name| &state[name]);
        let [bi, bh] = ["0.bias_ih_l0", "0.bias_hh_l0"].map(|name| &state[name]);
        assert_eq!(wi.len(), gates * UNITS * WIDTH);
        let mut expected = Vec::new();
        for row in 0..ROWS {
            let (mut h, mut c) = (vec![0.0; UNITS], vec![0.0; UNITS]);
            for position in 0..POSITIONS {
                let x = vector(row * POSITIONS + position);
                let i = |gate: usize| affine(&x, wi, bi, gate * UNITS, UNITS);
                let o = |gate: usize| affine(&h, wh, bh, gate * UNITS, UNITS);
                let sum = |gate: usize, unit: usize| i(gate)[unit] + o(gate)[unit];
                let unit = |unit: usize| {
                    if gates == 3 {
                        let (r, z) = (sigmoid(sum(0, unit)), sigmoid(sum(1, unit)));
                        let n = (i(2)[unit] + r * o(2)[unit]).tanh();
                        ((1.0 - z) * n + z * h[unit], 0.0)
                    } else {
                        let (i, f) = (sigmoid(sum(0, unit)), sigmoid(sum(1, unit)));
                        let (g, o) = (sum(2, unit).tanh(), sigmoid(sum(3, unit)));
                        let c = f * c[unit] + i * g;
                        (o * c.tanh(), c)
                    }
                };
                (h, c) = (0..UNITS).map(unit).unzip();
                expected.extend(&h);
            }
        }
        close(name, &found, &expected);
        let last = if gates == 3 { gru(false) } else { lstm(false) };
        let each_last = expected.chunks(POSITIONS * UNITS);
        let each_last = each_last.flat_map(|row| &row[(POSITIONS - 1) * UNITS..]).copied();
        close(name, &outputs(last).0, &each_last.collect::<Vec<_>>());
    }
}

/// `softmax(Q Kᵀ / √d) V` head by head, as in the documentation of
/// `torch.nn.MultiheadAttention`.
#[test]
fn attention_computes_what_pytorch_documents() {
    const HEAD: usize = WIDTH / 2;
    for causal in [false, true] {
        let (found, state) = outputs(attention(causal, 0.5));
        let (w, b) = (&state["0.in_proj_weight"], &state["0.in_proj_bias"]);
        let mut expected = Vec::new();
        for row in 0..ROWS {
            for position in 0..POSITIONS {
                let mut mixed = vec![0.0; WIDTH];
                for head in 0..2 {
                    let part = |of: usize, part: usize| {
                        let x = vector(row * POSITIONS + of);
                        affine(&x, w, b, part * WIDTH + head * HEAD, HEAD)
                    };
                    let seen = if causal { position + 1 } else { POSITIONS };
                    let score = |of: usize| {
                        let (query, key) = (part(position, 0), part(of, 1));
                        let product: f64 = query.iter().zip(&key).map(|(q, k)| q * k).sum();
                        (product / (HEAD as f64).sqrt()).exp()
                    };
                    let all: f64 = (0..seen).map(score).sum();
                    for of in 0..seen {
                        for (place, value) in part(of, 2).into_iter().enumerate() {
                            mixed[head * HEAD + place] += score(of) / all * value;
                        }
                    }
                }
                let (w, b) = (&state["0.out_proj.weight"], &state["0.out_proj.bias"]);
                expected.extend(affine(&mixed, w, b, 0, WIDTH));
            }
        }
        close("attention", &found, &expected);
    }
}

#[test]
fn start_values_are_drawn_as_pytorch_draws_them() {
    let specs = [
        LayerSpec::Embedding { vocabulary: 500, dimensions: 64 },
        LayerSpec::PositionalEmbedding {},
        LayerSpec::Attention { heads: 4, causal: true, dropout: 0.0 },
        LayerSpec::Lstm { units: 100, return_sequences: false },
    ];
    let start = Chain::new(&specs, &[10]).unwrap().start(1);
    let named: BTreeMap<_, _> =
        start.into_iter().map(|tensor| (tensor.name, (tensor.shape, tensor.values))).collect();
    let table = &named["0.weight"].1;
    let (count, sum) = (table.len() as f64, table.iter().map(|v| f64::from(*v)).sum::<f64>());
    let squares = table.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
    // 32 000 draws: the mean has a deviation of 0.0056, the variance one of 0.0079.
    assert!((sum / count).abs() < 0.03, "mean {}", sum / count);
    assert!((squares / count - 1.0).abs() < 0.04, "variance {}", squares / count);
    let beyond = table.iter().filter(|value| value.abs() > 1.96).count();
    assert!((1400..1800).contains(&beyond), "{beyond} of 32 000 beyond 1.96 deviations");
    assert_eq!(named["1.weight"].0, [10, 64]);
    let largest = |name: &str| named[name].1.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
    for (name, bound) in [
        ("2.in_proj_weight", (6.0_f32 / 256.0).sqrt()),
        ("2.out_proj.weight", 0.125),
        ("3.weight_ih_l0", 0.1),
        ("3.weight_hh_l0", 0.1),
        ("3.bias_ih_l0", 0.1),
        ("3.bias_hh_l0", 0.1),
    ] {
        let largest = largest(name);
        assert!(largest <= bound && largest > 0.95 * bound, "{name}: {largest}, not {bound}");
    }
    assert_eq!(largest("2.in_proj_bias"), 0.0);
    assert_eq!(largest("2.out_proj.bias"), 0.0);
    assert_eq!(named["3.weight_ih_l0"].0, [400, 64]);
}

#[test]
fn sequence_layers_that_do_not_fit_say_why() {
    let told = |specs: &[LayerSpec], input: &[usize]| {
        let fault = Chain::new(specs, input).unwrap_err();
        format!("{}: {}", fault.place, fault.misfit)
    };
    assert_eq!(
        told(&[attention(false, 0.0)], &[4]),
        "layer 0 (attention): its input has the shape [4], which is none of a sequence; put an \
         embedding, or a reshape to [positions, dimensions], before it"
    );
    assert!(told(&[gru(true)], &[4]).contains("none of a sequence"));
    assert!(told(&[LayerSpec::PositionalEmbedding {}], &[4, 2, 2]).contains("[4, 2, 2]"));
    assert_eq!(
        told(&[LayerSpec::Attention { heads: 4, causal: false, dropout: 0.0 }], &[4, 6]),
        "layer 0 (attention): its input has 6 dimensions, which 4 heads do not divide"
    );
    assert!(told(&[attention(false, 0.0)], &[4000, 2]).contains("more than"));
}
