//! Every level that this processor has, on the same operands: one class of results for all that
//! fuse, and sums that are right at each.

use super::*;
use crate::engine::cpu::vectors::tests::same_at_all_levels;
use crate::random::{Purpose, Stream};

fn values(count: usize, layer: u32) -> Vec<f32> {
    let mut values = vec![0.0; count];
    Stream::new(7, Purpose::Weights { layer }).fill_uniform(&mut values, 1.0);
    values
}

#[test]
fn sliding_filters_are_the_same_sums_at_every_level() {
    for count in 1..=13 {
        for points in [1, 2, 9] {
            let stride = 3 * LANES;
            let offsets: Vec<usize> = (0..points).map(|point| 3 * point).collect();
            let weights = values(points * count, 1);
            let source = values(stride + 3 * points, 2);
            let filters = Filters { offsets: &offsets, weights: &weights, count };
            let exact: Vec<f64> = (0..count * stride)
                .map(|index| {
                    let (filter, at) = (index / stride, index % stride);
                    let term = |(point, offset): (usize, &usize)| {
                        f64::from(weights[point * count + filter]) * f64::from(source[at + offset])
                    };
                    offsets.iter().enumerate().map(term).sum()
                })
                .collect();
            same_at_all_levels(&exact, |level| {
                let mut result = vec![0.0; count * stride];
                slide_at(level, &filters, &source, &mut result, stride);
                result
            });
        }
    }
}

#[test]
fn correlations_are_the_same_sums_at_every_level() {
    let (rows, columns, pitch) = (5, 6, 8);
    for blocks in 1..=3 {
        for points in [1, 2, 3, 9, 13] {
            let offsets: Vec<usize> = (0..points).map(|point| 2 * point).collect();
            let slopes = values(blocks * rows * columns * LANES, 3);
            let source = values(rows * pitch + 2 * points, 4);
            let width = blocks * LANES;
            let exact: Vec<f64> = (0..points * width)
                .map(|index| {
                    let (offset, lane) = (offsets[index / width], index % width);
                    let block = &slopes[lane / LANES * rows * columns * LANES..];
                    let term = |place: usize| {
                        let (row, column) = (place / columns, place % columns);
                        f64::from(block[place * LANES + lane % LANES])
                            * f64::from(source[row * pitch + offset + column])
                    };
                    (0..rows * columns).map(term).sum()
                })
                .collect();
            let slopes = Slopes { blocks: &slopes, rows, columns };
            same_at_all_levels(&exact, |level| {
                let mut sums = vec![0.0; points * width];
                correlate_at(level, &slopes, &source, pitch, &offsets, &mut sums);
                sums
            });
        }
    }
}
