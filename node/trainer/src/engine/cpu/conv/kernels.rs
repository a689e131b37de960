//! The two inner loops of convolutions: windows that slide over a frame, and what each of their
//! points has to do with each output. Each value of a result is one sum in one order, whatever the
//! tiles.

use crate::engine::cpu::vectors::{Kernel, LANES, Level, Vector};

/// Filters that slide over a source.
pub(super) struct Filters<'a> {
    /// Where each point of the window looks, from where the window is.
    pub(super) offsets: &'a [usize],
    /// For each point of the window, its weight in each filter.
    pub(super) weights: &'a [f32],
    pub(super) count: usize,
}

/// For each filter `f` and `i < length`: `result[f * stride + i]` is the sum over all points of
/// `weight * source[i + offset]`. Up to `LANES - 1` values behind `length` are read and written.
pub(super) fn slide(filters: &Filters<'_>, source: &[f32], result: &mut [f32], length: usize) {
    let stride = length.next_multiple_of(LANES);
    assert!(filters.weights.len() == filters.offsets.len() * filters.count, "all have weights");
    assert!(result.len() == filters.count * stride, "the result has room for all filters");
    slide_at(Level::of_processor(), filters, source, result, stride);
}

fn slide_at(
    level: Level,
    filters: &Filters<'_>,
    source: &[f32],
    result: &mut [f32],
    stride: usize,
) {
    level.run(Slide { filters, source, result, stride });
}

struct Slide<'a> {
    filters: &'a Filters<'a>,
    source: &'a [f32],
    result: &'a mut [f32],
    stride: usize,
}

impl Kernel for Slide<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { filters, source, result, stride } = self;
        let mut first = 0;
        while first < filters.count {
            let result = &mut result[first * stride..];
            first += match filters.count - first {
                8.. if V::MANY => slide_some::<V, 8, 2>(filters, first, source, result, stride),
                4.. if V::MANY => slide_some::<V, 4, 4>(filters, first, source, result, stride),
                4.. => slide_some::<V, 4, 1>(filters, first, source, result, stride),
                2.. => slide_some::<V, 2, 2>(filters, first, source, result, stride),
                _ => slide_some::<V, 1, 2>(filters, first, source, result, stride),
            };
        }
    }
}

/// `F` filters from `first` on, `W` vectors at once; gives `F`.
#[inline(always)]
fn slide_some<V: Vector, const F: usize, const W: usize>(
    filters: &Filters<'_>,
    first: usize,
    source: &[f32],
    result: &mut [f32],
    stride: usize,
) -> usize {
    let mut at = 0;
    while at + W * LANES <= stride {
        slide_tile::<V, F, W>(filters, first, &source[at..], &mut result[at..], stride);
        at += W * LANES;
    }
    while at < stride {
        slide_tile::<V, F, 1>(filters, first, &source[at..], &mut result[at..], stride);
        at += LANES;
    }
    F
}

#[inline(always)]
fn slide_tile<V: Vector, const F: usize, const W: usize>(
    filters: &Filters<'_>,
    first: usize,
    source: &[f32],
    result: &mut [f32],
    stride: usize,
) {
    let mut sums = [[V::zero(); W]; F];
    let weights = filters.weights.chunks_exact(filters.count);
    for (offset, weights) in filters.offsets.iter().zip(weights) {
        let seen = source[*offset..*offset + W * LANES].as_chunks::<LANES>().0;
        let seen: [V; W] = std::array::from_fn(|index| V::load(&seen[index]));
        for (sums, weight) in sums.iter_mut().zip(&weights[first..first + F]) {
            let weight = V::splat(*weight);
            for (sum, seen) in sums.iter_mut().zip(seen) {
                *sum = seen.times_plus(weight, *sum);
            }
        }
    }
    for (filter, sums) in sums.into_iter().enumerate() {
        let places = result[filter * stride..][..W * LANES].as_chunks_mut::<LANES>().0;
        for (place, sum) in places.iter_mut().zip(sums) {
            sum.store(place);
        }
    }
}

