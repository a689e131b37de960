//! The bytes of an input: a tag for its kind, then its parts. Frames stay as they came.

use crate::{
    JobId, PeerId, Run,
    charter::Founding,
    codec::{DecodeError, decode, encode},
    effects::{Collecting, Command, CommandId, Input, TaskEvent},
    message::{query::Question, submission::Refusal},
    report::{Checkpoint, Ending, Progress},
    spec::{FileRef, JobSpec, Wish},
};

/// What is not a frame is shorter than this.
const PART_BYTES: usize = crate::limits::FRAME_BYTES;

/// An input's bytes do not say what they should.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("there is no kind {0} of inputs in this version")]
    Kind(u8),
    #[error("it ends too soon")]
    Short,
    #[error(transparent)]
    Part(#[from] DecodeError),
}

/// The tag and the bytes of an input; [`decode_input`] is the other way.
pub(super) fn encode_input(input: &Input) -> (u8, Vec<u8>) {
    match input {
        Input::Frame { from, bytes } => (1, [&from.0, bytes.as_slice()].concat()),
        Input::Gossip { from, bytes } => (2, [&from.0, bytes.as_slice()].concat()),
        Input::Connected(peer) => (3, peer.0.to_vec()),
        Input::Disconnected(peer) => (4, peer.0.to_vec()),
        Input::Flushed { batch } => (5, encode(batch)),
        Input::DiskFull(full) => (6, encode(full)),
        Input::Timeout => (7, Vec::new()),
        Input::Command { id: CommandId(id), command } => match command {
            Command::Submit(spec) => (16, encode(&(id, spec))),
            Command::Cancel(job) => (17, encode(&(id, job))),
            Command::Ask(question) => (18, encode(&(id, question))),
            Command::Watch(job) => (19, encode(&(id, job))),
            Command::Unwatch(job) => (20, encode(&(id, job))),
            Command::Collect { job, files, from } => (21, encode(&(id, job, files, from))),
            Command::Leave => (22, encode(id)),
            Command::Found(founding) => (23, encode(&(id, founding))),
            Command::Order(job, wish) => (24, encode(&(id, job, wish))),
        },
        Input::Task(event) => match event {
            TaskEvent::Inspected { job, result } => (32, encode(&(job, result))),
            TaskEvent::Started { run } => (33, encode(run)),
            TaskEvent::Progress { run, progress } => (34, encode(&(run, progress))),
            TaskEvent::Ended { run, ending, compute_ms } => {
                (35, encode(&(run, ending, compute_ms)))
            }
            TaskEvent::Collected { job, why, result } => (36, encode(&(job, why, result))),
            TaskEvent::Checkpointed { run, checkpoint } => (37, encode(&(run, checkpoint))),
        },
    }
}

/// Reads what [`encode_input`] wrote.
pub(super) fn decode_input(tag: u8, body: &[u8]) -> Result<Input, InputError> {
    let peer =
        || Ok::<_, InputError>(PeerId(body.try_into().map_err(|_length| InputError::Short)?));
    let frame = || {
        let (from, bytes) = body.split_first_chunk().ok_or(InputError::Short)?;
        Ok::<_, InputError>((PeerId(*from), bytes.to_vec()))
    };
    let command = |(id, command)| Input::Command { id: CommandId(id), command };
    let job = || decode::<(u64, JobId)>(body, PART_BYTES);
    Ok(match tag {
        1 => frame().map(|(from, bytes)| Input::Frame { from, bytes })?,
        2 => frame().map(|(from, bytes)| Input::Gossip { from, bytes })?,
        3 => Input::Connected(peer()?),
        4 => Input::Disconnected(peer()?),
        5 => Input::Flushed { batch: decode(body, PART_BYTES)? },
        6 => Input::DiskFull(decode(body, PART_BYTES)?),
        7 if body.is_empty() => Input::Timeout,
        16 => {
            let (id, spec) = decode::<(u64, Box<JobSpec>)>(body, PART_BYTES)?;
            command((id, Command::Submit(spec)))
        }
        17 => job().map(|(id, job)| command((id, Command::Cancel(job))))?,
        18 => {
            let (id, question) = decode::<(u64, Question)>(body, PART_BYTES)?;
            command((id, Command::Ask(question)))
        }
        19 => job().map(|(id, job)| command((id, Command::Watch(job))))?,
        20 => job().map(|(id, job)| command((id, Command::Unwatch(job))))?,
        21 => {
            type Parts = (u64, JobId, Vec<FileRef>, Vec<PeerId>);
            let (id, job, files, from) = decode::<Parts>(body, PART_BYTES)?;
            command((id, Command::Collect { job, files, from }))
        }
        22 => command((decode(body, PART_BYTES)?, Command::Leave)),
        23 => {
            let (id, founding) = decode::<(u64, Box<Founding>)>(body, PART_BYTES)?;
            command((id, Command::Found(founding)))
        }
        24 => {
            let (id, job, wish) = decode::<(u64, JobId, Wish)>(body, PART_BYTES)?;
            command((id, Command::Order(job, wish)))
        }
        32 => {
            let (job, result) = decode::<(JobId, Result<(), Refusal>)>(body, PART_BYTES)?;
            Input::Task(TaskEvent::Inspected { job, result })
        }
        33 => Input::Task(TaskEvent::Started { run: decode(body, PART_BYTES)? }),
        34 => {
            let (run, progress) = decode::<(Run, Progress)>(body, PART_BYTES)?;
            Input::Task(TaskEvent::Progress { run, progress })
        }
        35 => {
            let (run, ending, compute_ms) = decode::<(Run, Ending, u64)>(body, PART_BYTES)?;
            Input::Task(TaskEvent::Ended { run, ending, compute_ms })
        }
        36 => {
            type Parts = (JobId, Collecting, Result<(), String>);
            let (job, why, result) = decode::<Parts>(body, PART_BYTES)?;
            Input::Task(TaskEvent::Collected { job, why, result })
        }
        37 => {
            let (run, checkpoint) = decode::<(Run, Checkpoint)>(body, PART_BYTES)?;
            Input::Task(TaskEvent::Checkpointed { run, checkpoint })
        }
        7.. | 0 => return Err(InputError::Kind(tag)),
    })
}
