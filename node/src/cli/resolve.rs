//! Which job a person means: a whole id, the beginning of one, the name of an own job, or `last`.

use cyxwiz_protocol::JobId;

use super::client::Client;
use super::error::{CommandError, Kind};
use crate::api::view::JobLineView;

/// The whole id of the job that `text` names.
pub(crate) fn job(client: &Client, text: &str) -> Result<String, CommandError> {
    if text == LAST {
        let newest = client.jobs_after(true, None)?.into_iter().next();
        return newest.map(|line| line.job).ok_or_else(|| {
            CommandError::new(Kind::NotFound, "this node has submitted no job yet")
                .hint("submit one with `cyxwiz job submit FILE`")
        });
    }
    if let Ok(id) = text.parse::<JobId>() {
        return Ok(id.to_string());
    }
    let unknown = match prefix(text) {
        Ok(prefix) => match among(&client.jobs(false)?, &prefix) {
            Err(error) if error.kind == Kind::NotFound => error,
            found => return found,
        },
        Err(error) => error,
    };
    named(&client.jobs(true)?, text)?.ok_or(unknown)
}

/// The own job of this name: of several the only one that has not ended.
fn named(own: &[JobLineView], name: &str) -> Result<Option<String>, CommandError> {
    let all: Vec<_> = own.iter().filter(|line| line.name == name).collect();
    let open: Vec<_> = all.iter().copied().filter(|line| !line.state.is_final()).collect();
    match (all.as_slice(), open.as_slice()) {
        ([], _) => Ok(None),
        ([line], _) | (_, [line]) => Ok(Some(line.job.clone())),
        (lines, _) => {
            let message = format!("{} jobs are called {name}:{}", lines.len(), shown(lines));
            Err(CommandError::usage(message).hint("give the id of the one that you mean"))
        }
    }
}

fn shown(lines: &[&JobLineView]) -> String {
    let named = |line: &&JobLineView| format!("\n  {}  {}", line.job, line.name);
    let shown: String = lines.iter().take(MAX_SHOWN).map(named).collect();
    let rest = lines.len().saturating_sub(MAX_SHOWN);
    if rest > 0 { format!("{shown}\n  and {rest} more") } else { shown }
}

/// The beginning of an id in the form that ids are printed in.
fn prefix(text: &str) -> Result<String, CommandError> {
    let fits = text.chars().all(|digit| digit.is_ascii_hexdigit() || digit == '-');
    match (fits, text.chars().count()) {
        (true, 4..) => Ok(text.to_ascii_lowercase()),
        (true, _) => Err(CommandError::usage(format!("'{text}' is too short for a job id"))
            .hint("give four characters of it or more, or `last` for the newest job")),
        (false, _) => Err(CommandError::usage(format!(
            "'{text}' is no job id, and no job of this node has that name"
        ))
        .hint("`cyxwiz job list` shows ids and names; `last` is the newest job")),
    }
}

fn among(jobs: &[JobLineView], prefix: &str) -> Result<String, CommandError> {
    let matching: Vec<_> = jobs.iter().filter(|line| line.job.starts_with(prefix)).collect();
    match matching.as_slice() {
        [] => Err(CommandError::new(Kind::NotFound, format!("no job's id begins with {prefix}"))
            .hint("`cyxwiz job list --all` shows the jobs of the network")),
        [line] => Ok(line.job.clone()),
        lines => {
            let message = format!("{} jobs begin with {prefix}:{}", lines.len(), shown(lines));
            Err(CommandError::usage(message).hint("give more of the id"))
        }
    }
}

const LAST: &str = "last";
const MAX_SHOWN: usize = 8;
