//! Pooling, one plane (a channel of a row) by itself, line by line of the result.

use super::{CpuEngine, CpuTensor, unfit, zeros};
use crate::engine::EngineError;
use crate::engine::images::{PoolSizes, Window};

pub(super) fn largest(
    engine: &CpuEngine,
    x: &CpuTensor,
    window: &Window,
) -> Result<CpuTensor, EngineError> {
    let sizes = PoolSizes::of(&x.shape, window)?;
    let mut y = zeros(&sizes.output_shape())?;
    y.values.fill(f32::NEG_INFINITY);
    each_plane(engine, &mut y.values, sizes.points(), |plane, y| {
        let x = &x.values[plane * sizes.area()..][..sizes.area()];
        each_line(&sizes, |line| {
            let y = &mut y[line.output..line.output + line.count];
            line.over(&x[line.input..], |index, x| {
                y[index] = if x > y[index] || x.is_nan() { x } else { y[index] }
            });
        });
    });
    Ok(y)
}

pub(super) fn largest_backward(
    engine: &CpuEngine,
    x: &CpuTensor,
    dy: &CpuTensor,
    window: &Window,
) -> Result<CpuTensor, EngineError> {
    let sizes = PoolSizes::of(&x.shape, window)?;
    if dy.shape != sizes.output_shape() {
        return Err(unfit("max_pool2d_backward", &x.shape, &dy.shape));
    }
    let mut dx = zeros(&x.shape)?;
    each_plane(engine, &mut dx.values, sizes.area(), |plane, dx| {
        let x = &x.values[plane * sizes.area()..][..sizes.area()];
        let dy = &dy.values[plane * sizes.points()..][..sizes.points()];
        // The largest of each window so far, and its place.
        let mut best = vec![(f32::NEG_INFINITY, 0_u32); sizes.points()];
        each_line(&sizes, |line| {
            let best = &mut best[line.output..line.output + line.count];
            let (first, step) = (line.input as u32, line.step as u32);
            line.over(&x[line.input..], |index, x| {
                let place = first + index as u32 * step;
                // What is no number is the largest of all, as the loss must tell of it.
                let better = x > best[index].0 || x.is_nan();
                best[index] = if better { (x, place) } else { best[index] };
            });
        });
        for ((_, place), slope) in best.iter().zip(dy) {
            dx[*place as usize] += slope;
        }
    });
    Ok(dx)
}

pub(super) fn mean(
    engine: &CpuEngine,
    x: &CpuTensor,
    window: &Window,
) -> Result<CpuTensor, EngineError> {
    let sizes = PoolSizes::of(&x.shape, window)?;
    let mut y = zeros(&sizes.output_shape())?;
    let share = share(window);
    each_plane(engine, &mut y.values, sizes.points(), |plane, y| {
        let x = &x.values[plane * sizes.area()..][..sizes.area()];
        each_line(&sizes, |line| {
            let y = &mut y[line.output..line.output + line.count];
            line.over(&x[line.input..], |index, x| y[index] += x);
        });
        y.iter_mut().for_each(|value| *value *= share);
    });
    Ok(y)
}

pub(super) fn mean_backward(
    engine: &CpuEngine,
    dy: &CpuTensor,
    input: &[usize],
    window: &Window,
) -> Result<CpuTensor, EngineError> {
    let sizes = PoolSizes::of(input, window)?;
    if dy.shape != sizes.output_shape() {
        return Err(unfit("avg_pool2d_backward", input, &dy.shape));
    }
    let mut dx = zeros(input)?;
    let share = share(window);
    each_plane(engine, &mut dx.values, sizes.area(), |plane, dx| {
        let dy = &dy.values[plane * sizes.points()..][..sizes.points()];
        each_line(&sizes, |line| {
            let dy = &dy[line.output..line.output + line.count];
            let dx = dx[line.input..].iter_mut().step_by(line.step);
            dx.zip(dy).for_each(|(dx, dy)| *dx += dy * share);
        });
    });
    Ok(dx)
}

fn share(window: &Window) -> f32 {
    1.0 / (window.kernel[0] * window.kernel[1]) as f32
}

/// Works on each plane of `target`, of `length` values, by its number.
fn each_plane(
    engine: &CpuEngine,
    target: &mut [f32],
    length: usize,
    work: impl Fn(usize, &mut [f32]) + Sync,
) {
    use rayon::prelude::*;
    /// Values below which waking a thread takes longer than the work.
    const PIECE: usize = 16 * 1024;
    let planes = PIECE.div_ceil(length.max(1));
    let piece = |(first, piece): (usize, &mut [f32])| {
        for (index, plane) in piece.chunks_exact_mut(length).enumerate() {
            work(first * planes + index, plane);
        }
    };
    match &engine.pool {
        Some(pool) if target.len() > PIECE => pool.install(|| {
            target.par_chunks_mut(planes * length).enumerate().for_each(piece);
        }),
        Some(_) | None => target.chunks_mut((planes * length).max(1)).enumerate().for_each(piece),
    }
}

/// What one point of the window sees, for some neighbours in a line of the result.
struct Line {
    /// Place of the first in the result.
    output: usize,
    count: usize,
    /// Place in the input of what the first sees.
    input: usize,
    /// From there to what the next sees.
    step: usize,
}

impl Line {
    /// Calls `work` with each index in the line and what it sees; `x` begins at the first.
    fn over(&self, x: &[f32], mut work: impl FnMut(usize, f32)) {
        // Known steps let the compiler work on several at once.
        match self.step {
            1 => (0..self.count).zip(x).for_each(|(index, x)| work(index, *x)),
            2 => {
                let (pairs, rest) = x.as_chunks::<2>();
                let last = rest.iter();
                let seen = pairs.iter().map(|pair| pair[0]).chain(last.copied());
                (0..self.count).zip(seen).for_each(|(index, x)| work(index, x));
            }
            step => {
                let seen = x.iter().step_by(step);
                (0..self.count).zip(seen).for_each(|(index, x)| work(index, *x));
            }
        }
    }
}

/// Calls `work` for all lines: window points in order for each line of the result.
fn each_line(sizes: &PoolSizes, mut work: impl FnMut(Line)) {
    let ([h, w], [oh, ow], window) = (sizes.input, sizes.output, &sizes.window);
    let [kh, kw] = window.kernel;
    for oy in 0..oh {
        for ky in 0..kh {
            let (top, bottom, first) = window.inside(0, ky, h, oh);
            if !(top..bottom).contains(&oy) {
                continue;
            }
            let y = first + (oy - top) * window.stride[0];
            for kx in 0..kw {
                let (left, right, x) = window.inside(1, kx, w, ow);
                if left < right {
                    let (output, input) = (oy * ow + left, y * w + x);
                    work(Line { output, count: right - left, input, step: window.stride[1] });
                }
            }
        }
    }
}
