//! The picture of a job under way: what it is, how far it is, how well it learns.

use super::course::Course;
use crate::api::view::{JobPhase, JobView, ProgressView};
use crate::cli::metrics;
use crate::cli::plot::{Paper, Series, plot};
use crate::cli::quantity::{Ids, clock, coarse, rate, short_job};
use crate::cli::table::phase_word;

/// The lines of the picture, at most `rows - 1`, for a terminal of `(columns, rows)`.
pub(super) fn frame(
    course: &Course,
    (columns, rows): (usize, usize),
    now: u64,
    ids: Ids,
    colours: bool,
) -> Vec<String> {
    let Some(job) = &course.job else { return vec!["waiting for the job's state".to_owned()] };
    let mut lines = vec![headline(course, job, now, ids, colours)];
    if job.state == JobPhase::Queued {
        lines.push(waiting(job, now));
    }
    if job.state != JobPhase::Queued
        && let Some(progress) = &course.progress
    {
        lines.push(bar(course, columns));
        let mut words = metrics::in_short(&progress.metrics);
        if progress.samples_per_second > 0.0 {
            words.push(format!("{} samples/s", rate(progress.samples_per_second)));
        }
        lines.push(words.join("   "));
    }
    if let Some(trouble) = &course.trouble {
        lines.push(trouble.clone());
    }
    if lines.len() + PLOT_ROWS + AXIS_ROWS + 1 < rows {
        lines.extend(curves(course, columns, colours));
    }
    lines.truncate(rows.saturating_sub(1).max(1));
    lines
}

fn headline(course: &Course, job: &JobView, now: u64, ids: Ids, colours: bool) -> String {
    let style = console::Style::new().force_styling(colours);
    let state = match job.state {
        JobPhase::Queued => style,
        JobPhase::Running => style.cyan(),
        JobPhase::Completed => style.green(),
        JobPhase::Failed => style.red(),
        JobPhase::Cancelled | JobPhase::Pausing | JobPhase::Paused => style.yellow(),
    };
    let word = phase_word(job.state);
    let word = if colours { state.apply_to(word).to_string() } else { word.to_owned() };
    let mut line = format!("{}  {}  {word}", job.name, short_job(&job.job));
    let rests = matches!(job.state, JobPhase::Queued | JobPhase::Paused);
    if let Some(worker) = course.worker.as_ref().filter(|_| !rests) {
        line.push_str(&format!(" on {}", ids.peer(worker)));
    }
    if course.attempt > 1 {
        line.push_str(&format!(", attempt {}", course.attempt));
    }
    if job.cancel_requested && !job.state.is_final() {
        line.push_str(", being cancelled");
    }
    if let Some(at) = job.paused_at {
        line.push_str(&format!(" for {}", coarse(now.saturating_sub(at))));
    }
    line
}

fn waiting(job: &JobView, now: u64) -> String {
    let since = coarse(now.saturating_sub(job.accepted_at));
    match &job.waiting {
        Some(waiting) => format!("for {since}: {}", waiting.why),
        None => format!("for {since}"),
    }
}

/// `━━━━━━━━━━━━╸         52 %  epoch 26/50  ETA 0:04`
fn bar(course: &Course, columns: usize) -> String {
    let Some(progress) = &course.progress else { return String::new() };
    let done = if progress.done.is_finite() { progress.done.clamp(0.0, 1.0) } else { 0.0 };
    let at = match progress.epochs {
        0 => before_training(progress).to_owned(),
        epochs => format!("epoch {}/{epochs}", progress.epoch),
    };
    let mut words = format!("{:3.0} %  {at}", done * 100.0);
    match progress.eta_ms.filter(|_| done < 1.0) {
        Some(eta) => words.push_str(&format!("  ETA {}", clock(eta))),
        None => words.push_str(&format!("  {}", clock(progress.elapsed_ms))),
    }
    let width = columns.saturating_sub(words.chars().count() + 3).clamp(MIN_BAR, MAX_BAR);
    let halves = (done * (width * 2) as f64).round() as usize;
    let tip = if halves % 2 == 1 { "╸" } else { "" };
    let filled = format!("{}{tip}", "━".repeat(halves / 2));
    format!("{filled:width$}  {words}")
}

/// What a run does of which nobody knows the epochs yet.
pub(crate) fn before_training(progress: &ProgressView) -> &'static str {
    // The trainer tells the time, and nothing else, while it reads.
    if progress.elapsed_ms > 0 { "reading the data" } else { "preparing" }
}

fn curves(course: &Course, columns: usize, colours: bool) -> Vec<String> {
    let epochs = course.progress.as_ref().map_or(1, |progress| progress.epochs.max(1));
    let room = columns.saturating_sub(LABELS).min(PLOT_COLUMNS);
    if room < MIN_PLOT_COLUMNS || course.loss.points.len() < 2 {
        return Vec::new();
    }
    let series = [
        Series { name: "loss", points: &course.loss.points },
        Series { name: "validation loss", points: &course.validation.points },
    ];
    let span = (0.0, f64::from(epochs));
    let paper = Paper { columns: room, rows: PLOT_ROWS, span, title: "epoch", colours };
    let mut lines = vec![String::new()];
    lines.extend(plot(&series, &paper));
    lines
}

const PLOT_COLUMNS: usize = 60;
const PLOT_ROWS: usize = 8;
/// Axis, its numbers, legend, and the empty line above.
const AXIS_ROWS: usize = 4;
/// Numbers and axis at the left.
const LABELS: usize = 11;
const MIN_PLOT_COLUMNS: usize = 20;
const MIN_BAR: usize = 10;
const MAX_BAR: usize = 40;
