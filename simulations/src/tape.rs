//! Records one host: a tape for each of its lives, as a node with `--record` writes it.

use cyxwiz_protocol::{Config, Effects, Input, Instant, PeerId, recording::Recorder};

use crate::{
    chance::{Purpose, secret},
    observe::Recorded,
    queue::HostId,
};

#[derive(Debug)]
pub(crate) struct Tape {
    host: HostId,
    lives: Vec<Vec<u8>>,
    recorder: Option<Recorder>,
}

impl Tape {
    pub(crate) const fn of(host: HostId) -> Self {
        Self { host, lives: Vec::new(), recorder: None }
    }

    /// A life begins; what is left of the one before is kept.
    pub(crate) fn begin(
        &mut self,
        config: &Config,
        peer: PeerId,
        records: &[(Vec<u8>, Vec<u8>)],
        now: Instant,
    ) {
        self.end();
        let records = records.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        self.recorder = Some(Recorder::begin(config, peer, records, now));
    }

    pub(crate) fn opened(&mut self, first: &Effects) {
        if let Some(recorder) = &mut self.recorder {
            recorder.opened(first);
        }
    }

    pub(crate) fn before(&mut self, now: Instant, input: &Input) {
        if let Some(recorder) = &mut self.recorder {
            recorder.before(now, input);
        }
    }

    pub(crate) fn after(&mut self, effects: &Effects) {
        if let Some(recorder) = &mut self.recorder {
            recorder.after(effects);
        }
    }

    pub(crate) fn finish(mut self, seed: u64) -> Recorded {
        self.end();
        let key = secret(seed, Purpose::Keys, u64::from(self.host.0));
        Recorded { lives: self.lives, key }
    }

    fn end(&mut self) {
        if let Some(mut recorder) = self.recorder.take() {
            self.lives.push(recorder.take());
        }
    }
}
