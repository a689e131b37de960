//! Pooling over the views of a window's points; pictures are `[width, height, channels, rows]`.

use arrayfire::{eq, gt, isnan, or, selectr};

use super::values::{Values, add, choose, full, times};
use super::windows::Views;

/// After so many views the work so far is done, as what is put off grows with each.
const AT_ONCE: usize = 8;

pub(super) fn largest(views: &Views, x: &Values) -> Values {
    let padded = views.with(x, f32::NEG_INFINITY);
    let mut best: Option<Values> = None;
    for (point, seen) in views.of(&padded).enumerate() {
        best = Some(match best {
            None => seen,
            Some(best) => choose(&better(&seen, &best), &seen, &best),
        });
        settle(point, best.iter());
    }
    best.expect("a window has a point")
}

/// Each slope goes to the first of the largest.
pub(super) fn largest_backward(views: &Views, x: &Values, dy: &Values) -> Values {
    let padded = views.with(x, f32::NEG_INFINITY);
    let mut best: Option<(Values, Values)> = None;
    for (point, seen) in views.of(&padded).enumerate() {
        best = Some(match best {
            None => (seen, full(dy, 0.0)),
            Some((best, place)) => {
                let better = better(&seen, &best);
                let here = full(dy, point as f32);
                (choose(&better, &seen, &best), choose(&better, &here, &place))
            }
        });
        settle(point, best.iter().flat_map(|(best, place)| [best, place]));
    }
    let (_, place) = best.expect("a window has a point");
    place.eval();
    let slope = |point: usize| selectr(dy, &eq(&place, &full(dy, point as f32), false), 0.0);
    views.cropped(views.gathered(planes(x), (0..views.points()).map(slope)))
}

pub(super) fn mean(views: &Views, x: &Values) -> Values {
    let padded = views.with_zeros(x);
    let mut sum: Option<Values> = None;
    for (point, seen) in views.of(&padded).enumerate() {
        sum = Some(sum.map_or(seen.clone(), |sum| add(&sum, &seen)));
        settle(point, sum.iter());
    }
    times(&sum.expect("a window has a point"), 1.0 / views.points() as f32)
}

/// `planes` are channels and rows.
pub(super) fn mean_backward(views: &Views, planes: [usize; 2], dy: &Values) -> Values {
    let share = times(dy, 1.0 / views.points() as f32);
    share.eval();
    let slopes = (0..views.points()).map(|_| share.clone());
    views.cropped(views.gathered(planes, slopes))
}

/// What is no number is the largest of all, as the loss must tell of it.
fn better(x: &Values, best: &Values) -> super::values::Truths {
    or(&gt(x, best, false), &isnan(x), false)
}

fn settle<'a>(point: usize, values: impl Iterator<Item = &'a Values>) {
    if point % AT_ONCE == AT_ONCE - 1 {
        values.for_each(Values::eval);
    }
}

fn planes(x: &Values) -> [usize; 2] {
    let [_, _, channels, rows] = x.dims().get().map(|length| length as usize);
    [channels, rows]
}
