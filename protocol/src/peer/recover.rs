//! From records to a peer: what is on disk is checked, handed to the roles, and taken up again.

use std::collections::{BTreeMap, BTreeSet};

use super::{Config, Core, Peer, Roles};
use crate::{
    Identity, Instant, JobId, Rng, Run,
    committee::Register,
    conduct::Conduct,
    coordinator::{Coordinator, Remembered, WorkerRecord},
    directory::Directory,
    effects::Effects,
    message::query::DecisionRecord,
    record::{Key, RecordError},
    replay::ReplayWindow,
    signed::{Document, Signed, Verified},
    spec::JobSpec,
    submitter::{OutboxRecord, Submitter},
    timers::Timers,
    worker::{RunRecord, Worker},
};

/// The store holds something that this peer did not write, or not so.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("job {0} has a register but no spec")]
    SpecMissing(JobId),
}

#[derive(Default)]
struct Records {
    coordinator: Remembered,
    runs: BTreeMap<Run, (RunRecord, Verified<JobSpec>)>,
    outbox: BTreeMap<JobId, OutboxRecord>,
}

impl Peer {
    /// A peer with the memory that `records` hold, and what it does first.
    pub fn open(
        config: Config,
        identity: Identity,
        records: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
        now: Instant,
    ) -> Result<(Self, Effects), RecoverError> {
        let network_id = config.network.id();
        let mut held = Records::default();
        for (key, value) in records {
            held.read(Key::from_bytes(&key)?, &value, &config)?;
        }
        held.check()?;
        let (id, timing) = (identity.id(), config.timing);
        let Records { coordinator: before, runs, outbox } = held;
        let roles = Roles {
            coordinator: config
                .coordinator
                .map(|coordinator| Coordinator::new(id, config.store, coordinator, timing, before)),
            worker: config.worker.map(|worker| Worker::new(worker, timing, runs)),
            submitter: Submitter::new(timing, outbox),
        };
        let core = Core {
            network: config.network,
            network_id,
            epoch: config.epoch,
            timing,
            identity,
            rng: Rng::new(config.seed),
            directory: Directory::default(),
            timers: Timers::default(),
            sequence: 0,
            batches: 0,
            replay: ReplayWindow::default(),
            conduct: Conduct::default(),
            connected: BTreeSet::new(),
            now,
            clock_complaint_after: now,
        };
        let mut peer = Self { core, roles };
        let effects = peer.on_start(now);
        Ok((peer, effects))
    }
}

impl Records {
    fn read(&mut self, key: Key, value: &[u8], config: &Config) -> Result<(), RecordError> {
        let network = config.network.id();
        match key {
            Key::Seat => self.coordinator.seat = key.read(value)?,
            Key::Register(job) => {
                let register: Register = key.read(value)?;
                self.coordinator.registers.insert(job, register);
            }
            Key::Spec(job) => {
                let spec = open::<JobSpec>(key, &key.read(value)?, network)?;
                self.coordinator.specs.insert(job, spec.into());
            }
            Key::Decision(run) => {
                let decision: DecisionRecord = key.read(value)?;
                self.coordinator.decisions.insert(run, decision);
            }
            Key::Reputation(peer) => {
                let record: WorkerRecord = key.read(value)?;
                self.coordinator.workers.insert(peer, record);
            }
            Key::Run(run) => {
                let record: RunRecord = key.read(value)?;
                let spec = open(key, record.spec(), network)?;
                self.runs.insert(run, (record, spec));
            }
            Key::Outbox(job) => {
                let record: OutboxRecord = key.read(value)?;
                open::<JobSpec>(key, &record.spec, network)?;
                self.outbox.insert(job, record);
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), RecoverError> {
        let Remembered { registers, specs, .. } = &self.coordinator;
        match registers.keys().find(|job| !specs.contains_key(job)) {
            Some(job) => Err(RecoverError::SpecMissing(*job)),
            None => Ok(()),
        }
    }
}

fn open<T: Document>(
    key: Key,
    signed: &Signed<T>,
    network: crate::NetworkId,
) -> Result<Verified<T>, RecordError> {
    signed.verify(network).map_err(|_rejection| RecordError::Signature { key: key.name() })
}
