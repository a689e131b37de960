//! The register of a job under every order of changes: what a committee relies on, whoever asks.

use cyxwiz_protocol::{
    Digest, Instant, Run, UnixMillis,
    job::{EndReason, FailReason, JobRecord, JobState, Transition, TransitionError},
    report::{Ending, FailureClass, Receipt},
    signed::Verified,
};
use proptest::prelude::*;

use crate::harness::{Who, failure, job, network_id, run, sign, success};

const W1: Who = Who::Worker(1);
const W2: Who = Who::Worker(2);
const MAX_ATTEMPTS: u8 = 3;

fn queued() -> JobRecord {
    JobRecord::new(job(1), Who::Submitter.id(), Digest([1; 32]), UnixMillis(1))
}

fn change(record: &JobRecord, change: Transition) -> Result<JobRecord, TransitionError> {
    record.apply(change, MAX_ATTEMPTS, UnixMillis(2))
}

fn award(worker: Who) -> Transition {
    Transition::Award { worker: worker.id(), price: 0 }
}

fn silence() -> Transition {
    Transition::Release { why: EndReason::LeaseExpired }
}

fn receipt(worker: Who, Run { job, attempt }: Run, ending: Ending) -> Verified<Receipt> {
    let chain = Digest([0; 32]);
    let receipt = Receipt { job, attempt, ending, compute_ms: 1, reports: 0, chain };
    let signed = sign(worker, Instant::START, receipt);
    signed.verify(network_id()).expect("just signed")
}

fn settle(worker: Who, attempt: u32, ending: Ending) -> Transition {
    Transition::Settle { receipt: Box::new(receipt(worker, run(1, attempt), ending)) }
}

#[test]
fn only_the_worker_that_was_awarded_an_attempt_settles_it() {
    let record = change(&queued(), award(W1)).expect("it waits");
    for (worker, attempt) in [(W2, 1), (W1, 2), (W1, 0)] {
        let settled = change(&record, settle(worker, attempt, success()));
        assert_eq!(settled, Err(TransitionError::NotAwarded), "{worker:?} {attempt}");
    }
    let settled = change(&record, settle(W1, 1, success())).expect("its own");
    assert!(matches!(settled.state, JobState::Completed { .. }));
}

#[test]
fn a_cancel_that_runs_is_ended_by_its_own_attempt_alone() {
    let first = change(&queued(), award(W1)).expect("it waits");
    let again = change(&first, silence()).expect("it runs");
    let second = change(&again, award(W2)).expect("it waits");
    let wish = change(&second, Transition::RequestCancel).expect("it is not finished");
    assert_eq!(wish.state, JobState::Assigned);
    for ending in [success(), Ending::Cancelled, failure(FailureClass::Diverged)] {
        let ended = change(&wish, settle(W1, 1, ending));
        assert_eq!(ended, Err(TransitionError::Superseded));
    }
    let ended = change(&wish, settle(W2, 2, success())).expect("its own");
    assert!(matches!(ended.state, JobState::Cancelled { .. }));
}

/// A change of any kind, of either worker.
#[test]
fn an_award_that_was_declined_is_no_try() {
    let mut record = queued();
    for _ in 0..MAX_ATTEMPTS {
        let awarded = change(&record, award(W1)).expect("it waits");
        let why = EndReason::Declined;
        record = change(&awarded, Transition::Release { why }).expect("it runs");
        assert!(matches!(record.state, JobState::Queued { .. }));
    }
    for left in (0..MAX_ATTEMPTS).rev() {
        let awarded = change(&record, award(W1)).expect("it waits");
        record = change(&awarded, silence()).expect("it runs");
        assert_eq!(record.is_finished(), left == 0, "{left} tries left");
    }
}

fn any_change() -> impl Strategy<Value = (u8, bool, u32)> {
    (0..8_u8, any::<bool>(), 1..5_u32)
}

fn make((kind, second, attempt): (u8, bool, u32)) -> Transition {
    let worker = if second { W2 } else { W1 };
    match kind {
        0 | 1 => award(worker),
        2 => Transition::RequestCancel,
        3 => silence(),
        4 => settle(worker, attempt, success()),
        5 => settle(worker, attempt, failure(FailureClass::Internal)),
        6 => settle(worker, attempt, Ending::Cancelled),
        _ => {
            let detail = "nobody".to_owned();
            Transition::Expire { reason: FailReason::NobodyCould { detail } }
        }
    }
}

proptest! {
    #[test]
    fn no_order_of_changes_breaks_a_register(
        changes in prop::collection::vec(any_change(), 1..30),
    ) {
        let mut record = queued();
        for wanted in changes {
            let Ok(next) = change(&record, make(wanted)) else { continue };
            prop_assert!(!record.is_finished(), "{record:?} became {next:?}");
            prop_assert!(record.newest_attempt() <= next.newest_attempt());
            prop_assert!(!record.cancel_requested || next.cancel_requested);
            prop_assert!(next.attempts.len() <= usize::from(MAX_ATTEMPTS));
            prop_assert!(next.attempts.is_sorted_by_key(|one| one.attempt));
            let open = next.attempts.iter().filter(|one| one.end.is_none()).count();
            match &next.state {
                JobState::Assigned => prop_assert_eq!(open, 1),
                JobState::Queued { .. } => prop_assert_eq!(open, 0),
                JobState::Completed { receipt, .. } => {
                    prop_assert!(!next.cancel_requested);
                    let receipt = receipt.verify(network_id()).expect("its author's");
                    let awarded = next.attempts.iter().any(|one| {
                        (one.attempt, one.worker) == (receipt.attempt, receipt.author())
                    });
                    prop_assert!(awarded);
                }
                JobState::Cancelled { .. } => prop_assert!(next.cancel_requested && open == 0),
                JobState::Failed { .. } => prop_assert_eq!(open, 0),
            }
            record = next;
        }
    }
}
