//! What keeps a command from being done, each with what to do about it.

use std::{io, path::PathBuf};

use cyxwiz_protocol::recording::{PlayError, RecordingError};
use cyxwiz_sim::ScenarioError;

#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    #[error("there is no scenario '{0}'")]
    NoScenario(String),
    #[error("cannot {what} '{}'", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("--record writes its recordings into --out DIR, which is missing")]
    RecordNowhere,
    #[error("there is no host {host}: this run has hosts 0 to {last}")]
    NoHost { host: u32, last: u32 },
    #[error("'{}' holds {found} bytes, and a key has 32", path.display())]
    Key { path: PathBuf, found: usize },
    #[error("'{}': {source}", path.display())]
    Recording {
        path: PathBuf,
        #[source]
        source: RecordingError,
    },
    #[error("'{}' cannot be played", path.display())]
    Play {
        path: PathBuf,
        #[source]
        source: PlayError,
    },
    #[error("--until {0}")]
    Until(#[from] cyxwiz_sim::scenario::notation::DurationError),
    #[error("nothing to compare: {0}")]
    Compare(&'static str),
    #[error("'--set {0}' gives several values; they make a sweep or a comparison, not a run")]
    ManyValues(String),
    #[error("the results cannot be written down")]
    Csv(#[from] csv::Error),
}

impl Problem {
    /// Tells it on stderr, with its causes and what to do.
    pub(super) fn tell(&self) {
        eprintln!("error: {self}");
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            // Some messages hold their source already.
            let text = error.to_string();
            if !self.to_string().contains(&text) {
                eprintln!("  because: {text}");
            }
            cause = error.source();
        }
        if let Some(hint) = self.hint() {
            eprintln!("  hint: {hint}");
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoScenario(_) => {
                Some("`cyxwiz-sim list` names the scenarios; a file's name ends in .toml")
            }
            Self::File { what: "write" | "make", .. } => {
                Some("give a directory that you may write to, as in --out out")
            }
            Self::RecordNowhere => Some("add --out out"),
            Self::NoHost { .. } => {
                Some("coordinators come first, then submitters, then workers; see peers.csv")
            }
            Self::Key { .. } | Self::Play { source: PlayError::Key { .. }, .. } => {
                Some("give the file `key` of the data directory of the node that was recorded")
            }
            Self::Play { source: PlayError::First(_), .. } => {
                Some("the recording is of another version; play it with the one that made it")
            }
            Self::Compare(_) => {
                Some("name two policies, two scenarios, or one scenario and --set KEY=ONE,OTHER")
            }
            Self::ManyValues(_) => Some("use `cyxwiz-sim sweep` for several values"),
            Self::Scenario(_)
            | Self::File { .. }
            | Self::Recording { .. }
            | Self::Play { .. }
            | Self::Until(_)
            | Self::Csv(_) => None,
        }
    }
}
