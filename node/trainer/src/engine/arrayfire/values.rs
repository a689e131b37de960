//! Arithmetic on arrays of 32-bit floats, in few words. An axis of length 1 is repeated where the
//! other operand's is longer. Nothing is computed before somebody asks for the result, so that
//! what is put together here becomes one pass over memory.
//!
//! The library counts axes from the fastest on; `[a, b, c, d]` of a tensor is `[d, c, b, a]` here.

use arrayfire::{Array, Dim4, MatProp, Seq, assign_seq, gemm, index};

pub(super) type Values = Array<f32>;
pub(super) type Truths = Array<bool>;

pub(super) fn dims(lengths: [usize; 4]) -> Dim4 {
    Dim4::new(&lengths.map(|length| length as u64))
}

/// The same values under other lengths of axes.
pub(super) fn shaped(x: &Values, lengths: [usize; 4]) -> Values {
    arrayfire::moddims(x, dims(lengths))
}

/// `value` wherever `like` has one.
pub(super) fn full(like: &Values, value: f32) -> Values {
    arrayfire::constant(value, like.dims())
}

pub(super) fn add(left: &Values, right: &Values) -> Values {
    arrayfire::add(left, right, true)
}

pub(super) fn sub(left: &Values, right: &Values) -> Values {
    arrayfire::sub(left, right, true)
}

pub(super) fn mul(left: &Values, right: &Values) -> Values {
    arrayfire::mul(left, right, true)
}

pub(super) fn div(left: &Values, right: &Values) -> Values {
    arrayfire::div(left, right, true)
}

pub(super) fn plus(x: &Values, term: f32) -> Values {
    add(x, &full(x, term))
}

pub(super) fn times(x: &Values, factor: f32) -> Values {
    mul(x, &full(x, factor))
}

/// `1 / x`.
pub(super) fn inverse(x: &Values) -> Values {
    div(&full(x, 1.0), x)
}

pub(super) fn above(x: &Values, bound: f32) -> Truths {
    arrayfire::gt(x, &full(x, bound), true)
}

pub(super) fn below(x: &Values, bound: f32) -> Truths {
    arrayfire::lt(x, &full(x, bound), true)
}

/// `yes` where the condition holds, else `no`.
pub(super) fn choose(condition: &Truths, yes: &Values, no: &Values) -> Values {
    arrayfire::select(yes, condition, no)
}

/// 1 where the condition holds, else 0.
pub(super) fn ones(condition: &Truths) -> Values {
    condition.cast()
}

/// Sum along an axis, which becomes 1 long.
pub(super) fn sum(x: &Values, axis: i32) -> Values {
    arrayfire::sum(x, axis)
}

/// Largest along an axis, which becomes 1 long.
pub(super) fn largest(x: &Values, axis: i32) -> Values {
    arrayfire::max(x, axis)
}

/// Matrix product, of matrices that may be turned around. One that has a single column starts from
/// zeros: on OpenCL the library adds to it what its memory held before times 0, which is no number
/// where that was none or infinite.
pub(super) fn matmul(left: &Values, right: &Values, of_left: MatProp, of_right: MatProp) -> Values {
    let lengths = |x: &Values, turned| match (*x.dims().get(), turned) {
        ([rows, columns, ..], MatProp::NONE) => [rows, columns],
        ([rows, columns, ..], _) => [columns, rows],
    };
    let ([rows, _], [_, columns]) = (lengths(left, of_left), lengths(right, of_right));
    let [third, fourth] = [2, 3].map(|axis| left.dims()[axis].max(right.dims()[axis]));
    let size = Dim4::new(&[rows, columns, third, fourth]);
    let mut product = match columns {
        1 => arrayfire::constant(0.0, size),
        _ => Array::new_empty(size),
    };
    product.eval();
    // Not the library's `matmul`, which loses the words of an error.
    gemm(&mut product, of_left, of_right, vec![1.0], left, right, vec![0.0]);
    product
}

/// `count` indices from `first` on, each `step` after the one before.
pub(super) fn stretch(first: usize, count: usize, step: usize) -> Seq<f64> {
    Seq::new(first as f64, (first + (count - 1) * step) as f64, step as f64)
}

/// All of an axis.
pub(super) fn whole() -> Seq<f64> {
    Seq::default()
}

/// A view of the part of `x` at these places along each axis.
pub(super) fn part(x: &Values, places: &[Seq<f64>]) -> Values {
    index(x, along_axes(x, places))
}

/// Puts `values` into `x` at these places along each axis.
pub(super) fn set_part(x: &mut Values, places: &[Seq<f64>], values: &Values) {
    let places = along_axes(x, places).to_vec();
    assign_seq(x, &places, values);
}

/// The library takes no places along its last axes where those are 1 long.
fn along_axes<'a>(x: &Values, places: &'a [Seq<f64>]) -> &'a [Seq<f64>] {
    &places[..places.len().min(x.dims().ndims())]
}

/// 0 in place of numbers so small that they soon become subnormal, on which processors are many
/// times slower; moments of weights without gradient decay into that range and stay there.
pub(super) fn flushed(x: &Values) -> Values {
    const SMALLEST: f32 = 1e-34;
    arrayfire::selectl(0.0, &below(&arrayfire::abs(x), SMALLEST), x)
}
