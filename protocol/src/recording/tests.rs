use std::time::Duration;

use cyxwiz_scoring::Requirements;

use super::{
    input::{decode_input, encode_input},
    *,
};
use crate::{
    ArtifactId, Attempt, CellId, CommandId, Epoch, Identity, JobId, Network, Peer, Run, StoreId,
    Timing, UnixMillis, WorkerConfig,
    effects::{Collecting, Command, TaskEvent},
    message::{
        query::Question,
        submission::{Full, Refusal},
    },
    report::{Ending, FailureClass, Progress, Success},
    spec::{Estimate, FileRef, JobKind, JobLimits, JobSpec, Priority},
};

const JOB: JobId = JobId([3; 16]);
const RUN: Run = Run { job: JOB, attempt: Attempt(2) };

fn peer(number: u8) -> PeerId {
    Identity::from_seed([number; 32]).id()
}

fn file() -> FileRef {
    let name = "model.safetensors".parse().unwrap();
    FileRef { name, artifact: ArtifactId([5; 32]), size: 7 }
}

fn spec() -> JobSpec {
    JobSpec {
        id: JOB,
        cell: CellId::default(),
        name: "job".parse().unwrap(),
        kind: JobKind::Train,
        workload: "layers".to_owned(),
        inputs: vec![file()],
        requirements: Requirements::default(),
        priority: Priority::default(),
        limits: JobLimits::default(),
        estimate: Estimate::default(),
    }
}

/// One of each kind.
fn inputs() -> Vec<Input> {
    let command = |command| Input::Command { id: CommandId(9), command };
    let success = Success {
        outputs: vec![file()],
        metrics: Vec::new(),
        parameters: 1,
        engine: "cpu".to_owned(),
        threads: 2,
    };
    let failed = Ending::Failed { class: FailureClass::Internal, message: "why".to_owned() };
    vec![
        Input::Connected(peer(2)),
        Input::Frame { from: peer(2), bytes: vec![1, 2, 3] },
        Input::Frame { from: peer(2), bytes: vec![7; crate::limits::FRAME_BYTES] },
        Input::Gossip { from: peer(2), bytes: Vec::new() },
        Input::DiskFull(true),
        command(Command::Submit(Box::new(spec()))),
        Input::Flushed { batch: 1 },
        command(Command::Watch(JOB)),
        command(Command::Ask(Question::Jobs { submitter: Some(peer(1)), after: None })),
        command(Command::Collect { job: JOB, files: vec![file()], from: vec![peer(2)] }),
        Input::Timeout,
        Input::Task(TaskEvent::Inspected { job: JOB, result: Err(Refusal::Full(Full::Disk)) }),
        Input::Task(TaskEvent::Started { run: RUN }),
        Input::Task(TaskEvent::Progress { run: RUN, progress: Progress::default() }),
        Input::Task(TaskEvent::Ended { run: RUN, ending: failed, compute_ms: 5 }),
        Input::Task(TaskEvent::Ended {
            run: RUN,
            ending: Ending::Succeeded(success),
            compute_ms: 5,
        }),
        Input::Task(TaskEvent::Collected {
            job: JOB,
            why: Collecting::Keeping,
            result: Err("gone".to_owned()),
        }),
        command(Command::Cancel(JOB)),
        command(Command::Unwatch(JOB)),
        command(Command::Leave),
        Input::Disconnected(peer(2)),
    ]
}

fn config() -> Config {
    let worker = WorkerConfig {
        capability: cyxwiz_scoring::Capability::default(),
        accepts: vec![JobKind::Train],
        report_interval: Duration::from_secs(1),
    };
    Config {
        network: Network::new("test", peer(9)).unwrap(),
        epoch: Epoch(UnixMillis(1_700_000_000_000)),
        seed: [4; 32],
        store: StoreId([6; 16]),
        timing: Timing::default(),
        coordinator: None,
        worker: Some(worker),
    }
}

fn identity() -> Identity {
    Identity::from_seed([1; 32])
}

/// A life in which everything happens, and its recording.
fn recorded() -> Vec<u8> {
    let config = config();
    let mut recorder = Recorder::begin(&config, identity().id(), [], Instant::START);
    let (mut peer, first) = Peer::open(config, identity(), [], Instant::START).unwrap();
    recorder.opened(&first);
    let mut bytes = recorder.take();
    for (second, input) in (1..).zip(inputs()) {
        let now = Instant::START + Duration::from_secs(second);
        recorder.before(now, &input);
        let effects = peer.handle(now, input);
        recorder.after(&effects);
        bytes.extend(recorder.take());
    }
    bytes
}

