//! Server-sent events (WHATWG HTML, 9.2) as an iterator: only the `data` of each event counts.

use std::fmt;
use std::io::{BufRead, BufReader, Read};

use super::{ONE_VERSION, safe};
use crate::api::view::JobEvent;
use crate::cli::error::{CommandError, Kind};

/// The events of one job, in their order. Ends after the state that is final.
pub struct Events {
    lines: BufReader<Box<dyn Read + Send>>,
    ended: bool,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Events {
    pub(crate) fn new(stream: impl Read + Send + 'static) -> Self {
        Self { lines: BufReader::new(Box::new(stream)), ended: false }
    }

    /// The data of the next event; nothing at the end of the stream. An event that the end cuts
    /// off is no event.
    fn data(&mut self) -> Result<Option<String>, CommandError> {
        let mut data: Option<String> = None;
        let mut size = 0;
        loop {
            let mut line = Vec::new();
            let limit = (MAX_EVENT_BYTES - size) as u64;
            let read = (&mut self.lines).take(limit).read_until(b'\n', &mut line);
            size += read.map_err(|source| lost().because(&source))?;
            if line.pop_if(|last| *last == b'\n').is_none() {
                return match size < MAX_EVENT_BYTES {
                    true => Ok(None),
                    false => Err(CommandError::failure("the node sent an event beyond all bounds")),
                };
            }
            line.pop_if(|last| *last == b'\r');
            let line = String::from_utf8_lossy(&line);
            if line.is_empty() {
                match data.take() {
                    Some(data) => return Ok(Some(data)),
                    None => size = 0,
                }
            } else if let Some(text) = line.strip_prefix("data:") {
                let text = text.strip_prefix(' ').unwrap_or(text);
                match &mut data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(text);
                    }
                    None => data = Some(text.to_owned()),
                }
            }
        }
    }

    fn event(&mut self) -> Result<JobEvent, CommandError> {
        let data = self.data()?.ok_or_else(lost)?;
        safe::from_slice(data.as_bytes()).map_err(|source| {
            CommandError::failure("the node sent an event that this program does not understand")
                .because(&source)
                .hint(ONE_VERSION)
        })
    }
}

impl Iterator for Events {
    type Item = Result<JobEvent, CommandError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let event = self.event();
        self.ended = match &event {
            Ok(JobEvent::State { job }) => job.state.is_final(),
            Ok(JobEvent::Report { .. } | JobEvent::Trouble { .. }) => false,
            Err(_) => true,
        };
        Some(event)
    }
}

/// The stream ended before the job did.
fn lost() -> CommandError {
    CommandError::new(Kind::Unreachable, "the node ended before the job did")
        .hint("the job goes on in the network; start the node again and watch the job again")
}

/// Holds a job with the decisions of all its attempts many times over.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;
