//! Where the points of a window look. A picture is copied into a frame, with the zeros around it;
//! then a point of the window is an offset, the same for all positions of the window, and nothing
//! need be gathered for each of them. With a stride, a picture is taken apart into phases: the
//! points that one and the same point of the window can see, so that in each phase windows move by
//! one.

use crate::engine::images::ConvSizes;

use super::{Buffer, LANES};

/// Values of a frame at once, if one line of windows needs no more: half of a usual second-level
/// cache.
pub(super) const FRAMED: usize = 128 * 1024;

/// What is the same for all samples of a convolution.
pub(super) struct Shape {
    pub(super) sizes: ConvSizes,
    /// Those that any point of the window sees, by their first row and column.
    pub(super) phases: Vec<[usize; 2]>,
    /// Points of the window, row after row.
    pub(super) points: Vec<Point>,
    /// Rows and columns that a window reaches beyond its first point, within a phase.
    pub(super) reach: [usize; 2],
}

/// A point of the window.
#[derive(Clone, Copy)]
pub(super) struct Point {
    /// Its number in [`Shape::phases`].
    pub(super) phase: usize,
    /// Rows and columns from the window's first point, within the phase.
    pub(super) shift: [usize; 2],
}

/// Lines of windows that are worked on at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Band {
    pub(super) first: usize,
    pub(super) rows: usize,
}

/// A frame in memory, used for one sample after the other.
pub(super) struct Framed {
    pub(super) values: Buffer,
    /// Of each plane that is looked into, and each point of the window.
    pub(super) offsets: Vec<usize>,
    /// What it was made for: the zeros around the picture are there.
    of: Option<(usize, Band)>,
}

impl Framed {
    pub(super) fn new(values: Buffer) -> Self {
        Self { values, offsets: Vec::new(), of: None }
    }

    /// Makes it a frame of zeros for `band` of `phase`, unless it is.
    fn prepare(&mut self, of: (usize, Band), values: usize, offsets: impl Fn() -> Vec<usize>) {
        if self.of != Some(of) {
            self.values.clear();
            self.values.resize(values, 0.0);
            self.offsets = offsets();
            self.of = Some(of);
        }
    }
}

/// A frame's planes: how many rows of what length.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) rows: usize,
    pub(super) pitch: usize,
}

impl Frame {
    pub(super) fn plane(&self) -> usize {
        self.rows * self.pitch
    }

    /// Values of so many planes, and behind them what vectors may read on top.
    pub(super) fn values(&self, planes: usize) -> usize {
        planes * self.plane() + LANES
    }

    /// What windows that are `columns` a line give from such a frame: values from the first to the
    /// last, those between lines included.
    pub(super) fn span(&self, rows: usize, columns: usize) -> usize {
        (rows - 1) * self.pitch + columns
    }
}

impl Shape {
    pub(super) fn of(sizes: &ConvSizes) -> Self {
        let window = &sizes.window;
        let place = |axis: usize, k: usize| {
            let ahead = k * window.dilation[axis];
            (ahead % window.stride[axis], ahead / window.stride[axis])
        };
        let (mut phases, mut points) = (Vec::new(), Vec::new());
        for ky in 0..window.kernel[0] {
            for kx in 0..window.kernel[1] {
                let ((py, down), (px, across)) = (place(0, ky), place(1, kx));
                let known = phases.iter().position(|phase| *phase == [py, px]);
                let phase = known.unwrap_or(phases.len());
                if known.is_none() {
                    phases.push([py, px]);
                }
                points.push(Point { phase, shift: [down, across] });
            }
        }
        let reach = window.reach();
        Self { sizes: *sizes, phases, points, reach }
    }

    /// Whether every point of the input is in some phase.
    pub(super) fn sees_all(&self) -> bool {
        self.phases.len() == self.sizes.window.stride.iter().product::<usize>()
    }

