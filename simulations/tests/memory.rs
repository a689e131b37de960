//! What a queued job costs its coordinator in memory. A test of its own, since it counts what
//! this process allocates.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use cyxwiz_protocol::{
    CellId, Config, CoordinatorConfig, Effects, Epoch, Identity, Input, Instant, JobId, Network,
    Peer, PeerId, RequestId, Rng, StoreId, Task, TaskEvent, Timing, UnixMillis,
    charter::{Founding, Ticket},
    limits,
    message::{Message, encode_message, submission::Submission},
    spec::{Estimate, JobKind, JobLimits, JobSpec, Priority},
};
use cyxwiz_scoring::{Policy, Requirements};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: what holds for this call holds for that.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: what holds for this call holds for that.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WALL: UnixMillis = UnixMillis(1_700_000_000_000);
const JOBS: u32 = 10_000;
/// What a queued job may cost beside the bytes of its spec.
const GOAL: usize = 1_024;

/// A coordinator whose disk is quick, and what it has to do next.
struct Leader {
    network: Network,
    peer: Peer,
    now: Instant,
}

impl Leader {
    fn new() -> Self {
        let charter = Identity::simulated([1; 32]);
        let network = Network::simulated("memory", charter.id()).expect("a plain name");
        let me = Identity::simulated([2; 32]);
        let expires = UnixMillis(WALL.0 * 2);
        let seat = Ticket::issue(&charter, &network, [3; 32], expires).seat(&network, me.id());
        let store = StoreId([5; 16]);
        let founding = Founding::sign(&charter, &network, (me.id(), store), 0, WALL);
        let config = Config {
            network: network.clone(),
            epoch: Epoch(WALL),
            seed: [4; 32],
            store,
            timing: Timing::default(),
            coordinator: Some(CoordinatorConfig {
                credential: seat,
                policy: Policy::default(),
                finished_jobs: limits::FINISHED_JOBS,
                founding: Some(founding),
            }),
            worker: None,
        };
        let (peer, first) = Peer::open(config, me, [], Instant::START).expect("an empty store");
        let mut leader = Self { network, peer, now: Instant::START };
        leader.carry_out(first);
        while !leader.peer.status().coordinator.is_some_and(|counts| counts.leading) {
            leader.now = leader.now + Duration::from_millis(100);
            leader.feed(Input::Timeout);
        }
        leader
    }

    fn feed(&mut self, input: Input) {
        let effects = self.peer.handle(self.now, input);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Effects) {
        for task in effects.tasks {
            if let Task::Inspect { spec, .. } = task {
                self.feed(Input::Task(TaskEvent::Inspected { job: spec.id, result: Ok(()) }));
            }
        }
        if let Some(batch) = effects.batch {
            self.feed(Input::Flushed { batch });
        }
    }

    /// Takes a job of `workload` bytes in; the length of its signed spec.
    fn submit(&mut self, submitter: &Identity, number: u32, rng: &mut Rng) -> usize {
        let spec = JobSpec {
            id: JobId::new(WALL, rng),
            cell: CellId::default(),
            name: format!("job-{number}").parse().expect("a plain name"),
            kind: JobKind::Train,
            workload: " ".repeat(600),
            inputs: Vec::new(),
            requirements: Requirements { memory_mb: 256, ..Requirements::default() },
            priority: Priority::default(),
            limits: JobLimits::default(),
            estimate: Estimate::default(),
        };
        let spec = submitter.sign(self.network.id(), WALL, u64::from(number) + 1, spec);
        let from: PeerId = submitter.id();
        let spec = spec.into_signed();
        let request = RequestId(u64::from(number));
        let submission = Message::Submission(Submission::Submit { request, spec });
        let bytes = encode_message(self.network.id(), &submission);
        let length = bytes.len();
        self.feed(Input::Frame { from, bytes });
        length
    }
}

#[test]
fn a_queued_job_costs_less_than_a_kilobyte_beside_its_spec_signed_and_read() {
    let mut leader = Leader::new();
    let submitter = Identity::simulated([6; 32]);
    let mut rng = Rng::new([7; 32]);
    let before = HELD.load(Ordering::Relaxed);
    let specs: usize = (0..JOBS).map(|number| leader.submit(&submitter, number, &mut rng)).sum();
    let held = HELD.load(Ordering::Relaxed) - before;
    let queued = leader.peer.status().coordinator.expect("it is one").queued;
    assert_eq!(queued, JOBS as usize, "not all of them are queued");
    let (each, spec) = (held / JOBS as usize, specs / JOBS as usize);
    println!("{each} bytes a queued job, of which its spec takes {spec} on the wire");
    // The signed form is kept, and what it says once more, read.
    assert!(each < 2 * spec + GOAL, "{each} bytes a job whose spec has {spec}");
}
