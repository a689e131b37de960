//! Convolution, pooling and norms, each direction one operation. Pictures are
//! `[rows, channels, height, width]`; names and meaning are those of `torch.nn.functional`.
//!
//! Sizes are worked out here, once for all engines; what is computed is left to them.

use super::{EngineError, InputGradient};

/// What an [`super::Engine`] does with pictures, and with the norms between layers.
pub trait Images<T> {
    /// Cross-correlation of `x` with `weight [outputs, channels / groups, height, width]`, and
    /// `bias [outputs]` on top.
    ///
    /// # Errors
    /// Like all of these: shapes disagree, memory ran out, or the device failed.
    fn conv2d(
        &mut self,
        x: &T,
        weight: &T,
        bias: Option<&T>,
        conv: &Conv2d,
    ) -> Result<T, EngineError>;

    /// Gradients of [`Self::conv2d`] from `dy`; that of the bias comes whether there was one or
    /// not.
    fn conv2d_backward(
        &mut self,
        x: &T,
        weight: &T,
        dy: &T,
        conv: &Conv2d,
        input: InputGradient,
    ) -> Result<ConvGradients<T>, EngineError>;

    /// The largest value of each window; what is around the picture never is.
    fn max_pool2d(&mut self, x: &T, window: &Window) -> Result<T, EngineError>;

    /// Gradient of [`Self::max_pool2d`]: each of `dy` goes to the first of the largest.
    fn max_pool2d_backward(&mut self, x: &T, dy: &T, window: &Window) -> Result<T, EngineError>;

    /// [`Self::max_pool2d`] of [`Self::conv2d`], where nobody has a use for what is between.
    fn conv2d_max_pool(
        &mut self,
        x: &T,
        weight: &T,
        bias: Option<&T>,
        joined: &ConvPool,
    ) -> Result<Pooled<T>, EngineError> {
        one_by_one(self, x, weight, bias, joined)
    }

    /// Gradients of [`Self::conv2d_max_pool`] from `dy` and the origin that it gave.
    fn conv2d_max_pool_backward(
        &mut self,
        x: &T,
        weight: &T,
        origin: &T,
        dy: &T,
        joined: &ConvPool,
        input: InputGradient,
    ) -> Result<ConvGradients<T>, EngineError> {
        one_by_one_backward(self, x, weight, origin, dy, joined, input)
    }

    /// The mean of each window, zeros around the picture included.
    fn avg_pool2d(&mut self, x: &T, window: &Window) -> Result<T, EngineError>;

    /// Gradient of [`Self::avg_pool2d`] for an input of shape `input`.
    fn avg_pool2d_backward(
        &mut self,
        dy: &T,
        input: &[usize],
        window: &Window,
    ) -> Result<T, EngineError>;

    /// `x [rows, channels, ..]` brought to mean 0 and variance 1 in each channel, by the mean and
    /// variance of this batch, then times `weight [channels]` plus `bias [channels]`.
    fn batch_norm(
        &mut self,
        x: &T,
        weight: &T,
        bias: &T,
        epsilon: f64,
    ) -> Result<BatchNorm<T>, EngineError>;

    /// As [`Self::batch_norm`] by a mean and variance that are known.
    fn batch_norm_by(
        &mut self,
        x: &T,
        weight: &T,
        bias: &T,
        statistics: Statistics<'_, T>,
        epsilon: f64,
    ) -> Result<T, EngineError>;

    /// Gradients of [`Self::batch_norm`] from `dy` and the statistics that it gave.
    fn batch_norm_backward(
        &mut self,
        x: &T,
        weight: &T,
        statistics: Statistics<'_, T>,
        dy: &T,
        epsilon: f64,
    ) -> Result<NormGradients<T>, EngineError>;

    /// Each part of `x` that is as long as `weight`, along the last axes, brought to mean 0 and
    /// variance 1, then value by value times `weight` plus `bias`.
    fn layer_norm(&mut self, x: &T, weight: &T, bias: &T, epsilon: f64) -> Result<T, EngineError>;

    /// Gradients of [`Self::layer_norm`] from `dy`.
    fn layer_norm_backward(
        &mut self,
        x: &T,
        weight: &T,
        dy: &T,
        epsilon: f64,
    ) -> Result<NormGradients<T>, EngineError>;

