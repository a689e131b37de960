//! The files of a finished run. They hold no times and no names of machines: the same work gives
//! the same bytes wherever the engine computes the same.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Stopping, TrainError};
use crate::definition::EarlyStoppingSpec;
use crate::frames::OutputFile;
use crate::limits;
use crate::metrics::{ClassScore, Confusion, Tally};
use crate::model::{MODEL_FILE, TrainedModel, WEIGHTS_FILE};
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

    /// Keeps the last epoch of a run that ended before its time.
    fn close(&mut self, epoch: u32) {
        if self.kept.last().is_none_or(|entry| entry.epoch < epoch) {
            self.kept.push(Entry { epoch, metrics: self.last.clone() });
        }
    }
}

/// How training came to its end.
pub(super) struct Ended {
    pub(super) history: History,
    /// Epochs that were trained.
    pub(super) epoch: u32,
    pub(super) stopping: Option<(EarlyStoppingSpec, Stopping)>,
    /// Rows that passed through the model at once, where a batch did not fit into memory.
    pub(super) micro_batch: Option<usize>,
}

/// The content of `metrics.json`.
#[derive(Serialize)]
struct MetricsFile<'a> {
    format_version: u32,
    metrics: &'a BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "<[Entry]>::is_empty")]
    history: &'a [Entry],
    #[serde(skip_serializing_if = "Option::is_none")]
    early_stopping: Option<StoppingFile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    micro_batch: Option<usize>,
    /// Of the test rows; of all rows where nothing was trained.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<ClassFile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confusion: Option<ConfusionFile<'a>>,
}

#[derive(Serialize)]
struct StoppingFile<'a> {
    metric: &'a str,
    best_epoch: u32,
    /// Whether the run ended before its last epoch.
    stopped: bool,
    /// Whether the result is the model of the best epoch.
    restored: bool,
}

#[derive(Serialize)]
struct ClassFile<'a> {
    name: &'a str,
    #[serde(flatten)]
    score: ClassScore,
}

/// Test rows by true class (outer list) and predicted class, both in the order of `classes`.
#[derive(Serialize)]
struct ConfusionFile<'a> {
    classes: Vec<&'a str>,
    counts: Vec<Vec<u64>>,
}

/// Writes the three files; gives the final metrics and the files.
pub(super) fn write(
    directory: &Path,
    model: &TrainedModel,
    test: Option<&Tally>,
    ended: Ended,
) -> Result<(BTreeMap<String, f64>, Vec<OutputFile>), TrainError> {
    let Ended { mut history, epoch, stopping, micro_batch } = ended;
    history.close(epoch);
    let mut metrics = history.last;
    if let Some((spec, stopping)) = &stopping {
        if spec.restore_best {
            metrics.clone_from(stopping.metrics());
        }
        metrics.insert("best_epoch".to_owned(), f64::from(stopping.best_epoch()));
        metrics.insert("epochs_trained".to_owned(), f64::from(epoch));
    }
    if let Some(rows) = micro_batch {
        metrics.insert("micro_batch".to_owned(), rows as f64);
    }
    if let Some(test) = test {
        test.write("test_", &mut metrics);
    }
    let early_stopping = stopping.as_ref().map(|(spec, stopping)| StoppingFile {
        metric: &spec.metric,
        best_epoch: stopping.best_epoch(),
        stopped: epoch < history.epochs,
        restored: spec.restore_best,
    });
    let names = model.file().outputs.names();
    let file = MetricsFile {
        format_version: 1,
        metrics: &metrics,
        history: &history.kept,
        early_stopping,
        micro_batch,
        classes: classes(test, names),
        confusion: test.and_then(|test| confusion(test, names)),
    };
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

/// Writes the scores of a trained model alone.
pub(crate) fn write_scores(
    directory: &Path,
    names: &[String],
    metrics: &BTreeMap<String, f64>,
    tally: &Tally,
) -> Result<OutputFile, TrainError> {
    let file = MetricsFile {
        format_version: 1,
        metrics,
        history: &[],
        early_stopping: None,
        micro_batch: None,
        classes: classes(Some(tally), names),
        confusion: confusion(tally, names),
    };
    let scores = serde_json::to_vec_pretty(&file).expect("plain structs always serialize");
    let fault = |fault: io::Error| TrainError::Output { file: METRICS_FILE, fault };
    std::fs::create_dir_all(directory).map_err(fault)?;
    output::write(directory, METRICS_FILE, &scores).map_err(fault)
}

fn classes<'a>(test: Option<&Tally>, names: &'a [String]) -> Vec<ClassFile<'a>> {
    let scores = test.map_or_else(Vec::new, Tally::class_scores);
    if scores.len() > limits::MAX_CLASS_SCORES {
        return Vec::new();
    }
    names.iter().zip(scores).map(|(name, score)| ClassFile { name, score }).collect()
}

fn confusion<'a>(test: &Tally, names: &'a [String]) -> Option<ConfusionFile<'a>> {
    let Confusion { counts } = test.confusion()?;
    let classes = match names {
        // One output that says yes or no.
        [_] => vec!["0", "1"],
        names => names.iter().map(String::as_str).collect(),
    };
    Some(ConfusionFile { classes, counts })
}
