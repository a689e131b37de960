//! Figures for people: a run in lines of two columns, many runs and comparisons as tables.

use std::{fmt::Write as _, ops::Range, time::Duration};

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle, presets};
use cyxwiz_sim::{Compared, Observation, Quantiles, Scenario};

use super::{memory, series::Done};

const STYLE: TableStyle =
    presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));
/// Workers whose runs are listed one by one.
const LISTED: usize = 12;

pub(super) fn run(seen: &Observation, took: Duration) -> String {
    let figures = &seen.figures;
    let (completed, failed) = (figures.completed, figures.failed);
    let (jobs, attempts, cancelled) = (figures.jobs, figures.attempts, figures.cancelled);
    let quantiles = |of: Quantiles| {
        let Quantiles { p50, p90, p99, max } = of;
        format!("p50 {} p90 {} p99 {} max {}", time(p50), time(p90), time(p99), time(max))
    };
    let percent = |permille: u64| format!("{}.{} %", permille / 10, permille % 10);
    lines(&[
        ("peers", figures.peers.to_string()),
        ("jobs handed in, accepted", format!("{jobs}, {}", figures.accepted)),
        ("  completed, failed, cancelled", format!("{completed}, {failed}, {cancelled}")),
        ("attempts, crashes", format!("{attempts}, {}", figures.crashes)),
        ("accepted after", quantiles(figures.accept_ms)),
        ("started after", quantiles(figures.start_ms)),
        ("end known after", quantiles(figures.end_ms)),
        ("runs per worker", spread(&figures.runs_per_worker)),
        ("fairness (Jain)", percent(figures.fairness_permille)),
        ("utilisation", percent(figures.utilisation_permille)),
        ("wasted work", percent(figures.wasted_permille)),
        ("bytes, messages per job", {
            format!("{}, {}", figures.bytes_per_job, figures.messages_per_job)
        }),
        ("virtual time", format!("{:.1} s", figures.virtual_s)),
        ("real time, to virtual", {
            let real = took.as_secs_f64();
            format!("{real:.2} s, 1 to {:.1}", figures.virtual_s / real.max(1e-6))
        }),
        ("most memory", {
            memory::peak().map_or("unknown".to_owned(), |bytes| format!("{} MB", bytes / 1_000_000))
        }),
        ("events, per second", { format!("{}, {}", figures.events, rate(figures.events, took)) }),
        ("most under way", figures.most_planned.to_string()),
        ("trace", figures.trace.clone()),
    ])
}

/// Many runs of one variant together.
#[derive(Debug)]
pub(super) struct Sum {
    pub(super) name: String,
    pub(super) runs: u64,
    pub(super) violations: u64,
    pub(super) took: Duration,
    /// Of each metric, the value of every run.
    pub(super) metrics: Vec<(&'static str, Vec<f64>)>,
}

impl Sum {
    pub(super) fn of(scenario: &Scenario) -> Self {
        let name = [&[scenario.name().to_owned()], scenario.settings()].concat().join(" ");
        Self { name, runs: 0, violations: 0, took: Duration::ZERO, metrics: Vec::new() }
    }

    pub(super) fn add(&mut self, done: &Done) {
        self.runs += 1;
        self.violations += u64::from(done.failure.is_some());
        let Some(figures) = &done.figures else { return };
        self.took += done.took;
        for (place, (name, value)) in figures.metrics().into_iter().enumerate() {
            if self.metrics.len() == place {
                self.metrics.push((name, Vec::new()));
            }
            self.metrics[place].1.push(value);
        }
    }

    pub(super) fn total(&self, metric: &str) -> f64 {
        let found = self.metrics.iter().find(|(name, _)| *name == metric);
        found.map_or(0.0, |(_, values)| values.iter().sum())
    }

    /// Of one metric over all runs: least, quantiles by nearest rank, most.
    pub(super) fn spread(values: &[f64]) -> [f64; 5] {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or_default()
        };
        [0, 50, 90, 99, 100].map(at)
    }
}

pub(super) fn sweep(sums: &[Sum]) -> String {
    let mut text = String::new();
    for sum in sums {
        let took = sum.took.as_secs_f64().max(1e-9);
        let rows = [
            ("runs", sum.runs.to_string()),
            ("violations", sum.violations.to_string()),
            ("events", number(sum.total("events"))),
            ("events per second and thread", number(sum.total("events") / took)),
            ("virtual time", format!("{} s", number(sum.total("virtual_s")))),
            ("crashes", number(sum.total("crashes"))),
            ("jobs accepted", number(sum.total("accepted"))),
        ];
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}\n", sum.name);
        text.push_str(&lines(&rows));
        let mut table = table(&["over all runs", "min", "p50", "p90", "p99", "max"]);
        for (name, values) in &sum.metrics {
            let cells = Sum::spread(values).map(number);
            table.add_row([vec![(*name).to_owned()], cells.to_vec()].concat());
        }
        align(&mut table);
        let _ = writeln!(text, "\n{table}\n");
    }
    text
}

pub(super) fn compared(names: [&str; 2], compared: &[Compared], seeds: &Range<u64>) -> String {
    let [one, other] = names;
    let mut table = table(&["metric", one, other, "difference", "95 % interval", ""]);
    for line in compared {
        let percent = match line.one {
            0.0 => String::new(),
            one => format!(" ({:+.1} %)", 100.0 * line.difference / one),
        };
        table.add_row([
            line.metric.to_owned(),
            number(line.one),
            number(line.other),
            format!("{}{percent}", signed(line.difference)),
            format!("{} to {}", signed(line.low), signed(line.high)),
            if line.is_sure() { "differs".to_owned() } else { String::new() },
        ]);
    }
    align(&mut table);
    format!(
        "seeds {} to {}, paired; difference is {other} − {one}, its mean's interval by bootstrap\n\
         {table}\n",
        seeds.start,
        seeds.end - 1
    )
}

fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(heads);
    table
}

fn align(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn lines(lines: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<32}{value}");
    }
    text
}

/// As many digits as say something.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        size if size >= 1_000.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (sign, rest) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, ""), |(w, f)| (w, f));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{point}{fraction}")
}

fn signed(value: f64) -> String {
    let text = number(value);
    if value > 0.0 { format!("+{text}") } else { text }
}

fn time(ms: f64) -> String {
    match ms {
        _ if ms >= 60_000.0 => format!("{:.1} min", ms / 60_000.0),
        _ if ms >= 1_000.0 => format!("{:.2} s", ms / 1_000.0),
        _ => format!("{ms:.1} ms"),
    }
}

fn rate(events: u64, took: Duration) -> String {
    let micros = took.as_micros().max(1);
    (u128::from(events) * 1_000_000 / micros).to_string()
}

fn spread(runs: &[u64]) -> String {
    if runs.len() <= LISTED {
        let runs: Vec<_> = runs.iter().rev().map(ToString::to_string).collect();
        return runs.join(", ");
    }
    let (least, most) = (runs[0], runs[runs.len() - 1]);
    format!("{least} to {most}, half at most {}", runs[(runs.len() - 1) / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        let said = [0.0, 7.0, 1234.56, 0.125, -1_234_567.0, 12.34].map(number);
        assert_eq!(said, ["0", "7", "1,235", "0.12", "-1,234,567", "12.3"]);
        assert_eq!([signed(1.0), signed(-1.0), signed(0.0)], ["+1", "-1", "0"]);
        assert_eq!([time(0.5), time(1_500.0), time(90_000.0)], ["0.5 ms", "1.50 s", "1.5 min"]);
    }
}
