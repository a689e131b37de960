//! The program `cyxwiz`; all of it is in [`cyxwiz_node::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cyxwiz_node::cli::main()
}
