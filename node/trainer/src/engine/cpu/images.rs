//! Where the operations of [`crate::engine::images`] are done.

use super::{CpuEngine, CpuTensor, conv, norms, pool, same};
use crate::engine::images::{
    BatchNorm, Conv2d, ConvGradients, ConvPool, Images, NormGradients, Pooled, Statistics, Window,
    one_by_one, one_by_one_backward,
};
use crate::engine::{EngineError, InputGradient};

impl Images<CpuTensor> for CpuEngine {
    fn conv2d(
        &mut self,
        x: &CpuTensor,
        weight: &CpuTensor,
        bias: Option<&CpuTensor>,
        conv: &Conv2d,
    ) -> Result<CpuTensor, EngineError> {
        conv::forward(self, x, weight, bias, conv)
    }

    fn conv2d_backward(
        &mut self,
        x: &CpuTensor,
        weight: &CpuTensor,
        dy: &CpuTensor,
        conv: &Conv2d,
        input: InputGradient,
    ) -> Result<ConvGradients<CpuTensor>, EngineError> {
        conv::backward(self, x, weight, dy, conv, input)
    }

    fn max_pool2d(&mut self, x: &CpuTensor, window: &Window) -> Result<CpuTensor, EngineError> {
        pool::largest(self, x, window)
    }

    fn max_pool2d_backward(
        &mut self,
        x: &CpuTensor,
        dy: &CpuTensor,
        window: &Window,
    ) -> Result<CpuTensor, EngineError> {
        pool::largest_backward(self, x, dy, window)
    }

    fn conv2d_max_pool(
        &mut self,
        x: &CpuTensor,
        weight: &CpuTensor,
        bias: Option<&CpuTensor>,
        joined: &ConvPool,
    ) -> Result<Pooled<CpuTensor>, EngineError> {
        match conv::Joined::of(x, weight, joined)? {
            Some(joined) => joined.forward(self, x, weight, bias),
            None => one_by_one(self, x, weight, bias, joined),
        }
    }

    fn conv2d_max_pool_backward(
        &mut self,
        x: &CpuTensor,
        weight: &CpuTensor,
        origin: &CpuTensor,
        dy: &CpuTensor,
        joined: &ConvPool,
        input: InputGradient,
    ) -> Result<ConvGradients<CpuTensor>, EngineError> {
        match conv::Joined::of(x, weight, joined)? {
            Some(joined) => joined.backward(self, x, weight, origin, dy, input),
            None => one_by_one_backward(self, x, weight, origin, dy, joined, input),
        }
    }

    fn avg_pool2d(&mut self, x: &CpuTensor, window: &Window) -> Result<CpuTensor, EngineError> {
        pool::mean(self, x, window)
    }

    fn avg_pool2d_backward(
        &mut self,
        dy: &CpuTensor,
        input: &[usize],
        window: &Window,
    ) -> Result<CpuTensor, EngineError> {
        pool::mean_backward(self, dy, input, window)
    }

    fn batch_norm(
        &mut self,
        x: &CpuTensor,
        weight: &CpuTensor,
        bias: &CpuTensor,
        epsilon: f64,
    ) -> Result<BatchNorm<CpuTensor>, EngineError> {
        norms::batch(self, x, weight, bias, epsilon)
    }

    fn batch_norm_by(
        &mut self,
        x: &CpuTensor,
        weight: &CpuTensor,
        bias: &CpuTensor,
        statistics: Statistics<'_, CpuTensor>,
        epsilon: f64,
    ) -> Result<CpuTensor, EngineError> {
        norms::batch_by(self, x, weight, bias, &statistics, epsilon)
    }

    fn batch_norm_backward(
        &mut self,
        x: &CpuTensor,
        weight: &CpuTensor,
        statistics: Statistics<'_, CpuTensor>,
        dy: &CpuTensor,
        epsilon: f64,
    ) -> Result<NormGradients<CpuTensor>, EngineError> {
        norms::batch_backward(self, x, weight, &statistics, dy, epsilon)
    }

    fn layer_norm(
        &mut self,
        x: &CpuTensor,
        weight: &CpuTensor,
        bias: &CpuTensor,
        epsilon: f64,
    ) -> Result<CpuTensor, EngineError> {
        norms::layer(self, x, weight, bias, epsilon)
    }

    fn layer_norm_backward(
        &mut self,
        x: &CpuTensor,
        weight: &CpuTensor,
        dy: &CpuTensor,
        epsilon: f64,
    ) -> Result<NormGradients<CpuTensor>, EngineError> {
        norms::layer_backward(self, x, weight, dy, epsilon)
    }

    fn blend(
        &mut self,
        target: &mut CpuTensor,
        keep: f64,
        new: &CpuTensor,
        share: f64,
    ) -> Result<(), EngineError> {
        same("blend", target, new)?;
        let (keep, share) = (keep as f32, share as f32);
        for (target, new) in target.values.iter_mut().zip(&new.values[..]) {
            *target = keep * *target + share * new;
        }
        Ok(())
    }
}
