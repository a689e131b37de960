//! Opening, committing, refusing. What happens when a process or the power ends: `crash_tests`.

use std::fs;
use std::io::Write;

use super::*;

/// Commits `batch` and waits until it is on disk.
fn commit(opened: &mut Opened, batch: Batch) {
    let number = opened.store.commit(batch);
    loop {
        match opened.flushed.blocking_recv().unwrap() {
            Flushed::UpTo(upto) if upto >= number => return,
            Flushed::UpTo(_) => {}
            Flushed::Failed { error } => panic!("{error}"),
        }
    }
}

fn put(key: &str, value: impl Into<Vec<u8>>) -> Batch {
    let mut batch = Batch::new();
    batch.put(key, value);
    batch
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap() ^ seed).collect()
}

fn engine_pairs(dir: &Path) -> usize {
    Engine::open(dir, Syncing::Real).unwrap().scan().unwrap().len()
}

/// Writes `count` records in several sessions, as a node that has been restarted would have.
fn make_store(dir: &Path, count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    for session in 0..3_u8 {
        let mut opened = Store::open(dir).unwrap();
        for number in 0..count {
            let len = if number % 17 == 0 { 9_000 } else { 40 + number * 7 % 900 };
            commit(&mut opened, put(&format!("key/{number:05}"), pattern(len, session)));
        }
    }
    Store::open(dir).unwrap().records
}

#[test]
fn records_come_back_sorted_and_numbers_start_at_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = Store::open(dir.path()).unwrap();
    assert!(opened.records.is_empty());
    assert_eq!(opened.store.commit(put("b", "2")), 1);
    assert_eq!(opened.store.commit(Batch::new()), 2);
    let mut batch = put("c", "3");
    batch.put("a", "0");
    batch.put("a", "1");
    batch.delete("c");
    batch.delete("never there");
    assert_eq!(opened.store.commit(batch), 3);
    commit(&mut opened, put("", ""));
    let store_id = opened.store.store_id();
    drop(opened);

    let opened = Store::open(dir.path()).unwrap();
    let pairs = [("", ""), ("a", "1"), ("b", "2")];
    assert_eq!(opened.records, pairs.map(|(key, value)| (key.into(), value.into())));
    assert_eq!(opened.store.store_id(), store_id);
    let health = opened.store.health();
    assert!(health.free_bytes.is_some() && health.disk_bytes > 0 && !health.unsynced_files);
}

#[test]
fn dropping_the_store_writes_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { store, flushed, .. } = Store::open(dir.path()).unwrap();
    // More than may wait for a reader who does not read at all.
    for number in 0..300_u32 {
        store.commit(put(&format!("{number:03}"), number.to_le_bytes()));
    }
    drop(store);
    drop(flushed);
    assert_eq!(Store::open(dir.path()).unwrap().records.len(), 300);
}

#[test]
fn a_reader_who_is_behind_is_told_the_last_number() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { store, mut flushed, .. } = Store::open(dir.path()).unwrap();
    // Twice as many as the queue and the news together hold: nobody may wait for the reader.
    let count = 2 * (MAX_WAITING_BATCHES + MAX_WAITING_FLUSHED) as u64;
    for number in 1..=count {
        assert_eq!(store.commit(put("counter", number.to_le_bytes())), number);
    }
    let mut last = 0;
    while last < count {
        let Some(Flushed::UpTo(number)) = flushed.blocking_recv() else { panic!("failed") };
        assert!(number > last, "{number} after {last}");
        last = number;
    }
}

#[test]
fn long_values_are_cut_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let lens = [0, 1, 3_499, 3_500, 3_501, 7_000, 7_001, 100_000, 1 << 20];
    let mut opened = Store::open(dir.path()).unwrap();
    for (number, len) in (0..).zip(lens) {
        commit(&mut opened, put(&format!("key{number}"), pattern(len, number)));
    }
    drop(opened);
    let mut opened = Store::open(dir.path()).unwrap();
    for ((number, len), (_, value)) in (0..).zip(lens).zip(&opened.records) {
        assert!(*value == pattern(len, number), "a value of {len} bytes came back different");
    }
    assert!(!opened.store.health().unsynced_files);

    commit(&mut opened, put("key8", pattern(8_000, 9)));
    let mut batch = put("key7", "short now");
    for number in 0..7 {
        batch.delete(format!("key{number}"));
    }
    commit(&mut opened, batch);
    drop(opened);
    assert_eq!(engine_pairs(dir.path()), 2 + 2 + 3, "header, state, two records, three chunks");
    let opened = Store::open(dir.path()).unwrap();
    assert_eq!(opened.records[0].1, b"short now");
    assert!(opened.records[1].1 == pattern(8_000, 9));
}

#[test]
fn a_second_open_is_refused_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    let words = error.to_string();
    let OpenError::Locked { file, holder } = error else { panic!("{words}") };
    assert_eq!((file, holder), (dir.path().join("lock"), Some(std::process::id())));
    assert!(words.contains("another node") && words.contains("lock"), "{words}");
    drop(first);
    Store::open(dir.path()).unwrap();
}

