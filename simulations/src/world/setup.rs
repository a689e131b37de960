//! The first moment of a world: who is there, who knows whom, and what will go wrong when.

use std::{collections::BTreeSet, time::Duration};

use cyxwiz_protocol::{Epoch, Identity, Instant, Network, UnixMillis, charter::Ticket};
use cyxwiz_scoring::Policy;

use super::{
    Chance, Counts, World, audit::Audit, disks::Seats, faults::Troubles, mischief::Mischief,
};
use crate::{
    chance::{Purpose, Span, secret, stream},
    host::{Common, Host, Part},
    invariant::Judge,
    links::Links,
    mesh::Mesh,
    observe::Observer,
    queue::{Happening, HostId, Queue},
    scenario::{Plan, Signatures},
    trace::Trace,
    trainer::Holdings,
    workload::Workload,
};

const NAME: &str = "simulation";
/// The wall clock when a world begins.
pub(super) const WALL: UnixMillis = UnixMillis(1_700_000_000_000);
/// Tickets are good for longer than any run.
const TICKET_EXPIRES: UnixMillis = UnixMillis(2_000_000_000_000);
/// Hosts come up within this long.
const BOOT: Span = Span::millis(0, 300);
/// How far the clocks of hosts are ahead of the world's.
const SKEW: Span = Span::millis(0, 2_000);
/// When the first jobs may come: a committee stands by then.
const FIRST_JOB: Duration = Duration::from_secs(5);

impl World {
    pub(super) fn new(seed: u64, plan: Plan) -> Self {
        let mut peers = stream(seed, Purpose::Peers);
        let key = secret(seed, Purpose::Keys, u64::MAX);
        let charter = match plan.signatures {
            Signatures::Cheap => Identity::simulated(key),
            Signatures::Real => Identity::from_seed(key),
        };
        let identity = match plan.signatures {
            Signatures::Cheap => Network::simulated(NAME, charter.id()),
            Signatures::Real => Network::new(NAME, charter.id()),
        };
        let identity = identity.expect("a name of plain letters");
        let holder = secret(seed, Purpose::Keys, u64::MAX - 1);
        let ticket = Ticket::issue(&charter, &identity, holder, TICKET_EXPIRES);
        let policy = Policy::named(&plan.policy).expect("a plan names a policy that there is");
        let common = Common {
            seed,
            network: identity.clone(),
            slots: plan.slots,
            policy,
            finished_jobs: plan.finished_jobs as usize,
            timing: plan.timing.timing(),
            wall: WALL,
        };
        let coordinators = plan.coordinators as usize;
        let parts = std::iter::repeat_n(Part::Coordinator, coordinators)
            .chain(std::iter::repeat_n(Part::Submitter, plan.submitters as usize))
            .chain(std::iter::repeat_n(Part::Worker, plan.workers as usize));
        let hosts: Vec<Host> = (0..)
            .map(HostId)
            .zip(parts)
            .map(|(id, part)| {
                let clock = plan.faults.clocks.of(id, seed, SKEW.draw(&mut peers));
                let seat = |peer| ticket.seat(&identity, peer);
                Host::new(id, part, &common, clock, seat, &charter)
            })
            .collect();
        let submitters: Vec<_> =
            hosts.iter().filter(|host| host.part == Part::Submitter).map(|host| host.id).collect();
        let mut requests = stream(seed, Purpose::Workload);
        let begin = Instant::START + FIRST_JOB;
        let first = Epoch(WALL).unix(begin);
        let (workload, wishes) = Workload::draw(&plan, &submitters, first, &mut requests);
        let mut holdings = Holdings::default();
        for case in &workload.cases {
            holdings.add(&case.spec.inputs, case.submitter);
        }
        let observer = Observer::new(workload.cases.len(), hosts.len());
        let mut queue = Queue::default();
        for host in &hosts {
            let mut at = Instant::START + BOOT.draw(&mut peers);
            if host.part == Part::Coordinator && host.id != HostId(0) {
                at = at + plan.coordinators_come.draw(&mut peers);
            }
            queue.plan(at, Happening::Start(host.id));
        }
        for (after, wish) in wishes {
            queue.plan(begin + after, Happening::Wish(wish));
        }
        let heals_at = begin + plan.faults_for.max(plan.arrival);
        queue.plan(heals_at, Happening::Heal);
        queue.plan(begin, Happening::Audit);
        let mischief = Mischief::new(seed, &plan.faults.hostile, hosts.len(), &identity);
        let everyone = hosts.len() + mischief.len();
        let mut world = Self {
            network: Links::new(seed, &plan, everyone),
            troubles: Troubles::new(seed, &plan, hosts.len()),
            mischief,
            now: Instant::START,
            heals_at,
            over_at: heals_at + plan.liveness,
            plan,
            identity,
            queue,
            by_peer: hosts.iter().map(|host| (host.peer_id, host.id)).collect(),
            hosts,
            links: BTreeSet::new(),
            mesh: Mesh::default(),
            holdings,
            workload,
            judge: Judge::new(),
            trace: Trace::default(),
            chance: Chance {
                network: stream(seed, Purpose::Network),
                disk: stream(seed, Purpose::Disk),
                trainer: stream(seed, Purpose::Trainer),
                faults: stream(seed, Purpose::Faults),
            },
            counts: Counts::default(),
            audit: Audit::default(),
            seats: Seats::default(),
            observer,
        };
        world.plan_crashes(begin);
        world.plan_faults(begin);
        world
    }
}
