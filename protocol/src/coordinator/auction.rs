//! Finding a worker for what waits: call on gossip, take bids directly, decide, award.
//!
//! A round calls out many jobs at once. It closes as soon as everyone who was expected to answer
//! has, and at the end of its window at the latest. Whatever is lost on the way costs a dry round,
//! never a job: what was not awarded is called out again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cyxwiz_scoring::{
    Capability, Decision, DeviceKind, Load, Offer, Permille, hold, selected, threshold, widen,
};

use super::Coordinator;
use crate::{
    Attempt, Instant, JobId, PeerId, Run,
    context::Context,
    effects::{Event, Topic},
    job::{EndReason, JobRecord, JobState, Transition},
    limits,
    message::{
        Gossip, Message,
        auction::{Announcement, Auction, Award, Bid, Bids, Call},
        membership,
        query::{DecisionRecord, RankedBid, RefusedWorker},
    },
    signed::Signed,
    timers::Timer,
};

/// How many bids an auction is meant to bring, however many workers there are.
const EXPECTED_BIDS: u32 = 16;
/// Announcements are gathered for this long when one was just sent, so that a burst of jobs
/// shares them.
const GATHER: Duration = Duration::from_millis(5);
/// How many of the waiting jobs are looked at for one announcement.
const SCAN: usize = 1_024;
/// The longest that bids are waited for, after rounds that brought none.
const LONGEST_WINDOW: Duration = Duration::from_secs(4);
/// The longest pause between two calls for the same job.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Calls that wait for bids.
#[derive(Debug)]
pub(crate) struct Round {
    opened: Instant,
    calls: Vec<(JobId, Attempt)>,
    /// Whose room each call was made for: it is not offered twice.
    likeliest: Vec<PeerId>,
    expected: BTreeSet<PeerId>,
    answers: BTreeMap<PeerId, Answer>,
}

/// What one announcement is made of.
#[derive(Default)]
struct Calls {
    calls: Vec<Call>,
    likeliest: Vec<PeerId>,
    workers: BTreeSet<PeerId>,
}

#[derive(Debug)]
struct Answer {
    capability: Capability,
    load: Load,
    bids: BTreeMap<(JobId, Attempt), Bid>,
}

impl Coordinator {
    /// A worker is ready.
    pub(crate) fn on_offer(
        &mut self,
        from: PeerId,
        offer: membership::Offer,
        cx: &mut Context<'_>,
    ) {
        if !self.is_leading() {
            return;
        }
        let stands =
            Duration::from_millis(u64::from(offer.stands_ms)).min(Duration::from_secs(300));
        if !self.workforce.note(from, offer.capability, offer.load, cx.now) {
            return;
        }
        cx.after(stands, Timer::Offer(from));
        cx.send(from, &Message::Membership(membership::Membership::Offered));
        self.on_running(from, &offer.running, cx);
        self.wake_queue(cx);
    }

    /// Capacity came: look at what waits.
    pub(super) fn wake_queue(&self, cx: &mut Context<'_>) {
        if !self.queue.is_empty() {
            cx.timers.set_no_later(Timer::Announce, cx.now);
        }
    }

    /// Calls out what waits and could run, one announcement a class of device.
    pub(crate) fn on_announce_timeout(&mut self, cx: &mut Context<'_>) {
        if !self.is_leading() {
            return;
        }
        let mut free = self.free_slots();
        let mut calls: BTreeMap<DeviceKind, Calls> = BTreeMap::new();
        let mut next_look: Option<Instant> = None;
        for &(_, id) in self.queue.iter().take(SCAN) {
            let (Some(job), Some(entry)) = (self.jobs.get(&id), self.committee.entry(id)) else {
                continue;
            };
            let (record, spec) = (entry.record(), &entry.spec);
            if job.round.is_some() || !matches!(record.state, JobState::Queued { .. }) {
                continue;
            }
            if job.call_after > cx.now {
                next_look = Some(next_look.map_or(job.call_after, |at| at.min(job.call_after)));
                continue;
            }
            let calls = calls.entry(spec.requirements.device).or_default();
            if calls.calls.len() >= limits::CALLS {
                continue;
            }
            let eligible = self.eligible_now(record, &free, cx);
            let Some(&likeliest) = eligible.iter().max_by_key(|peer| free.get(*peer)) else {
                continue;
            };
            if let Some(slots) = free.get_mut(&likeliest) {
                *slots -= 1;
            }
            calls.calls.push(Call {
                job: id,
                attempt: record.newest_attempt().next(),
                kind: spec.kind,
                requirements: spec.requirements.clone(),
                input_bytes: spec.inputs.iter().map(|input| input.size).sum(),
            });
            calls.likeliest.push(likeliest);
            calls.workers.extend(eligible);
        }
        calls.retain(|_, calls| !calls.calls.is_empty());
        for (device, calls) in calls {
            self.open_round(device, calls, cx);
        }
        if let Some(at) = next_look {
            cx.timers.set_no_later(Timer::Announce, at);
        }
    }

