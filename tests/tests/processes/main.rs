//! What a user may rely on, seen from outside: real programs, real files, real signals, loopback.
//! Peers that break the rules have a test program of their own, `hostile`.

mod bad_jobs;
mod burst;
mod chaos;
mod committee;
mod demo;
mod ending;
mod founding;
mod full_disk;
mod journey;
mod kinds;
mod memory;
mod nobody;
mod partition;
mod pausing;
mod power_loss;
mod promises;
mod restart;
mod short_lived;
mod slow_disk;
mod starting;
mod streaming;
