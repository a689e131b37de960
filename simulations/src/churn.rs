//! Hosts that come and go as people's machines do: sessions from a law with a long tail, or the
//! moments of a trace, which is lines of `t_ms,host,up|down`.

use std::{str::FromStr, time::Duration};

use cyxwiz_protocol::Rng;
use serde::{Deserialize, Serialize};

use crate::{chance::Span, host::Part, laws};

/// How long workers stay and are away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SessionLaw {
    /// They stay, but for crashes.
    #[default]
    Endless,
    /// 63 % of the sessions are shorter than the scale; measured networks have shapes of 550 to
    /// 800 thousandths.
    Weibull { scale_ms: u64, shape_permille: u32 },
    /// Half of the sessions are shorter than the median.
    Lognormal { median_ms: u64, sigma_permille: u32 },
}

/// Workers that come and go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Churn {
    pub sessions: SessionLaw,
    /// How long a worker is away between two sessions.
    pub away: Span,
    /// Moments at which named hosts go down and come up, counted from the first job.
    pub trace: ChurnTrace,
}

impl SessionLaw {
    /// One session; none when they are endless.
    pub(crate) fn draw(self, rng: &mut Rng) -> Option<Duration> {
        match self {
            Self::Endless => None,
            Self::Weibull { scale_ms, shape_permille } => {
                Some(laws::weibull(rng, Duration::from_millis(scale_ms), shape_permille))
            }
            Self::Lognormal { median_ms, sigma_permille } => {
                Some(laws::lognormal(rng, Duration::from_millis(median_ms), sigma_permille))
            }
        }
    }
}

/// A churn trace, read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChurnTrace {
    steps: Vec<Step>,
}

/// One line of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) at: Duration,
    pub(crate) host: Named,
    pub(crate) up: bool,
}

/// A host as people name it: `worker-7` is the eighth worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Named {
    pub(crate) part: Part,
    pub(crate) index: u32,
}

/// A churn trace cannot be read. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChurnTraceError {
    #[error("line {line}: expected 't_ms,host,up|down' and found '{text}'")]
    Columns { line: usize, text: String },
    #[error("line {line}: '{text}' is not a time in whole milliseconds")]
    Time { line: usize, text: String },
    #[error("line {line}: time goes back to {at_ms} ms from {before_ms} ms")]
    Order { line: usize, at_ms: u64, before_ms: u64 },
    #[error("line {line}: '{text}' is no host; write coordinator-N, worker-N or submitter-N")]
    Host { line: usize, text: String },
    #[error("line {line}: '{text}' is neither 'up' nor 'down'")]
    Direction { line: usize, text: String },
    #[error("line {line}: a trace may have at most {limit} steps")]
    TooLong { line: usize, limit: usize },
}

/// Steps of one trace: as many as a day of a few thousand hosts has.
const STEPS: usize = 1_000_000;
/// The line that may come first.
const HEADING: &str = "t_ms,host,state";

impl ChurnTrace {
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// A host that is named and does not exist, where there are so many of each part.
    pub(crate) fn stranger(&self, hosts: impl Fn(Part) -> u32) -> Option<String> {
        let unknown = self.steps.iter().find(|step| step.host.index >= hosts(step.host.part))?;
        let Named { part, index } = unknown.host;
        Some(format!("{}-{index}", name_of(part)))
    }
}

impl FromStr for ChurnTrace {
    type Err = ChurnTraceError;

    /// Empty lines, lines that begin with `#` and a first line of column names are passed over.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut steps: Vec<Step> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            let is_heading = steps.is_empty() && text == HEADING;
            if text.is_empty() || text.starts_with('#') || is_heading {
                continue;
            }
            if steps.len() == STEPS {
                return Err(ChurnTraceError::TooLong { line, limit: STEPS });
            }
            let step = step(line, text)?;
            if let Some(before) = steps.last().filter(|before| before.at > step.at) {
                let (at_ms, before_ms) = (millis(step.at), millis(before.at));
                return Err(ChurnTraceError::Order { line, at_ms, before_ms });
            }
            steps.push(step);
        }
        Ok(Self { steps })
    }
}

impl TryFrom<String> for ChurnTrace {
    type Error = ChurnTraceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ChurnTrace> for String {
    fn from(trace: ChurnTrace) -> Self {
        let line = |step: &Step| {
            let Named { part, index } = step.host;
            let state = if step.up { "up" } else { "down" };
            format!("{},{}-{index},{state}\n", millis(step.at), name_of(part))
        };
        trace.steps.iter().map(line).collect()
    }
}

const fn name_of(part: Part) -> &'static str {
    match part {
        Part::Coordinator => "coordinator",
        Part::Worker => "worker",
        Part::Submitter => "submitter",
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn step(line: usize, text: &str) -> Result<Step, ChurnTraceError> {
    let columns: Vec<&str> = text.split(',').map(str::trim).collect();
    let &[at, host, direction] = columns.as_slice() else {
        return Err(ChurnTraceError::Columns { line, text: clip(text) });
    };
    let at = at.parse().map_err(|_bad_digit| ChurnTraceError::Time { line, text: clip(at) })?;
    let named = named(host).ok_or_else(|| ChurnTraceError::Host { line, text: clip(host) })?;
    let up = match direction {
        "up" => true,
        "down" => false,
        other => return Err(ChurnTraceError::Direction { line, text: clip(other) }),
    };
    Ok(Step { at: Duration::from_millis(at), host: named, up })
}

fn named(text: &str) -> Option<Named> {
    let (part, index) = text.split_once('-')?;
    let parts = [Part::Coordinator, Part::Worker, Part::Submitter];
    let part = parts.into_iter().find(|known| name_of(*known) == part)?;
    Some(Named { part, index: index.parse().ok()? })
}

/// Enough of a line to find it by.
fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_and_written_alike() {
        let text = "t_ms,host,state\n# two hosts\n0,worker-3,down\n\n1500, coordinator-0 ,up\n";
        let trace: ChurnTrace = text.parse().unwrap();
        assert_eq!(trace.steps().len(), 2);
        assert_eq!(trace.steps()[1].at, Duration::from_millis(1_500));
        assert_eq!(trace.steps()[0].host, Named { part: Part::Worker, index: 3 });
        assert_eq!(String::from(trace.clone()).parse(), Ok(trace));
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, expected) in [
            ("0,worker-1,up\nx,worker-1,up", "line 2: 'x' is not a time in whole milliseconds"),
            ("0,worker-1", "line 1: expected 't_ms,host,up|down' and found '0,worker-1'"),
            ("\n\n5,printer-1,up", "line 3: 'printer-1' is no host"),
            ("5,worker-1,sideways", "line 1: 'sideways' is neither 'up' nor 'down'"),
            ("5,worker-1,up\n4,worker-1,down", "line 2: time goes back to 4 ms from 5 ms"),
        ] {
            let error = text.parse::<ChurnTrace>().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
