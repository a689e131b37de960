//! Lengths along height and width, as one number or two, and paddings.

use serde::{Deserialize, Serialize};

/// The same along height and width, or one for each: `3` or `[3, 5]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a list of height and width")]
pub enum Pair {
    Both(u32),
    Each([u32; 2]),
}

impl Pair {
    /// Along height and width.
    pub fn each(self) -> [usize; 2] {
        match self {
            Self::Both(length) => [length as usize; 2],
            Self::Each(lengths) => lengths.map(|length| length as usize),
        }
    }
}

/// Zeros around a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number, a list of height and width, or \"same\"")]
pub enum Padding {
    /// On either side.
    Zeros(Pair),
    Named(NamedPadding),
}

/// A padding that depends on the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedPadding {
    /// As much as keeps height and width; of an odd number the larger half is below and right.
    Same,
}

impl Padding {
    /// No zeros.
    pub(crate) fn none() -> Self {
        Self::Zeros(Pair::Both(0))
    }
}

pub(super) fn one() -> Pair {
    Pair::Both(1)
}

pub(super) fn none() -> Pair {
    Pair::Both(0)
}

pub(super) fn one_group() -> u32 {
    1
}

pub(super) fn one_axis() -> u32 {
    1
}

pub(super) fn yes() -> bool {
    true
}

/// How far a running mean moves towards that of a batch.
pub(super) fn momentum() -> f64 {
    0.1
}

/// What keeps a norm from dividing by zero.
pub(super) fn norm_epsilon() -> f64 {
    1e-5
}
