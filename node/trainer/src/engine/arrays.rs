//! Operations on tensors of any rank that attention, embeddings and recurrent layers are put
//! together from: few, so that a further engine has little to write. Axes are counted from 0, the
//! slowest first; no operation broadcasts. Gradients that are one of these operations themselves
//! (of a slice a concatenation with zeros, of a product two products) have none of their own.
//!
//! The rules of shapes are here, once for all engines; what is computed is left to them.

use std::ops::Range;

use super::EngineError;

/// What an [`super::Engine`] does with tensors `T` besides whole layers.
pub trait Arrays<T> {
    /// The same values in the same order under another shape.
    ///
    /// # Errors
    /// Like all of these: shapes disagree, memory ran out, or the device failed.
    fn reshape(&mut self, x: T, shape: &[usize]) -> Result<T, EngineError>;

    /// The axes in another order: axis `i` of the result is axis `axes[i]` of `x`.
    fn permute(&mut self, x: &T, axes: &[usize]) -> Result<T, EngineError>;

    /// The part of `x` whose index along `axis` lies in `range`.
    fn slice(&mut self, x: &T, axis: usize, range: Range<usize>) -> Result<T, EngineError>;

    /// `parts` one after the other along `axis`; all other axes are equally long.
    fn concatenate(&mut self, parts: &[&T], axis: usize) -> Result<T, EngineError>;

    /// Sum value by value.
    fn add(&mut self, left: &T, right: &T) -> Result<T, EngineError>;

    /// Difference value by value.
    fn subtract(&mut self, left: &T, right: &T) -> Result<T, EngineError>;

    /// Each value times `factor`.
    fn scale(&mut self, x: &T, factor: f32) -> Result<T, EngineError>;

    /// `[.., rows, inner] · [.., inner, columns]`, one product for each index of the leading
    /// axes, which both operands share. A transposed operand has its last two axes swapped first.
    fn matmul(
        &mut self,
        left: &T,
        left_side: Side,
        right: &T,
        right_side: Side,
    ) -> Result<T, EngineError>;

    /// Softmax over the last axis of `scores [.., queries, keys]`, zero where `mask` hides a key.
    fn masked_softmax(&mut self, scores: &T, mask: Mask) -> Result<T, EngineError>;

    /// Gradient of [`Self::masked_softmax`] from its result `y` and `dy`, whatever the mask was:
    /// hidden keys have `y = 0` and so a gradient of 0.
    fn masked_softmax_backward(&mut self, y: &T, dy: &T) -> Result<T, EngineError>;

    /// Row `ids[i]` of `table [vocabulary, dimensions]` for each of `ids [rows, ..]`, which are
    /// whole numbers in f32: `[rows, .., dimensions]`.
    ///
    /// # Errors
    /// Besides the usual, [`EngineError::Id`] for the first id outside the vocabulary.
    fn embed(&mut self, table: &T, ids: &T) -> Result<T, EngineError>;

    /// Gradient of [`Self::embed`] by its table, `[vocabulary, dimensions]`: the rows of `dy`
    /// added up by id, each sum in the order of `ids`.
    fn embed_backward(&mut self, ids: &T, dy: &T, vocabulary: usize) -> Result<T, EngineError>;
}

/// How [`Arrays::matmul`] reads an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Plain,
    /// With its last two axes swapped.
    Transposed,
}

/// Keys that a query does not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    None,
    /// Those after it: there are as many keys as queries, and query `i` sees keys `0..=i`.
    Causal,
}

impl Mask {
    /// Keys, of `keys`, that query `query` sees.
    pub(crate) fn seen(self, query: usize, keys: usize) -> usize {
        match self {
            Self::None => keys,
            Self::Causal => query + 1,
        }
    }
}

/// The size of a batched product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Product {
    /// Products, one for each index of the leading axes.
    pub(crate) count: usize,
    pub(crate) rows: usize,
    pub(crate) inner: usize,
    pub(crate) columns: usize,
    /// Of the result.
    pub(crate) shape: Vec<usize>,
}

