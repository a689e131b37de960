//! The client and what is built on it, against a local API of prepared answers.

use std::net::TcpListener;

use super::samples::{self, JOB, OTHER_JOB};
use super::stub::{Stub, here, write_api_file};
use crate::api::view::{JobEvent, JobLineView, JobPhase, OrderView, SubmitAnswer};
use crate::cli::client::Client;
use crate::cli::error::Kind;
use crate::cli::job::{CancelArgs, JobArgs, JobCommand, PauseArgs, SubmitArgs, run};
use crate::cli::output::Format;
use crate::cli::resolve;

#[test]
fn without_a_node_people_learn_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    let error = Client::connect(dir.path()).unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    let expected = format!(
        "error: no node is running with the data directory {}\n\
         hint: start one with `cyxwiz node run --join ADDRESS`, name another with --data-dir, \
         or join for this one command with --join ADDRESS",
        dir.path().display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_killed_node_is_told_from_one_that_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    // No process has so high a number, so this node is gone.
    write_api_file(dir.path(), &free, "secret", i32::MAX as u32);
    let gone = Client::connect(dir.path()).unwrap_err();
    assert!(gone.message.contains("is gone: its process 2147483647 has ended"), "{gone}");
    write_api_file(dir.path(), &free, "secret", std::process::id());
    let hangs = Client::connect(dir.path()).unwrap_err();
    assert!(hangs.message.contains(&format!("does not answer at {free}")), "{hangs}");
    assert_eq!((gone.kind, hangs.kind), (Kind::Unreachable, Kind::Unreachable));
}

#[test]
fn the_token_goes_to_this_machine_alone() {
    let dir = tempfile::tempdir().unwrap();
    write_api_file(dir.path(), "192.0.2.1:80", "secret", 1);
    let error = Client::connect(dir.path()).unwrap_err();
    assert!(error.message.contains("which is not this machine"), "{error}");
    std::fs::write(dir.path().join("api.json"), "{").unwrap();
    let error = Client::connect(dir.path()).unwrap_err();
    assert!(error.message.contains("api.json is damaged"), "{error}");
}

#[test]
fn answers_and_refusals_arrive_typed() {
    let stub = Stub::default()
        .json("GET /v1/node", &samples::node())
        .json(&format!("GET /v1/jobs/{JOB}"), &samples::decided())
        .answer("GET /v1/peers", 500, b"no JSON")
        .answer("GET /v1/workers", 200, b"{}")
        .start();
    let client = stub.client();
    assert_eq!(client.node().unwrap().network, "home");
    assert_eq!(client.job(JOB).unwrap().decisions[0].bids.len(), 2);
    let missing = client.job(OTHER_JOB).unwrap_err();
    assert_eq!((missing.kind, missing.message.as_str()), (Kind::NotFound, "there is no such job"));
    assert!(client.peers().unwrap_err().message.contains("HTTP status 500"));
    assert!(client.workers().unwrap_err().message.contains("not what this program understands"));
}

#[test]
fn a_wrong_token_is_forbidden() {
    let stub = Stub::default().json("GET /v1/node", &samples::node()).start();
    let text = std::fs::read_to_string(stub.dir.path().join("api.json")).unwrap();
    std::fs::write(stub.dir.path().join("api.json"), text.replace("secret", "guess")).unwrap();
    let error = stub.client().node().unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Failure, "the token is wrong"));
}

#[test]
fn a_list_is_read_to_its_end() {
    let stub = Stub::default()
        .json("GET /v1/jobs?mine=true", &[samples::line(OTHER_JOB, "b")])
        .json(&format!("GET /v1/jobs?mine=true&after={OTHER_JOB}"), &[samples::line(JOB, "a")])
        .json(&format!("GET /v1/jobs?mine=true&after={JOB}"), &Vec::<u8>::new())
        .start();
    let names: Vec<_> = stub.client().jobs(true).unwrap().into_iter().map(|job| job.name).collect();
    assert_eq!(names, ["b", "a"]);
}

