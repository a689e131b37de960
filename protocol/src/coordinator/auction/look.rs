//! Which jobs are called out next, and who is asked.
//!
//! Jobs of equal needs share one search for workers. A look has a budget: it begins with the most
//! urgent jobs, and when there are too many that nobody can run it goes on behind them another
//! time, so that nobody waits for ever behind those.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use cyxwiz_scoring::{DeviceKind, Requirements};

use super::{Coordinator, EXPECTED_BIDS, LONGEST_PAUSE};
use crate::{
    Instant, JobId, PeerId, context::Context, coordinator::Urgency, job::JobState, limits,
    message::auction::Call, timers::Timer,
};

/// Jobs that are called out to the same workers: each answers for all of them, so that more would
/// cost more than they save.
const ROUND_CALLS: usize = 16;
/// Jobs that one pass looks at.
const SCAN: usize = 512;
/// Workers that one pass looks at, but for the last search that it begins.
const LOOKS: usize = 4_096;
/// Looks are this far apart at least, so that a burst of jobs shares them. One that looks at many
/// workers takes its time: as much again for every so many.
const GATHER: Duration = Duration::from_millis(5);
const LOOKS_A_GATHER: usize = 1_024;

/// Who is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reach {
    #[default]
    Invited,
    /// Everyone, since no invited worker bid.
    Everyone,
    /// Everyone, since no known worker could ever run it.
    Strangers,
}

/// Jobs that are called out together.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) reach: Reach,
    pub(super) calls: Vec<Call>,
    /// Whose slot each call was made for.
    pub(super) likeliest: Vec<PeerId>,
    /// Who could take them, as far as they were looked for.
    pub(super) able: BTreeSet<PeerId>,
    /// About how many could.
    pub(super) estimate: u32,
    /// Rounds that brought nothing although everyone was asked.
    pub(super) widenings: u32,
}

/// Jobs of equal needs, and who could take them.
#[derive(Debug)]
struct Class {
    /// The next to ask is in front.
    line: VecDeque<PeerId>,
    estimate: u32,
    strangers: bool,
    group: Group,
}

/// What a job asks for, and who shall not have it.
type Needs = (Requirements, BTreeSet<PeerId>);

/// One look at the queue.
#[derive(Debug, Default)]
pub(super) struct Look {
    classes: BTreeMap<Needs, Class>,
    to_everyone: BTreeMap<DeviceKind, Group>,
    to_strangers: BTreeMap<DeviceKind, Group>,
    full: Vec<Group>,
    /// Slots that calls of this look were made for.
    promised: BTreeMap<PeerId, u16>,
    calls: usize,
    looked: usize,
    /// Workers that this pass may still look at.
    budget: usize,
    strangers_due: bool,
    /// When a job may be called out again.
    next: Option<Instant>,
}

/// Why a pass ended.
enum Stopped {
    End,
    Full,
    At((Urgency, JobId)),
}

impl Coordinator {
    /// Capacity or work came: look at what waits.
    pub(in crate::coordinator) fn wake_queue(&self, cx: &mut Context<'_>) {
        if !self.queue.is_empty() {
            cx.timers.set_no_later(Timer::Announce, cx.now.max(self.auctions.look_after));
        }
    }

    /// Calls out what waits and could run.
    pub(crate) fn on_announce_timeout(&mut self, cx: &mut Context<'_>) {
        let nobody_free = self.workforce.is_full() && self.workforce.len() > 0;
        if !self.is_leading() || self.queue.is_empty() || nobody_free {
            return;
        }
        if self.auctions.rounds.len() + limits::CALLS > limits::ROUNDS {
            // A round that closes wakes the queue.
            return;
        }
        let strangers_due = cx.now >= self.auctions.strangers_after;
        let mut look = Look { strangers_due, ..Look::default() };
        let mut stopped = self.pass(None, &mut look, cx);
        if let (Stopped::At(at), Some(from)) = (&stopped, self.auctions.look_on) {
            stopped = self.pass(Some(from.max(*at)), &mut look, cx);
        }
        let pauses = u32::try_from(1 + look.looked / LOOKS_A_GATHER).unwrap_or(u32::MAX);
        self.auctions.look_after = cx.now + GATHER * pauses;
        match stopped {
            Stopped::End => self.auctions.look_on = None,
            Stopped::Full => self.wake_queue(cx),
            Stopped::At(at) => {
                self.auctions.look_on = Some(at);
                self.wake_queue(cx);
            }
        }
        let some_unable = look.classes.values().any(|class| class.estimate == 0);
        if some_unable {
            if strangers_due {
                self.auctions.strangers_after = cx.now + LONGEST_PAUSE;
            }
            look.wait_until(self.auctions.strangers_after);
        }
        if let Some(at) = look.next {
            cx.timers.set_no_later(Timer::Announce, at.max(self.auctions.look_after));
        }
        for group in look.into_groups() {
            self.open_round(group, cx);
        }
    }

