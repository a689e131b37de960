//! What people read.

use super::samples::{self, NOW};
use crate::api::view::{CoordinatorView, JobPhase, OfficeView, SeatView};
use crate::cli::error::{CommandError, Kind};
use crate::cli::job::outcome::{outcome, summary};
use crate::cli::job::why::explanation;
use crate::cli::node::status;
use crate::cli::output::{Format, Ids, Output};
use crate::cli::quantity;

#[test]
fn every_kind_of_failure_has_its_exit_code() {
    let codes = [
        (Kind::BrokenPipe, 0),
        (Kind::Failure, 1),
        (Kind::Usage, 2),
        (Kind::Unreachable, 3),
        (Kind::JobFailed, 100),
        (Kind::NotFinished, 101),
        (Kind::NotFound, 102),
        (Kind::Cancelled, 103),
        (Kind::NobodyCould, 104),
        (Kind::Interrupted, 130),
    ];
    for (kind, code) in codes {
        assert_eq!(kind.exit_code(), code, "{kind:?}");
    }
}

#[test]
fn errors_of_the_local_api_keep_their_meaning() {
    use crate::api::view::{ErrorKind, ErrorView};
    for (kind, code) in [
        (ErrorKind::Usage, 2),
        (ErrorKind::Forbidden, 1),
        (ErrorKind::Unreachable, 3),
        (ErrorKind::NotFound, 102),
        (ErrorKind::NotCompleted, 100),
        (ErrorKind::NotFinished, 101),
        (ErrorKind::NobodyCould, 104),
        (ErrorKind::Refused, 1),
        (ErrorKind::Busy, 1),
        (ErrorKind::Internal, 1),
    ] {
        let view = ErrorView { kind, message: "m".to_owned(), hint: Some("h".to_owned()) };
        let error = CommandError::from(view);
        assert_eq!(error.kind.exit_code(), code, "{kind:?}");
        assert_eq!(error.to_string(), "error: m\nhint: h");
    }
}

#[test]
fn an_error_tells_its_causes_and_its_way_out() {
    let source = std::io::Error::other("disk full");
    let error = CommandError::failure("cannot write x").because(&source).hint("make room");
    assert_eq!(error.to_string(), "error: cannot write x: disk full\nhint: make room");
    let json: serde_json::Value = serde_json::from_str(&error.to_json()).unwrap();
    assert_eq!(json["exit_code"], 1);
    assert_eq!(json["error"]["kind"], "failure");
    assert_eq!(json["error"]["causes"][0], "disk full");
    let pipe = CommandError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
    assert_eq!(pipe.kind, Kind::BrokenPipe);
}

#[test]
fn a_failed_job_names_its_reason() {
    let job = samples::failed("nobody_could", "no worker has a cuda device");
    let expected = "error: job digits (019d0c0a-1111) failed: no worker has a cuda device\n\
        hint: `cyxwiz job why 019d0c0a-1111-7aaa-8000-000000000001` tells each attempt and each \
        refusal";
    assert_eq!(outcome(&job).unwrap_err().to_string(), expected);
}

#[test]
fn a_completed_job_is_summed_up() {
    let size = 670_000;
    let files = vec![crate::api::view::FileView {
        name: "model.safetensors".to_owned(),
        size,
        sha256: String::new(),
    }];
    let expected = "\
job         digits 019d0c0a-1111-7aaa-8000-000000000001
state       completed after 25.0 s
metrics                 training        test
            loss          0.0123      0.1042
            accuracy                  97.2 %
worker      …3f9aZ2
compute     4.2 s on cpu, 2 threads
parameters  167 434
files       model.safetensors  654.3 KiB";
    assert_eq!(summary(&samples::completed(files), Ids::Short), expected);
}

#[test]
fn a_paused_job_says_since_when_and_from_where_it_goes_on() {
    let job = samples::paused();
    let text = explanation(&job, Ids::Short, NOW);
    let expected = "Job digits (019d0c0a-1111) has been paused for 3 min; when it is resumed it \
                    goes on after epoch 12 and 30 batches of the next.";
    assert_eq!(text.lines().next(), Some(expected));
    let error = outcome(&job).unwrap_err();
    let expected = "error: job digits (019d0c0a-1111) is paused\n\
        hint: let it go on with `cyxwiz job resume 019d0c0a-1111-7aaa-8000-000000000001`";
    assert_eq!((error.kind, error.to_string()), (Kind::NotFinished, expected.to_owned()));
}

