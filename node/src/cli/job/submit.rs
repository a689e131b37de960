//! `cyxwiz job submit`: reads the job file, finds the data it names, hands both to the node.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{SubmitArgs, look};
use crate::api::view::{EstimateView, SubmitAnswer, SubmitRequest};
use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::output::{Format, Stream, write_line};
use crate::cli::quantity::{coarse, count, duration, of};
use crate::cli::watch::Show;
use crate::job_file::{JobFile, WithLayers};
use crate::model_file::MAX_BYTES;
use cyxwiz_trainer::JobKind;

pub(super) fn submit(context: &Context, args: &SubmitArgs) -> Result<(), CommandError> {
    let (request, notes) = request(&args.file, args.files.as_deref())?;
    for note in notes {
        context.output.say(&format!("note: {note}"));
    }
    let name = request.job.name.clone();
    let reached = context.reach(&args.reach)?;
    let answer = reached.client.submit(&request)?;
    let memory = u64::from(answer.estimate.memory_mb) * 1_000_000;
    if let Some(note) = request.job.memory_note(memory) {
        context.output.say(&format!("note: {note}"));
    }
    if args.id_only {
        write_line(&answer.job)?;
    } else {
        let stays = args.follow || args.wait;
        announce(context, &name, &answer, stays)?;
    }
    let show = match (args.follow, args.id_only) {
        (true, true) => Show::Course(Stream::Stderr),
        (true, false) => Show::Course(Stream::Stdout),
        (false, _) if args.wait => Show::End,
        (false, _) => return Ok(()),
    };
    look::until_end(context, &reached.client, &answer.job, show, args.id_only)
}

fn announce(
    context: &Context,
    name: &str,
    answer: &SubmitAnswer,
    stays: bool,
) -> Result<(), CommandError> {
    let output = &context.output;
    // With --output json, the document of a command that stays is the job at its end.
    if stays && output.format == Format::Json {
        return Ok(());
    }
    let job = &answer.job;
    output.show(answer, || {
        let takes = takes(&answer.estimate);
        format!("submitted {name} as {job}: {}, {takes}", work(answer))
    })?;
    if !stays {
        output.say(&format!("next: cyxwiz job watch {job}"));
    }
    Ok(())
}

/// `about 120 MB and 4 min`.
pub(super) fn takes(estimate: &EstimateView) -> String {
    let memory = format!("about {} MB", estimate.memory_mb);
    match estimate.duration_ms {
        None => memory,
        Some(short @ 0..1_000) => format!("{memory} and {}", duration(short.max(1))),
        Some(ms) => format!("{memory} and {}", coarse(ms)),
    }
}

/// What is going to be done.
fn work(answer: &SubmitAnswer) -> String {
    let (parameters, rows) = (count(answer.parameters), of(answer.rows, "row"));
    let training = of(answer.train_rows, "training row");
    match answer.kind {
        JobKind::Train => format!("{parameters} parameters, {training}"),
        JobKind::FineTune => {
            let trainable = count(answer.trainable);
            format!("{parameters} parameters, {trainable} of them learn, {training}")
        }
        JobKind::Evaluate => format!("{rows} to measure a model of {parameters} parameters on"),
        JobKind::Infer => format!("{rows} to predict by a model of {parameters} parameters"),
        JobKind::Extract => {
            format!("features of {rows} to take from a model, by {parameters} parameters")
        }
    }
}

/// Reads and checks all that can be checked here; with what a graph says besides its layers.
fn request(
    file: &Path,
    files: Option<&Path>,
) -> Result<(SubmitRequest, Vec<String>), CommandError> {
    let (text, shown) = read(file, "job file")?;
    let named = files.filter(|folder| !folder.as_os_str().is_empty());
    let folder = std::path::absolute(named.unwrap_or(folder_of(file)))
        .map_err(|source| CommandError::failure("the current folder is gone").because(&source))?;
    let WithLayers { job, notes } =
        JobFile::parse_in(&text, folder_of(file)).map_err(|source| {
            CommandError::usage(format!("cannot use the job file {shown}")).because(&source)
        })?;
    let files = job.files(&folder);
    check_files(&files, &shown)?;
    let request = SubmitRequest::new(job, files)
        .map_err(|source| CommandError::failure("no id for the job").because(&source))?;
    Ok((request, notes))
}

/// Where the files lie that a file names: beside it, or in the current folder for `-`.
pub(in crate::cli) fn folder_of(file: &Path) -> &Path {
    let beside = if is_stdin(file) { None } else { file.parent() };
    beside.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The text of a file of this kind, or of standard input where it is called `-`; and what to call
/// it.
pub(in crate::cli) fn read(file: &Path, kind: &str) -> Result<(String, String), CommandError> {
    let mut text = String::new();
    let (shown, read) = if is_stdin(file) {
        let read = io::stdin().lock().take(MAX_BYTES + 1).read_to_string(&mut text);
        ("standard input".to_owned(), read)
    } else {
        let opened = File::open(file);
        let read = opened.and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
        (file.display().to_string(), read)
    };
    let size = read.map_err(|source| {
        CommandError::usage(format!("cannot read the {kind} {shown}")).because(&source)
    })?;
    if size as u64 > MAX_BYTES {
        let limit = MAX_BYTES / 1_024;
        let message = format!("the {kind} {shown} has more than {limit} KiB");
        return Err(CommandError::usage(message)
            .hint("a job file names its data; the data themselves lie in files beside it"));
    }
    Ok((text, shown))
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn check_files(files: &BTreeMap<String, PathBuf>, shown: &str) -> Result<(), CommandError> {
    for (name, path) in files {
        let file = std::fs::metadata(path).map_err(|source| {
            let message = format!(
                "{shown} names the data file {name}, but {} cannot be read",
                path.display()
            );
            CommandError::usage(message)
                .because(&source)
                .hint("say with --files DIR where the data files lie")
        })?;
        if !file.is_file() {
            let message =
                format!("{shown} names the data file {name}, but {} is not a file", path.display());
            return Err(
                CommandError::usage(message).hint("say with --files DIR where the data files lie")
            );
        }
    }
    Ok(())
}
