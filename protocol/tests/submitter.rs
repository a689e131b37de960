//! The submitter from outside.

use cyxwiz_protocol::{
    Attempt, Command, Input, RequestId, TaskEvent, Timer, UnixMillis,
    effects::Collecting,
    job::{AttemptRecord, FailReason, JobRecord, JobState},
    limits,
    message::{
        Gossip, Message,
        pausing::{OrderRefusal, Pausing},
        query::{Answer, JobDetail, Query, Question},
        submission::{Full, Refusal, Submission},
    },
    report::{Receipt, Report},
    signed::Signed,
    spec::{JobSpec, Wish},
};

use crate::harness::{
    Bench, Role, WALL, Who, assert_effects, file, job, ms, network_id, progress, run, sign, spec,
    success,
};

const C: Who = Who::Coordinator;
const S: Who = Who::Submitter;
const W1: Who = Who::Worker(1);
const X: Who = Who::Stranger;
const R: RequestId = RequestId(1);

fn submitter() -> Bench {
    Bench::joined(S, Role::Submitter)
}

fn submit(bench: &mut Bench, number: u8) -> Vec<String> {
    bench.command(Command::Submit(Box::new(spec(number))))
}

fn accepted(number: u8) -> Message {
    Message::Submission(Submission::Accepted { request: R, job: job(number) })
}

fn refused(number: u8, refusal: Refusal) -> Message {
    Message::Submission(Submission::Refused { request: R, job: job(number), refusal })
}

fn noted(number: u8) -> Message {
    Message::Submission(Submission::CancelNoted { request: R, job: job(number) })
}

fn ended(number: u8) -> Message {
    Message::Submission(Submission::Ended { job: job(number) })
}

/// A submitter whose job 1 was accepted.
fn waiting() -> Bench {
    let mut bench = submitter();
    submit(&mut bench, 1);
    bench.from(C, &accepted(1));
    bench.flush();
    bench
}

fn handed_in(bench: &Bench) -> Signed<JobSpec> {
    let spec = bench.sent.iter().find_map(|(_, message)| {
        let Message::Submission(Submission::Submit { spec, .. }) = message else { return None };
        Some(spec.clone())
    });
    spec.expect("a job was handed in")
}

/// The question that was just asked.
fn asked(bench: &Bench) -> Option<RequestId> {
    bench.sent.iter().find_map(|(_, message)| {
        let Message::Query(Query::Ask { request, .. }) = message else { return None };
        Some(*request)
    })
}

/// The leader's answer to the question that was just asked of job 1.
fn answer(bench: &Bench, state: JobState, attempts: Vec<AttemptRecord>) -> Message {
    let request = asked(bench);
    let signed = sign(S, bench.clock(), spec(1));
    let mut record = JobRecord::new(job(1), S.id(), signed.digest(), UnixMillis(1));
    (record.state, record.attempts) = (state, attempts);
    let detail = JobDetail {
        record,
        spec: signed,
        progress: None,
        started_at: None,
        decisions: Vec::new(),
        waiting: None,
        speed: None,
    };
    let request = request.expect("a question was asked");
    let answer = Box::new(Answer::Job(Some(Box::new(detail))));
    Message::Query(Query::Answer { request, answer })
}

fn completed_by(receipt_of: Who, awarded_to: Who, bench: &Bench) -> Message {
    let receipt = Receipt {
        job: job(1),
        attempt: Attempt(1),
        ending: success(),
        compute_ms: 1,
        reports: 0,
        chain: cyxwiz_protocol::Digest([0; 32]),
    };
    let receipt = Box::new(sign(receipt_of, bench.clock(), receipt));
    let state = JobState::Completed { at: UnixMillis(2), receipt };
    answer(
        bench,
        state,
        vec![AttemptRecord {
            attempt: Attempt(1),
            worker: awarded_to.id(),
            price: 0,
            awarded_at: UnixMillis(1),
            end: None,
        }],
    )
}

#[test]
fn a_job_is_on_disk_and_handed_in_until_it_is_accepted() {
    let mut bench = submitter();
    assert_effects(submit(&mut bench, 1), &["write outbox j1", "to C: submit j1"]);
    let first = handed_in(&bench);
    let mut since = bench.now;
    let mut pauses = Vec::new();
    for _ in 0..7 {
        assert_effects(bench.wait_for(Timer::Submit(job(1))), &["to C: submit j1"]);
        assert_eq!(handed_in(&bench), first, "the same document");
        pauses.push(bench.now.since(since));
        since = bench.now;
    }
    assert!(pauses[0] <= ms(2_250) && pauses[6] >= ms(10_000), "growing: {pauses:?}");
    assert_effects(bench.from(X, &accepted(1)), &[]);
    assert_effects(bench.from(C, &accepted(1)), &["write outbox j1", "reply 1: accepted j1"]);
    assert_effects(bench.from(C, &accepted(1)), &[]);
    let told = bench.live(ms(20_000));
    assert!(!told.iter().any(|line| line.contains("submit")), "{told:?}");
}

