//! Jobs over the local API: hand in, list, show, cancel, pause, resume, fetch.

use std::{collections::BTreeMap, path::PathBuf};

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State, rejection::JsonRejection},
    response::{IntoResponse, Response},
};
use cyxwiz_protocol::{
    ArtifactId, CellId, Command, JobId, PeerId, Reply,
    message::query::{Answer, JobDetail, Question},
    report::Ending,
    spec::{Estimate, FileRef, JobKind, JobSpec, Name, Priority, Wish},
};
use serde::Deserialize;

use super::{Api, Failure, convert, view};
use crate::{
    estimate::estimate,
    job_file::JobFile,
    tasks::{InspectError, fits, process_memory},
};
use view::{ErrorKind, JobPhase};

/// `POST /v1/jobs`
pub(super) async fn submit(
    State(api): State<Api>,
    body: Result<Json<view::SubmitRequest>, JsonRejection>,
) -> Result<Json<view::SubmitAnswer>, Failure> {
    let Json(request) = body.map_err(|error| Failure::new(ErrorKind::Usage, error.body_text()))?;
    request.job.check().map_err(|error| wrong(&error))?;
    let job = request.job.job().map_err(|error| wrong(&error))?;
    job.validate().map_err(|error| wrong(&error))?;
    let inputs = import(&api, &request.job, &request.files).await?;
    let text = job.to_json();
    let parts = api.parts();
    // What it needs of a disk is settled when it is known what the rows take.
    let needs = request.job.requirements(0).map_err(|error| wrong(&error))?;
    let memory = process_memory(&needs);
    let plan = parts.inspector.check(&text, &inputs, memory, &parts.transfers).await;
    let plan = plan.map_err(|error| match error {
        InspectError::Workload(text) => Failure::new(ErrorKind::Usage, text),
        InspectError::Files(text) => Failure::new(ErrorKind::Internal, text),
    })?;
    let estimate = estimate(&plan, &job);
    let id = request.id.as_deref().map_or_else(new_job_id, job_id)?;
    let spec = spec(id, &request.job, text, inputs, plan.rows_bytes, estimate)?;
    let fits = fits(&plan, &job, &spec.requirements, &spec.limits);
    fits.map_err(|text| Failure::new(ErrorKind::Usage, text))?;
    let reply = api.confirmed(id, Command::Submit(Box::new(spec))).await;
    let reply = reply.map_err(|failure| kept(failure, id))?;
    let Reply::Accepted { job } = reply else { return Err(Failure::unexpected(reply)) };
    // The job is accepted, whatever becomes of this question.
    let told = detail(&api, job).await.and_then(|detail| view_of(&api, &detail));
    let estimate = told.map_or(convert::estimate(estimate, None), |job| job.estimate);
    Ok(Json(view::SubmitAnswer {
        job: job.to_string(),
        kind: request.job.kind,
        parameters: plan.parameters,
        trainable: plan.trainable,
        rows: plan.rows,
        train_rows: plan.train_rows,
        estimate,
    }))
}

/// A job that nobody took yet is on this node's disk.
fn kept(failure: Failure, job: JobId) -> Failure {
    if !matches!(failure.0.kind, ErrorKind::Unreachable | ErrorKind::Unconfirmed) {
        return failure;
    }
    failure.hint(format!(
        "job {job} is kept by this node and handed in as long as it runs; see `cyxwiz node status`"
    ))
}

/// Makes artifacts of the files that the job names.
async fn import(
    api: &Api,
    job: &JobFile,
    files: &BTreeMap<String, PathBuf>,
) -> Result<Vec<FileRef>, Failure> {
    let tables = job.tables();
    let mut inputs = Vec::new();
    for name in tables.input_names() {
        let plain: Name = name
            .parse()
            .map_err(|error| Failure::new(ErrorKind::Usage, format!("data file: {error}")))?;
        let path = files.get(name).cloned().ok_or_else(|| {
            Failure::new(ErrorKind::Usage, format!("the job names {name}, which was not given"))
        })?;
        let artifacts = api.parts().transfers.artifacts().clone();
        let imported = tokio::task::spawn_blocking(move || artifacts.import_file(&path))
            .await
            .map_err(|panic| Failure::internal(&panic))?
            .map_err(|error| {
                let text = format!("the data file {name} cannot be used: {}", causes(&error));
                Failure::new(ErrorKind::Usage, text)
                    .hint("data files lie beside the job file, or in the folder that --files names")
            })?;
        let artifact = ArtifactId(imported.id);
        inputs.push(FileRef { name: plain, artifact, size: imported.size });
    }
    Ok(inputs)
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn wrong(error: &dyn std::error::Error) -> Failure {
    Failure::new(ErrorKind::Usage, error.to_string())
}

fn new_job_id() -> Result<JobId, Failure> {
    view::SubmitRequest::new_id()
        .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))
}

