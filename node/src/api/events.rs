//! A job as it goes, as server-sent events: its state, then every signed report of the attempt
//! that runs, until it has ended. Gossip is a hint, so the state is asked for again and again.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::{Path, State},
    response::sse::{Event, KeepAlive, Sse},
};
use cyxwiz_protocol::{Command, JobId, PeerId};
use futures::Stream;
use tokio::sync::{broadcast, mpsc};

use super::{Api, Failure, convert, jobs, view};
use crate::driver::News;
use view::JobEvent;

/// How often the state is asked for.
const POLL: Duration = Duration::from_millis(500);
/// Events that may wait for a slow reader.
const WAITING: usize = 64;

/// `GET /v1/jobs/{job}/events`
pub(super) async fn stream(
    State(api): State<Api>,
    Path(job): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let job = jobs::job_id(&job)?;
    // Listening begins before the first look, so that nothing falls between the two.
    let news = api.parts().news.subscribe();
    api.command(Command::Watch(job)).await?;
    let first = match jobs::detail(&api, job).await.and_then(|it| jobs::view_of(&api, &it)) {
        Ok(first) => first,
        Err(failure) => {
            api.command(Command::Unwatch(job)).await?;
            return Err(failure);
        }
    };
    let (events_in, events) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        follow(&api, job, first, news, &events_in).await;
        // The node may be ending; then there is nothing to unwatch.
        let _ = api.command(Command::Unwatch(job)).await;
    });
    let stream = futures::stream::unfold(events, |mut events| async move {
        let event: JobEvent = events.recv().await?;
        let text = serde_json::to_string(&event).expect("events have a JSON form");
        Some((Ok(Event::default().data(text)), events))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

/// Tells what happens until the job has ended or nobody listens.
async fn follow(
    api: &Api,
    job: JobId,
    first: view::JobView,
    mut news: broadcast::Receiver<News>,
    events: &mpsc::Sender<JobEvent>,
) {
    let mut told = first;
    if events.send(state(&told)).await.is_err() || told.state.is_final() {
        return;
    }
    let mut poll = tokio::time::interval(POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            () = events.closed() => return,
            news = news.recv() => match news {
                Ok(News::Report(report)) if report.job == job => {
                    report_event(&told, report.author(), &report)
                }
                Ok(News::Ended(ended)) if ended == job => {
                    poll.reset_immediately();
                    None
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => None,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            _ = poll.tick() => {
                let now = jobs::detail(api, job).await.and_then(|it| jobs::view_of(api, &it));
                match now {
                    Ok(now) if differs(&told, &now) => {
                        told = now;
                        Some(state(&told))
                    }
                    Ok(_) => None,
                    Err(Failure(error)) => Some(JobEvent::Trouble { message: error.message }),
                }
            }
        };
        let Some(event) = event else { continue };
        if events.send(event).await.is_err() || told.state.is_final() {
            return;
        }
    }
}

fn state(job: &view::JobView) -> JobEvent {
    JobEvent::State { job: Box::new(job.clone()) }
}

/// A report counts when it comes from the worker that has the attempt. One that this node has not
/// heard of yet is told by the next look at the job.
fn report_event(
    job: &view::JobView,
    author: PeerId,
    report: &cyxwiz_protocol::report::Report,
) -> Option<JobEvent> {
    let worker = author.to_string();
    let awarded = job
        .attempts
        .iter()
        .any(|attempt| attempt.attempt == report.attempt.0 && attempt.worker == worker);
    awarded.then(|| JobEvent::Report {
        attempt: report.attempt.0,
        number: report.number,
        worker,
        progress: convert::progress(&report.progress),
    })
}

/// Whether a reader of the state wants to know: not for progress, which reports tell.
fn differs(told: &view::JobView, now: &view::JobView) -> bool {
    let end = |job: &view::JobView| job.attempts.last().and_then(|attempt| attempt.ended_at);
    told.state != now.state
        || told.cancel_requested != now.cancel_requested
        || told.paused_at != now.paused_at
        || told.attempts.len() != now.attempts.len()
        || end(told) != end(now)
        || told.waiting.as_ref().map(|it| &it.why) != now.waiting.as_ref().map(|it| &it.why)
}