#[test]
fn why_shows_bids_points_refusals_and_attempts() {
    let expected = "\
Job digits (019d0c0a-1111) is running; it was accepted 30 s ago.

Attempt 1: 2 bids, decided 29 s ago by the policy balanced in 41.2 ms, price 4
           won …3f9aZ2    2. …XXXyy1
─────────────────────────────────────
 score             812           500
 price               3             4
 compute   +360 (0.90)   +200 (0.50)
 load      +452 (1.00)             -
  …XXXyy1 cannot: needs 512 MiB, has 256
  and 2 more workers

Attempt 1 is on …3f9aZ2 since 29 s ago";
    let text = explanation(&samples::decided(), Ids::Short, NOW);
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn why_tells_what_a_job_waits_for() {
    let expected = "\
Job digits (019d0c0a-1111) has been queued for 30 s.

It waits: no worker fits
  …3f9aZ2 cannot: needs 64 cores, has 2; has no cuda device";
    assert_eq!(explanation(&samples::waiting(), Ids::Short, NOW), expected);
}

#[test]
fn the_status_of_a_node_fits_on_a_page() {
    let output = Output { format: Format::Table, quiet: true, ids: Ids::Short };
    let expected = "\
peer       12D3KooWAbcdefghijkLmNoPq3f9aZ2
version    0.1.0, started 5 min ago
network    home, connected to 1 peer
invite     cyxwiz1:home
listening  /ip4/127.0.0.1/tcp/4001
committee  …XXXyy1 (leader)
           …3f9aZ2, this peer
           term 3 of …XXXyy1, epoch 1
roles      worker: 1 of 3 jobs running, 8 cores, 15.5 GiB, 52.3 GFLOP/s, price 3
own jobs   1 under way
traffic    1.5 KiB in, 900 B out
dropped    messages: 2 with a wrong signature
data       /data/cyxwiz";
    let text = status(&samples::node(), &output, NOW);
    assert_eq!(text, expected, "\n{text}");
}

/// What `node status` of a coordinator says of its committee.
fn committee_words(seat: SeatView) -> String {
    let output = Output { format: Format::Table, quiet: true, ids: Ids::Short };
    let mut node = samples::node();
    let leading = seat.office == OfficeView::Leader;
    let (queued, running, paused, finished, workers) = (2, 1, 1, 40, 3);
    node.coordinator =
        Some(CoordinatorView { leading, queued, running, paused, finished, workers, seat });
    let text = status(&node, &output, NOW);
    let lines = text.lines().skip_while(|line| !line.starts_with("committee"));
    lines.take_while(|line| !line.contains(" worker: ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_leader_tells_how_its_members_do() {
    let mut seat = samples::seat(OfficeView::Leader, &[Some(0), Some(120), Some(80)]);
    let expected = "\
committee  …3f9aZ2 (leader), this peer
           …XXXyy1
           …XXXyy2
           term 4 of …3f9aZ2, epoch 3
health     3 of 3 members answer: 1 more may be lost without harm
roles      coordinator, leading: 2 queued, 1 running, 1 paused, 40 finished, 3 workers";
    let text = committee_words(seat.clone());
    assert_eq!(text, expected, "\n{text}");

    (seat.members[2].silent_ms, seat.members[2].behind) = (Some(12_000), 3);
    let expected = "\
committee  …3f9aZ2 (leader), this peer
           …XXXyy1
           …XXXyy2, silent for 12.0 s, 3 jobs behind
           term 4 of …3f9aZ2, epoch 3
health     2 of 3 members answer: one more loss stops new decisions
           start the missing ones: …XXXyy2
roles      coordinator, leading: 2 queued, 1 running, 1 paused, 40 finished, 3 workers";
    let text = committee_words(seat);
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn what_a_committee_needs_is_said() {
    let of = |office, silent: &[Option<u64>]| samples::seat(office, silent);
    let mut alone = of(OfficeView::Leader, &[Some(0)]);
    let text = committee_words(alone.clone());
    assert!(
        text.contains("its disk is the only copy") && text.contains("start two more"),
        "{text}"
    );
    alone.candidates = 1;
    assert!(committee_words(alone).contains("start one more"));
    let silent = of(OfficeView::Leader, &[Some(0), Some(9_000), None]);
    let text = committee_words(silent);
    assert!(text.contains("no majority answers (1 of 3)"), "{text}");
    assert!(text.contains("--force-new-committee"), "{text}");
    let mut joint = of(OfficeView::Leader, &[Some(0), Some(10), Some(10)]);
    joint.joint = true;
    assert!(committee_words(joint).contains("joint committee"));
    let text = committee_words(of(OfficeView::Electing, &[None, None, None]));
    assert!(text.contains("no leader is heard of") && text.contains("--force-new"), "{text}");
    let text = committee_words(of(OfficeView::Follower, &[None, None, None]));
    assert!(text.contains("coordinator, following") && !text.contains("health"), "{text}");
    let text = committee_words(of(OfficeView::Candidate, &[None, None, None]));
    assert!(text.contains("a candidate without a seat"), "{text}");
}

#[test]
fn a_job_that_runs_is_not_finished() {
    let error = outcome(&samples::job(JobPhase::Running)).unwrap_err();
    assert_eq!(error.kind, Kind::NotFinished);
    assert!(outcome(&samples::completed(Vec::new())).is_ok());
}

#[test]
fn quantities_read_well() {
    let read = [
        (quantity::ago(1_000, 13_500), "12 s ago"),
        (quantity::ago(13_500, 1_000), "now"),
        (quantity::coarse(600_000), "10 min"),
        (quantity::coarse(200 * 3_600_000), "8 d"),
        (quantity::duration(850), "850 ms"),
        (quantity::duration(67_000), "1:07"),
        (quantity::clock(7_987_000), "2:13:07"),
        (quantity::bytes(1_023), "1023 B"),
        (quantity::bytes(1_048_575), "1.0 MiB"),
        (quantity::bytes(u64::MAX), "16.0 EiB"),
        (quantity::count(1_234_567), "1 234 567"),
        (quantity::number(1.5e-7), "1.5e-7"),
        (quantity::number(f64::NAN), "NaN"),
        (quantity::metric("val_accuracy", 0.5), "50.0 %"),
        (quantity::metric("rows", 1_200.0), "1 200"),
    ];
    for (text, expected) in read {
        assert_eq!(text, expected);
    }
}

#[test]
fn ids_are_cut_to_what_tells_them_apart() {
    let ids = [samples::JOB, samples::OTHER_JOB];
    assert_eq!(Ids::Short.job(samples::JOB, &ids), "019d0c0a-1111-7aaa");
    assert_eq!(Ids::Short.job(samples::JOB, &ids[..1]), "019d0c0a-1111");
    assert_eq!(Ids::Whole.job(samples::JOB, &ids), samples::JOB);
    assert_eq!(Ids::Short.peer("short"), "short");
    assert_eq!(Ids::Short.peer("äöüäöüäöü"), "…äöüäöü");
}
