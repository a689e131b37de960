//! From the protocol's types to what people and programs read.

use std::collections::BTreeMap;

use cyxwiz_protocol::{
    CommitteeStatus, OfficeKind, PeerStatus,
    job::{EndReason, FailReason, JobRecord, JobState},
    message::{
        pausing::OrderRefusal,
        query::{DecisionRecord, JobDetail, JobLine, Phase, RefusedWorker, Waiting, WorkerLine},
        submission::Refusal,
    },
    report::{Ending, Metric, Progress},
    spec::Estimate,
};

use super::{Failure, Parts, view};
use cyxwiz_protocol::{NetworkId, PeerId, UnixMillis, charter::Invite};
use view::{ErrorKind, JobPhase};

pub(super) fn node(
    status: PeerStatus,
    parts: &Parts,
    listening: Vec<String>,
    invite: &Invite,
    traffic: view::TrafficView,
    started_at: u64,
) -> view::NodeView {
    let dropped = status.dropped;
    view::NodeView {
        peer: status.id.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        network: parts.membership.network.name().to_owned(),
        invite: invite.to_string(),
        started_at,
        data_dir: parts.data_dir.clone(),
        listening,
        connected: status.connected,
        committee: status.committee.map(|record| view::CommitteeView {
            leader: record.ballot.leader.to_string(),
            members: record.members.iter().map(|member| member.peer.to_string()).collect(),
            epoch: record.epoch,
            term: record.ballot.term,
        }),
        coordinator: status.coordinator.map(|counts| view::CoordinatorView {
            leading: counts.leading,
            queued: counts.queued,
            running: counts.running,
            paused: counts.paused,
            finished: counts.finished,
            workers: counts.workers,
            seat: seat(counts.committee),
        }),
        worker: status.worker.map(|worker| view::WorkerView {
            running: worker.running,
            max_concurrent: worker.max_concurrent,
            cores: worker.capability.cores,
            memory_mb: worker.capability.memory_mb,
            devices: worker.capability.devices.iter().map(device).collect(),
            mflops: worker.capability.speed,
            price: worker.capability.price,
        }),
        submitter: view::SubmitterView {
            unaccepted: status.unaccepted,
            unfinished: status.unfinished,
        },
        traffic,
        dropped: view::DroppedView {
            unreadable: dropped.unreadable,
            version: dropped.version,
            network: dropped.network,
            unsigned: dropped.unsigned,
            stale: dropped.stale,
        },
    }
}

fn seat(status: CommitteeStatus) -> view::SeatView {
    let members = status.members.into_iter().map(|member| view::MemberView {
        peer: member.peer.to_string(),
        silent_ms: member.silent_ms,
        behind: member.behind,
    });
    view::SeatView {
        office: match status.office {
            OfficeKind::Leader => view::OfficeView::Leader,
            OfficeKind::Follower => view::OfficeView::Follower,
            OfficeKind::Electing => view::OfficeView::Electing,
            OfficeKind::Candidate => view::OfficeView::Candidate,
        },
        term: status.ballot.term,
        leader: status.ballot.leader.to_string(),
        epoch: status.epoch,
        joint: status.joint,
        members: members.collect(),
        candidates: status.candidates,
    }
}

fn device(device: &cyxwiz_scoring::Device) -> view::DeviceView {
    view::DeviceView {
        kind: device.kind.to_string(),
        name: device.name.clone(),
        memory_mb: device.memory_mb,
    }
}

pub(super) fn worker_line(line: WorkerLine) -> view::WorkerLineView {
    view::WorkerLineView {
        worker: line.worker.to_string(),
        cores: line.capability.cores,
        memory_mb: line.capability.memory_mb,
        devices: line.capability.devices.iter().map(|device| device.kind.to_string()).collect(),
        max_concurrent: line.capability.max_concurrent,
        running: line.running,
        completed: line.completed,
        failed: line.failed,
        reputation: f64::from(line.reputation.get()) / 1_000.0,
    }
}

pub(super) fn job_line(line: &JobLine, me: PeerId) -> view::JobLineView {
    view::JobLineView {
        job: line.job.to_string(),
        name: line.name.to_string(),
        submitter: line.submitter.to_string(),
        mine: line.submitter == me,
        state: match line.state {
            Phase::Queued => JobPhase::Queued,
            Phase::Running => JobPhase::Running,
            Phase::Completed => JobPhase::Completed,
            Phase::Failed => JobPhase::Failed,
            Phase::Cancelled => JobPhase::Cancelled,
            Phase::Pausing => JobPhase::Pausing,
            Phase::Paused => JobPhase::Paused,
        },
        worker: line.worker.map(|worker| worker.to_string()),
        attempts: line.attempts,
        accepted_at: line.accepted_at.0,
        ended_at: line.ended_at.map(|at| at.0),
        progress: line.permille.map(|permille| f64::from(permille) / 1_000.0),
        paused_at: line.paused_at.map(|at| at.0),
    }
}