    /// How many more jobs each worker could take, beside those that are called out already.
    fn free_slots(&self) -> BTreeMap<PeerId, u16> {
        let mut called = BTreeMap::<PeerId, u16>::new();
        for peer in self.rounds.values().flat_map(|round| &round.likeliest) {
            let calls = called.entry(*peer).or_default();
            *calls = calls.saturating_add(1);
        }
        self.workforce
            .iter()
            .map(|(peer, worker)| {
                let active = self.workforce.load_of(peer, worker).active;
                let taken = active.saturating_add(called.get(&peer).copied().unwrap_or(0));
                (peer, worker.capability.max_concurrent.saturating_sub(taken))
            })
            .filter(|(_, slots)| *slots > 0)
            .collect()
    }

    fn eligible_now(
        &self,
        record: &JobRecord,
        free: &BTreeMap<PeerId, u16>,
        cx: &Context<'_>,
    ) -> Vec<PeerId> {
        let Some(entry) = self.committee.entry(record.job) else {
            return Vec::new();
        };
        let needs = &entry.spec.requirements;
        let excluded = self.excluded(record, cx);
        free.iter()
            .filter(|(peer, slots)| **slots > 0 && !excluded.contains(peer))
            .filter(|(peer, _)| {
                self.workforce.get(**peer).is_some_and(|worker| {
                    self.workforce.not_now(**peer, worker, needs, cx.unix).is_empty()
                })
            })
            .map(|(peer, _)| *peer)
            .collect()
    }

    /// Workers that had the job and did not finish it, unless nobody else could.
    fn excluded(&self, record: &JobRecord, cx: &Context<'_>) -> BTreeSet<PeerId> {
        let failed: BTreeSet<_> = record
            .attempts
            .iter()
            .filter(|run| matches!(&run.end, Some(end) if end.why != EndReason::Cancelled))
            .map(|run| run.worker)
            .collect();
        let Some(entry) = self.committee.entry(record.job) else {
            return failed;
        };
        if failed.is_empty()
            || self.workforce.could_ever(&entry.spec.requirements, &failed, cx.unix)
        {
            return failed;
        }
        BTreeSet::new()
    }

    fn open_round(
        &mut self,
        device: DeviceKind,
        Calls { calls, likeliest, workers }: Calls,
        cx: &mut Context<'_>,
    ) {
        let Some(ballot) = self.committee.ballot() else {
            return;
        };
        if self.rounds.len() >= limits::ROUNDS {
            return cx.after(self.timing.bid_window, Timer::Announce);
        }
        let round = self.next_round;
        self.next_round += 1;
        let dry =
            calls.iter().filter_map(|call| self.jobs.get(&call.job)).map(|job| job.dry_rounds);
        let widenings = dry.max().unwrap_or(0);
        let eligible = u32::try_from(workers.len()).unwrap_or(u32::MAX);
        let mut lot_limit = threshold(EXPECTED_BIDS, eligible);
        for _ in 0..widenings.min(64) {
            lot_limit = widen(lot_limit);
        }
        let expected = workers
            .iter()
            .filter(|peer| {
                calls.iter().any(|call| selected(lot(call.job, call.attempt, **peer), lot_limit))
            })
            .copied()
            .collect();
        for call in &calls {
            if let Some(job) = self.jobs.get_mut(&call.job) {
                job.round = Some(round);
            }
        }
        // Nobody answered the last time: perhaps they are far away.
        let window =
            (self.timing.bid_window * 2_u32.saturating_pow(widenings.min(8))).min(LONGEST_WINDOW);
        let ids: Vec<_> = calls.iter().map(|call| (call.job, call.attempt)).collect();
        Self::emit_announced(ids.iter().map(|(job, _)| *job).collect(), cx);
        self.rounds.insert(
            round,
            Round { opened: cx.now, calls: ids, likeliest, expected, answers: BTreeMap::new() },
        );
        let announcement = cx.sign(Announcement {
            ballot,
            round,
            window_ms: u32::try_from(window.as_millis()).unwrap_or(u32::MAX),
            threshold: lot_limit,
            calls,
        });
        cx.publish(Topic::Jobs(device), &Gossip::Announcement(announcement.into_signed()));
        cx.after(window, Timer::Round(round));
        cx.timers.set_no_later(Timer::Announce, cx.now + GATHER);
    }

