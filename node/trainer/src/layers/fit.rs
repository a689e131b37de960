//! From the definition of a layer to its kind, fitted to the shape of its input; and why it may
//! not fit.

use std::fmt;

use super::activation::Activate;
use super::dense::Dense;
use super::dropout::Dropout;
use super::flatten::Flatten;
use super::kind::Kind;
use super::{Chain, Layer, values};
use crate::definition::{Activation, LayerSpec};
use crate::limits;

/// A layer that does not fit its input.
#[derive(Debug)]
pub(crate) struct LayerFault {
    /// As in `layer 3 (residual), layer 0 (conv2d)`.
    pub(crate) place: String,
    pub(crate) misfit: Misfit,
}

/// A shape as it is written in definitions: `[3, 32, 32]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axes(pub Vec<usize>);

impl fmt::Display for Axes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Why a layer does not fit its input; shapes are those of a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("its output would have {found} values a row, more than the {limit} allowed")]
    TooWide { found: u64, limit: u64 },
}

/// Numbers that tell the streams of chance of a model's layers apart.
#[derive(Debug, Default)]
pub(super) struct Streams {
    next: u32,
}

impl Streams {
    fn next(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }
}

pub(super) fn chain(specs: &[LayerSpec], input: &[usize]) -> Result<Chain, LayerFault> {
    let mut streams = Streams::default();
    row(specs, input, &mut streams)
}

/// Layers in a row.
fn row(specs: &[LayerSpec], input: &[usize], streams: &mut Streams) -> Result<Chain, LayerFault> {
    let mut layers: Vec<Kind> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let shape = layers.last().map_or(input, Layer::output).to_vec();
        let place = format!("layer {index} ({})", spec.name());
        let misfit = |misfit| LayerFault { place: place.clone(), misfit };
        let (kind, activation) = one(spec, &shape, streams).map_err(misfit)?;
        let (found, limit) = (values(kind.output()), limits::MAX_ROW_VALUES);
        if found > limit {
            return Err(misfit(Misfit::TooWide { found, limit }));
        }
        let shape = kind.output().to_vec();
        layers.push(kind);
        if let Some(function) = activation {
            streams.next();
            layers.push(Kind::Activation(Activate { function, shape }));
        }
    }
    Ok(Chain::of(input, layers))
}

/// One layer, and the activation that is written within it but counts by itself.
fn one(
    spec: &LayerSpec,
    input: &[usize],
    streams: &mut Streams,
) -> Result<(Kind, Option<Activation>), Misfit> {
    let (stream, shape) = (streams.next(), input.to_vec());
    Ok(match spec {
        LayerSpec::Dense { units, activation } => {
            (Kind::Dense(Dense::new(input, *units as usize, stream)), *activation)
        }
        LayerSpec::Activation { function } => {
            (Kind::Activation(Activate { function: *function, shape }), None)
        }
        LayerSpec::Dropout { rate } => {
            (Kind::Dropout(Dropout { rate: *rate, shape, stream }), None)
        }
        LayerSpec::Flatten {} => {
            let output = vec![input.iter().product()];
            (Kind::Flatten(Flatten { kind: "flatten", input: shape, output }), None)
        }
    })
}
