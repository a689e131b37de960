//! The model of the links: how long a frame is under way, whether it comes, and how often.
//! Reordering follows from latency; who is linked with whom is the world's business.

use std::time::Duration;

use cyxwiz_protocol::Rng;
use serde::Serialize;

use crate::chance::{Span, happens};

/// What links do to frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkModel {
    pub latency: Span,
    /// Frames of a thousand that never come.
    pub loss_permille: u32,
    /// Frames of a thousand that come twice.
    pub duplicate_permille: u32,
}

impl NetworkModel {
    /// Links that lose nothing.
    #[must_use]
    pub const fn reliable(latency: Span) -> Self {
        Self { latency, loss_permille: 0, duplicate_permille: 0 }
    }

    pub(crate) fn latency(&self, rng: &mut Rng) -> Duration {
        self.latency.draw(rng)
    }

    /// When the copies of one frame arrive, counted from now: none, one, or two.
    pub(crate) fn carry(&self, rng: &mut Rng) -> impl Iterator<Item = Duration> + use<> {
        let first = (!happens(rng, self.loss_permille)).then(|| self.latency(rng));
        let second = happens(rng, self.duplicate_permille).then(|| self.latency(rng) * 2);
        first.into_iter().chain(second)
    }
}
