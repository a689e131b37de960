//! Convolution as matrix products: the points that each output sees are gathered into columns, a
//! piece of bounded size at a time. Samples are worked on in chunks of fixed size whose gradients
//! of weights are added in the order of chunks, so that the number of threads changes no bit.

use rayon::prelude::*;

use super::gemm::{Matrix, product_into};
use super::{CpuEngine, CpuTensor, room, unfit, zeros};
use crate::engine::images::{Conv2d, ConvGradients, ConvSizes};
use crate::engine::{EngineError, InputGradient};

/// Samples of one piece of work.
const CHUNK: usize = 8;

/// Values of gathered columns at once: half of a usual second-level cache.
const GATHERED: usize = 128 * 1024;

/// Values that a convolution whose outputs see `seen` values, with so many weights, takes besides
/// its tensors; for four threads, which is what most machines give a job.
pub(crate) fn scratch(seen: usize, weights: usize) -> u64 {
    const THREADS: u64 = 4;
    THREADS * (2 * GATHERED.max(seen) as u64 + weights as u64)
}

pub(super) fn forward(
    engine: &CpuEngine,
    x: &CpuTensor,
    weight: &CpuTensor,
    bias: Option<&CpuTensor>,
    conv: &Conv2d,
) -> Result<CpuTensor, EngineError> {
    let sizes = ConvSizes::of(&x.shape, &weight.shape, conv)?;
    if bias.is_some_and(|bias| bias.values.len() != sizes.groups * sizes.outputs) {
        return Err(unfit("conv2d", &x.shape, &weight.shape));
    }
    let mut y = zeros(&sizes.output_shape())?;
    let (of_x, of_y) = (sizes.of_input(), sizes.of_output());
    if of_x == 0 || of_y == 0 {
        return Ok(y);
    }
    let work = |(x, y): (&[f32], &mut [f32])| {
        let mut columns = room(sizes.gathered_at_once() * sizes.seen())?;
        for (x, y) in x.chunks_exact(of_x).zip(y.chunks_exact_mut(of_y)) {
            if let Some(bias) = bias {
                let planes = y.chunks_exact_mut(sizes.points());
                planes.zip(&bias.values).for_each(|(plane, bias)| plane.fill(*bias));
            }
            forward_sample(&sizes, x, &weight.values, y, &mut columns);
        }
        Ok(())
    };
    let (x, y_values) = (&x.values, &mut y.values);
    match &engine.pool {
        None => {
            let mut chunks = x.chunks(CHUNK * of_x).zip(y_values.chunks_mut(CHUNK * of_y));
            chunks.try_for_each(work)?;
        }
        Some(pool) => pool.install(|| {
            let chunks = x.par_chunks(CHUNK * of_x).zip(y_values.par_chunks_mut(CHUNK * of_y));
            chunks.try_for_each(work)
        })?,
    }
    Ok(y)
}

pub(super) fn backward(
    engine: &CpuEngine,
    x: &CpuTensor,
    weight: &CpuTensor,
    dy: &CpuTensor,
    conv: &Conv2d,
    input: InputGradient,
) -> Result<ConvGradients<CpuTensor>, EngineError> {
    let sizes = ConvSizes::of(&x.shape, &weight.shape, conv)?;
    if dy.shape != sizes.output_shape() {
        return Err(unfit("conv2d_backward", &dy.shape, &weight.shape));
    }
    let mut dw = zeros(&weight.shape)?;
    let mut db = zeros(&weight.shape[..1])?;
    let mut dx = match input {
        InputGradient::Wanted => Some(zeros(&x.shape)?),
        InputGradient::Unused => None,
    };
    let (of_x, of_y) = (sizes.of_input(), sizes.of_output());
    if of_x == 0 || of_y == 0 {
        return Ok(ConvGradients { input: dx, weight: dw, bias: db });
    }
    let mut slopes = dx.as_mut().map(|dx| dx.values.chunks_mut(CHUNK * of_x));
    let chunks = x.values.chunks(CHUNK * of_x).zip(dy.values.chunks(CHUNK * of_y));
    let mut chunks: Vec<_> =
        chunks.map(|(x, dy)| (x, dy, slopes.as_mut().and_then(Iterator::next))).collect();
    // As many chunks at a time as bound the memory and still keep all threads at work.
    let at_once = if engine.pool.is_some() { 2 * engine.threads } else { 1 };
    let mut parts = Vec::new();
    for _ in 0..at_once.min(chunks.len()) {
        parts.push((zeros(&weight.shape)?, zeros(&weight.shape[..1])?));
    }
    for wave in chunks.chunks_mut(at_once) {
        let work = |(chunk, part): (&mut Chunk<'_>, &mut (CpuTensor, CpuTensor))| {
            backward_chunk(&sizes, chunk, &weight.values, &mut part.0.values, &mut part.1.values)
        };
        let parts = &mut parts[..wave.len()];
        match &engine.pool {
            None => wave.iter_mut().zip(&mut *parts).try_for_each(work)?,
            Some(pool) => {
                pool.install(|| wave.par_iter_mut().zip(parts.par_iter_mut()).try_for_each(work))?
            }
        }
        for (weight, bias) in parts {
            add(&mut dw.values, &weight.values);
            add(&mut db.values, &bias.values);
        }
    }
    Ok(ConvGradients { input: dx, weight: dw, bias: db })
}

