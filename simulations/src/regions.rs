//! Where hosts are: ten regions of the world and how long a signal takes between them and back.
//! The round trips are rounded from what cloud providers and their users publish between the data
//! centres of these places; they stand for orders of magnitude, not for one provider.

use std::time::Duration;

/// Regions of the table.
pub(crate) const COUNT: usize = 10;

/// Round trips in milliseconds; rows and columns are Virginia, Oregon, São Paulo,
/// Ireland, Frankfurt, Cape Town, Mumbai, Singapore, Tokyo and Sydney.
#[rustfmt::skip]
const ROUND_TRIP_MS: [[u64; COUNT]; COUNT] = [
    [  2,  65, 115,  68,  90, 225, 190, 215, 150, 200],
    [ 65,   2, 175, 125, 145, 280, 220, 165,  98, 140],
    [115, 175,   2, 178, 203, 335, 300, 325, 255, 310],
    [ 68, 125, 178,   2,  23, 157, 122, 175, 200, 255],
    [ 90, 145, 203,  23,   2, 153, 112, 160, 225, 250],
    [225, 280, 335, 157, 153,   2, 240, 310, 350, 400],
    [190, 220, 300, 122, 112, 240,   2,  60, 125, 150],
    [215, 165, 325, 175, 160, 310,  60,   2,  70,  92],
    [150,  98, 255, 200, 225, 350, 125,  70,   2, 105],
    [200, 140, 310, 255, 250, 400, 150,  92, 105,   2],
];

/// How long a frame is under way from one region to another.
pub(crate) const fn one_way(from: usize, to: usize) -> Duration {
    Duration::from_micros(ROUND_TRIP_MS[from % COUNT][to % COUNT] * 500)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_there_is_as_long_as_the_way_back() {
        for from in 0..COUNT {
            for to in 0..COUNT {
                assert_eq!(one_way(from, to), one_way(to, from), "{from} {to}");
                assert!(from == to || one_way(from, to) > one_way(from, from));
            }
        }
    }
}
