//! What is simulated: scenarios are TOML files, some of them built in, and a scenario and a seed
//! make a [`Plan`]. A file says `base = "churn"` to begin where another ends; what it leaves to
//! the seed, as in `{ draw = "0..100" }`, is drawn per key, so that one more draw shifts no other.
//!
//! How values are written is `notation`'s business, what they mean `plan`'s. This reads texts,
//! never files.

mod draw;
pub mod notation;
mod plan;
mod timing;

use std::{collections::BTreeMap, fmt};

use toml::{Table, Value};

pub use plan::{Crashes, FsyncModel, Plan, Signatures};
pub use timing::TimingModel;

/// A kind of run.
#[derive(Clone, Debug)]
pub struct Scenario {
    name: String,
    about: String,
    /// Everything that it says, its bases included.
    table: Table,
    /// Where each key was last said.
    places: BTreeMap<String, Place>,
    /// Settings of the command line, in their order.
    settings: Vec<String>,
}

/// Where something was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a file.
    Line { file: String, line: usize },
    /// A whole file.
    File(String),
    /// A setting of the command line.
    Setting(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::File(file) => f.write_str(file),
            Self::Setting(text) => write!(f, "--set {text}"),
        }
    }
}

/// What a scenario says cannot be simulated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    #[error("{at}: {what}")]
    Syntax { at: Place, what: String },
    #[error("{at}: there is no scenario '{base}' to begin with; there are {}", names())]
    Base { at: Place, base: String },
    #[error("{at}: {key}: {what}")]
    Value { at: Place, key: String, what: String },
    #[error(
        "'--set {0}' is no setting: write KEY=VALUE, as in jobs=100 or network.latency=5ms..50ms"
    )]
    Setting(String),
}

/// The built-in scenarios: a name and the text of its file.
const BUILT_IN: [(&str, &str); 16] = [
    ("smoke", include_str!("../scenarios/smoke.toml")),
    ("burst", include_str!("../scenarios/burst.toml")),
    ("loss", include_str!("../scenarios/loss.toml")),
    ("churn", include_str!("../scenarios/churn.toml")),
    ("partition", include_str!("../scenarios/partition.toml")),
    ("takeover", include_str!("../scenarios/takeover.toml")),
    ("reconfiguration", include_str!("../scenarios/reconfiguration.toml")),
    ("outlived", include_str!("../scenarios/outlived.toml")),
    ("upheaval", include_str!("../scenarios/upheaval.toml")),
    ("seesaw", include_str!("../scenarios/seesaw.toml")),
    ("stragglers", include_str!("../scenarios/stragglers.toml")),
    ("recall", include_str!("../scenarios/recall.toml")),
    ("interrupted", include_str!("../scenarios/interrupted.toml")),
    ("dishonest", include_str!("../scenarios/dishonest.toml")),
    ("swarm", include_str!("../scenarios/swarm.toml")),
    ("scale", include_str!("../scenarios/scale.toml")),
];
/// Keys that say something of the scenario and nothing of the run.
const NOT_OF_THE_PLAN: [&str; 2] = ["about", "base"];