/// A job for people; none when its spec is not what its submitter signed.
pub(super) fn job(detail: &JobDetail, network: NetworkId, me: PeerId) -> Option<view::JobView> {
    let spec = detail.spec.verify(network).ok()?;
    let record = &detail.record;
    let (state, ended_at) = phase(record);
    let workload = serde_json::from_str(&spec.workload).unwrap_or_default();
    Some(view::JobView {
        job: record.job.to_string(),
        name: spec.name.to_string(),
        submitter: record.submitter.to_string(),
        mine: record.submitter == me,
        state,
        cancel_requested: record.cancel_requested,
        paused_at: record.paused_since().map(|at| at.0),
        paused_ms: record.pause.past_ms,
        priority: spec.priority.0,
        accepted_at: record.accepted_at.0,
        started_at: detail.started_at.map(|at| at.0),
        ended_at: ended_at.map(|at| at.0),
        failure: failure(record),
        waiting: detail.waiting.as_ref().map(waiting),
        // Before the first frame there is nothing to tell.
        progress: detail.progress.as_ref().filter(|it| it.epochs > 0).map(progress),
        checkpoint: record.checkpoint.as_ref().map(|checkpoint| view::CheckpointView {
            epoch: checkpoint.epoch,
            batch: checkpoint.batch,
            size: checkpoint.file.size,
        }),
        attempts: record.attempts.iter().map(attempt).collect(),
        decisions: detail.decisions.iter().map(decision).collect(),
        result: result(record, network),
        workload,
        requirements: serde_json::to_value(&spec.requirements).unwrap_or_default(),
        limits: serde_json::to_value(spec.limits).unwrap_or_default(),
        estimate: estimate(spec.estimate, detail.speed),
    })
}

/// How long it takes is known only of a worker that says how fast it is.
pub(super) fn estimate(estimate: Estimate, speed: Option<u32>) -> view::EstimateView {
    let speed = speed.filter(|speed| *speed > 0).map(u64::from);
    view::EstimateView {
        memory_mb: estimate.memory_mb,
        mflop: estimate.mflop,
        duration_ms: speed.map(|speed| estimate.mflop.saturating_mul(1_000) / speed),
    }
}

const fn phase(record: &JobRecord) -> (JobPhase, Option<UnixMillis>) {
    match &record.state {
        JobState::Queued { .. } => (JobPhase::Queued, None),
        JobState::Assigned if record.pause.requested => (JobPhase::Pausing, None),
        JobState::Paused { .. } => (JobPhase::Paused, None),
        JobState::Assigned => (JobPhase::Running, None),
        JobState::Completed { at, .. } => (JobPhase::Completed, Some(*at)),
        JobState::Failed { at, .. } => (JobPhase::Failed, Some(*at)),
        JobState::Cancelled { at } => (JobPhase::Cancelled, Some(*at)),
    }
}

fn failure(record: &JobRecord) -> Option<view::FailureView> {
    let JobState::Failed { reason, .. } = &record.state else { return None };
    let kind = match reason {
        FailReason::NobodyCould { .. } => "nobody_could",
        FailReason::Fatal { .. } => "fatal",
        FailReason::TookTooLong { .. } => "took_too_long",
        FailReason::AttemptsUsedUp { .. } => "attempts_used_up",
        FailReason::PausedTooLong => "paused_too_long",
    };
    Some(view::FailureView { kind: kind.to_owned(), message: reason.to_string() })
}

fn waiting(waiting: &Waiting) -> view::WaitingView {
    match waiting {
        Waiting::NoWorkers => view::WaitingView {
            why: "no worker is on the network yet".to_owned(),
            workers: Vec::new(),
        },
        Waiting::Auction => {
            view::WaitingView { why: "bids are being taken".to_owned(), workers: Vec::new() }
        }
        Waiting::NobodyFree { workers, reasons } => view::WaitingView {
            why: format!("none of {workers} workers can take it now"),
            workers: reasons.iter().map(refused).collect(),
        },
    }
}

