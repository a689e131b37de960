//! Rows by true and predicted class. Precision, recall and F1 are 0 where nothing was predicted
//! or nothing was there to be found; a class without either is left out of their means, as
//! scikit-learn does with `average="macro"` and `zero_division=0`.

use serde::{Deserialize, Serialize};

use super::top_name;
use crate::limits;

/// Rows by true class (first index) and predicted class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Confusion {
    pub(crate) counts: Vec<Vec<u64>>,
}

/// How well one class is told from all others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct ClassScore {
    pub(crate) precision: f64,
    pub(crate) recall: f64,
    pub(crate) f1: f64,
    /// Rows of the class.
    pub(crate) rows: u64,
}

/// Counts of one class. Written without names, as there can be many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 3]", into = "[u64; 3]")]
struct Count {
    right: u64,
    predicted: u64,
    actual: u64,
}

/// Of rows with one class each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Classes {
    counts: Vec<Count>,
    top: Option<(u32, u64)>,
    confusion: Option<Vec<Vec<u64>>>,
}

impl Classes {
    pub(super) fn new(classes: usize, top_k: Option<u32>, confusion: bool) -> Self {
        let confusion = confusion && classes <= limits::MAX_CONFUSION_CLASSES;
        Self {
            counts: vec![Count::default(); classes],
            top: top_k.map(|k| (k, 0)),
            confusion: confusion.then(|| vec![vec![0; classes]; classes]),
        }
    }

    pub(super) fn add(&mut self, predicted: &[u32], truth: &[u32], logits: Option<&[f32]>) -> u64 {
        for (&predicted, &truth) in predicted.iter().zip(truth) {
            let (predicted, truth) = (predicted as usize, truth as usize);
            self.counts[predicted].predicted += 1;
            self.counts[truth].actual += 1;
            self.counts[truth].right += u64::from(predicted == truth);
            if let Some(counts) = &mut self.confusion {
                counts[truth][predicted] += 1;
            }
        }
        if let (Some((k, found)), Some(logits)) = (&mut self.top, logits) {
            for (row, &truth) in logits.chunks_exact(self.counts.len()).zip(truth) {
                *found += u64::from(rank(row, truth as usize) < *k as usize);
            }
        }
        truth.len() as u64
    }

    /// Whether this can be what became of `fresh` by so many rows.
    pub(super) fn is_of(&self, fresh: &Self, rows: u64) -> bool {
        let top = match (self.top, fresh.top) {
            (None, None) => true,
            (Some((k, found)), Some((same, _))) => k == same && found <= rows,
            (None, Some(_)) | (Some(_), None) => false,
        };
        top && are_of(&self.counts, &fresh.counts, rows) && self.confusion == fresh.confusion
    }

    pub(super) fn confusion(&self) -> Option<Confusion> {
        self.confusion.clone().map(|counts| Confusion { counts })
    }

    pub(super) fn scores(&self) -> Vec<ClassScore> {
        self.counts.iter().map(Count::score).collect()
    }

    pub(super) fn write(&self, rows: u64, put: &mut impl FnMut(&str, f64)) {
        let right: u64 = self.counts.iter().map(|count| count.right).sum();
        put("accuracy", right as f64 / rows as f64);
        if let Some((k, found)) = self.top {
            put(&top_name(k), found as f64 / rows as f64);
        }
        write_means(&self.counts, put);
    }
}

/// Of rows with a yes or no for each output; yes is a logit above 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Labels {
    counts: Vec<Count>,
    right: u64,
    rows: u64,
}

impl Labels {
    pub(super) fn new(outputs: usize) -> Self {
        Self { counts: vec![Count::default(); outputs], right: 0, rows: 0 }
    }

    pub(super) fn add(&mut self, logits: &[f32], truth: &[f32]) -> u64 {
        let width = self.counts.len();
        for (logits, truth) in logits.chunks_exact(width).zip(truth.chunks_exact(width)) {
            for ((logit, truth), count) in logits.iter().zip(truth).zip(&mut self.counts) {
                let (predicted, truth) = (*logit > 0.0, *truth >= 0.5);
                count.predicted += u64::from(predicted);
                count.actual += u64::from(truth);
                count.right += u64::from(predicted && truth);
                self.right += u64::from(predicted == truth);
            }
        }
        let rows = (truth.len() / width) as u64;
        self.rows += rows;
        rows
    }

    /// As [`Classes::is_of`].
    pub(super) fn is_of(&self, fresh: &Self, rows: u64) -> bool {
        let counted = are_of(&self.counts, &fresh.counts, rows);
        counted && self.rows == rows && self.right <= rows * self.counts.len() as u64
    }

    /// No first, then yes.
    pub(super) fn confusion(&self) -> Option<Confusion> {
        let [count] = self.counts.as_slice() else {
            return None;
        };
        let (missed, wrong) = (count.actual - count.right, count.predicted - count.right);
        let rest = self.rows - count.right - missed - wrong;
        Some(Confusion { counts: vec![vec![rest, wrong], vec![missed, count.right]] })
    }

    pub(super) fn scores(&self) -> Vec<ClassScore> {
        self.counts.iter().map(Count::score).collect()
    }

    pub(super) fn write(&self, rows: u64, put: &mut impl FnMut(&str, f64)) {
        put("accuracy", self.right as f64 / (rows * self.counts.len() as u64) as f64);
        write_means(&self.counts, put);
    }
}

impl From<[u64; 3]> for Count {
    fn from([right, predicted, actual]: [u64; 3]) -> Self {
        Self { right, predicted, actual }
    }
}

impl From<Count> for [u64; 3] {
    fn from(count: Count) -> Self {
        [count.right, count.predicted, count.actual]
    }
}

impl Count {
    fn score(&self) -> ClassScore {
        let part = |part: u64, whole: u64| {
            if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
        };
        ClassScore {
            precision: part(self.right, self.predicted),
            recall: part(self.right, self.actual),
            f1: part(2 * self.right, self.predicted + self.actual),
            rows: self.actual,
        }
    }
}

fn are_of(counts: &[Count], fresh: &[Count], rows: u64) -> bool {
    let fits = |count: &Count| {
        count.right <= count.predicted.min(count.actual)
            && count.predicted.max(count.actual) <= rows
    };
    counts.len() == fresh.len() && counts.iter().all(fits)
}

fn write_means(counts: &[Count], put: &mut impl FnMut(&str, f64)) {
    let known = counts.iter().filter(|count| count.predicted + count.actual > 0);
    let scores: Vec<ClassScore> = known.map(Count::score).collect();
    let mean = |value: fn(&ClassScore) -> f64| {
        // None at all, for outputs that are never true: there was nothing to find.
        scores.iter().map(value).sum::<f64>() / scores.len().max(1) as f64
    };
    put("precision", mean(|score| score.precision));
    put("recall", mean(|score| score.recall));
    put("f1", mean(|score| score.f1));
}

/// Classes that come before `class`; of equals the first does.
fn rank(logits: &[f32], class: usize) -> usize {
    let mine = logits[class];
    let before = |(other, value): (usize, &f32)| *value > mine || *value == mine && other < class;
    logits.iter().enumerate().filter(|it| before(*it)).count()
}
