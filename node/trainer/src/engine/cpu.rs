//! The embedded engine: pure Rust, no system library. Results never depend on the number of
//! threads: work is divided over values of the result only, and every sum is taken in one fixed
//! order. Transcendental functions come from `libm`, not from the host. What is left of the host
//! is whether its processor fuses products and sums, which [`CpuEngine::class`] tells.

mod activation;
mod arrays;
mod axes;
mod conv;
mod embedding;
mod fours;
mod functions;
mod gemm;
mod images;
mod lanes;
mod losses;
mod matmul;
mod memory;
mod norms;
mod peak;
mod pool;
mod rows;
mod steps;
mod team;
mod vectors;

use super::{
    AdamStep, Engine, EngineError, InputGradient, Linear, LinearGradients, LossFunction,
    LossGradient, Moments, RmsState, RmsStep, SgdStep, Target,
};
use crate::definition::Activation;
use crate::limits;
pub(crate) use conv::scratch as conv_scratch;
use gemm::{Matrix, Start, gemm};
use memory::{Buffer, Home};
pub use peak::peak_flops;
use team::Team;
use vectors::Level;

/// Pure Rust on host threads of its own.
#[derive(Debug)]
pub struct CpuEngine {
    team: Team,
    home: Home,
}

/// Values in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct CpuTensor {
    values: Buffer,
    shape: Vec<usize>,
}

impl CpuEngine {
    /// Raised whenever the bits of a result change.
    const NAME: &'static str = "cpu-ref/2";

    /// What results are called that have the same bits. Processors that do not fuse products and
    /// sums round otherwise, and other architectures were never compared: theirs are of a class of
    /// their own, as in `cpu-ref/2-aarch64`.
    pub fn class() -> String {
        match Level::of_processor() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512 => Self::NAME.to_owned(),
            Level::Plain => format!("{}-{}", Self::NAME, std::env::consts::ARCH),
        }
    }

    /// An engine that works on `threads` threads, at least one.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] if there are more than [`limits::MAX_THREADS`], or the system
    /// refuses to start them.
    pub fn new(threads: usize) -> Result<Self, EngineError> {
        let threads = threads.max(1);
        if threads > limits::MAX_THREADS {
            let limit = limits::MAX_THREADS;
            let why = format!("{threads} threads are more than the {limit} allowed");
            return Err(EngineError::Unavailable(why));
        }
        let team = Team::start(threads);
        let team = team.map_err(|fault| EngineError::Unavailable(fault.to_string()))?;
        Ok(Self { team, home: Home::default() })
    }
}

impl Engine for CpuEngine {
    type Tensor = CpuTensor;
    type Ids = Vec<u32>;

    fn name(&self) -> String {
        Self::class()
    }

    fn threads(&self) -> u32 {
        self.team.size() as u32
    }

    fn upload(&mut self, values: &[f32], shape: &[usize]) -> Result<CpuTensor, EngineError> {
        if shape.iter().product::<usize>() != values.len() {
            return Err(unfit("upload", &[values.len()], shape));
        }
        let mut copy = self.room(values.len())?;
        copy.extend_from_slice(values);
        Ok(CpuTensor { values: copy, shape: shape.to_vec() })
    }

    fn upload_written<F: From<EngineError>>(
        &mut self,
        shape: &[usize],
        write: impl FnOnce(&mut Vec<f32>) -> Result<(), F>,
    ) -> Result<CpuTensor, F> {
        let count = shape.iter().product();
        let mut values = self.room(count)?;
        write(&mut values)?;
        if values.len() == count {
            Ok(CpuTensor { values, shape: shape.to_vec() })
        } else {
            Err(unfit("upload", &[values.len()], shape).into())
        }
    }

    fn upload_ids(&mut self, ids: &[u32]) -> Result<Vec<u32>, EngineError> {
        Ok(ids.to_vec())
    }

    fn download(&mut self, tensor: &CpuTensor) -> Result<Vec<f32>, EngineError> {
        let mut copy = Vec::new();
        if copy.try_reserve_exact(tensor.values.len()).is_err() {
            return Err(EngineError::OutOfMemory { bytes: tensor.values.len() as u64 * 4 });
        }
        copy.extend_from_slice(&tensor.values);
        Ok(copy)
    }

    fn zeros(&mut self, shape: &[usize]) -> Result<CpuTensor, EngineError> {
        self.zeros_of(shape)
    }

