//! Layers that go through the positions of a row one after the other: `torch.nn.GRU` and
//! `torch.nn.LSTM` of one layer with `batch_first`, from a state of zeros. What a cell computes is
//! left to [`gru`] and [`lstm`]; here is the way through time, there and back.

mod gru;
mod lstm;

use std::rc::Rc;

use super::{Gradients, Kept, Layer, Moment, Pass, Start, TensorSpec, values};
use crate::engine::arrays::Side;
use crate::engine::{Engine, EngineError, InputGradient};

/// What happens at one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Gru,
    Lstm,
}

/// What is left of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    /// The outputs of all positions.
    Sequence,
    /// That of the last.
    Last,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recurrent {
    cell: Cell,
    /// `[positions, inputs]`.
    input: [usize; 2],
    units: usize,
    output: Vec<usize>,
    /// Of its start values.
    stream: u32,
}

/// A cell's state after a position, output first, and what its backward step needs.
struct Stepped<T> {
    state: Vec<Rc<T>>,
    kept: Vec<Rc<T>>,
}

/// Gradients of a cell at one position.
struct Slopes<T> {
    /// By what it got from the position, `[rows, gates · units]`.
    of_input: Rc<T>,
    /// By what it got from the output before, `[rows, gates · units]`.
    of_hidden: Rc<T>,
    /// By the output before, besides the way through `of_hidden`.
    output: Option<T>,
    /// By the rest of the state before.
    memory: Option<T>,
}

/// Slopes of all positions, first to last, by what the cell got from the position and from the
/// output before.
struct Through<T> {
    of_input: Vec<Rc<T>>,
    of_hidden: Vec<Rc<T>>,
}

impl Cell {
    fn gates(self) -> usize {
        match self {
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }

    /// Tensors `[rows, units]` that make up its state; the first is its output.
    fn states(self) -> usize {
        match self {
            Self::Gru => 1,
            Self::Lstm => 2,
        }
    }

    /// Units that a training step holds for each position.
    fn held(self) -> usize {
        match self {
            Self::Gru => gru::HELD,
            Self::Lstm => lstm::HELD,
        }
    }
}

impl Recurrent {
    pub(crate) fn new(
        cell: Cell,
        input: [usize; 2],
        units: usize,
        returned: Returned,
        stream: u32,
    ) -> Self {
        let output = match returned {
            Returned::Sequence => vec![input[0], units],
            Returned::Last => vec![units],
        };
        Self { cell, input, units, output, stream }
    }

    fn returned(&self) -> Returned {
        if self.output.len() == 2 { Returned::Sequence } else { Returned::Last }
    }

    /// `[rows, positions, inputs]` as `[positions · rows, inputs]`: each position in one piece.
    fn by_time<E: Engine>(
        &self,
        engine: &mut E,
        x: &E::Tensor,
        rows: usize,
    ) -> Result<E::Tensor, EngineError> {
        let [positions, inputs] = self.input;
        let turned = engine.permute(x, &[1, 0, 2])?;
        engine.reshape(turned, &[positions * rows, inputs])
    }

    /// The rows of position `time` of `[positions · rows, width]`.
    fn at<E: Engine>(
        engine: &mut E,
        all: &E::Tensor,
        time: usize,
        rows: usize,
    ) -> Result<E::Tensor, EngineError> {
        engine.slice(all, 0, time * rows..(time + 1) * rows)
    }

    /// Through all positions: the outputs, and of each position the state before it followed by
    /// what the cell kept.
    fn run<E: Engine>(
        &self,
        engine: &mut E,
        parameters: &[E::Tensor],
        flat: &E::Tensor,
        rows: usize,
        mut keep: impl FnMut(Vec<Rc<E::Tensor>>),
    ) -> Result<Vec<Rc<E::Tensor>>, EngineError> {
        let [of_input, of_hidden, input_bias, hidden_bias] = parameters else {
            unreachable!("a recurrent layer has four tensors");
        };
        let from_input = engine.linear(flat, of_input, input_bias)?;
        let mut state = Vec::new();
        for _ in 0..self.cell.states() {
            state.push(Rc::new(engine.zeros(&[rows, self.units])?));
        }
        let mut outputs = Vec::with_capacity(self.input[0]);
        for time in 0..self.input[0] {
            let input = Self::at(engine, &from_input, time, rows)?;
            let hidden = engine.linear(&state[0], of_hidden, hidden_bias)?;
            let Stepped { state: next, kept } = match self.cell {
                Cell::Gru => gru::step(engine, &input, &hidden, &state, self.units)?,
                Cell::Lstm => lstm::step(engine, &input, &hidden, &state, self.units)?,
            };
            keep(state.into_iter().chain(kept).collect());
            state = next;
            match self.returned() {
                Returned::Sequence => outputs.push(Rc::clone(&state[0])),
                Returned::Last => outputs = vec![Rc::clone(&state[0])],
            }
        }
        Ok(outputs)
    }

    /// Outputs of the positions as the next layer takes them.
    fn returns<E: Engine>(
        &self,
        engine: &mut E,
        mut outputs: Vec<Rc<E::Tensor>>,
        rows: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        match self.returned() {
            Returned::Last => Ok(outputs.pop().expect("a row has a position")),
            Returned::Sequence => {
                let outputs: Vec<&E::Tensor> = outputs.iter().map(|output| &**output).collect();
                let all = engine.concatenate(&outputs, 0)?;
                let all = engine.reshape(all, &[self.input[0], rows, self.units])?;
                engine.permute(&all, &[1, 0, 2]).map(Rc::new)
            }
        }
    }

