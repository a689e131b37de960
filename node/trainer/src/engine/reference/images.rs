//! Convolution, pooling and norms in f64, point by point; gradients of norms from the formulas of
//! the full Jacobian, not from the short forms that engines use.

use super::{Exact, Reference};
use crate::engine::images::{
    BatchNorm, Conv2d, ConvGradients, ConvSizes, Images, NormGradients, PoolSizes, Statistics,
    Window, channels, part,
};
use crate::engine::{Engine, EngineError, InputGradient};

impl Images<Exact> for Reference {
    fn conv2d(
        &mut self,
        x: &Exact,
        weight: &Exact,
        bias: Option<&Exact>,
        conv: &Conv2d,
    ) -> Result<Exact, EngineError> {
        let sizes = ConvSizes::of(&x.shape, &weight.shape, conv)?;
        let mut y = self.zeros(&sizes.output_shape())?;
        each_product(&sizes, |input, kernel, output| {
            y.values[output] += x.values[input] * weight.values[kernel];
        });
        if let Some(bias) = bias {
            let points = sizes.points();
            for (index, value) in y.values.iter_mut().enumerate() {
                *value += bias.values[index / points % bias.values.len()];
            }
        }
        Ok(y)
    }

    fn conv2d_backward(
        &mut self,
        x: &Exact,
        weight: &Exact,
        dy: &Exact,
        conv: &Conv2d,
        input: InputGradient,
    ) -> Result<ConvGradients<Exact>, EngineError> {
        let sizes = ConvSizes::of(&x.shape, &weight.shape, conv)?;
        assert_eq!(dy.shape, sizes.output_shape());
        let (mut dx, mut dw) = (self.zeros(&x.shape)?, self.zeros(&weight.shape)?);
        each_product(&sizes, |input, kernel, output| {
            dx.values[input] += dy.values[output] * weight.values[kernel];
            dw.values[kernel] += dy.values[output] * x.values[input];
        });
        let mut bias = self.zeros(&weight.shape[..1])?;
        let (points, outputs) = (sizes.points(), weight.shape[0]);
        for (index, slope) in dy.values.iter().enumerate() {
            bias.values[index / points % outputs] += slope;
        }
        let input = (input == InputGradient::Wanted).then_some(dx);
        Ok(ConvGradients { input, weight: dw, bias })
    }

    fn max_pool2d(&mut self, x: &Exact, window: &Window) -> Result<Exact, EngineError> {
        let sizes = PoolSizes::of(&x.shape, window)?;
        let values = windows(&sizes).map(|points| x.values[first_largest(x, &points)]).collect();
        Ok(Exact { values, shape: sizes.output_shape() })
    }

    fn max_pool2d_backward(
        &mut self,
        x: &Exact,
        dy: &Exact,
        window: &Window,
    ) -> Result<Exact, EngineError> {
        let sizes = PoolSizes::of(&x.shape, window)?;
        let mut dx = self.zeros(&x.shape)?;
        for (points, slope) in windows(&sizes).zip(&dy.values) {
            dx.values[first_largest(x, &points)] += slope;
        }
        Ok(dx)
    }

    fn avg_pool2d(&mut self, x: &Exact, window: &Window) -> Result<Exact, EngineError> {
        let sizes = PoolSizes::of(&x.shape, window)?;
        let whole = (window.kernel[0] * window.kernel[1]) as f64;
        let mean = |points: Vec<usize>| points.iter().map(|at| x.values[*at]).sum::<f64>() / whole;
        Ok(Exact { values: windows(&sizes).map(mean).collect(), shape: sizes.output_shape() })
    }

    fn avg_pool2d_backward(
        &mut self,
        dy: &Exact,
        input: &[usize],
        window: &Window,
    ) -> Result<Exact, EngineError> {
        let sizes = PoolSizes::of(input, window)?;
        let whole = (window.kernel[0] * window.kernel[1]) as f64;
        let mut dx = self.zeros(input)?;
        for (points, slope) in windows(&sizes).zip(&dy.values) {
            points.iter().for_each(|at| dx.values[*at] += slope / whole);
        }
        Ok(dx)
    }

