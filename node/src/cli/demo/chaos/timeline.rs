//! What happened when, for the end of the show.

use std::time::{Duration, Instant};

use crate::cli::table::Rows;

#[derive(Debug)]
pub(super) struct Timeline {
    began: Instant,
    lines: Vec<(Duration, String, Option<Duration>)>,
}

impl Timeline {
    pub(super) const fn new(began: Instant) -> Self {
        Self { began, lines: Vec::new() }
    }

    /// It happened now, and `took` so long since what it follows.
    pub(super) fn add(&mut self, what: &str, took: Option<Duration>) {
        self.lines.push((self.began.elapsed(), what.to_owned(), took));
    }

    pub(super) fn text(&self) -> String {
        let mut rows = Rows::new(&[">at", "what happened", ">after"]);
        for (at, what, took) in &self.lines {
            rows.add([
                format!("{:.1} s", at.as_secs_f64()),
                what.clone(),
                took.map_or(String::new(), |took| format!("{:.1} s", took.as_secs_f64())),
            ]);
        }
        rows.text()
    }
}