/// Input, slope of the output, and the place of the slope of the input if it is wanted.
type Chunk<'a> = (&'a [f32], &'a [f32], Option<&'a mut [f32]>);

impl ConvSizes {
    /// Values of one sample's input.
    fn of_input(&self) -> usize {
        self.groups * self.channels * self.area()
    }

    fn of_output(&self) -> usize {
        self.groups * self.outputs * self.points()
    }

    /// Points of the output whose columns are gathered at once.
    fn gathered_at_once(&self) -> usize {
        (GATHERED / self.seen().max(1)).clamp(1, self.points())
    }

    /// Whether a column is nothing but the point itself, so that none need be gathered.
    fn is_pointwise(&self) -> bool {
        let window = &self.window;
        window.kernel == [1, 1] && window.stride == [1, 1] && self.input == self.output
    }
}

fn forward_sample(
    sizes: &ConvSizes,
    x: &[f32],
    weight: &[f32],
    y: &mut [f32],
    columns: &mut Vec<f32>,
) {
    let (seen, outputs, points) = (sizes.seen(), sizes.outputs, sizes.points());
    let x = x.chunks_exact(sizes.channels * sizes.area());
    let groups =
        x.zip(weight.chunks_exact(outputs * seen)).zip(y.chunks_exact_mut(outputs * points));
    for ((x, weight), y) in groups {
        let weight = Matrix::new(weight, outputs, seen);
        if sizes.is_pointwise() {
            product_into(weight, Matrix::new(x, seen, points), 1.0, y, points);
            continue;
        }
        let length = sizes.gathered_at_once();
        for from in (0..points).step_by(length) {
            let count = length.min(points - from);
            gather(sizes, x, from, count, columns);
            let columns = Matrix::new(columns, seen, count);
            product_into(weight, columns, 1.0, &mut y[from..], points);
        }
    }
}

/// Gradients of some samples; those of weight and bias are overwritten.
fn backward_chunk(
    sizes: &ConvSizes,
    (x, dy, dx): &mut Chunk<'_>,
    weight: &[f32],
    dw: &mut [f32],
    db: &mut [f32],
) -> Result<(), EngineError> {
    dw.fill(0.0);
    db.fill(0.0);
    let room_needed = sizes.gathered_at_once() * sizes.seen();
    let (mut columns, mut slopes) = (room(room_needed)?, room(room_needed)?);
    let (seen, outputs, points) = (sizes.seen(), sizes.outputs, sizes.points());
    let of_group = sizes.channels * sizes.area();
    for (sample, dy) in dy.chunks_exact(sizes.of_output()).enumerate() {
        for (plane, sum) in dy.chunks_exact(points).zip(&mut *db) {
            *sum += super::lanes::sum(plane);
        }
        for (group, dy) in dy.chunks_exact(outputs * points).enumerate() {
            let own = (sample * sizes.groups + group) * of_group..;
            let x = &x[own.clone()][..of_group];
            let weights = group * outputs * seen..(group + 1) * outputs * seen;
            let weight = Matrix::new(&weight[weights.clone()], outputs, seen).transposed();
            let dw = &mut dw[weights];
            let mut dx = dx.as_mut().map(|dx| &mut dx[own][..of_group]);
            if sizes.is_pointwise() {
                let dy = Matrix::new(dy, outputs, points);
                product_into(dy, Matrix::new(x, seen, points).transposed(), 1.0, dw, seen);
                if let Some(dx) = &mut dx {
                    product_into(weight, dy, 0.0, dx, points);
                }
                continue;
            }
            let length = sizes.gathered_at_once();
            for from in (0..points).step_by(length) {
                let count = length.min(points - from);
                let dy = Matrix::part(&dy[from..], outputs, count, points);
                gather(sizes, x, from, count, &mut columns);
                let gathered = Matrix::new(&columns, seen, count).transposed();
                product_into(dy, gathered, 1.0, dw, seen);
                if let Some(dx) = &mut dx {
                    slopes.resize(seen * count, 0.0);
                    product_into(weight, dy, 0.0, &mut slopes, count);
                    scatter(sizes, &slopes, from, count, dx);
                }
            }
        }
    }
    Ok(())
}

