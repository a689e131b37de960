//! `cyxwiz node run --record FILE`: the peer's life on disk, to be played again by
//! `cyxwiz-sim replay`. What is in it, and that the key is not, is `cyxwiz_protocol::recording`'s.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use cyxwiz_protocol::{Config, Effects, Input, Instant, PeerId, recording::Recorder};

/// A recording that cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("{0} exists: a recording never replaces a file; name another")]
    Exists(PathBuf),
    #[error("cannot write the recording {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A recording that goes on.
#[derive(Debug)]
pub struct Tape {
    path: PathBuf,
    /// None once it could not be written: the node goes on without.
    file: Option<File>,
    recorder: Recorder,
}

impl Tape {
    /// Begins the recording of a peer that is about to be opened with all of this. The file is
    /// readable by its owner alone: it holds what the peer was told.
    pub fn begin(
        path: &Path,
        config: &Config,
        peer: PeerId,
        records: &[(Vec<u8>, Vec<u8>)],
        now: Instant,
    ) -> Result<Self, RecordingError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                return RecordingError::Exists(path.to_owned());
            }
            RecordingError::Io { path: path.to_owned(), source }
        })?;
        let records = records.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        let recorder = Recorder::begin(config, peer, records, now);
        let mut tape = Self { path: path.to_owned(), file: Some(file), recorder };
        tape.write();
        Ok(tape)
    }

    /// The peer was opened, and did this first.
    pub fn opened(&mut self, first: &Effects) {
        self.recorder.opened(first);
        self.write();
    }

    /// The peer is about to handle `input`: on file before it does.
    pub fn before(&mut self, now: Instant, input: &Input) {
        self.recorder.before(now, input);
        self.write();
    }

    /// This is what it did.
    pub fn after(&mut self, effects: &Effects) {
        self.recorder.after(effects);
    }

    fn write(&mut self) {
        let bytes = self.recorder.take();
        let Some(file) = &mut self.file else { return };
        if let Err(error) = file.write_all(&bytes) {
            tracing::warn!(path = %self.path.display(), %error, "the recording ends here");
            self.file = None;
        }
    }
}
