//! Pooling, one plane (a channel of a row) by itself, line by line of the result.

use super::fours::{self, Plane, better, is_better};
use super::{CpuEngine, CpuTensor, unfit};
use crate::engine::EngineError;
use crate::engine::images::{PoolSizes, Stretch, Window};

pub(super) fn largest(
    engine: &CpuEngine,
    x: &CpuTensor,
    window: &Window,
) -> Result<CpuTensor, EngineError> {
    let sizes = PoolSizes::of(&x.shape, window)?;
    let mut y = engine.unset(&sizes.output_shape())?;
    let (lines, fours) = (Lines::of(&sizes), fours::are_windows(window));
    each_plane(engine, &mut y.values, sizes.points(), |plane, y| {
        let x = &x.values[plane * sizes.area()..][..sizes.area()];
        if fours {
            return fours::largest(Plane::of(&sizes), x, y);
        }
        y.fill(f32::NEG_INFINITY);
        lines.each(|line| {
            let y = &mut y[line.output..line.output + line.count];
            line.over(&x[line.input..], |index, x| y[index] = better(x, y[index]));
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
    let mut dx = engine.unset(&x.shape)?;
    let (lines, fours) = (Lines::of(&sizes), fours::are_windows(window));
    each_plane(engine, &mut dx.values, sizes.area(), |plane, dx| {
        let x = &x.values[plane * sizes.area()..][..sizes.area()];
        let dy = &dy.values[plane * sizes.points()..][..sizes.points()];
        if fours {
            // Points that no window sees.
            if sizes.input != sizes.output.map(|length| 2 * length) {
                dx.fill(0.0);
            }
            return fours::slopes(Plane::of(&sizes), x, dy, dx);
        }
        dx.fill(0.0);
        // The largest of each window so far, and its place.
        let mut best = vec![(f32::NEG_INFINITY, 0_u32); sizes.points()];
        lines.each(|line| {
            let best = &mut best[line.output..line.output + line.count];
            let (first, step) = (line.input as u32, line.step as u32);
            line.over(&x[line.input..], |index, x| {
                let place = first + index as u32 * step;
                let better = is_better(x, best[index].0);
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
    let mut y = engine.zeros_of(&sizes.output_shape())?;
    let (share, lines) = (share(window), Lines::of(&sizes));
    each_plane(engine, &mut y.values, sizes.points(), |plane, y| {
        let x = &x.values[plane * sizes.area()..][..sizes.area()];
        lines.each(|line| {
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
    let mut dx = engine.zeros_of(input)?;
    let (share, lines) = (share(window), Lines::of(&sizes));
    each_plane(engine, &mut dx.values, sizes.area(), |plane, dx| {
        let dy = &dy.values[plane * sizes.points()..][..sizes.points()];
        lines.each(|line| {
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
    engine.in_rows(target, length, length, |first, piece| {
        for (index, plane) in piece.chunks_exact_mut(length).enumerate() {
            work(first + index, plane);
        }
    });
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

/// What the points of the window see, worked out once for all planes.
struct Lines {
    rows: Vec<Stretch>,
    columns: Vec<Stretch>,
    sizes: PoolSizes,
}

impl Lines {
    fn of(sizes: &PoolSizes) -> Self {
        let ([h, w], [oh, ow], window) = (sizes.input, sizes.output, &sizes.window);
        let (rows, columns) = (window.stretches(0, h, oh), window.stretches(1, w, ow));
        Self { rows, columns, sizes: *sizes }
    }

    /// Calls `work` for all lines: window points in order for each line of the result.
    fn each(&self, mut work: impl FnMut(Line)) {
        let ([_, w], [oh, ow]) = (self.sizes.input, self.sizes.output);
        let [down, step] = self.sizes.window.stride;
        for oy in 0..oh {
            for row in self.rows.iter().filter(|row| (row.from..row.to).contains(&oy)) {
                let y = row.first + (oy - row.from) * down;
                for column in self.columns.iter().filter(|column| column.from < column.to) {
                    let (output, input) = (oy * ow + column.from, y * w + column.first);
                    work(Line { output, count: column.to - column.from, input, step });
                }
            }
        }
    }
}
