//! How good a model is on a set of rows, gathered batch by batch: loss and accuracy of a
//! classification; loss, mean absolute error and R² of a regression.

use std::collections::BTreeMap;

use crate::limits;

/// Sums over the rows seen so far.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    rows: u64,
    /// Sum over rows of the mean loss of their batch.
    loss: f64,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Classes { correct: u64, confusion: Option<Confusion> },
    Values { absolute: f64, columns: Vec<Column> },
}

/// Rows by true class (first index) and predicted class.
#[derive(Clone, Debug)]
pub(crate) struct Confusion {
    pub(crate) counts: Vec<Vec<u64>>,
}

#[derive(Clone, Debug, Default)]
struct Column {
    /// The first target; sums around it lose no digits to a large mean.
    shift: f64,
    sum: f64,
    squares: f64,
    errors: f64,
}

impl Tally {
    /// For a classification; counts a confusion matrix for `classes` if there are not too many.
    pub(crate) fn classes(classes: Option<usize>) -> Self {
        let classes = classes.filter(|&classes| classes <= limits::MAX_CONFUSION_CLASSES);
        let confusion = classes.map(|n| Confusion { counts: vec![vec![0; n]; n] });
        Self { rows: 0, loss: 0.0, kind: Kind::Classes { correct: 0, confusion } }
    }

    /// For a regression on so many target columns.
    pub(crate) fn values(columns: usize) -> Self {
        let columns = vec![Column::default(); columns];
        Self { rows: 0, loss: 0.0, kind: Kind::Values { absolute: 0.0, columns } }
    }

    pub(crate) fn add_classes(&mut self, loss: f64, predicted: &[u32], truth: &[u32]) {
        let Kind::Classes { correct, confusion } = &mut self.kind else {
            unreachable!("classes are tallied for classifications only");
        };
        *correct +=
            predicted.iter().zip(truth).filter(|(left, right)| left == right).count() as u64;
        if let Some(Confusion { counts }) = confusion {
            for (&predicted, &truth) in predicted.iter().zip(truth) {
                counts[truth as usize][predicted as usize] += 1;
            }
        }
        self.rows += truth.len() as u64;
        self.loss += loss * truth.len() as f64;
    }

    pub(crate) fn add_values(&mut self, loss: f64, predicted: &[f32], truth: &[f32]) {
        let Kind::Values { absolute, columns } = &mut self.kind else {
            unreachable!("values are tallied for regressions only");
        };
        let width = columns.len();
        let pairs = predicted.chunks_exact(width).zip(truth.chunks_exact(width));
        for (predicted, truth) in pairs {
            for ((predicted, truth), column) in predicted.iter().zip(truth).zip(&mut *columns) {
                let (predicted, truth) = (f64::from(*predicted), f64::from(*truth));
                if self.rows == 0 {
                    column.shift = truth;
                }
                let shifted = truth - column.shift;
                column.sum += shifted;
                column.squares += shifted * shifted;
                column.errors += (predicted - truth) * (predicted - truth);
                *absolute += (predicted - truth).abs();
            }
            self.rows += 1;
        }
        self.loss += loss * (truth.len() / width) as f64;
    }

    pub(crate) fn is_finite(&self) -> bool {
        self.loss.is_finite()
    }

    pub(crate) fn confusion(&self) -> Option<&Confusion> {
        match &self.kind {
            Kind::Classes { confusion, .. } => confusion.as_ref(),
            Kind::Values { .. } => None,
        }
    }

    /// Puts the metrics into `metrics`, each name behind `prefix`. What is undefined, as R² of
    /// targets that are all equal, is left out: JSON has no word for it.
    pub(crate) fn write(&self, prefix: &str, metrics: &mut BTreeMap<String, f64>) {
        if self.rows == 0 {
            return;
        }
        let rows = self.rows as f64;
        let mut put = |name: &str, value: f64| {
            if value.is_finite() {
                metrics.insert(format!("{prefix}{name}"), value);
            }
        };
        put("loss", self.loss / rows);
        match &self.kind {
            Kind::Classes { correct, .. } => put("accuracy", *correct as f64 / rows),
            Kind::Values { absolute, columns } => {
                put("mae", absolute / (rows * columns.len() as f64));
                let each = columns.iter().map(|column| {
                    let spread = column.squares - column.sum * column.sum / rows;
                    1.0 - column.errors / spread
                });
                put("r2", each.sum::<f64>() / columns.len() as f64);
            }
        }
    }
}