#[test]
fn jobs_are_named_by_prefix_or_as_the_last_one() {
    let lines = [samples::line(OTHER_JOB, "b"), samples::line(JOB, "a")];
    let none = Vec::<u8>::new();
    let stub = Stub::default()
        .json("GET /v1/jobs?mine=true", &lines)
        .json(&format!("GET /v1/jobs?mine=true&after={JOB}"), &none)
        .json("GET /v1/jobs?mine=false", &lines)
        .json(&format!("GET /v1/jobs?mine=false&after={JOB}"), &none)
        .start();
    let client = stub.client();
    let resolve = |text: &str| resolve::job(&client, text);
    assert_eq!(resolve("last").unwrap(), OTHER_JOB);
    assert_eq!(resolve("019D0C0A-1111-7AAA").unwrap(), JOB);
    assert_eq!(resolve(JOB).unwrap(), JOB);
    // A whole id is not looked up: the job itself will be asked for.
    assert_eq!(stub.asked().len(), 3);
    let ambiguous = resolve("019d").unwrap_err();
    let expected = format!(
        "error: 2 jobs begin with 019d:\n  {OTHER_JOB}  b\n  {JOB}  a\nhint: give more of the id"
    );
    assert_eq!((ambiguous.kind, ambiguous.to_string()), (Kind::Usage, expected));
    assert_eq!(resolve("ffff").unwrap_err().kind, Kind::NotFound);
    assert_eq!(resolve("019").unwrap_err().kind, Kind::Usage);
    assert_eq!(resolve("digits").unwrap_err().kind, Kind::Usage);
}

#[test]
fn own_jobs_are_named_by_their_names() {
    let ended = |mut line: JobLineView| {
        line.state = JobPhase::Failed;
        line
    };
    let third = "019d0c0a-1111-7aac-8000-000000000003";
    let lines = [
        samples::line(OTHER_JOB, "digits"),
        ended(samples::line(JOB, "digits")),
        ended(samples::line(third, "cafe")),
    ];
    let stub = Stub::default()
        .json("GET /v1/jobs?mine=true", &lines)
        .json(&format!("GET /v1/jobs?mine=true&after={third}"), &Vec::<u8>::new())
        .json("GET /v1/jobs?mine=false", &lines)
        .json(&format!("GET /v1/jobs?mine=false&after={third}"), &Vec::<u8>::new())
        .start();
    let client = stub.client();
    let resolve = |text: &str| resolve::job(&client, text);
    assert_eq!(resolve("digits").unwrap(), OTHER_JOB, "the one that has not ended");
    assert_eq!(resolve("cafe").unwrap(), third, "no id begins so");
    assert_eq!(resolve("nothing").unwrap_err().kind, Kind::Usage);
}

#[test]
fn pausing_and_resuming_say_how_the_job_stands() {
    let order = |changed, job| OrderView { changed, job };
    let command = |verb: &str| match verb {
        "pause" => JobCommand::Pause(PauseArgs { job: job_args(), wait: false }),
        _ => JobCommand::Resume(job_args()),
    };
    let outcome = |verb: &str, order: &OrderView| {
        let stub = Stub::default().json(&format!("POST /v1/jobs/{JOB}/{verb}"), order).start();
        run(&stub.context(Format::Jsonl), command(verb)).map_err(|error| error.kind)
    };
    for changed in [true, false] {
        assert_eq!(outcome("pause", &order(changed, samples::paused())), Ok(()));
        assert_eq!(outcome("resume", &order(changed, samples::job(JobPhase::Queued))), Ok(()));
    }
    let late = order(true, samples::completed(Vec::new()));
    assert_eq!(outcome("pause", &late), Err(Kind::Failure));
}

#[test]
fn waiting_for_a_pause_ends_when_nothing_runs_any_more() {
    let last = JobEvent::State { job: Box::new(samples::paused()) };
    let bytes = stream(&[state(JobPhase::Pausing), last, report(2)]);
    let pausing = OrderView { changed: true, job: samples::job(JobPhase::Pausing) };
    let stub = Stub::default()
        .answer(&events_path(), 200, &bytes)
        .json(&format!("POST /v1/jobs/{JOB}/pause"), &pausing)
        .start();
    let command = JobCommand::Pause(PauseArgs { job: job_args(), wait: true });
    assert_eq!(run(&stub.context(Format::Jsonl), command).map_err(|error| error.kind), Ok(()));
}

