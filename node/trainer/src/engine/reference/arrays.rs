//! [`Arrays`] in f64, index by index.

use std::ops::Range;

use super::{Exact, Reference, softmax};
use crate::engine::arrays::{
    Around, Arrays, Mask, Product, Side, attended, concatenated, indices, permuted, unfit,
};
use crate::engine::{Engine, EngineError};

impl Arrays<Exact> for Reference {
    fn reshape(&mut self, x: Exact, shape: &[usize]) -> Result<Exact, EngineError> {
        if x.values.len() != shape.iter().product::<usize>() {
            return Err(unfit("reshape", &x.shape, shape));
        }
        Ok(Exact { values: x.values, shape: shape.to_vec() })
    }

    fn permute(&mut self, x: &Exact, axes: &[usize]) -> Result<Exact, EngineError> {
        let (shape, strides) = permuted(&x.shape, axes)?;
        let source = |mut place: usize| {
            let mut offset = 0;
            for (length, stride) in shape.iter().zip(&strides).rev() {
                offset += place % length * stride;
                place /= length;
            }
            x.values[offset]
        };
        Ok(Exact { values: (0..x.values.len()).map(source).collect(), shape })
    }

    fn slice(&mut self, x: &Exact, axis: usize, range: Range<usize>) -> Result<Exact, EngineError> {
        let Around { length, inner, .. } = Around::axis("slice", &x.shape, axis)?;
        if range.start > range.end || range.end > length {
            return Err(unfit("slice", &x.shape, &[axis, range.start, range.end]));
        }
        let values = x.values.iter().enumerate();
        let kept = values.filter(|(place, _)| range.contains(&(place / inner % length)));
        let values = kept.map(|(_, value)| *value).collect();
        let mut shape = x.shape.clone();
        shape[axis] = range.len();
        Ok(Exact { values, shape })
    }

    fn concatenate(&mut self, parts: &[&Exact], axis: usize) -> Result<Exact, EngineError> {
        let shapes: Vec<&[usize]> = parts.iter().map(|part| &part.shape[..]).collect();
        let mut result = self.zeros(&concatenated(&shapes, axis)?)?;
        let whole = Around::axis("concatenate", &result.shape, axis)?;
        let mut before = 0;
        for part in parts {
            let Around { outer, length, inner } = Around::axis("concatenate", &part.shape, axis)?;
            for block in 0..outer {
                for index in 0..length {
                    for place in 0..inner {
                        let from = (block * length + index) * inner + place;
                        let to = (block * whole.length + before + index) * inner + place;
                        result.values[to] = part.values[from];
                    }
                }
            }
            before += length;
        }
        Ok(result)
    }

    fn add(&mut self, left: &Exact, right: &Exact) -> Result<Exact, EngineError> {
        Ok(left.zip(right, |left, right| left + right))
    }

    fn subtract(&mut self, left: &Exact, right: &Exact) -> Result<Exact, EngineError> {
        Ok(left.zip(right, |left, right| left - right))
    }

    fn scale(&mut self, x: &Exact, factor: f32) -> Result<Exact, EngineError> {
        Ok(x.zip(x, |value, _| value * f64::from(factor)))
    }

    fn matmul(
        &mut self,
        left: &Exact,
        left_side: Side,
        right: &Exact,
        right_side: Side,
    ) -> Result<Exact, EngineError> {
        let Product { count, rows, inner, columns, shape } =
            Product::of(&left.shape, left_side, &right.shape, right_side)?;
        let at = |x: &Exact, side, index: usize, size: (usize, usize), row, column| {
            let within = match side {
                Side::Plain => row * size.1 + column,
                Side::Transposed => column * size.0 + row,
            };
            x.values[index * size.0 * size.1 + within]
        };
        let mut values = Vec::new();
        for index in 0..count {
            for row in 0..rows {
                for column in 0..columns {
                    let product = |k| {
                        at(left, left_side, index, (rows, inner), row, k)
                            * at(right, right_side, index, (inner, columns), k, column)
                    };
                    values.push((0..inner).map(product).sum());
                }
            }
        }
        Ok(Exact { values, shape })
    }

    fn masked_softmax(&mut self, scores: &Exact, mask: Mask) -> Result<Exact, EngineError> {
        let (queries, keys) = attended(&scores.shape, mask)?;
        let hide = |(row, scores): (usize, &[f64])| {
            let seen = mask.seen(row % queries, keys);
            let hidden = |(key, score)| if key < seen { score } else { f64::NEG_INFINITY };
            softmax(&scores.iter().copied().enumerate().map(hidden).collect::<Vec<_>>())
        };
        let values = scores.values.chunks(keys).enumerate().flat_map(hide).collect();
        Ok(Exact { values, shape: scores.shape.clone() })
    }

    fn masked_softmax_backward(&mut self, y: &Exact, dy: &Exact) -> Result<Exact, EngineError> {
        let (_, keys) = attended(&y.shape, Mask::None)?;
        let mut values = Vec::new();
        for (y, dy) in y.values.chunks(keys).zip(dy.values.chunks(keys)) {
            for to in 0..keys {
                let slope = |from: usize| {
                    let same = if from == to { 1.0 } else { 0.0 };
                    dy[from] * y[from] * (same - y[to])
                };
                values.push((0..keys).map(slope).sum());
            }
        }
        Ok(Exact { values, shape: y.shape.clone() })
    }

    fn embed(&mut self, table: &Exact, ids: &Exact) -> Result<Exact, EngineError> {
        let (vocabulary, dimensions) = (table.shape[0], table.shape[1]);
        let rows = places(ids, vocabulary)?.into_iter();
        let values = rows.flat_map(|row| &table.values[row * dimensions..(row + 1) * dimensions]);
        let values = values.copied().collect();
        Ok(Exact { values, shape: [&ids.shape[..], &[dimensions]].concat() })
    }

    fn embed_backward(
        &mut self,
        ids: &Exact,
        dy: &Exact,
        vocabulary: usize,
    ) -> Result<Exact, EngineError> {
        let dimensions = dy.columns();
        let mut result = self.zeros(&[vocabulary, dimensions])?;
        for (place, row) in places(ids, vocabulary)?.into_iter().enumerate() {
            for column in 0..dimensions {
                result.values[row * dimensions + column] += dy.values[place * dimensions + column];
            }
        }
        Ok(result)
    }
}

fn places(ids: &Exact, vocabulary: usize) -> Result<Vec<usize>, EngineError> {
    let positions = ids.shape.iter().skip(1).product();
    indices(ids.values.iter().map(|id| *id as f32), positions, vocabulary)
}
