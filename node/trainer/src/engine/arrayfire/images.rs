//! Where the operations of [`crate::engine::images`] are done.

use super::conv::Conv;
use super::norms::{self, Over};
use super::values::{Values, add, mul, shaped, times};
use super::windows::Views;
use super::{ArrayFireEngine, ArrayFireTensor, guarded, pool, same, tensor, unfit, zeros};
use crate::engine::images::{
    BatchNorm, Conv2d, ConvGradients, ConvSizes, Images, NormGradients, PoolSizes, Statistics,
    Window, channels, part,
};
use crate::engine::{EngineError, InputGradient};

impl Images<ArrayFireTensor> for ArrayFireEngine {
    fn conv2d(
        &mut self,
        x: &ArrayFireTensor,
        weight: &ArrayFireTensor,
        bias: Option<&ArrayFireTensor>,
        conv: &Conv2d,
    ) -> Result<ArrayFireTensor, EngineError> {
        let sizes = ConvSizes::of(&x.shape, &weight.shape, conv)?;
        if bias.is_some_and(|bias| bias.count() != weight.shape[0]) {
            return Err(unfit("conv2d", &x.shape, &weight.shape));
        }
        let bias = bias.map(|bias| &bias.values);
        tensor(&sizes.output_shape(), || {
            Conv::new(sizes).forward(&pictures(x), &weight.values, bias)
        })
    }

    fn conv2d_backward(
        &mut self,
        x: &ArrayFireTensor,
        weight: &ArrayFireTensor,
        dy: &ArrayFireTensor,
        conv: &Conv2d,
        input: InputGradient,
    ) -> Result<ConvGradients<ArrayFireTensor>, EngineError> {
        let sizes = ConvSizes::of(&x.shape, &weight.shape, conv)?;
        if dy.shape != sizes.output_shape() {
            return Err(unfit("conv2d_backward", &dy.shape, &weight.shape));
        }
        let outputs = [weight.shape[0]];
        if dy.count() == 0 {
            let wanted = input == InputGradient::Wanted;
            let input = wanted.then(|| zeros(&x.shape)).transpose()?;
            return Ok(ConvGradients {
                input,
                weight: zeros(&weight.shape)?,
                bias: zeros(&outputs)?,
            });
        }
        let found = guarded(x.count(), || {
            Conv::new(sizes).backward(&pictures(x), &weight.values, &pictures(dy), input)
        })?;
        let input = found.input.map(|dx| tensor(&x.shape, || dx)).transpose()?;
        let weight = tensor(&weight.shape, || found.weight)?;
        Ok(ConvGradients { input, weight, bias: tensor(&outputs, || found.bias)? })
    }

    fn max_pool2d(
        &mut self,
        x: &ArrayFireTensor,
        window: &Window,
    ) -> Result<ArrayFireTensor, EngineError> {
        let sizes = PoolSizes::of(&x.shape, window)?;
        tensor(&sizes.output_shape(), || pool::largest(&views(&sizes), &pictures(x)))
    }

    fn max_pool2d_backward(
        &mut self,
        x: &ArrayFireTensor,
        dy: &ArrayFireTensor,
        window: &Window,
    ) -> Result<ArrayFireTensor, EngineError> {
        let sizes = PoolSizes::of(&x.shape, window)?;
        if dy.shape != sizes.output_shape() {
            return Err(unfit("max_pool2d_backward", &x.shape, &dy.shape));
        }
        tensor(&x.shape, || pool::largest_backward(&views(&sizes), &pictures(x), &pictures(dy)))
    }

    fn avg_pool2d(
        &mut self,
        x: &ArrayFireTensor,
        window: &Window,
    ) -> Result<ArrayFireTensor, EngineError> {
        let sizes = PoolSizes::of(&x.shape, window)?;
        tensor(&sizes.output_shape(), || pool::mean(&views(&sizes), &pictures(x)))
    }

    fn avg_pool2d_backward(
        &mut self,
        dy: &ArrayFireTensor,
        input: &[usize],
        window: &Window,
    ) -> Result<ArrayFireTensor, EngineError> {
        let sizes = PoolSizes::of(input, window)?;
        if dy.shape != sizes.output_shape() {
            return Err(unfit("avg_pool2d_backward", input, &dy.shape));
        }
        let planes = [sizes.channels, sizes.rows];
        tensor(input, || pool::mean_backward(&views(&sizes), planes, &pictures(dy)))
    }

    fn batch_norm(
        &mut self,
        x: &ArrayFireTensor,
        weight: &ArrayFireTensor,
        bias: &ArrayFireTensor,
        epsilon: f64,
    ) -> Result<BatchNorm<ArrayFireTensor>, EngineError> {
        let lengths = lengths(x, weight)?;
        let found =
            guarded(x.count(), || norms::moments(&shaped(&x.values, lengths), Over::Channel))?;
        let mean = tensor(&weight.shape, || found.mean)?;
        let variance = tensor(&weight.shape, || found.variance)?;
        let statistics = Statistics { mean: &mean, variance: &variance };
        let output = self.batch_norm_by(x, weight, bias, statistics, epsilon)?;
        Ok(BatchNorm { output, mean, variance })
    }

