//! Jobs that begin with a trained model, through the child process's body as a node runs it: what
//! they leave is what the model says, wherever it is looked at from.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod apply;
mod evaluate;
mod fine_tune;
mod formats;
mod hostile;
mod serving;
