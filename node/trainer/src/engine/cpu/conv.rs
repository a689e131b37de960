//! Convolution as windows that slide over frames; see [`frames`] for where they look and
//! [`kernels`] for the arithmetic. Samples are worked on in chunks of fixed size whose gradients of
//! weights are added in the order of chunks, so that the number of threads changes no bit.

mod frames;
mod joined;
mod kernels;

use super::gemm::{Matrix, side_by_side};
use super::memory::Buffer;
use super::vectors::{LANES, wide};
use super::{CpuEngine, CpuTensor, lanes, unfit};
use crate::engine::images::{Conv2d, ConvGradients, ConvSizes, Window};
use crate::engine::{EngineError, InputGradient};
use crate::limits;
use frames::{Band, Framed, Shape, most_framed};
pub(super) use joined::Joined;
use joined::PooledSlope;
use kernels::{Filters, Slopes, correlate, slide};

/// Samples of one piece of work.
const CHUNK: usize = 8;

/// Values that a convolution of `channels` into `filters` takes besides its tensors, on
/// [`limits::ESTIMATED_THREADS`].
pub(crate) fn scratch(channels: usize, filters: usize, window: &Window, output: [usize; 2]) -> u64 {
    let planes =
        channels * window.stride[0].min(window.kernel[0]) * window.stride[1].min(window.kernel[1]);
    let planes = planes.max(filters.next_multiple_of(LANES));
    let framed = most_framed(planes, output[1] * window.stride[1], window.reach());
    let seen = channels * window.kernel[0] * window.kernel[1];
    let weights = seen as u64 * filters.next_multiple_of(LANES) as u64;
    u64::from(limits::ESTIMATED_THREADS) * (4 * framed as u64 + 2 * weights)
}

