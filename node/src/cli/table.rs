//! Tables and lists of facts, as wide as the terminal and without any lines but one.

use std::io::IsTerminal;

use comfy_table::{
    Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle,
    presets,
};

use super::output::Stream;
use crate::api::view::JobPhase;

/// A table that is being filled.
#[derive(Debug)]
pub(crate) struct Rows {
    table: Table,
}

impl Rows {
    /// With the titles of its columns; those that begin with `>` are numbers, set to the right.
    pub(crate) fn new(titles: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
        // Decided here for both streams, so that a piped table has no escapes and no folds.
        table.force_no_tty();
        if std::io::stdout().is_terminal()
            && let Some((columns, _rows)) = Stream::Stdout.size()
        {
            table.set_width(u16::try_from(columns).unwrap_or(u16::MAX));
        }
        if Stream::Stdout.has_colours() {
            table.enforce_styling();
        }
        table.set_header(titles.iter().map(|title| title.trim_start_matches('>')));
        // A name that is folded cannot be copied.
        if let Some(names) = table.column_mut(0) {
            names.set_constraint(ColumnConstraint::ContentWidth);
        }
        for (index, title) in titles.iter().enumerate() {
            if let Some(column) = table.column_mut(index).filter(|_| title.starts_with('>')) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self { table }
    }

    pub(crate) fn add<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.table.add_row(cells.into_iter().map(Into::into).collect::<Vec<Cell>>());
    }

    /// Without spaces at the ends of lines.
    pub(crate) fn text(&self) -> String {
        let lines: Vec<_> = self.table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }
}

/// Names and what they are, one a line; several values of one name go below each other.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    lines: Vec<(String, String)>,
}

impl Facts {
    pub(crate) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.lines.push((name.to_owned(), value.into()));
    }

    pub(crate) fn add_all(&mut self, name: &str, values: impl IntoIterator<Item = String>) {
        let mut name = name;
        for value in values {
            self.add(name, value);
            name = "";
        }
    }

    pub(crate) fn text(&self) -> String {
        let width = self.lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let line = |(name, value): &(String, String)| {
            let indented = value.replace('\n', &format!("\n{:width$}  ", ""));
            format!("{name:width$}  {indented}").trim_end().to_owned()
        };
        self.lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// A job's state as a cell, in its colour.
pub(crate) fn phase_cell(phase: JobPhase) -> Cell {
    let cell = Cell::new(phase_word(phase));
    match phase {
        JobPhase::Queued => cell,
        JobPhase::Running => cell.fg(Color::Cyan),
        JobPhase::Completed => cell.fg(Color::Green),
        JobPhase::Failed => cell.fg(Color::Red),
        JobPhase::Cancelled | JobPhase::Pausing | JobPhase::Paused => cell.fg(Color::Yellow),
    }
}

pub(crate) const fn phase_word(phase: JobPhase) -> &'static str {
    match phase {
        JobPhase::Queued => "queued",
        JobPhase::Running => "running",
        JobPhase::Pausing => "pausing",
        JobPhase::Paused => "paused",
        JobPhase::Completed => "completed",
        JobPhase::Failed => "failed",
        JobPhase::Cancelled => "cancelled",
    }
}

const STYLE: TableStyle =
    presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));