    /// The frame of the input for so many lines of windows.
    pub(super) fn input_frame(&self, rows: usize) -> Frame {
        Frame { rows: rows + self.reach[0], pitch: self.sizes.output[1] + self.reach[1] }
    }

    /// Lines of windows, as many at once as fit into [`FRAMED`] values of all that has planes of
    /// rows `pitch` long.
    pub(super) fn bands(&self, pitch: usize, lines: usize) -> impl Iterator<Item = Band> + use<> {
        bands_of(self.fit(pitch).min(lines), lines)
    }

    /// As [`Self::bands`] of the input, in pairs of lines; nothing where not even a pair fits.
    pub(super) fn bands_of_pairs(&self) -> Option<impl Iterator<Item = Band> + use<>> {
        let lines = self.sizes.output[0];
        let pairs = self.fit(self.input_frame(1).pitch).min(lines) / 2;
        (pairs > 0).then(|| bands_of(2 * pairs, lines))
    }

    /// Lines that fit at once.
    fn fit(&self, pitch: usize) -> usize {
        (FRAMED / (self.most_planes() * pitch).max(1)).saturating_sub(self.reach[0])
    }

    /// Of a frame, or of what is found in one.
    fn most_planes(&self) -> usize {
        (self.sizes.channels * self.phases.len()).max(self.sizes.wide())
    }

    /// Values of the largest frame, and of what is found in it.
    pub(super) fn most_framed(&self) -> usize {
        let widest = self.sizes.output[1].max(self.sizes.input[1]);
        most_framed(self.most_planes(), widest, self.reach)
    }

    /// Copies what windows of `band` see of the channels of a group into `frame`.
    pub(super) fn frame_input(&self, x: &[f32], band: Band, frame: &mut Framed) {
        let (window, input) = (&self.sizes.window, self.sizes.input);
        let size = self.input_frame(band.rows);
        let values = size.values(self.sizes.channels * self.phases.len());
        frame.prepare((0, band), values, || self.input_offsets(band.rows));
        let mut planes = frame.values.chunks_exact_mut(size.plane());
        for channel in x.chunks_exact(self.sizes.area()) {
            for phase in &self.phases {
                let plane = planes.next().expect("a plane for each phase of each channel");
                let start = [0, 1].map(|axis| {
                    let first = if axis == 0 { band.first * window.stride[0] } else { 0 };
                    (first + phase[axis]) as isize - window.before[axis] as isize
                });
                copy(channel, input, start, window.stride, size.pitch, plane);
            }
        }
    }

    /// For each channel of a group and each point of the window, its place in the frame of
    /// [`Self::frame_input`].
    fn input_offsets(&self, rows: usize) -> Vec<usize> {
        let frame = self.input_frame(rows);
        let planes = (0..self.sizes.channels).map(|channel| channel * self.phases.len());
        let offset = |first: usize| {
            self.points.iter().map(move |point| {
                let [down, across] = point.shift;
                (first + point.phase) * frame.plane() + down * frame.pitch + across
            })
        };
        planes.flat_map(offset).collect()
    }

    /// The part of the input that a phase is.
    pub(super) fn seen(&self, phase: usize) -> Seen {
        let (sizes, window) = (&self.sizes, &self.sizes.window);
        let along = |axis: usize| {
            let (ahead, stride) = (self.phases[phase][axis], window.stride[axis]);
            let first = window.before[axis].saturating_sub(ahead).div_ceil(stride);
            let end = (sizes.input[axis] + window.before[axis]).saturating_sub(ahead);
            let count = end.div_ceil(stride).saturating_sub(first);
            let place = (first * stride + ahead).saturating_sub(window.before[axis]);
            (first, count, place)
        };
        let (down, across) = (along(0), along(1));
        Seen { first: [down.0, across.0], count: [down.1, across.1], place: [down.2, across.2] }
    }

