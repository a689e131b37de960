//! Each promise is broken once, by facts made up here, and the right invariant says so.

use cyxwiz_protocol::{
    Attempt, Digest, Identity, Network, UnixMillis,
    inspect::RegisterOnDisk,
    job::{AttemptRecord, EndReason, JobState, Transition},
    report::Receipt,
};

use super::*;
use crate::trainer::success;

const NOW: Instant = Instant(1);
const AT: UnixMillis = UnixMillis(1_700_000_000_000);
const JOB: JobId = JobId([1; 16]);
const RUN: Run = Run { job: JOB, attempt: Attempt(1) };
const ONE: PeerId = PeerId([1; 32]);
const OTHER: PeerId = PeerId([2; 32]);

/// Which promise breaks at the last of these facts, and none before it.
fn broken_by(facts: &[Fact<'_>]) -> &'static str {
    let mut judge = Judge::new();
    let (last, before) = facts.split_last().expect("facts");
    for fact in before {
        judge.see(NOW, fact);
        assert_eq!(judge.verdict(), None);
    }
    judge.see(NOW, last);
    judge.verdict().expect("a broken promise").invariant
}

fn record() -> JobRecord {
    JobRecord::new(JOB, ONE, Digest::of(b"spec"), AT)
}

/// A job, its worker's receipt, and the network in which it was signed.
fn completed(ending: Ending) -> (JobRecord, PeerId, NetworkId) {
    let network = Network::new("lab", Identity::from_seed([9; 32]).id()).unwrap();
    let worker = Identity::from_seed([3; 32]);
    let receipt = Receipt {
        job: JOB,
        attempt: RUN.attempt,
        ending,
        compute_ms: 1,
        reports: 0,
        chain: Digest::of(b""),
    };
    let signed = worker.sign(network.id(), AT, 1, receipt);
    let award = Transition::Award { worker: worker.id(), price: 1 };
    let assigned = record().apply(award, 3, AT).unwrap();
    let settle = Transition::Settle { receipt: Box::new(signed) };
    (assigned.apply(settle, 3, AT).unwrap(), worker.id(), network.id())
}

fn told(holding: usize, members: usize) -> Fact<'static> {
    Fact::Told { job: JOB, what: "accepted", holding, members }
}

#[test]
fn an_accepted_job_that_is_unknown() {
    let facts = [Fact::Unknown { job: JOB }, Fact::AcceptedTold { job: JOB }];
    let [unknown, accepted] = facts;
    assert_eq!(broken_by(&[accepted, unknown]), "an accepted job is never lost");
}

#[test]
fn a_promise_that_no_majority_has_on_disk() {
    let broken = "nothing is told before a majority has it on disk";
    assert_eq!(broken_by(&[told(1, 1), told(2, 3), told(3, 5), told(0, 1)]), broken);
    assert_eq!(broken_by(&[told(1, 3)]), broken);
    assert_eq!(broken_by(&[told(2, 4)]), broken);
}

#[test]
fn two_who_act_under_one_ballot_and_one_who_forgot_that_it_did() {
    let broken = "one leader acts under a ballot";
    let acted = |author, leader, life| {
        let ballot = Ballot { term: 4, leader };
        Fact::Acted { author, ballot, life }
    };
    assert_eq!(broken_by(&[acted(ONE, ONE, 0), acted(OTHER, ONE, 0)]), broken);
    assert_eq!(broken_by(&[acted(ONE, ONE, 0), acted(ONE, ONE, 0), acted(ONE, ONE, 1)]), broken);
}

#[test]
fn an_attempt_of_two_workers() {
    let to = |worker| Fact::Awarded { run: RUN, worker };
    let again = Fact::Awarded { run: Run { attempt: Attempt(2), ..RUN }, worker: OTHER };
    assert_eq!(
        broken_by(&[to(ONE), again, to(ONE), to(OTHER)]),
        "an attempt is leased to one worker"
    );
}

#[test]
fn results_that_were_never_made_awarded_or_settled_otherwise() {
    let broken = "no two results of a job both count";
    let (record, worker, network) = completed(Ending::Succeeded(success(RUN)));
    let ending = Ending::Succeeded(success(RUN));
    let chosen = |record| Fact::Chosen { record, network, newest: true };
    let ended = || Fact::Ended { worker, run: RUN, ending: &ending };
    // Never computed.
    assert_eq!(broken_by(&[chosen(&record)]), broken);
    // Computed by another.
    let by_other = Fact::Ended { worker: OTHER, run: RUN, ending: &ending };
    assert_eq!(broken_by(&[by_other, chosen(&record)]), broken);
    // Awarded to another.
    let mut elsewhere = record.clone();
    elsewhere.attempts[0].worker = OTHER;
    assert_eq!(broken_by(&[ended(), chosen(&elsewhere)]), broken);
    // It changes, or is gone, after it had ended.
    let mut changed = record.clone();
    changed.state = JobState::Cancelled { at: AT };
    assert_eq!(broken_by(&[ended(), chosen(&record), chosen(&changed)]), broken);
    let unknown = Fact::Unknown { job: JOB };
    assert_eq!(broken_by(&[ended(), chosen(&record), unknown]), broken);
    // Other files than the run made.
    let other_run = Run { attempt: Attempt(7), ..RUN };
    let (forged, _, _) = completed(Ending::Succeeded(success(other_run)));
    assert_eq!(broken_by(&[ended(), chosen(&forged)]), broken);
}

#[test]
fn what_an_old_leader_says_of_an_unfinished_job_breaks_nothing() {
    let (finished, worker, network) = completed(Ending::Succeeded(success(RUN)));
    let ending = Ending::Succeeded(success(RUN));
    let unfinished = record();
    let mut judge = Judge::new();
    judge.see(NOW, &Fact::Ended { worker, run: RUN, ending: &ending });
    judge.see(NOW, &Fact::Chosen { record: &finished, network, newest: true });
    judge.see(NOW, &Fact::Chosen { record: &unfinished, network, newest: false });
    assert_eq!(judge.verdict(), None);
    judge.see(NOW, &Fact::Chosen { record: &unfinished, network, newest: true });
    assert!(judge.verdict().is_some());
}

#[test]
fn attempts_out_of_order() {
    let mut record = record();
    record.attempts.push(AttemptRecord {
        attempt: Attempt(2),
        worker: ONE,
        price: 1,
        awarded_at: AT,
        end: None,
    });
    let network = NetworkId([0; 16]);
    let chosen = Fact::Chosen { record: &record, network, newest: true };
    assert_eq!(broken_by(&[chosen]), "no two results of a job both count");
}

#[test]
fn a_cancelled_job_that_goes_on() {
    let broken = "cancelled stays cancelled";
    let network = NetworkId([0; 16]);
    let chosen = |record| Fact::Chosen { record, network, newest: true };
    // Told and not recorded.
    let told = || Fact::CancelTold { job: JOB };
    let plain = record();
    assert_eq!(broken_by(&[told(), chosen(&plain)]), broken);
    // Recorded and gone, or recorded and queued again.
    let award = Transition::Award { worker: ONE, price: 1 };
    let assigned = plain.apply(award, 3, AT).unwrap();
    let wished = assigned.apply(Transition::RequestCancel, 3, AT).unwrap();
    assert_eq!(broken_by(&[told(), chosen(&wished), chosen(&assigned)]), broken);
    let release = Transition::Release { why: EndReason::LeaseExpired };
    let mut queued = assigned.apply(release, 3, AT).unwrap();
    queued.cancel_requested = true;
    assert_eq!(broken_by(&[chosen(&wished), chosen(&queued)]), broken);
}

#[test]
fn more_at_once_than_was_offered() {
    let began = |running| Fact::Began { worker: ONE, running, slots: 2 };
    assert_eq!(broken_by(&[began(2), began(3)]), "nobody runs more than it offered");
}

#[test]
fn what_grows_and_who_is_shut_out() {
    let broken = "everything is bounded";
    let sizes = Sizes { hosts: 1, jobs: 1, planned: 0, held: 0, spins: 0 };
    let fine = || Fact::Sizes(sizes);
    assert_eq!(broken_by(&[fine(), Fact::Sizes(Sizes { planned: 100_000, ..sizes })]), broken);
    assert_eq!(broken_by(&[fine(), Fact::Sizes(Sizes { held: 100_000, ..sizes })]), broken);
    assert_eq!(broken_by(&[fine(), Fact::Sizes(Sizes { spins: 1_000, ..sizes })]), broken);
    assert_eq!(broken_by(&[fine(), Fact::ShutOut { peer: ONE, why: "" }]), broken);
}

#[test]
fn what_never_ends() {
    let broken = "every accepted job ends";
    let remains = Remains::default;
    for left in [
        Remains { unfinished: vec![JOB], ..remains() },
        Remains { unanswered: 1, ..remains() },
        Remains { followed: 1, ..remains() },
        Remains { runs: 1, ..remains() },
    ] {
        assert_eq!(broken_by(&[Fact::Over(remains()), Fact::Over(left)]), broken);
    }
}

const REPLICA: (PeerId, StoreId) = (ONE, StoreId([7; 16]));

const fn ballot(term: u64) -> Ballot {
    Ballot { term, leader: ONE }
}

#[test]
fn a_promise_that_is_not_on_disk_or_taken_back() {
    let broken = "a replica keeps its promises";
    let promised = |term, disk| Fact::Promised {
        replica: REPLICA,
        ballot: ballot(term),
        on_disk: ballot(disk),
    };
    let followed =
        |term, lacking| Fact::Followed { replica: REPLICA, ballot: ballot(term), lacking };
    assert_eq!(broken_by(&[promised(3, 3), promised(4, 3)]), broken);
    assert_eq!(broken_by(&[promised(3, 3), followed(3, None), followed(2, None)]), broken);
    assert_eq!(broken_by(&[followed(3, Some(JOB))]), broken);
}

#[test]
fn members_that_sit_again_after_others_took_over() {
    let age = |term, epoch| SeatingAge { generation: 0, ballot: ballot(term), epoch };
    let beside = |other| Fact::Seated { in_force: age(3, 5), other };
    let facts = [beside(age(3, 6)), beside(age(2, 4)), beside(age(4, 5)), beside(age(4, 4))];
    assert_eq!(broken_by(&facts), "later ballots extend what was chosen");
}

#[test]
fn a_process_that_outlives_its_cancelled_or_paused_job() {
    let runs = Fact::RunsOn { job: JOB, worker: ONE };
    assert_eq!(broken_by(&[runs]), "cancelled and paused mean that nothing runs");
}

#[test]
fn an_order_that_does_not_stand() {
    let broken = "orders to pause and to resume stand";
    let network = NetworkId([0; 16]);
    let chosen = |record| Fact::Chosen { record, network, newest: true };
    let obey = |record: &JobRecord, wish, number| {
        record.apply(Transition::Order { wish, number }, 3, AT).unwrap()
    };
    let ordered = |number, wish| Fact::Ordered { job: JOB, number, wish };
    let told = |number| Fact::OrderTold { job: JOB, number };
    let waits = record();
    let paused = obey(&waits, Wish::Pause, 7);
    let resumed = obey(&paused, Wish::Resume, 8);
    // Told and not recorded, or recorded otherwise.
    assert_eq!(broken_by(&[ordered(7, Wish::Pause), told(7), chosen(&waits)]), broken);
    assert_eq!(broken_by(&[ordered(7, Wish::Resume), told(7), chosen(&paused)]), broken);
    // Overtaken, and obeyed all the same.
    assert_eq!(broken_by(&[chosen(&resumed), chosen(&paused)]), broken);
    // Waiting for a worker, or with one more, while it is paused.
    let mut queued = paused.clone();
    queued.state = JobState::Queued { since: AT };
    assert_eq!(broken_by(&[chosen(&paused), chosen(&queued)]), broken);
    let award = Transition::Award { worker: ONE, price: 1 };
    let mut awarded = resumed.apply(award, 3, AT).unwrap();
    awarded.pause = paused.pause;
    assert_eq!(broken_by(&[chosen(&paused), chosen(&awarded)]), broken);
    // Paused, and nobody wants it.
    let mut unasked = paused.clone();
    unasked.pause.requested = false;
    assert_eq!(broken_by(&[chosen(&unasked)]), broken);
}

#[test]
fn what_a_majority_may_not_know_or_know_otherwise() {
    let held = |term, version, record: &JobRecord| {
        Some(RegisterOnDisk { ballot: ballot(term), version, record: record.clone() })
    };
    let network = NetworkId([0; 16]);
    let queued = record();
    let award = |worker| Transition::Award { worker, price: 1 };
    let one = queued.apply(award(ONE), 3, AT).unwrap();
    let other = queued.apply(award(OTHER), 3, AT).unwrap();
    let sides = [vec![Some(0), Some(1), Some(2)]];
    let lost = [vec![Some(0), None, Some(2)]];
    let told = || Fact::AcceptedTold { job: JOB };
    let chosen = || Fact::Chosen { record: &one, network, newest: true };
    let on_disks = |held, sides| Fact::OnDisks(Copies { job: JOB, held, sides, in_force: true });

    let survives = "what was told outlives any minority";
    let nobody = [held(1, 0, &queued), None, None];
    let enough = [held(1, 1, &one), held(1, 1, &one), None];
    let differs = [held(1, 1, &one), held(1, 0, &queued), held(1, 0, &queued)];
    assert_eq!(
        broken_by(&[told(), on_disks(&enough, &sides), on_disks(&nobody, &sides)]),
        survives
    );
    assert_eq!(
        broken_by(&[chosen(), on_disks(&enough, &lost), on_disks(&differs, &sides)]),
        survives
    );

    let extended = "later ballots extend what was chosen";
    let later = [held(1, 1, &one), held(1, 1, &one), held(2, 1, &other)];
    let twice = [held(1, 1, &one), held(1, 1, &other), None];
    assert_eq!(broken_by(&[on_disks(&enough, &sides), on_disks(&later, &sides)]), extended);
    assert_eq!(broken_by(&[on_disks(&twice, &sides)]), extended);
}
