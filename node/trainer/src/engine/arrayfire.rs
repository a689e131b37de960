//! The engine that computes with ArrayFire, on a GPU by CUDA or OpenCL, or by the library's own
//! code for processors. Tensors stay on the device; each operation is computed when it is called,
//! in as few passes as the library finds, so that nothing that is put off piles up.
//!
//! The library is opened at run time by `cyxwiz_arrayfire`. It gives no promise of equal bits: sums
//! depend on the device and, on processors, on the number of threads.

mod activation;
mod arrays;
mod axes;
mod conv;
pub(crate) mod devices;
mod embedding;
mod guard;
mod images;
mod losses;
mod norms;
mod pool;
mod steps;
mod values;
mod windows;

use std::fmt;

use arrayfire::{Array, MatProp};

use super::arrays::unfit;
use super::choice::ArrayFireChoice;
use super::{
    AdamStep, Engine, EngineError, InputGradient, Linear, LinearGradients, LossFunction,
    LossGradient, Moments, RmsState, RmsStep, SgdStep, Target,
};
use crate::definition::Activation;
use guard::guarded;
use losses::{Rows, Shares};
use values::{Values, dims, full, matmul, shaped};

/// ArrayFire on one device.
#[derive(Debug)]
pub struct ArrayFireEngine {
    name: String,
    threads: u16,
}

/// Values in the device's memory, row-major.
#[derive(Clone)]
pub struct ArrayFireTensor {
    values: Values,
    shape: Vec<usize>,
}

impl fmt::Debug for ArrayFireTensor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ArrayFireTensor({:?})", self.shape)
    }
}

/// One class a row; the host keeps them too, to name one that is too large.
#[derive(Debug)]
pub struct ArrayFireIds(Vec<u32>);

impl ArrayFireEngine {
    /// An engine on one device; matrix products of processors get `threads` threads. The library
    /// stays open until the process ends, and its device is the calling thread's.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] without a library, with the places that were looked at, or
    /// without such a device, and [`EngineError::Device`] where its driver fails.
    pub fn new(choice: &ArrayFireChoice, threads: u16) -> Result<Self, EngineError> {
        let ArrayFireChoice { backend, device, library } = choice;
        let loaded = match library {
            Some(file) => cyxwiz_arrayfire::load_file(*backend, file),
            None => cyxwiz_arrayfire::load(*backend),
        };
        let loaded = loaded.map_err(|error| EngineError::Unavailable(error.to_string()))?;
        let threads = threads.max(1);
        loaded.set_threads(threads);
        let found = devices::listed(loaded)?;
        let Some(described) = found.devices.get(usize::from(*device)) else {
            let count = found.devices.len();
            return Err(EngineError::Unavailable(format!(
                "ArrayFire has {count} devices for {backend}, counted from 0, and none of number \
                 {device}"
            )));
        };
        let device = i32::from(*device);
        guarded(0, || arrayfire::set_device(device))?;
        if !described.is_gpu {
            reserve_work_space(device)?;
        }
        let name = format!("arrayfire-{backend}/{} {}", found.version, described.name);
        Ok(Self { name, threads })
    }
}

/// Lets OpenBLAS, which does the products of processors, take its work space while there is memory:
/// it does so in the first that is not a small one, and where memory has run out it asks for ever.
fn reserve_work_space(device: i32) -> Result<(), EngineError> {
    /// Above the hundred to which some of its kernels do without.
    const SIZE: usize = 128;
    guarded(SIZE * SIZE, || {
        let ones = arrayfire::constant(1.0_f32, dims([SIZE, SIZE, 1, 1]));
        matmul(&ones, &ones, MatProp::NONE, MatProp::NONE).eval();
        arrayfire::sync(device);
    })
}

/// Runs `work` and computes its result now.
fn tensor(shape: &[usize], work: impl FnOnce() -> Values) -> Result<ArrayFireTensor, EngineError> {
    let count = shape.iter().product();
    let values = guarded(count, || {
        if count == 0 {
            return Array::new_empty(dims([0; 4]));
        }
        let values = work();
        values.eval();
        values
    })?;
    Ok(ArrayFireTensor { values, shape: shape.to_vec() })
}

impl ArrayFireTensor {
    fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The last axis, and all others together.
    fn rows(&self) -> [usize; 2] {
        let width = self.shape.last().copied().unwrap_or(1).max(1);
        [width, self.count() / width]
    }

    /// `[width, rows]`.
    fn by_rows(&self) -> Values {
        let [width, rows] = self.rows();
        shaped(&self.values, [width, rows, 1, 1])
    }

