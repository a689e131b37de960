//! Effects in words: one line each, with the short names of the cast, so that a table of
//! expected effects reads as what a peer does.

use std::collections::BTreeMap;

use cyxwiz_protocol::{
    JobId, Key, PeerId, Run,
    effects::{Effects, Event, Reply, Send, Task, Write},
    message::{
        Gossip, Message,
        auction::{Announcement, Auction},
        decode_gossip, decode_message,
        membership::Membership,
        pausing::Pausing,
        query::{Answer, Query, Question},
        replication::{Held, Step},
        run::{RunStep, Standing},
        submission::Submission,
    },
    report::Ending,
    signed::Signed,
};

use super::{MEMBERS, WORKERS, Who, network_id};

fn name_of(peer: PeerId) -> String {
    thread_local! {
        static NAMES: BTreeMap<PeerId, String> = [
            Who::Coordinator,
            Who::SecondCoordinator,
            Who::Submitter,
            Who::OtherSubmitter,
            Who::Stranger,
        ]
        .into_iter()
        .chain((1..=WORKERS).map(Who::Worker))
        .chain((3..=MEMBERS).map(Who::Member))
        .map(|who| (who.id(), who.name()))
        .collect();
    }
    NAMES.with(|names| names.get(&peer).cloned().unwrap_or_else(|| "?".to_owned()))
}

fn job_name(job: JobId) -> String {
    format!("j{}", job.0[15])
}

fn run_name(run: Run) -> String {
    format!("{}.{}", job_name(run.job), run.attempt)
}

fn list<T>(items: impl IntoIterator<Item = T>, name: impl Fn(T) -> String) -> String {
    let names: Vec<_> = items.into_iter().map(name).collect();
    format!("[{}]", names.join(" "))
}

fn ending_name(ending: &Ending) -> String {
    match ending {
        Ending::Succeeded(_) => "succeeded".to_owned(),
        Ending::Failed { class, message } => format!("failed ({class}: {message})"),
        Ending::Cancelled => "cancelled".to_owned(),
        Ending::Paused { checkpoint: None } => "paused".to_owned(),
        Ending::Paused { checkpoint: Some(it) } => format!("paused at {}.{}", it.epoch, it.batch),
    }
}

/// Every effect, in the order of its carrying out.
pub(super) fn effects_in_words(effects: &Effects) -> Vec<String> {
    let Effects { batch: _, writes, sends, tasks, events, verdict } = effects;
    let mut lines: Vec<String> = writes.iter().map(write_in_words).collect();
    lines.extend(sends.iter().map(send_in_words));
    lines.extend(tasks.iter().map(task_in_words));
    lines.extend(events.iter().map(event_in_words));
    lines.extend(verdict.map(|verdict| format!("verdict {verdict:?}")));
    lines
}

fn write_in_words(write: &Write) -> String {
    let verb = if write.value.is_some() { "write" } else { "erase" };
    let key = match Key::from_bytes(&write.key).expect("a key of this crate") {
        Key::Seat => "seat".to_owned(),
        Key::Register(job) => format!("register {}", job_name(job)),
        Key::Spec(job) => format!("spec {}", job_name(job)),
        Key::Decision(run) => format!("decision {}", run_name(run)),
        Key::Reputation(peer) => format!("reputation {}", name_of(peer)),
        Key::Run(run) => format!("run {}", run_name(run)),
        Key::Outbox(job) => format!("outbox {}", job_name(job)),
    };
    format!("{verb} {key}")
}

fn send_in_words(send: &Send) -> String {
    match send {
        Send::Direct { to, frame } => {
            let message = decode_message(network_id(), frame).expect("a frame of this crate");
            format!("to {}: {}", name_of(*to), message_in_words(&message))
        }
        Send::Publish { topic, frame } => {
            let gossip = decode_gossip(network_id(), frame).expect("a frame of this crate");
            format!("on {topic}: {}", gossip_in_words(&gossip))
        }
        Send::Subscribe(topic) => format!("subscribe {topic}"),
        Send::Unsubscribe(topic) => format!("unsubscribe {topic}"),
        Send::Ban { peer, .. } => format!("ban {}", name_of(*peer)),
    }
}

pub(crate) fn message_in_words(message: &Message) -> String {
    match message {
        Message::Membership(Membership::AskCommittee) => "who coordinates?".to_owned(),
        Message::Membership(Membership::Committee(_)) => "committee".to_owned(),
        Message::Membership(Membership::Offer(offer)) => {
            format!("offer, runs {}", list(&offer.running, |run| run_name(*run)))
        }
        Message::Membership(Membership::Offered) => "offered".to_owned(),
        Message::Membership(Membership::Leaving) => "leaving".to_owned(),
        Message::Submission(step) => submission_in_words(step),
        Message::Auction(step) => auction_in_words(step),
        Message::Run(step) => run_in_words(step),
        Message::Query(step) => query_in_words(step),
        Message::Pausing(step) => pausing_in_words(step),
        Message::Replication(replication) => step_in_words(&replication.step),
    }
}