/// Keys of scenario files that make something go wrong, and what each does.
pub const FAULT_KINDS: [(&str, &str); 21] = [
    ("network.loss_permille", "frames of a thousand that never come"),
    ("network.duplicate_permille", "frames of a thousand that come twice"),
    ("network.latency", "a wide span reorders frames"),
    ("crashes.coordinator", "times that a coordinator falls over, its unflushed writes lost"),
    ("crashes.workers", "times that a worker does"),
    ("crashes.submitters", "times that a submitter does"),
    ("failing_permille", "attempts of a thousand that fail, to be repaired by another"),
    ("cancelled_permille", "jobs of a thousand that their submitters cancel"),
    ("paused_permille", "jobs of a thousand that their submitters pause and resume, now and then"),
    ("flush", "how long a flush takes: \"50ms..2s\" is a slow disk"),
    ("faults.swarm", "true: each seed has a part of the following, each with its own strength"),
    ("faults.links", "laws of latency, bandwidth, late copies, overtaking, clogs"),
    ("faults.partitions", "two_way, one_way, bridges, hosts, leaders, regions; how long: lasts"),
    ("faults.crashes", "coordinators, leaders, all_coordinators, workers, lost_disks, …"),
    ("faults.disks", "slow, stalls, full: how many times, and for how long"),
    ("faults.clocks", "skew_ms, drift_ppm"),
    ("faults.pauses", "hosts that stand still and then go on"),
    ("faults.churn", "workers that come and go by a law or a trace"),
    ("faults.speeds", "workers that compute faster or slower than others"),
    ("faults.hostile", "forgers, replayers, no_shows, impostors, garblers, sybils, submitters"),
    ("fsync = \"skipped\"", "a disk that says flushed and is not: a broken promise on purpose"),
];

fn names() -> String {
    BUILT_IN.map(|(name, _)| name).join(", ")
}

impl Scenario {
    /// Every built-in scenario.
    ///
    /// # Panics
    ///
    /// Never: a test reads them all.
    pub fn built_in() -> impl Iterator<Item = Self> {
        BUILT_IN.into_iter().map(|(name, text)| {
            Self::parse(name, text).expect("built-in scenarios are read by a test")
        })
    }

    /// The built-in scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        BUILT_IN.iter().any(|(known, _)| *known == name).then(|| {
            Self::built_in().find(|scenario| scenario.name == name).expect("it is one of them")
        })
    }

    /// Reads the text of a scenario file; `name` stands for it in errors and results.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let mut scenario = Self::read(name, text, 0)?;
        name.clone_into(&mut scenario.name);
        scenario.plan(0)?;
        Ok(scenario)
    }

    /// The same with settings such as `jobs=100` or `network.latency=5ms..50ms`; later ones win.
    pub fn with(mut self, settings: &[String]) -> Result<Self, ScenarioError> {
        for setting in settings {
            let wrong = || ScenarioError::Setting(setting.clone());
            let (key, value) = setting.split_once('=').ok_or_else(wrong)?;
            let path: Vec<_> = key.trim().split('.').collect();
            if path.iter().any(|part| part.is_empty()) || NOT_OF_THE_PLAN.contains(&path[0]) {
                return Err(wrong());
            }
            self.places.insert(path.join("."), Place::Setting(setting.clone()));
            put(&mut self.table, &path, written(value.trim())).map_err(|()| wrong())?;
            self.settings.push(setting.clone());
        }
        self.plan(0)?;
        Ok(self)
    }

    /// What it means with this seed.
    pub fn plan(&self, seed: u64) -> Result<Plan, ScenarioError> {
        let mut table = self.table.clone();
        table.remove("about");
        draw::resolve(&mut table, seed).map_err(|(key, what)| self.value_error(key, what))?;
        let mut plan: Plan =
            serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
                let what = error.inner().message().to_owned();
                self.value_error(key_of(&error.path().to_string(), &what), what)
            })?;
        plan.settle()
            .and_then(|()| plan.check())
            .map_err(|(key, what)| self.value_error(key.to_owned(), what))?;
        plan.faults = std::mem::take(&mut plan.faults).of_seed(seed);
        Ok(plan)
    }

    /// Its name, or that of its file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One sentence.
    #[must_use]
    pub fn about(&self) -> &str {
        &self.about
    }

    /// What the command line said beside the name.
    #[must_use]
    pub fn settings(&self) -> &[String] {
        &self.settings
    }

    fn read(file: &str, text: &str, depth: usize) -> Result<Self, ScenarioError> {
        let table: Table =
            text.parse().map_err(|error: toml::de::Error| ScenarioError::Syntax {
                at: place(file, text, error.span().map(|span| span.start)),
                what: error.message().to_owned(),
            })?;
        let places = places(file, text);
        let at =
            |key: &str| places.get(key).cloned().unwrap_or_else(|| Place::File(file.to_owned()));
        let text_of = |key: &str| match table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => {
                let what = "give a text in quotes".to_owned();
                Err(ScenarioError::Value { at: at(key), key: key.to_owned(), what })
            }
        };
        let about = text_of("about")?;
        let mut scenario = match text_of("base")? {
            None => Self {
                name: file.to_owned(),
                about: String::new(),
                table: Table::new(),
                places: BTreeMap::new(),
                settings: Vec::new(),
            },
            Some(base) => match BUILT_IN.iter().find(|(name, _)| *name == base) {
                Some((name, text)) if depth < BUILT_IN.len() => Self::read(name, text, depth + 1)?,
                _ => return Err(ScenarioError::Base { at: at("base"), base }),
            },
        };
        scenario.about = about.unwrap_or_default();
        scenario.places.extend(places);
        merge(&mut scenario.table, table);
        scenario.table.remove("base");
        Ok(scenario)
    }

    /// Names the place that said `key`, or the nearest one around it.
    fn value_error(&self, key: String, what: String) -> ScenarioError {
        let mut around = key.as_str();
        let at = loop {
            if let Some(place) = self.places.get(around) {
                break place.clone();
            }
            match around.rsplit_once('.') {
                Some((outer, _)) => around = outer,
                None => break Place::File(self.name.clone()),
            }
        };
        ScenarioError::Value { at, key, what }
    }
}