/// Points of the output in a row of it that look at points of the input.
struct Run {
    /// Within the gathered row.
    at: usize,
    count: usize,
    /// Of the input's channel.
    begin: usize,
}

/// Calls `work` with each run of points `from..from + count` of the output that point `(ky, kx)`
/// of the kernel has within the input, in order.
fn runs(
    sizes: &ConvSizes,
    ky: usize,
    kx: usize,
    from: usize,
    count: usize,
    mut work: impl FnMut(Run),
) {
    let ([h, w], [oh, ow], window) = (sizes.input, sizes.output, &sizes.window);
    let (top, bottom, first_y) = window.inside(0, ky, h, oh);
    let (left, right, first_x) = window.inside(1, kx, w, ow);
    let rows = from / ow..(from + count).div_ceil(ow);
    for oy in rows.start.max(top)..rows.end.min(bottom) {
        let begin = (oy * ow + left).max(from);
        let end = (oy * ow + right).min(from + count);
        if begin < end {
            let y = first_y + (oy - top) * window.stride[0];
            let x = first_x + (begin - oy * ow - left) * window.stride[1];
            work(Run { at: begin - from, count: end - begin, begin: y * w + x });
        }
    }
}

/// One row for each value that an output sees, one column for each of the points.
fn gather(sizes: &ConvSizes, x: &[f32], from: usize, count: usize, columns: &mut Vec<f32>) {
    let [kh, kw] = sizes.window.kernel;
    let step = sizes.window.stride[1];
    columns.clear();
    columns.resize(sizes.seen() * count, 0.0);
    for (k, row) in columns.chunks_exact_mut(count).enumerate() {
        let channel = &x[k / (kh * kw) * sizes.area()..][..sizes.area()];
        runs(sizes, k / kw % kh, k % kw, from, count, |run| {
            let row = &mut row[run.at..run.at + run.count];
            if step == 1 {
                row.copy_from_slice(&channel[run.begin..run.begin + run.count]);
            } else {
                let points = channel[run.begin..].iter().step_by(step);
                row.iter_mut().zip(points).for_each(|(value, point)| *value = *point);
            }
        });
    }
}

/// Adds each gathered value to the point that it came from.
fn scatter(sizes: &ConvSizes, slopes: &[f32], from: usize, count: usize, dx: &mut [f32]) {
    let [kh, kw] = sizes.window.kernel;
    let step = sizes.window.stride[1];
    for (k, row) in slopes.chunks_exact(count).enumerate() {
        let channel = &mut dx[k / (kh * kw) * sizes.area()..][..sizes.area()];
        runs(sizes, k / kw % kh, k % kw, from, count, |run| {
            let row = &row[run.at..run.at + run.count];
            if step == 1 {
                add(&mut channel[run.begin..run.begin + run.count], row);
            } else {
                let points = channel[run.begin..].iter_mut().step_by(step);
                points.zip(row).for_each(|(point, value)| *point += value);
            }
        });
    }
}

fn add(sum: &mut [f32], part: &[f32]) {
    sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
}
