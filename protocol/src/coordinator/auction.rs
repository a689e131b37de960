//! Finding a worker for what waits: invite those who are likely to take it, take bids, decide,
//! award. Which jobs, and whom to ask, is for `look`.
//!
//! The leader knows who has room, so it asks a few directly; gossip, which everyone carries, is
//! for jobs that nobody bid for so, and for those that no known worker could run. A round closes
//! as soon as everyone who was expected to answer has, and at the end of its window at the latest.
//! Whatever is lost on the way costs a dry round, never a job: what was not awarded is called out
//! again.

mod look;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cyxwiz_scoring::{
    Capability, Decision, Ineligible, Load, Offer, Permille, hold, selected, threshold, widen,
};
use look::{Group, Reach};

use super::{Coordinator, Urgency, workforce::Noted};
use crate::{
    Attempt, Instant, JobId, PeerId, Run,
    context::Context,
    effects::{Event, Topic},
    job::{EndReason, JobRecord, JobState, Transition},
    limits,
    message::{
        Gossip, Message,
        auction::{Announcement, Auction, Audience, Award, Bid, Bids},
        membership,
        query::{DecisionRecord, RankedBid, RefusedWorker},
    },
    signed::Signed,
    timers::Timer,
};

/// How many bids an auction is meant to bring, however many workers there are.
const EXPECTED_BIDS: u32 = 16;
/// The longest that bids are waited for, after rounds that brought none.
const LONGEST_WINDOW: Duration = Duration::from_secs(4);
/// The longest pause between two calls for the same job.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is being called out, and what is looked at next.
#[derive(Debug, Default)]
pub(crate) struct Auctions {
    rounds: BTreeMap<u64, Round>,
    /// The number of the newest round: from 1 on, under whatever ballot.
    newest: u64,
    /// Where the next look goes on, beside the front of the queue.
    look_on: Option<(Urgency, JobId)>,
    /// No look before this.
    look_after: Instant,
    /// No call to workers that nobody knows before this.
    strangers_after: Instant,
}

impl Auctions {
    /// Another leads.
    pub(super) fn clear(&mut self) {
        *self = Self { newest: self.newest, ..Self::default() };
    }
}