fn refused(worker: &RefusedWorker) -> view::RefusedView {
    view::RefusedView {
        worker: worker.worker.to_string(),
        reasons: worker.reasons.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn progress(progress: &Progress) -> view::ProgressView {
    view::ProgressView {
        done: f64::from(progress.permille()) / 1_000.0,
        epoch: progress.epoch,
        epochs: progress.epochs,
        batch: progress.batch,
        batches: progress.batches,
        metrics: metrics(&progress.metrics),
        learning_rate: progress.learning_rate,
        samples_processed: progress.samples_processed,
        samples_per_second: progress.samples_per_second,
        elapsed_ms: progress.elapsed_ms,
        eta_ms: progress.eta_ms,
        memory_mb: progress.memory_mb,
        cpu_percent: progress.cpu_percent,
        gpu_percent: progress.gpu_percent,
        gpu_memory_mb: progress.gpu_memory_mb,
    }
}

fn metrics(metrics: &[Metric]) -> BTreeMap<String, f64> {
    metrics.iter().map(|metric| (metric.name.clone(), metric.value)).collect()
}

fn attempt(attempt: &cyxwiz_protocol::job::AttemptRecord) -> view::AttemptView {
    view::AttemptView {
        attempt: attempt.attempt.0,
        worker: attempt.worker.to_string(),
        price: attempt.price,
        awarded_at: attempt.awarded_at.0,
        ended_at: attempt.end.as_ref().map(|end| end.at.0),
        end: attempt.end.as_ref().map(|end| EndReason::to_string(&end.why)),
    }
}

fn decision(decision: &DecisionRecord) -> view::DecisionView {
    let bids = decision.ranking.iter().map(|bid| view::BidView {
        worker: bid.worker.to_string(),
        price: bid.price,
        score: bid.score.total,
        terms: bid
            .score
            .terms
            .iter()
            .map(|term| view::TermView {
                factor: term.factor.to_string(),
                value: f64::from(term.value.get()) / 1_000.0,
                points: term.points,
                weight: term.weight,
            })
            .collect(),
    });
    view::DecisionView {
        attempt: decision.attempt.0,
        at: decision.at.0,
        took_ms: decision.took_us as f64 / 1_000.0,
        policy: decision.policy.clone(),
        price_paid: decision.price_paid,
        bids: bids.collect(),
        refused: decision.refused.iter().map(refused).collect(),
        unlisted: decision.unlisted,
    }
}

/// What a completed job left, when the receipt is one that its worker signed.
pub(super) fn result(record: &JobRecord, network: NetworkId) -> Option<view::ResultView> {
    let JobState::Completed { receipt, .. } = &record.state else { return None };
    let receipt = receipt.verify(network).ok()?;
    let awarded = record
        .attempts
        .iter()
        .any(|attempt| attempt.worker == receipt.author() && attempt.attempt == receipt.attempt);
    let Ending::Succeeded(success) = &receipt.ending else { return None };
    if !awarded || receipt.job != record.job {
        return None;
    }
    Some(view::ResultView {
        worker: receipt.author().to_string(),
        attempt: receipt.attempt.0,
        metrics: metrics(&success.metrics),
        parameters: success.parameters,
        engine: success.engine.clone(),
        threads: success.threads,
        compute_ms: receipt.compute_ms,
        reports: receipt.reports,
        chain: receipt.chain.to_string(),
        files: success
            .outputs
            .iter()
            .map(|file| view::FileView {
                name: file.name.to_string(),
                size: file.size,
                sha256: file.artifact.to_string(),
            })
            .collect(),
    })
}

/// Why an order to pause or resume was refused.
pub(super) fn order_refusal(refusal: OrderRefusal) -> Failure {
    let kind = match refusal {
        OrderRefusal::Unknown => ErrorKind::NotFound,
        OrderRefusal::NotYours
        | OrderRefusal::Ended(_)
        | OrderRefusal::Cancelling
        | OrderRefusal::Overtaken => ErrorKind::Refused,
    };
    Failure::new(kind, refusal.to_string())
}

/// Why a submission was refused, with what to do.
pub(super) fn refusal(refusal: &Refusal) -> Failure {
    let text = refusal.to_string();
    match refusal {
        Refusal::NobodyCould { .. } => Failure::new(ErrorKind::NobodyCould, text)
            .hint("ask for less in [requirements], or add a worker that has it"),
        Refusal::Spec(_) | Refusal::Workload(_) => Failure::new(ErrorKind::Usage, text),
        Refusal::Unknown => Failure::new(ErrorKind::NotFound, text),
        Refusal::Full(_) => Failure::new(ErrorKind::Busy, text).hint("try again later"),
        Refusal::Inputs(_) | Refusal::OtherContent | Refusal::NotSigned | Refusal::NotYours => {
            Failure::new(ErrorKind::Refused, text)
        }
    }
}
