//! Losses: what each row has lost and the slopes of all outputs on the device, the sum over rows in
//! f64 on the host. Outputs are `[width, rows]`, with the classes or values of a row along the
//! first axis.

use arrayfire::{Array, abs, eq, eval_multiple, exp, log, log1p, range, selectr, sign};

use super::values::{
    Truths, Values, above, add, below, choose, dims, div, full, inverse, largest, mul, ones, plus,
    sub, sum, times,
};

/// What a target says of each class of a row.
pub(super) enum Shares {
    /// The one class of each row.
    Classes(Array<u32>),
    Values(Values),
}

/// Loss of each row and slope of each output.
pub(super) struct Rows {
    pub(super) losses: Values,
    pub(super) slopes: Values,
}

impl Rows {
    /// Each value by itself: losses are added up along a row.
    fn each(losses: &Values, slopes: Values) -> Self {
        Self { losses: sum(losses, 0), slopes }.computed()
    }

    fn computed(self) -> Self {
        self.slopes.eval();
        self.losses.eval();
        self
    }
}

/// `share` is the factor on every slope.
pub(super) fn softmax_cross_entropy(
    x: &Values,
    target: &Shares,
    smoothing: f32,
    weights: Option<&Values>,
    share: f32,
) -> Rows {
    let lower = sub(x, &largest(x, 0));
    let powers = exp(&lower);
    eval_multiple(vec![&lower, &powers]);
    let whole_power = sum(&powers, 0);
    if let (Shares::Classes(classes), None, true) = (target, weights, smoothing == 0.0) {
        let chosen = chosen(x, classes);
        let losses = sub(&log(&whole_power), &sum(&selectr(&lower, &chosen, 0.0), 0));
        let slopes = sub(&div(&powers, &whole_power), &ones(&chosen));
        return Rows { losses, slopes: times(&slopes, share) }.computed();
    }
    let shares = match target {
        Shares::Classes(classes) => ones(&chosen(x, classes)),
        Shares::Values(values) => values.clone(),
    };
    let width = x.dims()[0] as f32;
    let smooth = plus(&times(&shares, 1.0 - smoothing), smoothing / width);
    let shares = weights.map_or(smooth.clone(), |weights| mul(&smooth, weights));
    shares.eval();
    let whole = sum(&shares, 0);
    let losses = sub(&mul(&whole, &log(&whole_power)), &sum(&mul(&shares, &lower), 0));
    let slopes = sub(&mul(&powers, &div(&whole, &whole_power)), &shares);
    Rows { losses, slopes: times(&slopes, share) }.computed()
}

/// Where the class of a row is.
fn chosen(x: &Values, classes: &Array<u32>) -> Truths {
    let [width, rows, ..] = *x.dims().get();
    let places = range::<u32>(dims([width as usize, rows as usize, 1, 1]), 0);
    eq(&places, &arrayfire::tile(classes, dims([width as usize, 1, 1, 1])), false)
}

pub(super) fn binary_cross_entropy(
    x: &Values,
    t: &Values,
    weight: Option<&Values>,
    share: f32,
) -> Rows {
    // exp of the negative side only, so that nothing overflows.
    let small = exp(&times(&abs(x), -1.0));
    let rest = log1p(&small);
    let positive = above(x, 0.0);
    let (over, under) = (selectr(x, &positive, 0.0), selectr(&times(x, -1.0), &below(x, 0.0), 0.0));
    let more = inverse(&plus(&small, 1.0));
    let less = mul(&small, &more);
    let (yes, no) = (choose(&positive, &more, &less), choose(&positive, &less, &more));
    let true_part = weight.map_or(t.clone(), |weight| mul(t, weight));
    let false_part = sub(&full(t, 1.0), t);
    let losses = add(&mul(&true_part, &add(&under, &rest)), &mul(&false_part, &add(&over, &rest)));
    let slopes = sub(&mul(&false_part, &yes), &mul(&true_part, &no));
    Rows::each(&losses, times(&slopes, share))
}

/// `share` has the factor 2 of the slope in it.
pub(super) fn squared(x: &Values, t: &Values, share: f32) -> Rows {
    let difference = sub(x, t);
    Rows::each(&mul(&difference, &difference), times(&difference, share))
}

pub(super) fn absolute(x: &Values, t: &Values, share: f32) -> Rows {
    let difference = sub(x, t);
    Rows::each(&abs(&difference), times(&side(&difference), share))
}

pub(super) fn huber(x: &Values, t: &Values, delta: f32, share: f32) -> Rows {
    let difference = sub(x, t);
    let size = abs(&difference);
    let far = above(&size, delta);
    let linear = times(&plus(&size, -0.5 * delta), delta);
    let square = times(&mul(&difference, &difference), 0.5);
    let slopes = choose(&far, &times(&side(&difference), delta), &difference);
    Rows::each(&choose(&far, &linear, &square), times(&slopes, share))
}

/// -1, 0 or 1.
fn side(x: &Values) -> Values {
    let signs = sub(&full(x, 1.0), &times(&sign(x), 2.0));
    choose(&eq(&abs(x), &full(x, 0.0), false), x, &signs)
}
