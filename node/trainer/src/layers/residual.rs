//! Layers around which their input is led and added to what they give; through a learned
//! projection where the shapes differ.

use std::rc::Rc;

use super::conv2d::Convolution;
use super::dense::Dense;
use super::kind::Kind;
use super::{Axes, Chain, Gradients, Kept, Layer, Misfit, Moment, Pass, TensorSpec, values};
use crate::engine::images::{Conv2d, Window};
use crate::engine::{Engine, EngineError, InputGradient};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Residual {
    layers: Chain,
    /// None where the input can be added as it is.
    projection: Option<Box<Kind>>,
}

impl Residual {
    pub(super) fn new(layers: Chain, stream: u32) -> Result<Self, Misfit> {
        let projection = projection(layers.input(), layers.output(), stream)?;
        Ok(Self { layers, projection: projection.map(Box::new) })
    }

    fn of_layers(&self) -> usize {
        self.layers.tensors().len()
    }
}

fn projection(input: &[usize], output: &[usize], stream: u32) -> Result<Option<Kind>, Misfit> {
    if input == output {
        return Ok(None);
    }
    let misfit = || {
        let (input, output) = (Axes(input.to_vec()), Axes(output.to_vec()));
        Misfit::Projection { input, output }
    };
    if let (&[_, h, w], &[filters, to_h, to_w]) = (input, output) {
        let (kernel, dilation, [before, after]) = ([1; 2], [1; 2], [[0; 2]; 2]);
        let stride = [h.div_ceil(to_h), w.div_ceil(to_w)];
        let window = Window { kernel, stride, before, after, dilation };
        let conv = Conv2d { window, groups: 1 };
        let conv = Convolution::new(input, filters, conv, true, stream)?;
        return if conv.output() == output { Ok(Some(Kind::Conv2d(conv))) } else { Err(misfit()) };
    }
    let dense = |units: &usize| Dense::new(input, *units, stream);
    match output.last().map(dense) {
        Some(dense) if dense.output() == output => Ok(Some(Kind::Dense(dense))),
        _ => Err(misfit()),
    }
}

impl Layer for Residual {
    fn kind(&self) -> &'static str {
        "residual"
    }

    fn output(&self) -> &[usize] {
        self.layers.output()
    }

    fn inner(&self) -> Vec<(String, &Kind)> {
        let layers = self.layers.numbered();
        let layers = layers.map(|(index, layer)| (format!("layers.{index}"), layer));
        let projection = self.projection.as_deref();
        layers.chain(projection.map(|layer| ("projection".to_owned(), layer))).collect()
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let mut tensors: Vec<_> =
            self.layers.tensors().into_iter().map(|tensor| tensor.within("layers")).collect();
        let projection = self.projection.iter().flat_map(|layer| layer.tensors());
        tensors.extend(projection.map(|tensor| tensor.within("projection")));
        tensors
    }

    fn flops(&self) -> u64 {
        let projection = self.projection.as_ref().map_or(0, |layer| layer.flops());
        self.layers.flops() + projection + values(self.output())
    }

    fn held(&self) -> u64 {
        let projection = self.projection.as_ref().map_or(0, |layer| layer.held());
        self.layers.held() + projection + values(self.output())
    }

    fn widest(&self) -> u64 {
        self.layers.widest()
    }

    fn scratch(&self) -> u64 {
        let projection = self.projection.as_ref().map_or(0, |layer| layer.scratch());
        self.layers.scratch().max(projection)
    }

    fn predict<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        x: Rc<E::Tensor>,
        rows: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        let (inner, outer) = state.split_at(self.of_layers());
        let y = self.layers.predict(engine, inner, Rc::clone(&x), rows)?;
        let around = match &self.projection {
            Some(layer) => layer.predict(engine, outer, x, rows)?,
            None => x,
        };
        sum(engine, y, &around)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        state: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        moment: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        let (inner, outer) = state.split_at_mut(self.of_layers());
        let through = self.layers.forward(engine, inner, Rc::clone(&x), moment)?;
        let mut inner = vec![through.kept];
        let around = match &self.projection {
            Some(layer) => {
                let around = layer.forward(engine, outer, x, moment)?;
                inner.push(around.kept);
                around.output
            }
            None => x,
        };
        let output = sum(engine, through.output, &around)?;
        Ok(Pass { output, kept: Kept { tensors: Vec::new(), inner } })
    }

    fn backward<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        kept: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        input: InputGradient,
        rows: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        let (inner, outer) = state.split_at(self.of_layers());
        let mut kept = kept.inner.into_iter();
        let mut next = || kept.next().expect("a forward pass keeps something for each part");
        let through = Rc::clone(&slope);
        let layers = self.layers.backward(engine, inner, next(), through, input, rows)?;
        let mut parameters = layers.parameters;
        let around = match &self.projection {
            Some(layer) => {
                let found = layer.backward(engine, outer, next(), slope, input, rows)?;
                parameters.extend(found.parameters);
                found.input
            }
            None => Some(slope),
        };
        let input = match (layers.input, around) {
            (Some(through), Some(around)) => Some(sum(engine, through, &around)?),
            (None, _) | (_, None) => None,
        };
        Ok(Gradients { input, parameters })
    }
}

/// Both added, in the place of the first if nobody else keeps it.
fn sum<E: Engine>(
    engine: &mut E,
    first: Rc<E::Tensor>,
    second: &E::Tensor,
) -> Result<Rc<E::Tensor>, EngineError> {
    match Rc::try_unwrap(first) {
        Ok(mut first) => {
            engine.accumulate(&mut first, second)?;
            Ok(Rc::new(first))
        }
        Err(kept) => engine.add(&kept, second).map(Rc::new),
    }
}