    fn linear(
        &mut self,
        x: &CpuTensor,
        weight: &CpuTensor,
        bias: &CpuTensor,
    ) -> Result<CpuTensor, EngineError> {
        let size = Linear::of("linear", &x.shape, &weight.shape)?;
        let Linear { rows, inputs, outputs, shape } = size;
        if bias.values.len() != outputs {
            return Err(unfit("linear", &weight.shape, &bias.shape));
        }
        let mut y = self.unset(&shape)?;
        let x = Matrix::new(&x.values, rows, inputs);
        let weight = Matrix::new(&weight.values, outputs, inputs).transposed();
        gemm(self, x, weight, Start::Row(&bias.values), &mut y.values)?;
        Ok(y)
    }

    fn linear_backward(
        &mut self,
        x: &CpuTensor,
        weight: &CpuTensor,
        dy: &CpuTensor,
        input: InputGradient,
    ) -> Result<LinearGradients<CpuTensor>, EngineError> {
        let size = Linear::of("linear_backward", &x.shape, &weight.shape)?;
        let Linear { rows, inputs, outputs, shape } = size;
        if dy.shape != shape {
            return Err(unfit("linear_backward", &dy.shape, &weight.shape));
        }
        let slope = Matrix::new(&dy.values, rows, outputs);
        let mut dw = self.unset(&[outputs, inputs])?;
        let by = Matrix::new(&x.values, rows, inputs);
        gemm(self, slope.transposed(), by, Start::Zero, &mut dw.values)?;
        let mut bias = self.zeros_of(&[outputs])?;
        let share = self.columns_each(outputs, dy.values.len());
        self.in_shares(&mut bias.values, share, |first, sums| {
            rows::add_columns(&dy.values, outputs, first, sums);
        });
        let dx = match input {
            InputGradient::Unused => None,
            InputGradient::Wanted => {
                let mut dx = self.unset(&x.shape)?;
                let weight = Matrix::new(&weight.values, outputs, inputs);
                gemm(self, slope, weight, Start::Zero, &mut dx.values)?;
                Some(dx)
            }
        };
        Ok(LinearGradients { input: dx, weight: dw, bias })
    }

    fn activate(&mut self, function: Activation, x: &CpuTensor) -> Result<CpuTensor, EngineError> {
        let copy = self.copy_of(x)?;
        self.activate_in_place(function, copy)
    }

    fn activate_backward(
        &mut self,
        function: Activation,
        x: &CpuTensor,
        y: &CpuTensor,
        dy: &CpuTensor,
    ) -> Result<CpuTensor, EngineError> {
        let copy = self.copy_of(dy)?;
        self.activate_backward_in_place(function, x, y, copy)
    }

    fn needs_no_input(&self, function: Activation) -> bool {
        activation::is_known_by_output(function)
    }

    fn activate_in_place(
        &mut self,
        function: Activation,
        mut x: CpuTensor,
    ) -> Result<CpuTensor, EngineError> {
        if function == Activation::Softmax {
            let width = row_length(&x);
            self.in_rows(&mut x.values, width, width * arrays::EXP, |_, piece| {
                activation::softmax(piece, width);
            });
        } else {
            self.in_pieces(&mut x.values, |_, piece| activation::forward(function, piece));
        }
        Ok(x)
    }

    fn activate_backward_in_place(
        &mut self,
        function: Activation,
        x: &CpuTensor,
        y: &CpuTensor,
        mut dy: CpuTensor,
    ) -> Result<CpuTensor, EngineError> {
        same("activate_backward", x, y)?;
        same("activate_backward", x, &dy)?;
        if function == Activation::Softmax {
            let width = row_length(x);
            self.in_rows(&mut dy.values, width, width * 2, |first, piece| {
                let y = &y.values[first * width..][..piece.len()];
                activation::softmax_backward(y, piece, width);
            });
        } else {
            self.in_pieces(&mut dy.values, |offset, piece| {
                let range = offset..offset + piece.len();
                activation::backward(function, &x.values[range.clone()], &y.values[range], piece);
            });
        }
        Ok(dy)
    }

    fn multiply(&mut self, left: &CpuTensor, right: &CpuTensor) -> Result<CpuTensor, EngineError> {
        same("multiply", left, right)?;
        let mut product = self.copy_of(left)?;
        self.in_pieces(&mut product.values, |offset, piece| {
            let factors = &right.values[offset..];
            piece.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
        });
        Ok(product)
    }

    fn loss(
        &mut self,
        function: &LossFunction<CpuTensor>,
        output: &CpuTensor,
        target: Target<'_, Self>,
        divisor: f64,
    ) -> Result<LossGradient<CpuTensor>, EngineError> {
        losses::loss(self, function, output, target, divisor)
    }

