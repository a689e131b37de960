//! What the points of a window see of pictures, as views with strides of a padded copy; and the way
//! back, where each view's slopes are added to what it saw. Pictures are `[width, height, ..]`.

use arrayfire::{BorderType, Seq, constant, pad};

use super::values::{Values, add, dims, part, set_part, stretch, whole};
use crate::engine::images::Window;

/// The place of a window's points on pictures of one size.
pub(super) struct Views {
    window: Window,
    /// Height and width.
    input: [usize; 2],
    output: [usize; 2],
}

impl Views {
    pub(super) fn new(window: Window, input: [usize; 2], output: [usize; 2]) -> Self {
        Self { window, input, output }
    }

    pub(super) fn points(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// Height and width with what is around the picture.
    fn padded(&self) -> [usize; 2] {
        let Window { before, after, .. } = self.window;
        [0, 1].map(|axis| self.input[axis] + before[axis] + after[axis])
    }

    fn is_padded(&self) -> bool {
        self.padded() != self.input
    }

    /// `x` with zeros around it.
    pub(super) fn with_zeros(&self, x: &Values) -> Values {
        let Window { before, after, .. } = self.window;
        if !self.is_padded() {
            return x.clone();
        }
        let (before, after) = ([before[1], before[0], 0, 0], [after[1], after[0], 0, 0]);
        pad(x, dims(before), dims(after), BorderType::ZERO)
    }

    /// `x` with `value` around it.
    pub(super) fn with(&self, x: &Values, value: f32) -> Values {
        if !self.is_padded() {
            return x.clone();
        }
        let [_, _, third, fourth] = x.dims().get().map(|length| length as usize);
        let [h, w] = self.padded();
        let mut padded = constant(value, dims([w, h, third, fourth]));
        set_part(&mut padded, &self.inside(), x);
        padded
    }

    /// What is left of padded pictures without what is around them.
    pub(super) fn cropped(&self, padded: Values) -> Values {
        if self.is_padded() { part(&padded, &self.inside()).copy() } else { padded }
    }

    fn inside(&self) -> [Seq<f64>; 4] {
        let Window { before, .. } = self.window;
        let along = |axis: usize| stretch(before[axis], self.input[axis], 1);
        [along(1), along(0), whole(), whole()]
    }

    /// What each point of the window sees of `padded`, line by line.
    pub(super) fn of<'a>(&'a self, padded: &'a Values) -> impl Iterator<Item = Values> + 'a {
        (0..self.points()).map(|point| part(padded, &self.seen(point)))
    }

    /// Padded pictures of zeros, to which each point's slopes are added where it looked.
    pub(super) fn gathered(
        &self,
        planes: [usize; 2],
        slopes: impl Iterator<Item = Values>,
    ) -> Values {
        let [h, w] = self.padded();
        let mut sums = constant(0.0_f32, dims([w, h, planes[0], planes[1]]));
        sums.eval();
        let apart = self.are_apart();
        for (point, slopes) in slopes.enumerate() {
            let seen = self.seen(point);
            if apart {
                set_part(&mut sums, &seen, &slopes);
                continue;
            }
            let sum = add(&part(&sums, &seen), &slopes);
            // Before the sums change: the view must be gone, or all of them would be copied.
            sum.eval();
            set_part(&mut sums, &seen, &sum);
        }
        sums
    }

    /// Whether no place is seen by two windows.
    fn are_apart(&self) -> bool {
        let Window { kernel, stride, dilation, .. } = self.window;
        (0..2).all(|axis| (kernel[axis] - 1) * dilation[axis] < stride[axis])
    }

    fn seen(&self, point: usize) -> [Seq<f64>; 4] {
        let Window { kernel, stride, dilation, .. } = self.window;
        let place = [point / kernel[1], point % kernel[1]];
        let along =
            |axis: usize| stretch(place[axis] * dilation[axis], self.output[axis], stride[axis]);
        [along(1), along(0), whole(), whole()]
    }
}
