//! One of everything that travels, the same in every run.

use std::sync::LazyLock;

use cyxwiz_protocol::{
    Attempt, Ballot, CellId, Digest, RequestId, StoreId, UnixMillis, WorkerRecord,
    job::{AttemptEnd, AttemptRecord, EndReason, JobRecord, JobState},
    message::{
        Gossip, Message,
        auction::{Announcement, Auction, Audience, Award, Bid, Bids, Call},
        encode_gossip, encode_message,
        membership::{CommitteeRecord, Member, Membership, Offer},
        pausing::{OrderRefusal, Pausing},
        query::{
            Answer, DecisionRecord, JobDetail, JobLine, Phase, Query, Question, RankedBid,
            RefusedWorker, Waiting, WorkerLine,
        },
        replication::{Accept, Copied, Held, Replication, Seating, SeatingRegister, Step, Summary},
        run::{Renewal, RunStep, Standing, Verdict},
        submission::{Full, Refusal, Submission},
    },
    report::{Checkpoint, Ending, FailureClass, Metric, Progress, Receipt, Report},
    signed::{Document, Signed},
    spec::{CancelOrder, JobKind, JobSpec, PauseOrder, SpecError, Wish},
};
use cyxwiz_scoring::{Factor, Ineligible, Load, Permille, Requirements, Score, Term};

use crate::harness::{
    STORE, WALL, Who, capability, file, founding, job, network, network_id, run, spec, success,
    ticket,
};

const R: RequestId = RequestId(77);
const C: Who = Who::Coordinator;
const W1: Who = Who::Worker(1);

/// Signed by `who` at the same moment with the same number in every run.
pub(super) fn signed<T: Document>(who: Who, body: T) -> Signed<T> {
    who.identity().sign(network_id(), WALL, 7, body).into_signed()
}

pub(super) fn ballot() -> Ballot {
    Ballot { term: 3, leader: C.id() }
}

pub(super) fn job_spec() -> Signed<JobSpec> {
    signed(Who::Submitter, spec(1))
}

pub(super) fn announcement(audience: Audience, calls: usize) -> Announcement {
    let call = Call {
        job: job(1),
        attempt: Attempt(1),
        kind: JobKind::Train,
        requirements: Requirements::default(),
        input_bytes: 1_000,
    };
    Announcement { ballot: ballot(), round: 4, window_ms: 250, audience, calls: vec![call; calls] }
}

pub(super) const BY_LOT: Audience = Audience::ByLot { threshold: u64::MAX };

pub(super) fn bids(bids: usize) -> Bids {
    let bid = Bid { job: job(1), attempt: Attempt(1), price: 9, start_ms: 1, warm_permille: 500 };
    let capability = capability(2);
    let load = Load::idle(&capability);
    Bids { ballot: ballot(), round: 4, capability, load, bids: vec![bid; bids] }
}

pub(super) fn award() -> Award {
    let (job, attempt) = (job(1), Attempt(1));
    Award {
        job,
        attempt,
        ballot: ballot(),
        worker: W1.id(),
        price: 9,
        lease_ms: 10_000,
        resume: None,
    }
}

fn checkpoint(epoch: u32) -> Checkpoint {
    Checkpoint { epoch, batch: 7, file: file("checkpoint.safetensors") }
}

pub(super) fn progress(metrics: usize) -> Progress {
    let metric = Metric { name: "loss".to_owned(), value: 0.25 };
    Progress {
        epoch: 2,
        epochs: 5,
        batch: 30,
        batches: 100,
        metrics: vec![metric; metrics],
        learning_rate: 0.001,
        samples_processed: 4_096,
        samples_per_second: 123.5,
        elapsed_ms: 33_000,
        eta_ms: Some(50_000),
        memory_mb: None,
        cpu_percent: Some(180),
        gpu_percent: None,
        gpu_memory_mb: None,
    }
}

pub(super) fn report(metrics: usize) -> Report {
    Report {
        job: job(1),
        attempt: Attempt(1),
        number: 6,
        previous: Digest([8; 32]),
        progress: progress(metrics),
    }
}

pub(super) fn receipt(ending: Ending) -> Receipt {
    let (job, attempt) = (job(1), Attempt(1));
    Receipt { job, attempt, ending, compute_ms: 5, reports: 6, chain: Digest([9; 32]) }
}

