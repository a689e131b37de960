//! Which message is whose.

use std::time::Duration;

use super::{Peer, Roles};
use crate::{
    Instant, PeerId,
    context::Context,
    coordinator::Coordinator,
    effects::Effects,
    message::{
        Message, auction::Auction, membership::Membership, query::Query, run::RunStep,
        submission::Submission,
    },
    timers::Timer,
    worker::Worker,
};

/// How often a peer that knows no committee asks its neighbours.
pub(super) const ASK_COMMITTEE: Duration = Duration::from_secs(1);
/// How many of them it asks.
const ASKED: usize = 4;

impl Peer {
    pub(super) fn route(
        &mut self,
        now: Instant,
        from: PeerId,
        message: Message,
        effects: &mut Effects,
    ) {
        match message {
            Message::Membership(step) => self.on_membership(now, from, step, effects),
            Message::Submission(step) => self.on_submission(now, from, step, effects),
            Message::Auction(step) => self.on_auction(now, from, step, effects),
            Message::Run(step) => self.on_run(now, from, step, effects),
            Message::Query(step) => self.on_query(now, from, step, effects),
            Message::Replication(step) => {
                let mut cx = self.core.context(now, effects);
                if let Some(coordinator) = &mut self.roles.coordinator {
                    coordinator.committee().on_step(from, step, &mut cx);
                }
            }
        }
    }

    fn on_membership(
        &mut self,
        now: Instant,
        from: PeerId,
        step: Membership,
        effects: &mut Effects,
    ) {
        match step {
            Membership::AskCommittee => {
                let record = self.core.directory.committee().map(|known| known.signed().clone());
                if let Some(record) = record {
                    let mut cx = self.core.context(now, effects);
                    cx.send(from, &Message::Membership(Membership::Committee(record)));
                }
            }
            Membership::Committee(record) => match record.verify(self.core.network_id) {
                Ok(record) => {
                    // Passing it on is not asked for here; gossip does that.
                    let _verdict = self.learn_committee(now, from, record, effects);
                }
                Err(rejection) => {
                    self.note_rejection(&rejection);
                    self.strike(now, from, &rejection.to_string(), effects);
                }
            },
            Membership::Offer(offer) => {
                let mut cx = self.core.context(now, effects);
                if let Some(coordinator) = &mut self.roles.coordinator {
                    coordinator.on_offer(from, offer, &mut cx);
                }
            }
            Membership::Leaving => {
                let mut cx = self.core.context(now, effects);
                if let Some(coordinator) = &mut self.roles.coordinator {
                    coordinator.on_worker_gone(from, &mut cx);
                }
            }
            // A sign of life; the worker asks for nothing more.
            Membership::Offered => {}
        }
    }

    fn on_submission(
        &mut self,
        now: Instant,
        from: PeerId,
        step: Submission,
        effects: &mut Effects,
    ) {
        let mut cx = self.core.context(now, effects);
        let Roles { coordinator, submitter, .. } = &mut self.roles;
        match (step, coordinator) {
            (Submission::Submit { request, spec }, Some(coordinator)) => {
                coordinator.on_submit(from, request, &spec, &mut cx);
            }
            (Submission::Cancel { request, order }, Some(coordinator)) => {
                coordinator.on_cancel(from, request, &order, &mut cx);
            }
            (Submission::Submit { request, .. } | Submission::Cancel { request, .. }, None) => {
                let leader = cx.directory.leader();
                let redirect = Submission::Redirect { request, leader };
                cx.send(from, &Message::Submission(redirect));
            }
            (
                step @ (Submission::Accepted { .. }
                | Submission::Refused { .. }
                | Submission::Redirect { .. }
                | Submission::CancelNoted { .. }
                | Submission::Ended { .. }),
                _,
            ) => submitter.on_submission(from, step, &mut cx),
        }
    }

    fn on_auction(&mut self, now: Instant, from: PeerId, step: Auction, effects: &mut Effects) {
        let mut cx = self.core.context(now, effects);
        let Roles { coordinator, worker, .. } = &mut self.roles;
        match (step, coordinator, worker) {
            (Auction::Bids(bids), Some(coordinator), _) => {
                coordinator.on_bids(from, &bids, &mut cx);
            }
            (Auction::Taken(run), Some(coordinator), _) => {
                coordinator.on_taken(from, run, &mut cx);
            }
            (Auction::Declined(run), Some(coordinator), _) => {
                coordinator.on_declined(from, run, &mut cx);
            }
            (Auction::Award { award, spec }, _, Some(worker)) => {
                worker.on_award(from, award, &spec, &mut cx);
            }
            (Auction::Invitation(announcement), _, Some(worker)) => {
                worker.on_invitation(from, &announcement, &mut cx);
            }
            // For a role that this peer does not play: the sender's knowledge is old.
            (
                Auction::Bids(_)
                | Auction::Taken(_)
                | Auction::Declined(_)
                | Auction::Award { .. }
                | Auction::Invitation(_),
                _,
                _,
            ) => {}
        }
    }