pub(super) fn forward(
    engine: &CpuEngine,
    x: &CpuTensor,
    weight: &CpuTensor,
    bias: Option<&CpuTensor>,
    conv: &Conv2d,
) -> Result<CpuTensor, EngineError> {
    let sizes = ConvSizes::of(&x.shape, &weight.shape, conv)?;
    let bias = Bias::of(&sizes, bias)?;
    let mut y = engine.unset(&sizes.output_shape())?;
    let (of_x, of_y) = (sizes.of_input(), sizes.of_output());
    if of_x == 0 || of_y == 0 {
        y.values.fill(0.0);
        return Ok(y);
    }
    let shape = Shape::of(&sizes);
    let weight = turned(engine, &weight.values, sizes.seen(), sizes.outputs)?;
    let (columns, points) = (sizes.output[1], sizes.points());
    let work = |(x, y): (&[f32], &mut [f32])| {
        let mut scratch = Scratch::new(engine, &shape, false)?;
        for (x, y) in x.chunks_exact(of_x).zip(y.chunks_exact_mut(of_y)) {
            let bands = || shape.bands(shape.input_frame(1).pitch, sizes.output[0]);
            forward_sample(&shape, x, &weight, bands, &mut scratch, |found| {
                let bias = bias.of_filter(found.filter);
                let y = &mut y[found.filter * points + found.band.first * columns..];
                let lines = y.chunks_exact_mut(columns).take(found.band.rows);
                for (line, found) in lines.zip(found.values.chunks(found.pitch)) {
                    line.iter_mut().zip(found).for_each(|(y, found)| *y = found + bias);
                }
            });
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
    let chunks = dy.values.chunks((CHUNK * sizes.of_output()).max(1));
    gradients(engine, &Shape::of(&sizes), x, weight, chunks.map(Slope::Whole), input)
}

/// The gradients from the slopes of all outputs, [`CHUNK`] samples each.
fn gradients<'a>(
    engine: &CpuEngine,
    shape: &Shape,
    x: &'a CpuTensor,
    weight: &CpuTensor,
    slopes: impl Iterator<Item = Slope<'a>>,
    input: InputGradient,
) -> Result<ConvGradients<CpuTensor>, EngineError> {
    let sizes = &shape.sizes;
    let mut dw = engine.zeros_of(&weight.shape)?;
    let mut bias = engine.zeros_of(&weight.shape[..1])?;
    let (of_x, of_y) = (sizes.of_input(), sizes.of_output());
    let mut dx = match input {
        InputGradient::Wanted if shape.sees_all() && of_y > 0 => Some(engine.unset(&x.shape)?),
        InputGradient::Wanted => Some(engine.zeros_of(&x.shape)?),
        InputGradient::Unused => None,
    };
    if of_x > 0 && of_y > 0 {
        let back = match dx {
            Some(_) => backward_weights(engine, shape, &weight.values)?,
            None => Vec::new(),
        };
        let mut places = dx.as_mut().map(|dx| dx.values.chunks_mut(CHUNK * of_x));
        let chunks = x.values.chunks(CHUNK * of_x).zip(slopes);
        let with_places = |(x, dy)| (x, dy, places.as_mut().and_then(Iterator::next));
        let mut chunks: Vec<Chunk<'_>> = chunks.map(with_places).collect();
        let found = in_waves(engine, shape, &mut chunks, &back)?;
        bias.values.copy_from_slice(&found.bias);
        in_rows_of_filters(sizes, &found.weight, &mut dw.values);
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
type Chunk<'a> = (&'a [f32], Slope<'a>, Option<&'a mut [f32]>);

/// The slope of the output of some samples.
enum Slope<'a> {
    Whole(&'a [f32]),
    /// Of what was kept of it.
    Pooled(PooledSlope<'a>),
}

/// What is added to all that a filter gives.
#[derive(Clone, Copy)]
struct Bias<'a>(Option<&'a [f32]>);

impl<'a> Bias<'a> {
    fn of(sizes: &ConvSizes, bias: Option<&'a CpuTensor>) -> Result<Self, EngineError> {
        let filters = sizes.groups * sizes.outputs;
        match bias.map(|bias| &bias.values[..]) {
            Some(bias) if bias.len() != filters => Err(unfit("conv2d", &[filters], &[bias.len()])),
            bias => Ok(Self(bias)),
        }
    }

    fn of_filter(self, filter: usize) -> f32 {
        self.0.map_or(0.0, |bias| bias[filter])
    }
}

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

/// What one filter gives for a band of lines.
struct Found<'a> {
    /// Among those of all groups.
    filter: usize,
    band: Band,
    values: &'a [f32],
    /// From one line to the next.
    pitch: usize,
}

/// Hands what every filter gives, band by band, to `take`; `weight` is turned for each group.
fn forward_sample<B: Iterator<Item = Band>>(
    shape: &Shape,
    x: &[f32],
    weight: &[f32],
    bands: impl Fn() -> B,
    Scratch { frame, found, .. }: &mut Scratch,
    mut take: impl FnMut(Found<'_>),
) {
    let sizes = &shape.sizes;
    let (columns, outputs) = (sizes.output[1], sizes.outputs);
    let x = x.chunks_exact(sizes.channels * sizes.area());
    let groups = x.zip(weight.chunks_exact(outputs * sizes.seen()));
    for (group, (x, weights)) in groups.enumerate() {
        for band in bands() {
            shape.frame_input(x, band, frame);
            let size = shape.input_frame(band.rows);
            let length = size.span(band.rows, columns);
            found.resize(outputs * length.next_multiple_of(LANES), 0.0);
            let filters = Filters { offsets: &frame.offsets, weights, count: outputs };
            slide(&filters, &frame.values, found, length);
            let each = found.chunks_exact(length.next_multiple_of(LANES));
            for (output, values) in each.enumerate() {
                let filter = group * outputs + output;
                take(Found { filter, band, values, pitch: size.pitch });
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
    let mut spread = match dy {
        Slope::Whole(_) => engine.room(0)?,
        Slope::Pooled(_) => engine.zeroed(sizes.of_output())?,
    };
    for sample in 0..x.len() / sizes.of_input() {
        let dy = match dy {
            Slope::Whole(dy) => &dy[sample * sizes.of_output()..][..sizes.of_output()],
            Slope::Pooled(dy) => dy.whole(sizes, sample, &mut spread),
        };
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
        blocks.resize(sizes.wide() * count, 0.0);
        let planes =
            Matrix::strided(&dy[band.first * columns..], sizes.outputs, count, sizes.points());
        side_by_side(planes, blocks);
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

wide! {
    fn add(sum: &mut [f32], part: &[f32]) {
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
}