    /// All in a line.
    fn flat(&self) -> Values {
        shaped(&self.values, [self.count(), 1, 1, 1])
    }
}

impl Engine for ArrayFireEngine {
    type Tensor = ArrayFireTensor;
    type Ids = ArrayFireIds;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn threads(&self) -> u32 {
        u32::from(self.threads)
    }

    fn upload(&mut self, values: &[f32], shape: &[usize]) -> Result<ArrayFireTensor, EngineError> {
        if shape.iter().product::<usize>() != values.len() {
            return Err(unfit("upload", &[values.len()], shape));
        }
        tensor(shape, || Array::new(values, dims([values.len(), 1, 1, 1])))
    }

    fn upload_ids(&mut self, ids: &[u32]) -> Result<ArrayFireIds, EngineError> {
        Ok(ArrayFireIds(ids.to_vec()))
    }

    fn download(&mut self, tensor: &ArrayFireTensor) -> Result<Vec<f32>, EngineError> {
        downloaded(&tensor.values, tensor.count())
    }

    fn zeros(&mut self, shape: &[usize]) -> Result<ArrayFireTensor, EngineError> {
        zeros(shape)
    }

    fn linear(
        &mut self,
        x: &ArrayFireTensor,
        weight: &ArrayFireTensor,
        bias: &ArrayFireTensor,
    ) -> Result<ArrayFireTensor, EngineError> {
        let size = Linear::of("linear", &x.shape, &weight.shape)?;
        if bias.count() != size.outputs {
            return Err(unfit("linear", &weight.shape, &bias.shape));
        }
        tensor(&size.shape, || {
            let y = matmul(&weight.by_rows(), &x.by_rows(), MatProp::TRANS, MatProp::NONE);
            values::add(&y, &bias.flat())
        })
    }

    fn linear_backward(
        &mut self,
        x: &ArrayFireTensor,
        weight: &ArrayFireTensor,
        dy: &ArrayFireTensor,
        input: InputGradient,
    ) -> Result<LinearGradients<ArrayFireTensor>, EngineError> {
        let size = Linear::of("linear_backward", &x.shape, &weight.shape)?;
        let Linear { rows, inputs, outputs, shape } = size;
        if dy.shape != shape {
            return Err(unfit("linear_backward", &dy.shape, &weight.shape));
        }
        let (to_weight, to_bias) = match rows {
            0 => (zeros(&[outputs, inputs])?, zeros(&[outputs])?),
            _ => (
                tensor(&[outputs, inputs], || {
                    matmul(&x.by_rows(), &dy.by_rows(), MatProp::NONE, MatProp::TRANS)
                })?,
                tensor(&[outputs], || values::sum(&dy.by_rows(), 1))?,
            ),
        };
        let input = match input {
            InputGradient::Unused => None,
            InputGradient::Wanted => Some(tensor(&x.shape, || {
                matmul(&weight.by_rows(), &dy.by_rows(), MatProp::NONE, MatProp::NONE)
            })?),
        };
        Ok(LinearGradients { input, weight: to_weight, bias: to_bias })
    }

    fn activate(
        &mut self,
        function: Activation,
        x: &ArrayFireTensor,
    ) -> Result<ArrayFireTensor, EngineError> {
        tensor(&x.shape, || activation::forward(function, &x.by_rows()))
    }

    fn activate_backward(
        &mut self,
        function: Activation,
        x: &ArrayFireTensor,
        y: &ArrayFireTensor,
        dy: &ArrayFireTensor,
    ) -> Result<ArrayFireTensor, EngineError> {
        same("activate_backward", x, y)?;
        same("activate_backward", x, dy)?;
        tensor(&x.shape, || {
            activation::backward(function, &x.by_rows(), &y.by_rows(), &dy.by_rows())
        })
    }

    fn needs_no_input(&self, function: Activation) -> bool {
        activation::is_known_by_output(function)
    }

    fn multiply(
        &mut self,
        left: &ArrayFireTensor,
        right: &ArrayFireTensor,
    ) -> Result<ArrayFireTensor, EngineError> {
        same("multiply", left, right)?;
        tensor(&left.shape, || values::mul(&left.flat(), &right.flat()))
    }

    fn loss(
        &mut self,
        function: &LossFunction<ArrayFireTensor>,
        output: &ArrayFireTensor,
        target: Target<'_, Self>,
        divisor: f64,
    ) -> Result<LossGradient<ArrayFireTensor>, EngineError> {
        let rows = rows_of_loss(function, output, &target, divisor)?;
        let losses = downloaded(&rows.losses, output.rows()[1])?;
        let loss = losses.into_iter().map(f64::from).sum::<f64>() / divisor;
        let gradient = ArrayFireTensor { values: rows.slopes, shape: output.shape.clone() };
        Ok(LossGradient { loss, gradient })
    }

