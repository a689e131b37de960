//! Views as a node would send them.

use std::collections::BTreeMap;

use crate::api::view::{
    AttemptView, BidView, CheckpointView, CommitteeView, DecisionView, DroppedView, FailureView,
    FileView, JobLineView, JobPhase, JobView, MemberView, NodeView, OfficeView, ProgressView,
    RefusedView, ResultView, SeatView, SubmitterView, TermView, TrafficView, WaitingView,
    WorkerView,
};

pub(crate) const JOB: &str = "019d0c0a-1111-7aaa-8000-000000000001";
pub(crate) const OTHER_JOB: &str = "019d0c0a-1111-7aab-8000-000000000002";
pub(crate) const WORKER: &str = "12D3KooWAbcdefghijkLmNoPq3f9aZ2";
pub(crate) const OTHER_WORKER: &str = "12D3KooWAbcdefghijkLmNoPqXXXyy1";
/// When the samples look at the clock.
pub(crate) const NOW: u64 = 1_800_000_100_000;

pub(crate) fn line(job: &str, name: &str) -> JobLineView {
    JobLineView {
        job: job.to_owned(),
        name: name.to_owned(),
        submitter: WORKER.to_owned(),
        mine: true,
        state: JobPhase::Running,
        worker: Some(WORKER.to_owned()),
        attempts: 1,
        accepted_at: NOW - 12_000,
        ended_at: None,
        progress: Some(0.5),
        paused_at: None,
    }
}

pub(crate) fn job(state: JobPhase) -> JobView {
    let text = serde_json::json!({
        "job": JOB, "name": "digits", "submitter": WORKER, "mine": true, "state": state,
        "cancel_requested": false, "paused_at": null, "paused_ms": 0, "priority": 5, "accepted_at": NOW - 30_000,
        "started_at": null, "ended_at": null, "failure": null, "waiting": null,
        "progress": null, "attempts": [], "decisions": [], "result": null,
        "workload": {}, "requirements": {}, "limits": {},
        "estimate": { "memory_mb": 120, "mflop": 9_000, "duration_ms": 240_000 },
    });
    let mut job: JobView = serde_json::from_value(text).unwrap();
    if state != JobPhase::Queued {
        job.attempts.push(AttemptView {
            attempt: 1,
            worker: WORKER.to_owned(),
            price: 3,
            awarded_at: NOW - 29_000,
            ended_at: None,
            end: None,
        });
    }
    if state.is_final() {
        job.ended_at = Some(NOW - 5_000);
    }
    job
}

pub(crate) fn completed(files: Vec<FileView>) -> JobView {
    let mut job = job(JobPhase::Completed);
    job.result = Some(result(files));
    job
}

pub(crate) fn result(files: Vec<FileView>) -> ResultView {
    ResultView {
        worker: WORKER.to_owned(),
        attempt: 1,
        metrics: metrics(&[("loss", 0.0123), ("test_accuracy", 0.9722), ("test_loss", 0.1042)]),
        parameters: 167_434,
        engine: "cpu".to_owned(),
        threads: 2,
        compute_ms: 4_210,
        reports: 50,
        chain: "00".repeat(32),
        files,
    }
}

pub(crate) fn failed(kind: &str, message: &str) -> JobView {
    let mut job = job(JobPhase::Failed);
    job.failure = Some(FailureView { kind: kind.to_owned(), message: message.to_owned() });
    job
}

pub(crate) fn waiting() -> JobView {
    let mut job = job(JobPhase::Queued);
    let reasons = vec!["needs 64 cores, has 2".to_owned(), "has no cuda device".to_owned()];
    let workers = vec![RefusedView { worker: WORKER.to_owned(), reasons }];
    job.waiting = Some(WaitingView { why: "no worker fits".to_owned(), workers });
    job
}

pub(crate) fn paused() -> JobView {
    let mut job = job(JobPhase::Paused);
    job.paused_at = Some(NOW - 180_000);
    job.checkpoint = Some(CheckpointView { epoch: 12, batch: 30, size: 1_000 });
    job
}

pub(crate) fn decided() -> JobView {
    let mut job = job(JobPhase::Running);
    let term = |factor: &str, value, points, weight| TermView {
        factor: factor.to_owned(),
        value,
        points,
        weight,
    };
    let bid = |worker: &str, price, score, terms| BidView {
        worker: worker.to_owned(),
        price,
        score,
        terms,
    };
    job.decisions.push(DecisionView {
        attempt: 1,
        at: NOW - 29_000,
        took_ms: 41.2,
        policy: "balanced".to_owned(),
        price_paid: 4,
        bids: vec![
            bid(WORKER, 3, 812, vec![term("compute", 0.9, 360, 400), term("load", 1.0, 452, 600)]),
            bid(OTHER_WORKER, 4, 500, vec![term("compute", 0.5, 200, 400)]),
        ],
        refused: vec![RefusedView {
            worker: OTHER_WORKER.to_owned(),
            reasons: vec!["needs 512 MiB, has 256".to_owned()],
        }],
        unlisted: 2,
    });
    job
}

pub(crate) fn progress(epoch: u32, loss: f64) -> ProgressView {
    ProgressView {
        done: f64::from(epoch) / 50.0,
        epoch,
        epochs: 50,
        metrics: metrics(&[("loss", loss), ("accuracy", 0.961), ("val_loss", loss * 1.5)]),
        samples_per_second: 45_300.0,
        elapsed_ms: 2_000,
        eta_ms: Some(7_400),
        ..ProgressView::default()
    }
}

pub(crate) fn metrics(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
}

/// A seat of [`WORKER`] in term 4, with others who are silent for so long.
pub(crate) fn seat(office: OfficeView, silent_ms: &[Option<u64>]) -> SeatView {
    let members = silent_ms.iter().enumerate().map(|(number, &silent_ms)| MemberView {
        peer: match number {
            0 => WORKER.to_owned(),
            other => format!("{}{other}", OTHER_WORKER.trim_end_matches('1')),
        },
        silent_ms,
        behind: 0,
    });
    SeatView {
        office,
        term: 4,
        leader: WORKER.to_owned(),
        epoch: 3,
        joint: false,
        members: members.collect(),
        candidates: 0,
    }
}

pub(crate) fn node() -> NodeView {
    NodeView {
        peer: WORKER.to_owned(),
        version: "0.1.0".to_owned(),
        network: "home".to_owned(),
        invite: "cyxwiz1:home".to_owned(),
        started_at: NOW - 300_000,
        data_dir: "/data/cyxwiz".into(),
        listening: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
        connected: 1,
        committee: Some(CommitteeView {
            leader: OTHER_WORKER.to_owned(),
            members: vec![OTHER_WORKER.to_owned(), WORKER.to_owned()],
            epoch: 1,
            term: 3,
        }),
        coordinator: None,
        worker: Some(WorkerView {
            running: 1,
            max_concurrent: 3,
            cores: 8,
            memory_mb: 15_872,
            devices: Vec::new(),
            mflops: 52_300,
            price: 3,
        }),
        submitter: SubmitterView { unaccepted: 0, unfinished: 1 },
        traffic: TrafficView { bytes_in: 1_536, bytes_out: 900 },
        dropped: DroppedView { unsigned: 2, ..DroppedView::default() },
    }
}