impl Product {
    pub(crate) fn of(
        left: &[usize],
        left_side: Side,
        right: &[usize],
        right_side: Side,
    ) -> Result<Self, EngineError> {
        let unfit = || unfit("matmul", left, right);
        let (leading, [a, b]) = left.split_last_chunk().ok_or_else(unfit)?;
        let (others, [c, d]) = right.split_last_chunk().ok_or_else(unfit)?;
        let in_order = |first, second, side| match side {
            Side::Plain => (first, second),
            Side::Transposed => (second, first),
        };
        let (rows, inner) = in_order(*a, *b, left_side);
        let (summed, columns) = in_order(*c, *d, right_side);
        if leading != others || inner != summed {
            return Err(unfit());
        }
        let shape = [leading, &[rows, columns]].concat();
        Ok(Self { count: leading.iter().product(), rows, inner, columns, shape })
    }
}

/// A shape around one of its axes: `[outer, length, inner]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Around {
    pub(crate) outer: usize,
    pub(crate) length: usize,
    pub(crate) inner: usize,
}

impl Around {
    pub(crate) fn axis(
        operation: &'static str,
        shape: &[usize],
        axis: usize,
    ) -> Result<Self, EngineError> {
        let Some(&length) = shape.get(axis) else {
            return Err(unfit(operation, shape, &[axis]));
        };
        let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
        Ok(Self { outer, length, inner })
    }
}

/// Where [`Arrays::permute`] finds the values: the result's shape, and how far apart in `x`
/// neighbours along each of its axes lie.
pub(crate) fn permuted(
    shape: &[usize],
    axes: &[usize],
) -> Result<(Vec<usize>, Vec<usize>), EngineError> {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    if sorted.len() != shape.len() || sorted.iter().enumerate().any(|(index, axis)| index != *axis)
    {
        return Err(unfit("permute", shape, axes));
    }
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    let pick = |from: &[usize]| axes.iter().map(|axis| from[*axis]).collect();
    Ok((pick(shape), pick(&strides)))
}

/// The shape that [`Arrays::concatenate`] gives.
pub(crate) fn concatenated(shapes: &[&[usize]], axis: usize) -> Result<Vec<usize>, EngineError> {
    let Some((first, rest)) = shapes.split_first() else {
        return Err(unfit("concatenate", &[], &[]));
    };
    let mut whole = first.to_vec();
    Around::axis("concatenate", first, axis)?;
    for shape in rest {
        let same_but_axis = shape.len() == first.len()
            && (0..first.len()).all(|other| other == axis || shape[other] == first[other]);
        if !same_but_axis {
            return Err(unfit("concatenate", first, shape));
        }
        whole[axis] += shape[axis];
    }
    Ok(whole)
}

/// `(queries, keys)` of scores that `mask` fits.
pub(crate) fn attended(scores: &[usize], mask: Mask) -> Result<(usize, usize), EngineError> {
    match scores {
        [.., queries, keys] if *keys > 0 && (mask == Mask::None || queries == keys) => {
            Ok((*queries, *keys))
        }
        _ => Err(unfit("masked_softmax", scores, &[])),
    }
}

/// `ids` as indices into a vocabulary; `positions` of them make a row.
///
/// # Errors
/// [`EngineError::Id`] for the first that is no whole number below `vocabulary`.
pub(crate) fn indices(
    ids: impl Iterator<Item = f32>,
    positions: usize,
    vocabulary: usize,
) -> Result<Vec<usize>, EngineError> {
    let place = |(place, id): (usize, f32)| {
        let positions = positions.max(1);
        let (row, position) = (place / positions, place % positions);
        index(id, vocabulary).ok_or(EngineError::Id { row, position, id, vocabulary })
    };
    ids.enumerate().map(place).collect()
}

/// `id` as an index into a vocabulary, if it is a whole number below `vocabulary`.
pub(crate) fn index(id: f32, vocabulary: usize) -> Option<usize> {
    let index = id as usize;
    (id >= 0.0 && index < vocabulary && index as f32 == id).then_some(index)
}

pub(crate) fn unfit(operation: &'static str, left: &[usize], right: &[usize]) -> EngineError {
    EngineError::Shape { operation, left: left.to_vec(), right: right.to_vec() }
}
