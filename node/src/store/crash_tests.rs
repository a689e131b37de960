//! The promise itself: whatever was acknowledged is there after a kill, after a power loss, and
//! on a full disk. A child process, this test binary run again, writes; the parent ends it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use super::engine::Syncing;
use super::*;

const CHILD_DIR: &str = "CYXWIZ_STORE_CHILD_DIR";
const CHILD_PLAN: &str = "CYXWIZ_STORE_CHILD_PLAN";
const KEYS: u64 = 150;

/// A small generator of repeatable numbers (splitmix64).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn key_name(number: u64) -> Vec<u8> {
    format!("record/{number:04}").into_bytes()
}

/// Mostly short, sometimes of several chunks.
fn value_of(commit: u64, key: u64) -> Vec<u8> {
    let chance = mix(commit * 1_000 + key);
    let len = if chance.is_multiple_of(20) { 3_000 + chance % 15_000 } else { chance % 600 };
    let len = usize::try_from(len).unwrap();
    chance.to_le_bytes().into_iter().cycle().take(len).collect()
}

/// What commit `number` changes: the keys, and whether each is put or removed.
fn changes(number: u64) -> impl Iterator<Item = (u64, bool)> {
    let count = 1 + mix(number) % 5;
    (0..count).map(move |nth| {
        let chance = mix(number * 10 + nth);
        (chance % KEYS, !(chance >> 32).is_multiple_of(6))
    })
}

fn batch(number: u64) -> Batch {
    let mut batch = Batch::new();
    for (key, put) in changes(number) {
        if put {
            batch.put(key_name(key), value_of(number, key));
        } else {
            batch.delete(key_name(key));
        }
    }
    batch.put("last", number.to_le_bytes());
    batch
}

fn last_of(records: &[(Vec<u8>, Vec<u8>)]) -> u64 {
    let last = records.iter().find(|(key, _)| key == b"last");
    last.map_or(0, |(_, value)| u64::from_le_bytes(value.as_slice().try_into().unwrap()))
}

/// The content after the commits `1..=last`.
fn model(last: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut writers: BTreeMap<u64, u64> = BTreeMap::new();
    for number in 1..=last {
        for (key, put) in changes(number) {
            if put {
                writers.insert(key, number);
            } else {
                writers.remove(&key);
            }
        }
    }
    let mut records = Vec::new();
    if last > 0 {
        records.push((b"last".to_vec(), last.to_le_bytes().to_vec()));
    }
    records.extend(writers.into_iter().map(|(key, n)| (key_name(key), value_of(n, key))));
    records
}

/// Not a test of its own: what the parents below run, told by the environment.
#[test]
fn child() {
    let Some(dir) = env::var_os(CHILD_DIR).map(PathBuf::from) else {
        return;
    };
    match env::var(CHILD_PLAN).unwrap().as_str() {
        "fill" => fill(&dir),
        "unsynced" => write_for_ever(&dir, Syncing::LeftOut),
        _ => write_for_ever(&dir, Syncing::Real),
    }
}

fn write_for_ever(dir: &Path, syncing: Syncing) {
    let Opened { store, records, mut flushed } = Store::open_with(dir, syncing).unwrap();
    let start = last_of(&records);
    let (mut sent, mut acknowledged) = (0, 0);
    loop {
        // How many commits are outstanding varies, so that groups of all sizes are cut short.
        while sent - acknowledged < 1 + mix(sent / 50) % 40 {
            sent = store.commit(batch(start + sent + 1));
        }
        let Some(Flushed::UpTo(number)) = flushed.blocking_recv() else { panic!("cannot write") };
        acknowledged = number;
        println!("\nack {}", start + acknowledged);
    }
}

fn fill(dir: &Path) {
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![1; 6 << 20]).unwrap();
    let store_dir = dir.join("store");
    let Opened { store, mut flushed, .. } = Store::open(&store_dir).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        let number = store.commit(ballast_batch(acknowledged + 1));
        match flushed.blocking_recv().unwrap() {
            Flushed::UpTo(upto) => acknowledged = upto,
            Flushed::Failed { error } => break error,
        }
        assert_eq!(number, acknowledged);
    };
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
    assert!(error.to_string().contains(&store_dir.display().to_string()), "{error}");
    store.commit(ballast_batch(acknowledged + 1));
    assert!(flushed.blocking_recv().is_none(), "acknowledged after a failure");
    drop(store);
    fs::remove_file(ballast).unwrap();
    let opened = Store::open(&store_dir).unwrap();
    let last = opened.records.len() as u64;
    assert!(last >= acknowledged && acknowledged > 10, "{last} {acknowledged}");
    let expected = (1..=last).flat_map(|number| ballast_batch(number).0);
    let found = opened.records.into_iter().map(|(key, value)| (key, Some(value)));
    assert!(expected.eq(found), "other records than committed");
    println!("\nack {acknowledged}");
}

/// A batch that takes more space each time.
fn ballast_batch(number: u64) -> Batch {
    let mut batch = Batch::new();
    let value = number.to_le_bytes().into_iter().cycle().take(50_000);
    batch.put(number.to_be_bytes(), value.collect::<Vec<_>>());
    batch
}

