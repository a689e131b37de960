//! What makes a layer impossible whatever its input is.

use super::{DefinitionError, Problem, at_most, fault, range, sequence};
use crate::definition::{LayerSpec, Padding, Pair};
use crate::limits;

/// Judges layers in a row; gives whether there is something to train in them.
pub(super) fn row(
    layers: &[LayerSpec],
    place: &str,
    depth: usize,
) -> Result<bool, DefinitionError> {
    sequence::embedding_first(layers, place, depth)?;
    let mut trainable = false;
    for (index, layer) in layers.iter().enumerate() {
        let place = format!("{place}, layer {index} ({})", layer.name());
        trainable |= one(layer, &place, depth)?;
    }
    Ok(trainable)
}

/// How many layers there are, those within others included.
pub(super) fn count(layers: &[LayerSpec]) -> usize {
    let within = |layer: &LayerSpec| {
        if let LayerSpec::Residual { layers, .. } = layer { count(layers) } else { 0 }
    };
    layers.iter().map(|layer| 1 + within(layer)).sum()
}

fn one(layer: &LayerSpec, place: &str, depth: usize) -> Result<bool, DefinitionError> {
    let at = |key: &str| format!("{place}, {key}");
    match layer {
        LayerSpec::Dense { units, .. } => {
            width(at("units"), *units)?;
            Ok(true)
        }
        LayerSpec::Dropout { rate } => {
            if !(0.0..1.0).contains(rate) {
                return Err(range(at("rate"), rate, "0 up to, but not including, 1"));
            }
            Ok(false)
        }
        LayerSpec::Conv2d { filters, kernel, stride, padding, dilation, groups, .. } => {
            width(at("filters"), *filters)?;
            lengths(at("kernel"), *kernel)?;
            lengths(at("stride"), *stride)?;
            lengths(at("dilation"), *dilation)?;
            if *groups == 0 || !filters.is_multiple_of(*groups) {
                return Err(range(at("groups"), groups, "a divisor of filters"));
            }
            match padding {
                Padding::Zeros(zeros) => at_most_length(at("padding"), *zeros)?,
                Padding::Named(_) if stride.each() != [1, 1] => {
                    return Err(fault(at("padding"), Problem::SameWithStride));
                }
                Padding::Named(_) => {}
            }
            Ok(true)
        }
        LayerSpec::MaxPool2d { kernel, stride, padding }
        | LayerSpec::AvgPool2d { kernel, stride, padding } => {
            lengths(at("kernel"), *kernel)?;
            lengths(at("stride"), stride.unwrap_or(*kernel))?;
            let (padding, kernel) = (padding.each(), kernel.each());
            if (0..2).any(|axis| 2 * padding[axis] > kernel[axis]) {
                let found = format!("{padding:?}");
                return Err(range(at("padding"), found, "at most half of the kernel"));
            }
            Ok(false)
        }
        LayerSpec::BatchNorm { momentum, epsilon } => {
            if !(0.0..=1.0).contains(momentum) {
                return Err(range(at("momentum"), momentum, "0 to 1"));
            }
            small(at("epsilon"), *epsilon)?;
            Ok(true)
        }
        LayerSpec::LayerNorm { axes, epsilon } => {
            if !(1..=limits::MAX_AXES as u32).contains(axes) {
                return Err(range(at("axes"), axes, "1, or as many axes as a row has"));
            }
            small(at("epsilon"), *epsilon)?;
            Ok(true)
        }
        LayerSpec::Reshape { shape } => {
            if shape.is_empty() || shape.contains(&0) {
                return Err(range(at("shape"), format!("{shape:?}"), "lengths of 1 or more"));
            }
            at_most(at("shape"), shape.len() as u64, limits::MAX_AXES as u64)?;
            Ok(false)
        }
        LayerSpec::Embedding { vocabulary, dimensions } => {
            sequence::embedding(place, *vocabulary, *dimensions)?;
            Ok(true)
        }
        LayerSpec::Attention { heads, dropout, .. } => {
            sequence::attention(place, *heads, *dropout)?;
            Ok(true)
        }
        LayerSpec::Gru { units, .. } | LayerSpec::Lstm { units, .. } => {
            sequence::recurrent(place, *units)?;
            Ok(true)
        }
        LayerSpec::PositionalEmbedding {} => Ok(true),
        LayerSpec::Residual { layers, .. } => {
            if layers.is_empty() {
                return Err(fault(at("layers"), Problem::NoLayers));
            }
            at_most(at("depth"), depth as u64 + 1, limits::MAX_LAYER_DEPTH as u64)?;
            row(layers, place, depth + 1)
        }
        LayerSpec::Activation { .. } | LayerSpec::Flatten {} | LayerSpec::GlobalAvgPool {} => {
            Ok(false)
        }
    }
}

fn width(place: String, found: u32) -> Result<(), DefinitionError> {
    if found == 0 {
        return Err(range(place, found, "1 or more"));
    }
    at_most(place, u64::from(found), limits::MAX_UNITS as u64)
}

fn lengths(place: String, pair: Pair) -> Result<(), DefinitionError> {
    if pair.each().contains(&0) {
        return Err(range(place, 0, "1 or more"));
    }
    at_most_length(place, pair)
}

fn at_most_length(place: String, pair: Pair) -> Result<(), DefinitionError> {
    let [height, width] = pair.each();
    at_most(place, height.max(width) as u64, limits::MAX_WINDOW as u64)
}

fn small(place: String, epsilon: f64) -> Result<(), DefinitionError> {
    // Below this, f32 makes it zero.
    if (1e-30..=1.0).contains(&epsilon) {
        Ok(())
    } else {
        Err(range(place, epsilon, "a number from 1e-30 to 1"))
    }
}
