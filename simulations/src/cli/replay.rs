//! `cyxwiz-sim replay`: a recorded life, lived again by the same code.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use cyxwiz_protocol::{Instant, recording::Recording};
use cyxwiz_sim::{Life, Lived, scenario::notation};

use super::{Problem, attempt::words, say};

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// What `cyxwiz node run --record` or `cyxwiz-sim run --record` wrote
    file: PathBuf,
    /// The 32 bytes of the peer's secret
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Show every input and what followed, not only the sums
    #[arg(long)]
    events: bool,
    /// Only up to this moment of the peer's life, as in 30s
    #[arg(long, value_name = "DURATION")]
    until: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    output: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    #[default]
    Table,
    /// With --events one document for each input, then one with the sums
    Json,
}

impl Replay {
    pub(super) fn main(self) -> Result<ExitCode, Problem> {
        let bytes = read(&self.file)?;
        let key = read(&self.key)?;
        let found = key.len();
        let key: [u8; 32] =
            key.try_into().map_err(|_| Problem::Key { path: self.key.clone(), found })?;
        let recording = Recording::read(&bytes)
            .map_err(|source| Problem::Recording { path: self.file.clone(), source })?;
        let until = self.until.as_deref().map(notation::duration).transpose()?;
        let until = until.map(|until| Instant::START + until);
        let about = Life::about(&recording);
        let (mut life, first) = Life::begin(recording, key)
            .map_err(|source| Problem::Play { path: self.file.clone(), source })?;
        if self.output == Form::Table {
            say(&format!("{about}\n"));
            if self.events {
                say(&format!("{first}\n"));
            }
        }
        loop {
            let step = catch_unwind(AssertUnwindSafe(|| life.step(until)));
            match step {
                Ok(Ok(Some(lived))) => self.show(&lived),
                Ok(Ok(None)) => break,
                Ok(Err(damage)) => {
                    eprintln!("the recording is damaged {damage}; this is as far as it goes");
                    break;
                }
                Err(panic) => {
                    eprintln!("the peer panics at {}", life.last());
                    eprintln!("  {}", words(panic.as_ref()));
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        match self.output {
            Form::Table => say(&format!("{}\n", life.sums())),
            Form::Json => say(&format!("{}\n", life.sums().json())),
        }
        match life.difference() {
            Some(difference) => {
                eprintln!("this code does something else than what was recorded: {difference}");
                Ok(ExitCode::FAILURE)
            }
            None => Ok(ExitCode::SUCCESS),
        }
    }

    fn show(&self, lived: &Lived) {
        if !self.events {
            return;
        }
        match self.output {
            Form::Table => say(&format!("{lived}\n")),
            Form::Json => say(&format!("{}\n", lived.json())),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(path).map_err(|source| Problem::File { what: "read", path: path.to_owned(), source })
}