    fn batch_norm(
        &mut self,
        x: &Exact,
        weight: &Exact,
        bias: &Exact,
        epsilon: f64,
    ) -> Result<BatchNorm<Exact>, EngineError> {
        let (_, count, _) = channels(&x.shape, &weight.shape)?;
        let (mut mean, mut variance) = (self.zeros(&[count])?, self.zeros(&[count])?);
        for channel in 0..count {
            let own: Vec<f64> = members(x, channel).map(|at| x.values[at]).collect();
            (mean.values[channel], variance.values[channel]) = moments(&own);
        }
        let statistics = Statistics { mean: &mean, variance: &variance };
        let output = self.batch_norm_by(x, weight, bias, statistics, epsilon)?;
        Ok(BatchNorm { output, mean, variance })
    }

    fn batch_norm_by(
        &mut self,
        x: &Exact,
        weight: &Exact,
        bias: &Exact,
        statistics: Statistics<'_, Exact>,
        epsilon: f64,
    ) -> Result<Exact, EngineError> {
        let (_, count, _) = channels(&x.shape, &weight.shape)?;
        let mut y = x.clone();
        for channel in 0..count {
            let (mean, variance) =
                (statistics.mean.values[channel], statistics.variance.values[channel]);
            for at in members(x, channel) {
                let normal = (x.values[at] - mean) / (variance + epsilon).sqrt();
                y.values[at] = normal * weight.values[channel] + bias.values[channel];
            }
        }
        Ok(y)
    }

    fn batch_norm_backward(
        &mut self,
        x: &Exact,
        weight: &Exact,
        _: Statistics<'_, Exact>,
        dy: &Exact,
        epsilon: f64,
    ) -> Result<NormGradients<Exact>, EngineError> {
        let (_, count, _) = channels(&x.shape, &weight.shape)?;
        let mut found = NormGradients {
            input: self.zeros(&x.shape)?,
            weight: self.zeros(&[count])?,
            bias: self.zeros(&[count])?,
        };
        for channel in 0..count {
            let places: Vec<usize> = members(x, channel).collect();
            let scales = vec![weight.values[channel]; places.len()];
            let (dx, dw) = normal_slopes(x, dy, &places, &scales, epsilon);
            for (place, dx) in places.iter().zip(dx) {
                found.input.values[*place] = dx;
                found.bias.values[channel] += dy.values[*place];
            }
            found.weight.values[channel] = dw.iter().sum();
        }
        Ok(found)
    }

    fn layer_norm(
        &mut self,
        x: &Exact,
        weight: &Exact,
        bias: &Exact,
        epsilon: f64,
    ) -> Result<Exact, EngineError> {
        let length = part(&x.shape, &weight.shape)?;
        let mut values = Vec::new();
        for part in x.values.chunks(length) {
            let (mean, variance) = moments(part);
            for (value, (weight, bias)) in part.iter().zip(weight.values.iter().zip(&bias.values)) {
                values.push((value - mean) / (variance + epsilon).sqrt() * weight + bias);
            }
        }
        Ok(Exact { values, shape: x.shape.clone() })
    }

    fn layer_norm_backward(
        &mut self,
        x: &Exact,
        weight: &Exact,
        dy: &Exact,
        epsilon: f64,
    ) -> Result<NormGradients<Exact>, EngineError> {
        let length = part(&x.shape, &weight.shape)?;
        let mut found = NormGradients {
            input: self.zeros(&x.shape)?,
            weight: self.zeros(&weight.shape)?,
            bias: self.zeros(&weight.shape)?,
        };
        for begin in (0..x.values.len()).step_by(length) {
            let places: Vec<usize> = (begin..begin + length).collect();
            let (dx, dw) = normal_slopes(x, dy, &places, &weight.values, epsilon);
            for (index, (place, (dx, dw))) in places.iter().zip(dx.iter().zip(dw)).enumerate() {
                found.input.values[*place] = *dx;
                found.weight.values[index] += dw;
                found.bias.values[index] += dy.values[*place];
            }
        }
        Ok(found)
    }

