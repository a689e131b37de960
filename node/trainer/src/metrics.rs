//! How good a model is on a set of rows, gathered batch by batch: loss; accuracy, precision,
//! recall and F1 of a classification; absolute and squared errors and R² of a regression. What is
//! computed on tensors is the engine's; which rows are measured is left to [`crate::train`].

mod classes;
mod regression;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::definition::Loss;
pub(crate) use classes::{ClassScore, Confusion};
use classes::{Classes, Labels};
use regression::Columns;

/// Sums over the rows seen so far. Part of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tally {
    rows: u64,
    /// Sum of the losses of rows.
    loss: f64,
    /// What the sum is divided by.
    weight: f64,
    /// Sum over steps, and steps.
    gradient_norms: (f64, u64),
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Classes(Classes),
    Labels(Labels),
    Values(Columns),
}

/// What a model said of some rows.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Sum of the losses of the rows.
    pub(crate) loss: f64,
    /// What such sums are divided by: rows, values, or the weights of the rows.
    pub(crate) weight: f64,
    pub(crate) outputs: Outputs,
}

#[derive(Clone, Debug)]
pub(crate) enum Outputs {
    /// One class a row; `logits` only where ranks are asked for.
    Classes { predicted: Vec<u32>, truth: Vec<u32>, logits: Option<Vec<f32>> },
    /// Row-major.
    Values { predicted: Vec<f32>, truth: Vec<f32> },
}

impl Tally {
    /// For a model with so many outputs; counts a confusion matrix if there are not too many, and
    /// the rows whose class is among the best `top_k`.
    pub(crate) fn new(loss: Loss, outputs: usize, top_k: Option<u32>, confusion: bool) -> Self {
        let kind = match loss {
            Loss::SoftmaxCrossEntropy => Kind::Classes(Classes::new(outputs, top_k, confusion)),
            Loss::BinaryCrossEntropy => Kind::Labels(Labels::new(outputs)),
            Loss::Mse | Loss::Mae | Loss::Huber => Kind::Values(Columns::new(outputs)),
        };
        Self { rows: 0, loss: 0.0, weight: 0.0, gradient_norms: (0.0, 0), kind }
    }

    pub(crate) fn add(&mut self, seen: &Seen) {
        self.rows += match (&mut self.kind, &seen.outputs) {
            (Kind::Classes(classes), Outputs::Classes { predicted, truth, logits }) => {
                classes.add(predicted, truth, logits.as_deref())
            }
            (Kind::Labels(labels), Outputs::Values { predicted, truth }) => {
                labels.add(predicted, truth)
            }
            (Kind::Values(columns), Outputs::Values { predicted, truth }) => {
                columns.add(predicted, truth)
            }
            (Kind::Classes(_), Outputs::Values { .. })
            | (Kind::Labels(_) | Kind::Values(_), Outputs::Classes { .. }) => {
                unreachable!("a tally and its outputs are made for one loss")
            }
        };
        self.loss += seen.loss;
        self.weight += seen.weight;
    }

    /// L2 norm of all gradients of a step, before any clipping.
    pub(crate) fn add_gradient_norm(&mut self, norm: f64) {
        self.gradient_norms.0 += norm;
        self.gradient_norms.1 += 1;
    }

    pub(crate) fn is_finite(&self) -> bool {
        self.loss.is_finite()
    }

    /// Whether this can be what became of `fresh` by so many rows in so many steps.
    pub(crate) fn is_of(&self, fresh: &Self, rows: u64, steps: u64) -> bool {
        let kind = match (&self.kind, &fresh.kind) {
            (Kind::Classes(classes), Kind::Classes(fresh)) => classes.is_of(fresh, rows),
            (Kind::Labels(labels), Kind::Labels(fresh)) => labels.is_of(fresh, rows),
            (Kind::Values(columns), Kind::Values(fresh)) => columns.is_of(fresh, rows),
            (Kind::Classes(_) | Kind::Labels(_) | Kind::Values(_), _) => false,
        };
        kind && self.rows == rows && self.gradient_norms.1 == steps
    }

    /// Of classes, or of yes and no where there is one output.
    pub(crate) fn confusion(&self) -> Option<Confusion> {
        match &self.kind {
            Kind::Classes(classes) => classes.confusion(),
            Kind::Labels(labels) => labels.confusion(),
            Kind::Values(_) => None,
        }
    }

    /// One for each class, or each output of a binary classification.
    pub(crate) fn class_scores(&self) -> Vec<ClassScore> {
        match &self.kind {
            Kind::Classes(classes) => classes.scores(),
            Kind::Labels(labels) => labels.scores(),
            Kind::Values(_) => Vec::new(),
        }
    }

    /// Puts the metrics into `metrics`, each name behind `prefix`. What is undefined, as R² of
    /// targets that are all equal, is left out: JSON has no word for it.
    pub(crate) fn write(&self, prefix: &str, metrics: &mut BTreeMap<String, f64>) {
        if self.rows == 0 {
            return;
        }
        let mut put = |name: &str, value: f64| {
            if value.is_finite() {
                metrics.insert(format!("{prefix}{name}"), value);
            }
        };
        put("loss", self.loss / self.weight);
        match &self.kind {
            Kind::Classes(classes) => classes.write(self.rows, &mut put),
            Kind::Labels(labels) => labels.write(self.rows, &mut put),
            Kind::Values(columns) => columns.write(self.rows, &mut put),
        }
        if let (norms, steps @ 1..) = self.gradient_norms {
            put("gradient_norm", norms / steps as f64);
        }
    }
}

/// Which way a metric becomes better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    Falling,
    Rising,
}

impl Watched {
    /// Metrics of each epoch that can be watched, without `val_`.
    pub(crate) fn names(loss: Loss, top_k: Option<u32>) -> Vec<String> {
        let names: &[&str] = match loss {
            Loss::SoftmaxCrossEntropy | Loss::BinaryCrossEntropy => {
                &["loss", "accuracy", "precision", "recall", "f1"]
            }
            Loss::Mse | Loss::Mae | Loss::Huber => &["loss", "mae", "rmse", "r2"],
        };
        let top = top_k.map(top_name);
        names.iter().map(|name| (*name).to_owned()).chain(top).collect()
    }

    pub(crate) fn of(metric: &str) -> Self {
        match metric.strip_prefix("val_").unwrap_or(metric) {
            "loss" | "mae" | "rmse" => Self::Falling,
            _ => Self::Rising,
        }
    }
}

/// `top_5_accuracy`.
fn top_name(k: u32) -> String {
    format!("top_{k}_accuracy")
}