/// Calls that wait for bids.
#[derive(Debug)]
struct Round {
    opened: Instant,
    calls: Vec<(JobId, Attempt)>,
    reach: Reach,
    /// Whose slot each call was made for: it is not offered twice.
    likeliest: Vec<PeerId>,
    /// Whether it was given more time, since nobody had answered.
    prolonged: bool,
    /// Workers that were invited.
    invited: usize,
    /// Who is expected to answer and has not.
    awaited: BTreeSet<PeerId>,
    answers: BTreeMap<PeerId, Answer>,
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
        let noted = self.workforce.note(from, offer.capability, offer.load, cx.now, cx.unix);
        if noted == Noted::Refused {
            return;
        }
        self.workforce.note_presence(from);
        cx.after(stands, Timer::Offer(from));
        cx.send(from, &Message::Membership(membership::Membership::Offered));
        self.on_running(from, &offer.running, cx);
        if noted == Noted::News {
            self.wake_queue(cx);
        }
    }

    /// Workers that had the job and did not finish it, unless nobody else could.
    fn excluded(&self, record: &JobRecord, cx: &Context<'_>) -> BTreeSet<PeerId> {
        let at_fault = |why: &EndReason| !matches!(why, EndReason::Cancelled | EndReason::Paused);
        let failed: BTreeSet<_> = record
            .attempts
            .iter()
            .filter(|run| run.end.as_ref().is_some_and(|end| at_fault(&end.why)))
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

    fn open_round(&mut self, group: Group, cx: &mut Context<'_>) {
        let Some(ballot) = self.committee.ballot() else {
            return;
        };
        let Some(device) = group.calls.first().map(|call| call.requirements.device) else {
            return;
        };
        self.auctions.newest += 1;
        let round = self.auctions.newest;
        for call in &group.calls {
            if let Some(job) = self.jobs.get_mut(&call.job) {
                job.round = Some(round);
            }
        }
        for peer in &group.likeliest {
            self.workforce.reserve(*peer);
        }
        let calls: Vec<_> = group.calls.iter().map(|call| (call.job, call.attempt)).collect();
        cx.emit(Event::Announced { jobs: calls.iter().map(|(job, _)| *job).collect() });
        let (audience, awaited) = self.audience(&group);
        // Nobody answered the last time: perhaps they are far away.
        let widened = 2_u32.saturating_pow(group.widenings.min(8));
        let window = (self.timing.bid_window * widened).min(LONGEST_WINDOW);
        let announcement = cx.sign(Announcement {
            ballot,
            round,
            window_ms: u32::try_from(window.as_millis()).unwrap_or(u32::MAX),
            audience,
            calls: group.calls,
        });
        let announcement = announcement.into_signed();
        let mut invited = 0;
        if group.reach == Reach::Invited {
            invited = awaited.len();
            let invitation = Message::Auction(Auction::Invitation(announcement));
            for peer in &awaited {
                self.workforce.note_invited(*peer);
                cx.send(*peer, &invitation);
            }
        } else {
            cx.publish(Topic::Jobs(device), &Gossip::Announcement(announcement));
        }
        cx.after(window, Timer::Round(round));
        let open = Round {
            opened: cx.now,
            calls,
            reach: group.reach,
            likeliest: group.likeliest,
            prolonged: false,
            invited,
            awaited,
            answers: BTreeMap::new(),
        };
        self.auctions.rounds.insert(round, open);
    }

    /// Who may answer, and who of the known is expected to.
    fn audience(&self, group: &Group) -> (Audience, BTreeSet<PeerId>) {
        let mut threshold = match group.reach {
            Reach::Invited => return (Audience::Invited, group.able.clone()),
            Reach::Everyone => threshold(EXPECTED_BIDS, group.estimate),
            Reach::Strangers => {
                let known = u32::try_from(self.workforce.len()).unwrap_or(u32::MAX);
                threshold(EXPECTED_BIDS, known)
            }
        };
        for _ in 0..group.widenings.min(64) {
            threshold = widen(threshold);
        }
        let drawn = |peer: PeerId| {
            group.calls.iter().any(|call| selected(lot(call.job, call.attempt, peer), threshold))
        };
        let awaited = group.able.iter().copied().filter(|peer| drawn(*peer)).collect();
        (Audience::ByLot { threshold }, awaited)
    }

    pub(crate) fn on_bids(&mut self, from: PeerId, bids: &Signed<Bids>, cx: &mut Context<'_>) {
        let Ok(bids) = bids.verify(cx.network) else {
            return;
        };
        if bids.author() != from || Some(bids.ballot) != self.committee.ballot() {
            return;
        }
        let (capability, load) = (bids.capability.clone(), bids.load.clone());
        match self.workforce.note(from, capability.clone(), load.clone(), cx.now, cx.unix) {
            Noted::Refused => return,
            Noted::Known => {}
            Noted::News => self.wake_queue(cx),
        }
        // One that never offered itself is known for as long as an offer would stand.
        cx.timers.set_no_later(Timer::Offer(from), cx.now + self.timing.offer * 3);
        let Some(round) = self.auctions.rounds.get_mut(&bids.round) else {
            return;
        };
        let awaited = round.awaited.remove(&from);
        if round.reach == Reach::Invited && !awaited {
            return;
        }
        let bid = bids.bids.iter().map(|bid| ((bid.job, bid.attempt), *bid));
        round.answers.insert(from, Answer { capability, load, bids: bid.collect() });
        if awaited {
            let all = round.awaited.is_empty();
            self.workforce.note_answered(from, true);
            if all {
                self.close_round(bids.round, cx);
            }
        }
    }

    /// The window is over. Those who were invited and are all silent may be far away: they get
    /// more time before everyone is asked.
    pub(crate) fn on_round_timeout(&mut self, id: u64, cx: &mut Context<'_>) {
        let window = self.timing.bid_window;
        match self.auctions.rounds.get_mut(&id) {
            Some(round)
                if round.reach == Reach::Invited
                    && round.answers.is_empty()
                    && !round.prolonged =>
            {
                round.prolonged = true;
                cx.after(window * 3, Timer::Round(id));
            }
            Some(_) | None => self.close_round(id, cx),
        }
    }

    /// The window is over, or everyone has answered.
    fn close_round(&mut self, id: u64, cx: &mut Context<'_>) {
        let Some(round) = self.auctions.rounds.remove(&id) else {
            return;
        };
        cx.timers.clear(Timer::Round(id));
        if !self.is_leading() {
            return;
        }
        for peer in &round.likeliest {
            self.workforce.unreserve(*peer);
        }
        if round.reach == Reach::Invited {
            for peer in &round.awaited {
                self.workforce.note_answered(*peer, false);
            }
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
            return self.note_no_winner(id, &decision, round.reach, cx);
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

    /// Nobody takes the job. Those who only have no room any more are asked again when they have;
    /// if there are none, everyone is asked, and then, after ever longer pauses, more may answer.
    fn note_no_winner(
        &mut self,
        id: JobId,
        decision: &Decision<PeerId>,
        reach: Reach,
        cx: &mut Context<'_>,
    ) {
        let no_room = |reasons: &[Ineligible]| !reasons.iter().any(Ineligible::is_permanent);
        let later = decision.refused.iter().any(|refused| no_room(&refused.reasons));
        let window = self.timing.bid_window;
        let Some(job) = self.jobs.get_mut(&id).filter(|_| !later && reach != Reach::Strangers)
        else {
            return;
        };
        job.dry_rounds = job.dry_rounds.saturating_add(1);
        let pause = match job.dry_rounds {
            1 => Duration::ZERO,
            rounds => (window * 2_u32.saturating_pow(rounds.min(8) - 2)).min(LONGEST_PAUSE),
        };
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
            invited: (round.reach == Reach::Invited)
                .then(|| u32::try_from(round.invited).unwrap_or(u32::MAX)),
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
        // It may have been about to be paused, and goes on.
        cx.timers.clear(Timer::Stop(run));
        if let Some(job) = self.jobs.get_mut(&record.job) {
            job.stopping = false;
        }
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
        if record.cancel_requested || record.pause.requested {
            return;
        }
        let (worker, price) = (attempt.worker, attempt.price);
        let spec = entry.spec.signed().clone();
        let Some(job) = self.jobs.get_mut(&run.job) else {
            return;
        };
        if job.award.as_deref().is_none_or(|(known, _)| *known != run) {
            let resume = record.checkpoint.clone();
            let lease_ms = u32::try_from(self.timing.lease.as_millis()).unwrap_or(u32::MAX);
            let (job_id, attempt) = (run.job, run.attempt);
            let award = Award { job: job_id, attempt, ballot, worker, price, lease_ms, resume };
            job.award = Some(Box::new((run, cx.sign(award).into_signed())));
        }
        if let Some((_, award)) = job.award.as_deref() {
            let award = award.clone();
            cx.send(worker, &Message::Auction(Auction::Award { award, spec }));
        }
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

#[cfg(test)]
mod tests;