    fn blend(
        &mut self,
        target: &mut Exact,
        keep: f64,
        new: &Exact,
        share: f64,
    ) -> Result<(), EngineError> {
        *target = target.zip(new, |old, new| keep * old + share * new);
        Ok(())
    }
}

/// Calls `work` with the places of input, weight and output of each product of a convolution.
fn each_product(sizes: &ConvSizes, mut work: impl FnMut(usize, usize, usize)) {
    let ConvSizes { window, input: [h, w], output: [oh, ow], .. } = *sizes;
    let [kh, kw] = window.kernel;
    let (channels, outputs) = (sizes.groups * sizes.channels, sizes.groups * sizes.outputs);
    for output in 0..sizes.rows * outputs * oh * ow {
        let (row, filter) = (output / (outputs * oh * ow), output / (oh * ow) % outputs);
        let (oy, ox) = (output / ow % oh, output % ow);
        for kernel in 0..sizes.channels * kh * kw {
            let (own, ky, kx) = (kernel / (kh * kw), kernel / kw % kh, kernel % kw);
            let channel = filter / sizes.outputs * sizes.channels + own;
            let y = oy * window.stride[0] + ky * window.dilation[0];
            let x = ox * window.stride[1] + kx * window.dilation[1];
            let inside = |at: usize, axis: usize, length: usize| {
                at.checked_sub(window.before[axis]).filter(|at| *at < length)
            };
            if let (Some(y), Some(x)) = (inside(y, 0, h), inside(x, 1, w)) {
                let place = ((row * channels + channel) * h + y) * w + x;
                work(place, filter * sizes.channels * kh * kw + kernel, output);
            }
        }
    }
}

/// Places of the input in each window, in order.
fn windows(sizes: &PoolSizes) -> impl Iterator<Item = Vec<usize>> + use<> {
    let PoolSizes { window, input: [h, w], output: [oh, ow], .. } = *sizes;
    (0..sizes.rows * sizes.channels * oh * ow).map(move |output| {
        let (plane, oy, ox) = (output / (oh * ow), output / ow % oh, output % ow);
        let mut points = Vec::new();
        for y in oy * window.stride[0]..oy * window.stride[0] + window.kernel[0] {
            for x in ox * window.stride[1]..ox * window.stride[1] + window.kernel[1] {
                let (y, x) = (y.wrapping_sub(window.before[0]), x.wrapping_sub(window.before[1]));
                if y < h && x < w {
                    points.push((plane * h + y) * w + x);
                }
            }
        }
        points
    })
}

fn first_largest(x: &Exact, points: &[usize]) -> usize {
    let largest = points.iter().map(|at| x.values[*at]).fold(f64::NEG_INFINITY, f64::max);
    *points.iter().find(|at| x.values[**at] == largest).expect("windows are not empty")
}

/// Places of the values of a channel.
fn members(x: &Exact, channel: usize) -> impl Iterator<Item = usize> + use<> {
    let count = x.shape[1];
    let points: usize = x.shape[2..].iter().product();
    (0..x.values.len()).filter(move |at| at / points % count == channel)
}

fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count)
}

/// Slopes of the input and of the scale at `places`, which are brought to mean 0 and variance 1
/// together: by the derivative of each result by each input.
fn normal_slopes(
    x: &Exact,
    dy: &Exact,
    places: &[usize],
    scales: &[f64],
    epsilon: f64,
) -> (Vec<f64>, Vec<f64>) {
    let own: Vec<f64> = places.iter().map(|at| x.values[*at]).collect();
    let count = own.len() as f64;
    let (mean, variance) = moments(&own);
    let deviation = (variance + epsilon).sqrt();
    let normal: Vec<f64> = own.iter().map(|value| (value - mean) / deviation).collect();
    let slope_of = |j: usize| {
        let parts = (0..own.len()).map(|i| {
            let same = if i == j { 1.0 } else { 0.0 };
            let derivative = (same - 1.0 / count - normal[i] * normal[j] / count) / deviation;
            dy.values[places[i]] * scales[i] * derivative
        });
        parts.sum()
    };
    let dx = (0..own.len()).map(slope_of).collect();
    let dw = places.iter().zip(&normal).map(|(at, normal)| dy.values[*at] * normal).collect();
    (dx, dw)
}
