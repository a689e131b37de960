//! The files of a finished run. They hold no times and no names of machines: the same work gives
//! the same bytes wherever the engine computes the same.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::frames::OutputFile;
use crate::limits;
use crate::metrics::Tally;
use crate::model::{MODEL_FILE, Outputs, TrainedModel, WEIGHTS_FILE};
use crate::output;

const METRICS_FILE: &str = "metrics.json";

/// Metrics of the epochs, thinned out in very long runs. Part of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct History {
    epochs: u32,
    /// One epoch in this many is kept.
    every: u32,
    kept: Vec<Entry>,
    last: BTreeMap<String, f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    epoch: u32,
    #[serde(flatten)]
    metrics: BTreeMap<String, f64>,
}

impl History {
    pub(super) fn new(epochs: u32) -> Self {
        let every = epochs.div_ceil(limits::MAX_HISTORY).max(1);
        Self { epochs, every, kept: Vec::new(), last: BTreeMap::new() }
    }

    /// Whether this can be what [`Self::push`] made of the first `epoch` epochs of so many.
    pub(crate) fn is_of(&self, epoch: u32, epochs: u32) -> bool {
        let Self { every, .. } = Self::new(epochs);
        let kept = (1..=epoch).filter(|it| it.is_multiple_of(every) || *it == epochs);
        self.epochs == epochs
            && self.every == every
            && self.kept.iter().map(|entry| entry.epoch).eq(kept)
    }

    pub(super) fn push(&mut self, epoch: u32, metrics: &BTreeMap<String, f64>) {
        self.last.clone_from(metrics);
        if epoch.is_multiple_of(self.every) || epoch == self.epochs {
            self.kept.push(Entry { epoch, metrics: metrics.clone() });
        }
    }
}

/// The content of `metrics.json`.
#[derive(Serialize)]
struct MetricsFile<'a> {
    format_version: u32,
    metrics: &'a BTreeMap<String, f64>,
    history: &'a [Entry],
    #[serde(skip_serializing_if = "Option::is_none")]
    confusion: Option<ConfusionFile<'a>>,
}

/// Test rows by true class (outer list) and predicted class, both in the order of `classes`.
#[derive(Serialize)]
struct ConfusionFile<'a> {
    classes: &'a [String],
    counts: &'a [Vec<u64>],
}

/// Writes the three files; gives the final metrics and the files.
pub(super) fn write(
    directory: &Path,
    model: &TrainedModel,
    test: Option<&Tally>,
    history: History,
) -> Result<(BTreeMap<String, f64>, Vec<OutputFile>), TrainError> {
    let mut metrics = history.last;
    if let Some(test) = test {
        test.write("test_", &mut metrics);
    }
    let counts = test.and_then(Tally::confusion);
    let confusion = match (&model.file().outputs, counts) {
        (Outputs::Classes(classes), Some(confusion)) => {
            Some(ConfusionFile { classes, counts: &confusion.counts })
        }
        (Outputs::Classes(_) | Outputs::Targets(_), _) => None,
    };
    let file =
        MetricsFile { format_version: 1, metrics: &metrics, history: &history.kept, confusion };
    let scores = serde_json::to_vec_pretty(&file).expect("plain structs always serialize");
    let fault = |file| move |fault: io::Error| TrainError::Output { file, fault };
    std::fs::create_dir_all(directory).map_err(fault(WEIGHTS_FILE))?;
    let weights = model.weights().map_err(|error| fault(WEIGHTS_FILE)(io::Error::other(error)))?;
    let put = |name, bytes: &[u8]| output::write(directory, name, bytes).map_err(fault(name));
    let outputs = vec![
        put(WEIGHTS_FILE, &weights)?,
        put(MODEL_FILE, &model.json())?,
        put(METRICS_FILE, &scores)?,
    ];
    Ok((metrics, outputs))
}
