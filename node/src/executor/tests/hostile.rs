//! Trainers that lie, babble or reach for what is not theirs.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn words_out_of_form_cost_the_life() {
    let hello_again = format!("{HELLO}\n{HELLO}");
    let long_end = format!("{HELLO}\nhead -c 70000 /dev/zero | tr '\\0' x; echo");
    let cases = [
        ("echo hello", "not a frame"),
        (r#"printf '\377\376\n'"#, "not a frame"),
        (r#"echo '{"frame":"hello","version":1,"engine":"x","threads":1}'"#, "version 1"),
        (STARTED, "`started` when it was not due"),
        (&hello_again, "`hello` when it was not due"),
        (&training(STARTED), "`started` when it was not due"),
        (&training(READING), "`reading` when it was not due"),
        ("tr '\\0' x </dev/zero", "more than 65536 bytes"),
        (&long_end, "more than 65536 bytes"),
        (&training(&progress("1", "1", r#""loss":1e999"#)), "not a frame"),
        (&training(&finished("../x", "1", "00")), "no plain name"),
    ];
    for (script, words) in cases {
        let outcome = Bench::outcome(&format!("{script}\nexec sleep 1000")).await;
        assert_failed(&outcome, FailureClass::Internal, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_are_what_they_are_said_to_be_or_nothing() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let cases = [
        ("printf abc > output/m", "3", empty, "does not have the SHA-256"),
        ("printf abc > output/m", "2", empty, "has 3 bytes, but 2"),
        ("true", "0", empty, "cannot open the output m"),
        (": > other; ln -s ../other output/m", "0", empty, "cannot open the output m"),
        (": > other; ln other output/m", "0", empty, "not a regular file"),
        ("mkfifo output/m", "0", empty, "not a regular file"),
        ("mkdir output/m", "0", empty, "not a regular file"),
        ("mkdir o; : > o/m; rmdir output; ln -s o output", "0", empty, "the folder of outputs"),
        (": > output/m", "1048577", empty, "more than the 1048576 allowed"),
        (": > output/m", "18446744073709551615", empty, "more than the 1048576 allowed"),
    ];
    for (make, size, sum, words) in cases {
        let script = training(&format!("{make}\n{}", finished("m", size, sum)));
        assert_failed(&Bench::outcome(&script).await, FailureClass::Internal, words);
    }
    let honest = training(&format!(": > output/m\n{}", finished("m", "0", empty)));
    assert_finished(Bench::outcome(&honest).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_after_the_last_undoes_it() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let last = finished("m", "0", empty);
    // The process must outlive its second word, or there may be nobody to hold to account.
    let script = training(&format!(": > output/m\n{last}\n{HELLO}\nsleep 1000"));
    let outcome = Bench::outcome(&script).await;
    assert_failed(&outcome, FailureClass::Internal, "`hello` when it was not due");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_numbers_are_brought_into_form() {
    let long = "n".repeat(65);
    let metrics = format!(r#""ok":1.5,"{long}":1,"with blank":2,"":3"#);
    let report = progress("99", "501", &metrics);
    let fail = r#"printf '%s\n' '{"frame":"failed","class":"diverged","message":"a\u001b[2Jb"}'"#;
    let mut bench = Bench::new(&training(&format!("{report}\n{fail}")));
    bench.executor.start(run(1)).unwrap();
    let (frames, outcome) = bench.end().await;
    let Some(Frame::Progress(heard)) = frames.last() else { panic!("{frames:?}") };
    assert_eq!((heard.epoch, heard.epochs, heard.batch), (3, 3, 500));
    assert_eq!(heard.metrics.keys().collect::<Vec<_>>(), ["ok"]);
    assert_failed(&outcome, FailureClass::Diverged, "a [2Jb");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_progress_becomes_a_trickle_with_every_epoch() {
    let report = progress("$e", "$b", r#""loss":1"#).replace("'$e'", "'\"$e\"'");
    let report = report.replace("'$b'", "'\"$b\"'");
    let flood = format!(
        "for e in 1 2 3; do b=0; while [ $b -lt 500 ]; do b=$((b+1)); {report}; done; done\nexit 9"
    );
    let mut bench = Bench::new(&training(&flood));
    let start = std::time::Instant::now();
    bench.executor.start(run(1)).unwrap();
    let (frames, outcome) = bench.end().await;
    assert_failed(&outcome, FailureClass::Internal, "exit status: 9");
    let heard: Vec<(u32, u32)> = frames
        .iter()
        .filter_map(|frame| {
            let Frame::Progress(progress) = frame else {
                return None;
            };
            Some((progress.epoch, progress.batch))
        })
        .collect();
    for epoch in 1..=3 {
        assert!(heard.contains(&(epoch, 500)), "{heard:?}");
    }
    assert!(heard.is_sorted(), "{heard:?}");
    let allowed = 4 + start.elapsed().as_millis() / 100;
    assert!(heard.len() as u128 <= allowed, "{} > {allowed}", heard.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grandchild_is_dead_at_the_end() {
    let report = progress("1", "1", r#""pid":'$!'"#);
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let last = finished("m", "0", empty);
    let script = training(&format!("sleep 1000 &\n{report}\n: > output/m\n{last}"));
    let mut bench = Bench::new(&script);
    bench.executor.start(run(1)).unwrap();
    let (frames, outcome) = bench.end().await;
    assert_finished(outcome);
    let Some(Frame::Progress(heard)) = frames.last() else { panic!("{frames:?}") };
    let pid = heard.metrics["pid"] as u32;
    assert!(pid > 1 && is_dead(pid), "process {pid} lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unasked_stop_and_a_folder_without_permissions_harm_nobody() {
    let fail = r#"echo '{"frame":"failed","class":"stopped","message":"tired"}'"#;
    let script = training(&format!("mkdir -p output/a/b; chmod 0 output/a output\n{fail}"));
    let mut bench = Bench::new(&script);
    bench.executor.start(run(1)).unwrap();
    let (_, outcome) = bench.end().await;
    assert_failed(&outcome, FailureClass::Internal, "nobody asked: tired");
    assert!(bench.left_on_disk().is_empty());
}

/// A shell line that tells of a checkpoint.
fn checkpoint(epoch: u32, name: &str, size: u64) -> String {
    let frame = format!(r#""frame":"checkpoint","epoch":{epoch},"name":"{name}","size":{size}"#);
    format!("echo '{{{frame}}}'")
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_what_they_are_said_to_be_or_cost_the_life() {
    let cases = [
        ("true", checkpoint(1, "../job.json", 2), "no plain name"),
        ("true", checkpoint(1, "/etc/hostname", 2), "no plain name"),
        ("true", checkpoint(0, "c", 0), "of epoch 0, while in epoch 1"),
        ("true", checkpoint(2, "c", 0), "of epoch 2, while in epoch 1"),
        ("printf abc > checkpoints/c", checkpoint(1, "c", 2), "has 3 bytes, but 2"),
        ("printf abc > checkpoints/c", checkpoint(1, "c", u64::MAX), "larger than the 19922944"),
        (": > other; ln -s ../other checkpoints/c", checkpoint(1, "c", 0), "cannot open"),
        (": > other; ln other checkpoints/c", checkpoint(1, "c", 0), "not a regular file"),
        ("mkfifo checkpoints/c", checkpoint(1, "c", 0), "not a regular file"),
        ("mkdir checkpoints/c", checkpoint(1, "c", 0), "not a regular file"),
        (
            "mkdir o; : > o/c; rmdir checkpoints; ln -s o checkpoints",
            checkpoint(1, "c", 0),
            "the folder of checkpoints",
        ),
    ];
    for (make, say, words) in cases {
        let outcome = Bench::outcome(&training(&format!("{make}\n{say}\nexec sleep 1000"))).await;
        assert_failed(&outcome, FailureClass::Internal, words);
    }
    let early = format!("{HELLO}\n{}\nexec sleep 1000", checkpoint(1, "c", 0));
    let outcome = Bench::outcome(&early).await;
    assert_failed(&outcome, FailureClass::Internal, "`checkpoint` when it was not due");
    let twice = checkpoint(1, "c", 0);
    let twice = training(&format!(": > checkpoints/c\n{twice}\n{twice}\nexec sleep 1000"));
    assert_failed(&Bench::outcome(&twice).await, FailureClass::Internal, "of epoch 1, while");
    let gone = training(&format!("{}\nexit 9", checkpoint(1, "c", 5)));
    assert_failed(&Bench::outcome(&gone).await, FailureClass::Internal, "exit status: 9");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_held_though_its_name_goes() {
    // Nobody listens while all of them are said: the newest is the one that is told of.
    let report = |epoch: &str| progress(epoch, "500", r#""loss":1"#);
    let one = format!("{}\nprintf first > checkpoints/1\n{}", report("1"), checkpoint(1, "1", 5));
    let two = format!("{}\nprintf newest > checkpoints/2\n{}", report("2"), checkpoint(2, "2", 6));
    let script = training(&format!("{one}\n{two}\nread line\nrm -r checkpoints\nexit 9"));
    let mut bench = Bench::with_room(&script, 1);
    bench.executor.start(run(1)).unwrap();
    let held = loop {
        let event = bench.next().await;
        assert!(!matches!(event, ExecutorEvent::Ended { .. }), "{event:?}");
        if let ExecutorEvent::Checkpoint { checkpoint, .. } = event
            && checkpoint.epoch == 2
        {
            break checkpoint;
        }
    };
    bench.executor.stop(id(1), StopReason::LeaseLost);
    let (_, outcome) = bench.end().await;
    assert_eq!(outcome, Outcome::Stopped { why: StopReason::LeaseLost });
    assert!(bench.left_on_disk().is_empty());
    assert_eq!(io::read_to_string(held.file()).unwrap(), "newest");
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_and_excuses_are_believed_only_so_far() {
    let warn = r#"echo '{"frame":"warning","message":"the disk is full"}'"#;
    let excuse = r#"echo '{"frame":"failed","class":"bad_checkpoint","message":"cut off"}'"#;
    let script =
        training(&format!("n=0; while [ $n -lt 99 ]; do n=$((n+1)); {warn}; done\n{excuse}"));
    let outcome = Bench::outcome(&script).await;
    assert_failed(&outcome, FailureClass::Internal, "though it had none: cut off");

    let mut bench = Bench::new(&training(&format!("[ -f resume.safetensors ] && {excuse}")));
    let mut run = run(1);
    let file = bench.root.path().join("content");
    fs::write(&file, "x").unwrap();
    run.resume = Some(file);
    bench.executor.start(run).unwrap();
    assert_failed(&bench.end().await.1, FailureClass::BadCheckpoint, "cut off");
}
