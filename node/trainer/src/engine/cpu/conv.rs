//! Convolution as matrix products: the points that each output sees are gathered into columns, a
//! piece of bounded size at a time. Samples are worked on in chunks of fixed size whose gradients
//! of weights are added in the order of chunks, so that the number of threads changes no bit.

use rayon::prelude::*;

use super::gemm::{Matrix, product_into};
use super::{CpuEngine, CpuTensor, room, unfit, zeros};
use crate::engine::images::{Conv2d, ConvGradients, ConvSizes, Stretch};
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
    let (weight, shape) = (weights_by_output(&sizes, &weight.values)?, Shape::of(&sizes));
    let work = |(x, y): (&[f32], &mut [f32])| {
        let mut columns = room(sizes.gathered_at_once() * sizes.seen())?;
        for (x, y) in x.chunks_exact(of_x).zip(y.chunks_exact_mut(of_y)) {
            if let Some(bias) = bias {
                let planes = y.chunks_exact_mut(sizes.points());
                planes.zip(&bias.values).for_each(|(plane, bias)| plane.fill(*bias));
            }
            forward_sample(&shape, x, &weight, y, &mut columns);
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
    let mut found = Part { weight: zeros(&weight.shape)?, bias: zeros(&weight.shape[..1])? };
    let mut dx = match input {
        InputGradient::Wanted => Some(zeros(&x.shape)?),
        InputGradient::Unused => None,
    };
    let (of_x, of_y) = (sizes.of_input(), sizes.of_output());
    if of_x > 0 && of_y > 0 {
        let mut slopes = dx.as_mut().map(|dx| dx.values.chunks_mut(CHUNK * of_x));
        let chunks = x.values.chunks(CHUNK * of_x).zip(dy.values.chunks(CHUNK * of_y));
        let with_slopes = |(x, dy)| (x, dy, slopes.as_mut().and_then(Iterator::next));
        let mut chunks: Vec<Chunk<'_>> = chunks.map(with_slopes).collect();
        in_waves(engine, &Shape::of(&sizes), &mut chunks, &weight.values, &mut found)?;
    }
    let weight = match patched(&sizes) {
        true => channels_first(&sizes, &found.weight)?,
        false => found.weight,
    };
    Ok(ConvGradients { input: dx, weight, bias: found.bias })
}

/// Adds up the gradients of all chunks in their order; as many are worked on at a time as bound
/// the memory and still keep all threads at work.
fn in_waves(
    engine: &CpuEngine,
    shape: &Shape,
    chunks: &mut [Chunk<'_>],
    weight: &[f32],
    found: &mut Part,
) -> Result<(), EngineError> {
    let at_once = if engine.pool.is_some() { 2 * engine.threads } else { 1 };
    let mut parts = Vec::new();
    for _ in 0..at_once.min(chunks.len()) {
        let (weight, bias) = (zeros(&found.weight.shape)?, zeros(&found.bias.shape)?);
        parts.push(Part { weight, bias });
    }
    for wave in chunks.chunks_mut(at_once) {
        let work =
            |(chunk, part): (&mut Chunk<'_>, &mut Part)| backward_chunk(shape, chunk, weight, part);
        let parts = &mut parts[..wave.len()];
        match &engine.pool {
            None => wave.iter_mut().zip(&mut *parts).try_for_each(work)?,
            Some(pool) => {
                pool.install(|| wave.par_iter_mut().zip(parts.par_iter_mut()).try_for_each(work))?
            }
        }
        for part in parts {
            add(&mut found.weight.values, &part.weight.values);
            add(&mut found.bias.values, &part.bias.values);
        }
    }
    Ok(())
}

/// Gradients of weight and bias over some samples; see [`patched`] for the order of the weight.
struct Part {
    weight: CpuTensor,
    bias: CpuTensor,
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

fn forward_sample(shape: &Shape, x: &[f32], weight: &[f32], y: &mut [f32], columns: &mut Vec<f32>) {
    let sizes = &shape.sizes;
    let (seen, outputs, points) = (sizes.seen(), sizes.outputs, sizes.points());
    let x = x.chunks_exact(sizes.channels * sizes.area());
    let groups =
        x.zip(weight.chunks_exact(outputs * seen)).zip(y.chunks_exact_mut(outputs * points));
    for ((x, weight), y) in groups {
        let weight = Matrix::new(weight, seen, outputs).transposed();
        if sizes.is_pointwise() {
            product_into(weight, Matrix::new(x, seen, points), 1.0, y, points);
            continue;
        }
        let length = sizes.gathered_at_once();
        for from in (0..points).step_by(length) {
            let count = length.min(points - from);
            gather(shape, x, from, count, columns);
            let columns = Matrix::new(columns, seen, count);
            product_into(weight, columns, 1.0, &mut y[from..], points);
        }
    }
}

/// Gradients of some samples; `part` is overwritten.
fn backward_chunk(
    shape: &Shape,
    (x, dy, dx): &mut Chunk<'_>,
    weight: &[f32],
    part: &mut Part,
) -> Result<(), EngineError> {
    part.weight.values.fill(0.0);
    part.bias.values.fill(0.0);
    let sizes = &shape.sizes;
    let room_needed = sizes.gathered_at_once() * sizes.seen();
    let (mut gathered, mut slopes) = (room(room_needed)?, room(room_needed)?);
    let (seen, outputs, points) = (sizes.seen(), sizes.outputs, sizes.points());
    let of_group = sizes.channels * sizes.area();
    let mut turned = room(if patched(sizes) { of_group } else { 0 })?;
    for (sample, dy) in dy.chunks_exact(sizes.of_output()).enumerate() {
        for (plane, sum) in dy.chunks_exact(points).zip(&mut part.bias.values) {
            *sum += super::lanes::sum(plane);
        }
        for (group, dy) in dy.chunks_exact(outputs * points).enumerate() {
            let begin = (sample * sizes.groups + group) * of_group;
            let x = &x[begin..begin + of_group];
            let weights = group * outputs * seen..(group + 1) * outputs * seen;
            let dw = &mut part.weight.values[weights.clone()];
            slope_of_weight(shape, x, dy, dw, &mut gathered, &mut turned);
            if let Some(dx) = dx {
                let weight = Matrix::new(&weight[weights], outputs, seen).transposed();
                slope_of_input(shape, weight, dy, &mut dx[begin..begin + of_group], &mut slopes);
            }
        }
    }
    Ok(())
}

/// Adds the gradient of the weight over one group of a sample.
fn slope_of_weight(
    shape: &Shape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    gathered: &mut Vec<f32>,
    turned: &mut Vec<f32>,
) {
    let sizes = &shape.sizes;
    let (seen, outputs, points) = (sizes.seen(), sizes.outputs, sizes.points());
    if patched(sizes) {
        transpose(x, sizes.area(), turned);
    }
    let length = sizes.gathered_at_once();
    for from in (0..points).step_by(length) {
        let count = length.min(points - from);
        let slope = Matrix::part(&dy[from..], outputs, count, points);
        if patched(sizes) {
            gather_patches(shape, turned, from, count, gathered);
            product_into(slope, Matrix::new(gathered, count, seen), 1.0, dw, seen);
        } else {
            gather(shape, x, from, count, gathered);
            product_into(slope, Matrix::new(gathered, seen, count).transposed(), 1.0, dw, seen);
        }
    }
}

/// The gradient of the input over one group of a sample, added to zeros.
fn slope_of_input(
    shape: &Shape,
    weight: Matrix<'_>,
    dy: &[f32],
    dx: &mut [f32],
    slopes: &mut Vec<f32>,
) {
    let sizes = &shape.sizes;
    let (seen, outputs, points) = (sizes.seen(), sizes.outputs, sizes.points());
    if sizes.is_pointwise() {
        return product_into(weight, Matrix::new(dy, outputs, points), 0.0, dx, points);
    }
    let length = sizes.gathered_at_once();
    for from in (0..points).step_by(length) {
        let count = length.min(points - from);
        let dy = Matrix::part(&dy[from..], outputs, count, points);
        slopes.resize(seen * count, 0.0);
        product_into(weight, dy, 0.0, slopes, count);
        scatter(shape, slopes, from, count, dx);
    }
}

/// Sizes, and what each point of the kernel sees, worked out once for all samples.
struct Shape {
    sizes: ConvSizes,
    rows: Vec<Stretch>,
    columns: Vec<Stretch>,
}

impl Shape {
    fn of(sizes: &ConvSizes) -> Self {
        let ([h, w], [oh, ow], window) = (sizes.input, sizes.output, &sizes.window);
        let (rows, columns) = (window.stretches(0, h, oh), window.stretches(1, w, ow));
        Self { sizes: *sizes, rows, columns }
    }

    /// Calls `work` with each run of points `from..from + count` of the output that point
    /// `(ky, kx)` of the kernel has within the input, in order.
    fn runs(&self, (ky, kx): (usize, usize), from: usize, count: usize, mut work: impl FnMut(Run)) {
        let ([_, w], [_, ow]) = (self.sizes.input, self.sizes.output);
        let [down, across] = self.sizes.window.stride;
        let (row, column) = (self.rows[ky], self.columns[kx]);
        for oy in (from / ow).max(row.from)..(from + count).div_ceil(ow).min(row.to) {
            let begin = (oy * ow + column.from).max(from);
            let end = (oy * ow + column.to).min(from + count);
            if begin < end {
                let y = row.first + (oy - row.from) * down;
                let x = column.first + (begin - oy * ow - column.from) * across;
                work(Run { at: begin - from, count: end - begin, begin: y * w + x });
            }
        }
    }
}

/// Points of the output in a row of it that look at points of the input.
struct Run {
    /// Within the gathered row.
    at: usize,
    count: usize,
    /// Of the input's channel.
    begin: usize,
}

/// Whether the gradient of the weight is taken from patches, whose values lie together point by
/// point of the kernel and not channel by channel; the weight then does too. With few channels
/// there is too little that lies together.
fn patched(sizes: &ConvSizes) -> bool {
    sizes.channels >= 4
}

/// A weight in the order of patches, brought into its own.
fn channels_first(sizes: &ConvSizes, weight: &CpuTensor) -> Result<CpuTensor, EngineError> {
    let mut turned = zeros(&weight.shape)?;
    let (seen, channels) = (sizes.seen(), sizes.channels);
    let area = seen / channels.max(1);
    let filters = weight.values.chunks_exact(seen).zip(turned.values.chunks_exact_mut(seen));
    for (from, to) in filters {
        for (index, value) in to.iter_mut().enumerate() {
            *value = from[index % area * channels + index / area];
        }
    }
    Ok(turned)
}

/// For each group `[seen, outputs]`, as a product packs it fastest.
fn weights_by_output(sizes: &ConvSizes, weight: &[f32]) -> Result<Vec<f32>, EngineError> {
    let (seen, outputs) = (sizes.seen(), sizes.outputs);
    let (mut turned, mut group_turned) = (room(weight.len())?, room(seen * outputs)?);
    for group in weight.chunks_exact((seen * outputs).max(1)) {
        transpose(group, seen, &mut group_turned);
        turned.extend_from_slice(&group_turned);
    }
    Ok(turned)
}

/// Turns a matrix of rows `width` long.
fn transpose(from: &[f32], width: usize, to: &mut Vec<f32>) {
    /// Rows and columns of a tile whose lines stay in the first-level cache.
    const TILE: usize = 16;
    let height = from.len() / width;
    to.clear();
    to.resize(from.len(), 0.0);
    for top in (0..height).step_by(TILE) {
        for left in (0..width).step_by(TILE) {
            for column in left..(left + TILE).min(width) {
                let line = &mut to[column * height..(column + 1) * height];
                for row in top..(top + TILE).min(height) {
                    line[row] = from[row * width + column];
                }
            }
        }
    }
}

/// One row for each of the points: what it sees, from the channels-last `x`.
fn gather_patches(shape: &Shape, x: &[f32], from: usize, count: usize, patches: &mut Vec<f32>) {
    let (sizes, window) = (&shape.sizes, &shape.sizes.window);
    let ([h, w], [_, ow], channels) = (sizes.input, sizes.output, sizes.channels);
    let of_line = window.kernel[1] * channels;
    patches.clear();
    patches.resize(sizes.seen() * count, 0.0);
    for (index, patch) in patches.chunks_exact_mut(sizes.seen()).enumerate() {
        let (oy, ox) = ((from + index) / ow, (from + index) % ow);
        let left = ox * window.stride[1];
        for (ky, line) in patch.chunks_exact_mut(of_line).enumerate() {
            let y = oy * window.stride[0] + ky * window.dilation[0];
            let Some(y) = y.checked_sub(window.before[0]).filter(|y| *y < h) else { continue };
            if window.dilation[1] == 1 {
                let skipped = window.before[1].saturating_sub(left).min(window.kernel[1]);
                let x_begin = (left + skipped).saturating_sub(window.before[1]).min(w);
                let inside = (window.kernel[1] - skipped).min(w.saturating_sub(x_begin)) * channels;
                let begin = (y * w + x_begin) * channels;
                line[skipped * channels..][..inside].copy_from_slice(&x[begin..begin + inside]);
                continue;
            }
            for (kx, point) in line.chunks_exact_mut(channels).enumerate() {
                let at = (left + kx * window.dilation[1]).checked_sub(window.before[1]);
                if let Some(at) = at.filter(|at| *at < w) {
                    point.copy_from_slice(&x[(y * w + at) * channels..][..channels]);
                }
            }
        }
    }
}

/// One row for each value that an output sees, one column for each of the points.
fn gather(shape: &Shape, x: &[f32], from: usize, count: usize, columns: &mut Vec<f32>) {
    let sizes = &shape.sizes;
    let ([kh, kw], step) = (sizes.window.kernel, sizes.window.stride[1]);
    columns.clear();
    columns.resize(sizes.seen() * count, 0.0);
    for (k, row) in columns.chunks_exact_mut(count).enumerate() {
        let channel = &x[k / (kh * kw) * sizes.area()..][..sizes.area()];
        shape.runs((k / kw % kh, k % kw), from, count, |run| {
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
fn scatter(shape: &Shape, slopes: &[f32], from: usize, count: usize, dx: &mut [f32]) {
    let sizes = &shape.sizes;
    let ([kh, kw], step) = (sizes.window.kernel, sizes.window.stride[1]);
    for (k, row) in slopes.chunks_exact(count).enumerate() {
        let channel = &mut dx[k / (kh * kw) * sizes.area()..][..sizes.area()];
        shape.runs((k / kw % kh, k % kw), from, count, |run| {
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