#[test]
fn without_a_committee_a_job_waits_and_goes_out_at_once_when_there_is_one() {
    let (mut bench, _) = Bench::new(S, Role::Submitter);
    assert_effects(submit(&mut bench, 1), &["write outbox j1"]);
    let told = bench.live(ms(120_000));
    assert_effects(told, &[]);
    bench.learn_committee();
    assert_effects(bench.wake(), &["to C: submit j1"]);
    let since = bench.now;
    bench.wait_for(Timer::Submit(job(1)));
    assert!(bench.now.since(since) <= ms(2_250), "the first pause is the shortest");
}

#[test]
fn what_is_refused_is_told_once_and_followed_no_more() {
    let mut bench = submitter();
    submit(&mut bench, 1);
    assert_effects(
        bench.from(C, &refused(1, Refusal::Full(Full::Disk))),
        &["erase outbox j1", "reply 1: refused j1: the coordinator's disk is full"],
    );
    assert_effects(bench.from(C, &refused(1, Refusal::Full(Full::Disk))), &[]);
    assert_effects(bench.from(C, &accepted(1)), &[]);
    assert_eq!(bench.peer.status().unaccepted, 0);
    let mut wrong = spec(2);
    wrong.limits.attempts = 0;
    assert_effects(
        bench.command(Command::Submit(Box::new(wrong))),
        &["reply 2: refused j2: 0 attempts are not between 1 and 16"],
    );
}

#[test]
fn of_too_many_who_wait_for_one_job_the_first_is_given_up() {
    let mut bench = submitter();
    for _again in 0..=limits::QUESTIONS {
        submit(&mut bench, 1);
    }
    let told = bench.from(C, &accepted(1));
    assert_eq!(told.len(), 1 + limits::QUESTIONS, "a write and the answers");
    assert_eq!(told[1], "reply 2: accepted j1");
}

#[test]
fn the_same_job_again_is_one_job_and_each_command_is_answered() {
    let mut bench = submitter();
    submit(&mut bench, 1);
    let first = handed_in(&bench);
    let told = submit(&mut bench, 1);
    assert_effects(told, &[]);
    bench.wait_for(Timer::Submit(job(1)));
    assert_eq!(handed_in(&bench), first);
    assert_effects(
        bench.from(C, &accepted(1)),
        &["write outbox j1", "reply 1: accepted j1", "reply 2: accepted j1"],
    );
    assert_effects(submit(&mut bench, 1), &["reply 3: accepted j1"]);
    let other = JobSpec { workload: "{\"other\":1}".to_owned(), ..spec(1) };
    assert_effects(
        bench.command(Command::Submit(Box::new(other))),
        &["reply 4: refused j1: another job has this id"],
    );
    assert_eq!(bench.peer.status().unfinished, 1);
}

#[test]
fn the_outbox_outlives_the_submitter() {
    let mut bench = submitter();
    submit(&mut bench, 1);
    let first = handed_in(&bench);
    submit(&mut bench, 2);
    bench.from(C, &accepted(2));
    bench.flush();
    let (mut bench, told) = bench.crash();
    assert_effects(told, &["subscribe committee"]);
    bench.learn_committee();
    assert_effects(bench.wake(), &["to C: submit j1", "to C: what of j2?"]);
    assert_eq!(handed_in(&bench), first);
    assert_effects(bench.from(C, &accepted(1)), &["write outbox j1"]);
}

#[test]
fn a_result_is_brought_home_when_told_that_the_job_ended() {
    let mut bench = waiting();
    assert_effects(bench.from(X, &ended(1)), &[]);
    bench.from(C, &ended(1));
    assert_effects(bench.wake(), &["to C: what of j1?"]);
    let answer = completed_by(W1, W1, &bench);
    assert_effects(bench.from(X, &answer), &[]);
    assert_effects(bench.from(C, &answer), &["collect j1 from [C W1]"]);
    assert_effects(bench.from(C, &answer), &[]);
    assert_effects(
        bench.task(TaskEvent::Collected { job: job(1), why: Collecting::Home, result: Ok(()) }),
        &["erase outbox j1", "told that j1 ended"],
    );
    assert_eq!(bench.peer.status().unfinished, 0);
    let told = bench.live(ms(120_000));
    assert_effects(told, &[]);
}

