//! What watching shows, from events to lines.

use std::time::{Duration, Instant};

use super::course::Course;
use super::frame::frame;
use super::plain::Plain;
use crate::api::view::{JobEvent, JobPhase};
use crate::cli::output::Ids;
use crate::cli::tests::samples::{self, NOW, WORKER};

fn state(phase: JobPhase) -> JobEvent {
    JobEvent::State { job: Box::new(samples::job(phase)) }
}

fn report(attempt: u32, epoch: u32, loss: f64) -> JobEvent {
    let progress = samples::progress(epoch, loss);
    JobEvent::Report { attempt, number: epoch, worker: WORKER.to_owned(), progress }
}

#[test]
fn a_log_has_one_line_an_epoch_and_at_most_one_a_second() {
    let start = Instant::now();
    let mut plain = Plain::new(Ids::Short);
    let mut lines = Vec::new();
    lines.extend(plain.take(&state(JobPhase::Running), start));
    // The same state again says nothing new.
    lines.extend(plain.take(&state(JobPhase::Running), start));
    for (ms, epoch) in [(0, 1), (400, 2), (900, 3), (1_100, 4), (2_000, 4), (2_500, 5)] {
        lines.extend(plain.take(&report(1, epoch, 0.5), start + Duration::from_millis(ms)));
    }
    lines.extend(plain.take(&report(1, 50, 0.1), start + Duration::from_millis(2_600)));
    lines.extend(plain.take(&state(JobPhase::Completed), start + Duration::from_millis(2_700)));
    let heads: Vec<_> = lines.iter().map(|line| line.split("  loss").next().unwrap()).collect();
    let expected = [
        "job digits (019d0c0a-1111) running on …3f9aZ2",
        "epoch  1/50",
        "epoch  4/50",
        "epoch  5/50",
        "epoch 50/50",
        "job digits (019d0c0a-1111) completed",
    ];
    assert_eq!(heads, expected);
    let whole = "epoch  1/50  loss 0.5000  accuracy 96.1 %  45.3k samples/s  ETA 0:07";
    assert_eq!(lines[1], whole);
}

#[test]
fn a_log_says_why_a_job_waits_and_what_troubles_it_once() {
    let mut plain = Plain::new(Ids::Short);
    let waiting = JobEvent::State { job: Box::new(samples::waiting()) };
    let trouble = JobEvent::Trouble { message: "the coordinator is silent".to_owned() };
    let now = Instant::now();
    let lines = plain.take(&waiting, now);
    assert_eq!(lines, ["job digits (019d0c0a-1111) queued", "  no worker fits"]);
    assert!(plain.take(&waiting, now).is_empty());
    assert_eq!(plain.take(&trouble, now), ["the coordinator is silent"]);
    assert!(plain.take(&trouble, now).is_empty());
}

fn picture(course: &Course, columns: usize, rows: usize) -> Vec<String> {
    frame(course, (columns, rows), NOW, Ids::Short, false)
}

#[test]
fn a_picture_shows_state_progress_metrics_and_curve() {
    let mut course = Course::default();
    assert_eq!(picture(&course, 80, 24), ["waiting for the job's state"]);
    course.take(&state(JobPhase::Running));
    for epoch in 1..=25 {
        course.take(&report(1, epoch, 2.0 / f64::from(epoch)));
    }
    let lines = picture(&course, 80, 24);
    assert_eq!(lines[0], "digits  019d0c0a-1111  running on …3f9aZ2");
    let bar = format!("{}{}   50 %  epoch 25/50  ETA 0:07", "━".repeat(20), " ".repeat(20));
    assert_eq!(lines[1], bar);
    assert_eq!(lines[2], "loss 0.0800   accuracy 96.1 %   45.3k samples/s");
    assert_eq!(lines.len(), 3 + 1 + 8 + 3);
    assert!(lines.last().unwrap().contains("• validation loss"));
    // A low terminal gets no curve, a narrow one a shorter bar.
    assert_eq!(picture(&course, 80, 12).len(), 3);
    assert!(picture(&course, 40, 24)[1].chars().count() <= 40);
    for (columns, rows) in [(0, 0), (1, 1), (10, 2), (500, 500)] {
        assert!(picture(&course, columns, rows).len() <= rows.max(2));
    }
}

#[test]
fn a_run_that_reads_says_so() {
    let mut course = Course::default();
    course.take(&state(JobPhase::Running));
    let mut progress = samples::progress(0, 1.0);
    (progress.epochs, progress.batches, progress.done) = (0, 0, 0.0);
    (progress.eta_ms, progress.elapsed_ms) = (None, 65_000);
    progress.metrics.clear();
    let worker = WORKER.to_owned();
    let report = JobEvent::Report { attempt: 1, number: 1, worker, progress };
    course.take(&report);
    assert!(picture(&course, 80, 24)[1].ends_with("0 %  reading the data  1:05"));
    let mut plain = Plain::new(Ids::Short);
    assert_eq!(plain.take(&report, Instant::now()), ["reading the data  1:05"]);
}

#[test]
fn a_queued_job_shows_what_it_waits_for() {
    let mut course = Course::default();
    course.take(&JobEvent::State { job: Box::new(samples::waiting()) });
    let expected = ["digits  019d0c0a-1111  queued", "for 30 s: no worker fits"];
    assert_eq!(picture(&course, 80, 24), expected);
}

#[test]
fn a_new_attempt_begins_a_new_curve_and_old_reports_are_passed_over() {
    let mut course = Course::default();
    course.take(&state(JobPhase::Running));
    course.take(&report(1, 10, 0.5));
    course.take(&report(1, 8, 0.6));
    assert_eq!(course.progress.as_ref().unwrap().epoch, 10);
    assert_eq!(course.loss.points, [(10.0, 0.5)]);
    course.take(&report(2, 1, 2.0));
    assert_eq!((course.attempt, course.loss.points.len()), (2, 1));
    assert_eq!(course.progress.as_ref().unwrap().epoch, 1);
}

#[test]
fn a_curve_never_grows_beyond_its_bound() {
    let mut course = Course::default();
    for step in 0..20_000 {
        let mut progress = samples::progress(50, 1.0);
        progress.done = f64::from(step) / 20_000.0;
        let worker = WORKER.to_owned();
        course.take(&JobEvent::Report { attempt: 1, number: step as u32, worker, progress });
    }
    assert!(course.loss.points.len() <= 4_096);
    assert!(course.loss.points.is_sorted_by(|left, right| left.0 < right.0));
}
