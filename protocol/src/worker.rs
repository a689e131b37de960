//! The worker: bids for what it can run, runs what it is awarded while its lease holds, and
//! keeps the receipt until it is counted.
//!
//! It believes the leader of the committee in force and nobody else. How a run is carried out is
//! the business of the executor outside; this role only starts and stops it.

mod invitations;
mod state;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use cyxwiz_scoring::{Capability, Load, can_run_now, selected};
use invitations::Answered;
use serde::{Deserialize, Serialize};
use state::RunState;

use crate::{
    ArtifactId, NetworkId, PeerId, Run, Timing,
    context::Context,
    coordinator::lot,
    effects::{Event, StopReason, Task, Topic},
    job::clip,
    limits,
    message::{
        Gossip, Message,
        auction::{Announcement, Auction, Audience, Award, Bid, Bids, Call},
        membership::{Membership, Offer},
        run::{Renewal, RunStep, Standing},
    },
    mutant::{self, Mutant},
    record::Key,
    report::{Checkpoint, Ending, FailureClass, Progress, Receipt, Report},
    signed::{Signed, Verified},
    spec::{JobKind, JobSpec},
    timers::Timer,
};

/// What a worker offers, and on which terms.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerConfig {
    pub capability: Capability,
    /// Kinds of jobs that it takes.
    pub accepts: Vec<JobKind>,
    /// How often progress is published at most.
    pub report_interval: Duration,
}

/// An award that is overtaken by the order to stop it comes soon after.
const STOPPED_BEFORE: usize = 256;

/// A run as it is on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    award: Signed<Award>,
    spec: Signed<JobSpec>,
    receipt: Option<Signed<Receipt>>,
}