#[test]
fn a_result_is_brought_home_by_asking_when_nobody_tells() {
    let mut bench = waiting();
    bench.wait_for(Timer::Poll(job(1)));
    let failed = Err("nobody has it".to_owned());
    for result in [failed, Ok(())] {
        while !bench.sent.iter().any(|(_, message)| matches!(message, Message::Query(_))) {
            bench.wake();
        }
        let answer = completed_by(W1, W1, &bench);
        assert_effects(bench.from(C, &answer), &["collect j1 from [C W1]"]);
        let told = bench.task(TaskEvent::Collected {
            job: job(1),
            why: Collecting::Home,
            result: result.clone(),
        });
        match result {
            Err(_) => assert_effects(told, &[]),
            Ok(()) => assert_effects(told, &["erase outbox j1", "told that j1 ended"]),
        }
    }
}

#[test]
fn a_receipt_of_one_who_was_not_awarded_is_not_believed() {
    let mut bench = waiting();
    bench.from(C, &ended(1));
    bench.wake();
    let forged = completed_by(X, W1, &bench);
    let told = bench.from(C, &forged);
    assert!(!told.iter().any(|line| line.starts_with("collect")), "{told:?}");
}

#[test]
fn a_job_that_failed_ends_without_files() {
    let mut bench = waiting();
    bench.from(C, &ended(1));
    bench.wake();
    let reason = FailReason::NobodyCould { detail: "nobody came".to_owned() };
    let answer = answer(&bench, JobState::Failed { at: UnixMillis(2), reason }, Vec::new());
    assert_effects(bench.from(C, &answer), &["erase outbox j1", "told that j1 ended"]);
}