#[test]
fn without_own_jobs_there_is_no_last_one() {
    let stub = Stub::default().json("GET /v1/jobs?mine=true", &Vec::<u8>::new()).start();
    let error = resolve::job(&stub.client(), "last").unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
}

/// Events as a server may write them: comments, CRLF, data in two lines, other fields.
fn stream(events: &[JobEvent]) -> Vec<u8> {
    let mut text = String::from(": hello\n\nretry: 10\r\n\r\n");
    for event in events {
        let json = serde_json::to_string(event).unwrap();
        let (first, rest) = json.split_at(json.find(',').unwrap() + 1);
        text.push_str(&format!("event: x\r\ndata: {first}\r\ndata:{rest}\r\n\r\n: still here\n\n"));
    }
    text.into_bytes()
}

fn state(phase: JobPhase) -> JobEvent {
    JobEvent::State { job: Box::new(samples::job(phase)) }
}

fn report(number: u32) -> JobEvent {
    let progress = samples::progress(number, 0.5);
    JobEvent::Report { attempt: 1, number, worker: samples::WORKER.to_owned(), progress }
}

fn events_path() -> String {
    format!("GET /v1/jobs/{JOB}/events")
}

#[test]
fn events_end_with_the_final_state() {
    let events = [state(JobPhase::Running), report(1), state(JobPhase::Cancelled), report(2)];
    let stub = Stub::default().answer(&events_path(), 200, &stream(&events)).start();
    let seen: Vec<_> = stub.client().events(JOB).unwrap().map(Result::unwrap).collect();
    assert_eq!(seen.len(), 3);
    assert!(matches!(&seen[1], JobEvent::Report { number: 1, .. }));
    assert!(matches!(&seen[2], JobEvent::State { job } if job.state == JobPhase::Cancelled));
}

#[test]
fn a_stream_that_breaks_off_is_an_error_and_says_that_the_job_goes_on() {
    let mut bytes = stream(&[state(JobPhase::Running)]);
    bytes.extend(b"data: {\"event\":\"trouble\",\"message\":\"cut off\"}\n");
    let stub = Stub::default().answer(&events_path(), 200, &bytes).start();
    let mut events = stub.client().events(JOB).unwrap();
    assert!(events.next().unwrap().is_ok());
    let error = events.next().unwrap().unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(error.to_string().contains("the job goes on"), "{error}");
    assert!(events.next().is_none());
}

fn job_args() -> JobArgs {
    JobArgs { job: JOB.to_owned(), reach: here() }
}

#[test]
fn waiting_exits_with_the_outcome_of_the_job() {
    for (job, expected) in [
        (samples::completed(Vec::new()), None),
        (samples::job(JobPhase::Cancelled), Some(Kind::Cancelled)),
        (samples::failed("fatal", "the loss is not a number"), Some(Kind::JobFailed)),
        (samples::failed("attempts_used_up", "3 attempts"), Some(Kind::JobFailed)),
        (samples::failed("nobody_could", "no worker has cuda"), Some(Kind::NobodyCould)),
    ] {
        let bytes = stream(&[JobEvent::State { job: Box::new(job) }]);
        let stub = Stub::default().answer(&events_path(), 200, &bytes).start();
        let context = stub.context(Format::Jsonl);
        let outcome = run(&context, JobCommand::Wait(job_args()));
        assert_eq!(outcome.err().map(|error| error.kind), expected);
    }
}

#[test]
fn a_cancelled_job_is_what_cancelling_wanted() {
    let cancel = |last: JobPhase| {
        let bytes = stream(&[state(JobPhase::Running), state(last)]);
        let stub = Stub::default()
            .answer(&events_path(), 200, &bytes)
            .json(&format!("POST /v1/jobs/{JOB}/cancel"), &samples::job(JobPhase::Running))
            .start();
        let command = JobCommand::Cancel(CancelArgs { job: job_args(), wait: true });
        run(&stub.context(Format::Jsonl), command).map_err(|error| error.kind)
    };
    assert_eq!(cancel(JobPhase::Cancelled), Ok(()));
    assert_eq!(cancel(JobPhase::Completed), Err(Kind::Failure));
}

