//! The largest of four points that form a square, as most pooling has it. Which of them it is
//! cannot be foretold: it is found without a branch, in bits.

use super::vectors::wide;
use crate::engine::images::{PoolSizes, Window};

/// Whether these are squares of four points side by side, all within the picture.
pub(super) fn are_windows(window: &Window) -> bool {
    let Window { kernel, stride, before, after, dilation } = *window;
    [kernel, stride] == [[2, 2]; 2] && [before, after] == [[0, 0]; 2] && dilation == [1, 1]
}

/// Whether `x` takes the place of the largest so far. What is no number is the largest of all, as
/// the loss must tell of it.
#[inline(always)]
pub(super) fn is_better(x: f32, best: f32) -> bool {
    (x > best) | x.is_nan()
}

#[inline(always)]
pub(super) fn better(x: f32, best: f32) -> f32 {
    if is_better(x, best) { x } else { best }
}

#[inline(always)]
fn largest_of([a, b, c, d]: [f32; 4]) -> f32 {
    better(d, better(c, better(b, a)))
}

/// For each of the four all bits if it is the first of the largest, else none.
#[inline(always)]
fn first_of(fours: [f32; 4], largest: f32) -> [u32; 4] {
    let [a, b, c, _] = fours.map(|value| mask(value.to_bits() == largest.to_bits()));
    let (second, third) = (b & !a, c & !(a | b));
    [a, second, third, !(a | b | c)]
}

/// All bits, or none.
#[inline(always)]
fn mask(holds: bool) -> u32 {
    u32::from(holds).wrapping_neg()
}

/// Squares that form a plane, two lines of points for each line of squares.
#[derive(Clone, Copy)]
pub(super) struct Plane {
    /// Squares one below the other.
    pub(super) lines: usize,
    /// Squares side by side.
    pub(super) columns: usize,
    /// From the begin of a line of points to that of the next.
    pub(super) pitch: usize,
}

impl Plane {
    pub(super) fn of(sizes: &PoolSizes) -> Self {
        let ([_, pitch], [lines, columns]) = (sizes.input, sizes.output);
        Self { lines, columns, pitch }
    }

    /// The upper and the lower line of points of a line of squares.
    #[inline(always)]
    fn points(self, values: &[f32], line: usize) -> [&[f32]; 2] {
        [0, 1].map(|lower| &values[(2 * line + lower) * self.pitch..][..2 * self.columns])
    }

    #[inline(always)]
    fn points_mut(self, values: &mut [f32], line: usize) -> [&mut [f32]; 2] {
        let (upper, lower) = values[2 * line * self.pitch..].split_at_mut(self.pitch);
        [&mut upper[..2 * self.columns], &mut lower[..2 * self.columns]]
    }

    /// One value for each square of a line.
    #[inline(always)]
    fn squares(self, values: &[f32], line: usize) -> &[f32] {
        &values[line * self.columns..][..self.columns]
    }

    #[inline(always)]
    fn squares_mut(self, values: &mut [f32], line: usize) -> &mut [f32] {
        &mut values[line * self.columns..][..self.columns]
    }

    /// Does `work` with all squares. Lines are mostly short: they are done in blocks of one size, of
    /// which the last may overlap the one before; what is left over would take longer one by one.
    #[inline(always)]
    fn each(self, work: &mut impl Work) {
        for line in 0..self.lines {
            match self.columns {
                0 => {}
                1..4 => self.blocks::<2, 1>(line, work),
                4..8 => self.blocks::<8, 4>(line, work),
                8.. => self.blocks::<16, 8>(line, work),
            }
        }
    }

    #[inline(always)]
    fn blocks<const P: usize, const S: usize>(self, line: usize, work: &mut impl Work) {
        let last = self.columns - S;
        for first in (0..last).step_by(S).chain([last]) {
            work.block::<P, S>(line, first);
        }
    }
}

/// Something to do with squares; done twice it is what it is done once.
trait Work {
    /// With `S` squares from `first` on, which have `P = 2 * S` points in each of two lines.
    fn block<const P: usize, const S: usize>(&mut self, line: usize, first: usize);
}

/// `N` values from `first` on.
#[inline(always)]
fn some<const N: usize>(values: &[f32], first: usize) -> &[f32; N] {
    values[first..].first_chunk().expect("blocks end with their line")
}

#[inline(always)]
fn some_mut<const N: usize>(values: &mut [f32], first: usize) -> &mut [f32; N] {
    values[first..].first_chunk_mut().expect("blocks end with their line")
}

