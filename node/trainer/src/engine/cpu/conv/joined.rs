//! A convolution of whose result only the largest of every four points is kept. The result itself
//! is never in memory as a whole: it is pooled where it comes from, while the caches hold it, and
//! its slope is made again from the few that are not zero, one sample after the other.

use super::frames::Shape;
use super::{
    Bias, CHUNK, CpuEngine, CpuTensor, Scratch, Slope, forward_sample, gradients, turned, unfit,
};
use crate::engine::cpu::fours::{self, Plane};
use crate::engine::images::{ConvGradients, ConvPool, ConvSizes, Pooled};
use crate::engine::{EngineError, InputGradient};

/// A convolution and a pooling that can be done as one.
pub(in super::super) struct Joined {
    shape: Shape,
    /// Lines and columns of what is kept.
    kept: [usize; 2],
}

impl Joined {
    /// Nothing where they are done one after the other.
    ///
    /// # Errors
    /// [`EngineError::Shape`] where the shapes disagree.
    pub(in super::super) fn of(
        x: &CpuTensor,
        weight: &CpuTensor,
        joined: &ConvPool,
    ) -> Result<Option<Self>, EngineError> {
        let sizes = ConvSizes::of(&x.shape, &weight.shape, &joined.conv)?;
        let kept = sizes.output.map(|length| length / 2);
        let shape = Shape::of(&sizes);
        let fit = fours::are_windows(&joined.pool) && shape.bands_of_pairs().is_some();
        let some = sizes.of_input() * kept[0] * kept[1] > 0;
        Ok((fit && some).then_some(Self { shape, kept }))
    }

    fn output_shape(&self) -> [usize; 4] {
        let sizes = &self.shape.sizes;
        [sizes.rows, sizes.groups * sizes.outputs, self.kept[0], self.kept[1]]
    }

    /// Values of a sample that are kept.
    fn of_sample(&self) -> usize {
        self.output_shape()[1..].iter().product()
    }

    pub(in super::super) fn forward(
        &self,
        engine: &CpuEngine,
        x: &CpuTensor,
        weight: &CpuTensor,
        bias: Option<&CpuTensor>,
    ) -> Result<Pooled<CpuTensor>, EngineError> {
        let (shape, sizes) = (&self.shape, &self.shape.sizes);
        let bias = Bias::of(sizes, bias)?;
        let mut output = engine.unset(&self.output_shape())?;
        let mut origin = engine.unset(&self.output_shape())?;
        let weight = turned(engine, &weight.values, sizes.seen(), sizes.outputs)?;
        let (of_x, of_y, [lines, columns]) = (sizes.of_input(), self.of_sample(), self.kept);
        let work = |(x, (y, places)): (&[f32], (&mut [f32], &mut [f32]))| {
            let mut scratch = Scratch::new(engine, shape, false)?;
            let kept = y.chunks_exact_mut(of_y).zip(places.chunks_exact_mut(of_y));
            for (x, (y, places)) in x.chunks_exact(of_x).zip(kept) {
                let bands = || shape.bands_of_pairs().into_iter().flatten();
                forward_sample(shape, x, &weight, bands, &mut scratch, |found| {
                    // A last line that has none below it is in no window.
                    let plane = Plane { lines: found.band.rows / 2, columns, pitch: found.pitch };
                    let first = (found.filter * lines + found.band.first / 2) * columns;
                    let (y, places) = (&mut y[first..], &mut places[first..]);
                    let bias = bias.of_filter(found.filter);
                    fours::largest_and_places(plane, found.values, bias, y, places);
                });
            }
            Ok(())
        };
        let chunk = CHUNK * of_y;
        let kept = output.values.chunks_mut(chunk).zip(origin.values.chunks_mut(chunk));
        engine.team.try_share(x.values.chunks(CHUNK * of_x).zip(kept), work)?;
        Ok(Pooled { output, origin })
    }

    pub(in super::super) fn backward(
        &self,
        engine: &CpuEngine,
        x: &CpuTensor,
        weight: &CpuTensor,
        origin: &CpuTensor,
        dy: &CpuTensor,
        input: InputGradient,
    ) -> Result<ConvGradients<CpuTensor>, EngineError> {
        if [&origin.shape, &dy.shape].iter().any(|shape| shape[..] != self.output_shape()) {
            return Err(unfit("conv2d_max_pool_backward", &dy.shape, &self.output_shape()));
        }
        let (kept, chunk) = (self.kept, CHUNK * self.of_sample());
        let chunks = origin.values.chunks(chunk).zip(dy.values.chunks(chunk));
        let slopes =
            chunks.map(|(places, dy)| Slope::Pooled(PooledSlope { places, slopes: dy, kept }));
        gradients(engine, &self.shape, x, weight, slopes, input)
    }
}

/// The slope of what was kept of some samples.
pub(super) struct PooledSlope<'a> {
    places: &'a [f32],
    slopes: &'a [f32],
    kept: [usize; 2],
}

impl PooledSlope<'_> {
    /// The slope of everything that one sample's convolution gave; points that no window sees keep
    /// what they have in `whole`.
    pub(super) fn whole<'w>(
        &self,
        sizes: &ConvSizes,
        sample: usize,
        whole: &'w mut [f32],
    ) -> &'w [f32] {
        let [lines, columns] = self.kept;
        let of_plane = lines * columns;
        let first = sample * sizes.groups * sizes.outputs * of_plane;
        let plane = Plane { lines, columns, pitch: sizes.output[1] };
        let kept = self.places[first..].chunks_exact(of_plane);
        let kept = kept.zip(self.slopes[first..].chunks_exact(of_plane));
        for ((places, slopes), whole) in kept.zip(whole.chunks_exact_mut(sizes.points())) {
            fours::spread(plane, places, slopes, whole);
        }
        whole
    }
}