    fn argmax_rows(&mut self, tensor: &ArrayFireTensor) -> Result<Vec<u32>, EngineError> {
        let [width, rows] = tensor.rows();
        if rows == 0 {
            return Ok(Vec::new());
        }
        // By the place of the first, as the library gives the last of equals on some devices.
        let first = guarded(rows, || {
            let x = tensor.by_rows();
            let places = arrayfire::range::<f32>(x.dims(), 0);
            let most = arrayfire::eq(&x, &values::largest(&x, 0), true);
            let last = (width - 1) as f64;
            arrayfire::min(&arrayfire::selectr(&places, &most, last), 0)
        })?;
        let places = downloaded(&first, rows)?;
        Ok(places.into_iter().map(|place| place as u32).collect())
    }

    fn sgd(
        &mut self,
        parameter: &mut ArrayFireTensor,
        gradient: &ArrayFireTensor,
        velocity: Option<&mut ArrayFireTensor>,
        step: &SgdStep,
    ) -> Result<(), EngineError> {
        same("sgd", parameter, gradient)?;
        if let Some(velocity) = &velocity {
            same("sgd", parameter, velocity)?;
        }
        let (new, moved) = guarded(parameter.count(), || {
            let before = velocity.as_ref().map(|velocity| velocity.flat());
            steps::sgd(&parameter.flat(), &gradient.flat(), before.as_ref(), step)
        })?;
        parameter.values = new;
        if let (Some(velocity), Some(moved)) = (velocity, moved) {
            velocity.values = moved;
        }
        Ok(())
    }

    fn adam(
        &mut self,
        parameter: &mut ArrayFireTensor,
        gradient: &ArrayFireTensor,
        moments: Moments<'_, ArrayFireTensor>,
        step: &AdamStep,
    ) -> Result<(), EngineError> {
        same("adam", parameter, gradient)?;
        same("adam", parameter, moments.first)?;
        same("adam", parameter, moments.second)?;
        let [new, first, second] = guarded(parameter.count(), || {
            let (first, second) = (moments.first.flat(), moments.second.flat());
            steps::adam(&parameter.flat(), &gradient.flat(), [&first, &second], step)
        })?;
        parameter.values = new;
        (moments.first.values, moments.second.values) = (first, second);
        Ok(())
    }

    fn rmsprop(
        &mut self,
        parameter: &mut ArrayFireTensor,
        gradient: &ArrayFireTensor,
        state: RmsState<'_, ArrayFireTensor>,
        step: &RmsStep,
    ) -> Result<(), EngineError> {
        same("rmsprop", parameter, gradient)?;
        same("rmsprop", parameter, state.square)?;
        for kept in state.mean.iter().chain(&state.velocity) {
            same("rmsprop", parameter, kept)?;
        }
        let (new, after) = guarded(parameter.count(), || {
            let before = steps::Rms {
                square: state.square.flat(),
                mean: state.mean.as_ref().map(|mean| mean.flat()),
                velocity: state.velocity.as_ref().map(|velocity| velocity.flat()),
            };
            steps::rmsprop(&parameter.flat(), &gradient.flat(), &before, step)
        })?;
        parameter.values = new;
        state.square.values = after.square;
        if let (Some(mean), Some(after)) = (state.mean, after.mean) {
            mean.values = after;
        }
        if let (Some(velocity), Some(after)) = (state.velocity, after.velocity) {
            velocity.values = after;
        }
        Ok(())
    }

    fn accumulate(
        &mut self,
        sum: &mut ArrayFireTensor,
        part: &ArrayFireTensor,
    ) -> Result<(), EngineError> {
        same("accumulate", sum, part)?;
        *sum = tensor(&sum.shape, || values::add(&sum.flat(), &part.flat()))?;
        Ok(())
    }

    fn scale_in_place(
        &mut self,
        scaled: &mut ArrayFireTensor,
        factor: f64,
    ) -> Result<(), EngineError> {
        *scaled = tensor(&scaled.shape, || values::times(&scaled.flat(), factor as f32))?;
        Ok(())
    }

    fn clamp(&mut self, clamped: &mut ArrayFireTensor, limit: f64) -> Result<(), EngineError> {
        let limit = limit as f32;
        *clamped = tensor(&clamped.shape, || {
            let x = clamped.flat();
            let low = values::choose(&values::below(&x, -limit), &full(&x, -limit), &x);
            values::choose(&values::above(&low, limit), &full(&low, limit), &low)
        })?;
        Ok(())
    }

