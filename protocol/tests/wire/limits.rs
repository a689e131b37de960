//! One more than allowed is refused, wherever there may be many.

use cyxwiz_protocol::{
    RequestId, limits,
    message::{
        FrameError, Message,
        auction::Audience,
        decode_gossip, decode_message, encode_message,
        membership::Membership,
        query::{Answer, JobDetail, Query, Waiting},
        replication::{Held, Step},
        run::{Renewal, RunStep, Standing},
        submission::{Refusal, Submission},
    },
    report::{Ending, Success},
    signed::Document,
    spec::JobSpec,
};

use super::{HEAD, samples};
use crate::harness::{Who, file, job, network_id, run, spec};

fn reads(message: &Message) -> bool {
    decode_message(network_id(), &encode_message(network_id(), message)).is_ok()
}

fn holds<T: Document>(body: T) -> bool {
    samples::signed(Who::Worker(1), body).verify(network_id()).is_ok()
}

#[test]
fn lists_in_messages_end_at_their_limit() {
    let runs = usize::from(limits::RUNS_PER_WORKER);
    let renewals = limits::RENEWALS;
    let renew = |count| {
        let renewal = Renewal { run: run(1, 1), progress: None, checkpoint: None };
        Message::Run(RunStep::Renew(vec![renewal; count]))
    };
    let renewed =
        |count| Message::Run(RunStep::Renewed(vec![(run(1, 1), Standing::Cancelled); count]));
    let offer = |count| Message::Membership(Membership::Offer(samples::offer(count)));
    let answer = |answer| {
        let answer = Box::new(answer);
        Message::Query(Query::Answer { request: RequestId(1), answer })
    };
    let jobs = |count| answer(Answer::Jobs(vec![samples::line(); count]));
    let waiting = |count| {
        let reasons = vec![samples::refused(1); count];
        let waiting = Some(Waiting::NobodyFree { workers: 1, reasons });
        answer(Answer::Job(Some(Box::new(JobDetail { waiting, ..samples::detail() }))))
    };
    let refused = |workers, reasons| {
        let reasons = vec![samples::refused(reasons); workers];
        let refusal = Refusal::NobodyCould { workers: 1, reasons };
        Message::Submission(Submission::Refused { request: RequestId(1), job: job(1), refusal })
    };
    let text = |bytes| {
        let refusal = Refusal::Workload("x".repeat(bytes));
        Message::Submission(Submission::Refused { request: RequestId(1), job: job(1), refusal })
    };
    let progress = |metrics| {
        let progress = Some(samples::progress(metrics));
        Message::Run(RunStep::Renew(vec![Renewal { run: run(1, 1), progress, checkpoint: None }]))
    };
    let reasons = limits::REFUSALS;
    let copies = limits::COPIES;
    let accept = |many| samples::step(Step::Accept(samples::accept(many)));
    let promise = |holds| samples::step(samples::promise(holds));
    let prepare = |members, joining| {
        let seating = samples::seating(members, joining);
        samples::step(Step::Prepare { ballot: samples::ballot(), seating })
    };
    let fetch = |jobs| {
        let jobs = vec![job(1); jobs];
        samples::step(Step::Fetch { ballot: samples::ballot(), jobs })
    };
    let held = |items| {
        let items = vec![(job(1), Held::NoSpec); items];
        samples::step(Step::Accepted { ballot: samples::ballot(), serial: 1, epoch: 1, items })
    };
    let members = limits::MEMBERS;
    let table = [
        ("accept", accept(copies), accept(copies + 1)),
        ("promise", promise(limits::SUMMARIES), promise(limits::SUMMARIES + 1)),
        ("members", prepare(members, 0), prepare(members + 1, 0)),
        ("joining", prepare(1, members), prepare(1, members + 1)),
        ("fetch", fetch(copies), fetch(copies + 1)),
        ("held", held(copies), held(copies + 1)),
        ("renew", renew(renewals), renew(renewals + 1)),
        ("renewed", renewed(renewals), renewed(renewals + 1)),
        ("offer", offer(runs), offer(runs + 1)),
        ("jobs", jobs(limits::PAGE), jobs(limits::PAGE + 1)),
        ("waiting", waiting(reasons), waiting(reasons + 1)),
        ("refused workers", refused(reasons, 1), refused(reasons + 1, 1)),
        ("refusal reasons", refused(1, reasons), refused(1, reasons + 1)),
        ("text", text(limits::TEXT_BYTES), text(limits::TEXT_BYTES + 1)),
        ("metrics", progress(limits::METRICS), progress(limits::METRICS + 1)),
    ];
    for (name, fits, too_long) in table {
        assert!(reads(&fits), "{name} at its limit");
        assert!(!reads(&too_long), "{name} beyond its limit");
    }
}