impl RunRecord {
    /// The spec that the run is for, as it was signed.
    pub(crate) const fn spec(&self) -> &Signed<JobSpec> {
        &self.spec
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Worker {
    config: WorkerConfig,
    timing: Timing,
    runs: BTreeMap<Run, RunState>,
    invitations: Answered,
    /// Runs that were to be stopped before they came: their awards were overtaken.
    stopped_before: VecDeque<Run>,
    leaving: bool,
}

impl Worker {
    pub(crate) fn new(
        config: WorkerConfig,
        timing: Timing,
        before: BTreeMap<Run, (RunRecord, Verified<JobSpec>)>,
    ) -> Self {
        let runs = before.into_iter().map(|(run, (record, spec))| {
            let mut state = RunState::new(record.award, Arc::new(spec));
            state.receipt = record.receipt;
            (run, state)
        });
        let runs = runs.collect();
        let (invitations, stopped_before) = (Answered::default(), VecDeque::new());
        Self { config, timing, runs, invitations, stopped_before, leaving: false }
    }

    /// Runs of the life before are over; the leader is told so.
    pub(crate) fn on_start(&mut self, cx: &mut Context<'_>) {
        for device in self.config.capability.device_kinds() {
            cx.subscribe(Topic::Jobs(device));
        }
        let runs: Vec<Run> = self.runs.keys().copied().collect();
        for run in runs {
            if self.runs.get(&run).is_some_and(|state| state.receipt.is_some()) {
                cx.after(self.timing.receipt_resend, Timer::Receipt(run));
            } else {
                let message = "the worker was restarted while the job ran".to_owned();
                let ending = Ending::Failed { class: FailureClass::Internal, message };
                self.on_ended(run, ending, 0, cx);
            }
        }
    }

    /// The committee has a leader, perhaps another: it shall know of this worker at once.
    pub(crate) fn on_leader(&self, cx: &mut Context<'_>) {
        self.on_ready_timeout(cx);
        if !self.runs.is_empty() {
            self.on_renew_timeout(cx);
        }
        for (run, state) in &self.runs {
            if state.receipt.is_some() {
                cx.after(Duration::ZERO, Timer::Receipt(*run));
            }
        }
    }

    pub(crate) fn on_ready_timeout(&self, cx: &mut Context<'_>) {
        let Some(leader) = cx.directory.leader() else {
            return;
        };
        if self.leaving {
            return cx.send(leader, &Message::Membership(Membership::Leaving));
        }
        let stands = self.timing.offer * 3;
        let offer = Offer {
            capability: self.config.capability.clone(),
            load: Load::idle(&self.config.capability),
            running: self.runs.keys().copied().collect(),
            stands_ms: u32::try_from(stands.as_millis()).unwrap_or(u32::MAX),
        };
        cx.send(leader, &Message::Membership(Membership::Offer(offer)));
        let wait = cx.rng.around(self.timing.offer);
        cx.after(wait, Timer::Ready);
    }

    /// Jobs wait: bid for those that this worker drew and can run.
    pub(crate) fn on_announcement(
        &self,
        announcement: &Verified<Announcement>,
        threshold: u64,
        cx: &mut Context<'_>,
    ) {
        if cx.directory.leader() != Some(announcement.author()) {
            return;
        }
        let me = cx.me();
        let calls = announcement.calls.iter();
        let drawn = |call: &&Call| selected(lot(call.job, call.attempt, me), threshold);
        let mine: Vec<&Call> = calls.filter(drawn).collect();
        if !mine.is_empty() {
            self.bid(announcement, mine, cx);
        }
    }

    /// The leader asks this worker in person: it answers once, whatever its lot.
    pub(crate) fn on_invitation(
        &mut self,
        from: PeerId,
        announcement: &Signed<Announcement>,
        cx: &mut Context<'_>,
    ) {
        let Ok(announcement) = announcement.verify(cx.network) else {
            return;
        };
        let Some(committee) = cx.directory.committee() else {
            return;
        };
        let by_leader = announcement.author() == from
            && announcement.ballot.leader == from
            && committee.ballot.leader == from;
        let generation = committee.founding.generation;
        if by_leader
            && announcement.audience == Audience::Invited
            && self.invitations.admit(generation, announcement.ballot, announcement.round)
        {
            self.bid(&announcement, announcement.calls.iter().collect(), cx);
        }
    }

    fn bid(&self, announcement: &Verified<Announcement>, calls: Vec<&Call>, cx: &mut Context<'_>) {
        if self.leaving {
            return;
        }
        let load = self.load();
        let capability = &self.config.capability;
        let accepted = calls.into_iter().filter(|call| self.config.accepts.contains(&call.kind));
        let bids = accepted.filter(|call| {
            // The leader knows this worker's standing; here it is taken for granted.
            let standing = call.requirements.min_reputation;
            can_run_now(&call.requirements, capability, &load, standing).is_ok()
        });
        let bids = Bids {
            ballot: announcement.ballot,
            round: announcement.round,
            capability: capability.clone(),
            load: Load::idle(capability),
            bids: bids
                .map(|call| Bid {
                    job: call.job,
                    attempt: call.attempt,
                    price: capability.price,
                    start_ms: 0,
                    warm_permille: 0,
                })
                .collect(),
        };
        let bids = cx.sign(bids).into_signed();
        cx.send(announcement.author(), &Message::Auction(Auction::Bids(bids)));
    }

    /// What this worker runs now.
    fn load(&self) -> Load {
        let capability = &self.config.capability;
        let live = self.runs.values().filter(|state| state.receipt.is_none());
        let memory = live
            .clone()
            .fold(0_u32, |sum, state| sum.saturating_add(state.spec.requirements.memory_mb));
        let idle = Load::idle(capability);
        Load {
            active: u16::try_from(live.count()).unwrap_or(u16::MAX),
            memory_free_mb: idle.memory_free_mb.saturating_sub(memory),
            ..idle
        }
    }

    /// The committee chose this worker.
    pub(crate) fn on_award(
        &mut self,
        from: PeerId,
        award: Signed<Award>,
        spec: &Signed<JobSpec>,
        cx: &mut Context<'_>,
    ) {
        let Ok(opened) = award.verify(cx.network) else {
            return;
        };
        let (run, me) = (opened.run(), cx.me());
        let by_leader = opened.author() == from && cx.directory.leader() == Some(from);
        if !by_leader || opened.worker != me {
            return;
        }
        if let Some(known) = self.runs.get(&run) {
            return match &known.receipt {
                Some(receipt) => send_receipt(from, receipt.clone(), cx),
                None => cx.send(from, &Message::Auction(Auction::Taken(run))),
            };
        }
        let Ok(spec) = spec.verify(cx.network) else {
            return;
        };
        let full = self.load().active >= self.config.capability.max_concurrent;
        let stopped = self.stopped_before.contains(&run);
        if spec.id != run.job || full || stopped || self.leaving || spec.check().is_err() {
            return cx.send(from, &Message::Auction(Auction::Declined(run)));
        }
        let record = RunRecord { award: award.clone(), spec: spec.signed().clone(), receipt: None };
        cx.save(Key::Run(run), &record);
        cx.send(from, &Message::Auction(Auction::Taken(run)));
        let spec = Arc::new(spec);
        // The leader has everything; so have a majority of the others, and whoever handed it in.
        let members = cx.directory.committee().map(|record| record.members.clone());
        let members = members.unwrap_or_default().into_iter().map(|member| member.peer);
        let mut sources = vec![from];
        sources.extend(members.filter(|peer| *peer != from));
        if !sources.contains(&spec.author()) {
            sources.push(spec.author());
        }
        let resume = opened.resume.clone();
        cx.start(Task::Run { run, spec: Arc::clone(&spec), resume, sources });
        cx.emit(Event::RunTaken { run });
        let lease = Duration::from_millis(u64::from(opened.lease_ms));
        cx.after(lease + self.timing.lease_grace, Timer::LeaseLost(run));
        cx.timers.set_no_later(Timer::Renew, cx.now + self.timing.renew);
        let begins_with = Some(cx.batch);
        self.runs.insert(run, RunState { begins_with, ..RunState::new(award, spec) });
    }

    /// The process is up: the leader sees it run.
    pub(crate) fn on_started(&mut self, run: Run, cx: &mut Context<'_>) {
        if let Some(state) = self.runs.get_mut(&run) {
            state.progress.get_or_insert_default();
            cx.timers.set_no_later(Timer::Renew, cx.now);
        }
    }

    /// The process has written down how far it is: the leader fetches it at the next renewal.
    pub(crate) fn on_checkpointed(&mut self, run: Run, checkpoint: Checkpoint) {
        if let Some(state) = self.runs.get_mut(&run).filter(|state| state.receipt.is_none()) {
            state.checkpoint = Some(checkpoint);
        }
    }

    pub(crate) fn on_progress(&mut self, run: Run, progress: Progress, cx: &mut Context<'_>) {
        let Some(state) = self.runs.get_mut(&run).filter(|state| state.receipt.is_none()) else {
            return;
        };
        state.progress = Some(progress);
        state.held = true;
        let due = state.reported_at.map_or(cx.now, |at| at + self.config.report_interval);
        if due <= cx.now {
            self.on_report_timeout(run, cx);
        } else {
            cx.timers.set_no_later(Timer::Report(run), due);
        }
    }

    /// Publishes the newest progress as the next link of the run's chain.
    pub(crate) fn on_report_timeout(&mut self, run: Run, cx: &mut Context<'_>) {
        let Some(state) = self.runs.get_mut(&run) else {
            return;
        };
        let Some(progress) = state.progress.clone().filter(|_| state.held) else {
            return;
        };
        state.held = false;
        state.reports += 1;
        state.reported_at = Some(cx.now);
        let report = cx.sign(Report {
            job: run.job,
            attempt: run.attempt,
            number: state.reports,
            previous: state.chain,
            progress,
        });
        state.chain = report.signed().digest();
        cx.publish(Topic::reports_of(run.job), &Gossip::Report(report.into_signed()));
    }

    /// The process is dead and its outputs are here: sign for it.
    pub(crate) fn on_ended(
        &mut self,
        run: Run,
        ending: Ending,
        compute_ms: u64,
        cx: &mut Context<'_>,
    ) {
        self.on_report_timeout(run, cx);
        // A run ends once: the receipt that was signed stands.
        let Some(state) = self.runs.get_mut(&run).filter(|state| state.receipt.is_none()) else {
            return;
        };
        for timer in [Timer::Report(run), Timer::LeaseLost(run)] {
            cx.timers.clear(timer);
        }
        let ending = match (ending, state.stopping) {
            (success @ Ending::Succeeded(_), _) => success,
            (_, Some(StopReason::Superseded)) => return self.drop_run(run, cx),
            (_, Some(StopReason::Cancelled)) => Ending::Cancelled,
            (_, Some(StopReason::LeaseLost)) => abandoned("the leader was out of reach"),
            (_, Some(StopReason::Leaving)) => abandoned("the worker was asked to leave"),
            (Ending::Cancelled | Ending::Paused { .. }, Some(StopReason::Paused)) => {
                Ending::Paused { checkpoint: state.checkpoint.clone() }
            }
            (Ending::Failed { class, message }, None | Some(StopReason::Paused)) => {
                Ending::Failed { class, message: clip(message) }
            }
            (Ending::Cancelled | Ending::Paused { .. }, None) => {
                abandoned("the process was stopped from outside")
            }
        };
        let receipt = Receipt {
            job: run.job,
            attempt: run.attempt,
            ending,
            compute_ms,
            reports: state.reports,
            chain: state.chain,
        };
        let receipt = cx.sign(receipt).into_signed();
        let record = RunRecord {
            award: state.award.clone(),
            spec: state.spec.signed().clone(),
            receipt: Some(receipt.clone()),
        };
        cx.save(Key::Run(run), &record);
        state.receipt = Some(receipt);
        self.on_receipt_timeout(run, cx);
    }

    /// Sends a receipt, again and again until it is counted.
    pub(crate) fn on_receipt_timeout(&self, run: Run, cx: &mut Context<'_>) {
        let Some(receipt) = self.runs.get(&run).and_then(|state| state.receipt.clone()) else {
            return;
        };
        if let Some(leader) = cx.directory.leader() {
            send_receipt(leader, receipt, cx);
        }
        cx.after(self.timing.receipt_resend, Timer::Receipt(run));
    }

    /// Tells the leader what still runs.
    pub(crate) fn on_renew_timeout(&self, cx: &mut Context<'_>) {
        if self.runs.is_empty() {
            return;
        }
        if let Some(leader) = cx.directory.leader() {
            let items = self.runs.iter().map(|(run, state)| Renewal {
                run: *run,
                progress: state.progress.clone(),
                checkpoint: state.checkpoint.clone(),
            });
            let items: Vec<_> = items.collect();
            for part in items.chunks(limits::RENEWALS) {
                cx.send(leader, &Message::Run(RunStep::Renew(part.to_vec())));
            }
        }
        cx.after(self.timing.renew, Timer::Renew);
    }

    /// The leader's word on each run.
    pub(crate) fn on_renewed(
        &mut self,
        from: PeerId,
        standings: Vec<(Run, Standing)>,
        cx: &mut Context<'_>,
    ) {
        if cx.directory.leader() != Some(from) {
            return;
        }
        for (run, standing) in standings {
            match standing {
                Standing::Leased { lease_ms } => {
                    if self.runs.get(&run).is_some_and(|state| state.receipt.is_none()) {
                        let lease = Duration::from_millis(u64::from(lease_ms));
                        cx.after(lease + self.timing.lease_grace, Timer::LeaseLost(run));
                    }
                }
                Standing::Cancelled => self.stop(run, StopReason::Cancelled, cx),
                Standing::Superseded => self.stop(run, StopReason::Superseded, cx),
                Standing::Paused => self.stop(run, StopReason::Paused, cx),
            }
        }
    }

    /// The leader wants a run stopped or paused. One that is not here will not start either.
    pub(crate) fn on_stop(
        &mut self,
        from: PeerId,
        run: Run,
        why: StopReason,
        cx: &mut Context<'_>,
    ) {
        if cx.directory.leader() != Some(from) {
            return;
        }
        if self.runs.contains_key(&run) {
            self.stop(run, why, cx);
        } else {
            if !self.stopped_before.contains(&run) {
                self.stopped_before.truncate(STOPPED_BEFORE - 1);
                self.stopped_before.push_front(run);
            }
            cx.send(from, &Message::Auction(Auction::Declined(run)));
        }
    }

    /// The lease and its grace are over: what is computed from here on is for nobody.
    pub(crate) fn on_lease_lost(&mut self, run: Run, cx: &mut Context<'_>) {
        if mutant::is(Mutant::IgnoreLostLease) {
            return;
        }
        self.stop(run, StopReason::LeaseLost, cx);
    }

    fn stop(&mut self, run: Run, why: StopReason, cx: &mut Context<'_>) {
        let Some(state) = self.runs.get_mut(&run) else {
            return;
        };
        if state.receipt.is_some() {
            // Nothing runs any more; the receipt's own answer ends the matter.
            return;
        }
        // What is to be paused may yet be stopped at once; the other way round it is late.
        let gentle = state.stopping.is_none_or(|before| before == StopReason::Paused);
        if gentle && state.stopping != Some(why) {
            state.stopping = Some(why);
            if state.begins_with.is_none() {
                cx.start(Task::Stop { run, why });
            }
        }
    }

    /// The disk has everything up to `batch`: what waited for it has begun, and may be stopped.
    pub(crate) fn on_flushed(&mut self, batch: u64, cx: &mut Context<'_>) {
        for (run, state) in &mut self.runs {
            if state.begins_with.take_if(|begins| *begins <= batch).is_some()
                && let Some(why) = state.stopping
            {
                cx.start(Task::Stop { run: *run, why });
            }
        }
    }

    /// The receipt was counted, or never will be.
    pub(crate) fn on_counted(&mut self, from: PeerId, run: Run, cx: &mut Context<'_>) {
        let ended = self.runs.get(&run).is_some_and(|state| state.receipt.is_some());
        if ended && cx.directory.leader() == Some(from) {
            self.drop_run(run, cx);
        }
    }

    fn drop_run(&mut self, run: Run, cx: &mut Context<'_>) {
        self.runs.remove(&run);
        cx.timers.clear(Timer::Receipt(run));
        cx.erase(Key::Run(run));
        cx.start(Task::Discard { run });
    }

    /// The machine's user wants it back.
    pub(crate) fn on_leave(&mut self, cx: &mut Context<'_>) {
        self.leaving = true;
        self.on_ready_timeout(cx);
        let runs: Vec<Run> = self.runs.keys().copied().collect();
        for run in runs {
            self.stop(run, StopReason::Leaving, cx);
        }
    }

    /// Runs that are not counted yet, and how many there may be at once.
    pub(crate) fn counts(&self) -> (usize, u16) {
        let live = self.runs.values().filter(|state| state.receipt.is_none()).count();
        (live, self.config.capability.max_concurrent)
    }

    pub(crate) const fn capability(&self) -> &Capability {
        &self.config.capability
    }

    /// The files of runs that are not counted yet.
    pub(crate) fn artifacts(&self, network: NetworkId) -> Vec<ArtifactId> {
        let mut held = Vec::new();
        for state in self.runs.values() {
            held.extend(state.spec.inputs.iter().map(|input| input.artifact));
            held.extend(state.checkpoint.as_ref().map(|it| it.file.artifact));
            let receipt = state.receipt.as_ref().and_then(|it| it.verify(network).ok());
            if let Some(Ending::Succeeded(success)) = receipt.as_ref().map(|it| &it.ending) {
                held.extend(success.outputs.iter().map(|output| output.artifact));
            }
        }
        held
    }

    /// Whether nothing runs and no receipt waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.runs.is_empty()
    }
}

fn send_receipt(to: PeerId, receipt: Signed<Receipt>, cx: &mut Context<'_>) {
    cx.send(to, &Message::Run(RunStep::Receipt(receipt)));
}

fn abandoned(why: &str) -> Ending {
    Ending::Failed { class: FailureClass::Abandoned, message: why.to_owned() }
}
