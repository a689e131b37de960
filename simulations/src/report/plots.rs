//! The plots of a report, each from the lines of an observation.

use super::chart::{Axis, Chart, bytes, milliseconds, percent, short};
use crate::observe::{JobEnd, JobLine, MarkKind, Observation, PeerLine};

/// Marks beyond this many would be a grey wall.
const MARKS: usize = 200;
/// Jobs that are drawn one by one.
const JOBS: usize = 160;

/// Every plot, in the order of the page.
pub(super) fn all(seen: &Observation) -> Vec<String> {
    vec![
        queue(seen),
        latency(seen),
        work(seen),
        jobs(seen),
        waste(seen),
        traffic(seen),
        peers(seen),
        hosts(seen),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "for a picture; 2^53 of anything is out of reach")]
fn count(number: u64) -> f64 {
    number as f64
}

fn position(place: usize) -> f64 {
    count(place as u64)
}

fn time_axis(seen: &Observation) -> Axis {
    let mut axis = Axis::linear("virtual time (s)", seen.figures.virtual_s, short);
    axis.high = seen.figures.virtual_s.max(1.0);
    axis
}

fn over_time(seen: &Observation, of: impl Fn(&crate::Second) -> u64) -> Vec<(f64, f64)> {
    let points = seen.seconds.iter().map(|second| (count(second.second + 1), count(of(second))));
    std::iter::once((0.0, 0.0)).chain(points).collect()
}

fn most(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|point| point.1).fold(0.0, f64::max)
}

/// Draws what happened to the world over a chart with time from left to right.
fn events(chart: &mut Chart, seen: &Observation) {
    let mut legend = std::collections::BTreeSet::new();
    for mark in seen.marks.iter().take(MARKS) {
        let (class, label) = match mark.what {
            MarkKind::Crash if mark.whom.starts_with("coordinator") => ("mk", "coordinator crash"),
            MarkKind::Crash => ("mw", "other crash"),
            MarkKind::Partition => ("mp", "partition"),
            MarkKind::Violation => ("mv", "broken promise"),
            MarkKind::Trouble => ("mt", "other fault"),
            MarkKind::Heal => ("mh", "healed"),
            MarkKind::Return => continue,
        };
        legend.insert((class, label));
        let at = count(mark.at_us) / 1e6;
        chart.mark(class, at, &format!("{}: {} at {at:.1} s", mark.what.name(), mark.whom));
    }
    for (class, label) in legend {
        chart.legend(class, label);
    }
}

fn queue(seen: &Observation) -> String {
    let (queued, running) =
        (over_time(seen, |second| second.queued), over_time(seen, |second| second.running));
    let about = format!(
        "Jobs that wait for a worker, {} at most, and processes that train, {} at most.",
        most(&queued),
        most(&running)
    );
    let high = most(&queued).max(most(&running));
    let y = Axis::linear("jobs", high, short);
    let mut chart = Chart::new("queue", "Queue and running jobs", about, time_axis(seen), y).wide();
    chart.legend("fb", "waiting");
    chart.legend("fa", "running");
    events(&mut chart, seen);
    chart.area("fa", &running, true);
    chart.line("sa", &running, true);
    chart.area("fb", &queued, true);
    chart.line("sb", &queued, true);
    chart.html()
}

fn latency(seen: &Observation) -> String {
    let after = |until: fn(&JobLine) -> Option<f64>| {
        let mut values: Vec<_> = seen
            .jobs
            .iter()
            .filter_map(|job| Some((until(job)? - job.submitted_s?).max(0.0) * 1_000.0))
            .collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let accepted = after(|job| job.accepted_s);
    let started = after(|job| job.started_s);
    let ended = after(|job| job.done_s);
    let all = || accepted.iter().chain(&started).chain(&ended).copied();
    let (low, high) = (all().fold(f64::MAX, f64::min), all().fold(1.0, f64::max));
    let about = format!(
        "How many of all jobs were accepted, ran and were known to have ended so long after they \
         were handed in. Half are accepted after {}, half run after {}.",
        milliseconds(seen.figures.accept_ms.p50),
        milliseconds(seen.figures.start_ms.p50)
    );
    let x = Axis::log("time since handing in (log scale)", low.min(high), high, decade);
    let y = Axis::linear("% of jobs", 100.0, percent);
    let mut chart = Chart::new("latency", "Latency distribution", about, x, y);
    let total = position(seen.jobs.len().max(1));
    let curves = [("sa", "accepted", accepted), ("sb", "started", started), ("sc", "ended", ended)];
    for (class, name, values) in curves {
        let points: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(place, value)| (*value, 100.0 * position(place + 1) / total))
            .collect();
        chart.legend(class, name);
        chart.line(class, &points, false);
    }
    chart.html()
}

