//! Where text goes: data to standard output in the format that was asked for, words to standard
//! error unless they are unwanted. Decides once whether a stream is a terminal and has colours.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::Globals;
use super::error::CommandError;
pub use super::quantity::Ids;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// One document, indented
    Json,
    /// One document a line
    Jsonl,
}

/// The two streams, as the command line asked for them.
#[derive(Clone, Debug)]
pub struct Output {
    pub format: Format,
    pub quiet: bool,
    pub ids: Ids,
}

impl Output {
    #[must_use]
    pub fn new(globals: &Globals) -> Self {
        let ids = if globals.wide { Ids::Whole } else { Ids::Short };
        Self { format: globals.output, quiet: globals.quiet, ids }
    }

    /// Words for a person, on standard error.
    pub fn say(&self, words: &str) {
        if !self.quiet {
            // Words are lost without harm where standard error is closed.
            writeln!(io::stderr().lock(), "{words}").ok();
        }
    }

    /// Text for people, or `view` as it is, on standard output.
    pub fn show<T: Serialize>(
        &self,
        view: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), CommandError> {
        match self.format {
            Format::Table => write_line(&text()),
            Format::Json => write_line(&json(view, true)?),
            Format::Jsonl => write_line(&json(view, false)?),
        }
    }

    /// Like [`Output::show`] for a list, whose items get a line each in `jsonl`.
    pub fn show_all<T: Serialize>(
        &self,
        views: &[T],
        text: impl FnOnce() -> String,
    ) -> Result<(), CommandError> {
        match self.format {
            Format::Table | Format::Json => self.show(&views, text),
            Format::Jsonl => views.iter().try_for_each(|view| write_line(&json(view, false)?)),
        }
    }
}

/// One of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// Whether it takes cursor movements: a terminal that is not a dumb one.
    pub(crate) fn is_live(self) -> bool {
        let terminal = match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
        };
        terminal && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    pub(crate) fn has_colours(self) -> bool {
        match self {
            Self::Stdout => io::stdout().is_terminal() && console::colors_enabled(),
            Self::Stderr => io::stderr().is_terminal() && console::colors_enabled_stderr(),
        }
    }

    /// Columns and rows of the terminal, where it is one.
    pub(crate) fn size(self) -> Option<(usize, usize)> {
        let term = match self {
            Self::Stdout => console::Term::stdout(),
            Self::Stderr => console::Term::stderr(),
        };
        let (rows, columns) = term.size_checked()?;
        Some((usize::from(columns), usize::from(rows)))
    }

    pub(crate) fn write(self, bytes: &[u8]) -> Result<(), CommandError> {
        match self {
            Self::Stdout => write_stdout(bytes),
            Self::Stderr => {
                let mut stderr = io::stderr().lock();
                stderr.write_all(bytes).and_then(|()| stderr.flush()).ok();
                Ok(())
            }
        }
    }

    pub(crate) fn line(self, text: &str) -> Result<(), CommandError> {
        self.write(format!("{text}\n").as_bytes())
    }
}

/// Bytes to standard output, at once.
pub fn write_stdout(bytes: &[u8]) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(())
}

/// One line, or several, to standard output.
pub fn write_line(text: &str) -> Result<(), CommandError> {
    Stream::Stdout.line(text)
}

/// `view` as one line of JSON to standard output.
pub(crate) fn write_json_line<T: Serialize>(view: &T) -> Result<(), CommandError> {
    write_line(&json(view, false)?)
}

fn json<T: Serialize>(view: &T, indented: bool) -> Result<String, CommandError> {
    let text =
        if indented { serde_json::to_string_pretty(view) } else { serde_json::to_string(view) };
    text.map_err(|source| CommandError::failure("cannot write JSON").because(&source))
}