    fn argmax_rows(&mut self, tensor: &CpuTensor) -> Result<Vec<u32>, EngineError> {
        let width = row_length(tensor);
        let largest = |row: &[f32]| {
            let better =
                |best: usize, index: usize| if row[index] > row[best] { index } else { best };
            (1..row.len()).fold(0, better) as u32
        };
        Ok(tensor.values.chunks_exact(width).map(largest).collect())
    }

    fn sgd(
        &mut self,
        parameter: &mut CpuTensor,
        gradient: &CpuTensor,
        velocity: Option<&mut CpuTensor>,
        step: &SgdStep,
    ) -> Result<(), EngineError> {
        same("sgd", parameter, gradient)?;
        match velocity {
            None => steps::sgd(&mut parameter.values, &gradient.values, step),
            Some(velocity) => {
                same("sgd", parameter, velocity)?;
                let (parameter, velocity) = (&mut parameter.values, &mut velocity.values);
                steps::momentum(&self.team, parameter, &gradient.values, velocity, step);
            }
        }
        Ok(())
    }

    fn adam(
        &mut self,
        parameter: &mut CpuTensor,
        gradient: &CpuTensor,
        moments: Moments<'_, CpuTensor>,
        step: &AdamStep,
    ) -> Result<(), EngineError> {
        same("adam", parameter, gradient)?;
        same("adam", parameter, moments.first)?;
        same("adam", parameter, moments.second)?;
        let (first, second) = (&mut moments.first.values, &mut moments.second.values);
        let parameter = &mut parameter.values;
        steps::adam(&self.team, parameter, &gradient.values, first, second, step);
        Ok(())
    }

    fn rmsprop(
        &mut self,
        parameter: &mut CpuTensor,
        gradient: &CpuTensor,
        state: RmsState<'_, CpuTensor>,
        step: &RmsStep,
    ) -> Result<(), EngineError> {
        same("rmsprop", parameter, gradient)?;
        same("rmsprop", parameter, state.square)?;
        for kept in state.mean.iter().chain(&state.velocity) {
            same("rmsprop", parameter, kept)?;
        }
        let state = RmsState {
            square: &mut state.square.values[..],
            mean: state.mean.map(|mean| &mut mean.values[..]),
            velocity: state.velocity.map(|velocity| &mut velocity.values[..]),
        };
        steps::rmsprop(&self.team, &mut parameter.values, &gradient.values, state, step);
        Ok(())
    }

    fn accumulate(&mut self, sum: &mut CpuTensor, part: &CpuTensor) -> Result<(), EngineError> {
        same("accumulate", sum, part)?;
        self.in_pieces(&mut sum.values, |offset, piece| {
            let part = &part.values[offset..][..piece.len()];
            piece.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        });
        Ok(())
    }

    fn scale_in_place(&mut self, tensor: &mut CpuTensor, factor: f64) -> Result<(), EngineError> {
        let factor = factor as f32;
        self.in_pieces(&mut tensor.values, |_, piece| {
            piece.iter_mut().for_each(|value| *value *= factor);
        });
        Ok(())
    }

    fn clamp(&mut self, tensor: &mut CpuTensor, limit: f64) -> Result<(), EngineError> {
        let limit = limit as f32;
        self.in_pieces(&mut tensor.values, |_, piece| {
            piece.iter_mut().for_each(|value| *value = value.clamp(-limit, limit));
        });
        Ok(())
    }

    fn sum_of_squares(&mut self, tensor: &CpuTensor) -> Result<f64, EngineError> {
        Ok(steps::sum_of_squares(&self.team, &tensor.values))
    }
}

fn matrix(operation: &'static str, tensor: &CpuTensor) -> Result<(usize, usize), EngineError> {
    match tensor.shape[..] {
        [rows, columns] if columns > 0 => Ok((rows, columns)),
        _ => Err(unfit(operation, &tensor.shape, &[0, 0])),
    }
}

fn row_length(tensor: &CpuTensor) -> usize {
    tensor.shape.last().copied().unwrap_or(1).max(1)
}

fn same(operation: &'static str, left: &CpuTensor, right: &CpuTensor) -> Result<(), EngineError> {
    if left.shape == right.shape {
        Ok(())
    } else {
        Err(unfit(operation, &left.shape, &right.shape))
    }
}

fn unfit(operation: &'static str, left: &[usize], right: &[usize]) -> EngineError {
    EngineError::Shape { operation, left: left.to_vec(), right: right.to_vec() }
}