    fn pass(&self, from: Option<(Urgency, JobId)>, look: &mut Look, cx: &Context<'_>) -> Stopped {
        let from = from.unwrap_or((Urgency::FIRST, JobId([0; 16])));
        look.budget = LOOKS;
        for (count, &place) in self.queue.range(from..).enumerate() {
            if look.calls >= limits::CALLS {
                return Stopped::Full;
            }
            if count >= SCAN || !self.consider(place.1, look, cx) {
                return Stopped::At(place);
            }
        }
        Stopped::End
    }

    /// Calls a job out, if someone could take it; false when that takes more looking than this
    /// pass may.
    fn consider(&self, id: JobId, look: &mut Look, cx: &Context<'_>) -> bool {
        let (Some(job), Some(entry)) = (self.jobs.get(&id), self.committee.entry(id)) else {
            return true;
        };
        let (record, spec) = (entry.record(), &entry.spec);
        if job.round.is_some() || !matches!(record.state, JobState::Queued { .. }) {
            return true;
        }
        if job.call_after > cx.now {
            look.wait_until(job.call_after);
            return true;
        }
        let needs = (spec.requirements.clone(), self.excluded(record, cx));
        if !look.classes.contains_key(&needs) {
            if look.budget == 0 {
                return false;
            }
            let class = self.class(&needs, look, cx);
            look.classes.insert(needs.clone(), class);
        }
        let call = Call {
            job: id,
            attempt: record.newest_attempt().next(),
            kind: spec.kind,
            requirements: spec.requirements.clone(),
            input_bytes: spec.inputs.iter().map(|input| input.size).sum(),
        };
        let room = |peer| self.workforce.room(peer);
        look.call(&needs, call, job.dry_rounds, room);
        true
    }

    fn class(&self, (needs, excluded): &Needs, look: &mut Look, cx: &Context<'_>) -> Class {
        let most = limits::CALLS + EXPECTED_BIDS as usize;
        let found = self.workforce.candidates(needs, excluded, most, cx.unix);
        look.looked += found.looked;
        look.budget = look.budget.saturating_sub(found.looked);
        let strangers = look.strangers_due
            && found.workers.is_empty()
            && !self.workforce.could_ever(needs, excluded, cx.unix);
        Class {
            line: found.workers.into(),
            estimate: found.estimate,
            strangers,
            group: Group::default(),
        }
    }
}

impl Look {
    fn wait_until(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// Adds a call to a group, if a slot can be found for it. `room` is how many a worker has.
    fn call(&mut self, needs: &Needs, call: Call, dry: u32, room: impl Fn(PeerId) -> u16) {
        let Some(class) = self.classes.get_mut(needs) else {
            return;
        };
        let device = needs.0.device;
        let Some(likeliest) = class.take_slot(&mut self.promised, room) else {
            if class.strangers {
                let group = self.to_strangers.entry(device).or_default();
                group.reach = Reach::Strangers;
                group.calls.push(call);
                self.calls += 1;
            }
            return;
        };
        self.calls += 1;
        if dry == 0 {
            class.group.calls.push(call);
            class.group.likeliest.push(likeliest);
            if class.group.calls.len() == ROUND_CALLS {
                self.full.extend(class.take_group());
            }
            return;
        }
        let group = self.to_everyone.entry(device).or_default();
        group.reach = Reach::Everyone;
        group.calls.push(call);
        group.likeliest.push(likeliest);
        group.able.extend(&class.line);
        group.estimate = group.estimate.max(class.estimate);
        group.widenings = group.widenings.max(dry - 1);
    }

    fn into_groups(self) -> impl Iterator<Item = Group> {
        let rest = self.classes.into_values().filter_map(|mut class| class.take_group());
        let everyone = self.to_everyone.into_values().chain(self.to_strangers.into_values());
        self.full.into_iter().chain(rest).chain(everyone)
    }
}

impl Class {
    /// A free slot of the next worker in line, which then goes to the line's end.
    fn take_slot(
        &mut self,
        promised: &mut BTreeMap<PeerId, u16>,
        room: impl Fn(PeerId) -> u16,
    ) -> Option<PeerId> {
        while let Some(peer) = self.line.pop_front() {
            let promised = promised.entry(peer).or_default();
            if room(peer) > *promised {
                *promised += 1;
                self.line.push_back(peer);
                return Some(peer);
            }
        }
        None
    }

    /// The calls that came together, for those whose slots they take and for the next in line:
    /// as many more as make a choice.
    fn take_group(&mut self) -> Option<Group> {
        let mut group = std::mem::take(&mut self.group);
        if group.calls.is_empty() {
            return None;
        }
        group.able.extend(&group.likeliest);
        let most = group.able.len() + EXPECTED_BIDS as usize - 1;
        for peer in &self.line {
            if group.able.len() == most {
                break;
            }
            group.able.insert(*peer);
        }
        Some(group)
    }
}
