//! Rows of a table by id, and the sums that are their gradient. Ids come as whole numbers in f32;
//! the host looks at each of them, as an index outside the table would read elsewhere's memory.

use arrayfire::{Array, constant, join, lookup, sum_by_key};

use super::values::{Values, dims, shaped};

/// Column `places[i]` of `table [dimensions, vocabulary]` for each `i`.
pub(super) fn columns(table: &Values, places: &[u32]) -> Values {
    lookup(table, &indices(places), 1)
}

/// `[dimensions, vocabulary]`: the columns of `slopes [dimensions, places]` added up by place.
/// Sorted by place, those of one follow each other; places that are never seen get the zeros that
/// are put behind the sums.
pub(super) fn sums(slopes: &Values, places: &[u32], vocabulary: usize) -> Values {
    let dimensions = slopes.dims()[0] as usize;
    let mut order: Vec<u32> = (0..places.len() as u32).collect();
    // Stable: each sum is in the order of the ids.
    order.sort_by_key(|index| places[*index as usize]);
    let sorted: Vec<u32> = order.iter().map(|index| places[*index as usize]).collect();
    let mut seen = sorted.clone();
    seen.dedup();
    let mut source = vec![seen.len() as u32; vocabulary];
    for (column, place) in (0..).zip(&seen) {
        source[*place as usize] = column;
    }
    let slopes = lookup(slopes, &indices(&order), 1);
    let sums = match places.len() {
        // The library takes no single key.
        1 => slopes,
        count => sum_by_key(&Array::new(&signed(&sorted), dims([count, 1, 1, 1])), &slopes, 1).1,
    };
    let none = constant(0.0_f32, dims([dimensions, 1, 1, 1]));
    let sums = join(1, &shaped(&sums, [dimensions, seen.len(), 1, 1]), &none);
    lookup(&sums, &indices(&source), 1)
}

fn indices(places: &[u32]) -> Array<u32> {
    Array::new(places, dims([places.len(), 1, 1, 1]))
}

/// Keys of sums are signed.
fn signed(places: &[u32]) -> Vec<i32> {
    places.iter().map(|place| *place as i32).collect()
}
