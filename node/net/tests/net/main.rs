//! Peers in one process on loopback, seen from outside. Ports are the system's choice; every
//! wait is for a condition, with a deadline that says what was missing.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one event of many")]

mod hostile;
mod joining;
mod mesh;
mod peer;
mod streams;