    /// `target = keep * target + share * new`, in place.
    fn blend(&mut self, target: &mut T, keep: f64, new: &T, share: f64) -> Result<(), EngineError>;
}

/// Where the windows of a convolution or a pooling lie, along height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Zeros above and left of the picture.
    pub before: [usize; 2],
    /// Zeros below and right of it.
    pub after: [usize; 2],
    /// From one point of the kernel to the next.
    pub dilation: [usize; 2],
}

impl Window {
    /// Height and width of the result; none where the window is larger than the picture.
    pub fn output(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            if self.stride[axis] == 0 {
                return None;
            }
            let span = self.dilation[axis].checked_mul(self.kernel[axis].checked_sub(1)?)?;
            let whole = input[axis].checked_add(self.before[axis] + self.after[axis])?;
            Some(whole.checked_sub(span.checked_add(1)?)? / self.stride[axis] + 1)
        };
        Some([along(0)?, along(1)?])
    }

    /// Rows and columns that it reaches beyond its first point, in strides.
    pub(crate) fn reach(&self) -> [usize; 2] {
        [0, 1].map(|axis| (self.kernel[axis] - 1) * self.dilation[axis] / self.stride[axis])
    }

    /// For each point of the kernel along `axis`, what it sees of an input of `length`.
    pub(crate) fn stretches(&self, axis: usize, length: usize, outputs: usize) -> Vec<Stretch> {
        let (stride, before) = (self.stride[axis], self.before[axis]);
        let stretch = |k: usize| {
            let ahead = k * self.dilation[axis];
            let from = before.saturating_sub(ahead).div_ceil(stride).min(outputs);
            let to = (length + before).saturating_sub(ahead).div_ceil(stride).min(outputs);
            let first = (from * stride + ahead).saturating_sub(before);
            Stretch { from, to: to.max(from), first }
        };
        (0..self.kernel[axis]).map(stretch).collect()
    }
}

/// Indices of a result that look into the input with one point of the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) from: usize,
    /// Behind the last.
    pub(crate) to: usize,
    /// The point of the input that `from` looks at.
    pub(crate) first: usize,
}

/// A convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    pub window: Window,
    /// Parts of the channels, each with outputs of its own.
    pub groups: usize,
}

/// A convolution and the pooling of what it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvPool {
    pub conv: Conv2d,
    pub pool: Window,
}

/// What [`Images::conv2d_max_pool`] gives.
#[derive(Debug)]
pub struct Pooled<T> {
    pub output: T,
    /// Where each value came from, in an engine's own way: for its backward operation alone.
    pub origin: T,
}

/// What [`Images::conv2d_backward`] gives.
#[derive(Debug)]
pub struct ConvGradients<T> {
    pub input: Option<T>,
    pub weight: T,
    pub bias: T,
}

/// What [`Images::batch_norm`] gives.
#[derive(Debug)]
pub struct BatchNorm<T> {
    pub output: T,
    /// Of each channel.
    pub mean: T,
    /// Of each channel, divided by the number of values.
    pub variance: T,
}

/// What a batch norm goes by, one number a channel.
#[derive(Debug)]
pub struct Statistics<'a, T> {
    pub mean: &'a T,
    pub variance: &'a T,
}

/// What the backward operation of a norm gives.
#[derive(Debug)]
pub struct NormGradients<T> {
    pub input: T,
    pub weight: T,
    pub bias: T,
}

/// [`Images::conv2d_max_pool`] by the operations that it is made of; the origin is what they have
/// between them.
pub(crate) fn one_by_one<T, E: Images<T> + ?Sized>(
    engine: &mut E,
    x: &T,
    weight: &T,
    bias: Option<&T>,
    joined: &ConvPool,
) -> Result<Pooled<T>, EngineError> {
    let origin = engine.conv2d(x, weight, bias, &joined.conv)?;
    let output = engine.max_pool2d(&origin, &joined.pool)?;
    Ok(Pooled { output, origin })
}

