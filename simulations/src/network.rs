//! The ground of the links: how long a frame is under way, whether it comes, and how often.
//! Reordering follows from latency; what else goes wrong on the way is `links`' business.

use serde::{Deserialize, Serialize};

use crate::chance::Span;

/// What links do to frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkModel {
    pub latency: Span,
    /// Frames of a thousand that never come.
    #[serde(default)]
    pub loss_permille: u32,
    /// Frames of a thousand that come twice.
    #[serde(default)]
    pub duplicate_permille: u32,
}

impl Default for NetworkModel {
    fn default() -> Self {
        Self::reliable(Span::millis(1, 10))
    }
}

impl NetworkModel {
    /// Links that lose nothing.
    #[must_use]
    pub const fn reliable(latency: Span) -> Self {
        Self { latency, loss_permille: 0, duplicate_permille: 0 }
    }
}
