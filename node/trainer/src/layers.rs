//! A model as modules in a row over any engine: forward, backward, and the start weights. Losses
//! are the engine's, steps are [`crate::optimizer`]'s.

#[cfg(test)]
mod tests;

use crate::definition::Activation;
use crate::engine::{Engine, EngineError, InputGradient};
use crate::plan::Module;
use crate::random::{Purpose, Stream};

/// Modules with their parameters on the engine.
pub(crate) struct Network<T> {
    nodes: Vec<Node<T>>,
}

enum Node<T> {
    Dense { weight: T, bias: T },
    Activation(Activation),
    Dropout { rate: f64, width: usize },
    Flatten,
}

/// Weight and bias of a dense module on the host, weight as `[outputs, inputs]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DenseValues {
    pub(crate) module: usize,
    pub(crate) inputs: usize,
    pub(crate) units: usize,
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// Start weights as `torch.nn.Linear` draws them: uniform within `1 / sqrt(inputs)`.
pub(crate) fn initial(modules: &[(Module, usize)], seed: u64) -> Vec<DenseValues> {
    let mut values = Vec::new();
    for (module, (kind, _)) in modules.iter().enumerate() {
        let Module::Dense { inputs, units } = *kind else {
            continue;
        };
        let mut stream = Stream::new(seed, Purpose::Weights { layer: module as u32 });
        let bound = (1.0 / (inputs as f64).sqrt()) as f32;
        let (mut weight, mut bias) = (vec![0.0; inputs * units], vec![0.0; units]);
        stream.fill_uniform(&mut weight, bound);
        stream.fill_uniform(&mut bias, bound);
        values.push(DenseValues { module, inputs, units, weight, bias });
    }
    values
}

/// Where in a run a batch is; its dropout depends on nothing else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) seed: u64,
    pub(crate) epoch: u32,
    pub(crate) batch: u32,
    /// Rows of the batch that went before, where it passes in parts.
    pub(crate) first_row: usize,
}

/// What a forward pass leaves for the backward pass.
pub(crate) struct Tape<T> {
    /// The batch, then the output of each step.
    values: Vec<T>,
    steps: Vec<Step<T>>,
}

struct Step<T> {
    node: usize,
    mask: Option<T>,
}

impl<T> Tape<T> {
    pub(crate) fn output(&self) -> &T {
        self.values.last().expect("the batch itself is always there")
    }
}

impl<T: Clone + std::fmt::Debug> Network<T> {
    /// Puts `values`, one for each dense module in order, onto the engine.
    pub(crate) fn new<E: Engine<Tensor = T>>(
        engine: &mut E,
        modules: &[(Module, usize)],
        values: &[DenseValues],
    ) -> Result<Self, EngineError> {
        let mut dense = values.iter();
        let mut nodes = Vec::with_capacity(modules.len());
        for (module, width) in modules {
            nodes.push(match *module {
                Module::Dense { inputs, units } => {
                    let values = dense.next().expect("one set of values for each dense module");
                    let weight = engine.upload(&values.weight, &[units, inputs])?;
                    Node::Dense { weight, bias: engine.upload(&values.bias, &[units])? }
                }
                Module::Activation(function) => Node::Activation(function),
                Module::Dropout { rate } => Node::Dropout { rate, width: *width },
                Module::Flatten => Node::Flatten,
            });
        }
        Ok(Self { nodes })
    }

    /// Outputs for `x [rows, features]`, without dropout.
    pub(crate) fn predict<E: Engine<Tensor = T>>(
        &self,
        engine: &mut E,
        x: T,
    ) -> Result<T, EngineError> {
        let mut value = x;
        for node in &self.nodes {
            value = match node {
                Node::Dense { weight, bias } => engine.linear(&value, weight, bias)?,
                Node::Activation(function) => engine.activate(*function, &value)?,
                Node::Dropout { .. } | Node::Flatten => value,
            };
        }
        Ok(value)
    }

