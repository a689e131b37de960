//! `cyxwiz-sim`: runs scenarios of the simulated network, one seed or many.
//!
//! Figures go to stdout, words to stderr. A broken promise ends with exit code 1 and the command
//! that shows it again.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