    fn batch_norm_by(
        &mut self,
        x: &ArrayFireTensor,
        weight: &ArrayFireTensor,
        bias: &ArrayFireTensor,
        statistics: Statistics<'_, ArrayFireTensor>,
        epsilon: f64,
    ) -> Result<ArrayFireTensor, EngineError> {
        let lengths = lengths(x, weight)?;
        for other in [bias, statistics.mean, statistics.variance] {
            same("batch_norm", weight, other)?;
        }
        tensor(&x.shape, || {
            let variance = in_channels(statistics.variance);
            let scale = mul(&norms::inverse_deviation(&variance, epsilon), &in_channels(weight));
            scale.eval();
            let x = shaped(&x.values, lengths);
            let normal = norms::normal(&x, &in_channels(statistics.mean), &scale);
            add(&normal, &in_channels(bias))
        })
    }

    fn batch_norm_backward(
        &mut self,
        x: &ArrayFireTensor,
        weight: &ArrayFireTensor,
        statistics: Statistics<'_, ArrayFireTensor>,
        dy: &ArrayFireTensor,
        epsilon: f64,
    ) -> Result<NormGradients<ArrayFireTensor>, EngineError> {
        let lengths = lengths(x, weight)?;
        same("batch_norm_backward", x, dy)?;
        same("batch_norm_backward", weight, statistics.mean)?;
        same("batch_norm_backward", weight, statistics.variance)?;
        let found = guarded(x.count(), || {
            let known = [in_channels(statistics.mean), in_channels(statistics.variance)];
            let (dy, weight) = (shaped(&dy.values, lengths), in_channels(weight));
            let x = shaped(&x.values, lengths);
            norms::batch_backward(&x, &weight, [&known[0], &known[1]], &dy, epsilon)
        })?;
        gradients(found, x, weight)
    }

    fn layer_norm(
        &mut self,
        x: &ArrayFireTensor,
        weight: &ArrayFireTensor,
        bias: &ArrayFireTensor,
        epsilon: f64,
    ) -> Result<ArrayFireTensor, EngineError> {
        let length = part(&x.shape, &weight.shape)?;
        same("layer_norm", weight, bias)?;
        tensor(&x.shape, || {
            let x = shaped(&x.values, [length, x.count() / length, 1, 1]);
            let found = norms::moments(&x, Over::Part);
            let inverse = norms::inverse_deviation(&found.variance, epsilon);
            inverse.eval();
            let normal = norms::normal(&x, &found.mean, &inverse);
            add(&mul(&normal, &weight.flat()), &bias.flat())
        })
    }

    fn layer_norm_backward(
        &mut self,
        x: &ArrayFireTensor,
        weight: &ArrayFireTensor,
        dy: &ArrayFireTensor,
        epsilon: f64,
    ) -> Result<NormGradients<ArrayFireTensor>, EngineError> {
        let length = part(&x.shape, &weight.shape)?;
        same("layer_norm_backward", x, dy)?;
        let parts = x.count() / length;
        if parts == 0 {
            let (to_weight, to_bias) = (zeros(&weight.shape)?, zeros(&weight.shape)?);
            return Ok(NormGradients { input: zeros(&x.shape)?, weight: to_weight, bias: to_bias });
        }
        let found = guarded(x.count(), || {
            let by_part = |x: &ArrayFireTensor| shaped(&x.values, [length, parts, 1, 1]);
            norms::layer_backward(&by_part(x), &weight.flat(), &by_part(dy), epsilon)
        })?;
        gradients(found, x, weight)
    }

    fn blend(
        &mut self,
        target: &mut ArrayFireTensor,
        keep: f64,
        new: &ArrayFireTensor,
        share: f64,
    ) -> Result<(), EngineError> {
        same("blend", target, new)?;
        *target = tensor(&target.shape, || {
            add(&times(&target.flat(), keep as f32), &times(&new.flat(), share as f32))
        })?;
        Ok(())
    }
}

/// `[width, height, channels, rows]`.
fn pictures(x: &ArrayFireTensor) -> Values {
    let mut lengths = [1; 4];
    x.shape.iter().rev().zip(&mut lengths).for_each(|(length, axis)| *axis = *length);
    shaped(&x.values, lengths)
}

fn views(sizes: &PoolSizes) -> Views {
    Views::new(sizes.window, sizes.input, sizes.output)
}

/// `[points, channels, rows]`.
fn lengths(x: &ArrayFireTensor, weight: &ArrayFireTensor) -> Result<[usize; 4], EngineError> {
    let (rows, channels, points) = channels(&x.shape, &weight.shape)?;
    Ok([points, channels, rows, 1])
}

/// One number a channel, beside `[points, channels, rows]`.
fn in_channels(x: &ArrayFireTensor) -> Values {
    shaped(&x.values, [1, x.count(), 1, 1])
}

fn gradients(
    found: NormGradients<Values>,
    x: &ArrayFireTensor,
    weight: &ArrayFireTensor,
) -> Result<NormGradients<ArrayFireTensor>, EngineError> {
    Ok(NormGradients {
        input: tensor(&x.shape, || found.input)?,
        weight: tensor(&weight.shape, || found.weight)?,
        bias: tensor(&weight.shape, || found.bias)?,
    })
}
