//! What the numbers of a last or a middle layer mean, row by row.

use super::table::{Cells, Column};
use crate::definition::{Loss, TableFormat};
use crate::limits;
use crate::model::{ModelFile, Outputs};

/// Turns outputs into what is written of them.
pub(super) trait Meaning {
    fn file_name(&self, format: TableFormat) -> &'static str;

    /// Of a table; with a column of names of rows, if there are any.
    fn columns(&self, named: bool) -> Vec<Column>;

    /// The columns of a block whose first row is `first`.
    fn cells(&self, first: usize, ids: &[String], values: Vec<f32>) -> Vec<Cells>;

    /// The shape of the array for so many rows.
    fn shape(&self, rows: usize) -> Vec<usize>;

    /// Makes outputs what an array holds.
    fn numbers(&self, values: &mut [f32]);
}

/// Outputs of a whole model.
#[derive(Debug)]
pub(super) struct Predictions<'a> {
    loss: Loss,
    names: &'a [String],
    /// Classes that are chosen for each row: 1, or one at each place of a text.
    positions: usize,
}

/// Outputs of a layer in the middle.
#[derive(Debug)]
pub(super) struct Features {
    /// Of a row.
    pub(super) count: usize,
}

impl<'a> Predictions<'a> {
    pub(super) fn new(file: &'a ModelFile) -> Self {
        let positions = file.encoding.as_ref().map_or(1, |encoding| encoding.positions());
        debug_assert_eq!(
            matches!(file.outputs, Outputs::Classes(_)),
            file.loss.kind().has_classes()
        );
        Self { loss: file.loss.kind(), names: file.outputs.names(), positions }
    }

    /// Whether each class has a column of its own.
    fn lists_classes(&self) -> bool {
        self.names.len() <= limits::MAX_PROBABILITIES
    }

    fn choices(&self, first: usize, ids: &[String], values: Vec<f32>) -> Vec<Cells> {
        let (classes, positions) = (self.names.len(), self.positions);
        let items = values.len() / classes;
        let mut cells = named_rows(first, items / positions, ids, positions);
        if positions > 1 {
            let places = (0..items).map(|item| (item % positions) as i64);
            cells.push(Cells::Integers(places.collect()));
        }
        let chosen: Vec<usize> = values.chunks_exact(classes).map(largest).collect();
        let names = chosen.iter().map(|&class| self.names[class].clone());
        cells.push(Cells::Texts(names.collect()));
        let mut chances = values;
        chances.chunks_exact_mut(classes).for_each(softmax);
        if self.lists_classes() {
            cells
                .extend((0..classes).map(|class| Cells::Numbers(column(&chances, classes, class))));
        } else {
            let rows = chances.chunks_exact(classes).zip(&chosen);
            cells.push(Cells::Numbers(rows.map(|(row, &class)| row[class]).collect()));
        }
        cells
    }
}

