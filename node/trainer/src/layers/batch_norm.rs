//! Each channel at mean 0 and variance 1 over a batch; `torch.nn.BatchNorm1d` and `BatchNorm2d`.

use std::rc::Rc;

use super::{Gradients, Kept, Layer, Moment, Pass, TensorSpec, values};
use crate::engine::images::Statistics;
use crate::engine::{Engine, EngineError, InputGradient};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BatchNorm {
    pub(crate) shape: Vec<usize>,
    pub(crate) momentum: f64,
    pub(crate) epsilon: f64,
}

impl Layer for BatchNorm {
    fn kind(&self) -> &'static str {
        "batch_norm"
    }

    fn output(&self) -> &[usize] {
        &self.shape
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let channels = &self.shape[..1];
        vec![
            TensorSpec::constant("weight", channels, 1.0),
            TensorSpec::constant("bias", channels, 0.0),
            TensorSpec::buffer("running_mean", channels, 0.0),
            TensorSpec::buffer("running_var", channels, 1.0),
        ]
    }

    fn flops(&self) -> u64 {
        8 * values(&self.shape)
    }

    fn predict<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        x: Rc<E::Tensor>,
        _: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        let running = Statistics { mean: &state[2], variance: &state[3] };
        engine.batch_norm_by(&x, &state[0], &state[1], running, self.epsilon).map(Rc::new)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        state: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        moment: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        let found = engine.batch_norm(&x, &state[0], &state[1], self.epsilon)?;
        let count = moment.rows as f64 * values(&self.shape[1..]) as f64;
        // The running variance is that of all rows, of which a batch is a sample.
        let sampled = count / (count - 1.0).max(1.0);
        let (keep, share) = (1.0 - self.momentum, self.momentum);
        engine.blend(&mut state[2], keep, &found.mean, share)?;
        engine.blend(&mut state[3], keep, &found.variance, share * sampled)?;
        let kept = Kept::tensors([x, Rc::new(found.mean), Rc::new(found.variance)]);
        Ok(Pass { output: Rc::new(found.output), kept })
    }

    fn backward<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        kept: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        _: InputGradient,
        _: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        let [x, mean, variance] = &kept.tensors[..] else {
            unreachable!("a forward pass keeps three tensors");
        };
        let batch = Statistics { mean: &**mean, variance: &**variance };
        let found = engine.batch_norm_backward(x, &state[0], batch, &slope, self.epsilon)?;
        let (input, parameters) = (Some(Rc::new(found.input)), vec![found.weight, found.bias]);
        Ok(Gradients { input, parameters })
    }
}
