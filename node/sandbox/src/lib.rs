//! What a process that trains for strangers may do, and the walls that keep it there.
//!
//! A [`Policy`] says what a process needs; [`Policy::prepare`] makes a [`Cage`] of it, and
//! [`Cage::enter`] closes the cage around the calling process, for good, between fork and exec. The
//! program that was started calls [`seal`] before it reads anything that a stranger wrote.
//!
//! # Why two halves
//! All but one wall stand before the program is there, so that a planted program is held as well
//! as our own. The one exception is starting programs: the cage must let one start. It lets only
//! that one (and the loader its file names) start, as often as it likes and always inside; `seal`
//! takes that away too, checks from inside that the walls stand, and hides the process's memory.
//!
//! # Layers
//! Every [`Layer`] is its own line of defence and is reported with the reason when it is missing.
//! [`Level`] sums them up: strangers' jobs need [`Level::Whole`]. No layer needs privileges, and
//! none trusts that there are none: a superuser's process loses its capabilities first.
//!
//! Never is a missing layer passed over in silence: [`Strength::Whole`] refuses to start, and
//! [`Strength::WhatThereIs`] reports. What the system cannot count for one process (all memory,
//! threads, files together) is left to whoever supervises it.
//!
//! Residual risks: the kernel is shared, and with [`Policy::gpu`] its GPU driver too; names and
//! sizes of files (not their contents) can be asked for by path.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;
mod policy;
mod report;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{Cage, apply, probe, seal};
#[cfg(target_os = "linux")]
pub use linux::{Cage, apply, probe, seal};
pub use policy::{ApplyError, Limits, Policy, PrepareError, SealError, Strength};
pub use report::{Finding, Layer, Level, Report, State};