    /// The way back through time; `weight` is that of the output before.
    fn run_back<E: Engine>(
        &self,
        engine: &mut E,
        weight: &E::Tensor,
        steps: &[Kept<E::Tensor>],
        slope: Rc<E::Tensor>,
        rows: usize,
    ) -> Result<Through<E::Tensor>, EngineError> {
        let positions = self.input[0];
        let later = match self.returned() {
            Returned::Last => None,
            Returned::Sequence => {
                let turned = engine.permute(&slope, &[1, 0, 2])?;
                Some(engine.reshape(turned, &[positions * rows, self.units])?)
            }
        };
        let mut output = match later {
            None => Rc::unwrap_or_clone(slope),
            Some(_) => engine.zeros(&[rows, self.units])?,
        };
        let mut memory = None;
        let mut through = Through { of_input: Vec::new(), of_hidden: Vec::new() };
        for (time, step) in steps.iter().enumerate().rev() {
            if let Some(all) = &later {
                let own = Self::at(engine, all, time, rows)?;
                output = engine.add(&output, &own)?;
            }
            let (kept, units) = (&step.tensors[..], self.units);
            let found = match self.cell {
                Cell::Gru => gru::step_back(engine, kept, &output, units)?,
                Cell::Lstm => lstm::step_back(engine, kept, &output, memory.as_ref(), units)?,
            };
            let by_weight = engine.matmul(&found.of_hidden, Side::Plain, weight, Side::Plain)?;
            output = match found.output {
                None => by_weight,
                Some(direct) => engine.add(&direct, &by_weight)?,
            };
            memory = found.memory;
            through.of_input.push(found.of_input);
            through.of_hidden.push(found.of_hidden);
        }
        through.of_input.reverse();
        through.of_hidden.reverse();
        Ok(through)
    }
}

impl Layer for Recurrent {
    fn kind(&self) -> &'static str {
        match self.cell {
            Cell::Gru => "gru",
            Cell::Lstm => "lstm",
        }
    }

    fn output(&self) -> &[usize] {
        &self.output
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let gates = self.cell.gates() * self.units;
        // PyTorch draws all four so, whatever the number of inputs.
        let start = Start::fan_in(self.stream, self.units);
        vec![
            TensorSpec::parameter("weight_ih_l0", &[gates, self.input[1]], start),
            TensorSpec::parameter("weight_hh_l0", &[gates, self.units], start),
            TensorSpec::parameter("bias_ih_l0", &[gates], start),
            TensorSpec::parameter("bias_hh_l0", &[gates], start),
        ]
    }

    fn flops(&self) -> u64 {
        let [positions, inputs] = self.input;
        let gates = self.cell.gates() * self.units;
        2 * (positions * gates) as u64 * (inputs + self.units) as u64
    }

    fn held(&self) -> u64 {
        let cells = (self.input[0] * self.units * self.cell.held()) as u64;
        values(&self.output) + values(&self.input) + cells
    }

    /// With what all positions give to their cells.
    fn widest(&self) -> u64 {
        values(&[self.input[0], self.cell.gates(), self.units]).max(values(&self.input))
    }

    fn predict<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        x: Rc<E::Tensor>,
        rows: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        let flat = self.by_time(engine, &x, rows)?;
        let outputs = self.run(engine, state, &flat, rows, drop)?;
        self.returns(engine, outputs, rows)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        state: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        moment: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        let flat = self.by_time(engine, &x, moment.rows)?;
        let mut inner = Vec::with_capacity(self.input[0]);
        let keep = |tensors: Vec<Rc<E::Tensor>>| inner.push(Kept::tensors(tensors));
        let outputs = self.run(engine, state, &flat, moment.rows, keep)?;
        let output = self.returns(engine, outputs, moment.rows)?;
        Ok(Pass { output, kept: Kept { tensors: vec![Rc::new(flat)], inner } })
    }

    fn backward<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        kept: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        input: InputGradient,
        rows: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        let Kept { tensors, inner } = kept;
        let through = self.run_back(engine, &state[1], &inner, slope, rows)?;
        let before: Vec<_> = inner.into_iter().map(|step| Rc::clone(&step.tensors[0])).collect();
        let before = stacked(engine, &before)?;
        let of_hidden = stacked(engine, &through.of_hidden)?;
        let unused = InputGradient::Unused;
        let hidden = engine.linear_backward(&before, &state[1], &of_hidden, unused)?;
        let of_input = stacked(engine, &through.of_input)?;
        let found = engine.linear_backward(&tensors[0], &state[0], &of_input, input)?;
        let input = match found.input {
            None => None,
            Some(flat) => {
                let [positions, inputs] = self.input;
                let by_time = engine.reshape(flat, &[positions, rows, inputs])?;
                Some(Rc::new(engine.permute(&by_time, &[1, 0, 2])?))
            }
        };
        let parameters = vec![found.weight, hidden.weight, found.bias, hidden.bias];
        Ok(Gradients { input, parameters })
    }
}

/// All positions, one below the other.
fn stacked<E: Engine>(
    engine: &mut E,
    positions: &[Rc<E::Tensor>],
) -> Result<E::Tensor, EngineError> {
    let positions: Vec<&E::Tensor> = positions.iter().map(|position| &**position).collect();
    engine.concatenate(&positions, 0)
}

/// Columns of some of the gates.
fn gates<E: Engine>(
    engine: &mut E,
    all: &E::Tensor,
    range: std::ops::Range<usize>,
    units: usize,
) -> Result<E::Tensor, EngineError> {
    engine.slice(all, 1, range.start * units..range.end * units)
}
