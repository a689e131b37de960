//! What the tests of the roles share: a cast of peers with short names, a bench that owns one
//! peer, and effects told in words.

mod bench;
mod words;
mod world;

pub(crate) use bench::{Bench, Role, assert_effects};
pub(crate) use words::{gossip_in_words, message_in_words};
pub(crate) use world::{COUNCIL, Fetching, Training, World};

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use cyxwiz_protocol::{
    ArtifactId, Attempt, CellId, CoordinatorConfig, Identity, Instant, JobId, Network, NetworkId,
    PeerId, Run, StoreId, UnixMillis,
    charter::{Founding, Ticket},
    limits,
    report::{Ending, FailureClass, Progress, Success},
    signed::{Document, Signed},
    spec::{Estimate, FileRef, JobKind, JobLimits, JobSpec, Priority},
};
use cyxwiz_scoring::{Capability, Device, DeviceKind, Policy, Requirements};

/// The wall clock at the start of every test.
pub(crate) const WALL: UnixMillis = UnixMillis(1_700_000_000_000);

/// The cast: coordinators, submitters, workers and one that nobody invited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Coordinator,
    SecondCoordinator,
    /// Coordinators beyond the second, numbered from 3.
    Member(u8),
    Submitter,
    OtherSubmitter,
    Stranger,
    Worker(u8),
}

/// Workers that have a name.
pub(crate) const WORKERS: u8 = 9;
/// The last of the coordinators that have a name.
pub(crate) const MEMBERS: u8 = 7;

impl Who {
    pub(crate) fn seed(self) -> [u8; 32] {
        [match self {
            Self::Coordinator => 1,
            Self::SecondCoordinator => 2,
            Self::Submitter => 3,
            Self::OtherSubmitter => 4,
            Self::Stranger => 5,
            Self::Member(number) => 10 + number,
            Self::Worker(number) => 100 + number,
        }; 32]
    }

    pub(crate) fn identity(self) -> Identity {
        Identity::from_seed(self.seed())
    }

    /// Made once: making a key takes longer than what most tests do with it.
    pub(crate) fn id(self) -> PeerId {
        thread_local! {
            static IDS: RefCell<BTreeMap<Who, PeerId>> = const { RefCell::new(BTreeMap::new()) };
        }
        IDS.with_borrow_mut(|ids| *ids.entry(self).or_insert_with(|| self.identity().id()))
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Coordinator => "C".to_owned(),
            Self::SecondCoordinator => "C2".to_owned(),
            Self::Member(number) => format!("C{number}"),
            Self::Submitter => "S".to_owned(),
            Self::OtherSubmitter => "S2".to_owned(),
            Self::Stranger => "X".to_owned(),
            Self::Worker(number) => format!("W{number}"),
        }
    }
}

fn charter() -> Identity {
    Identity::from_seed([200; 32])
}

pub(crate) fn network() -> Network {
    Network::new("bench", charter().id()).expect("a plain name")
}

pub(crate) fn network_id() -> NetworkId {
    network().id()
}

pub(crate) fn other_network_id() -> NetworkId {
    Network::new("other", charter().id()).expect("a plain name").id()
}

/// The right to coordinate, good for ten years.
pub(crate) fn ticket() -> Ticket {
    ticket_until(UnixMillis(WALL.0 + 10 * 365 * 24 * 3_600_000))
}

pub(crate) fn ticket_until(expires: UnixMillis) -> Ticket {
    Ticket::issue(&charter(), &network(), [201; 32], expires)
}

/// A ticket of someone who is not the charter.
pub(crate) fn forged_ticket() -> Ticket {
    let expires = UnixMillis(WALL.0 + 10 * 365 * 24 * 3_600_000);
    Ticket::issue(&Who::Stranger.identity(), &network(), [202; 32], expires)
}

/// The store of a peer that never lost its disk.
pub(crate) const STORE: StoreId = StoreId([1; 16]);

/// The charter's word that `who` begins the committee of this generation.
pub(crate) fn founding(who: Who, generation: u32) -> Founding {
    let at = UnixMillis(WALL.0 + u64::from(generation) * 1_000);
    Founding::sign(&charter(), &network(), (who.id(), STORE), generation, at)
}

/// How a coordinator of the cast is made.
pub(crate) fn coordinating(who: Who) -> CoordinatorConfig {
    CoordinatorConfig {
        credential: ticket().seat(&network(), who.id()),
        policy: Policy::named("balanced").expect("one of its names"),
        finished_jobs: limits::FINISHED_JOBS,
        founding: (who == Who::Coordinator).then(|| founding(who, 0)),
    }
}

pub(crate) fn job(number: u8) -> JobId {
    let mut id = [0; 16];
    id[15] = number;
    JobId(id)
}

pub(crate) fn run(number: u8, attempt: u32) -> Run {
    Run { job: job(number), attempt: Attempt(attempt) }
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A job that any worker of the cast can run.
pub(crate) fn spec(number: u8) -> JobSpec {
    JobSpec {
        id: job(number),
        cell: CellId::default(),
        name: format!("job-{number}").parse().expect("a plain name"),
        kind: JobKind::Train,
        workload: "{}".to_owned(),
        inputs: vec![file("data.csv")],
        requirements: Requirements { memory_mb: 100, ..Requirements::default() },
        priority: Priority::default(),
        limits: JobLimits::default(),
        estimate: Estimate::default(),
    }
}

pub(crate) fn file(name: &str) -> FileRef {
    FileRef {
        name: name.parse().expect("a plain name"),
        artifact: ArtifactId([6; 32]),
        size: 1_000,
    }
}

/// A machine with room for `max_concurrent` jobs.
pub(crate) fn capability(max_concurrent: u16) -> Capability {
    Capability {
        cores: 8,
        memory_mb: 16_000,
        disk_mb: 100_000,
        devices: vec![Device {
            kind: DeviceKind::Cpu,
            name: "processor".to_owned(),
            memory_mb: 16_000,
        }],
        max_concurrent,
        speed: 1_000,
        sandbox_level: 3,
        price: 0,
    }
}

pub(crate) fn success() -> Ending {
    Ending::Succeeded(Success {
        outputs: vec![file("model.safetensors")],
        metrics: Vec::new(),
        parameters: 10,
        engine: "cpu".to_owned(),
        threads: 1,
    })
}

pub(crate) fn failure(class: FailureClass) -> Ending {
    Ending::Failed { class, message: "it broke".to_owned() }
}

pub(crate) fn progress(batch: u32) -> Progress {
    Progress { epoch: 1, epochs: 1, batch, batches: 10, ..Progress::default() }
}

/// A document of `who`, made at `now`. Every call takes the next sequence number.
pub(crate) fn sign<T: Document>(who: Who, now: Instant, body: T) -> Signed<T> {
    static SEQUENCE: AtomicU64 = AtomicU64::new(1);
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    let issued_at = UnixMillis(WALL.0 + now.0 / 1_000);
    who.identity().sign(network_id(), issued_at, sequence, body).into_signed()
}