    /// The frame of slopes for so many lines of a phase that has `columns` of them.
    pub(super) fn slope_frame(&self, rows: usize, columns: usize) -> Frame {
        Frame { rows: rows + self.reach[0], pitch: columns + self.reach[1] }
    }

    /// Copies the slopes of all windows that see lines of `band` of a phase into `frame`.
    pub(super) fn frame_slopes(&self, dy: &[f32], phase: usize, band: Band, frame: &mut Framed) {
        let seen = self.seen(phase);
        let size = self.slope_frame(band.rows, seen.count[1]);
        let values = size.values(self.sizes.outputs);
        frame.prepare((phase, band), values, || self.slope_offsets(phase, size));
        let start = [
            (seen.first[0] + band.first) as isize - self.reach[0] as isize,
            seen.first[1] as isize - self.reach[1] as isize,
        ];
        let planes = dy.chunks_exact(self.sizes.points());
        for (dy, plane) in planes.zip(frame.values.chunks_exact_mut(size.plane())) {
            copy(dy, self.sizes.output, start, [1, 1], size.pitch, plane);
        }
    }

    /// For each output of a group and each point of the window that sees `phase`, its place in the
    /// frame of [`Self::frame_slopes`].
    fn slope_offsets(&self, phase: usize, frame: Frame) -> Vec<usize> {
        let offset = |output: usize| {
            let points = self.points.iter().filter(move |point| point.phase == phase);
            points.map(move |point| {
                let down = self.reach[0] - point.shift[0];
                let across = self.reach[1] - point.shift[1];
                output * frame.plane() + down * frame.pitch + across
            })
        };
        (0..self.sizes.outputs).flat_map(offset).collect()
    }
}

/// `lines` in bands of `rows`, at least one.
fn bands_of(rows: usize, lines: usize) -> impl Iterator<Item = Band> {
    let rows = rows.max(1);
    (0..lines).step_by(rows).map(move |first| Band { first, rows: rows.min(lines - first) })
}

/// The points of the input that belong to a phase.
pub(super) struct Seen {
    /// The phase's first row and column within the picture.
    pub(super) first: [usize; 2],
    pub(super) count: [usize; 2],
    /// The first point in the picture.
    pub(super) place: [usize; 2],
}

/// Values of the largest frame of so many planes whose lines have `columns` windows.
pub(super) fn most_framed(planes: usize, columns: usize, reach: [usize; 2]) -> usize {
    let least = planes * (columns + reach[1]) * (1 + reach[0]);
    FRAMED.max(least) + planes.max(1) * LANES
}

/// Fills what of `to`, a zeroed plane of rows `pitch` long, lies within the picture: its first
/// value is the picture's at `start`, the next ones `step` further each.
fn copy(
    from: &[f32],
    [height, width]: [usize; 2],
    start: [isize; 2],
    step: [usize; 2],
    pitch: usize,
    to: &mut [f32],
) {
    // Lines, or columns, of the plane before the picture begins.
    let outside = |axis: usize| (-start[axis]).max(0).cast_unsigned().div_ceil(step[axis]);
    let (top, left) = (outside(0), outside(1));
    let at = |axis: usize, skipped: usize| {
        start[axis].wrapping_add_unsigned(skipped * step[axis]).cast_unsigned()
    };
    let (first_line, first) = (at(0, top), at(1, left));
    if left >= pitch || first >= width {
        return;
    }
    let count = (width - first).div_ceil(step[1]).min(pitch - left);
    let lines = to.chunks_exact_mut(pitch).skip(top);
    let from = (first_line..height).step_by(step[0]).map(|y| &from[y * width + first..]);
    for (line, from) in lines.zip(from) {
        let line = &mut line[left..left + count];
        if step[1] == 1 {
            line.copy_from_slice(&from[..count]);
        } else {
            let points = from.iter().step_by(step[1]);
            line.iter_mut().zip(points).for_each(|(value, point)| *value = *point);
        }
    }
}