/// The way back of [`one_by_one`].
pub(crate) fn one_by_one_backward<T, E: Images<T> + ?Sized>(
    engine: &mut E,
    x: &T,
    weight: &T,
    origin: &T,
    dy: &T,
    joined: &ConvPool,
    input: InputGradient,
) -> Result<ConvGradients<T>, EngineError> {
    let slope = engine.max_pool2d_backward(origin, dy, &joined.pool)?;
    engine.conv2d_backward(x, weight, &slope, &joined.conv, input)
}

/// The sizes of a convolution, checked against each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvSizes {
    pub(crate) rows: usize,
    pub(crate) groups: usize,
    /// Channels of one group.
    pub(crate) channels: usize,
    /// Output channels of one group.
    pub(crate) outputs: usize,
    pub(crate) input: [usize; 2],
    pub(crate) output: [usize; 2],
    pub(crate) window: Window,
}

impl ConvSizes {
    pub(crate) fn of(x: &[usize], weight: &[usize], conv: &Conv2d) -> Result<Self, EngineError> {
        let unfit = || unfit("conv2d", x, weight);
        let (&[rows, channels, h, w], &[outputs, own, kh, kw]) = (x, weight) else {
            return Err(unfit());
        };
        let (groups, window) = (conv.groups, conv.window);
        let output = window.output([h, w]).ok_or_else(unfit)?;
        let divided = groups > 0 && outputs.is_multiple_of(groups) && own * groups == channels;
        if !divided || window.kernel != [kh, kw] {
            return Err(unfit());
        }
        let outputs = outputs / groups;
        Ok(Self { rows, groups, channels: own, outputs, input: [h, w], output, window })
    }

    /// Points of one channel of the input.
    pub(crate) fn area(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Points of one channel of the output.
    pub(crate) fn points(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Values of the input that one output sees.
    pub(crate) fn seen(&self) -> usize {
        self.channels * self.window.kernel[0] * self.window.kernel[1]
    }

    pub(crate) fn output_shape(&self) -> Vec<usize> {
        vec![self.rows, self.groups * self.outputs, self.output[0], self.output[1]]
    }
}

/// The sizes of a pooling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolSizes {
    pub(crate) rows: usize,
    pub(crate) channels: usize,
    pub(crate) input: [usize; 2],
    pub(crate) output: [usize; 2],
    pub(crate) window: Window,
}

impl PoolSizes {
    pub(crate) fn of(x: &[usize], window: &Window) -> Result<Self, EngineError> {
        let unfit = || unfit("pool2d", x, &window.kernel);
        let &[rows, channels, h, w] = x else {
            return Err(unfit());
        };
        // Then every window has a point of the picture in it.
        let real = (0..2).all(|axis| {
            let most = window.before[axis].max(window.after[axis]);
            2 * most <= window.kernel[axis] && window.dilation[axis] == 1
        });
        match window.output([h, w]) {
            Some(output) if real && h > 0 && w > 0 => {
                Ok(Self { rows, channels, input: [h, w], output, window: *window })
            }
            _ => Err(unfit()),
        }
    }

    pub(crate) fn area(&self) -> usize {
        self.input[0] * self.input[1]
    }

    pub(crate) fn points(&self) -> usize {
        self.output[0] * self.output[1]
    }

    pub(crate) fn output_shape(&self) -> Vec<usize> {
        vec![self.rows, self.channels, self.output[0], self.output[1]]
    }
}

/// `(rows, channels, points)` of what a batch norm works on.
pub(crate) fn channels(
    x: &[usize],
    parameter: &[usize],
) -> Result<(usize, usize, usize), EngineError> {
    match *x {
        [rows, channels, ref rest @ ..] if parameter == [channels] && rows > 0 && channels > 0 => {
            Ok((rows, channels, rest.iter().product()))
        }
        _ => Err(unfit("batch_norm", x, parameter)),
    }
}

/// Length of the parts that a layer norm works on.
pub(crate) fn part(x: &[usize], parameter: &[usize]) -> Result<usize, EngineError> {
    let length = parameter.iter().product();
    if x.ends_with(parameter) && length > 0 {
        Ok(length)
    } else {
        Err(unfit("layer_norm", x, parameter))
    }
}

fn unfit(operation: &'static str, left: &[usize], right: &[usize]) -> EngineError {
    EngineError::Shape { operation, left: left.to_vec(), right: right.to_vec() }
}
