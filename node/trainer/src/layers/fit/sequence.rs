//! Layers that work on rows of positions.

use super::{Axes, Misfit};
use crate::engine::arrays::Mask;
use crate::layers::attention::Attention;
use crate::layers::positional::Positional;
use crate::layers::recurrent::{Cell, Recurrent, Returned};
use crate::layers::values;
use crate::limits;

pub(super) fn positional(input: &[usize], stream: u32) -> Result<Positional, Misfit> {
    positions(input).map(|shape| Positional::new(shape, stream))
}

pub(super) fn attention(
    input: &[usize],
    heads: u32,
    causal: bool,
    rate: f64,
    stream: u32,
) -> Result<Attention, Misfit> {
    let shape = positions(input)?;
    let [positions, dimensions] = shape;
    let heads = heads as usize;
    if !dimensions.is_multiple_of(heads) {
        return Err(Misfit::Heads { dimensions, heads });
    }
    let (found, limit) = (values(&[heads, positions, positions]), limits::MAX_ROW_VALUES);
    if found > limit {
        return Err(Misfit::TooWide { found, limit });
    }
    let mask = if causal { Mask::Causal } else { Mask::None };
    Ok(Attention::new(shape, heads, mask, rate, stream))
}

pub(super) fn recurrent(
    input: &[usize],
    cell: Cell,
    units: u32,
    return_sequences: bool,
    stream: u32,
) -> Result<Recurrent, Misfit> {
    let returned = if return_sequences { Returned::Sequence } else { Returned::Last };
    Ok(Recurrent::new(cell, positions(input)?, units as usize, returned, stream))
}

/// `[positions, dimensions]`.
fn positions(input: &[usize]) -> Result<[usize; 2], Misfit> {
    input.try_into().map_err(|_| Misfit::NoSequence(Axes(input.to_vec())))
}