pub(super) fn committee(members: usize) -> CommitteeRecord {
    let credential = ticket().seat(&network(), C.id());
    let member = Member { peer: C.id(), store: STORE, credential };
    CommitteeRecord {
        cell: CellId::default(),
        founding: founding(C, 0),
        epoch: 1,
        ballot: ballot(),
        members: vec![member; members],
    }
}

pub(super) fn offer(running: usize) -> Offer {
    let capability = capability(2);
    let load = Load::idle(&capability);
    Offer { capability, load, running: vec![run(1, 1); running], stands_ms: 30_000 }
}

pub(super) fn refused(reasons: usize) -> RefusedWorker {
    let reason = Ineligible::Memory { needed_mb: 2_000, offered_mb: 1_000 };
    RefusedWorker { worker: W1.id(), reasons: vec![reason; reasons] }
}

pub(super) fn line() -> JobLine {
    JobLine {
        job: job(1),
        name: "job-1".parse().expect("a plain name"),
        submitter: Who::Submitter.id(),
        state: Phase::Running,
        worker: Some(W1.id()),
        attempts: 1,
        accepted_at: WALL,
        ended_at: None,
        permille: Some(260),
        paused_at: None,
    }
}

fn decision(invited: Option<u32>) -> DecisionRecord {
    let term = Term { factor: Factor::Price, value: Permille::ONE, weight: 300, points: 300 };
    let score = Score { total: 300, terms: vec![term] };
    DecisionRecord {
        attempt: Attempt(1),
        at: WALL,
        took_us: 3_000,
        invited,
        policy: "balanced".to_owned(),
        ranking: vec![RankedBid { worker: W1.id(), price: 9, score }],
        refused: vec![refused(1)],
        unlisted: 0,
        price_paid: 9,
    }
}

pub(super) fn detail() -> JobDetail {
    let spec = job_spec();
    let mut record = JobRecord::new(job(1), Who::Submitter.id(), spec.digest(), WALL);
    let message = "it broke".to_owned();
    let why = EndReason::Failed { class: FailureClass::OutOfMemory, message };
    let end = Some(AttemptEnd { at: UnixMillis(WALL.0 + 9), why });
    record.attempts.push(AttemptRecord {
        attempt: Attempt(1),
        worker: W1.id(),
        price: 9,
        awarded_at: WALL,
        end,
    });
    let receipt = Box::new(signed(W1, receipt(success())));
    record.state = JobState::Completed { at: UnixMillis(WALL.0 + 99), receipt };
    JobDetail {
        record,
        spec,
        progress: Some(progress(1)),
        started_at: Some(WALL),
        decisions: vec![decision(Some(16)), decision(None)],
        waiting: Some(Waiting::NobodyFree { workers: 1, reasons: vec![refused(1)] }),
        speed: Some(25_000),
    }
}

fn worker_line() -> WorkerLine {
    WorkerLine {
        worker: W1.id(),
        capability: capability(2),
        running: 1,
        completed: 2,
        failed: 3,
        reputation: Permille::new(900),
    }
}

fn membership() -> Vec<(&'static str, Message)> {
    let all = [
        ("ask_committee", Membership::AskCommittee),
        ("committee", Membership::Committee(signed(C, committee(1)))),
        ("offer", Membership::Offer(offer(1))),
        ("offered", Membership::Offered),
        ("leaving", Membership::Leaving),
    ];
    all.map(|(name, step)| (name, Message::Membership(step))).into()
}