#[test]
fn lists_in_documents_end_at_their_limit() {
    for audience in [Audience::Invited, samples::BY_LOT] {
        assert!(holds(samples::announcement(audience, limits::CALLS)));
        assert!(!holds(samples::announcement(audience, limits::CALLS + 1)));
    }
    assert!(holds(samples::bids(limits::CALLS)));
    assert!(!holds(samples::bids(limits::CALLS + 1)));
    assert!(holds(samples::report(limits::METRICS)));
    assert!(!holds(samples::report(limits::METRICS + 1)));
    assert!(holds(samples::committee(limits::MEMBERS)));
    assert!(!holds(samples::committee(limits::MEMBERS + 1)));
    let inputs = |count| JobSpec { inputs: vec![file("x"); count], ..spec(1) };
    assert!(holds(inputs(limits::INPUTS)));
    assert!(!holds(inputs(limits::INPUTS + 1)));
    let workload = |bytes| JobSpec { workload: "x".repeat(bytes), ..spec(1) };
    assert!(holds(workload(limits::WORKLOAD_BYTES)));
    assert!(!holds(workload(limits::WORKLOAD_BYTES + 1)));
    let outputs = |count| {
        samples::receipt(Ending::Succeeded(Success {
            outputs: vec![file("x"); count],
            metrics: Vec::new(),
            parameters: 0,
            engine: "e".repeat(limits::NAME_BYTES),
            threads: 1,
        }))
    };
    assert!(holds(outputs(limits::OUTPUTS)));
    assert!(!holds(outputs(limits::OUTPUTS + 1)));
}

#[test]
fn the_largest_documents_of_honest_peers_fit() {
    let long = "n".repeat(limits::NAME_BYTES);
    let mut report = samples::report(limits::METRICS);
    for metric in &mut report.progress.metrics {
        metric.name.clone_from(&long);
    }
    let metrics = report.progress.metrics.clone();
    assert!(holds(report));
    let outputs = vec![file(&long); limits::OUTPUTS];
    let engine = long.clone();
    let success = Success { outputs, metrics, parameters: 0, engine, threads: 1 };
    assert!(holds(samples::receipt(Ending::Succeeded(success))));
    assert!(holds(JobSpec {
        name: long.parse().expect("a plain name"),
        workload: "x".repeat(limits::WORKLOAD_BYTES),
        inputs: vec![file(&long); limits::INPUTS],
        ..spec(1)
    }));
}

/// A cancel order whose document is said to have, and has, `length` bytes.
fn order_of(length: usize) -> Vec<u8> {
    let mut frames = samples::frames().into_iter();
    let (_, frame) = frames.find(|(name, _)| *name == "cancel").expect("a sample");
    let start = HEAD + 4 + 4 + 8;
    let mut bytes = frame[..start].to_vec();
    bytes.extend((length as u64).to_le_bytes());
    bytes.extend(vec![0; length + 64]);
    bytes
}

#[test]
fn a_document_one_byte_too_long_is_not_read() {
    let read = decode_message(network_id(), &order_of(256));
    assert!(matches!(read, Ok(Message::Submission(Submission::Cancel { .. }))), "{read:?}");
    assert!(decode_message(network_id(), &order_of(257)).is_err());
}

#[test]
fn a_frame_one_byte_too_long_is_not_read() {
    for (extra, gossip) in [(limits::FRAME_BYTES, false), (limits::GOSSIP_BYTES, true)] {
        let (name, mut frame) = samples::frames().remove(0);
        assert_eq!(name, "ask_committee");
        frame.resize(HEAD + extra + 1, 0);
        let error = if gossip {
            decode_gossip(network_id(), &frame).map(|_read| ()).expect_err("too long")
        } else {
            decode_message(network_id(), &frame).map(|_read| ()).expect_err("too long")
        };
        let FrameError::Body(error) = error else { panic!("too long: {error}") };
        assert!(error.to_string().contains("allowed"), "{error}");
    }
}