impl Meaning for Predictions<'_> {
    fn file_name(&self, format: TableFormat) -> &'static str {
        match format {
            TableFormat::Csv => "predictions.csv",
            TableFormat::Npy => "predictions.npy",
            TableFormat::Parquet => "predictions.parquet",
        }
    }

    fn columns(&self, named: bool) -> Vec<Column> {
        let mut columns = row_columns(named);
        if self.positions > 1 {
            columns.push(Column::integer("position"));
        }
        match self.loss {
            Loss::SoftmaxCrossEntropy => {
                columns.push(Column::text("predicted"));
                if self.lists_classes() {
                    let chance = |name: &String| Column::number(format!("probability_{name}"));
                    columns.extend(self.names.iter().map(chance));
                } else {
                    columns.push(Column::number("probability".to_owned()));
                }
            }
            Loss::BinaryCrossEntropy => {
                for name in self.names {
                    columns.push(Column::integer(&format!("predicted_{name}")));
                    columns.push(Column::number(format!("probability_{name}")));
                }
            }
            Loss::Mse | Loss::Mae | Loss::Huber => {
                let value = |name: &String| Column::number(format!("predicted_{name}"));
                columns.extend(self.names.iter().map(value));
            }
        }
        columns
    }

    fn cells(&self, first: usize, ids: &[String], mut values: Vec<f32>) -> Vec<Cells> {
        let width = self.names.len();
        match self.loss {
            Loss::SoftmaxCrossEntropy => self.choices(first, ids, values),
            Loss::BinaryCrossEntropy => {
                let mut cells = named_rows(first, values.len() / width, ids, 1);
                let logits = values.clone();
                self.numbers(&mut values);
                for name in 0..width {
                    let yes =
                        column(&logits, width, name).into_iter().map(|it| i64::from(it > 0.0));
                    cells.push(Cells::Integers(yes.collect()));
                    cells.push(Cells::Numbers(column(&values, width, name)));
                }
                cells
            }
            Loss::Mse | Loss::Mae | Loss::Huber => {
                let mut cells = named_rows(first, values.len() / width, ids, 1);
                cells.extend((0..width).map(|name| Cells::Numbers(column(&values, width, name))));
                cells
            }
        }
    }

    fn shape(&self, rows: usize) -> Vec<usize> {
        match self.positions {
            1 => vec![rows, self.names.len()],
            positions => vec![rows, positions, self.names.len()],
        }
    }

    fn numbers(&self, values: &mut [f32]) {
        match self.loss {
            Loss::SoftmaxCrossEntropy => {
                values.chunks_exact_mut(self.names.len()).for_each(softmax);
            }
            Loss::BinaryCrossEntropy => values.iter_mut().for_each(|value| {
                *value = (1.0 / (1.0 + libm::exp(-f64::from(*value)))) as f32;
            }),
            Loss::Mse | Loss::Mae | Loss::Huber => {}
        }
    }
}

impl Meaning for Features {
    fn file_name(&self, format: TableFormat) -> &'static str {
        match format {
            TableFormat::Csv => "features.csv",
            TableFormat::Npy => "features.npy",
            TableFormat::Parquet => "features.parquet",
        }
    }

    fn columns(&self, named: bool) -> Vec<Column> {
        let mut columns = row_columns(named);
        columns.extend((0..self.count).map(|index| Column::number(format!("feature_{index}"))));
        columns
    }

    fn cells(&self, first: usize, ids: &[String], values: Vec<f32>) -> Vec<Cells> {
        let mut cells = named_rows(first, values.len() / self.count, ids, 1);
        let each = (0..self.count).map(|it| Cells::Numbers(column(&values, self.count, it)));
        cells.extend(each);
        cells
    }

    fn shape(&self, rows: usize) -> Vec<usize> {
        vec![rows, self.count]
    }

    fn numbers(&self, _: &mut [f32]) {}
}

/// What tells rows apart.
fn row_columns(named: bool) -> Vec<Column> {
    let mut columns = vec![Column::integer("row")];
    if named {
        columns.push(Column::text("id"));
    }
    columns
}

fn named_rows(first: usize, rows: usize, ids: &[String], times: usize) -> Vec<Cells> {
    let numbers = (first..first + rows).flat_map(|row| std::iter::repeat_n(row as i64, times));
    let mut cells = vec![Cells::Integers(numbers.collect())];
    if !ids.is_empty() {
        let ids = ids.iter().flat_map(|id| std::iter::repeat_n(id.clone(), times));
        cells.push(Cells::Texts(ids.collect()));
    }
    cells
}

fn column(values: &[f32], width: usize, index: usize) -> Vec<f32> {
    values.iter().skip(index).step_by(width).copied().collect()
}

/// The first of the largest, as the engines choose.
fn largest(values: &[f32]) -> usize {
    let better = |best: usize, at: usize| if values[at] > values[best] { at } else { best };
    (1..values.len()).fold(0, better)
}

fn softmax(values: &mut [f32]) {
    let largest = f64::from(values[largest(values)]);
    let powers: Vec<f64> =
        values.iter().map(|value| libm::exp(f64::from(*value) - largest)).collect();
    let sum: f64 = powers.iter().sum();
    values.iter_mut().zip(powers).for_each(|(value, power)| *value = (power / sum) as f32);
}