    pub(crate) fn on_bids(&mut self, from: PeerId, bids: &Signed<Bids>, cx: &mut Context<'_>) {
        let Ok(bids) = bids.verify(cx.network) else {
            return;
        };
        if bids.author() != from || Some(bids.ballot) != self.committee.ballot() {
            return;
        }
        if !self.workforce.note(from, bids.capability.clone(), bids.load.clone(), cx.now) {
            return;
        }
        // One that never offered itself is known for as long as an offer would stand.
        cx.timers.set_no_later(Timer::Offer(from), cx.now + self.timing.offer * 3);
        let Some(round) = self.rounds.get_mut(&bids.round) else {
            return;
        };
        let answer = Answer {
            capability: bids.capability.clone(),
            load: bids.load.clone(),
            bids: bids.bids.iter().map(|bid| ((bid.job, bid.attempt), *bid)).collect(),
        };
        round.answers.insert(from, answer);
        if round.expected.iter().all(|peer| round.answers.contains_key(peer)) {
            self.close_round(bids.round, cx);
        }
    }

    /// The window is over, or everyone has answered.
    pub(crate) fn close_round(&mut self, id: u64, cx: &mut Context<'_>) {
        let Some(round) = self.rounds.remove(&id) else {
            return;
        };
        cx.timers.clear(Timer::Round(id));
        if !self.is_leading() {
            return;
        }
        for &(job, attempt) in &round.calls {
            if let Some(job) = self.jobs.get_mut(&job) {
                job.round = None;
            }
            self.decide(job, attempt, &round, cx);
        }
        self.wake_queue(cx);
    }

    fn decide(&mut self, id: JobId, attempt: Attempt, round: &Round, cx: &mut Context<'_>) {
        let Some(record) = self.committee.newest(id).cloned() else {
            return;
        };
        let waits = matches!(record.state, JobState::Queued { .. });
        if !waits || record.newest_attempt().next() != attempt {
            return;
        }
        let Some(spec) = self.spec(id) else {
            return;
        };
        let offers = self.offers(id, attempt, round, cx);
        let excluded = self.excluded(&record, cx);
        let decision = hold(&self.policy, &spec.requirements, &offers, &excluded);
        let Some(winner) = decision.winner() else {
            return self.note_dry_round(id, cx);
        };
        let (worker, score) = (winner.key, winner.score.total);
        let price = decision.price_paid.unwrap_or(winner.price);
        let award = Transition::Award { worker, price };
        let Ok(next) = record.apply(award, spec.limits.attempts, cx.unix) else {
            return;
        };
        let run = Run { job: id, attempt };
        self.workforce.assign(worker, run, spec.requirements.memory_mb);
        self.dequeue(&record, cx);
        let why = self.decision_record(run, &decision, price, round, cx);
        let bids = u32::try_from(offers.len()).unwrap_or(u32::MAX);
        cx.emit(Event::Awarded { run, worker, score, bids });
        self.committee.award(next, why, cx);
    }

