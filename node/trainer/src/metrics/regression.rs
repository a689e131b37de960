//! Errors of a regression, column by column.

use serde::{Deserialize, Serialize};

/// Sums of each target column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Columns {
    absolute: f64,
    columns: Vec<Column>,
    rows: u64,
}

/// Written without names, as there can be many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 4]", into = "[f64; 4]")]
struct Column {
    /// The first target; sums around it lose no digits to a large mean.
    shift: f64,
    sum: f64,
    squares: f64,
    errors: f64,
}

impl Columns {
    pub(super) fn new(columns: usize) -> Self {
        Self { absolute: 0.0, columns: vec![Column::default(); columns], rows: 0 }
    }

    pub(super) fn add(&mut self, predicted: &[f32], truth: &[f32]) -> u64 {
        let width = self.columns.len();
        let before = self.rows;
        for (predicted, truth) in predicted.chunks_exact(width).zip(truth.chunks_exact(width)) {
            for ((predicted, truth), column) in predicted.iter().zip(truth).zip(&mut self.columns) {
                let (predicted, truth) = (f64::from(*predicted), f64::from(*truth));
                if self.rows == 0 {
                    column.shift = truth;
                }
                let shifted = truth - column.shift;
                column.sum += shifted;
                column.squares += shifted * shifted;
                column.errors += (predicted - truth) * (predicted - truth);
                self.absolute += (predicted - truth).abs();
            }
            self.rows += 1;
        }
        self.rows - before
    }

    /// Whether this can be what became of `fresh` by so many rows.
    pub(super) fn is_of(&self, fresh: &Self, rows: u64) -> bool {
        self.columns.len() == fresh.columns.len() && self.rows == rows
    }

    /// R² is the mean of that of all columns, as scikit-learn's `uniform_average`.
    pub(super) fn write(&self, rows: u64, put: &mut impl FnMut(&str, f64)) {
        let (rows, width) = (rows as f64, self.columns.len() as f64);
        put("mae", self.absolute / (rows * width));
        let errors: f64 = self.columns.iter().map(|column| column.errors).sum();
        put("rmse", (errors / (rows * width)).sqrt());
        let each = self.columns.iter().map(|column| {
            let spread = column.squares - column.sum * column.sum / rows;
            1.0 - column.errors / spread
        });
        put("r2", each.sum::<f64>() / width);
    }
}

impl From<[f64; 4]> for Column {
    fn from([shift, sum, squares, errors]: [f64; 4]) -> Self {
        Self { shift, sum, squares, errors }
    }
}

impl From<Column> for [f64; 4] {
    fn from(column: Column) -> Self {
        [column.shift, column.sum, column.squares, column.errors]
    }
}
