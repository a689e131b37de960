//! Batch norm, one channel by itself; layer norm, one part by itself. Means and variances are
//! taken in f64.

use super::rows::PIECE;
use super::vectors::wide;
use super::{CpuEngine, CpuTensor, lanes, same, unfit};
use crate::engine::EngineError;
use crate::engine::images::{BatchNorm, NormGradients, Statistics, channels, part};

pub(super) fn batch(
    engine: &CpuEngine,
    x: &CpuTensor,
    weight: &CpuTensor,
    bias: &CpuTensor,
    epsilon: f64,
) -> Result<BatchNorm<CpuTensor>, EngineError> {
    let layout = Layout::of(x, weight)?;
    let (mut mean, mut variance) =
        (engine.zeros_of(&weight.shape)?, engine.zeros_of(&weight.shape)?);
    let each = (&mut mean.values[..], &mut variance.values[..]);
    each_channel(engine, x.values.len(), each, |channel, mean, variance| {
        let count = (layout.rows * layout.points) as f64;
        let sum = layout.sum(channel, &x.values, &x.values, |x, _| x);
        let exact = sum / count;
        let squares = layout.sum(channel, &x.values, &x.values, |x, _| (x - exact) * (x - exact));
        (*mean, *variance) = (exact as f32, (squares / count) as f32);
    });
    let statistics = Statistics { mean: &mean, variance: &variance };
    let output = batch_by(engine, x, weight, bias, &statistics, epsilon)?;
    Ok(BatchNorm { output, mean, variance })
}

pub(super) fn batch_by(
    engine: &CpuEngine,
    x: &CpuTensor,
    weight: &CpuTensor,
    bias: &CpuTensor,
    statistics: &Statistics<'_, CpuTensor>,
    epsilon: f64,
) -> Result<CpuTensor, EngineError> {
    let layout = Layout::of(x, weight)?;
    let all = [&bias, &statistics.mean, &statistics.variance];
    if let Some(other) = all.into_iter().find(|other| other.shape != weight.shape) {
        return Err(unfit("batch_norm", &weight.shape, &other.shape));
    }
    let scale = |channel: usize| {
        weight.values[channel] * inverse_deviation(statistics.variance.values[channel], epsilon)
    };
    let scales: Vec<f32> = (0..layout.channels).map(scale).collect();
    let mut y = engine.unset(&x.shape)?;
    engine.in_pieces(&mut y.values, |offset, piece| {
        layout.parts(offset, piece.len(), |channel, range| {
            let (mean, scale) = (statistics.mean.values[channel], scales[channel]);
            let bias = bias.values[channel];
            let x = &x.values[offset + range.start..offset + range.end];
            let y = piece[range].iter_mut();
            y.zip(x).for_each(|(y, x)| *y = (x - mean) * scale + bias);
        });
    });
    Ok(y)
}

pub(super) fn batch_backward(
    engine: &CpuEngine,
    x: &CpuTensor,
    weight: &CpuTensor,
    statistics: &Statistics<'_, CpuTensor>,
    dy: &CpuTensor,
    epsilon: f64,
) -> Result<NormGradients<CpuTensor>, EngineError> {
    let layout = Layout::of(x, weight)?;
    same("batch_norm_backward", x, dy)?;
    let (means, variances) = (&statistics.mean.values, &statistics.variance.values);
    if means.len() != layout.channels || variances.len() != layout.channels {
        return Err(unfit("batch_norm_backward", &x.shape, &statistics.mean.shape));
    }
    let (mut dw, mut db) = (engine.zeros_of(&weight.shape)?, engine.zeros_of(&weight.shape)?);
    let each = (&mut dw.values[..], &mut db.values[..]);
    each_channel(engine, x.values.len(), each, |channel, dw, db| {
        let mean = f64::from(means[channel]);
        let inverse = f64::from(inverse_deviation(variances[channel], epsilon));
        let sum = layout.sum(channel, &x.values, &dy.values, |x, dy| (x - mean) * dy);
        *dw = (sum * inverse) as f32;
        *db = layout.sum(channel, &x.values, &dy.values, |_, dy| dy) as f32;
    });
    let mut dx = engine.unset(&x.shape)?;
    let count = (layout.rows * layout.points) as f32;
    engine.in_pieces(&mut dx.values, |offset, piece| {
        layout.parts(offset, piece.len(), |channel, range| {
            let inverse = inverse_deviation(variances[channel], epsilon);
            let (mean, scale) = (means[channel], weight.values[channel] * inverse);
            let (along, level) = (dw.values[channel] * inverse / count, db.values[channel] / count);
            let known = offset + range.start..offset + range.end;
            let known = x.values[known.clone()].iter().zip(&dy.values[known]);
            for (dx, (x, dy)) in piece[range].iter_mut().zip(known) {
                *dx = scale * (dy - level - (x - mean) * along);
            }
        });
    });
    Ok(NormGradients { input: dx, weight: dw, bias: db })
}

