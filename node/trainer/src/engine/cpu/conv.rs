//! Convolution as windows that slide over frames; see [`frames`] for where they look and
//! [`kernels`] for the arithmetic. Samples are worked on in chunks of fixed size whose gradients of
//! weights are added in the order of chunks, so that the number of threads changes no bit.

mod frames;
mod kernels;

use super::memory::Buffer;
use super::vectors::{LANES, wide};
use super::{CpuEngine, CpuTensor, lanes, unfit};
use crate::engine::images::{Conv2d, ConvGradients, ConvSizes, Window};
use crate::engine::{EngineError, InputGradient};
use frames::{Framed, Shape, most_framed};
use kernels::{Filters, Slopes, correlate, slide};

/// Samples of one piece of work.
const CHUNK: usize = 8;

/// Values that a convolution of `channels` into `filters` takes besides its tensors; for four
/// threads, which is what most machines give a job.
pub(crate) fn scratch(channels: usize, filters: usize, window: &Window, output: [usize; 2]) -> u64 {
    const THREADS: u64 = 4;
    let planes =
        channels * window.stride[0].min(window.kernel[0]) * window.stride[1].min(window.kernel[1]);
    let planes = planes.max(filters.next_multiple_of(LANES));
    let framed = most_framed(planes, output[1] * window.stride[1], window.reach());
    let seen = channels * window.kernel[0] * window.kernel[1];
    let weights = seen as u64 * filters.next_multiple_of(LANES) as u64;
    THREADS * (4 * framed as u64 + 2 * weights)
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
    let mut y = engine.unset(&sizes.output_shape())?;
    let (of_x, of_y) = (sizes.of_input(), sizes.of_output());
    if of_x == 0 || of_y == 0 {
        y.values.fill(0.0);
        return Ok(y);
    }
    let shape = Shape::of(&sizes);
    let weight = turned(engine, &weight.values, sizes.seen(), sizes.outputs)?;
    let bias = bias.map(|bias| &bias.values[..]);
    let work = |(x, y): (&[f32], &mut [f32])| {
        let mut scratch = Scratch::new(engine, &shape, false)?;
        for (x, y) in x.chunks_exact(of_x).zip(y.chunks_exact_mut(of_y)) {
            forward_sample(&shape, x, &weight, bias, y, &mut scratch);
        }
        Ok(())
    };
    let chunks = x.values.chunks(CHUNK * of_x).zip(y.values.chunks_mut(CHUNK * of_y));
    engine.team.try_share(chunks, work)?;
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
    let mut dw = engine.zeros_of(&weight.shape)?;
    let mut bias = engine.zeros_of(&weight.shape[..1])?;
    let (of_x, of_y) = (sizes.of_input(), sizes.of_output());
    let shape = Shape::of(&sizes);
    let mut dx = match input {
        InputGradient::Wanted if shape.sees_all() && of_y > 0 => Some(engine.unset(&x.shape)?),
        InputGradient::Wanted => Some(engine.zeros_of(&x.shape)?),
        InputGradient::Unused => None,
    };
    if of_x > 0 && of_y > 0 {
        let back = match dx {
            Some(_) => backward_weights(engine, &shape, &weight.values)?,
            None => Vec::new(),
        };
        let mut slopes = dx.as_mut().map(|dx| dx.values.chunks_mut(CHUNK * of_x));
        let chunks = x.values.chunks(CHUNK * of_x).zip(dy.values.chunks(CHUNK * of_y));
        let with_slopes = |(x, dy)| (x, dy, slopes.as_mut().and_then(Iterator::next));
        let mut chunks: Vec<Chunk<'_>> = chunks.map(with_slopes).collect();
        let found = in_waves(engine, &shape, &mut chunks, &back)?;
        bias.values.copy_from_slice(&found.bias);
        in_rows_of_filters(&sizes, &found.weight, &mut dw.values);
    }
    Ok(ConvGradients { input: dx, weight: dw, bias })
}

