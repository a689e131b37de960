//! Copies that change the order or the extent of axes, for tensors of any rank on a library that
//! has four axes: neighbours that stay together count as one, and what is left of a permutation is
//! done in swaps of two neighbours.

use arrayfire::{join_many, reorder_v2};

use super::values::{self, Values, shaped, stretch, whole};
use crate::engine::arrays::Around;

/// `x` of row-major `shape` with its axes in another order.
pub(super) fn permute(x: &Values, shape: &[usize], axes: &[usize]) -> Values {
    let (lengths, order) = merged(shape, axes);
    if lengths.len() <= 4 {
        return reordered(x, &lengths, &order);
    }
    // Where each axis is by now; one more is in its place after each round.
    let (mut now, mut x) = ((0..order.len()).collect::<Vec<_>>(), x.clone());
    for (place, axis) in order.iter().enumerate() {
        let from = now.iter().position(|other| other == axis).expect("an order has every axis");
        let span = |axes: &[usize]| axes.iter().map(|axis| lengths[*axis]).product();
        let parts = [&now[..place], &now[place..from], &now[from..=from], &now[from + 1..]];
        x = reordered(&x, &parts.map(span), &[0, 2, 1, 3]);
        x.eval();
        let axis = now.remove(from);
        now.insert(place, axis);
    }
    x
}

/// Lengths and order without axes of length 1, and with those in one that stay neighbours.
fn merged(shape: &[usize], axes: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &axis in axes.iter().filter(|axis| shape[**axis] != 1) {
        let follows =
            |last: usize| axis > last && shape[last + 1..axis].iter().all(|length| *length == 1);
        match runs.last_mut() {
            Some((_, last)) if follows(*last) => *last = axis,
            Some(_) | None => runs.push((axis, axis)),
        }
    }
    let mut sorted = runs.clone();
    sorted.sort_unstable();
    let lengths = sorted.iter().map(|(first, last)| shape[*first..=*last].iter().product());
    let place = |run| sorted.iter().position(|other| other == run).expect("sorted has every run");
    (lengths.collect(), runs.iter().map(place).collect())
}

/// At most four axes, the slowest first.
fn reordered(x: &Values, lengths: &[usize], order: &[usize]) -> Values {
    let rank = lengths.len();
    let mut fast = [1; 4];
    lengths.iter().rev().zip(&mut fast).for_each(|(length, axis)| *axis = *length);
    let mut axes = [0, 1, 2, 3];
    let turned = order.iter().rev().map(|axis| (rank - 1 - axis) as u64);
    turned.zip(&mut axes).for_each(|(from, axis)| *axis = from);
    reorder_v2(&shaped(x, fast), axes[0], axes[1], Some(vec![axes[2], axes[3]]))
}

/// So many of an axis from `first` on.
pub(super) fn slice(x: &Values, around: Around, first: usize, count: usize) -> Values {
    let x = shaped(x, [around.inner, around.length, around.outer, 1]);
    // A copy: a view would keep all of `x` in memory.
    values::part(&x, &[whole(), stretch(first, count, 1), whole()]).copy()
}

/// One after the other along an axis; each part comes with its length there.
pub(super) fn concatenate(parts: &[(&Values, usize)], around: Around) -> Values {
    let part = |(x, length): &(&Values, usize)| shaped(x, [around.inner, *length, around.outer, 1]);
    let parts: Vec<Values> = parts.iter().map(part).collect();
    join_many(1, parts.iter().collect())
}

#[cfg(test)]
mod tests {
    use super::merged;

    #[test]
    fn neighbours_that_stay_together_count_as_one() {
        assert_eq!(merged(&[2, 3, 4], &[0, 1, 2]), (vec![24], vec![0]));
        assert_eq!(merged(&[2, 3, 4, 5], &[2, 3, 0, 1]), (vec![6, 20], vec![1, 0]));
        assert_eq!(merged(&[2, 3, 4, 5], &[0, 2, 1, 3]), (vec![2, 3, 4, 5], vec![0, 2, 1, 3]));
        assert_eq!(merged(&[2, 1, 4, 1], &[3, 0, 1, 2]), (vec![8], vec![0]));
        assert_eq!(merged(&[1, 1], &[1, 0]), (vec![], vec![]));
    }
}