/// This test binary again, to run only [`child`].
fn child_command(dir: &Path, plan: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    let path = module_path!().split_once("::").unwrap().1;
    command.args(["--exact", &format!("{path}::child"), "--nocapture"]);
    command.env(CHILD_DIR, dir).env(CHILD_PLAN, plan).stdout(Stdio::piped());
    command
}

/// Kills the child after `count` acknowledgements; returns the last that it told.
fn kill_after(mut child: Child, count: u64) -> u64 {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut last, mut seen) = (0, 0);
    for line in lines.map_while(Result::ok) {
        if let Some(number) = line.strip_prefix("ack ") {
            last = number.parse().unwrap();
            seen += 1;
            if seen == count {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    assert!(seen >= count, "the child ended by itself after {seen} acknowledgements");
    last
}

#[test]
fn nothing_acknowledged_is_lost_to_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("store");
    let mut store_id = None;
    for round in 0..15 {
        let child = child_command(&dir, "synced").spawn().unwrap();
        let acknowledged = kill_after(child, 1 + mix(round) % 150);
        let opened = Store::open(&dir).unwrap();
        let last = last_of(&opened.records);
        assert!(last >= acknowledged, "round {round}: {acknowledged} acknowledged, {last} found");
        assert_eq!(opened.records, model(last), "round {round}: not a state that ever was");
        assert_eq!(*store_id.get_or_insert(opened.store.store_id()), opened.store.store_id());
    }
}

/// Builds the shim; without a C compiler there is nothing to emulate with.
fn build_shim(dir: &Path) -> Option<PathBuf> {
    let source = dir.join("power_loss.c");
    fs::write(&source, include_str!("../../tests/power_loss.c")).unwrap();
    let shim = dir.join("power_loss.so");
    let args = ["-std=gnu11", "-O1", "-shared", "-fPIC", "-o"];
    let built = Command::new("cc").args(args).arg(&shim).arg(&source).args(["-ldl"]).status();
    match built {
        Ok(status) => {
            assert!(status.success(), "the power loss shim does not compile");
            Some(shim)
        }
        Err(error) => {
            eprintln!("SKIPPED: power loss needs a C compiler: {error}");
            None
        }
    }
}

/// Puts in place of `dir` what a power loss would have left of it.
fn lose_power(dir: &Path, shadow: &Path) {
    let names = fs::read_to_string(shadow.join("names")).unwrap();
    fs::remove_dir_all(dir).unwrap();
    fs::create_dir(dir).unwrap();
    for line in names.lines() {
        let [kind, path, content] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        if kind == "d" {
            fs::create_dir(dir.join(path)).unwrap();
        } else if fs::copy(shadow.join(content), dir.join(path)).is_err() {
            fs::write(dir.join(path), "").unwrap();
        }
    }
    fs::remove_dir_all(shadow).unwrap();
}

/// Runs `rounds` power losses on one store; says what was wrong with the first bad one.
fn power_losses(plan: &str, rounds: u64) -> Option<Result<(), String>> {
    let temp = tempfile::tempdir().unwrap();
    let shim = build_shim(temp.path())?;
    let root = temp.path().canonicalize().unwrap().join("root");
    let (dir, shadow) = (root.join("store"), temp.path().join("shadow"));
    fs::create_dir(&root).unwrap();
    if plan == "unsynced" {
        // Made properly, so that what gets lost are the commits and not the store's birth.
        drop(Store::open(&dir).unwrap());
    }
    for round in 0..rounds {
        fs::create_dir(&shadow).unwrap();
        let mut command = child_command(&dir, plan);
        command.env("LD_PRELOAD", &shim);
        command.env("POWER_LOSS_DIR", &root).env("POWER_LOSS_SHADOW", &shadow);
        let acknowledged = kill_after(command.spawn().unwrap(), 1 + mix(round) % 120);
        lose_power(&root, &shadow);
        let opened = match Store::open(&dir) {
            Ok(opened) => opened,
            Err(error) => return Some(Err(format!("round {round}: {error}"))),
        };
        let last = last_of(&opened.records);
        if last < acknowledged {
            let lost = format!("round {round}: {acknowledged} acknowledged, {last} found");
            return Some(Err(lost));
        }
        assert_eq!(opened.records, model(last), "round {round}: not a state that ever was");
    }
    Some(Ok(()))
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_acknowledged_is_lost_to_a_power_loss() {
    if let Some(outcome) = power_losses("synced", 12) {
        outcome.unwrap();
    }
}

/// That the test above can fail: without our own sync the same rounds lose records.
#[cfg(target_os = "linux")]
#[test]
fn without_our_own_sync_a_power_loss_loses_records() {
    if let Some(outcome) = power_losses("unsynced", 12) {
        let found = outcome.unwrap_err();
        eprintln!("found, as it should be: {found}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_keeps_what_was_acknowledged() {
    let temp = tempfile::tempdir().unwrap();
    let child = child_command(temp.path(), "fill");
    let script = "mount -t tmpfs -o size=16m tmpfs \"$0\" || exit 77; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(temp.path());
    command.arg(child.get_program()).args(child.get_args());
    command.env(CHILD_DIR, temp.path()).env(CHILD_PLAN, "fill");
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return eprintln!("SKIPPED: a small disk needs unshare: {error}"),
    };
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || words.contains("unshare failed") {
        return eprintln!("SKIPPED: a small disk cannot be mounted here: {words}");
    }
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("ack "), "{told}\n{words}");
}
