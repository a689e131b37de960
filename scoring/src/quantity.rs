//! The one unit in which everything is compared: thousandths of a whole.
//!
//! What a share is a share of is left to whoever makes it.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A share of a whole in thousandths, never above 1000.
///
/// Constructors saturate; a value decoded from bytes is refused when it is out of range, so that
/// one share has one encoding.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u16")]
pub struct Permille(u16);

impl Permille {
    /// Nothing of it.
    pub const ZERO: Self = Self(0);
    /// All of it.
    pub const ONE: Self = Self(1000);

    /// `thousandths` of a whole, at most the whole.
    pub const fn new(thousandths: u16) -> Self {
        if thousandths > 1000 { Self::ONE } else { Self(thousandths) }
    }

    /// The part `n / d`, rounded down and at most the whole; the whole when `d` is 0, because
    /// any amount is enough where nothing is asked.
    pub fn ratio(n: u64, d: u64) -> Self {
        if n >= d {
            return Self::ONE;
        }
        let thousandths = u128::from(n) * 1000 / u128::from(d);
        Self(u16::try_from(thousandths).expect("n < d keeps the quotient below 1000"))
    }

    /// The share in thousandths, 0 to 1000.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// What is missing to the whole.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self(1000 - self.0)
    }
}

/// The share as a decimal fraction, such as `0.553`.
impl fmt::Display for Permille {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

impl TryFrom<u16> for Permille {
    type Error = PermilleOutOfRange;

    fn try_from(thousandths: u16) -> Result<Self, Self::Error> {
        if thousandths > 1000 {
            return Err(PermilleOutOfRange { thousandths });
        }
        Ok(Self(thousandths))
    }
}

/// A share of more than the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a share of {thousandths} thousandths is out of range, give 0 to 1000")]
pub struct PermilleOutOfRange {
    /// The value given.
    pub thousandths: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_rounds_down_and_saturates() {
        for (n, d, expected) in [
            (0, 3, 0),
            (1, 3, 333),
            (2, 3, 666),
            (3, 3, 1000),
            (4, 3, 1000),
            (0, 0, 1000),
            (7, 0, 1000),
            (u64::MAX - 1, u64::MAX, 999),
            (u64::MAX, u64::MAX, 1000),
        ] {
            assert_eq!(Permille::ratio(n, d).get(), expected, "{n}/{d}");
        }
    }

    #[test]
    fn constructor_saturates_where_conversion_refuses() {
        assert_eq!(Permille::new(1001), Permille::ONE);
        assert_eq!(Permille::try_from(1000), Ok(Permille::ONE));
        let refusal = Permille::try_from(1001).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "a share of 1001 thousandths is out of range, give 0 to 1000"
        );
    }

    #[test]
    fn shown_as_a_decimal_fraction() {
        assert_eq!(Permille::new(55).to_string(), "0.055");
        assert_eq!(Permille::ONE.to_string(), "1.000");
        assert_eq!(Permille::new(250).complement().to_string(), "0.750");
    }
}
