//! The trace of a run, as one hash: every input, whose it was, and the shape of what followed.
//! Equal seeds must give equal traces.

use cyxwiz_protocol::{Effects, Input, Instant, Send};

use crate::queue::HostId;

#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: blake3::Hasher,
    inputs: u64,
}

impl Trace {
    /// Notes one input, `kind` and `bytes` of it, and its effects.
    pub(crate) fn note(&mut self, at: Instant, host: HostId, input: Shape, effects: &Effects) {
        self.inputs += 1;
        let written = effects.writes.iter().map(|it| it.value.as_ref().map_or(0, Vec::len));
        let sent = effects.sends.iter().map(|send| match send {
            Send::Direct { frame, .. } | Send::Publish { frame, .. } => frame.len(),
            Send::Subscribe(_) | Send::Unsubscribe(_) | Send::Ban { .. } => 0,
        });
        let parts = [
            at.0,
            u64::from(host.0),
            input.kind,
            input.bytes as u64,
            effects.writes.len() as u64,
            written.sum::<usize>() as u64,
            effects.sends.len() as u64,
            sent.sum::<usize>() as u64,
            effects.tasks.len() as u64,
            effects.events.len() as u64,
        ];
        let mut bytes = [0; 80];
        for (slot, part) in bytes.chunks_exact_mut(8).zip(parts) {
            slot.copy_from_slice(&part.to_le_bytes());
        }
        self.hasher.update(&bytes);
        // The content as well as the size: a frame differs when a single draw does.
        for send in &effects.sends {
            if let Send::Direct { frame, .. } | Send::Publish { frame, .. } = send {
                self.hasher.update(frame);
            }
        }
    }

    pub(crate) const fn inputs(&self) -> u64 {
        self.inputs
    }

    pub(crate) fn hash(&self) -> String {
        hex::encode(&self.hasher.finalize().as_bytes()[..16])
    }
}

/// What the trace tells of an input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    kind: u64,
    bytes: usize,
}

impl Shape {
    pub(crate) fn of(input: &Input) -> Self {
        let (kind, bytes) = match input {
            Input::Frame { bytes, .. } => (1, bytes.len()),
            Input::Gossip { bytes, .. } => (2, bytes.len()),
            Input::Connected(_) => (3, 0),
            Input::Disconnected(_) => (4, 0),
            Input::Command { .. } => (5, 0),
            Input::Task(_) => (6, 0),
            Input::Flushed { .. } => (7, 0),
            Input::DiskFull(_) => (8, 0),
            Input::Timeout => (9, 0),
        };
        Self { kind, bytes }
    }

    /// The first breath of a life.
    pub(crate) const fn start() -> Self {
        Self { kind: 0, bytes: 0 }
    }
}
