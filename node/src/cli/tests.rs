//! The command line as people and scripts meet it: what it takes, what it says, how it exits.

mod asking;
mod fetching;
mod parsing;
pub(super) mod samples;
mod stub;
mod words;
