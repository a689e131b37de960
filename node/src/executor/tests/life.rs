//! From start to end: the good way, stopping, dying with the node, and coming back.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_with_its_outputs_and_a_clean_room() {
    // Deliberately inheritable: the executor has to see to it.
    let leak = rustix::fs::open("/", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
    let script = training(&format!(
        "{}\n{}\n{}",
        "{ pwd; echo $1 $2; cat job.json inputs/data.csv; tr '\\0' '\\n' </proc/$$/environ | sort;
           readlink /proc/$$/fd/* | grep -cx /; nice; ulimit -c; ulimit -n; } > output/facts",
        "sum=$(sha256sum output/facts | cut -c1-64); size=$(wc -c < output/facts)",
        finished("facts", "$size", "$sum"),
    ));
    let mut bench = Bench::new(&script);
    let data = bench.root.path().join("content");
    fs::write(&data, "1,2\n").unwrap();
    let mut run = run(1);
    run.workload_json = "{\"epochs\":3}\n".to_owned();
    run.inputs = vec![("data.csv".to_owned(), data.clone())];
    bench.executor.start(run).unwrap();
    assert_eq!(bench.executor.active(), [id(1)]);

    let pid = bench.spawned().await;
    let directory = bench.run_directory(1);
    let (frames, outcome) = bench.end().await;
    drop(leak);
    assert!(matches!(frames[..], [Frame::Hello { .. }, Frame::Started(_)]), "{frames:?}");
    let (summary, output_dir) = assert_finished(outcome);
    assert!(summary.compute_ms < 9_999_999, "longer than the process lived");
    assert!(is_dead(pid) && bench.executor.active().is_empty());

    let facts = fs::read_to_string(output_dir.join("facts")).unwrap();
    let here = directory.display();
    let own = rustix::process::getpriority_process(None).unwrap();
    let expected = format!(
        "{here}\n{here} 2\n{{\"epochs\":3}}\n1,2\nLANG=C\nRAYON_NUM_THREADS=2\n\
         TMPDIR={here}/scratch\n0\n{}\n0\n1024\n",
        (own + 10).min(19),
    );
    assert_eq!(facts, expected);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("inputs/data.csv")) & 0o222, 0);
    bench.executor.discard(id(1));
    assert!(bench.left_on_disk().is_empty());
    assert_eq!(fs::read_to_string(&data).unwrap(), "1,2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_told_with_its_last_words() {
    let mut bench = Bench::new(&training("echo 'oh no' >&2; exit 3"));
    bench.executor.start(run(1)).unwrap();
    let (_, outcome) = bench.end().await;
    assert_failed(&outcome, FailureClass::Internal, "exit status: 3): oh no");
    assert_eq!(bench.left_on_disk(), [format!("{}.log", id(1))]);
    bench.executor.discard(id(1));
    assert!(bench.left_on_disk().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_error_is_kept_to_its_last_64_kib() {
    let mut bench = Bench::new("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo end >&2; exit 1");
    bench.executor.start(run(1)).unwrap();
    bench.end().await;
    let log = fs::read(bench.root.path().join(format!("runs/{}.log", id(1)))).unwrap();
    assert_eq!(log.len(), 64 * 1024);
    assert!(log.ends_with(b"xend\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_heard() {
    let obey = r#"trap '' TERM; read line
case "$line" in '{"control":"stop"}') exec sleep 0;; esac; exec sleep 1000"#;
    let mut bench = Bench::new(&training(obey));
    bench.executor.start(run(1)).unwrap();
    bench.spawned().await;
    let asked = std::time::Instant::now();
    bench.executor.stop(id(1), StopReason::LeaseLost);
    bench.executor.stop(id(1), StopReason::Cancelled);
    let (_, outcome) = bench.end().await;
    assert_eq!(outcome, Outcome::Stopped { why: StopReason::LeaseLost });
    assert!(asked.elapsed() < Duration::from_secs(4), "only killing ended it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_heard_and_the_last_checkpoint_with_it() {
    let obey = r#"read line; test "$line" = '{"control":"pause"}' || exit 1
echo state > checkpoints/one
echo '{"frame":"checkpoint","epoch":0,"batch":3,"name":"one","size":6}'
echo '{"frame":"paused","epoch":0,"batch":3}'"#;
    let mut bench = Bench::new(&training(obey));
    bench.executor.start(run(1)).unwrap();
    bench.spawned().await;
    bench.executor.stop(id(1), StopReason::Paused);
    let mut left = None;
    let outcome = loop {
        match bench.next().await {
            ExecutorEvent::Checkpoint { checkpoint, .. } => left = Some(checkpoint),
            ExecutorEvent::Ended { outcome, .. } => break outcome,
            ExecutorEvent::Spawned { .. } | ExecutorEvent::Frame { .. } => {}
        }
    };
    assert_eq!(outcome, Outcome::Stopped { why: StopReason::Paused });
    let left = left.expect("a state to go on from");
    assert_eq!((left.epoch, left.batch), (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_gives_way_to_a_stop() {
    let obey = r#"read line; test "$line" = '{"control":"pause"}' || exit 1
read line; test "$line" = '{"control":"stop"}' && exec sleep 0; exec sleep 1000"#;
    let mut bench = Bench::new(&training(obey));
    bench.executor.start(run(1)).unwrap();
    bench.spawned().await;
    let asked = std::time::Instant::now();
    bench.executor.stop(id(1), StopReason::Paused);
    bench.executor.stop(id(1), StopReason::Paused);
    bench.executor.stop(id(1), StopReason::Cancelled);
    bench.executor.stop(id(1), StopReason::Paused);
    let (_, outcome) = bench.end().await;
    assert_eq!(outcome, Outcome::Stopped { why: StopReason::Cancelled });
    assert!(asked.elapsed() < Duration::from_secs(10), "took {:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_are_read_are_told_of_and_a_pause_ends_it() {
    let pause = r#"read line; echo '{"frame":"paused","epoch":0,"batch":0}'"#;
    let mut bench = Bench::new(&format!("{HELLO}\n{READING}\n{READING}\n{pause}"));
    bench.executor.start(run(1)).unwrap();
    bench.spawned().await;
    bench.executor.stop(id(1), StopReason::Paused);
    let (frames, outcome) = bench.end().await;
    let told = Frame::Reading(ReadSoFar { values: 9, elapsed_ms: 1000 });
    assert_eq!(frames[1..], [told.clone(), told]);
    assert_eq!(outcome, Outcome::Stopped { why: StopReason::Paused });
    // Nothing is done yet, so that it cannot have got anywhere.
    let ahead = r#"echo '{"frame":"paused","epoch":1,"batch":0}'"#;
    let outcome = Bench::outcome(&format!("{HELLO}\n{ahead}")).await;
    assert_failed(&outcome, FailureClass::Internal, "`paused` when it was not due");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_by_itself_while_it_is_paused_ends_as_it_does() {
    let fail = r#"read line; echo '{"frame":"failed","class":"diverged","message":"no number"}'"#;
    let mut bench = Bench::new(&training(fail));
    bench.executor.start(run(1)).unwrap();
    bench.spawned().await;
    bench.executor.stop(id(1), StopReason::Paused);
    assert_failed(&bench.end().await.1, FailureClass::Diverged, "no number");
    // Nobody asked this one.
    let unasked = training(r#"echo '{"frame":"paused","epoch":0,"batch":0}'"#);
    assert_failed(&Bench::outcome(&unasked).await, FailureClass::Internal, "nobody asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_hear_a_stop_is_killed() {
    let deaf = training("trap '' TERM; exec <&-; sleep 1000 & sleep 1000; sleep 1000");
    let mut bench = Bench::new(&deaf);
    bench.executor.start(run(1)).unwrap();
    let pid = bench.spawned().await;
    let asked = std::time::Instant::now();
    bench.executor.stop(id(1), StopReason::Cancelled);
    let (_, outcome) = bench.end().await;
    assert_eq!(outcome, Outcome::Stopped { why: StopReason::Cancelled });
    assert!(is_dead(pid));
    assert!(asked.elapsed() < Duration::from_secs(10), "took {:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_does_not_listen_delays_no_stop() {
    let report = progress("1", "1", r#""loss":1"#);
    let mut bench = Bench::with_room(&training(&format!("while :; do {report}; done")), 1);
    bench.executor.start(run(1)).unwrap();
    let pid = bench.spawned().await;
    bench.executor.stop(id(1), StopReason::Cancelled);
    death_of(pid).await;
    assert_eq!(bench.end().await.1, Outcome::Stopped { why: StopReason::Cancelled });
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_waits_for_the_dead_but_not_for_the_receiver() {
    let Bench { root: _root, executor, mut events } =
        Bench::with_room(&training("exec sleep 1000"), 1);
    executor.start(run(1)).unwrap();
    let Some(ExecutorEvent::Spawned { pid, .. }) = events.recv().await else { panic!() };
    tokio::time::timeout(PATIENCE, executor.shutdown()).await.unwrap();
    assert!(is_dead(pid));
    let mut last = None;
    while let Some(event) = events.recv().await {
        last = Some(event);
    }
    let outcome = Outcome::Stopped { why: StopReason::Shutdown };
    assert_eq!(last, Some(ExecutorEvent::Ended { id: id(1), outcome }));
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_counted_and_names_checked() {
    let mut bench = Bench::new("exec cat");
    bench.executor.start(run(1)).unwrap();
    assert_eq!(bench.executor.start(run(1)), Err(StartError::Known { id: id(1) }));
    bench.executor.start(run(2)).unwrap();
    assert_eq!(bench.executor.start(run(3)), Err(StartError::Full { limit: 2 }));
    bench.executor.discard(id(1));
    assert_eq!(bench.executor.active(), [id(1), id(2)]);
    for attempt in [1, 2] {
        bench.executor.stop(id(attempt), StopReason::Cancelled);
    }
    bench.end().await;
    bench.end().await;
    assert_eq!(bench.executor.start(run(1)), Err(StartError::Known { id: id(1) }));
    bench.executor.discard(id(1));
    bench.executor.start(run(1)).unwrap();

    for name in ["", ".", "..", "a/b", "/etc", ".hidden", "a\0b", &"x".repeat(200)] {
        let mut run = run(4);
        run.inputs = vec![(name.to_owned(), "/dev/null".into())];
        let refused = Err(StartError::InputName { name: name.to_owned() });
        assert_eq!(bench.executor.start(run), refused);
    }
    let mut zero = run(4);
    zero.limits.threads = 0;
    assert_eq!(bench.executor.start(zero), Err(StartError::ZeroLimit { limit: "threads" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_fails_without_a_process() {
    let mut bench = Bench::new("true");
    let mut link = run(1);
    std::os::unix::fs::symlink("/etc/hostname", bench.root.path().join("link")).unwrap();
    link.inputs = vec![("data.csv".to_owned(), bench.root.path().join("link"))];
    bench.executor.start(link).unwrap();
    let ExecutorEvent::Ended { outcome, .. } = bench.next().await else { panic!() };
    assert_failed(&outcome, FailureClass::Internal, "cannot place the input data.csv");
    assert!(bench.left_on_disk().is_empty());

    let root = tempfile::tempdir().unwrap();
    let (sender, mut events) = mpsc::channel(4);
    let program = root.path().join("missing");
    let missing = ExecutorConfig { program, ..config(root.path(), "") };
    let executor = Executor::new(missing, sender).unwrap();
    executor.start(run(1)).unwrap();
    let Some(ExecutorEvent::Ended { outcome, .. }) = events.recv().await else { panic!() };
    assert_failed(&outcome, FailureClass::Internal, "No such file");
}

/// Starts a run that ignores the end of its input, says its number, and waits to be killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of `the_process_dies_with_the_node`, run in a process of its own"]
async fn node_to_be_killed() {
    let Some(root) = std::env::var_os(ROOT_VARIABLE) else {
        return;
    };
    // In this order: who hears `Started` finds the background process there.
    let background = "trap '' TERM PIPE; sleep 1000 &";
    let script = format!("{HELLO}\n{background}\n{STARTED}\nwhile :; do sleep 1000; done");
    let (sender, mut events) = mpsc::channel(4);
    let executor = Executor::new(config(Path::new(&root), &script), sender).unwrap();
    executor.start(run(1)).unwrap();
    while let Some(event) = events.recv().await {
        if let ExecutorEvent::Spawned { pid, .. } = event {
            fs::write(Path::new(&root).with_extension("leader"), pid.to_string()).unwrap();
        }
        if matches!(event, ExecutorEvent::Frame { frame: Frame::Started(_), .. }) {
            println!("\nready");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_dies_with_the_node_and_the_next_life_clears_up() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("runs");
    let mut node = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NODE_TEST, "--ignored", "--nocapture"])
        .env(ROOT_VARIABLE, &root)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = io::BufReader::new(node.stdout.take().unwrap());
    let ready = io::BufRead::lines(output).any(|line| line.unwrap() == "ready");
    assert!(ready, "the helper did not get ready");
    let leader = fs::read_to_string(root.with_extension("leader")).unwrap().parse().unwrap();
    assert!(!is_dead(leader));
    node.kill().unwrap();
    node.wait().unwrap();
    death_of(leader).await;

    // The background process of the script knows no parent-death signal: the next life kills it.
    let orphans = members_of(leader);
    assert!(!orphans.is_empty(), "nothing was left to clear up");
    let (sender, _events) = mpsc::channel(1);
    let _executor = Executor::new(config(&root, "true"), sender).unwrap();
    assert!(orphans.into_iter().all(is_dead));
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_number_that_is_another_process_now_is_spared() {
    let root = tempfile::tempdir().unwrap();
    let mut stranger = Command::new("sleep");
    let stranger = std::os::unix::process::CommandExt::process_group(&mut stranger, 0);
    let mut stranger = stranger.arg("1000").spawn().unwrap();
    let real = leftovers::Identity::of(stranger.id()).unwrap().to_string();
    let words: Vec<&str> = real.split_whitespace().collect();
    let earlier = format!("{} {} {}", words[0], words[1].parse::<u64>().unwrap() - 1, words[2]);
    let other_boot = format!("{} {} another-boot", words[0], words[1]);
    for record in [&earlier, &other_boot, "1 1 x", "", "-5 0 x", &"9".repeat(5000)] {
        let run = root.path().join(id(1).to_string());
        fs::create_dir(&run).unwrap();
        fs::write(directory::record_of(&run), record).unwrap();
        let (sender, _events) = mpsc::channel(1);
        drop(Executor::new(config(root.path(), "true"), sender).unwrap());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        assert!(!is_dead(stranger.id()), "killed because of {record:?}");
    }
    fs::write(root.path().join("x.pid"), &real).unwrap();
    let (sender, _events) = mpsc::channel(1);
    drop(Executor::new(config(root.path(), "true"), sender).unwrap());
    assert!(is_dead(stranger.id()));
    stranger.wait().unwrap();
}

fn members_of(group: u32) -> Vec<u32> {
    let numbers = fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_member = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().nth(2) == Some(&group.to_string()) && !is_dead(*pid)
    };
    numbers.filter(is_member).collect()
}

const ROOT_VARIABLE: &str = "CYXWIZ_TEST_RUNS";
const NODE_TEST: &str = "executor::tests::life::node_to_be_killed";