/// Adds up the gradients of all chunks in their order; as many are worked on at a time as bound
/// the memory and still keep all threads at work.
fn in_waves(
    engine: &CpuEngine,
    shape: &Shape,
    chunks: &mut [Chunk<'_>],
    back: &[Buffer],
) -> Result<Part, EngineError> {
    let at_once = match engine.team.size() {
        1 => 1,
        threads => 2 * threads,
    };
    let mut whole = Part::new(engine, &shape.sizes)?;
    let parts = (0..at_once.min(chunks.len())).map(|_| Part::new(engine, &shape.sizes));
    let mut parts = parts.collect::<Result<Vec<_>, _>>()?;
    for wave in chunks.chunks_mut(at_once) {
        let work = |(chunk, part): (&mut Chunk<'_>, &mut Part)| {
            backward_chunk(engine, shape, chunk, back, part)
        };
        let parts = &mut parts[..wave.len()];
        engine.team.try_share(wave.iter_mut().zip(&mut *parts), work)?;
        for part in parts {
            add(&mut whole.weight, &part.weight);
            add(&mut whole.bias, &part.bias);
        }
    }
    Ok(whole)
}

/// Gradients of weight and bias over some samples.
struct Part {
    /// For each group `[seen, outputs in whole vectors]`.
    weight: Buffer,
    bias: Buffer,
}

impl Part {
    fn new(engine: &CpuEngine, sizes: &ConvSizes) -> Result<Self, EngineError> {
        let weights = sizes.groups * sizes.seen() * sizes.wide();
        let weight = engine.zeroed(weights)?;
        Ok(Self { weight, bias: engine.zeroed(sizes.groups * sizes.outputs)? })
    }
}

/// Input, slope of the output, and the place of the slope of the input if it is wanted.
type Chunk<'a> = (&'a [f32], &'a [f32], Option<&'a mut [f32]>);

/// Memory of one piece of work.
struct Scratch {
    /// Of the input.
    frame: Framed,
    /// Of the slopes of the output.
    slopes: Framed,
    /// Slopes of the output, filters side by side.
    blocks: Buffer,
    /// What windows give, those between lines included.
    found: Buffer,
}

impl Scratch {
    fn new(engine: &CpuEngine, shape: &Shape, backward: bool) -> Result<Self, EngineError> {
        let values = shape.most_framed();
        let framed = |values: usize| Ok::<_, EngineError>(Framed::new(engine.room(values)?));
        // A forward pass needs none of the slopes.
        let of_slopes = if backward { values } else { 0 };
        Ok(Self {
            frame: framed(values)?,
            slopes: framed(of_slopes)?,
            blocks: engine.room(of_slopes)?,
            found: engine.room(values)?,
        })
    }
}

impl ConvSizes {
    /// Values of one sample's input.
    fn of_input(&self) -> usize {
        self.groups * self.channels * self.area()
    }

    fn of_output(&self) -> usize {
        self.groups * self.outputs * self.points()
    }

    /// Outputs of a group, in whole vectors.
    fn wide(&self) -> usize {
        self.outputs.next_multiple_of(LANES)
    }
}

