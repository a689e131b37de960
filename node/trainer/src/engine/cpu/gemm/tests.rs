//! Products of all shapes of tiles at every level of this processor, against sums in f64.

use super::*;
use crate::engine::cpu::vectors::tests::same_at_all_levels;
use crate::random::{Purpose, Stream};

fn values(count: usize, layer: u32) -> Vec<f32> {
    let mut values = vec![0.0; count];
    Stream::new(7, Purpose::Weights { layer }).fill_uniform(&mut values, 1.0);
    values
}

/// Row after row, and the same numbers column after column.
fn both_ways(values: &[f32], turned: &mut Vec<f32>, rows: usize, columns: usize) {
    turned.clear();
    for column in 0..columns {
        turned.extend((0..rows).map(|row| values[row * columns + column]));
    }
}

#[test]
fn products_are_the_same_sums_at_every_level() {
    let engine = CpuEngine::new(1).unwrap();
    let sizes = [(1, 1, 1), (5, 3, 7), (6, 9, 16), (8, 17, 32), (9, 300, 33), (13, 8, 10)];
    let larger = [(130, 20, 49), (3, 600, 520), (128, 257, 64), (4, 0, 5)];
    for (rows, depth, columns) in sizes.into_iter().chain(larger) {
        let (left, right) = (values(rows * depth, 1), values(depth * columns, 2));
        let bias = values(columns, 3);
        let exact: Vec<f64> = (0..rows * columns)
            .map(|index| {
                let (row, column) = (index / columns, index % columns);
                let term =
                    |k| f64::from(left[row * depth + k]) * f64::from(right[k * columns + column]);
                f64::from(bias[column]) + (0..depth).map(term).sum::<f64>()
            })
            .collect();
        let (mut left_turned, mut right_turned) = (Vec::new(), Vec::new());
        both_ways(&left, &mut left_turned, rows, depth);
        both_ways(&right, &mut right_turned, depth, columns);
        let lefts =
            [Matrix::new(&left, rows, depth), Matrix::new(&left_turned, depth, rows).transposed()];
        let rights = [
            Matrix::new(&right, depth, columns),
            Matrix::new(&right_turned, columns, depth).transposed(),
        ];
        for (left, right) in lefts.into_iter().flat_map(|left| rights.map(|right| (left, right))) {
            same_at_all_levels(&exact, |level| {
                let mut result = vec![f32::NAN; rows * columns];
                let mut panels = Panels::new(&engine, depth, rows, columns).unwrap();
                let block = Block::new(&mut result, rows, columns);
                product_at(level, left, right, Start::Row(&bias), block, &mut panels);
                result
            });
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for (rows, depth, columns) in [(700, 300, 40), (40, 300, 700), (257, 129, 257)] {
        let (left, right) = (values(rows * depth, 1), values(depth * columns, 2));
        let on = |threads| {
            let engine = CpuEngine::new(threads).unwrap();
            let mut result = vec![f32::NAN; rows * columns];
            let (left, right) =
                (Matrix::new(&left, rows, depth), Matrix::new(&right, depth, columns));
            gemm(&engine, left, right, Start::Zero, &mut result).unwrap();
            result.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
        };
        let one = on(1);
        assert!((2..=5).all(|threads| on(threads) == one), "{rows} {depth} {columns}");
    }
}