fn spec(
    id: JobId,
    job: &JobFile,
    workload: String,
    inputs: Vec<FileRef>,
    rows_bytes: u64,
    estimate: Estimate,
) -> Result<JobSpec, Failure> {
    Ok(JobSpec {
        id,
        cell: CellId::default(),
        name: job.name.parse().map_err(|error| wrong(&error))?,
        kind: kind(job.kind),
        workload,
        inputs,
        requirements: job.requirements(rows_bytes).map_err(|error| wrong(&error))?,
        priority: Priority(job.priority),
        limits: job.limits().map_err(|error| wrong(&error))?,
        estimate,
    })
}

/// The kind by which workers choose.
const fn kind(kind: cyxwiz_trainer::JobKind) -> JobKind {
    match kind {
        cyxwiz_trainer::JobKind::Train => JobKind::Train,
        cyxwiz_trainer::JobKind::FineTune => JobKind::FineTune,
        cyxwiz_trainer::JobKind::Evaluate => JobKind::Evaluate,
        cyxwiz_trainer::JobKind::Infer => JobKind::Infer,
        cyxwiz_trainer::JobKind::Extract => JobKind::Extract,
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    mine: bool,
    after: Option<String>,
}

/// `GET /v1/jobs`
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<view::JobLineView>>, Failure> {
    let me = api.parts().id;
    let after = query.after.as_deref().map(job_id).transpose()?;
    let submitter = query.mine.then_some(me);
    match api.ask(Question::Jobs { submitter, after }).await? {
        Answer::Jobs(lines) => {
            Ok(Json(lines.iter().map(|line| convert::job_line(line, me)).collect()))
        }
        Answer::Job(_) | Answer::Workers(_) => Err(Failure::confused()),
    }
}

/// `GET /v1/jobs/{job}`
pub(super) async fn show(
    State(api): State<Api>,
    Path(job): Path<String>,
) -> Result<Json<view::JobView>, Failure> {
    let detail = detail(&api, job_id(&job)?).await?;
    Ok(Json(view_of(&api, &detail)?))
}

/// `POST /v1/jobs/{job}/cancel`
pub(super) async fn cancel(
    State(api): State<Api>,
    Path(job): Path<String>,
) -> Result<Json<view::JobView>, Failure> {
    let id = job_id(&job)?;
    let reply = api.confirmed(id, Command::Cancel(id)).await?;
    let Reply::CancelNoted { .. } = reply else { return Err(Failure::unexpected(reply)) };
    let detail = detail(&api, id).await?;
    Ok(Json(view_of(&api, &detail)?))
}

/// `POST /v1/jobs/{job}/pause`
pub(super) async fn pause(
    State(api): State<Api>,
    Path(job): Path<String>,
) -> Result<Json<view::OrderView>, Failure> {
    order(&api, &job, Wish::Pause).await
}

/// `POST /v1/jobs/{job}/resume`
pub(super) async fn resume(
    State(api): State<Api>,
    Path(job): Path<String>,
) -> Result<Json<view::OrderView>, Failure> {
    order(&api, &job, Wish::Resume).await
}

/// Answers when the order is on the disks of a majority of the committee.
async fn order(api: &Api, job: &str, wish: Wish) -> Result<Json<view::OrderView>, Failure> {
    let id = job_id(job)?;
    let reply = api.confirmed(id, Command::Order(id, wish)).await?;
    let Reply::Order { result: Ok(changed), .. } = reply else {
        return Err(Failure::unexpected(reply));
    };
    let detail = detail(api, id).await?;
    Ok(Json(view::OrderView { changed, job: view_of(api, &detail)? }))
}

/// `POST /v1/jobs/{job}/collect`: the result's files are on this node when it answers.
pub(super) async fn collect(
    State(api): State<Api>,
    Path(job): Path<String>,
) -> Result<Json<view::ResultView>, Failure> {
    let id = job_id(&job)?;
    let detail = detail(&api, id).await?;
    let job = view_of(&api, &detail)?;
    let Some(result) = job.result else {
        return Err(no_result(&job));
    };
    let network = api.parts().membership.network.id();
    let Some((files, worker)) = outputs(&detail, network) else {
        return Err(Failure::confused());
    };
    let leader = api.status().await?.committee.map(|record| record.ballot.leader);
    let from: Vec<PeerId> = leader.into_iter().chain([worker]).collect();
    let reply = api.command(Command::Collect { job: id, files, from }).await?;
    let Reply::Collected = reply else { return Err(Failure::unexpected(reply)) };
    Ok(Json(result))
}

fn outputs(
    detail: &JobDetail,
    network: cyxwiz_protocol::NetworkId,
) -> Option<(Vec<FileRef>, PeerId)> {
    let cyxwiz_protocol::job::JobState::Completed { receipt, .. } = &detail.record.state else {
        return None;
    };
    let receipt = receipt.verify(network).ok()?;
    match &receipt.ending {
        Ending::Succeeded(success) => Some((success.outputs.clone(), receipt.author())),
        Ending::Failed { .. } | Ending::Cancelled | Ending::Paused { .. } => None,
    }
}

fn no_result(job: &view::JobView) -> Failure {
    let id = &job.job;
    match job.state {
        JobPhase::Paused => Failure::new(ErrorKind::NotFinished, format!("job {id} is paused"))
            .hint(format!("let it go on with `cyxwiz job resume {id}`")),
        JobPhase::Queued | JobPhase::Running | JobPhase::Pausing => {
            Failure::new(ErrorKind::NotFinished, format!("job {id} has not ended yet"))
                .hint(format!("follow it with `cyxwiz job watch {id}`"))
        }
        JobPhase::Failed => {
            let why = job.failure.as_ref().map_or("", |failure| failure.message.as_str());
            Failure::new(ErrorKind::NotCompleted, format!("job {id} failed: {why}"))
                .hint(format!("`cyxwiz job why {id}` tells every attempt"))
        }
        JobPhase::Cancelled => {
            Failure::new(ErrorKind::NotCompleted, format!("job {id} was cancelled"))
        }
        JobPhase::Completed => Failure::new(
            ErrorKind::Refused,
            format!("the receipt of job {id} is not one that its worker signed"),
        ),
    }
}

/// `GET /v1/artifacts/{artifact}`: bytes that are on this node.
pub(super) async fn artifact(
    State(api): State<Api>,
    Path(artifact): Path<String>,
) -> Result<Response, Failure> {
    let id: ArtifactId = artifact.parse().map_err(|error: cyxwiz_protocol::ParseIdError| {
        Failure::new(ErrorKind::Usage, error.to_string())
    })?;
    let path = api.parts().transfers.artifacts().path_of(id.0);
    let path = path.ok_or_else(|| Failure::not_found("the artifact"))?;
    let file = tokio::fs::File::open(&path).await.map_err(|error| Failure::internal(&error))?;
    let stream = tokio_util::io::ReaderStream::new(file);
    Ok(Body::from_stream(stream).into_response())
}

pub(super) fn job_id(text: &str) -> Result<JobId, Failure> {
    text.parse().map_err(|error: cyxwiz_protocol::ParseIdError| {
        Failure::new(ErrorKind::Usage, error.to_string())
            .hint("`cyxwiz job list` shows the ids of your jobs")
    })
}

/// Everything that the leader knows of a job.
pub(super) async fn detail(api: &Api, job: JobId) -> Result<Box<JobDetail>, Failure> {
    match api.ask(Question::Job(job)).await? {
        Answer::Job(Some(detail)) => Ok(detail),
        Answer::Job(None) => Err(Failure::not_found(&format!("job {job}"))
            .hint("`cyxwiz job list` shows the jobs that the coordinator knows")),
        Answer::Jobs(_) | Answer::Workers(_) => Err(Failure::confused()),
    }
}

pub(super) fn view_of(api: &Api, detail: &JobDetail) -> Result<view::JobView, Failure> {
    let parts = api.parts();
    convert::job(detail, parts.membership.network.id(), parts.id).ok_or_else(|| {
        Failure::new(ErrorKind::Refused, "the coordinator's answer is not what was signed")
    })
}
