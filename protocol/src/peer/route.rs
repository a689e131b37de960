//! Which message is whose.

use std::time::Duration;

use super::{Peer, Roles};
use crate::{
    Instant, PeerId,
    context::Context,
    effects::{Effects, StopReason},
    message::{
        Message, auction::Auction, membership::Membership, pausing::Pausing, query::Query,
        run::RunStep, submission::Submission,
    },
    timers::Timer,
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
            Message::Pausing(step) => self.on_pausing(now, from, step, effects),
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

    fn on_pausing(&mut self, now: Instant, from: PeerId, step: Pausing, effects: &mut Effects) {
        let mut cx = self.core.context(now, effects);
        let Roles { coordinator, submitter, .. } = &mut self.roles;
        match (step, coordinator) {
            (Pausing::Order { request, order }, Some(coordinator)) => {
                coordinator.on_order(from, request, &order, &mut cx);
            }
            (Pausing::Order { request, .. }, None) => {
                let leader = cx.directory.leader();
                cx.send(from, &Message::Pausing(Pausing::Redirect { request, leader }));
            }
            (
                step @ (Pausing::Noted { .. } | Pausing::Refused { .. } | Pausing::Redirect { .. }),
                _,
            ) => submitter.on_pausing(from, step, &mut cx),
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
            (RunStep::Stop(run), _, Some(worker)) => {
                worker.on_stop(from, run, StopReason::Cancelled, &mut cx);
            }
            (RunStep::Pause(run), _, Some(worker)) => {
                worker.on_stop(from, run, StopReason::Paused, &mut cx);
            }
            (RunStep::Counted { run, .. }, _, Some(worker)) => {
                worker.on_counted(from, run, &mut cx);
            }
            // For a role that this peer does not play: the sender's knowledge is old.
            (
                RunStep::Renew(_)
                | RunStep::Receipt(_)
                | RunStep::Renewed(_)
                | RunStep::Stop(_)
                | RunStep::Pause(_)
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

    pub(super) fn on_timer(&mut self, now: Instant, timer: Timer, effects: &mut Effects) {
        let cx = &mut self.core.context(now, effects);
        let Roles { coordinator, worker, submitter } = &mut self.roles;
        match timer {
            Timer::Election => of(coordinator, |it| it.committee().on_election_timeout(cx)),
            Timer::Beat => of(coordinator, |it| it.committee().on_beat_timeout(cx)),
            Timer::Stand => of(coordinator, |it| it.committee().on_stand_timeout(cx)),
            Timer::CommitteeRecord => of(coordinator, |it| it.tell_committee(cx)),
            Timer::Announce => of(coordinator, |it| it.on_announce_timeout(cx)),
            Timer::Round(round) => of(coordinator, |it| it.on_round_timeout(round, cx)),
            Timer::Lease(run) => of(coordinator, |it| it.on_lease_timeout(run, cx)),
            Timer::Award(run) => of(coordinator, |it| it.send_award(run, cx)),
            Timer::Stop(run) => of(coordinator, |it| it.on_stop_timeout(run, cx)),
            Timer::Queue(job) => of(coordinator, |it| it.on_queue_timeout(job, cx)),
            Timer::Total(job) => of(coordinator, |it| it.on_total_timeout(job, cx)),
            Timer::Paused(job) => of(coordinator, |it| it.on_paused_timeout(job, cx)),
            Timer::Offer(peer) => of(coordinator, |it| it.on_worker_gone(peer, cx)),
            Timer::Ready => of(worker, |it| it.on_ready_timeout(cx)),
            Timer::Renew => of(worker, |it| it.on_renew_timeout(cx)),
            Timer::LeaseLost(run) => of(worker, |it| it.on_lease_lost(run, cx)),
            Timer::Receipt(run) => of(worker, |it| it.on_receipt_timeout(run, cx)),
            Timer::Report(run) => of(worker, |it| it.on_report_timeout(run, cx)),
            Timer::Submit(job) => submitter.on_submit_timeout(job, cx),
            Timer::Poll(job) => submitter.on_poll_timeout(job, cx),
            Timer::Cancel(job) => submitter.on_cancel_timeout(job, cx),
            Timer::Order(job) => submitter.on_order_timeout(job, cx),
            Timer::Question(request) => submitter.on_question_timeout(request, cx),
            Timer::AskCommittee => self.on_ask_timeout(now, effects),
        }
    }

    fn on_ask_timeout(&mut self, now: Instant, effects: &mut Effects) {
        let neighbours: Vec<PeerId> = self.core.connected.iter().copied().collect();
        let stale = self.core.directory.is_stale(now, self.core.timing.committee_record * 3);
        let mut cx = self.core.context(now, effects);
        ask_committee(&neighbours, stale, &mut cx);
    }
}

/// A deadline of a role that this peer does not play is nobody's.
fn of<Role>(role: &mut Option<Role>, act: impl FnOnce(&mut Role)) {
    if let Some(role) = role {
        act(role);
    }
}

/// Asks a few who coordinates, as long as nobody speaks of it: members that were, in case one of
/// them still is or knows better, and neighbours.
fn ask_committee(neighbours: &[PeerId], stale: bool, cx: &mut Context<'_>) {
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
