//! The bootstrap peer as a program: options in, announcements on standard output, words on
//! standard error, until it is told to stop.

use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use cyxwiz_bootstrap::{Options, printer, run};
use tracing_subscriber::EnvFilter;

/// The well-known peer through which others find a CyxWiz network.
#[derive(Debug, Parser)]
#[command(name = "cyxwiz-bootstrap", version)]
struct Program {
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Program { options } = Program::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new("warn,libp2p_kad=error,cyxwiz_bootstrap=info,cyxwiz_net=info")
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
    let json = options.json;
    match run(options, stopped(), printer(json)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut words = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                words.push_str(&format!(": {inner}"));
                cause = inner.source();
            }
            eprintln!("error: {words}");
            eprintln!("hint: {}", error.hint());
            ExitCode::FAILURE
        }
    }
}

/// Ready when the program is interrupted or told to end.
async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut end = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = end.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
    tracing::info!("stopping");
}