    /// The pass of a training step over `rows` rows.
    pub(crate) fn forward<E: Engine<Tensor = T>>(
        &self,
        engine: &mut E,
        x: T,
        rows: usize,
        moment: Moment,
    ) -> Result<Tape<T>, EngineError> {
        let mut tape = Tape { values: vec![x], steps: Vec::with_capacity(self.nodes.len()) };
        for (index, node) in self.nodes.iter().enumerate() {
            let (value, mask) = match node {
                Node::Dense { weight, bias } => (engine.linear(tape.output(), weight, bias)?, None),
                Node::Activation(function) => (engine.activate(*function, tape.output())?, None),
                Node::Dropout { rate: 0.0, .. } | Node::Flatten => continue,
                Node::Dropout { rate, width } => {
                    let mask = mask(engine, *rate, rows, *width, index as u32, moment)?;
                    (engine.multiply(tape.output(), &mask)?, Some(mask))
                }
            };
            tape.values.push(value);
            tape.steps.push(Step { node: index, mask });
        }
        Ok(tape)
    }

    /// Gradients in the order of [`Self::parameters_mut`], from that of the output.
    pub(crate) fn backward<E: Engine<Tensor = T>>(
        &self,
        engine: &mut E,
        tape: Tape<T>,
        output_gradient: T,
    ) -> Result<Vec<T>, EngineError> {
        let is_dense = |node: &Node<T>| matches!(node, Node::Dense { .. });
        let first_dense = self.nodes.iter().position(is_dense);
        let Tape { mut values, steps } = tape;
        let mut slope = output_gradient;
        let mut gradients = Vec::new();
        for step in steps.into_iter().rev() {
            let y = values.pop().expect("each step left its output");
            let x = values.last().expect("each step has an input");
            match (&self.nodes[step.node], step.mask) {
                (Node::Dense { weight, .. }, _) => {
                    let is_first = first_dense == Some(step.node);
                    let want = if is_first { InputGradient::Unused } else { InputGradient::Wanted };
                    let dense = engine.linear_backward(x, weight, &slope, want)?;
                    gradients.extend([dense.bias, dense.weight]);
                    match dense.input {
                        Some(input) => slope = input,
                        // Nothing before the first dense module has parameters.
                        None => break,
                    }
                }
                (Node::Activation(function), _) => {
                    slope = engine.activate_backward(*function, x, &y, &slope)?;
                }
                (Node::Dropout { .. }, Some(mask)) => slope = engine.multiply(&slope, &mask)?,
                (Node::Dropout { .. } | Node::Flatten, _) => {}
            }
        }
        gradients.reverse();
        Ok(gradients)
    }

    /// Weight and bias of each dense module, in order.
    pub(crate) fn parameters_mut(&mut self) -> Vec<&mut T> {
        let mut parameters = Vec::new();
        for node in &mut self.nodes {
            if let Node::Dense { weight, bias } = node {
                parameters.extend([weight, bias]);
            }
        }
        parameters
    }

    /// Copies the parameters to the host.
    pub(crate) fn values<E: Engine<Tensor = T>>(
        &self,
        engine: &mut E,
        modules: &[(Module, usize)],
    ) -> Result<Vec<DenseValues>, EngineError> {
        let mut values = Vec::new();
        for (module, (node, (kind, _))) in self.nodes.iter().zip(modules).enumerate() {
            if let (Node::Dense { weight, bias }, Module::Dense { inputs, units }) = (node, *kind) {
                let (weight, bias) = (engine.download(weight)?, engine.download(bias)?);
                values.push(DenseValues { module, inputs, units, weight, bias });
            }
        }
        Ok(values)
    }
}

fn mask<E: Engine>(
    engine: &mut E,
    rate: f64,
    rows: usize,
    width: usize,
    layer: u32,
    moment: Moment,
) -> Result<E::Tensor, EngineError> {
    let Moment { seed, epoch, batch, first_row } = moment;
    let mut values = vec![0.0; rows * width];
    let kept = (1.0 / (1.0 - rate)) as f32;
    let mut stream = Stream::new(seed, Purpose::Dropout { epoch, batch, layer });
    stream.skip(first_row * width);
    stream.fill_mask(&mut values, rate, kept);
    engine.upload(&values, &[rows, width])
}
