//! Filters over pictures; `torch.nn.Conv2d`.

use std::rc::Rc;

use super::fit::picture;
use super::{Gradients, Kept, Layer, Misfit, Moment, Pass, Start, TensorSpec, values};
use crate::definition::{Padding, Pair};
use crate::engine::cpu::conv_scratch;
use crate::engine::images::{Conv2d, ConvGradients, ConvPool, Window};
use crate::engine::{Engine, EngineError, InputGradient};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Convolution {
    output: Vec<usize>,
    /// Filters, channels of a group, height, width.
    weight: [usize; 4],
    conv: Conv2d,
    bias: bool,
    /// Of its start values.
    stream: u32,
}

impl Convolution {
    pub(super) fn new(
        input: &[usize],
        filters: usize,
        conv: Conv2d,
        bias: bool,
        stream: u32,
    ) -> Result<Self, Misfit> {
        let (channels, size) = picture(input)?;
        let groups = conv.groups;
        if !channels.is_multiple_of(groups) {
            return Err(Misfit::Groups { channels, groups });
        }
        let [kh, kw] = conv.window.kernel;
        let [h, w] = conv.window.output(size).ok_or_else(|| Misfit::window(input, &conv.window))?;
        let weight = [filters, channels / groups, kh, kw];
        Ok(Self { output: vec![filters, h, w], weight, conv, bias, stream })
    }

    /// With the pooling of what it gives.
    pub(super) fn joined(&self, pool: Window) -> ConvPool {
        ConvPool { conv: self.conv, pool }
    }

    /// What a backward pass gives, from the gradients of both parameters that there may be.
    pub(super) fn gradients<T>(&self, found: ConvGradients<T>) -> Gradients<T> {
        let mut parameters = vec![found.weight];
        if self.bias {
            parameters.push(found.bias);
        }
        Gradients { input: found.input.map(Rc::new), parameters }
    }

    /// Values of the input that one output sees.
    fn seen(&self) -> usize {
        self.weight[1..].iter().product()
    }
}

/// The window that a definition's keys mean.
pub(super) fn window(kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Window {
    let (kernel, dilation) = (kernel.each(), dilation.each());
    let (before, after) = match padding {
        Padding::Zeros(zeros) => (zeros.each(), zeros.each()),
        Padding::Named(_) => {
            let total = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1));
            let before = total.map(|zeros| zeros / 2);
            (before, [total[0] - before[0], total[1] - before[1]])
        }
    };
    Window { kernel, stride: stride.each(), before, after, dilation }
}

impl Layer for Convolution {
    fn kind(&self) -> &'static str {
        "conv2d"
    }

    fn output(&self) -> &[usize] {
        &self.output
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let start = Start::fan_in(self.stream, self.seen());
        let mut tensors = vec![TensorSpec::parameter("weight", &self.weight, start)];
        if self.bias {
            tensors.push(TensorSpec::parameter("bias", &self.weight[..1], start));
        }
        tensors
    }

    fn flops(&self) -> u64 {
        2 * values(&self.output) * self.seen() as u64
    }

    fn scratch(&self) -> u64 {
        let [filters, channels, ..] = self.weight;
        let output = [self.output[1], self.output[2]];
        conv_scratch(channels, filters / self.conv.groups, &self.conv.window, output)
    }

    fn predict<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        x: Rc<E::Tensor>,
        _: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        engine.conv2d(&x, &state[0], state.get(1), &self.conv).map(Rc::new)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        state: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        _: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        let y = engine.conv2d(&x, &state[0], state.get(1), &self.conv)?;
        Ok(Pass { output: Rc::new(y), kept: Kept::tensors([x]) })
    }

    fn backward<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        kept: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        input: InputGradient,
        _: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        let (x, weight) = (&kept.tensors[0], &state[0]);
        let found = engine.conv2d_backward(x, weight, &slope, &self.conv, input)?;
        Ok(self.gradients(found))
    }
}
