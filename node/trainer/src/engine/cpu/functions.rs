//! Exponential, hyperbolic tangent and normal distribution, without branches, so that a loop over
//! them works on as many values at once as there are lanes. Plain sums and products in one order:
//! the same bits on every machine. Polynomials are fitted to the least largest error.

/// `e^x`, within 2 units in the last place; 0 below the smallest normal number.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Added and taken away again, it leaves a whole number.
    const WHOLE: f32 = 12_582_912.0;
    /// `ln 2` as one number of few digits, whose products are exact, and the rest of it.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const SMALLEST: f32 = -87.33;
    let within = x.clamp(SMALLEST, 89.0);
    let shifted = within * std::f32::consts::LOG2_E + WHOLE;
    let whole = shifted - WHOLE;
    let rest = within - whole * LN_2[0] - whole * LN_2[1];
    let terms = [0.001_381_461, 0.008_368_717, 0.041_668_39, 0.166_665_2, 0.499_999_93];
    let value = polynomial(rest, terms) * (rest * rest) + rest + 1.0;
    // In two steps, as the largest power alone would not fit.
    let power = shifted.to_bits().wrapping_sub(WHOLE.to_bits()).cast_signed();
    let half = power >> 1;
    let two_to = |power: i32| f32::from_bits(((power + 127) << 23).cast_unsigned());
    let scaled = value * two_to(half) * two_to(power - half);
    if x < SMALLEST { 0.0 } else { scaled }
}

#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Within 2 units in the last place of 1.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let terms = [-0.005_717_031, 0.020_650_573, -0.053_743_493, 0.133_314_91, -0.333_332_84];
    let small = x + x * square * polynomial(square, terms);
    let large = (1.0 - 2.0 / (exp(2.0 * size) + 1.0)).copysign(x);
    if size < 0.625 { small } else { large }
}

/// The normal distribution's share below `x`, within 2 units in the last place of 1.
#[inline(always)]
pub(super) fn normal_below(x: f32) -> f32 {
    const SMALL: f32 = 0.93;
    /// From here on there is less than `1e-8` left.
    const LARGE: f32 = 4.0;
    let scaled = x * std::f32::consts::FRAC_1_SQRT_2;
    let (size, square) = (scaled.abs(), scaled * scaled);
    let terms =
        [-5.976_892_4e-4, 0.004_990_98, -0.026_765_567, 0.112_818_03, -0.376_124_94, 0.128_379_15];
    let middle = 0.5 + 0.5 * (scaled + scaled * polynomial(square, terms));
    let terms = [
        -2.127_877_3e-5,
        4.365_751e-4,
        -0.004_181_242,
        0.025_146_08,
        -0.108_321_07,
        -0.633_309_9,
        -1.129_533_2,
        1.784_525_1e-4,
    ];
    let beyond = 0.5 * exp(polynomial(size, terms));
    let beyond = if size > LARGE { 0.0 } else { beyond };
    let outer = if x < 0.0 { beyond } else { 1.0 - beyond };
    // Not the other way round: what is no number stays so.
    if size > SMALL { outer } else { middle }
}

/// From the highest power down.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, terms: [f32; N]) -> f32 {
    terms.into_iter().fold(0.0, |sum, term| sum * x + term)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error over `from..to`, relative to what `unit` says.
    fn worst(
        (from, to): (f32, f32),
        function: impl Fn(f32) -> f32,
        exact: impl Fn(f64) -> f64,
        unit: impl Fn(f64) -> f64,
    ) -> f64 {
        const STEPS: u32 = 400_000;
        let points = (0..=STEPS).map(|step| from + (to - from) * (step as f32 / STEPS as f32));
        let error = |x: f32| {
            let exact = exact(f64::from(x));
            (f64::from(function(x)) - exact).abs() / unit(exact)
        };
        points.map(error).fold(0.0, f64::max)
    }

    const ULP: f64 = f32::EPSILON as f64;

    #[test]
    fn functions_are_as_exact_as_they_say() {
        let found = worst((-87.3, 88.7), exp, libm::exp, |exact| exact);
        assert!(found <= 2.0 * ULP, "exp: {found:e}");
        let found = worst((-12.0, 12.0), tanh, libm::tanh, |_| 1.0);
        assert!(found <= 2.0 * ULP, "tanh: {found:e}");
        let found = worst((-1.0, 1.0), tanh, libm::tanh, |exact| exact.abs().max(1e-30));
        assert!(found <= 4.0 * ULP, "tanh near 0: {found:e}");
        let below = |x: f64| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
        let found = worst((-9.0, 9.0), normal_below, below, |_| 1.0);
        assert!(found <= 2.0 * ULP, "normal: {found:e}");
        let found = worst((-30.0, 30.0), sigmoid, |x| 1.0 / (1.0 + libm::exp(-x)), |_| 1.0);
        assert!(found <= 2.0 * ULP, "sigmoid: {found:e}");
    }

    #[test]
    fn ends_are_what_they_should_be() {
        assert_eq!([exp(0.0), exp(-100.0), exp(f32::NEG_INFINITY)], [1.0, 0.0, 0.0]);
        assert_eq!([exp(100.0), exp(f32::INFINITY)], [f32::INFINITY; 2]);
        assert_eq!([tanh(0.0), tanh(100.0), tanh(f32::NEG_INFINITY)], [0.0, 1.0, -1.0]);
        assert_eq!([normal_below(0.0), normal_below(1e30), normal_below(-1e30)], [0.5, 1.0, 0.0]);
        assert_eq!([sigmoid(1e30), sigmoid(-1e30)], [1.0, 0.0]);
        for function in [exp, tanh, normal_below, sigmoid] {
            assert!(function(f32::NAN).is_nan());
        }
    }
}