struct Largest<'a> {
    plane: Plane,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Work for Largest<'_> {
    #[inline(always)]
    fn block<const P: usize, const S: usize>(&mut self, line: usize, first: usize) {
        let [upper, lower] = self.plane.points(self.x, line).map(|x| some::<P>(x, 2 * first));
        let y = some_mut::<S>(self.plane.squares_mut(self.y, line), first);
        for (index, y) in y.iter_mut().enumerate() {
            let [left, right] = [2 * index, 2 * index + 1];
            *y = largest_of([upper[left], upper[right], lower[left], lower[right]]);
        }
    }
}

struct Slopes<'a> {
    plane: Plane,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Work for Slopes<'_> {
    #[inline(always)]
    fn block<const P: usize, const S: usize>(&mut self, line: usize, first: usize) {
        let [upper, lower] = self.plane.points(self.x, line).map(|x| some::<P>(x, 2 * first));
        let dy = some::<S>(self.plane.squares(self.dy, line), first);
        let dx = self.plane.points_mut(self.dx, line);
        let [dx_upper, dx_lower] = dx.map(|dx| some_mut::<P>(dx, 2 * first));
        for (index, dy) in dy.iter().enumerate() {
            let [left, right] = [2 * index, 2 * index + 1];
            let fours = [upper[left], upper[right], lower[left], lower[right]];
            let places = first_of(fours, largest_of(fours));
            let slopes = places.map(|place| f32::from_bits(dy.to_bits() & place));
            [dx_upper[left], dx_upper[right], dx_lower[left], dx_lower[right]] = slopes;
        }
    }
}

struct Places<'a> {
    plane: Plane,
    x: &'a [f32],
    bias: f32,
    y: &'a mut [f32],
    places: &'a mut [f32],
}

impl Work for Places<'_> {
    #[inline(always)]
    fn block<const P: usize, const S: usize>(&mut self, line: usize, first: usize) {
        let [upper, lower] = self.plane.points(self.x, line).map(|x| some::<P>(x, 2 * first));
        let y = some_mut::<S>(self.plane.squares_mut(self.y, line), first);
        let places = some_mut::<S>(self.plane.squares_mut(self.places, line), first);
        let [one, two, three] = [1.0_f32, 2.0, 3.0].map(f32::to_bits);
        for index in 0..S {
            let [left, right] = [2 * index, 2 * index + 1];
            let fours = [upper[left], upper[right], lower[left], lower[right]];
            let fours = fours.map(|value| value + self.bias);
            y[index] = largest_of(fours);
            let [_, second, third, last] = first_of(fours, y[index]);
            places[index] = f32::from_bits(second & one | third & two | last & three);
        }
    }
}

struct Spread<'a> {
    plane: Plane,
    places: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Work for Spread<'_> {
    #[inline(always)]
    fn block<const P: usize, const S: usize>(&mut self, line: usize, first: usize) {
        let places = some::<S>(self.plane.squares(self.places, line), first);
        let dy = some::<S>(self.plane.squares(self.dy, line), first);
        let dx = self.plane.points_mut(self.dx, line);
        let [upper, lower] = dx.map(|dx| some_mut::<P>(dx, 2 * first));
        for (index, (dy, place)) in dy.iter().zip(places).enumerate() {
            let slope = |at: f32| f32::from_bits(dy.to_bits() & mask(*place == at));
            let [left, right] = [2 * index, 2 * index + 1];
            [upper[left], upper[right]] = [slope(0.0), slope(1.0)];
            [lower[left], lower[right]] = [slope(2.0), slope(3.0)];
        }
    }
}

wide! {
    /// The largest of each square.
    pub(super) fn largest(plane: Plane, x: &[f32], y: &mut [f32]) {
        plane.each(&mut Largest { plane, x, y });
    }

    /// Gives each of `dy` to the first of the largest of its square, and zero to the others of it.
    pub(super) fn slopes(plane: Plane, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        plane.each(&mut Slopes { plane, x, dy, dx });
    }

    /// With `bias` added to all points, the largest of each square, and which of it that is: 0 to
    /// 3, line by line.
    pub(super) fn largest_and_places(
        plane: Plane,
        x: &[f32],
        bias: f32,
        y: &mut [f32],
        places: &mut [f32],
    ) {
        plane.each(&mut Places { plane, x, bias, y, places });
    }

    /// Gives each of `dy` to its place in the square, and zero to the others of it.
    pub(super) fn spread(plane: Plane, places: &[f32], dy: &[f32], dx: &mut [f32]) {
        plane.each(&mut Spread { plane, places, dy, dx });
    }
}