/// Plays all there is: how many inputs, how many of them as recorded, and how it ended.
fn play(bytes: &[u8]) -> (u64, u64, Result<(), Damage>) {
    let recording = Recording::read(bytes).unwrap();
    let (mut player, _) = recording.play(identity()).unwrap();
    let (mut played, mut same) = (0, 0);
    loop {
        match player.step(|_, _, _| {}) {
            Ok(Some(step)) => {
                played += 1;
                same += u64::from(step.compared == Some(Ok(())));
            }
            Ok(None) => return (played, same, Ok(())),
            Err(damage) => return (played, same, Err(damage)),
        }
    }
}

#[test]
fn every_input_reads_back() {
    for input in inputs() {
        let (tag, bytes) = encode_input(&input);
        let read = decode_input(tag, &bytes).unwrap();
        assert_eq!(format!("{read:?}"), format!("{input:?}"));
        assert!(decode_input(99, &bytes).is_err());
        // A frame may have any length; everything else notices a byte more.
        if !matches!(input, Input::Frame { .. } | Input::Gossip { .. }) {
            assert!(decode_input(tag, &[bytes.as_slice(), &[0]].concat()).is_err(), "{input:?}");
        }
    }
}

#[test]
fn a_life_that_is_played_is_the_same_life() {
    let count = inputs().len() as u64;
    assert_eq!(play(&recorded()), (count, count, Ok(())));
}

#[test]
fn a_recording_that_was_cut_off_is_read_up_to_its_end() {
    let whole = recorded();
    let mut fewest = u64::MAX;
    for length in (whole.len() - 2_000..whole.len()).rev() {
        let (played, same, end) = play(&whole[..length]);
        assert!(same <= played && played - same <= 1, "{played} {same}");
        // At the end of an entry nothing is missing that one could know of.
        if let Err(damage) = end {
            assert!(damage.why.contains("cut off"), "{damage}");
            assert!(damage.at < length);
        }
        fewest = fewest.min(played);
    }
    assert!(fewest < inputs().len() as u64);
}

#[test]
fn a_flipped_bit_ends_the_recording_there() {
    let mut bytes = recorded();
    let late = bytes.len() - 400;
    bytes[late] ^= 1;
    let (played, _, end) = play(&bytes);
    assert!(end.is_err());
    assert!(played > 3, "{played}");
}

#[test]
fn another_life_is_told_by_its_first_difference() {
    let config = config();
    let mut recorder = Recorder::begin(&config, identity().id(), [], Instant::START);
    let (mut peer_, first) = Peer::open(config, identity(), [], Instant::START).unwrap();
    recorder.opened(&first);
    for (now, told) in [(1, true), (2, false), (3, true)] {
        let now = Instant::START + Duration::from_secs(now);
        let input = || Input::Connected(peer(2));
        recorder.before(now, &input());
        let effects = peer_.handle(now, input());
        recorder.after(&if told { effects } else { Effects::default() });
    }
    let bytes = recorder.take();
    let (mut player, _) = Recording::read(&bytes).unwrap().play(identity()).unwrap();
    let mut wrong = Vec::new();
    while let Some(step) = player.step(|_, _, _| {}).unwrap() {
        if let Some(Err(difference)) = step.compared {
            wrong.push(difference.number);
        }
    }
    assert_eq!(wrong, [2]);
}

#[test]
fn the_input_that_a_peer_did_not_survive_is_the_last_of_its_recording() {
    let config = config();
    let mut recorder = Recorder::begin(&config, identity().id(), [], Instant::START);
    let (_, first) = Peer::open(config, identity(), [], Instant::START).unwrap();
    recorder.opened(&first);
    recorder.before(Instant::START, &Input::Timeout);
    let bytes = recorder.take();
    assert_eq!(play(&bytes), (1, 0, Ok(())));
}

#[test]
fn what_cannot_be_played_is_refused_in_words() {
    let bytes = recorded();
    assert!(matches!(Recording::read(b"anything"), Err(RecordingError::NotOne)));
    assert!(matches!(Recording::read(&bytes[..30]), Err(RecordingError::Opening(_))));
    let mut newer = bytes.clone();
    newer[16] = 99;
    assert!(matches!(Recording::read(&newer), Err(RecordingError::Version { found: 99 })));
    let other = Identity::from_seed([2; 32]);
    let refused = Recording::read(&bytes).unwrap().play(other).map(|_| ());
    assert!(matches!(refused, Err(PlayError::Key { .. })));
}

#[test]
fn a_recording_never_holds_the_secret_of_the_peer() {
    let bytes = recorded();
    assert!(!bytes.windows(32).any(|window| window == [1; 32]));
}

#[test]
fn a_store_that_was_there_is_played_with() {
    let config = config();
    let record = crate::Key::Outbox(JOB).to_bytes();
    let records = [(record.as_slice(), &[1, 2, 3][..])];
    let mut recorder = Recorder::begin(&config, identity().id(), records, Instant::START);
    let bytes = recorder.take();
    let recording = Recording::read(&bytes).unwrap();
    assert_eq!(recording.records(), 1);
    // It was no record of a peer, and the peer did not open.
    assert!(matches!(recording.play(identity()), Err(PlayError::Store(_))));
}
