//! Sums of many values in one fixed order that a processor can take several steps of at once.

/// Partial sums side by side; a part of the results' bits, so never changed.
pub(super) const LANES: usize = 16;

/// Sum of all values.
#[inline(always)]
pub(super) fn sum(values: &[f32]) -> f32 {
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in whole {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += value);
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// Sum of the products of the values at the same place of both slices, which are equally long.
#[inline(always)]
pub(super) fn sum_of_products(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len(), "pairs are whole");
    let ((left, left_rest), (right, right_rest)) =
        (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (left, right) in left.iter().zip(right) {
        for ((lane, left), right) in lanes.iter_mut().zip(left).zip(right) {
            *lane += left * right;
        }
    }
    let rest = left_rest.iter().zip(right_rest).map(|(left, right)| left * right);
    lanes.iter().sum::<f32>() + rest.sum::<f32>()
}

/// The largest value; what is no number is passed over.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    let larger = |left: f32, right: f32| if right > left { right } else { left };
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in whole {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane = larger(*lane, *value));
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger)
}

/// Sum in f64 of `of` the values at the same place of both slices, which are equally long.
#[inline(always)]
pub(super) fn sum_of_pairs(left: &[f32], right: &[f32], of: impl Fn(f64, f64) -> f64) -> f64 {
    assert_eq!(left.len(), right.len(), "pairs are whole");
    let ((left, left_rest), (right, right_rest)) =
        (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (left, right) in left.iter().zip(right) {
        for ((lane, left), right) in lanes.iter_mut().zip(left).zip(right) {
            *lane += of(f64::from(*left), f64::from(*right));
        }
    }
    let rest = left_rest.iter().zip(right_rest);
    let rest = rest.map(|(left, right)| of(f64::from(*left), f64::from(*right)));
    lanes.iter().sum::<f64>() + rest.sum::<f64>()
}
