//! One value for each window of a picture; `torch.nn.MaxPool2d`, `torch.nn.AvgPool2d`, and the
//! mean of a whole channel.

use std::rc::Rc;

use super::fit::picture;
use super::{Gradients, Kept, Layer, Misfit, Moment, Pass, batched, values};
use crate::engine::images::Window;
use crate::engine::{Engine, EngineError, InputGradient};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooling {
    Max,
    Avg,
    /// Over a whole channel, of which nothing but the mean is left.
    GlobalAvg,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pool2d {
    pooling: Pooling,
    window: Window,
    input: Vec<usize>,
    output: Vec<usize>,
}

impl Pool2d {
    /// Its window, if it takes the largest of one.
    pub(super) fn largest_of(&self) -> Option<Window> {
        (self.pooling == Pooling::Max).then_some(self.window)
    }

    pub(super) fn new(input: &[usize], pooling: Pooling, window: Window) -> Result<Self, Misfit> {
        let (channels, size) = picture(input)?;
        let [h, w] = window.output(size).ok_or_else(|| Misfit::window(input, &window))?;
        Ok(Self { pooling, window, input: input.to_vec(), output: vec![channels, h, w] })
    }

    pub(super) fn global(input: &[usize]) -> Result<Self, Misfit> {
        let (channels, kernel) = picture(input)?;
        let [before, after] = [[0; 2]; 2];
        let window = Window { kernel, stride: kernel, before, after, dilation: [1; 2] };
        let (pooling, output) = (Pooling::GlobalAvg, vec![channels]);
        Ok(Self { pooling, window, input: input.to_vec(), output })
    }

    fn pooled<E: Engine>(
        &self,
        engine: &mut E,
        x: &E::Tensor,
        rows: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        let y = match self.pooling {
            Pooling::Max => engine.max_pool2d(x, &self.window)?,
            Pooling::Avg => engine.avg_pool2d(x, &self.window)?,
            Pooling::GlobalAvg => {
                let y = engine.avg_pool2d(x, &self.window)?;
                engine.reshape(y, &batched(rows, &self.output))?
            }
        };
        Ok(Rc::new(y))
    }
}

impl Layer for Pool2d {
    fn kind(&self) -> &'static str {
        match self.pooling {
            Pooling::Max => "max_pool2d",
            Pooling::Avg => "avg_pool2d",
            Pooling::GlobalAvg => "global_avg_pool",
        }
    }

    fn output(&self) -> &[usize] {
        &self.output
    }

    fn flops(&self) -> u64 {
        let [height, width] = self.window.kernel;
        values(&self.output) * (height * width) as u64
    }

    fn predict<E: Engine>(
        &self,
        engine: &mut E,
        _: &[E::Tensor],
        x: Rc<E::Tensor>,
        rows: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        self.pooled(engine, &x, rows)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        _: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        moment: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        let output = self.pooled(engine, &x, moment.rows)?;
        let kept = match self.pooling {
            Pooling::Max => Kept::tensors([x]),
            Pooling::Avg | Pooling::GlobalAvg => Kept::none(),
        };
        Ok(Pass { output, kept })
    }

    fn backward<E: Engine>(
        &self,
        engine: &mut E,
        _: &[E::Tensor],
        kept: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        _: InputGradient,
        rows: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        let input = batched(rows, &self.input);
        let found = match self.pooling {
            Pooling::Max => engine.max_pool2d_backward(&kept.tensors[0], &slope, &self.window)?,
            Pooling::Avg => engine.avg_pool2d_backward(&slope, &input, &self.window)?,
            Pooling::GlobalAvg => {
                let shape = [&[rows], &self.output[..], &[1, 1]].concat();
                let slope = engine.reshape(Rc::unwrap_or_clone(slope), &shape)?;
                engine.avg_pool2d_backward(&slope, &input, &self.window)?
            }
        };
        Ok(Gradients::of_input(found))
    }
}