/// Slopes of outputs, for each position of the window those of all filters.
pub(super) struct Slopes<'a> {
    /// `count` blocks, `[rows, columns, LANES]` each.
    pub(super) blocks: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// Adds to `sums [offsets, blocks * LANES]` for each point of the window and each filter, over all
/// positions, the value that it sees times the slope; rows of positions are `pitch` apart.
pub(super) fn correlate(
    slopes: &Slopes<'_>,
    source: &[f32],
    pitch: usize,
    offsets: &[usize],
    sums: &mut [f32],
) {
    assert!(offsets.is_empty() || sums.len().is_multiple_of(offsets.len() * LANES), "whole blocks");
    correlate_at(Level::of_processor(), slopes, source, pitch, offsets, sums);
}

fn correlate_at(
    level: Level,
    slopes: &Slopes<'_>,
    source: &[f32],
    pitch: usize,
    offsets: &[usize],
    sums: &mut [f32],
) {
    level.run(Correlate { slopes, source, pitch, offsets, sums });
}

struct Correlate<'a> {
    slopes: &'a Slopes<'a>,
    source: &'a [f32],
    pitch: usize,
    offsets: &'a [usize],
    sums: &'a mut [f32],
}

impl Kernel for Correlate<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { slopes, source, pitch, offsets, sums } = self;
        let of_block = slopes.rows * slopes.columns * LANES;
        let width = sums.len() / offsets.len().max(1);
        let mut block = 0;
        while block * LANES < width {
            let pair = (block + 2) * LANES <= width;
            let blocks = [block, block + usize::from(pair)];
            let blocks = blocks.map(|block| &slopes.blocks[block * of_block..][..of_block]);
            let mut done = 0;
            while done < offsets.len() {
                let sums = &mut sums[done * width + block * LANES..];
                let offsets = &offsets[done..];
                let tile = Tile { blocks, slopes, source, pitch, offsets };
                done += match (offsets.len(), pair) {
                    (9.., true) if V::MANY => tile.add::<V, 9, 2>(sums, width),
                    (9.., false) if V::MANY => tile.add::<V, 9, 1>(sums, width),
                    (3.., true) => tile.add::<V, 3, 2>(sums, width),
                    (3.., false) => tile.add::<V, 3, 1>(sums, width),
                    (_, true) => tile.add::<V, 1, 2>(sums, width),
                    (_, false) => tile.add::<V, 1, 1>(sums, width),
                };
            }
            block += 1 + usize::from(pair);
        }
    }
}

/// Some points of the window and one or two blocks of filters.
struct Tile<'a> {
    blocks: [&'a [f32]; 2],
    slopes: &'a Slopes<'a>,
    source: &'a [f32],
    pitch: usize,
    offsets: &'a [usize],
}

impl Tile<'_> {
    /// The first `P` points and `B` blocks; gives `P`.
    #[inline(always)]
    fn add<V: Vector, const P: usize, const B: usize>(
        &self,
        sums: &mut [f32],
        width: usize,
    ) -> usize {
        let columns = self.slopes.columns;
        let mut tile = [[V::zero(); B]; P];
        for row in 0..self.slopes.rows {
            let begin = row * self.pitch;
            let seen: [&[f32]; P] =
                std::array::from_fn(|point| &self.source[begin + self.offsets[point]..][..columns]);
            let slopes: [&[[f32; LANES]]; B] = std::array::from_fn(|block| {
                let line = row * columns * LANES..(row + 1) * columns * LANES;
                self.blocks[block][line].as_chunks().0
            });
            for column in 0..columns {
                let slopes: [V; B] = std::array::from_fn(|block| V::load(&slopes[block][column]));
                for (sums, seen) in tile.iter_mut().zip(&seen) {
                    let seen = V::splat(seen[column]);
                    for (sum, slope) in sums.iter_mut().zip(slopes) {
                        *sum = slope.times_plus(seen, *sum);
                    }
                }
            }
        }
        for (point, tile) in tile.into_iter().enumerate() {
            let places = sums[point * width..][..B * LANES].as_chunks_mut::<LANES>().0;
            for (place, sum) in places.iter_mut().zip(tile) {
                V::load(place).plus(sum).store(place);
            }
        }
        P
    }
}

#[cfg(test)]
mod tests;
