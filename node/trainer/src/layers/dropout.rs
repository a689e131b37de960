//! Zeroes values while training; `torch.nn.Dropout`.

use std::rc::Rc;

use super::{Gradients, Kept, Layer, Moment, Pass, batched, values};
use crate::engine::{Engine, EngineError, InputGradient};
use crate::random::{Purpose, Stream};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dropout {
    pub(crate) rate: f64,
    pub(crate) shape: Vec<usize>,
    /// Of its masks.
    pub(crate) stream: u32,
}

impl Dropout {
    fn mask<E: Engine>(&self, engine: &mut E, moment: Moment) -> Result<E::Tensor, EngineError> {
        let Moment { seed, epoch, batch, rows, first_row } = moment;
        let shape = batched(rows, &self.shape);
        let mut mask = vec![0.0; shape.iter().product()];
        let kept = (1.0 / (1.0 - self.rate)) as f32;
        let purpose = Purpose::Dropout { epoch, batch, layer: self.stream };
        let mut stream = Stream::new(seed, purpose);
        stream.skip(first_row * values(&self.shape) as usize);
        stream.fill_mask(&mut mask, self.rate, kept);
        engine.upload(&mask, &shape)
    }
}

impl Layer for Dropout {
    fn kind(&self) -> &'static str {
        "dropout"
    }

    fn output(&self) -> &[usize] {
        &self.shape
    }

    fn flops(&self) -> u64 {
        0
    }

    fn held(&self) -> u64 {
        2 * values(&self.shape)
    }

    fn predict<E: Engine>(
        &self,
        _: &mut E,
        _: &[E::Tensor],
        x: Rc<E::Tensor>,
        _: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        Ok(x)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        _: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        moment: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        if self.rate == 0.0 {
            return Ok(Pass { output: x, kept: Kept::none() });
        }
        let mask = self.mask(engine, moment)?;
        let y = engine.multiply(&x, &mask)?;
        Ok(Pass { output: Rc::new(y), kept: Kept::tensors([Rc::new(mask)]) })
    }

    fn backward<E: Engine>(
        &self,
        engine: &mut E,
        _: &[E::Tensor],
        kept: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        _: InputGradient,
        _: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        match &kept.tensors[..] {
            [mask] => engine.multiply(&slope, mask).map(Gradients::of_input),
            _ => Ok(Gradients::of_input(slope)),
        }
    }
}