    fn on_run(&mut self, now: Instant, from: PeerId, step: RunStep, effects: &mut Effects) {
        let mut cx = self.core.context(now, effects);
        let Roles { coordinator, worker, .. } = &mut self.roles;
        match (step, coordinator, worker) {
            (RunStep::Renew(items), Some(coordinator), _) => {
                coordinator.on_renew(from, items, &mut cx);
            }
            (RunStep::Receipt(receipt), Some(coordinator), _) => {
                coordinator.on_receipt(from, &receipt, &mut cx);
            }
            (RunStep::Renewed(standings), _, Some(worker)) => {
                worker.on_renewed(from, standings, &mut cx);
            }
            (RunStep::Stop(run), _, Some(worker)) => worker.on_stop(from, run, &mut cx),
            (RunStep::Counted { run, .. }, _, Some(worker)) => {
                worker.on_counted(from, run, &mut cx);
            }
            // For a role that this peer does not play: the sender's knowledge is old.
            (
                RunStep::Renew(_)
                | RunStep::Receipt(_)
                | RunStep::Renewed(_)
                | RunStep::Stop(_)
                | RunStep::Counted { .. },
                _,
                _,
            ) => {}
        }
    }

    fn on_query(&mut self, now: Instant, from: PeerId, step: Query, effects: &mut Effects) {
        let mut cx = self.core.context(now, effects);
        let Roles { coordinator, submitter, .. } = &mut self.roles;
        match step {
            Query::Ask { request, question } => {
                if let Some(coordinator) = coordinator {
                    coordinator.on_question(from, request, &question, &mut cx);
                } else {
                    let leader = cx.directory.leader();
                    cx.send(from, &Message::Query(Query::Redirect { request, leader }));
                }
            }
            Query::Answer { request, answer } => {
                submitter.on_answer(from, request, *answer, &mut cx);
            }
            Query::Redirect { request, leader: Some(leader) } if leader != from => {
                submitter.on_redirect(request, leader, &mut cx);
            }
            // Nobody knows better; the question is asked again in time.
            Query::Redirect { .. } => {}
        }
    }
}

pub(super) fn coordinator_timer(coordinator: &mut Coordinator, timer: Timer, cx: &mut Context<'_>) {
    match timer {
        Timer::Election => coordinator.committee().on_election_timeout(cx),
        Timer::Beat => coordinator.committee().on_beat_timeout(cx),
        Timer::Stand => coordinator.committee().on_stand_timeout(cx),
        Timer::CommitteeRecord => coordinator.tell_committee(cx),
        Timer::Announce => coordinator.on_announce_timeout(cx),
        Timer::Round(round) => coordinator.on_round_timeout(round, cx),
        Timer::Lease(run) => coordinator.on_lease_timeout(run, cx),
        Timer::Award(run) => coordinator.send_award(run, cx),
        Timer::Stop(run) => coordinator.on_stop_timeout(run, cx),
        Timer::Queue(job) => coordinator.on_queue_timeout(job, cx),
        Timer::Total(job) => coordinator.on_total_timeout(job, cx),
        Timer::Offer(peer) => coordinator.on_worker_gone(peer, cx),
        Timer::Ready
        | Timer::Renew
        | Timer::LeaseLost(_)
        | Timer::Receipt(_)
        | Timer::Report(_)
        | Timer::Submit(_)
        | Timer::Poll(_)
        | Timer::Cancel(_)
        | Timer::Question(_)
        | Timer::AskCommittee => unreachable!("not a coordinator's: {timer:?}"),
    }
}

pub(super) fn worker_timer(worker: &mut Worker, timer: Timer, cx: &mut Context<'_>) {
    match timer {
        Timer::Ready => worker.on_ready_timeout(cx),
        Timer::Renew => worker.on_renew_timeout(cx),
        Timer::LeaseLost(run) => worker.on_lease_lost(run, cx),
        Timer::Receipt(run) => worker.on_receipt_timeout(run, cx),
        Timer::Report(run) => worker.on_report_timeout(run, cx),
        Timer::Election
        | Timer::Beat
        | Timer::Stand
        | Timer::CommitteeRecord
        | Timer::Announce
        | Timer::Round(_)
        | Timer::Lease(_)
        | Timer::Award(_)
        | Timer::Stop(_)
        | Timer::Queue(_)
        | Timer::Total(_)
        | Timer::Offer(_)
        | Timer::Submit(_)
        | Timer::Poll(_)
        | Timer::Cancel(_)
        | Timer::Question(_)
        | Timer::AskCommittee => unreachable!("not a worker's: {timer:?}"),
    }
}

/// Asks a few who coordinates, as long as nobody speaks of it: members that were, in case one of
/// them still is or knows better, and neighbours.
pub(super) fn ask_committee(neighbours: &[PeerId], stale: bool, cx: &mut Context<'_>) {
    if stale {
        let me = cx.me();
        let members = cx.directory.committee().map(|record| record.members.clone());
        let members = members.unwrap_or_default().into_iter().map(|member| member.peer);
        for member in members.filter(|peer| *peer != me) {
            cx.send(member, &Message::Membership(Membership::AskCommittee));
        }
        for _ in 0..ASKED.min(neighbours.len()) {
            let lot = cx.rng.number() % neighbours.len() as u64;
            let neighbour = neighbours[usize::try_from(lot).expect("less than a length")];
            cx.send(neighbour, &Message::Membership(Membership::AskCommittee));
        }
    }
    cx.after(ASK_COMMITTEE, Timer::AskCommittee);
}
