//! Importing, dropping, and moving artifacts between two stores over a pipe in memory.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::transfer::{
    FetchError, ServeError, StreamError, fetch, fetch_within, serve, serve_within,
};
use super::*;

/// Long enough for a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(200);

fn store(max_bytes: u64) -> (tempfile::TempDir, ArtifactStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = ArtifactStore::open(&dir.path().join("artifacts"), Limits { max_bytes }).unwrap();
    (dir, store)
}

fn content(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Answers a request by hand, as a peer that keeps no rules: takes it and sends `bytes`.
async fn answer(mut stream: DuplexStream, status: u8, size: u64, bytes: &[u8]) -> DuplexStream {
    let mut request = [0; 45];
    stream.read_exact(&mut request).await.unwrap();
    stream.write_all(&[status]).await.unwrap();
    stream.write_all(&size.to_le_bytes()).await.unwrap();
    // The asker may have hung up already.
    let _ = stream.write_all(bytes).await;
    stream
}

#[test]
fn what_is_imported_is_found_by_its_content() {
    let (dir, store) = store(u64::MAX);
    let bytes = content(3_000_000, 1);
    let source = dir.path().join("model.bin");
    fs::write(&source, &bytes).unwrap();
    let imported = store.import_file(&source).unwrap();
    assert_eq!(imported, Imported { id: hash(&bytes), size: 3_000_000 });
    assert_eq!(store.import_bytes(&bytes).unwrap(), imported);
    let name = hex::encode(imported.id);
    let path = store.path_of(imported.id).unwrap();
    assert!(path.ends_with(format!("artifacts/{}/{name}", &name[..2])), "{}", path.display());
    assert!(fs::read(path).unwrap() == bytes && source.exists());
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(store.total_size().unwrap(), 3_000_000);

    let empty = store.import_bytes(b"").unwrap();
    assert!(store.contains(empty.id) && store.size_of(empty.id) == Some(0));
    assert!(store.remove(imported.id).unwrap() && !store.remove(imported.id).unwrap());
    assert!(store.path_of(imported.id).is_none() && !store.contains([9; 32]));

    let missing = store.import_file(&dir.path().join("absent")).unwrap_err();
    assert!(missing.to_string().contains("absent"), "{missing}");
    assert!(store.import_file(dir.path()).is_err());
}

#[test]
fn drafts_are_cleaned_at_open_and_parts_are_kept() {
    let (_dir, store) = store(u64::MAX);
    let kept = store.import_bytes(b"kept").unwrap();
    store.writer([5; 32], 100).unwrap().write(b"begun").unwrap();
    fs::write(store.dir.join(".abc.tmp"), "left behind").unwrap();
    let again = ArtifactStore::open(&store.dir, store.limits).unwrap();
    assert!(!store.dir.join(".abc.tmp").exists());
    assert!(again.contains(kept.id));
    assert_eq!(again.writer([5; 32], 100).unwrap().offset(), 5);
}

#[test]
fn the_least_recently_used_go_first_and_pinned_ones_never() {
    let (_dir, store) = store(3_000);
    let ids: Vec<_> =
        (0..4).map(|seed| store.import_bytes(&content(1_000, seed)).unwrap().id).collect();
    for (age, id) in [40, 30, 20, 10].into_iter().zip(&ids) {
        let file = File::options().append(true).open(store.final_path(*id)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    // The second becomes the newest by being used.
    store.path_of(ids[1]).unwrap();
    let pinned = BTreeSet::from([ids[0]]);
    assert_eq!(store.evict(0, &pinned).unwrap(), [ids[2]]);
    assert!(store.evict(0, &pinned).unwrap().is_empty());
    assert_eq!(store.evict(1_500, &pinned).unwrap(), [ids[3], ids[1]]);
    assert!(store.evict(u64::MAX, &pinned).unwrap().is_empty() && store.contains(ids[0]));

    let mut writer = store.writer([7; 32], 5_000).unwrap();
    writer.write(&[1; 2_500]).unwrap();
    assert!(store.evict(0, &pinned).unwrap().is_empty(), "dropped under a writer");
    drop(writer);
    assert_eq!(store.evict(0, &pinned).unwrap(), [[7; 32]]);
}

#[test]
fn a_writer_verifies_the_whole() {
    let (_dir, store) = store(u64::MAX);
    let bytes = content(10_000, 2);
    let id = hash(&bytes);
    let mut writer = store.writer(id, 10_000).unwrap();
    assert!(matches!(store.writer(id, 10_000), Err(WriteError::Busy { .. })));
    writer.write(&bytes[..4_000]).unwrap();
    assert!(matches!(writer.write(&[0; 6_001]), Err(WriteError::TooLong { .. })));
    let error = writer.finish().unwrap_err();
    assert!(matches!(error, WriteError::Incomplete { found: 4_000, size: 10_000, .. }));
    assert!(!store.contains(id));
    let mut writer = store.writer(id, 10_000).unwrap();
    assert_eq!(writer.offset(), 4_000);
    writer.write(&bytes[4_000..]).unwrap();
    assert_eq!(writer.finish().unwrap(), 10_000);
    assert!(store.contains(id) && store.partial_size(id) == 0);

    let mut writer = store.writer([3; 32], 3).unwrap();
    writer.write(b"abc").unwrap();
    assert!(matches!(writer.finish(), Err(WriteError::WrongHash { .. })));
    assert!(!store.contains([3; 32]) && store.partial_size([3; 32]) == 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_names_the_place_and_the_need() {
    let error = ArtifactError::from_write(
        Path::new("/data/artifacts/ab"),
        12_345,
        io::Error::from(io::ErrorKind::StorageFull),
    );
    let words = error.to_string();
    assert!(words.contains("/data/artifacts/ab") && words.contains("12345"), "{words}");
    // The real thing, as the system says it.
    let source =
        File::options().write(true).open("/dev/full").unwrap().write_all(b"x").unwrap_err();
    let error = ArtifactError::from_write(Path::new("/dev/full"), 1, source);
    assert!(matches!(error, ArtifactError::DiskFull { needed: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn an_artifact_moves_from_store_to_store() {
    let ((_dir, from), (_other, to)) = (store(u64::MAX), store(u64::MAX));
    for len in [0, 1, 300_000, 50 << 20] {
        let bytes = content(len, 3);
        let id = from.import_bytes(&bytes).unwrap().id;
        let (near, far) = duplex(64 << 10);
        let start = Instant::now();
        let (fetched, served) =
            tokio::join!(fetch(near, &to, id, 60 << 20), serve(far, &from, |asked| asked == id));
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!(fetched.unwrap(), len as u64);
        assert_eq!(served.unwrap(), len as u64);
        assert!(fs::read(to.path_of(id).unwrap()).unwrap() == bytes);
        eprintln!("{len} bytes in {seconds:.3} s");
        // What is here is not asked for again: the other side is not even there.
        assert_eq!(fetch(duplex(1).0, &to, id, 60 << 20).await.unwrap(), len as u64);
    }
}

#[tokio::test]
async fn a_fetch_goes_on_where_the_last_ended() {
    let ((_dir, from), (_other, to)) = (store(u64::MAX), store(u64::MAX));
    let bytes = content(1_000_000, 4);
    let id = from.import_bytes(&bytes).unwrap().id;
    let (near, far) = duplex(64 << 10);
    let peer = async { drop(answer(far, 0, 1_000_000, &bytes[..400_000]).await) };
    let (fetched, ()) = tokio::join!(fetch(near, &to, id, u64::MAX), peer);
    assert!(matches!(fetched, Err(FetchError::Ended)), "{fetched:?}");
    assert_eq!(to.partial_size(id), 400_000);

    let (near, far) = duplex(64 << 10);
    let (fetched, served) =
        tokio::join!(fetch(near, &to, id, u64::MAX), serve(far, &from, |_| true));
    assert_eq!((fetched.unwrap(), served.unwrap()), (1_000_000, 600_000));
    assert!(fs::read(to.path_of(id).unwrap()).unwrap() == bytes);
}

#[tokio::test]
async fn a_wrong_byte_is_found_and_blamed_only_where_it_is_certain() {
    let (_dir, to) = store(u64::MAX);
    let bytes = content(500_000, 5);
    let id = hash(&bytes);
    let mut wrong = bytes.clone();
    wrong[123_456] ^= 1;
    let (near, far) = duplex(64 << 10);
    let peer = answer(far, 0, 500_000, &wrong);
    let (fetched, _) = tokio::join!(fetch(near, &to, id, u64::MAX), peer);
    let error = fetched.unwrap_err();
    assert!(matches!(error, FetchError::Write(WriteError::WrongHash { .. })), "{error}");
    assert!(error.is_peers_fault() && !to.contains(id) && to.partial_size(id) == 0);

    // One peer begins wrongly, the next goes on rightly: it must not be blamed.
    to.writer(id, 500_000).unwrap().write(&wrong[..200_000]).unwrap();
    let (near, far) = duplex(64 << 10);
    let peer = answer(far, 0, 500_000, &bytes[200_000..]);
    let (fetched, _) = tokio::join!(fetch(near, &to, id, u64::MAX), peer);
    let error = fetched.unwrap_err();
    assert!(matches!(error, FetchError::WrongTogether { offset: 200_000 }), "{error}");
    assert!(!error.is_peers_fault() && to.partial_size(id) == 0);
}

#[tokio::test]
async fn hostile_answers_are_refused_before_anything_is_stored() {
    let (_dir, to) = store(u64::MAX);
    for (status, size) in [(0, 1_001), (0, u64::MAX), (77, 5)] {
        let (near, far) = duplex(64 << 10);
        let (fetched, _) =
            tokio::join!(fetch(near, &to, [1; 32], 1_000), answer(far, status, size, &[0; 2_000]));
        let error = fetched.unwrap_err();
        assert!(error.is_peers_fault(), "{error}");
        assert_eq!(to.total_size().unwrap(), 0);
    }
    let (near, far) = duplex(64 << 10);
    drop(far);
    assert!(matches!(fetch(near, &to, [1; 32], 9).await, Err(FetchError::Stream(_))));
}

#[tokio::test]
async fn refusals_reach_the_asker() {
    let ((_dir, from), (_other, to)) = (store(u64::MAX), store(u64::MAX));
    let id = from.import_bytes(b"secret").unwrap().id;
    let (near, far) = duplex(1_000);
    let (fetched, served) = tokio::join!(fetch(near, &to, id, 99), serve(far, &from, |_| false));
    assert!(matches!(fetched, Err(FetchError::NotAllowed)), "{fetched:?}");
    assert!(matches!(served, Err(ServeError::Refused { .. })), "{served:?}");

    let (near, far) = duplex(1_000);
    let (fetched, _) = tokio::join!(fetch(near, &to, [8; 32], 99), serve(far, &from, |_| true));
    assert!(matches!(fetched, Err(FetchError::NotFound)), "{fetched:?}");

    // More is here than there is: a remainder of something else, to be thrown away.
    to.writer(id, 90).unwrap().write(&[1; 80]).unwrap();
    let (near, far) = duplex(1_000);
    let (fetched, _) = tokio::join!(fetch(near, &to, id, 99), serve(far, &from, |_| true));
    assert!(matches!(fetched, Err(FetchError::WrongTogether { offset: 80 })), "{fetched:?}");
    let (near, far) = duplex(1_000);
    let (fetched, _) = tokio::join!(fetch(near, &to, id, 99), serve(far, &from, |_| true));
    assert_eq!(fetched.unwrap(), 6);

    for (request, expected) in
        [([0; 45], None), (*b"CYXA\x09xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", Some(4))]
    {
        let (mut near, far) = duplex(1_000);
        near.write_all(&request).await.unwrap();
        let served = serve(far, &from, |_| true).await;
        assert!(served.is_err());
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.first().copied(), expected);
    }
}

#[tokio::test]
async fn a_peer_that_stalls_is_given_up_and_what_came_is_kept() {
    let ((_dir, from), (_other, to)) = (store(u64::MAX), store(u64::MAX));
    let bytes = content(300_000, 6);
    let id = from.import_bytes(&bytes).unwrap().id;
    let (near, far) = duplex(64 << 10);
    let (fetched, _far) = tokio::join!(
        fetch_within(near, &to, id, u64::MAX, SHORT),
        answer(far, 0, 300_000, &bytes[..100_000])
    );
    assert!(matches!(fetched, Err(FetchError::Stream(StreamError::Stalled { .. }))), "{fetched:?}");
    assert_eq!(to.partial_size(id), 100_000);

    // One that asks and then does not read.
    let (mut near, far) = duplex(1_000);
    let request = [&b"CYXA\x01"[..], &id, &[0; 8]].concat();
    near.write_all(&request).await.unwrap();
    let served = serve_within(far, &from, |_| true, SHORT).await;
    assert!(matches!(served, Err(ServeError::Stream(StreamError::Stalled { .. }))), "{served:?}");
}