/// `weight` is turned for each group.
fn forward_sample(
    shape: &Shape,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    Scratch { frame, found, .. }: &mut Scratch,
) {
    let sizes = &shape.sizes;
    let ([_, columns], points, outputs) = (sizes.output, sizes.points(), sizes.outputs);
    let x = x.chunks_exact(sizes.channels * sizes.area());
    let groups = x.zip(weight.chunks_exact(outputs * sizes.seen()));
    for (group, ((x, weights), y)) in groups.zip(y.chunks_exact_mut(outputs * points)).enumerate() {
        for band in shape.bands(shape.input_frame(1).pitch, sizes.output[0]) {
            shape.frame_input(x, band, frame);
            let size = shape.input_frame(band.rows);
            let length = size.span(band.rows, columns);
            found.resize(outputs * length.next_multiple_of(LANES), 0.0);
            let filters = Filters { offsets: &frame.offsets, weights, count: outputs };
            slide(&filters, &frame.values, found, length);
            let found = found.chunks_exact(length.next_multiple_of(LANES));
            for (output, (y, found)) in y.chunks_exact_mut(points).zip(found).enumerate() {
                let bias = bias.map_or(0.0, |bias| bias[group * outputs + output]);
                let lines = y[band.first * columns..].chunks_exact_mut(columns).take(band.rows);
                for (line, found) in lines.zip(found.chunks(size.pitch)) {
                    line.iter_mut().zip(found).for_each(|(y, found)| *y = found + bias);
                }
            }
        }
    }
}

/// Gradients of some samples; `part` is overwritten.
fn backward_chunk(
    engine: &CpuEngine,
    shape: &Shape,
    (x, dy, dx): &mut Chunk<'_>,
    back: &[Buffer],
    part: &mut Part,
) -> Result<(), EngineError> {
    part.weight.fill(0.0);
    part.bias.fill(0.0);
    let sizes = &shape.sizes;
    let mut scratch = Scratch::new(engine, shape, true)?;
    let (points, of_group) = (sizes.points(), sizes.channels * sizes.area());
    let of_part = sizes.seen() * sizes.wide();
    for (sample, dy) in dy.chunks_exact(sizes.of_output()).enumerate() {
        for (plane, sum) in dy.chunks_exact(points).zip(&mut part.bias[..]) {
            *sum += lanes::sum(plane);
        }
        for (group, dy) in dy.chunks_exact(sizes.outputs * points).enumerate() {
            let begin = (sample * sizes.groups + group) * of_group;
            let x = &x[begin..begin + of_group];
            let dw = &mut part.weight[group * of_part..(group + 1) * of_part];
            slope_of_weight(shape, x, dy, dw, &mut scratch);
            if let Some(dx) = dx {
                let dx = &mut dx[begin..begin + of_group];
                slope_of_input(shape, back, group, dy, dx, &mut scratch);
            }
        }
    }
    Ok(())
}

/// Adds the gradient of the weight over one group of a sample to `dw`.
fn slope_of_weight(
    shape: &Shape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    Scratch { frame, blocks, .. }: &mut Scratch,
) {
    let sizes = &shape.sizes;
    let columns = sizes.output[1];
    let pitch = shape.input_frame(1).pitch;
    for band in shape.bands(pitch, sizes.output[0]) {
        shape.frame_input(x, band, frame);
        let count = band.rows * columns;
        // Places without a plane keep their zero.
        if blocks.len() != sizes.wide() * count {
            blocks.clear();
            blocks.resize(sizes.wide() * count, 0.0);
        }
        let dy = dy.chunks_exact(sizes.points()).map(|plane| &plane[band.first * columns..]);
        let dy: Vec<&[f32]> = dy.map(|plane| &plane[..count]).collect();
        for (dy, block) in dy.chunks(LANES).zip(blocks.chunks_exact_mut(LANES * count)) {
            side_by_side(dy, block);
        }
        let slopes = Slopes { blocks, rows: band.rows, columns };
        correlate(&slopes, &frame.values, pitch, &frame.offsets, dw);
    }
}

