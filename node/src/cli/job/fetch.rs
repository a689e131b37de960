//! `cyxwiz job results`: brings the files of a completed job into a folder. What a worker sends is
//! a stranger's: names are checked, every file is measured and hashed, and a file that can be seen
//! is whole.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ResultsArgs;
use super::outcome::outcome;
use crate::api::view::{FileView, JobView};
use crate::cli::client::Client;
use crate::cli::error::CommandError;
use crate::cli::quantity::{bytes, short_job};
use crate::cli::{Context, resolve};

/// What `--output json` prints.
#[derive(Debug, serde::Serialize)]
struct Fetched {
    job: String,
    folder: PathBuf,
    files: Vec<PathBuf>,
}

pub(super) fn results(context: &Context, args: &ResultsArgs) -> Result<(), CommandError> {
    let reached = context.reach(&args.job.reach)?;
    let client = &reached.client;
    let job = client.job(&resolve::job(client, &args.job.job)?)?;
    outcome(&job)?;
    let folder = match &args.out {
        Some(folder) => folder.clone(),
        None => PathBuf::from(format!("results-{}-{}", job.name, short_job(&job.job))),
    };
    if let Some(result) = &job.result {
        check(&result.files, &folder, args.force)?;
    }
    context.output.say(&format!("fetching the files of {} from their worker", job.name));
    let result = client.collect(&job.job)?;
    save(client, &result.files, &folder, args.force)?;
    report(context, &job, &result.files, folder)
}

/// Writes files that are on the node into `folder`, each checked against its SHA-256.
pub(crate) fn save(
    client: &Client,
    files: &[FileView],
    folder: &Path,
    force: bool,
) -> Result<(), CommandError> {
    check(files, folder, force)?;
    fs::create_dir_all(folder).map_err(|source| {
        CommandError::failure(format!("cannot make the folder {}", folder.display()))
            .because(&source)
            .hint("name another one with --out DIR")
    })?;
    for file in files {
        fetch(client, file, folder, force)?;
    }
    Ok(())
}

fn report(
    context: &Context,
    job: &JobView,
    files: &[FileView],
    folder: PathBuf,
) -> Result<(), CommandError> {
    let paths: Vec<_> = files.iter().map(|file| folder.join(&file.name)).collect();
    let model = paths.iter().find(|path| path.extension().is_some_and(|it| it == "safetensors"));
    let snippet = model.map(|path| snippet(path));
    let fetched = Fetched { job: job.job.clone(), folder, files: paths };
    context.output.show(&fetched, || {
        let lines: Vec<_> = fetched.files.iter().map(|path| path.display().to_string()).collect();
        lines.join("\n")
    })?;
    let total = files.iter().map(|file| file.size).sum();
    context.output.say(&format!("\n{}, SHA-256 of each as signed", bytes(total)));
    if let Some(snippet) = snippet {
        context.output.say(&format!("look inside: {snippet}"));
    }
    Ok(())
}

/// Refuses names that lead elsewhere, and files that are there, before anything is fetched.
fn check(files: &[FileView], folder: &Path, force: bool) -> Result<(), CommandError> {
    for file in files {
        let mut parts = Path::new(&file.name).components();
        let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None)
            if name == file.name.as_str());
        if !plain || file.name.chars().any(char::is_control) {
            let message = format!("the result has a file with the unsafe name {:?}", file.name);
            return Err(CommandError::failure(message).hint("nothing was written"));
        }
        let path = folder.join(&file.name);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ if force => {}
            _ => return Err(taken(&path)),
        }
    }
    Ok(())
}

fn taken(path: &Path) -> CommandError {
    CommandError::failure(format!("{} is there already", path.display()))
        .hint("name another folder with --out DIR, or replace the file with --force")
}

/// Brings one file; it appears under its name when it is whole and what was signed.
fn fetch(client: &Client, file: &FileView, folder: &Path, force: bool) -> Result<(), CommandError> {
    let path = folder.join(&file.name);
    let cannot = |source: &io::Error| {
        CommandError::failure(format!("cannot write {}", path.display())).because(source)
    };
    let mut source = client.artifact(&file.sha256)?.take(file.size.saturating_add(1));
    let mut target = tempfile::Builder::new()
        .prefix(".cyxwiz-")
        .tempfile_in(folder)
        .map_err(|error| cannot(&error))?;
    let (mut hasher, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = source.read(&mut buffer).map_err(|source| {
            CommandError::failure(format!("the node stopped sending {}", file.name))
                .because(&source)
                .hint("try again")
        })?;
        if read == 0 {
            break;
        }
        size += read as u64;
        hasher.update(&buffer[..read]);
        target.write_all(&buffer[..read]).map_err(|error| cannot(&error))?;
    }
    if size != file.size || hex::encode(hasher.finalize()) != file.sha256 {
        let message = format!("what came for {} is not the file that its worker signed", file.name);
        return Err(CommandError::failure(message).hint("it was thrown away; try again"));
    }
    readable(&target).map_err(|error| cannot(&error))?;
    target.as_file().sync_all().map_err(|error| cannot(&error))?;
    let kept = match force {
        true => target.persist(&path),
        false => target.persist_noclobber(&path),
    };
    kept.map(drop).map_err(|error| {
        let exists = error.error.kind() == io::ErrorKind::AlreadyExists;
        if exists { taken(&path) } else { cannot(&error.error) }
    })
}

/// Temporary files are for their owner alone; results are files like any other.
#[cfg(unix)]
fn readable(file: &tempfile::NamedTempFile) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_file: &tempfile::NamedTempFile) -> io::Result<()> {
    Ok(())
}

/// A line for a shell that opens a model in Python.
pub(crate) fn snippet(path: &Path) -> String {
    let text = path.display().to_string();
    let simple = |c: char| c.is_alphanumeric() || "/._-+, ".contains(c);
    if text.chars().all(simple) {
        return format!(
            "python3 -c \"from safetensors.numpy import load_file; \
             print({{k: v.shape for k, v in load_file('{text}').items()}})\""
        );
    }
    let quoted = text.replace('\'', r"'\''");
    format!(
        "python3 -c \"import sys; from safetensors.numpy import load_file; \
         print({{k: v.shape for k, v in load_file(sys.argv[1]).items()}})\" '{quoted}'"
    )
}

const BUFFER_BYTES: usize = 64 * 1_024;