fn submission() -> Vec<(&'static str, Message)> {
    let job = job(1);
    let no = |refusal| Submission::Refused { request: R, job, refusal };
    let text = || "because".to_owned();
    let order = signed(Who::Submitter, CancelOrder { job });
    let leader = Some(C.id());
    let all = [
        ("submit", Submission::Submit { request: R, spec: job_spec() }),
        ("accepted", Submission::Accepted { request: R, job }),
        ("refused_spec", no(Refusal::Spec(SpecError::Priority(11)))),
        ("refused_workload", no(Refusal::Workload(text()))),
        ("refused_inputs", no(Refusal::Inputs(text()))),
        ("refused_nobody", no(Refusal::NobodyCould { workers: 1, reasons: vec![refused(1)] })),
        ("refused_other_content", no(Refusal::OtherContent)),
        ("refused_not_signed", no(Refusal::NotSigned)),
        ("refused_full", no(Refusal::Full(Full::Disk))),
        ("refused_unknown", no(Refusal::Unknown)),
        ("refused_not_yours", no(Refusal::NotYours)),
        ("redirect", Submission::Redirect { request: R, leader }),
        ("cancel", Submission::Cancel { request: R, order }),
        ("cancel_noted", Submission::CancelNoted { request: R, job }),
        ("ended", Submission::Ended { job }),
    ];
    all.map(|(name, step)| (name, Message::Submission(step))).into()
}

fn pausing() -> Vec<(&'static str, Message)> {
    let (job, number) = (job(1), 7);
    let order = |wish| {
        let order = signed(Who::Submitter, PauseOrder { job, wish });
        Pausing::Order { request: R, order }
    };
    let no = |refusal| Pausing::Refused { request: R, job, number, refusal };
    let leader = Some(C.id());
    let all = [
        ("order_pause", order(Wish::Pause)),
        ("order_resume", order(Wish::Resume)),
        ("order_noted", Pausing::Noted { request: R, job, number, changed: true }),
        ("order_unknown", no(OrderRefusal::Unknown)),
        ("order_not_yours", no(OrderRefusal::NotYours)),
        ("order_ended", no(OrderRefusal::Ended(Phase::Completed))),
        ("order_cancelling", no(OrderRefusal::Cancelling)),
        ("order_overtaken", no(OrderRefusal::Overtaken)),
        ("order_redirect", Pausing::Redirect { request: R, leader }),
    ];
    all.map(|(name, step)| (name, Message::Pausing(step))).into()
}

fn auction() -> Vec<(&'static str, Message)> {
    let all = [
        ("bids", Auction::Bids(signed(W1, bids(1)))),
        ("award", Auction::Award { award: signed(C, award()), spec: job_spec() }),
        ("taken", Auction::Taken(run(1, 1))),
        ("declined", Auction::Declined(run(1, 1))),
        ("invitation", Auction::Invitation(signed(C, announcement(Audience::Invited, 1)))),
    ];
    all.map(|(name, step)| (name, Message::Auction(step))).into()
}

fn running() -> Vec<(&'static str, Message)> {
    let run = run(1, 1);
    let broke = Ending::Failed { class: FailureClass::Internal, message: "it broke".to_owned() };
    let receipt = |ending| RunStep::Receipt(signed(W1, receipt(ending)));
    let counted = |verdict| RunStep::Counted { run, verdict };
    let all = [
        (
            "renew",
            RunStep::Renew(vec![Renewal {
                run,
                progress: Some(progress(1)),
                checkpoint: Some(checkpoint(1)),
            }]),
        ),
        ("renewed_leased", RunStep::Renewed(vec![(run, Standing::Leased { lease_ms: 10_000 })])),
        ("renewed_cancelled", RunStep::Renewed(vec![(run, Standing::Cancelled)])),
        ("renewed_superseded", RunStep::Renewed(vec![(run, Standing::Superseded)])),
        ("renewed_paused", RunStep::Renewed(vec![(run, Standing::Paused)])),
        ("stop", RunStep::Stop(run)),
        ("pause", RunStep::Pause(run)),
        ("receipt_succeeded", receipt(success())),
        ("receipt_failed", receipt(broke)),
        ("receipt_cancelled", receipt(Ending::Cancelled)),
        ("receipt_paused", receipt(Ending::Paused { checkpoint: Some(checkpoint(2)) })),
        ("counted", counted(Verdict::Counted)),
        ("counted_superseded", counted(Verdict::Superseded)),
        ("counted_unknown", counted(Verdict::Unknown)),
    ];
    all.map(|(name, step)| (name, Message::Run(step))).into()
}

