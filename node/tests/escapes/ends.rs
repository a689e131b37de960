//! The tests: every attack inside and outside the walls, every flood to its end.

use std::fs;
use std::time::Duration;

use cyxwiz_node::executor::{Outcome, StopReason, Walls};
use cyxwiz_trainer::EngineChoice;
use libtest_mimic::{Failed, Trial};

use crate::attacks::ATTACKS;
use crate::bench::{Ended, LONG, Trainer, escapes_without, is_dead, is_held, run, train};
use crate::hostile::BY_THE_LOADER;

pub(crate) fn trials() -> Vec<Trial> {
    // What one of them leaves behind where it works, its own test ends.
    let plain = ATTACKS.iter().filter(|(name, _)| *name != SURVIVES);
    let attacks = plain.map(|(name, _)| {
        Trial::test(*name, move || {
            is_held(name)?;
            if VARIES.contains(name) { Ok(()) } else { escapes_without(name) }
        })
    });
    attacks
        .chain([
            Trial::test("nobody_is_left_outside_the_group", nobody_is_left_outside_the_group),
            Trial::test("time_is_up", time_is_up),
            Trial::test("spinning_ends_too", spinning_ends_too),
            Trial::test(BY_THE_LOADER, the_loader_starts_nothing_else),
            Trial::test("one_large_file", || fails("one_large_file", "larger than the 19 MiB")),
            Trial::test("many_files", || fails("many_files", "MiB of files, more than the")),
            Trial::test("many_names", || fails("many_names", "more than 2048 files and folders")),
            Trial::test("many_folders_deep", || fails("many_folders_deep", "more than 2048 files")),
            Trial::test("private_memory", || runs_out_of_memory("private_memory", Walls::All)),
            Trial::test("shared_memory", || {
                fails("shared_memory", "refused: Operation not permitted")?;
                runs_out_of_memory("shared_memory", Walls::LimitsOnly)
            }),
            Trial::test("threads", || fails("threads", "threads, more than the 35 allowed")),
            Trial::test("a_giant_frame", || fails("a_giant_frame", "more than 65536 bytes")),
            Trial::test("endless_words_are_cut", endless_words_are_cut),
            Trial::test("endless_frames_are_not_kept", endless_frames_are_not_kept),
            Trial::test("start_overhead", start_overhead).with_ignored_flag(true),
        ])
        .collect()
}

const SURVIVES: &str = "leave_the_group_and_stay";

/// What other parts of the system may refuse as well: a user without privileges, a kernel without
/// the feature, a stricter setting.
const VARIES: &[&str] = &[
    "trace_the_node",
    "open_the_nodes_memory",
    "raise_the_own_limit",
    "mount",
    "make_a_user_namespace",
    "use_io_uring",
    "load_bpf",
    "handle_page_faults",
    "use_a_call_of_tomorrow",
];

fn fails(flood: &str, words: &str) -> Result<(), Failed> {
    let ended = run(flood, Walls::All, LONG)?;
    expect(&ended, ended.message().contains(words), words)?;
    is_cleaned_up(&ended)
}

fn runs_out_of_memory(flood: &str, walls: Walls) -> Result<(), Failed> {
    let ended = run(flood, walls, LONG)?;
    expect(&ended, ended.message().contains("the memory was used up"), "want of memory")?;
    is_cleaned_up(&ended)
}

fn time_is_up() -> Result<(), Failed> {
    let ended = run("outlive_the_time", Walls::All, Duration::from_millis(300))?;
    let expected = Outcome::Stopped { why: StopReason::TimedOut };
    expect(&ended, ended.outcome == expected, "the end of its time")?;
    is_cleaned_up(&ended)
}

fn spinning_ends_too() -> Result<(), Failed> {
    let ended = run("processor_time", Walls::All, Duration::from_millis(900))?;
    let expected = Outcome::Stopped { why: StopReason::TimedOut };
    expect(&ended, ended.outcome == expected, "the end of its time")?;
    is_cleaned_up(&ended)
}

fn the_loader_starts_nothing_else() -> Result<(), Failed> {
    let held = run(BY_THE_LOADER, Walls::All, LONG)?;
    let message = held.message();
    let is_held = message.contains("ermission") && !message.contains("exit status: 42");
    expect(&held, is_held, "a loader that may not read the program")?;
    if cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
        escapes_without(BY_THE_LOADER)?;
    }
    Ok(())
}

fn nobody_is_left_outside_the_group() -> Result<(), Failed> {
    // Without walls the way out is there, and the survivor is for this test to end.
    let ended = run(SURVIVES, Walls::LimitsOnly, LONG)?;
    let message = ended.message();
    let survivor = message.strip_prefix("escaped: ").ok_or(message.clone())?.parse::<u32>()?;
    let lived = !is_dead(survivor);
    // SAFETY: signals a process that was made for this.
    unsafe { libc::kill(survivor as i32, libc::SIGKILL) };
    expect(&ended, lived, "a survivor")?;
    is_held(SURVIVES)
}

fn endless_words_are_cut() -> Result<(), Failed> {
    let ended = run("endless_words", Walls::All, Duration::from_millis(700))?;
    let expected = Outcome::Stopped { why: StopReason::TimedOut };
    expect(&ended, ended.outcome == expected, "the end of its time")?;
    let kept = fs::metadata(ended.log())?.len();
    expect(&ended, kept == 64 << 10, "64 KiB of words")
}

fn endless_frames_are_not_kept() -> Result<(), Failed> {
    let before = resident_bytes()?;
    let ended = run("endless_frames", Walls::All, Duration::from_secs(1))?;
    let expected = Outcome::Stopped { why: StopReason::TimedOut };
    expect(&ended, ended.outcome == expected, "the end of its time")?;
    let grown = resident_bytes()?.saturating_sub(before);
    expect(&ended, grown < 64 << 20, "a node of the same size")
}

/// From the wish to start the real trainer to its first word. Printed, not judged: the time is the
/// machine's.
fn start_overhead() -> Result<(), Failed> {
    for walls in [Walls::LimitsOnly, Walls::All] {
        let mut times = Vec::new();
        for _ in 0..50 {
            let mut arguments = vec!["__train".to_owned()];
            arguments.extend((walls != Walls::All).then(|| "--allow-unsandboxed".to_owned()));
            let program = env!("CARGO_BIN_EXE_cyxwiz").into();
            let trainer = Trainer { program, arguments, engine: EngineChoice::Cpu };
            let ended = train(trainer, "", walls, LONG)?;
            // It has greeted, and its job is none.
            expect(&ended, ended.message().contains("job.json"), "a job that is refused")?;
            times.push(ended.hello_after);
        }
        times.sort();
        let (best, half, most) = (times[0], times[25], times[47]);
        println!("{walls:?}: first word after {best:?} at best, p50 {half:?}, p95 {most:?}");
    }
    Ok(())
}

fn expect(ended: &Ended, holds: bool, what: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(format!("expected {what}: {}", ended.message()).into()) }
}

/// Nothing lives, and nothing is left on disk but words.
fn is_cleaned_up(ended: &Ended) -> Result<(), Failed> {
    expect(ended, ended.pid > 1 && is_dead(ended.pid), "a dead process")?;
    for entry in fs::read_dir(ended.folder.path().join("runs"))? {
        let path = entry?.path();
        expect(ended, path == ended.log(), "an empty folder of runs")?;
    }
    Ok(())
}

fn resident_bytes() -> Result<u64, Failed> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split_whitespace().nth(1).ok_or("no pages")?.parse()?;
    Ok(pages * 4096)
}