    fn sum_of_squares(&mut self, tensor: &ArrayFireTensor) -> Result<f64, EngineError> {
        match tensor.count() {
            0 => Ok(0.0),
            count => guarded(count, || steps::sum_of_squares(&tensor.flat())),
        }
    }
}

fn rows_of_loss(
    function: &LossFunction<ArrayFireTensor>,
    output: &ArrayFireTensor,
    target: &Target<'_, ArrayFireEngine>,
    divisor: f64,
) -> Result<Rows, EngineError> {
    let [width, rows] = output.rows();
    let weights = match function {
        LossFunction::SoftmaxCrossEntropy { weights, .. } => weights.as_ref(),
        LossFunction::BinaryCrossEntropy { positive_weight } => positive_weight.as_ref(),
        LossFunction::Squared | LossFunction::Absolute | LossFunction::Huber { .. } => None,
    };
    if let Some(weights) = weights.filter(|weights| weights.count() != width) {
        return Err(unfit("loss", &output.shape, &weights.shape));
    }
    match (function, target) {
        (_, Target::Values(values)) => same("loss", output, values)?,
        (LossFunction::SoftmaxCrossEntropy { .. }, Target::Classes(ArrayFireIds(ids)))
            if ids.len() == rows =>
        {
            if let Some(&class) = ids.iter().find(|class| **class as usize >= width) {
                let operation = "softmax_cross_entropy";
                return Err(EngineError::Class { operation, class, classes: width });
            }
        }
        (_, Target::Classes(ArrayFireIds(ids))) => {
            return Err(unfit("loss", &output.shape, &[ids.len()]));
        }
    }
    if rows == 0 {
        return Err(unfit("loss", &output.shape, &[]));
    }
    let share = 1.0 / divisor as f32;
    guarded(output.count(), || {
        let x = output.by_rows();
        let weights = weights.map(ArrayFireTensor::flat);
        let target = match target {
            Target::Classes(ArrayFireIds(ids)) => {
                Shares::Classes(Array::new(ids, dims([1, rows, 1, 1])))
            }
            Target::Values(values) => Shares::Values(values.by_rows()),
        };
        match (function, target) {
            (LossFunction::SoftmaxCrossEntropy { smoothing, .. }, target) => {
                let smoothing = *smoothing as f32;
                losses::softmax_cross_entropy(&x, &target, smoothing, weights.as_ref(), share)
            }
            (LossFunction::BinaryCrossEntropy { .. }, Shares::Values(t)) => {
                losses::binary_cross_entropy(&x, &t, weights.as_ref(), share)
            }
            // From f64, so that the factor 2 costs no digit.
            (LossFunction::Squared, Shares::Values(t)) => {
                losses::squared(&x, &t, (2.0 / divisor) as f32)
            }
            (LossFunction::Absolute, Shares::Values(t)) => losses::absolute(&x, &t, share),
            (LossFunction::Huber { delta }, Shares::Values(t)) => {
                losses::huber(&x, &t, *delta as f32, share)
            }
            (_, Shares::Classes(_)) => unreachable!("classes are refused above"),
        }
    })
}

fn zeros(shape: &[usize]) -> Result<ArrayFireTensor, EngineError> {
    let count = shape.iter().product();
    tensor(shape, || arrayfire::constant(0.0_f32, dims([count, 1, 1, 1])))
}

/// Never aborts the process for lack of memory on the host.
fn downloaded(values: &Values, count: usize) -> Result<Vec<f32>, EngineError> {
    let mut copy = Vec::new();
    if copy.try_reserve_exact(count).is_err() {
        return Err(EngineError::OutOfMemory { bytes: count as u64 * 4 });
    }
    copy.resize(count, 0.0);
    if count > 0 {
        guarded(count, || values.host(&mut copy))?;
    }
    Ok(copy)
}

fn matrix(
    operation: &'static str,
    tensor: &ArrayFireTensor,
) -> Result<(usize, usize), EngineError> {
    match tensor.shape[..] {
        [rows, columns] if columns > 0 => Ok((rows, columns)),
        _ => Err(unfit(operation, &tensor.shape, &[0, 0])),
    }
}

fn same(
    operation: &'static str,
    left: &ArrayFireTensor,
    right: &ArrayFireTensor,
) -> Result<(), EngineError> {
    match left.shape == right.shape {
        true => Ok(()),
        false => Err(unfit(operation, &left.shape, &right.shape)),
    }
}
