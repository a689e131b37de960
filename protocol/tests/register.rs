//! The register of a job under every order of changes: what a committee relies on, whoever asks.

use std::time::Duration;

use cyxwiz_protocol::{
    Digest, Instant, Run, UnixMillis,
    job::{EndReason, FailReason, JobRecord, JobState, Transition, TransitionError},
    limits,
    report::{Ending, FailureClass, Receipt},
    signed::Verified,
    spec::Wish,
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

fn order(wish: Wish, number: u64) -> Transition {
    Transition::Order { wish, number }
}

fn paused_now() -> Ending {
    Ending::Paused { checkpoint: None }
}

/// Attempts that count, and those of them that ended while the job was to be paused: it goes on
/// after each, whatever the limit.
fn tries(record: &JobRecord) -> usize {
    let ends = record.attempts.iter().filter_map(|attempt| attempt.end.as_ref());
    ends.filter(|end| !matches!(end.why, EndReason::Paused)).count()
}

fn pauses(record: &JobRecord) -> usize {
    usize::try_from(record.pause.order).expect("a few")
}

#[test]
fn a_job_that_waits_is_paused_at_once_and_goes_on_as_it_was() {
    let paused = change(&queued(), order(Wish::Pause, 7)).expect("it waits");
    assert_eq!(paused.state, JobState::Paused { since: UnixMillis(2) });
    assert!(paused.pause.changed);
    assert_eq!(change(&paused, award(W1)), Err(TransitionError::NotQueued));
    let detail = "nobody".to_owned();
    let nobody = Transition::Expire { reason: FailReason::NobodyCould { detail } };
    assert_eq!(change(&paused, nobody), Err(TransitionError::Paused));
    let later = UnixMillis(62);
    let resumed = paused.apply(order(Wish::Resume, 8), MAX_ATTEMPTS, later).expect("it is paused");
    assert_eq!(resumed.state, JobState::Queued { since: later });
    assert_eq!((resumed.pause.past_ms, resumed.pause.changed), (60, true));
    let second = Duration::from_millis(1_000);
    assert_eq!(resumed.total_left(second, later), second - Duration::from_millis(1));
    change(&resumed, award(W1)).expect("it waits");
}

#[test]
fn orders_count_by_their_numbers_and_each_once() {
    let paused = change(&queued(), order(Wish::Pause, 7)).expect("it waits");
    for overtaken in [order(Wish::Resume, 6), order(Wish::Resume, 7), order(Wish::Pause, 7)] {
        assert_eq!(change(&paused, overtaken), Err(TransitionError::Overtaken));
    }
    // One that changes nothing is noted all the same: it overtakes what was sent before it.
    let twice = change(&paused, order(Wish::Pause, 9)).expect("a later one");
    assert!(!twice.pause.changed && twice.pause.requested);
    assert_eq!(change(&twice, order(Wish::Resume, 8)), Err(TransitionError::Overtaken));
    let wish = change(&twice, Transition::RequestCancel).expect("it is not finished");
    assert!(matches!(wish.state, JobState::Cancelled { .. }), "nothing runs");
}

#[test]
fn a_job_that_runs_is_paused_when_its_attempt_has_ended_and_that_was_no_try() {
    let running = change(&queued(), award(W1)).expect("it waits");
    let wish = change(&running, order(Wish::Pause, 1)).expect("it runs");
    assert_eq!(wish.state, JobState::Assigned);
    let paused = change(&wish, settle(W1, 1, paused_now())).expect("its own");
    assert_eq!(paused.state, JobState::Paused { since: UnixMillis(2) });
    let mut record = change(&paused, order(Wish::Resume, 2)).expect("it is paused");
    for left in (0..MAX_ATTEMPTS).rev() {
        let awarded = change(&record, award(W1)).expect("it waits");
        record = change(&awarded, silence()).expect("it runs");
        assert_eq!(record.is_finished(), left == 0, "{left} tries left");
    }
}

#[test]
fn whatever_else_ends_the_attempt_of_a_job_that_shall_be_paused_pauses_it() {
    let running = change(&queued(), award(W1)).expect("it waits");
    let wish = change(&running, order(Wish::Pause, 1)).expect("it runs");
    let declined = Transition::Release { why: EndReason::Declined };
    let broke = settle(W1, 1, failure(FailureClass::Internal));
    for end in [silence(), declined, broke] {
        let ended = wish.apply(end, 1, UnixMillis(2)).expect("it runs");
        assert!(matches!(ended.state, JobState::Paused { .. }), "{ended:?}");
    }
    let diverged = change(&wish, settle(W1, 1, failure(FailureClass::Diverged))).expect("it runs");
    assert!(matches!(diverged.state, JobState::Failed { .. }), "no other attempt would repair it");
    let done = change(&wish, settle(W1, 1, success())).expect("it runs");
    assert!(matches!(done.state, JobState::Completed { .. }), "there is nothing left to pause");
}

#[test]
fn a_pause_that_was_taken_back_in_time_costs_no_try_and_one_that_nobody_wanted_does() {
    let running = change(&queued(), award(W1)).expect("it waits");
    let wish = change(&running, order(Wish::Pause, 1)).expect("it runs");
    let back = change(&wish, order(Wish::Resume, 2)).expect("it runs");
    assert_eq!(back.state, JobState::Assigned);
    // The worker had stopped when it heard of that.
    let again = back.apply(settle(W1, 1, paused_now()), 1, UnixMillis(2)).expect("its own");
    assert!(matches!(again.state, JobState::Queued { .. }), "{again:?}");
    let unasked = running.apply(settle(W1, 1, paused_now()), 1, UnixMillis(2)).expect("its own");
    assert!(matches!(unasked.state, JobState::Failed { .. }), "{unasked:?}");
}

#[test]
fn a_job_may_be_paused_as_often_as_its_submitter_likes() {
    let mut record = queued();
    for number in 0..100 {
        let running = change(&record, award(W1)).expect("it waits");
        assert!(running.attempts.len() <= usize::from(limits::ATTEMPTS));
        assert_eq!(running.newest_attempt().0, number + 1);
        let wish = change(&running, order(Wish::Pause, u64::from(number) * 2 + 1)).expect("runs");
        let paused = change(&wish, settle(W1, number + 1, paused_now())).expect("its own");
        let resume = order(Wish::Resume, u64::from(number) * 2 + 2);
        record = change(&paused, resume).expect("it is paused");
    }
    assert!(matches!(record.state, JobState::Queued { .. }));
}

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

/// A change of any kind, of either worker.
fn any_change() -> impl Strategy<Value = (u8, bool, u32)> {
    (0..12_u8, any::<bool>(), 1..5_u32)
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
        7 => settle(worker, attempt, Ending::Paused { checkpoint: None }),
        8 => order(Wish::Pause, attempt.into()),
        9 => order(Wish::Resume, attempt.into()),
        10 => Transition::Expire { reason: FailReason::PausedTooLong },
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
            prop_assert!(record.pause.order <= next.pause.order);
            prop_assert!(tries(&next) <= usize::from(MAX_ATTEMPTS) + pauses(&next));
            prop_assert!(next.attempts.is_sorted_by_key(|one| one.attempt));
            let open = next.attempts.iter().filter(|one| one.end.is_none()).count();
            match &next.state {
                JobState::Assigned => prop_assert_eq!(open, 1),
                JobState::Queued { .. } => prop_assert!(open == 0 && !next.pause.requested),
                JobState::Paused { .. } => prop_assert!(open == 0 && next.pause.requested),
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
