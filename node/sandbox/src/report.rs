//! Which walls stand, and why others do not.

use std::fmt;

use serde::Serialize;

/// One line of defence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Dies with its parent; inherits no files.
    Process,
    /// Memory, processor time, size of a file, open files, core dumps.
    Limits,
    /// No capabilities, and no way to new privileges.
    Privileges,
    /// Files by a list of what is allowed (Landlock).
    Files,
    /// No network, programs, processes, signals to others, or rarely used parts of the kernel
    /// (seccomp).
    Calls,
    /// TCP refused a second time, by Landlock.
    Ports,
    /// Signals and abstract sockets refused a second time, by Landlock.
    Scopes,
}

/// How a layer stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// In the words of its kind: `Landlock ABI 7`.
    Applied {
        how: String,
    },
    Missing {
        why: String,
    },
}

/// A layer and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub layer: Layer,
    #[serde(flatten)]
    pub state: State,
}

/// All layers, each once, in the order in which they are put up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub findings: Vec<Finding>,
}

/// What the layers amount to. Its number is what a worker tells the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A process like any other.
    Open = 0,
    /// It cannot use more than it was given.
    Limited = 1,
    /// Nor reach the network or other processes; but all files of its user.
    Filtered = 2,
    /// Nor any file but its own.
    Whole = 3,
}

impl Layer {
    pub const ALL: [Self; 7] = [
        Self::Process,
        Self::Limits,
        Self::Privileges,
        Self::Files,
        Self::Calls,
        Self::Ports,
        Self::Scopes,
    ];

    /// Whether strangers' jobs may not run without it. The others refuse for a second time what
    /// one of these refuses already.
    #[must_use]
    pub const fn is_needed(self) -> bool {
        match self {
            Self::Process | Self::Limits | Self::Privileges | Self::Files | Self::Calls => true,
            Self::Ports | Self::Scopes => false,
        }
    }

    /// One word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Limits => "limits",
            Self::Privileges => "privileges",
            Self::Files => "files",
            Self::Calls => "calls",
            Self::Ports => "ports",
            Self::Scopes => "scopes",
        }
    }

    /// What it keeps a job from.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Process => "dies with the node, inherits nothing open",
            Self::Limits => "memory, processor time, file size, open files",
            Self::Privileges => "no capabilities, no way to new ones",
            Self::Files => "no file but its own and the system's libraries",
            Self::Calls => "no network, programs, processes, or signals to others",
            Self::Ports => "TCP refused once more",
            Self::Scopes => "signals and abstract sockets refused once more",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Report {
    #[must_use]
    pub fn stands(&self, layer: Layer) -> bool {
        let stands = |it: &&Finding| matches!(it.state, State::Applied { .. });
        self.findings.iter().filter(stands).any(|it| it.layer == layer)
    }

    /// What the layers that stand amount to.
    #[must_use]
    pub fn level(&self) -> Level {
        let all = |layers: &[Layer]| layers.iter().all(|layer| self.stands(*layer));
        if !all(&[Layer::Process, Layer::Limits]) {
            Level::Open
        } else if !all(&[Layer::Privileges, Layer::Calls]) {
            Level::Limited
        } else if !self.stands(Layer::Files) {
            Level::Filtered
        } else {
            Level::Whole
        }
    }

    /// The needed layers that are missing, and why.
    pub fn missing(&self) -> impl Iterator<Item = (Layer, &str)> {
        self.findings.iter().filter(|it| it.layer.is_needed()).filter_map(|it| match &it.state {
            State::Applied { .. } => None,
            State::Missing { why } => Some((it.layer, why.as_str())),
        })
    }

    #[cfg(any(test, target_os = "linux"))]
    pub(crate) fn applied(&mut self, layer: Layer, how: impl Into<String>) {
        self.findings.push(Finding { layer, state: State::Applied { how: how.into() } });
    }

    pub(crate) fn lacks(&mut self, layer: Layer, why: impl Into<String>) {
        self.findings.push(Finding { layer, state: State::Missing { why: why.into() } });
    }
}

/// Which are missing, on one line; empty when none is.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (layer, why)) in self.missing().enumerate() {
            let comma = if index == 0 { "" } else { "; " };
            write!(f, "{comma}{layer}: {why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(missing: &[Layer]) -> Report {
        let mut report = Report::default();
        for layer in Layer::ALL {
            if missing.contains(&layer) {
                report.lacks(layer, "not here");
            } else {
                report.applied(layer, "yes");
            }
        }
        report
    }

    #[test]
    fn the_level_is_that_of_the_weakest_needed_layer() {
        let cases = [
            (&[][..], Level::Whole),
            (&[Layer::Ports, Layer::Scopes], Level::Whole),
            (&[Layer::Files], Level::Filtered),
            (&[Layer::Calls], Level::Limited),
            (&[Layer::Privileges, Layer::Files], Level::Limited),
            (&[Layer::Limits], Level::Open),
            (&[Layer::Process], Level::Open),
        ];
        for (missing, level) in cases {
            assert_eq!(without(missing).level(), level, "{missing:?}");
        }
        assert_eq!(Report::default().level(), Level::Open);
    }

    #[test]
    fn what_is_missing_is_said_and_doubles_are_not() {
        assert_eq!(without(&[Layer::Scopes]).to_string(), "");
        let report = without(&[Layer::Files, Layer::Calls]);
        assert_eq!(report.to_string(), "files: not here; calls: not here");
    }
}
