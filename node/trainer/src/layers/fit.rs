//! From the definition of a layer to its kind, fitted to the shape of its input; and why it may
//! not fit.

mod sequence;

use std::fmt;

use super::activation::Activate;
use super::batch_norm::BatchNorm;
use super::conv2d::{self, Convolution};
use super::dense::Dense;
use super::dropout::Dropout;
use super::embedding::Embedding;
use super::flatten::Flatten;
use super::kind::Kind;
use super::layer_norm::LayerNorm;
use super::pool2d::{Pool2d, Pooling};
use super::recurrent::Cell;
use super::residual::Residual;
use super::{Chain, Layer, chain, values};
use crate::definition::{LayerSpec, Padding, Pair};
use crate::engine::images::{Conv2d, Window};
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
    #[error(
        "its input has the shape {0}, which is none of a sequence; put an embedding, or a reshape \
         to [positions, dimensions], before it"
    )]
    NoSequence(Axes),
    #[error("its input has {dimensions} dimensions, which {heads} heads do not divide")]
    Heads { dimensions: usize, heads: usize },
    #[error(
        "its input has the shape {0}, which is none of a picture; put a layer of type reshape \
         with shape = [channels, height, width] before it"
    )]
    NoPicture(Axes),
    #[error(
        "a kernel of {height} x {width} points, gaps included, is larger than its input of shape \
         {found}; use a smaller kernel or more padding"
    )]
    Window { height: usize, width: usize, found: Axes },
    #[error("its input has {channels} channels, which {groups} groups do not divide")]
    Groups { channels: usize, groups: usize },
    #[error("its input of shape {found} has less than {axes} axes")]
    Axes { axes: usize, found: Axes },
    #[error("its input of shape {found} has {has} values, the shape {wanted} needs {needs}")]
    Reshape { found: Axes, has: u64, wanted: Axes, needs: u64 },
    #[error(
        "no projection adds an input of shape {input} to an output of shape {output}; keep the \
         number of axes, and all but the last, or height and width up to a stride, as they are"
    )]
    Projection { input: Axes, output: Axes },
    #[error("its output would have {found} values a row, more than the {limit} allowed")]
    TooWide { found: u64, limit: u64 },
    #[error(
        "it would have {found} parameters, more than the {limit} allowed; use fewer units or \
         filters"
    )]
    TooManyParameters { found: u64, limit: u64 },
}

impl Misfit {
    pub(super) fn window(input: &[usize], window: &Window) -> Self {
        let along = |axis| (window.kernel[axis] - 1) * window.dilation[axis] + 1;
        Self::Window { height: along(0), width: along(1), found: Axes(input.to_vec()) }
    }
}

/// Channels, and height and width.
pub(super) fn picture(input: &[usize]) -> Result<(usize, [usize; 2]), Misfit> {
    match *input {
        [channels, height, width] => Ok((channels, [height, width])),
        _ => Err(Misfit::NoPicture(Axes(input.to_vec()))),
    }
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
    row(specs, input, "", &mut Streams::default())
}

/// Layers in a row; `place` is that of the layer around them, if there is one.
fn row(
    specs: &[LayerSpec],
    input: &[usize],
    place: &str,
    streams: &mut Streams,
) -> Result<Chain, LayerFault> {
    let mut layers: Vec<Kind> = Vec::new();
    for (index, spec) in specs.iter().enumerate() {
        let shape = layers.last().map_or(input, Layer::output).to_vec();
        let place = format!("{place}layer {index} ({})", spec.name());
        let layer = if let LayerSpec::Residual { layers, .. } = spec {
            let inner = row(layers, &shape, &format!("{place}, "), streams)?;
            Residual::new(inner, streams.next()).map(Kind::Residual)
        } else {
            one(spec, &shape, streams.next())
        };
        let layer = layer.and_then(|layer| small_enough(&layer).map(|()| layer));
        let layer = layer.map_err(|misfit| LayerFault { place, misfit })?;
        let shape = layer.output().to_vec();
        layers.push(layer);
        if let Some(function) = spec.written_activation() {
            streams.next();
            layers.push(Kind::Activation(Activate { function, shape }));
        }
    }
    Ok(Chain::of(input, layers))
}