const DIGITS: &str = include_str!("../../../examples/digits.toml");

fn submit_args(file: std::path::PathBuf) -> SubmitArgs {
    let (follow, wait, id_only) = (false, false, true);
    SubmitArgs { file, files: None, follow, wait, id_only, reach: here() }
}

#[test]
fn a_submission_names_its_files_by_whole_paths() {
    let answer = SubmitAnswer {
        job: JOB.to_owned(),
        kind: cyxwiz_trainer::JobKind::Train,
        parameters: 10,
        trainable: 10,
        rows: 25,
        train_rows: 20,
        estimate: crate::api::view::EstimateView::default(),
    };
    let stub = Stub::default().json("POST /v1/jobs", &answer).start();
    let folder = stub.dir.path();
    std::fs::write(folder.join("digits.toml"), DIGITS).unwrap();
    std::fs::write(folder.join("digits.csv"), "label\n1\n").unwrap();
    let args = submit_args(folder.join("digits.toml"));
    run(&stub.context(Format::Table), JobCommand::Submit(args)).unwrap();
    let asked = stub.asked();
    let body: serde_json::Value = serde_json::from_str(&asked[0].1).unwrap();
    assert_eq!(body["job"]["name"], "digits");
    let path = folder.join("digits.csv");
    assert_eq!(body["files"]["digits.csv"].as_str(), path.to_str());
}

#[test]
fn what_is_not_confirmed_yet_is_asked_for_again_under_the_same_id() {
    let slow = br#"{"kind":"unconfirmed","message":"disks are slow","hint":null}"#;
    let request = "POST /v1/jobs";
    let stub = Stub::default().answer(request, 503, slow).answer(request, 503, slow);
    let stub = stub.answer(request, 503, br#"{"kind":"unreachable","message":"gone","hint":null}"#);
    let stub = stub.start();
    let folder = stub.dir.path();
    std::fs::write(folder.join("digits.toml"), DIGITS).unwrap();
    std::fs::write(folder.join("digits.csv"), "label\n1\n").unwrap();
    let args = submit_args(folder.join("digits.toml"));
    let error = run(&stub.context(Format::Table), JobCommand::Submit(args)).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Unreachable, "gone"));
    let asked = stub.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    let bodies: Vec<serde_json::Value> =
        asked.iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect();
    assert!(bodies[0]["id"].is_string(), "{}", bodies[0]);
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
}

#[test]
fn what_is_wrong_with_a_job_file_is_said_before_anything_is_sent() {
    let stub = Stub::default().start();
    let folder = stub.dir.path();
    let file = folder.join("job.toml");
    let submit = |file: &std::path::Path| {
        let args = submit_args(file.to_owned());
        run(&stub.context(Format::Table), JobCommand::Submit(args)).unwrap_err()
    };
    let missing = submit(&file);
    assert!(missing.to_string().contains("cannot read the job file"), "{missing}");
    std::fs::write(&file, DIGITS).unwrap();
    let no_data = submit(&file);
    let expected = format!(
        "error: {} names the data file digits.csv, but {} cannot be read: \
         No such file or directory (os error 2)\n\
         hint: say with --files DIR where the data files lie",
        file.display(),
        folder.join("digits.csv").display()
    );
    assert_eq!(no_data.to_string(), expected);
    std::fs::write(&file, DIGITS.replace("epochs", "epoch")).unwrap();
    let unknown = submit(&file);
    assert!(unknown.to_string().contains("unknown field `epoch`"), "{unknown}");
    std::fs::write(&file, vec![b'#'; 2 << 20]).unwrap();
    let large = submit(&file);
    assert!(large.message.contains("more than 1024 KiB"), "{large}");
    for error in [missing, no_data, unknown, large] {
        assert_eq!(error.kind, Kind::Usage, "{error}");
    }
    assert!(stub.asked().is_empty());
}