/// A job that was made long after the committee was founded cannot have been lost with its disks.
#[test]
fn an_accepted_job_that_its_committee_forgot_is_not_handed_in_again() {
    let mut bench = submitter();
    let mut young = spec(1);
    young.id.0[..6].copy_from_slice(&(WALL.0 + 3_600_000).to_be_bytes()[2..]);
    let id = young.id;
    bench.command(Command::Submit(Box::new(young)));
    bench.from(C, &Message::Submission(Submission::Accepted { request: R, job: id }));
    bench.flush();
    bench.from(C, &Message::Submission(Submission::Ended { job: id }));
    bench.wake();
    let request = asked(&bench).expect("asked");
    let unknown = Message::Query(Query::Answer { request, answer: Box::new(Answer::Job(None)) });
    let told = bench.from(C, &unknown);
    assert!(told[0].starts_with("erase outbox"), "{told:?}");
    assert!(told[1].ends_with("is forgotten"), "{told:?}");
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn an_accepted_job_that_the_committee_does_not_know_is_handed_in_again() {
    let mut bench = waiting();
    bench.from(C, &ended(1));
    bench.wake();
    let request = asked(&bench);
    let request = request.expect("asked");
    let unknown = Message::Query(Query::Answer { request, answer: Box::new(Answer::Job(None)) });
    assert_effects(bench.from(C, &unknown), &["write outbox j1"]);
    assert_effects(bench.wake(), &["to C: submit j1"]);
    assert_effects(bench.from(C, &accepted(1)), &["write outbox j1"]);
}

#[test]
fn a_wish_to_cancel_is_repeated_until_noted_or_given_up() {
    let mut bench = waiting();
    assert_effects(bench.command(Command::Cancel(job(1))), &["to C: cancel j1"]);
    assert_effects(bench.command(Command::Cancel(job(1))), &[]);
    assert_effects(bench.wait_for(Timer::Cancel(job(1))), &["to C: cancel j1"]);
    assert_effects(
        bench.from(C, &noted(1)),
        &["reply 2: cancel of j1 noted", "reply 3: cancel of j1 noted"],
    );
    assert_effects(bench.from(C, &noted(1)), &[]);

    bench.command(Command::Cancel(job(1)));
    let told = bench.live(ms(20_000));
    let last = told.last().map(String::as_str);
    let silent =
        format!("reply 4: unreachable: the coordinator …{} does not answer", C.id().short(),);
    assert_eq!(last, Some(silent.as_str()));
    assert_eq!(told.iter().filter(|line| line.contains("cancel j1")).count(), 4);
}

#[test]
fn a_job_that_is_not_accepted_yet_is_cancelled_as_soon_as_it_is() {
    let mut bench = submitter();
    submit(&mut bench, 1);
    bench.command(Command::Cancel(job(1)));
    for _ in 0..10 {
        assert_effects(bench.from(C, &refused(1, Refusal::Unknown)), &[]);
        let told = bench.wait_for(Timer::Cancel(job(1)));
        assert_effects(told, &["to C: cancel j1"]);
    }
    assert_effects(bench.from(C, &accepted(1)), &["write outbox j1", "reply 1: accepted j1"]);
    assert_effects(bench.from(C, &noted(1)), &["reply 2: cancel of j1 noted"]);
}

#[test]
fn a_refused_cancel_is_told_and_the_job_is_still_followed() {
    let mut bench = waiting();
    bench.command(Command::Cancel(job(1)));
    assert_effects(
        bench.from(C, &refused(1, Refusal::NotYours)),
        &["reply 2: refused j1: only the peer that submitted the job may do this"],
    );
    bench.command(Command::Cancel(job(8)));
    assert_effects(
        bench.from(C, &refused(8, Refusal::Unknown)),
        &["reply 3: refused j8: no such job"],
    );
    assert_eq!(bench.peer.status().unfinished, 1);
}

/// The leader's answer to the order that the submitter sent last.
fn answer_to_order(bench: &Bench, refusal: Option<OrderRefusal>) -> Message {
    let (_, sent) = bench.sent.last().expect("an order is sent");
    let Message::Pausing(Pausing::Order { request, order }) = sent else {
        panic!("an order is sent: {sent:?}");
    };
    let request = *request;
    let order = order.verify(network_id()).expect("its own");
    let (job, number) = (order.job, order.header().sequence);
    Message::Pausing(match refusal {
        None => Pausing::Noted { request, job, number, changed: true },
        Some(refusal) => Pausing::Refused { request, job, number, refusal },
    })
}

#[test]
fn an_order_is_repeated_until_it_is_answered_or_given_up() {
    let mut bench = waiting();
    let pause = || Command::Order(job(1), Wish::Pause);
    assert_effects(bench.command(pause()), &["to C: pause j1"]);
    let noted = answer_to_order(&bench, None);
    assert_effects(bench.command(pause()), &[]);
    assert_effects(bench.wait_for(Timer::Order(job(1))), &["to C: pause j1"]);
    assert_effects(bench.from(Who::Stranger, &noted), &[]);
    let told = bench.from(C, &noted);
    assert_effects(told, &["reply 2: order for j1 noted", "reply 3: order for j1 noted"]);
    assert_effects(bench.from(C, &noted), &[]);

    bench.command(pause());
    let told = bench.live(ms(20_000));
    let last = told.last().expect("it gives up");
    assert!(last.starts_with("reply 4: unreachable: the coordinator"), "{told:?}");
    assert_eq!(told.iter().filter(|line| line.contains("pause j1")).count(), 4);
}

#[test]
fn the_newer_order_takes_the_place_of_one_that_waits() {
    let mut bench = waiting();
    bench.command(Command::Order(job(1), Wish::Pause));
    let noted = answer_to_order(&bench, None);
    let later = "reply 2: no order for j1: a later order to pause or resume the job was there \
                 before";
    let told = bench.command(Command::Order(job(1), Wish::Resume));
    assert_effects(told, &["to C: resume j1", later]);
    // The answer to the older one is not one to this.
    assert_effects(bench.from(C, &noted), &[]);
    bench.wait_for(Timer::Order(job(1)));
    let noted = answer_to_order(&bench, None);
    assert_effects(bench.from(C, &noted), &["reply 3: order for j1 noted"]);
}

#[test]
fn a_refused_order_is_told_unless_the_job_is_only_on_its_way() {
    let mut bench = submitter();
    submit(&mut bench, 1);
    bench.command(Command::Order(job(1), Wish::Pause));
    for _ in 0..8 {
        let unknown = answer_to_order(&bench, Some(OrderRefusal::Unknown));
        assert_effects(bench.from(C, &unknown), &[]);
        assert_effects(bench.wait_for(Timer::Order(job(1))), &["to C: pause j1"]);
    }
    let unknown = answer_to_order(&bench, Some(OrderRefusal::Unknown));
    bench.from(C, &accepted(1));
    // Said before the job was accepted, and heard after it.
    assert_effects(bench.from(C, &unknown), &[]);
    assert_effects(bench.wait_for(Timer::Order(job(1))), &["to C: pause j1"]);
    let noted = answer_to_order(&bench, None);
    assert_effects(bench.from(C, &noted), &["reply 2: order for j1 noted"]);

    bench.command(Command::Order(job(8), Wish::Pause));
    let unknown = answer_to_order(&bench, Some(OrderRefusal::Unknown));
    assert_effects(bench.from(C, &unknown), &["reply 3: no order for j8: no such job"]);
}

#[test]
fn a_question_is_repeated_and_given_up_in_the_end() {
    let mut bench = submitter();
    bench.command(Command::Ask(Question::Workers));
    let told = bench.live(ms(5_500));
    assert_eq!(told.len(), 6, "{told:?}");
    let told = bench.live(ms(1_000));
    let silent =
        format!("reply 1: unreachable: the coordinator …{} does not answer", C.id().short(),);
    assert_effects(told, &[&silent]);

    let (mut alone, _) = Bench::new(S, Role::Submitter);
    alone.command(Command::Ask(Question::Workers));
    assert_effects(
        alone.live(ms(10_000)),
        &["reply 1: unreachable: no coordinator has been found on this network yet"],
    );
}

#[test]
fn tickets_that_expired_do_not_void_a_committee_that_sits() {
    let (mut late, _) = Bench::new(S, Role::Submitter);
    late.pass(ms(11 * 365 * 24 * 3_600_000));
    assert_effects(late.learn_committee(), &["told that C leads"]);
    assert_effects(late.learn_committee(), &[]);
    assert_eq!(late.peer.status().dropped, cyxwiz_protocol::Dropped::default());
}

#[test]
fn members_and_neighbours_are_asked_when_nobody_speaks_of_the_committee() {
    let mut bench = submitter();
    bench.give(Input::Connected(X.id()));
    let asked = |told: &[String], whom: &str| {
        told.iter().filter(|line| **line == format!("to {whom}: who coordinates?")).count()
    };
    let mut told = Vec::new();
    while bench.now.0 < 15_000_000 {
        assert_eq!(asked(&told, "C"), 0, "its record is fresh: {told:?}");
        told = bench.wake();
    }
    let told: Vec<_> = (0..3).flat_map(|_| bench.wake()).collect();
    assert!(asked(&told, "C") >= 3 && asked(&told, "X") >= 3, "{told:?}");
    bench.learn_committee();
    assert_effects(bench.wake(), &[]);
}

#[test]
fn an_answer_counts_once() {
    let mut bench = submitter();
    bench.command(Command::Ask(Question::Job(job(1))));
    bench.wake();
    let state = JobState::Queued { since: UnixMillis(1) };
    let answer = answer(&bench, state, Vec::new());
    assert_effects(bench.from(X, &answer), &[]);
    assert_effects(bench.from(C, &answer), &["reply 1: answer"]);
    assert_effects(bench.from(C, &answer), &[]);
    assert_effects(bench.live(ms(60_000)), &[]);
}

#[test]
fn files_are_collected_on_demand_and_every_asker_is_told() {
    let mut bench = submitter();
    let collect = || Command::Collect {
        job: job(1),
        files: vec![file("model.safetensors")],
        from: vec![W1.id()],
    };
    assert_effects(bench.command(collect()), &["collect j1 from [W1]"]);
    assert_effects(bench.command(collect()), &[]);
    assert_effects(
        bench.task(TaskEvent::Collected {
            job: job(1),
            why: Collecting::Home,
            result: Err("gone".to_owned()),
        }),
        &["reply 1: not collected: gone", "reply 2: not collected: gone"],
    );
    bench.command(collect());
    assert_effects(
        bench.task(TaskEvent::Collected { job: job(1), why: Collecting::Home, result: Ok(()) }),
        &["reply 3: collected"],
    );
}

#[test]
fn reports_are_told_to_those_who_watch() {
    let mut bench = submitter();
    let report = |number, bench: &Bench| {
        let previous = cyxwiz_protocol::Digest([0; 32]);
        let (job, attempt) = (run(1, 1).job, run(1, 1).attempt);
        let report = Report { job, attempt, number, previous, progress: progress(number) };
        Gossip::Report(sign(W1, bench.clock(), report))
    };
    let first = report(1, &bench);
    assert_effects(bench.hears(X, &first), &["verdict Accept"]);
    assert_effects(
        bench.command(Command::Watch(job(1))),
        &["subscribe reports/1", "reply 1: done"],
    );
    bench.command(Command::Watch(job(1)));
    let second = report(2, &bench);
    assert_effects(bench.hears(X, &second), &["told report 2 of j1.1", "verdict Accept"]);
    assert_effects(bench.hears(X, &second), &["verdict Ignore"]);
    assert_effects(bench.command(Command::Unwatch(job(1))), &["reply 3: done"]);
    assert_effects(
        bench.command(Command::Unwatch(job(1))),
        &["unsubscribe reports/1", "reply 4: done"],
    );
    assert_effects(bench.command(Command::Unwatch(job(1))), &["reply 5: done"]);
}