fn one(spec: &LayerSpec, input: &[usize], stream: u32) -> Result<Kind, Misfit> {
    let shape = input.to_vec();
    Ok(match spec {
        LayerSpec::Dense { units, .. } => Kind::Dense(Dense::new(input, *units as usize, stream)),
        LayerSpec::Activation { function } => {
            Kind::Activation(Activate { function: *function, shape })
        }
        LayerSpec::Dropout { rate } => Kind::Dropout(Dropout { rate: *rate, shape, stream }),
        LayerSpec::Flatten {} => {
            let output = vec![input.iter().product()];
            Kind::Flatten(Flatten { kind: "flatten", input: shape, output })
        }
        LayerSpec::Reshape { shape: wanted } => Kind::Flatten(reshape(input, wanted)?),
        LayerSpec::Conv2d { filters, kernel, stride, padding, dilation, groups, bias, .. } => {
            let window = conv2d::window(*kernel, *stride, *padding, *dilation);
            let conv = Conv2d { window, groups: *groups as usize };
            Kind::Conv2d(Convolution::new(input, *filters as usize, conv, *bias, stream)?)
        }
        LayerSpec::MaxPool2d { kernel, stride, padding } => {
            Kind::Pool2d(pool(input, Pooling::Max, *kernel, *stride, *padding)?)
        }
        LayerSpec::AvgPool2d { kernel, stride, padding } => {
            Kind::Pool2d(pool(input, Pooling::Avg, *kernel, *stride, *padding)?)
        }
        LayerSpec::GlobalAvgPool {} => Kind::Pool2d(Pool2d::global(input)?),
        LayerSpec::BatchNorm { momentum, epsilon } => {
            Kind::BatchNorm(BatchNorm { shape, momentum: *momentum, epsilon: *epsilon })
        }
        LayerSpec::LayerNorm { axes, epsilon } => {
            Kind::LayerNorm(LayerNorm::new(input, *axes as usize, *epsilon)?)
        }
        LayerSpec::Embedding { vocabulary, dimensions } => {
            let (vocabulary, dimensions) = (*vocabulary as usize, *dimensions as usize);
            Kind::Embedding(Embedding::new(input, vocabulary, dimensions, stream))
        }
        LayerSpec::PositionalEmbedding {} => Kind::Positional(sequence::positional(input, stream)?),
        LayerSpec::Attention { heads, causal, dropout } => {
            Kind::Attention(sequence::attention(input, *heads, *causal, *dropout, stream)?)
        }
        LayerSpec::Gru { units, return_sequences } => {
            let layer = sequence::recurrent(input, Cell::Gru, *units, *return_sequences, stream)?;
            Kind::Recurrent(layer)
        }
        LayerSpec::Lstm { units, return_sequences } => {
            let layer = sequence::recurrent(input, Cell::Lstm, *units, *return_sequences, stream)?;
            Kind::Recurrent(layer)
        }
        LayerSpec::Residual { .. } => unreachable!("a residual is fitted with the layers in it"),
    })
}

fn small_enough(layer: &Kind) -> Result<(), Misfit> {
    let (found, limit) = (values(layer.output()), limits::MAX_ROW_VALUES);
    if found > limit {
        return Err(Misfit::TooWide { found, limit });
    }
    let (found, limit) = (chain::learned(&layer.tensors()), limits::MAX_PARAMETERS);
    if found > limit {
        return Err(Misfit::TooManyParameters { found, limit });
    }
    Ok(())
}

fn reshape(input: &[usize], wanted: &[u32]) -> Result<Flatten, Misfit> {
    let output: Vec<usize> = wanted.iter().map(|length| *length as usize).collect();
    let (has, needs) = (values(input), values(&output));
    if has != needs {
        let (found, wanted) = (Axes(input.to_vec()), Axes(output));
        return Err(Misfit::Reshape { found, has, wanted, needs });
    }
    Ok(Flatten { kind: "reshape", input: input.to_vec(), output })
}

fn pool(
    input: &[usize],
    pooling: Pooling,
    kernel: Pair,
    stride: Option<Pair>,
    padding: Pair,
) -> Result<Pool2d, Misfit> {
    let (stride, padding) = (stride.unwrap_or(kernel), Padding::Zeros(padding));
    Pool2d::new(input, pooling, conv2d::window(kernel, stride, padding, Pair::Both(1)))
}