fn step_in_words(step: &Step) -> String {
    match step {
        Step::Canvass { ballot } => format!("canvass {}", ballot.term),
        Step::Supported { ballot } => format!("supported {}", ballot.term),
        Step::Prepare { ballot, .. } => format!("prepare {}", ballot.term),
        Step::Promise { ballot, holds, .. } => {
            format!("promise {} {}", ballot.term, list(holds, |held| job_name(held.job)))
        }
        Step::Refused { promised } => format!("refused for {}", promised.term),
        Step::Fetch { jobs, .. } => format!("fetch {}", list(jobs, |job| job_name(*job))),
        Step::Fetched { copies, .. } => {
            format!("fetched {}", list(copies, |copy| job_name(copy.job)))
        }
        Step::Accept(accept) => {
            let seating = accept.seating.as_ref();
            let seating = seating.map(|it| format!(" epoch {}", it.seating.epoch));
            let copies = list(&accept.copies, |copy| job_name(copy.job));
            format!("accept{} {copies}", seating.unwrap_or_default())
        }
        Step::Accepted { items, .. } => {
            let items = list(items, |(job, held)| match held {
                Held::Version(version) => format!("{}@{version}", job_name(*job)),
                Held::NoSpec => format!("{} without spec", job_name(*job)),
                Held::Later => format!("{} later", job_name(*job)),
            });
            format!("has {items}")
        }
        Step::Beat { .. } => "beat".to_owned(),
        Step::Heard { .. } => "heard".to_owned(),
        Step::Stand { .. } => "stand".to_owned(),
    }
}

fn submission_in_words(step: &Submission) -> String {
    match step {
        Submission::Submit { spec, .. } => {
            let spec = spec.verify(network_id()).expect("a spec that its author signed");
            format!("submit {}", job_name(spec.id))
        }
        Submission::Accepted { job, .. } => format!("accepted {}", job_name(*job)),
        Submission::Refused { job, refusal, .. } => {
            format!("refused {}: {refusal}", job_name(*job))
        }
        Submission::Redirect { leader, .. } => {
            format!("redirect to {}", leader.map_or_else(|| "nobody".to_owned(), name_of))
        }
        Submission::Cancel { order, .. } => {
            let order = order.verify(network_id()).expect("an order that its author signed");
            format!("cancel {}", job_name(order.job))
        }
        Submission::CancelNoted { job, .. } => format!("cancel of {} noted", job_name(*job)),
        Submission::Ended { job } => format!("{} ended", job_name(*job)),
    }
}

fn pausing_in_words(step: &Pausing) -> String {
    match step {
        Pausing::Order { order, .. } => {
            let order = order.verify(network_id()).expect("an order that its author signed");
            format!("{} {}", order.wish, job_name(order.job))
        }
        Pausing::Noted { job, changed: true, .. } => format!("order for {} noted", job_name(*job)),
        Pausing::Noted { job, changed: false, .. } => {
            format!("order for {} noted, it was so", job_name(*job))
        }
        Pausing::Refused { job, refusal, .. } => {
            format!("no order for {}: {refusal}", job_name(*job))
        }
        Pausing::Redirect { leader, .. } => {
            format!("redirect to {}", leader.map_or_else(|| "nobody".to_owned(), name_of))
        }
    }
}

fn auction_in_words(step: &Auction) -> String {
    match step {
        Auction::Bids(bids) => {
            let bids = bids.verify(network_id()).expect("bids that their author signed");
            let runs = bids.bids.iter().map(|bid| Run { job: bid.job, attempt: bid.attempt });
            format!("bids for {}", list(runs, run_name))
        }
        Auction::Award { award, .. } => {
            let award = award.verify(network_id()).expect("an award that its author signed");
            format!("award {}", run_name(award.run()))
        }
        Auction::Taken(run) => format!("taken {}", run_name(*run)),
        Auction::Declined(run) => format!("declined {}", run_name(*run)),
        Auction::Invitation(call) => format!("invited to bid for {}", calls_in_words(call)),
    }
}

fn calls_in_words(announcement: &Signed<Announcement>) -> String {
    let announcement = announcement.verify(network_id()).expect("calls that their author signed");
    let runs = announcement.calls.iter();
    list(runs.map(|call| Run { job: call.job, attempt: call.attempt }), run_name)
}