/// A power of ten of milliseconds; minutes would make odd numbers of it.
fn decade(value: f64) -> String {
    if value < 1_000.0 { format!("{value} ms") } else { format!("{} s", value / 1_000.0) }
}

fn work(seen: &Observation) -> String {
    let mut workers: Vec<_> = seen.peers.iter().filter(|peer| peer.utilisation.is_some()).collect();
    workers.sort_by(|a, b| b.computed_s.total_cmp(&a.computed_s));
    let share = |peer: &PeerLine| 100.0 * peer.utilisation.unwrap_or_default();
    let high = workers.iter().map(|peer| share(peer)).fold(0.0, f64::max);
    let (fairness, mean) = (seen.figures.fairness_permille, seen.figures.utilisation_permille);
    let about = format!(
        "The share of its slots' time that each worker computed. Jain's index of fairness is \
         {}.{:03} (1 when all did the same).",
        fairness / 1_000,
        fairness % 1_000
    );
    let mut x = Axis::linear("workers, busiest first", position(workers.len()), short);
    x.high = position(workers.len().max(1));
    let y = Axis::linear("% busy", high, percent);
    let mut chart = Chart::new("work", "Utilisation and fairness", about, x, y);
    let gap = if workers.len() <= 80 { 0.08 } else { 0.0 };
    for (place, peer) in workers.iter().enumerate() {
        let text = format!(
            "worker {}: {:.1} %, {} runs, {:.1} s computed",
            peer.host,
            share(peer),
            peer.runs,
            peer.computed_s
        );
        let left = position(place);
        chart.bar("fa", (left + gap, 0.0), (left + 1.0 - gap, share(peer)), &text);
    }
    let mean = count(mean) / 10.0;
    chart.level(mean, &format!("mean {mean:.1} %"));
    chart.html()
}

/// Every job as a row: waiting for acceptance, for a worker, then the time of its attempts.
fn jobs(seen: &Observation) -> String {
    let mut all: Vec<_> = seen.jobs.iter().filter(|job| job.submitted_s.is_some()).collect();
    all.sort_by(|a, b| a.submitted_s.unwrap_or(0.0).total_cmp(&b.submitted_s.unwrap_or(0.0)));
    let every = all.len().div_ceil(JOBS).max(1);
    let drawn: Vec<_> = all.iter().step_by(every).collect();
    let part = match every {
        1 => format!("All {} jobs", all.len()),
        _ => format!("{} of {} jobs", drawn.len(), all.len()),
    };
    let about =
        format!("{part} in the order in which they were handed in, each from then to its end.");
    let mut y = Axis::linear("jobs, first on top", position(drawn.len()), |_| String::new());
    y.high = position(drawn.len().max(1));
    let height = (position(drawn.len()) * 6.0).clamp(180.0, 620.0) + 74.0;
    let mut chart =
        Chart::new("jobs", "The life of the jobs", about, time_axis(seen), y).wide().tall(height);
    for (class, label) in [
        ("ff", "until accepted"),
        ("fd", "until it runs"),
        ("fc", "until completed"),
        ("fe", "until cancelled"),
        ("fb", "until failed or open"),
    ] {
        chart.legend(class, label);
    }
    events(&mut chart, seen);
    let over = seen.figures.virtual_s;
    for (row, job) in drawn.iter().enumerate() {
        // The first is on top.
        let (low, high) = (position(drawn.len() - row - 1), position(drawn.len() - row));
        let submitted = job.submitted_s.unwrap_or_default();
        let done = job.done_s.unwrap_or(over);
        let accepted = job.accepted_s.unwrap_or(done).min(done);
        let started = job.started_s.unwrap_or(done).clamp(accepted, done.max(accepted));
        let class = match job.end {
            JobEnd::Completed => "fc",
            JobEnd::Cancelled => "fe",
            JobEnd::Failed | JobEnd::Open => "fb",
        };
        let text = format!(
            "job {}: {} after {:.1} s, {} attempts, {:.1} s of computing wasted",
            job.job,
            job.end.name(),
            done - submitted,
            job.attempts,
            job.wasted_s
        );
        for (class, from, to) in
            [("ff", submitted, accepted), ("fd", accepted, started), (class, started, done)]
        {
            if to > from {
                chart.bar(class, (from, low + 0.15), (to, high - 0.15), &text);
            }
        }
    }
    chart.html()
}

