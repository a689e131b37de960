//! Why a command did not do what it was asked, as people and scripts see it: a sentence, a hint,
//! and an exit code. Only the command line has hints and exit codes; the errors below it say what
//! happened.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use crate::api::view::{ErrorKind, ErrorView};

/// What sort of failure it is, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The reader of standard output is gone; nothing is printed.
    BrokenPipe,
    /// Anything that has no code of its own.
    Failure,
    Usage,
    /// No node or no coordinator answers.
    Unreachable,
    /// The coordinator has not confirmed it yet.
    Unconfirmed,
    JobFailed,
    NotFinished,
    NotFound,
    Cancelled,
    NobodyCould,
    Interrupted,
}

impl Kind {
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::BrokenPipe => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Unreachable | Self::Unconfirmed => 3,
            Self::JobFailed => 100,
            Self::NotFinished => 101,
            Self::NotFound => 102,
            Self::Cancelled => 103,
            Self::NobodyCould => 104,
            Self::Interrupted => 130,
        }
    }
}

impl From<ErrorKind> for Kind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Unreachable => Self::Unreachable,
            ErrorKind::Unconfirmed => Self::Unconfirmed,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::NotCompleted => Self::JobFailed,
            ErrorKind::NotFinished => Self::NotFinished,
            ErrorKind::NobodyCould => Self::NobodyCould,
            ErrorKind::Forbidden | ErrorKind::Refused | ErrorKind::Busy | ErrorKind::Internal => {
                Self::Failure
            }
        }
    }
}

/// A command's failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandError {
    pub kind: Kind,
    /// What went wrong and where: a lower-case sentence without its full stop.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What lies behind it, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

impl CommandError {
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, causes: Vec::new() }
    }

    #[must_use]
    pub fn failure(message: impl Into<String>) -> Self {
        Self::new(Kind::Failure, message)
    }

    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds `source` and what lies behind it.
    #[must_use]
    pub fn because(mut self, source: &dyn Error) -> Self {
        let mut next = Some(source);
        while let Some(error) = next.filter(|_| self.causes.len() < MAX_CAUSES) {
            self.causes.push(error.to_string());
            next = error.source();
        }
        self
    }

    /// Writes it to standard error, as one JSON document where `json` asks for that.
    pub fn print(&self, json: bool) {
        if self.kind == Kind::BrokenPipe {
            return;
        }
        let text = if json { self.to_json() } else { self.to_string() };
        // Nobody is left to tell when standard error is closed as well.
        writeln!(io::stderr().lock(), "{text}").ok();
    }

    pub(super) fn to_json(&self) -> String {
        let body = serde_json::json!({ "error": self, "exit_code": self.kind.exit_code() });
        body.to_string()
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever interrupts knows that it is no error.
        let title = if self.kind == Kind::Interrupted { "" } else { "error: " };
        write!(f, "{title}{}", self.message)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<ErrorView> for CommandError {
    fn from(view: ErrorView) -> Self {
        Self { kind: view.kind.into(), message: view.message, hint: view.hint, causes: Vec::new() }
    }
}

/// Errors of writing to standard output.
impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Kind::BrokenPipe, "the reader is gone");
        }
        Self::failure("cannot write to standard output").because(&error)
    }
}

/// Chains are short; a cycle of sources must not hang the program.
const MAX_CAUSES: usize = 8;