pub(super) fn layer(
    engine: &CpuEngine,
    x: &CpuTensor,
    weight: &CpuTensor,
    bias: &CpuTensor,
    epsilon: f64,
) -> Result<CpuTensor, EngineError> {
    let length = part(&x.shape, &weight.shape)?;
    same("layer_norm", weight, bias)?;
    let mut y = engine.unset(&x.shape)?;
    each_part(engine, &mut y.values, length, |begin, y| {
        let x = &x.values[begin..begin + length];
        layer_part(x, &weight.values, &bias.values, epsilon, y);
    });
    Ok(y)
}

pub(super) fn layer_backward(
    engine: &CpuEngine,
    x: &CpuTensor,
    weight: &CpuTensor,
    dy: &CpuTensor,
    epsilon: f64,
) -> Result<NormGradients<CpuTensor>, EngineError> {
    let length = part(&x.shape, &weight.shape)?;
    same("layer_norm_backward", x, dy)?;
    let (mut dw, mut db) = (engine.zeros_of(&weight.shape)?, engine.zeros_of(&weight.shape)?);
    let mut dx = engine.unset(&x.shape)?;
    let mut moments = engine.scratch(2 * (x.values.len() / length))?;
    let several = PIECE.div_ceil(length);
    let pieces = dx.values.chunks_mut(several * length).zip(moments.chunks_mut(several * 2));
    engine.team.share(pieces.enumerate(), |(piece, (dx, moments))| {
        let parts = dx.chunks_exact_mut(length).zip(moments.as_chunks_mut().0);
        for (index, (dx, moments)) in parts.enumerate() {
            let begin = (piece * several + index) * length;
            let (x, dy) = (&x.values[begin..begin + length], &dy.values[begin..begin + length]);
            *moments = slope_of_part(x, &weight.values, dy, epsilon, dx);
        }
    });
    let share = engine.columns_each(length, x.values.len());
    let columns = dw.values.chunks_mut(share).zip(db.values.chunks_mut(share));
    engine.team.share(columns.enumerate(), |(index, (dw, db))| {
        let moments = moments.as_chunks().0;
        add_slopes([&x.values, &dy.values], length, moments, index * share, dw, db);
    });
    Ok(NormGradients { input: dx, weight: dw, bias: db })
}

fn inverse_deviation(variance: f32, epsilon: f64) -> f32 {
    (1.0 / (f64::from(variance) + epsilon).sqrt()) as f32
}

/// Mean and inverse deviation.
#[inline(always)]
fn moments(values: &[f32], epsilon: f64) -> [f32; 2] {
    let count = values.len() as f64;
    let mean = lanes::sum_of_pairs(values, values, |x, _| x) / count;
    let squares = lanes::sum_of_pairs(values, values, |x, _| (x - mean) * (x - mean));
    [mean as f32, (1.0 / (squares / count + epsilon).sqrt()) as f32]
}