/// The full path of a key that is not known stands in the message alone.
fn key_of(path: &str, message: &str) -> String {
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
    match unknown {
        Some((key, _)) if path == "." => key.to_owned(),
        Some((key, _)) if path.rsplit('.').next() != Some(key) => format!("{path}.{key}"),
        Some(_) | None => path.to_owned(),
    }
}

/// A value as TOML has it, or else a text: `5ms..50ms` needs no quotes on a command line.
fn written(value: &str) -> Value {
    let line = format!("value = {value}");
    line.parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(value.to_owned()))
}

fn put(table: &mut Table, path: &[&str], value: Value) -> Result<(), ()> {
    match path {
        [] => Err(()),
        [key] => {
            table.insert((*key).to_owned(), value);
            Ok(())
        }
        [key, rest @ ..] => {
            let inner =
                table.entry((*key).to_owned()).or_insert_with(|| Value::Table(Table::new()));
            put(inner.as_table_mut().ok_or(())?, rest, value)
        }
    }
}

/// `over` wins; tables are merged key by key.
fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) if !draw::is_draw(&over) => {
                merge(under, over);
            }
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

/// The line of every key.
fn places(file: &str, text: &str) -> BTreeMap<String, Place> {
    fn walk(table: &toml::de::DeTable<'_>, outer: &str, note: &mut impl FnMut(String, usize)) {
        for (key, value) in table.iter() {
            let path = match outer {
                "" => key.get_ref().to_string(),
                outer => format!("{outer}.{}", key.get_ref()),
            };
            note(path.clone(), key.span().start);
            if let Some(table) = value.get_ref().as_table() {
                walk(table, &path, note);
            }
        }
    }
    let mut places = BTreeMap::new();
    // A text that cannot be read was refused before this.
    if let Ok(table) = toml::de::DeTable::parse(text) {
        walk(table.get_ref(), "", &mut |path, offset| {
            places.insert(path, place(file, text, Some(offset)));
        });
    }
    places
}

fn place(file: &str, text: &str, offset: Option<usize>) -> Place {
    let before = offset.and_then(|offset| text.as_bytes().get(..offset));
    match before {
        Some(before) => {
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Place::Line { file: file.to_owned(), line }
        }
        None => Place::File(file.to_owned()),
    }
}

#[cfg(test)]
mod tests;