fn query() -> Vec<(&'static str, Message)> {
    let ask = |question| Query::Ask { request: R, question };
    let answer = |answer| Query::Answer { request: R, answer: Box::new(answer) };
    let (submitter, after) = (Some(Who::Submitter.id()), Some(job(2)));
    let all = [
        ("ask_job", ask(Question::Job(job(1)))),
        ("ask_jobs", ask(Question::Jobs { submitter, after })),
        ("ask_workers", ask(Question::Workers)),
        ("answer_job", answer(Answer::Job(Some(Box::new(detail()))))),
        ("answer_no_job", answer(Answer::Job(None))),
        ("answer_jobs", answer(Answer::Jobs(vec![line()]))),
        ("answer_workers", answer(Answer::Workers(vec![worker_line()]))),
        ("query_redirect", Query::Redirect { request: R, leader: None }),
    ];
    all.map(|(name, step)| (name, Message::Query(step))).into()
}

/// A committee of `members` that is becoming one of `joining`.
pub(super) fn seating(members: usize, joining: usize) -> Box<SeatingRegister> {
    let credential = ticket().seat(&network(), C.id());
    let member = Member { peer: C.id(), store: STORE, credential };
    let seating = Seating {
        cell: CellId::default(),
        founding: founding(C, 0),
        epoch: 2,
        members: vec![member; members],
        joining: vec![member; joining],
    };
    Box::new(SeatingRegister { ballot: ballot(), seating })
}

/// Job 1 as a replica has it that was sent it by its leader.
fn copied() -> Copied {
    static SENT: LazyLock<Copied> =
        LazyLock::new(|| super::newcomer::copies_for_a_newcomer().remove(0));
    Copied { decisions: vec![decision(Some(16))], ..SENT.clone() }
}

pub(super) fn accept(many: usize) -> Accept {
    Accept {
        ballot: ballot(),
        serial: 9,
        seating: Some(seating(1, 1)),
        copies: vec![copied(); many.min(1)],
        forget: vec![job(2); many],
        ratings: vec![(W1.id(), WorkerRecord::default()); many],
    }
}

pub(super) fn step(step: Step) -> Message {
    Message::Replication(Replication { from: STORE, to: StoreId([5; 16]), step })
}

pub(super) fn promise(holds: usize) -> Step {
    let summary = Summary { job: job(1), ballot: ballot(), version: 4 };
    let holds = vec![summary; holds];
    Step::Promise { ballot: ballot(), seating: Some(seating(1, 0)), part: 0, parts: 1, holds }
}

fn replication() -> Vec<(&'static str, Message)> {
    let (ballot, job) = (ballot(), job(1));
    let items = vec![(job, Held::Version(4)), (job, Held::NoSpec), (job, Held::Later)];
    let credential = ticket().seat(&network(), C.id());
    let all = [
        ("canvass", Step::Canvass { ballot }),
        ("supported", Step::Supported { ballot }),
        ("prepare", Step::Prepare { ballot, seating: seating(1, 0) }),
        ("promise", promise(1)),
        ("promise_refused", Step::Refused { promised: ballot }),
        ("fetch", Step::Fetch { ballot, jobs: vec![job] }),
        ("fetched", Step::Fetched { ballot, copies: vec![copied()] }),
        ("accept", Step::Accept(accept(1))),
        ("accept_held", Step::Accepted { ballot, serial: 9, epoch: 2, items }),
        ("beat", Step::Beat { ballot }),
        ("heard", Step::Heard { ballot }),
        ("stand", Step::Stand { credential }),
    ];
    all.map(|(name, one)| (name, step(one))).into()
}

pub(super) fn messages() -> Vec<(&'static str, Message)> {
    let most = [membership(), submission(), auction(), running(), query(), replication()];
    [most.concat(), pausing()].concat()
}

pub(super) fn gossip() -> Vec<(&'static str, Gossip)> {
    vec![
        ("gossip_announcement", Gossip::Announcement(signed(C, announcement(BY_LOT, 1)))),
        ("gossip_report", Gossip::Report(signed(W1, report(1)))),
        ("gossip_committee", Gossip::Committee(signed(C, committee(1)))),
    ]
}

/// Every frame by name.
pub(super) fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let direct = messages()
        .into_iter()
        .map(|(name, message)| (name, encode_message(network_id(), &message)));
    let gossip =
        gossip().into_iter().map(|(name, gossip)| (name, encode_gossip(network_id(), &gossip)));
    direct.chain(gossip).collect()
}
