//! Laws of chance that are not even: sessions and latencies of real networks have long tails.
//! They are computed with `libm`, so that every machine draws the same numbers.

use std::time::Duration;

use cyxwiz_protocol::Rng;

/// No draw is longer: a tail that outlasts every run is as good as endless.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// Half of the draws are below `median`; `sigma_permille` thousandths are the deviation of the
/// logarithm.
pub(crate) fn lognormal(rng: &mut Rng, median: Duration, sigma_permille: u32) -> Duration {
    let factor = libm::exp(f64::from(sigma_permille) / 1_000.0 * normal(rng));
    times(median, factor)
}

/// The law of Weibull: 63 % of the draws are below `scale`; a shape below a thousand thousandths
/// means that whoever has stayed long will stay longer.
pub(crate) fn weibull(rng: &mut Rng, scale: Duration, shape_permille: u32) -> Duration {
    let shape = f64::from(shape_permille.max(1)) / 1_000.0;
    times(scale, libm::pow(-libm::log(unit(rng)), 1.0 / shape))
}

/// By the method of Box and Muller.
fn normal(rng: &mut Rng) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(unit(rng)));
    radius * libm::cos(std::f64::consts::TAU * unit(rng))
}

/// Above 0, at most 1.
fn unit(rng: &mut Rng) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "the 53 bits that a float holds")]
    let drawn = ((rng.number() >> 11) + 1) as f64;
    drawn / 9_007_199_254_740_992.0
}

fn times(duration: Duration, factor: f64) -> Duration {
    let seconds = (duration.as_secs_f64() * factor).min(LONGEST.as_secs_f64());
    Duration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share_below(limit: Duration, mut draw: impl FnMut(&mut Rng) -> Duration) -> u32 {
        let mut rng = Rng::new([7; 32]);
        let below = (0..10_000).filter(|_| draw(&mut rng) < limit).count();
        u32::try_from(below / 100).unwrap()
    }

    #[test]
    fn half_of_a_lognormal_is_below_its_median_and_its_tail_is_long() {
        let median = Duration::from_millis(50);
        let draw = |rng: &mut Rng| lognormal(rng, median, 700);
        assert!((48..=52).contains(&share_below(median, draw)));
        // exp(0.7 * 1.645) = 3.16 at the 95th part of a hundred.
        assert!((93..=97).contains(&share_below(median * 316 / 100, draw)));
    }

    #[test]
    fn sessions_of_weibull_have_many_short_and_few_long() {
        let scale = Duration::from_secs(60);
        let draw = |rng: &mut Rng| weibull(rng, scale, 600);
        assert!((61..=65).contains(&share_below(scale, draw)));
        assert!((18..=26).contains(&share_below(scale / 10, draw)));
        assert!((85..=92).contains(&share_below(scale * 4, draw)));
    }
}
