//! Every limit of the protocol, in one place, checked against each other at compile time.
//! At a limit a peer refuses with a typed reason; it never grows.

use std::time::Duration;

/// The largest frame between two peers, in bytes.
pub const FRAME_BYTES: usize = 1024 * 1024;
/// The largest gossip message, in bytes: every peer of a topic carries it.
pub const GOSSIP_BYTES: usize = 64 * 1024;
/// The largest signed job spec, in bytes.
pub const SPEC_BYTES: usize = 48 * 1024;
/// The largest workload definition within a spec, in bytes.
pub const WORKLOAD_BYTES: usize = 32 * 1024;
/// The largest signed receipt, in bytes.
pub const RECEIPT_BYTES: usize = 16 * 1024;
/// The largest signed report, in bytes.
pub const REPORT_BYTES: usize = 8 * 1024;
/// Any other signed document, in bytes.
pub const DOCUMENT_BYTES: usize = 60 * 1024;

/// Input files of one job.
pub const INPUTS: usize = 16;
/// Output files of one attempt.
pub const OUTPUTS: usize = 16;
/// Metrics in one report or receipt.
pub const METRICS: usize = 64;
/// Bytes of a job's, file's or metric's name.
pub const NAME_BYTES: usize = 64;
/// Bytes of an explanation that a peer gives.
pub const TEXT_BYTES: usize = 2 * 1024;
/// Devices of one worker.
pub const DEVICES: usize = 16;

/// Jobs that are not finished yet, at one coordinator.
pub const LIVE_JOBS: usize = 100_000;
/// Unfinished jobs of one submitter at one coordinator.
pub const LIVE_JOBS_PER_SUBMITTER: usize = 20_000;
/// Finished jobs that a coordinator still knows; the oldest are forgotten first.
pub const FINISHED_JOBS: usize = 5_000;
/// Submissions whose inputs are being fetched and checked, at one coordinator.
pub const ADMISSIONS: usize = 1_024;
/// Calls for bids in one announcement.
pub const CALLS: usize = 64;
/// Announcement rounds that are open at once.
pub const ROUNDS: usize = 256;
/// Workers that a coordinator knows.
pub const WORKERS: usize = 20_000;
/// Workers whose refusals are told one by one when nobody can run a job.
pub const REFUSALS: usize = 16;
/// Bids whose score is kept with a decision.
pub const RANKED: usize = 16;
/// Jobs that a worker may run at once, whatever it says.
pub const RUNS_PER_WORKER: u16 = 4_096;
/// Leases that are renewed by one message: with full progress they fit a frame.
pub const RENEWALS: usize = 128;
/// Attempts that one job may have.
pub const ATTEMPTS: u8 = 16;
/// How long a job may be paused at a stretch before it is given up.
pub const PAUSE: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Jobs that a submitter follows until they are finished.
pub const OUTBOX: usize = 20_000;
/// Questions to a coordinator that wait for an answer.
pub const QUESTIONS: usize = 1_024;
/// Jobs in one page of a list.
pub const PAGE: usize = 200;
/// Peers whose replay window is remembered.
pub const REPLAY_AUTHORS: usize = 16_384;
/// Peers whose misdeeds are counted.
pub const STRIKE_PEERS: usize = 4_096;
/// Bad messages after which a peer is disconnected.
pub const STRIKES: u8 = 5;
/// How long a disconnected offender is kept out.
pub const BAN: Duration = Duration::from_secs(600);
/// Seats of a committee, those that are being taken over included.
pub const MEMBERS: usize = 7;
/// Peers that stand for a seat.
pub const CANDIDATES: usize = 64;
/// Jobs that one part of a promise tells of.
pub const SUMMARIES: usize = 4_096;
/// Jobs that one message between members carries.
pub const COPIES: usize = 128;
/// Bytes of them, as far as they are known before they are encoded.
pub const COPIES_BYTES: usize = 384 * 1024;

const _: () = {
    assert!(WORKLOAD_BYTES + 12 * 1024 < SPEC_BYTES, "a spec holds its workload");
    assert!(SPEC_BYTES < GOSSIP_BYTES && DOCUMENT_BYTES < GOSSIP_BYTES);
    assert!(GOSSIP_BYTES < FRAME_BYTES);
    assert!(RENEWALS * REPORT_BYTES <= FRAME_BYTES, "renewals fit a frame");
    assert!(PAGE * 1024 < FRAME_BYTES, "a page of a list fits a frame");
    assert!(LIVE_JOBS_PER_SUBMITTER <= LIVE_JOBS);
    assert!(OUTBOX <= LIVE_JOBS);
    assert!(TEXT_BYTES < REPORT_BYTES && REPORT_BYTES < RECEIPT_BYTES);
};