wide! {
    fn layer_part(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f64, y: &mut [f32]) {
        let [mean, inverse] = moments(x, epsilon);
        for ((y, x), (weight, bias)) in y.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
            *y = (x - mean) * inverse * weight + bias;
        }
    }

    /// Adds the slopes of weight and bias over all parts, of `length` values each, from their
    /// value `first` on.
    fn add_slopes(
        known: [&[f32]; 2],
        length: usize,
        moments: &[[f32; 2]],
        first: usize,
        dw: &mut [f32],
        db: &mut [f32],
    ) {
        let [x, dy] = known.map(|values| values.chunks_exact(length));
        let parts = x.zip(dy).zip(moments);
        for ((x, dy), [mean, inverse]) in parts {
            let seen = x[first..first + dw.len()].iter().zip(&dy[first..]);
            for ((x, dy), (dw, db)) in seen.zip(dw.iter_mut().zip(&mut *db)) {
                *dw += (x - mean) * inverse * dy;
                *db += dy;
            }
        }
    }

    /// Gives the moments as well.
    fn slope_of_part(
        x: &[f32],
        weight: &[f32],
        dy: &[f32],
        epsilon: f64,
        dx: &mut [f32],
    ) -> [f32; 2] {
        let [mean, inverse] = moments(x, epsilon);
        for ((dx, dy), weight) in dx.iter_mut().zip(dy).zip(weight) {
            *dx = dy * weight;
        }
        let count = x.len() as f64;
        let level = (lanes::sum_of_pairs(dx, x, |slope, _| slope) / count) as f32;
        let center = f64::from(mean);
        let along = lanes::sum_of_pairs(dx, x, |slope, x| slope * (x - center)) / count;
        let along = along as f32 * inverse * inverse;
        for (dx, x) in dx.iter_mut().zip(x) {
            *dx = inverse * (*dx - level - (x - mean) * along);
        }
        [mean, inverse]
    }
}

/// `[rows, channels, points]`.
#[derive(Clone, Copy)]
struct Layout {
    rows: usize,
    channels: usize,
    points: usize,
}

impl Layout {
    fn of(x: &CpuTensor, weight: &CpuTensor) -> Result<Self, EngineError> {
        let (rows, channels, points) = channels(&x.shape, &weight.shape)?;
        Ok(Self { rows, channels, points })
    }

    /// Sum over a channel of `of` the values of both, row after row.
    fn sum(
        &self,
        channel: usize,
        left: &[f32],
        right: &[f32],
        of: impl Fn(f64, f64) -> f64,
    ) -> f64 {
        let plane = |row: usize| {
            let begin = (row * self.channels + channel) * self.points;
            let plane = begin..begin + self.points;
            lanes::sum_of_pairs(&left[plane.clone()], &right[plane], &of)
        };
        (0..self.rows).map(plane).sum()
    }

    /// Calls `work` with each channel's stretch of `offset..offset + length`, as a range within it.
    fn parts(
        &self,
        offset: usize,
        length: usize,
        mut work: impl FnMut(usize, std::ops::Range<usize>),
    ) {
        let mut at = offset;
        while at < offset + length {
            let plane = at / self.points;
            let end = ((plane + 1) * self.points).min(offset + length);
            work(plane % self.channels, at - offset..end - offset);
            at = end;
        }
    }
}

/// Fills two numbers for each channel.
fn each_channel(
    engine: &CpuEngine,
    values: usize,
    (first, second): (&mut [f32], &mut [f32]),
    work: impl Fn(usize, &mut f32, &mut f32) + Sync,
) {
    let body = |(channel, (first, second)): (usize, (&mut f32, &mut f32))| {
        work(channel, first, second);
    };
    let channels = first.iter_mut().zip(second).enumerate();
    if values > PIECE {
        engine.team.share(channels, body);
    } else {
        channels.for_each(body);
    }
}

/// Works on each part of `target` of `length` values by where it begins.
fn each_part(
    engine: &CpuEngine,
    target: &mut [f32],
    length: usize,
    work: impl Fn(usize, &mut [f32]) + Sync,
) {
    engine.in_rows(target, length, length, |first, piece| {
        for (index, part) in piece.chunks_exact_mut(length).enumerate() {
            work((first + index) * length, part);
        }
    });
}