fn run_in_words(step: &RunStep) -> String {
    match step {
        RunStep::Renew(items) => {
            let items = list(items, |item| match &item.progress {
                Some(progress) => format!("{}@{}", run_name(item.run), progress.permille()),
                None => run_name(item.run),
            });
            format!("renew {items}")
        }
        RunStep::Renewed(standings) => {
            let standings = list(standings, |(run, standing)| {
                let standing = match standing {
                    Standing::Leased { .. } => "leased",
                    Standing::Cancelled => "cancelled",
                    Standing::Superseded => "superseded",
                    Standing::Paused => "paused",
                };
                format!("{} {standing}", run_name(*run))
            });
            format!("renewed {standings}")
        }
        RunStep::Stop(run) => format!("stop {}", run_name(*run)),
        RunStep::Pause(run) => format!("pause {}", run_name(*run)),
        RunStep::Receipt(receipt) => {
            let receipt = receipt.verify(network_id()).expect("a receipt that its author signed");
            format!("receipt {} {}", run_name(receipt.run()), ending_name(&receipt.ending))
        }
        RunStep::Counted { run, verdict } => format!("{} is {verdict:?}", run_name(*run)),
    }
}

fn query_in_words(step: &Query) -> String {
    match step {
        Query::Ask { question: Question::Job(job), .. } => format!("what of {}?", job_name(*job)),
        Query::Ask { question, .. } => format!("ask {question:?}"),
        Query::Answer { answer, .. } => match answer.as_ref() {
            Answer::Job(None) => "answer: unknown job".to_owned(),
            Answer::Job(Some(detail)) => format!("answer: {}", job_name(detail.record.job)),
            Answer::Jobs(lines) => {
                format!("answer: {}", list(lines, |line| job_name(line.job)))
            }
            Answer::Workers(lines) => {
                format!("answer: {}", list(lines, |line| name_of(line.worker)))
            }
        },
        Query::Redirect { leader, .. } => {
            format!("redirect to {}", leader.map_or_else(|| "nobody".to_owned(), name_of))
        }
    }
}

pub(crate) fn gossip_in_words(gossip: &Gossip) -> String {
    match gossip {
        Gossip::Announcement(call) => format!("bids, please, for {}", calls_in_words(call)),
        Gossip::Report(signed) => {
            let report = signed.verify(network_id()).expect("a report that its author signed");
            let run = Run { job: report.job, attempt: report.attempt };
            format!("report {} of {}", report.number, run_name(run))
        }
        Gossip::Committee(_) => "committee".to_owned(),
    }
}

fn task_in_words(task: &Task) -> String {
    match task {
        Task::Inspect { spec, from } => {
            format!("inspect {} from {}", job_name(spec.id), name_of(*from))
        }
        Task::Run { run, sources, .. } => {
            format!("run {} from {}", run_name(*run), list(sources, |peer| name_of(*peer)))
        }
        Task::Stop { run, why } => format!("kill {}: {why:?}", run_name(*run)),
        Task::Discard { run } => format!("discard {}", run_name(*run)),
        Task::Collect { job, from, .. } => {
            format!("collect {} from {}", job_name(*job), list(from, |peer| name_of(*peer)))
        }
    }
}

fn event_in_words(event: &Event) -> String {
    match event {
        Event::Reply { id, reply } => format!("reply {}: {}", id.0, reply_in_words(reply)),
        Event::Report { report } => {
            let run = Run { job: report.job, attempt: report.attempt };
            format!("told report {} of {}", report.number, run_name(run))
        }
        Event::Ended { job } => format!("told that {} ended", job_name(*job)),
        Event::Committee { leader } => format!("told that {} leads", name_of(*leader)),
        Event::Announced { jobs } => format!("told of a call for {}", list(jobs, |j| job_name(*j))),
        Event::Awarded { run, worker, bids, .. } => {
            let (run, worker) = (run_name(*run), name_of(*worker));
            format!("told that {run} goes to {worker}, {bids} bids")
        }
        Event::Forgotten { job } => format!("told that {} is forgotten", job_name(*job)),
        Event::ClockDiffers { author, by } => {
            format!("told that the clock of {} differs by {} s", name_of(*author), by.as_secs())
        }
        Event::RunTaken { run } => format!("told that {} begins", run_name(*run)),
    }
}

fn reply_in_words(reply: &Reply) -> String {
    match reply {
        Reply::Accepted { job } => format!("accepted {}", job_name(*job)),
        Reply::Refused { job, refusal } => format!("refused {}: {refusal}", job_name(*job)),
        Reply::CancelNoted { job } => format!("cancel of {} noted", job_name(*job)),
        Reply::Order { job, result: Ok(true) } => format!("order for {} noted", job_name(*job)),
        Reply::Order { job, result: Ok(false) } => {
            format!("order for {} noted, it was so", job_name(*job))
        }
        Reply::Order { job, result: Err(refusal) } => {
            format!("no order for {}: {refusal}", job_name(*job))
        }
        Reply::Answer(_) => "answer".to_owned(),
        Reply::Collected => "collected".to_owned(),
        Reply::CollectFailed(why) => format!("not collected: {why}"),
        Reply::Done => "done".to_owned(),
        Reply::Unreachable(why) => format!("unreachable: {why}"),
        Reply::Busy(why) => format!("busy: {why}"),
    }
}