    fn offers(
        &self,
        job: JobId,
        attempt: Attempt,
        round: &Round,
        cx: &Context<'_>,
    ) -> Vec<Offer<PeerId>> {
        let uptime = |peer: PeerId| {
            let known =
                self.workforce.get(peer).map_or(Duration::ZERO, |it| cx.now.since(it.since));
            // An hour of presence counts in full.
            Permille::ratio(known.as_secs().min(3_600), 3_600)
        };
        let bidders = round.answers.iter().filter_map(|(peer, answer)| {
            answer.bids.get(&(job, attempt)).map(|bid| (*peer, answer, bid))
        });
        bidders
            .map(|(peer, answer, bid)| Offer {
                key: peer,
                capability: answer.capability.clone(),
                load: self.workforce.load(peer, &answer.capability, &answer.load),
                reputation: self.workforce.reputation(peer, cx.unix),
                uptime: uptime(peer),
                proximity: Permille::ONE,
                warm_data: Permille::new(bid.warm_permille.min(1_000)),
                price: bid.price,
                tie: lot(job, attempt, peer),
            })
            .collect()
    }

    /// Nobody bid: wait longer each time, and let more workers draw.
    fn note_dry_round(&mut self, id: JobId, cx: &mut Context<'_>) {
        let window = self.timing.bid_window;
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.dry_rounds = job.dry_rounds.saturating_add(1);
        let pause = (window * 2_u32.saturating_pow(job.dry_rounds.min(8) - 1)).min(LONGEST_PAUSE);
        job.call_after = cx.now + pause;
        cx.timers.set_no_later(Timer::Announce, job.call_after);
    }

    fn decision_record(
        &self,
        run: Run,
        decision: &Decision<PeerId>,
        price_paid: u64,
        round: &Round,
        cx: &Context<'_>,
    ) -> DecisionRecord {
        let ranking = decision.ranking.iter().take(limits::RANKED);
        let refused = decision.refused.iter().take(limits::REFUSALS);
        let listed = ranking.len() + refused.len();
        let all = decision.ranking.len() + decision.refused.len();
        DecisionRecord {
            attempt: run.attempt,
            at: cx.unix,
            took_us: u64::try_from(cx.now.since(round.opened).as_micros()).unwrap_or(u64::MAX),
            policy: self.policy.name.clone(),
            ranking: ranking
                .map(|bid| RankedBid {
                    worker: bid.key,
                    price: bid.price,
                    score: bid.score.clone(),
                })
                .collect(),
            refused: refused
                .map(|bid| RefusedWorker { worker: bid.key, reasons: bid.reasons.clone() })
                .collect(),
            unlisted: u32::try_from(all - listed).unwrap_or(u32::MAX),
            price_paid,
        }
    }

    /// The award is a fact: the worker may have it.
    pub(super) fn grant(&mut self, record: &JobRecord, cx: &mut Context<'_>) {
        let Some(run) = record.running().map(|run| Run { job: record.job, attempt: run.attempt })
        else {
            return;
        };
        cx.after(self.timing.lease, Timer::Lease(run));
        self.send_award(run, cx);
    }

    /// Sends an award, again when it is not acknowledged.
    pub(crate) fn send_award(&mut self, run: Run, cx: &mut Context<'_>) {
        let Some(ballot) = self.committee.ballot() else {
            return;
        };
        let Some(entry) = self.committee.entry(run.job) else {
            return;
        };
        let record = entry.record();
        let Some(attempt) = record.running().filter(|attempt| attempt.attempt == run.attempt)
        else {
            return;
        };
        if record.cancel_requested {
            return;
        }
        let (worker, price) = (attempt.worker, attempt.price);
        let spec = entry.spec.signed().clone();
        let resume = record.checkpoint.clone();
        let lease_ms = u32::try_from(self.timing.lease.as_millis()).unwrap_or(u32::MAX);
        let award =
            Award { job: run.job, attempt: run.attempt, ballot, worker, price, lease_ms, resume };
        let award = cx.sign(award).into_signed();
        cx.send(worker, &Message::Auction(Auction::Award { award, spec }));
        cx.after(self.timing.award_resend, Timer::Award(run));
    }
}

/// What a worker draws for an attempt: the same for everyone who computes it.
pub(crate) fn lot(job: JobId, attempt: Attempt, worker: PeerId) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"cyxwiz/lot/1\0").update(&job.0).update(&attempt.0.to_le_bytes());
    hasher.update(&worker.0);
    let hash = hasher.finalize();
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("8 of 32 bytes"))
}