/// The gradient of the input over one group of a sample.
fn slope_of_input(
    shape: &Shape,
    back: &[Buffer],
    group: usize,
    dy: &[f32],
    dx: &mut [f32],
    Scratch { slopes, found, .. }: &mut Scratch,
) {
    let sizes = &shape.sizes;
    let ([down, across], width, channels) = (sizes.window.stride, sizes.input[1], sizes.channels);
    for (phase, weights) in back.iter().enumerate() {
        let seen = shape.seen(phase);
        let [lines, columns] = seen.count;
        if lines == 0 || columns == 0 {
            continue;
        }
        let of_group = weights.len() / sizes.groups;
        let weights = &weights[group * of_group..(group + 1) * of_group];
        let pitch = shape.slope_frame(1, columns).pitch;
        for band in shape.bands(pitch, lines) {
            shape.frame_slopes(dy, phase, band, slopes);
            let length = shape.slope_frame(band.rows, columns).span(band.rows, columns);
            found.resize(channels * length.next_multiple_of(LANES), 0.0);
            let filters = Filters { offsets: &slopes.offsets, weights, count: channels };
            slide(&filters, &slopes.values, found, length);
            let found = found.chunks_exact(length.next_multiple_of(LANES));
            for (dx, found) in dx.chunks_exact_mut(sizes.area()).zip(found) {
                for (row, found) in found.chunks(pitch).take(band.rows).enumerate() {
                    let y = seen.place[0] + (band.first + row) * down;
                    let line = &mut dx[y * width + seen.place[1]..(y + 1) * width];
                    let found = &found[..columns];
                    if across == 1 {
                        line[..columns].copy_from_slice(found);
                    } else {
                        let points = line.iter_mut().step_by(across);
                        points.zip(found).for_each(|(point, value)| *point = *value);
                    }
                }
            }
        }
    }
}

/// For each phase, and in it for each group, `[outputs, points that see the phase, channels]`.
fn backward_weights(
    engine: &CpuEngine,
    shape: &Shape,
    weight: &[f32],
) -> Result<Vec<Buffer>, EngineError> {
    let sizes = &shape.sizes;
    let (channels, points) = (sizes.channels, shape.points.len());
    let of_phase = |phase: usize| {
        let seeing = || (0..points).filter(move |point| shape.points[*point].phase == phase);
        let mut turned = engine.room(weight.len() / points * seeing().count())?;
        for output in weight.chunks_exact(sizes.seen()) {
            for point in seeing() {
                turned.extend((0..channels).map(|channel| output[channel * points + point]));
            }
        }
        Ok(turned)
    };
    (0..shape.phases.len()).map(of_phase).collect()
}

/// For each group `[seen, outputs]`.
fn turned(
    engine: &CpuEngine,
    weight: &[f32],
    seen: usize,
    outputs: usize,
) -> Result<Buffer, EngineError> {
    let mut turned = engine.room(weight.len())?;
    for group in weight.chunks_exact(seen * outputs) {
        for point in 0..seen {
            turned.extend(group.iter().skip(point).step_by(seen));
        }
    }
    Ok(turned)
}

/// From the order of [`Part`] into that of a weight.
fn in_rows_of_filters(sizes: &ConvSizes, part: &[f32], weight: &mut [f32]) {
    let (seen, wide) = (sizes.seen(), sizes.wide());
    let groups = part.chunks_exact(seen * wide).zip(weight.chunks_exact_mut(seen * sizes.outputs));
    for (part, weight) in groups {
        for (output, filter) in weight.chunks_exact_mut(seen).enumerate() {
            let values = part.iter().skip(output).step_by(wide);
            filter.iter_mut().zip(values).for_each(|(weight, value)| *weight = *value);
        }
    }
}

/// Up to `LANES` planes, point by point side by side; places without a plane are left.
fn side_by_side(planes: &[&[f32]], block: &mut [f32]) {
    /// Points whose lines stay in the first-level cache.
    const TILE: usize = 64;
    for (tile, points) in block.chunks_mut(TILE * LANES).enumerate() {
        for (lane, plane) in planes.iter().enumerate() {
            let places = points.iter_mut().skip(lane).step_by(LANES);
            places.zip(&plane[tile * TILE..]).for_each(|(place, value)| *place = *value);
        }
    }
}

wide! {
    fn add(sum: &mut [f32], part: &[f32]) {
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
}
