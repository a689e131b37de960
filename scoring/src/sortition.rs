//! Who bids at all: a lottery that keeps the number of bids near a target in a network of any size.
//!
//! The hash is the caller's, of job, attempt and worker, so that the lot falls anew each time and
//! everyone can check it.

/// The threshold under which about `expected_bids` of `eligible` workers fall. All of them when
/// that many are wanted, or when it is not known that there are any.
pub fn threshold(expected_bids: u32, eligible: u32) -> u64 {
    if expected_bids >= eligible {
        return EVERYONE;
    }
    let share = (u128::from(expected_bids) << 64) / u128::from(eligible);
    u64::try_from(share).expect("fewer than all is less than the whole range")
}

/// The threshold after an auction without bids: four times as many, and so in at most nine rounds
/// everyone, however wrong the first estimate was.
pub fn widen(threshold: u64) -> u64 {
    threshold.saturating_mul(4).max(SMALLEST_WIDENED)
}

/// Whether the worker of this hash bids.
pub fn selected(hash: u64, threshold: u64) -> bool {
    hash < threshold || threshold == EVERYONE
}

const EVERYONE: u64 = u64::MAX;

/// One worker in 65536. Below it a dry auction means a wrong estimate, not bad luck.
const SMALLEST_WIDENED: u64 = 1 << 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_networks_bid_in_full() {
        for (expected, eligible) in [(16, 16), (16, 3), (16, 0), (0, 0), (u32::MAX, 1)] {
            assert!(selected(u64::MAX, threshold(expected, eligible)), "{expected}/{eligible}");
        }
        assert!(!selected(0, threshold(0, 10)));
    }

    #[test]
    fn large_networks_bid_near_the_target() {
        let eligible = 10_000_u32;
        let threshold = threshold(16, eligible);
        // Evenly spread hashes: the share is exact up to one bidder.
        let step = u64::MAX / u64::from(eligible);
        let bids = (0..u64::from(eligible)).filter(|i| selected(i * step, threshold)).count();
        assert!((16..=17).contains(&bids), "{bids} bids");
    }

    #[test]
    fn every_dry_auction_ends_with_everyone() {
        for start in [0, 1, threshold(16, u32::MAX), threshold(16, 100_000), u64::MAX] {
            let mut widened = start;
            for _ in 0..9 {
                assert!(widen(widened) >= widened);
                widened = widen(widened);
            }
            assert!(selected(u64::MAX, widened), "from {start}");
        }
    }
}