#[test]
fn other_formats_are_refused_and_left_alone() {
    let newer = opened_with_version(9);
    assert!(matches!(newer, OpenError::Newer { found: 9, .. }), "{newer}");
    let older = opened_with_version(1);
    assert!(matches!(older, OpenError::Older { found: 1, .. }), "{older}");
}

fn opened_with_version(version: u8) -> OpenError {
    let dir = tempfile::tempdir().expect("a folder of its own");
    drop(Store::open(dir.path()).expect("a folder of its own"));
    let engine = Engine::open(dir.path(), Syncing::Real).expect("a folder of its own");
    let mut writes = format::initial(&Header { store_id: [7; 16] });
    writes.truncate(1);
    let (key, header) = &mut writes[0];
    let header = header.as_mut().expect("a folder of its own");
    // After the envelope of five bytes and the magic of eight comes the version.
    header[13] = version;
    let sum = crc32c::crc32c_append(crc32c::crc32c(key), &header[5..]);
    header[1..5].copy_from_slice(&sum.to_le_bytes());
    engine.apply(writes).expect("a folder of its own");
    engine.sync().expect("a folder of its own");
    drop(engine);
    Store::open(dir.path()).expect_err("another format")
}

#[test]
fn missing_or_exchanged_files_are_noticed() {
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        make_store(dir.path(), 30);
        dir
    };
    let corrupt = |dir: &Path, what: &str| {
        let error = Store::open(dir).unwrap_err();
        let OpenError::Corrupt { detail, path } = &error else { panic!("{error}") };
        assert!(detail.contains(what), "{detail}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        // The second try must not find it in order after the first.
        assert!(matches!(Store::open(dir), Err(OpenError::Corrupt { .. })));
    };
    let dir = make();
    fs::remove_file(dir.path().join("db")).unwrap();
    corrupt(dir.path(), "missing");
    let dir = make();
    fs::remove_file(dir.path().join("seal")).unwrap();
    corrupt(dir.path(), "seal");
    let dir = make();
    fs::write(dir.path().join("seal"), "not a seal").unwrap();
    corrupt(dir.path(), "seal");
    let (dir, other) = (make(), make());
    fs::copy(other.path().join("seal"), dir.path().join("seal")).unwrap();
    corrupt(dir.path(), "different stores");
    let dir = make();
    fs::write(dir.path().join("blobs/17"), "x").unwrap();
    assert!(matches!(Store::open(dir.path()), Err(OpenError::Corrupt { .. })));
}

#[test]
fn an_older_database_under_a_newer_seal_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    make_store(dir.path(), 20);
    let old = tempfile::tempdir().unwrap();
    for name in fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()) {
        if dir.path().join(&name).is_file() {
            fs::copy(dir.path().join(&name), old.path().join(&name)).unwrap();
        }
    }
    let mut opened = Store::open(dir.path()).unwrap();
    commit(&mut opened, put("one more", "acknowledged"));
    drop(opened);
    fs::copy(dir.path().join("seal"), old.path().join("seal")).unwrap();
    let error = Store::open(old.path()).unwrap_err();
    assert!(error.to_string().contains("acknowledged records are missing"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_written_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("store")).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    // A user who may write everywhere is not kept out by permissions.
    if rustix::process::geteuid().is_root() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let error = Store::open(&dir.path().join("store")).unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

/// Damages a copy of one store in many ways; each must be refused, or have done no harm.
#[test]
fn damage_is_refused_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let records = make_store(dir.path(), 150);
    let files: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
        .collect();
    let rounds: u64 =
        std::env::var("CYXWIZ_DAMAGE_ROUNDS").map_or(60, |text| text.parse().unwrap());
    let (mut refused, mut harmless) = (0, 0);
    let mut seed = 1_u64;
    let mut chance = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for round in 0..rounds {
        let copy = tempfile::tempdir().unwrap();
        // Mostly the database itself, sometimes one of the small files beside it.
        let victim = match round % 5 {
            0 => chance(files.len()),
            _ => files.iter().position(|(name, _)| name == "db").unwrap(),
        };
        for (number, (name, bytes)) in files.iter().enumerate() {
            let mut bytes = bytes.clone();
            if number == victim && !bytes.is_empty() {
                let at = chance(bytes.len());
                match round % 4 {
                    0 => bytes.truncate(at),
                    1 => bytes[at] ^= 1 << chance(8),
                    2 => bytes.iter_mut().skip(at).take(4096).for_each(|byte| *byte = 0),
                    _ => (0..50).for_each(|_| {
                        let at = chance(bytes.len());
                        bytes[at] = u8::try_from(chance(256)).unwrap();
                    }),
                }
            }
            fs::File::create(copy.path().join(name)).unwrap().write_all(&bytes).unwrap();
        }
        match Store::open(copy.path()) {
            Ok(opened) => {
                assert!(opened.records == records, "round {round}: other records than committed");
                harmless += 1;
            }
            Err(OpenError::Corrupt { .. }) => refused += 1,
            Err(error) => panic!("round {round}, {:?}: {error:?}", files[victim].0),
        }
    }
    eprintln!("{refused} refused, {harmless} harmless");
    assert!(refused > 0 && harmless > 0);
}
