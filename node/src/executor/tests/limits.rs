//! What a run may use: memory, files, time.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_over_the_limit_is_not_written() {
    let script = training("exec head -c 30000000 /dev/zero > output/m");
    let outcome = Bench::outcome(&script).await;
    assert_failed(&outcome, FailureClass::Internal, "larger than the 19 MiB allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_have_the_room_that_the_job_asks_for() {
    // The second word behind the threads is what the trainer is told.
    let script = |bytes: &str| {
        let write = format!("head -c {bytes} /dev/zero > scratch/rows");
        training(&format!(
            "test \"$2 $3 $4\" = '2 --disk-mb 40' || exit 5; {write} && exit 4 || exit 6"
        ))
    };
    let with_room = async |bytes: &str| {
        let mut bench = Bench::new(&script(bytes));
        let mut run = run(1);
        run.limits.disk_mb = 40;
        bench.executor.start(run).unwrap();
        bench.end().await.1
    };
    let fits = with_room("39000000").await;
    assert_failed(&fits, FailureClass::Internal, "exit status: 4");
    let too_large = with_room("41000000").await;
    assert_failed(&too_large, FailureClass::Internal, "exit status: 6");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_temporary_files_counts() {
    // 16 files of 16 MB are more than 179 MiB, and less than these and 120 MB.
    let script = training(
        "for name in 1 2 3 4 5 6 7 8 9 a b c d e f g; do head -c 16000000 /dev/zero > \
         scratch/$name; done; sleep 1; exit 4",
    );
    let outcome = Bench::outcome(&script).await;
    assert_failed(&outcome, FailureClass::Internal, "raise requirements.disk_mb");
    let mut bench = Bench::new(&script);
    let mut run = run(1);
    run.limits.disk_mb = 120;
    bench.executor.start(run).unwrap();
    assert_failed(&bench.end().await.1, FailureClass::Internal, "exit status: 4");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_is_up_at_the_wall() {
    let mut bench = Bench::new(&training("trap '' TERM; sleep 1000; sleep 1000"));
    let mut run = run(1);
    run.limits.wall = Duration::from_millis(200);
    bench.executor.start(run).unwrap();
    let pid = bench.spawned().await;
    let (_, outcome) = bench.end().await;
    assert_eq!(outcome, Outcome::Stopped { why: StopReason::TimedOut });
    assert!(is_dead(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_time_is_no_overflow() {
    let mut bench = Bench::new("exit 5");
    let mut run = run(1);
    run.limits = RunLimits {
        memory_mb: u32::MAX,
        threads: u16::MAX,
        wall: Duration::MAX,
        output_mb: u32::MAX,
        disk_mb: u32::MAX,
    };
    bench.executor.start(run).unwrap();
    assert_failed(&bench.end().await.1, FailureClass::Internal, "exit status: 5");
}

/// Allocates more than the test below allows. It is the allocation that is limited, so nothing is
/// touched.
#[test]
#[ignore = "a part of `memory_over_the_limit_is_refused`, run in a process of its own"]
fn hungry_trainer() {
    let bytes = Vec::<u8>::with_capacity(1 << 29);
    assert!(std::hint::black_box(bytes).capacity() >= 1 << 29);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_over_the_limit_is_refused() {
    let program = std::env::current_exe().unwrap();
    let eat = format!(
        "exec '{}' --exact {HUNGRY_TEST} --ignored --nocapture >/dev/null",
        program.display()
    );
    let outcome = Bench::outcome(&training(&eat)).await;
    assert_failed(&outcome, FailureClass::InvalidJob, "its limit is 256 MiB");

    // The same with room enough, so that it is the limit that made the difference.
    let mut bench = Bench::new(&training(&format!("{}; exit 4", eat.replace("exec ", ""))));
    let mut run = run(1);
    run.limits.memory_mb = 2048;
    bench.executor.start(run).unwrap();
    assert_failed(&bench.end().await.1, FailureClass::Internal, "exit status: 4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_from_elsewhere_is_taken_for_want_of_memory() {
    let outcome = Bench::outcome(&training("kill -9 $$")).await;
    assert_failed(&outcome, FailureClass::OutOfMemory, "the machine has no more");
    let outcome = Bench::outcome(&training("kill -ABRT $$")).await;
    assert_failed(&outcome, FailureClass::Internal, "signal: 6");
    let outcome = Bench::outcome(&training("kill -XCPU $$")).await;
    assert_eq!(outcome, Outcome::Stopped { why: StopReason::TimedOut });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_its_own_limit_ends_is_told_what_to_raise() {
    let refused = r#"echo '{"frame":"failed","class":"out_of_memory","message":"no 9 bytes"}'"#;
    let told = |outcome: &Outcome, words: &str| {
        assert_failed(outcome, FailureClass::InvalidJob, "no 9 bytes; its limit is 256 MiB");
        assert_failed(outcome, FailureClass::InvalidJob, words);
        assert_failed(outcome, FailureClass::InvalidJob, "raise requirements.memory_mb");
    };
    let reading = Bench::outcome(&format!("{HELLO}\n{READING}\n{refused}")).await;
    told(&reading, "read its data");
    told(&reading, "data.streaming = true");
    let computing = Bench::outcome(&training(refused)).await;
    told(&computing, "smaller batch_size");

    // What a checkpoint, another engine or many threads take is not the same everywhere.
    let mut bench = Bench::new(&training(refused));
    let mut resumed = run(1);
    let checkpoint = bench.root.path().join("checkpoint");
    fs::write(&checkpoint, "x").unwrap();
    resumed.resume = Some(checkpoint);
    let mut elsewhere = run(2);
    let backend = cyxwiz_trainer::Backend::Cpu;
    let choice = cyxwiz_trainer::ArrayFireChoice { backend, device: 0, library: None };
    elsewhere.engine = EngineChoice::ArrayFire(choice);
    let mut broad = run(3);
    broad.limits.threads = 5;
    for run in [resumed, elsewhere, broad] {
        bench.executor.start(run).unwrap();
        assert_failed(&bench.end().await.1, FailureClass::OutOfMemory, "256 MiB");
    }
}

const HUNGRY_TEST: &str = "executor::tests::limits::hungry_trainer";
