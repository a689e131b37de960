//! `cyxwiz job why`: what the coordinator weighed when it placed a job, what it still waits for,
//! and how each attempt ended.

use super::JobArgs;
use super::pause::from;
use crate::api::view::{AttemptView, BidView, DecisionView, JobPhase, JobView, RefusedView};
use crate::cli::error::CommandError;
use crate::cli::quantity::{Ids, ago, coarse, duration, now, of, short_job};
use crate::cli::table::{Rows, phase_word};
use crate::cli::{Context, resolve};

pub(super) fn why(context: &Context, args: &JobArgs) -> Result<(), CommandError> {
    let reached = context.reach(&args.reach)?;
    let client = &reached.client;
    let job = client.job(&resolve::job(client, &args.job)?)?;
    context.output.show(&job, || explanation(&job, context.output.ids, now()))
}

/// The whole story, oldest part first.
pub(crate) fn explanation(job: &JobView, ids: Ids, now: u64) -> String {
    let mut parts = vec![opening(job, now)];
    for decision in &job.decisions {
        parts.push(decided(decision, ids, now));
        let attempt = job.attempts.iter().find(|attempt| attempt.attempt == decision.attempt);
        parts.extend(attempt.map(|attempt| attempted(attempt, ids, now)));
    }
    // Decisions may be forgotten earlier than attempts.
    let undecided = job
        .attempts
        .iter()
        .filter(|attempt| job.decisions.iter().all(|decision| decision.attempt != attempt.attempt));
    parts.extend(undecided.map(|attempt| attempted(attempt, ids, now)));
    if let Some(waiting) = &job.waiting {
        parts.push(with_refusals(format!("It waits: {}", waiting.why), &waiting.workers, 0, ids));
    }
    if let Some(failure) = &job.failure {
        parts.push(format!("It was given up: {}", failure.message));
    }
    parts.join("\n\n")
}

fn opening(job: &JobView, now: u64) -> String {
    let (name, id, word) = (&job.name, short_job(&job.job), phase_word(job.state));
    let accepted = ago(job.accepted_at, now);
    match job.ended_at.filter(|_| job.state.is_final()) {
        Some(ended) => {
            let took = duration(ended.saturating_sub(job.accepted_at));
            format!("Job {name} ({id}) {word} {}, {took} after it was accepted.", ago(ended, now))
        }
        None if job.state == JobPhase::Queued => {
            let since = coarse(now.saturating_sub(job.accepted_at));
            format!("Job {name} ({id}) has been {word} for {since}.")
        }
        None => match job.paused_at {
            Some(at) => format!(
                "Job {name} ({id}) has been {word} for {}; when it is resumed it goes on {}.",
                coarse(now.saturating_sub(at)),
                from(job)
            ),
            None => format!("Job {name} ({id}) is {word}; it was accepted {accepted}."),
        },
    }
}

fn decided(decision: &DecisionView, ids: Ids, now: u64) -> String {
    let bids = of(decision.bids.len() as u64, "bid");
    let mut text = format!(
        "Attempt {}: {bids}, decided {} by the policy {} in {:.1} ms, price {}",
        decision.attempt,
        ago(decision.at, now),
        decision.policy,
        decision.took_ms,
        decision.price_paid,
    );
    if !decision.bids.is_empty() {
        text.push('\n');
        text.push_str(&bid_tables(&decision.bids, ids));
    }
    with_refusals(text, &decision.refused, decision.unlisted, ids)
}

/// A column a bid, the best first, and a row a factor: the points it brought of those it could
/// bring. More bids than fit beside each other go below.
fn bid_tables(bids: &[BidView], ids: Ids) -> String {
    let mut factors: Vec<&str> = Vec::new();
    for term in bids.iter().flat_map(|bid| &bid.terms) {
        if !factors.contains(&term.factor.as_str()) {
            factors.push(&term.factor);
        }
    }
    let tables: Vec<_> = bids
        .chunks(BIDS_ABREAST)
        .enumerate()
        .map(|(index, bids)| bid_table(bids, 1 + index * BIDS_ABREAST, &factors, ids))
        .collect();
    tables.join("\n\n")
}

fn bid_table(bids: &[BidView], first: usize, factors: &[&str], ids: Ids) -> String {
    let place = |(index, bid): (usize, &BidView)| match first + index {
        1 => format!(">won {}", ids.peer(&bid.worker)),
        place => format!(">{place}. {}", ids.peer(&bid.worker)),
    };
    let titles: Vec<_> =
        std::iter::once(String::new()).chain(bids.iter().enumerate().map(place)).collect();
    let mut rows = Rows::new(&titles.iter().map(String::as_str).collect::<Vec<_>>());
    let mut add = |title: String, cell: &dyn Fn(&BidView) -> String| {
        rows.add(std::iter::once(title).chain(bids.iter().map(cell)));
    };
    add("score".to_owned(), &|bid| bid.score.to_string());
    add("price".to_owned(), &|bid| bid.price.to_string());
    for factor in factors {
        add(factor.replace('_', " "), &|bid| {
            let term = bid.terms.iter().find(|term| term.factor == *factor);
            term.map_or("-".to_owned(), |term| format!("{:+} ({:.2})", term.points, term.value))
        });
    }
    rows.text()
}

fn with_refusals(mut text: String, refused: &[RefusedView], unlisted: u32, ids: Ids) -> String {
    for refusal in refused {
        let reasons = refusal.reasons.join("; ");
        text.push_str(&format!("\n  {} cannot: {reasons}", ids.peer(&refusal.worker)));
    }
    if unlisted > 0 {
        text.push_str(&format!("\n  and {}", of(u64::from(unlisted), "more worker")));
    }
    text
}

fn attempted(attempt: &AttemptView, ids: Ids, now: u64) -> String {
    let worker = ids.peer(&attempt.worker);
    let number = attempt.attempt;
    match (attempt.ended_at, &attempt.end) {
        (Some(ended), end) => {
            let took = duration(ended.saturating_sub(attempt.awarded_at));
            let how = end.as_deref().unwrap_or("it ended");
            format!("Attempt {number} on {worker}, after {took}: {how}")
        }
        (None, Some(end)) => format!("Attempt {number} on {worker}: {end}"),
        (None, None) => {
            format!("Attempt {number} is on {worker} since {}", ago(attempt.awarded_at, now))
        }
    }
}

/// As many as 80 columns hold.
const BIDS_ABREAST: usize = 4;