fn waste(seen: &Observation) -> String {
    let sum = |of: &dyn Fn(&JobLine) -> f64| seen.jobs.iter().map(of).sum::<f64>();
    let wasted_by = |end: JobEnd| sum(&|job| if job.end == end { job.wasted_s } else { 0.0 });
    let rows = [
        ("fa", "counted", sum(&|job| job.computed_s - job.wasted_s)),
        ("fb", "attempts that did not count", wasted_by(JobEnd::Completed)),
        ("fe", "of cancelled jobs", wasted_by(JobEnd::Cancelled)),
        ("fd", "of failed or open jobs", wasted_by(JobEnd::Failed) + wasted_by(JobEnd::Open)),
    ];
    let wasted = seen.figures.wasted_permille;
    let about =
        format!("Where the computing went; {}.{} % settled no job.", wasted / 10, wasted % 10);
    let high = rows.iter().map(|row| row.2).fold(0.0, f64::max);
    let x = Axis::linear("computing (s)", high, short);
    let mut y = Axis::linear("", 4.0, |_| String::new());
    y.high = 4.0;
    let mut chart = Chart::new("waste", "Wasted work", about, x, y).tall(250.0);
    for (place, (class, name, seconds)) in rows.into_iter().enumerate() {
        let low = 3.0 - position(place);
        let text = format!("{name}: {seconds:.1} s");
        chart.bar(class, (0.0, low + 0.12), (seconds, low + 0.58), &text);
        chart.words(0.0, low + 0.68, &text);
    }
    chart.html()
}

fn traffic(seen: &Observation) -> String {
    let points = over_time(seen, |second| second.bytes);
    let about = format!(
        "All links together, every hop of gossip counted; {} and {} messages for each job.",
        bytes(count(seen.figures.bytes_per_job)),
        seen.figures.messages_per_job
    );
    let y = Axis::linear("bytes per second", most(&points), bytes);
    let mut chart = Chart::new("traffic", "Traffic", about, time_axis(seen), y);
    events(&mut chart, seen);
    chart.area("fa", &points, true);
    chart.line("sa", &points, true);
    chart.html()
}

fn peers(seen: &Observation) -> String {
    let mut peers: Vec<_> = seen.peers.iter().collect();
    peers.sort_by_key(|peer| std::cmp::Reverse(peer.bytes_out + peer.bytes_in));
    let total = |peer: &PeerLine| count(peer.bytes_out + peer.bytes_in).max(1.0);
    let (high, low) = (
        peers.first().map_or(1.0, |peer| total(peer)),
        peers.last().map_or(1.0, |peer| total(peer)),
    );
    let about = "What each peer sent and received; the busiest carries the most of the load.";
    let mut x = Axis::linear("peers, busiest first", position(peers.len()), short);
    x.high = position(peers.len().max(1));
    // Bars of a log scale say little of sizes that lie close together.
    let y = if high > 20.0 * low {
        Axis::log("bytes, sent and received (log scale)", low, high, bytes)
    } else {
        Axis::linear("bytes, sent and received", high, bytes)
    };
    let floor = y.low;
    let mut chart = Chart::new("peers", "Traffic of each peer", about.to_owned(), x, y);
    for (class, label) in [("fb", "coordinator"), ("fc", "submitter"), ("fa", "worker")] {
        chart.legend(class, label);
    }
    let gap = if peers.len() <= 80 { 0.08 } else { 0.0 };
    for (place, peer) in peers.iter().enumerate() {
        let class = match peer.part {
            "coordinator" => "fb",
            "submitter" => "fc",
            _ => "fa",
        };
        let text = format!(
            "{} {}: {} out in {} messages, {} in",
            peer.part,
            peer.host,
            bytes(count(peer.bytes_out)),
            peer.messages_out,
            bytes(count(peer.bytes_in))
        );
        let left = position(place);
        chart.bar(class, (left + gap, floor), (left + 1.0 - gap, total(peer)), &text);
    }
    chart.html()
}

fn hosts(seen: &Observation) -> String {
    let peers = u64::from(seen.figures.peers);
    // In the first second they come up.
    let away = over_time(seen, |second| match second.second {
        0 => 0,
        _ => peers.saturating_sub(second.up),
    });
    let leaders = over_time(seen, |second| second.leaders);
    let without = seen.seconds.iter().filter(|second| second.leaders == 0).count();
    let about = format!(
        "Hosts that are away, {} at most, and coordinators that lead; {without} s without a \
         leader, those of the beginning included.",
        most(&away)
    );
    let y = Axis::linear("hosts", most(&away).max(most(&leaders)), short);
    let mut chart = Chart::new("hosts", "Hosts away and leaders", about, time_axis(seen), y);
    chart.legend("sb", "away");
    chart.legend("sc", "leaders");
    events(&mut chart, seen);
    chart.line("sb", &away, true);
    chart.line("sc", &leaders, true);
    chart.html()
}
