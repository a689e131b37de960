//! A recorded life, told in words: what came, what the peer did about it, and in the end the sums.

use std::{collections::BTreeMap, fmt};

use cyxwiz_protocol::{
    Event, Input, Instant, NetworkId, Send, Task, TaskEvent,
    effects::Effects,
    message::{Gossip, decode_gossip, decode_message},
    recording::{Damage, Difference, PlayError, Player, Recording},
};
use serde_json::{Value, json};

/// A peer that lives its recorded life again.
#[derive(Debug)]
pub struct Life<'a> {
    player: Player<'a>,
    network: NetworkId,
    sums: Sums,
    last: String,
    difference: Option<Difference>,
}

/// One input and what followed.
#[derive(Clone, Debug)]
pub struct Lived {
    number: u64,
    at: Instant,
    input: String,
    effects: Vec<String>,
    /// None where the recording does not say.
    same: Option<bool>,
}

/// What a life came to.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    inputs: BTreeMap<String, u64>,
    effects: BTreeMap<String, u64>,
    played: u64,
    verified: u64,
    until: Instant,
}

impl<'a> Life<'a> {
    /// Whose life it is.
    #[must_use]
    pub fn about(recording: &Recording<'_>) -> String {
        let roles = match recording.roles() {
            (true, true) => "coordinator and worker",
            (true, false) => "coordinator",
            (false, true) => "worker",
            (false, false) => "submitter",
        };
        format!(
            "peer {} ({roles}) of network {}, opened with {} records, recorded by version {}",
            recording.peer(),
            recording.network().name(),
            recording.records(),
            recording.software(),
        )
    }

    /// Opens the peer; `key` is the secret of its identity.
    pub fn begin(recording: Recording<'a>, key: [u8; 32]) -> Result<(Self, Lived), PlayError> {
        let network = recording.network().id();
        let identity = recording.network().identity(key);
        let (player, first) = recording.play(identity)?;
        let last = "its opening".to_owned();
        let mut sums = Sums::default();
        let effects = told(&first, network, &mut sums);
        let first = Lived {
            number: 0,
            at: Instant::START,
            input: "opening".to_owned(),
            effects,
            same: Some(true),
        };
        Ok((Self { player, network, sums, last, difference: None }, first))
    }

    /// The next input, up to `until`; none at the end.
    pub fn step(&mut self, until: Option<Instant>) -> Result<Option<Lived>, Damage> {
        if let (Some(until), Some(next)) = (until, self.player.next_at())
            && next > until
        {
            return Ok(None);
        }
        let (network, last, sums) = (self.network, &mut self.last, &mut self.sums);
        let mut input = String::new();
        let played = self.player.step(|number, at, what| {
            input = said(what, network);
            *last = format!("input {number} at {at}: {input}");
            let kind = input.split([' ', '(']).next().unwrap_or_default();
            *sums.inputs.entry(kind.to_owned()).or_default() += 1;
        })?;
        let Some(played) = played else { return Ok(None) };
        sums.played += 1;
        sums.until = played.at;
        let effects = told(&played.effects, network, sums);
        let same = played.compared.as_ref().map(Result::is_ok);
        sums.verified += u64::from(same == Some(true));
        if let Some(Err(difference)) = played.compared {
            self.difference.get_or_insert(difference);
        }
        Ok(Some(Lived { number: played.number, at: played.at, input, effects, same }))
    }

    /// The input that was played last, in words.
    #[must_use]
    pub fn last(&self) -> &str {
        &self.last
    }

    /// The first input whose effects were not the recorded ones.
    #[must_use]
    pub const fn difference(&self) -> Option<&Difference> {
        self.difference.as_ref()
    }

    /// What it came to so far.
    #[must_use]
    pub const fn sums(&self) -> &Sums {
        &self.sums
    }
}

impl fmt::Display for Lived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let note = if self.same == Some(false) { "  <- DIFFERS from the recording" } else { "" };
        write!(f, "{:>7} {:>12} {}{note}", self.number, self.at.to_string(), self.input)?;
        for effect in &self.effects {
            write!(f, "\n{:>22}-> {effect}", "")?;
        }
        Ok(())
    }
}

impl Lived {
    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "number": self.number,
            "at_us": self.at.0,
            "input": self.input,
            "effects": self.effects,
            "same": self.same,
        })
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { played, verified, until, .. } = self;
        writeln!(f, "{played} inputs until {until}, the effects of {verified} as recorded")?;
        for (title, counts) in [("inputs", &self.inputs), ("effects", &self.effects)] {
            write!(f, "{title}")?;
            for (what, count) in counts {
                write!(f, "\n  {what:<40}{count:>10}")?;
            }
            if title == "inputs" {
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

impl Sums {
    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "played": self.played,
            "verified": self.verified,
            "until_us": self.until.0,
            "inputs": self.inputs,
            "effects": self.effects,
        })
    }
}

/// An input in a few words, the kind first.
fn said(input: &Input, network: NetworkId) -> String {
    match input {
        Input::Frame { from, bytes } => {
            format!("frame {} from …{}", title(bytes, network), from.short())
        }
        Input::Gossip { from, bytes } => {
            format!("gossip {} from …{}", rumour(bytes, network), from.short())
        }
        Input::Connected(peer) => format!("connected …{}", peer.short()),
        Input::Disconnected(peer) => format!("disconnected …{}", peer.short()),
        Input::Command { id, command } => format!("command {}: {}", id.0, name(command)),
        Input::Task(event) => match event {
            TaskEvent::Inspected { job, .. } => format!("task of job {job} inspected"),
            TaskEvent::Started { run } => format!("task {run} started"),
            TaskEvent::Progress { run, .. } => format!("task {run} goes on"),
            TaskEvent::Ended { run, ending, .. } => format!("task {run} ended: {}", name(ending)),
            TaskEvent::Checkpointed { run, .. } => format!("task {run} left a checkpoint"),
            TaskEvent::Collected { job, .. } => format!("task of job {job} collected"),
        },
        Input::Flushed { batch } => format!("flushed batch {batch}"),
        Input::DiskFull(full) => format!("disk full: {full}"),
        Input::Timeout => "timeout".to_owned(),
    }
}

/// Effects in a few words each, and counted by kind.
fn told(effects: &Effects, network: NetworkId, sums: &mut Sums) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |kind: String, rest: String| {
        told.push(format!("{kind}{rest}"));
        *sums.effects.entry(kind).or_default() += 1;
    };
    if let Some(batch) = effects.batch {
        let bytes: usize =
            effects.writes.iter().map(|write| write.value.as_ref().map_or(0, Vec::len)).sum();
        let rest = format!(" batch {batch}: {} records, {bytes} bytes", effects.writes.len());
        tell("write".to_owned(), rest);
    }
    for send in &effects.sends {
        match send {
            Send::Direct { to, frame } => {
                let rest = format!(" to …{}, {} bytes", to.short(), frame.len());
                tell(format!("send {}", title(frame, network)), rest);
            }
            Send::Publish { topic, frame } => {
                let rest = format!(" on {topic}, {} bytes", frame.len());
                tell(format!("publish {}", rumour(frame, network)), rest);
            }
            Send::Subscribe(topic) => tell("subscribe".to_owned(), format!(" {topic}")),
            Send::Unsubscribe(topic) => tell("unsubscribe".to_owned(), format!(" {topic}")),
            Send::Ban { peer, why, .. } => {
                tell("ban".to_owned(), format!(" …{}: {why}", peer.short()));
            }
        }
    }
    for task in &effects.tasks {
        let rest = match task {
            Task::Inspect { spec, .. } => format!(" job {}", spec.id),
            Task::Run { run, .. } | Task::Stop { run, .. } | Task::Discard { run } => {
                format!(" {run}")
            }
            Task::Collect { job, .. } => format!(" job {job}"),
        };
        tell(format!("task {}", name(task)), rest);
    }
    for event in &effects.events {
        let rest = match event {
            Event::Reply { reply, .. } => format!(": {}", name(reply)),
            Event::Ended { job } | Event::Forgotten { job } => format!(" job {job}"),
            Event::Awarded { run, worker, .. } => format!(" {run} to …{}", worker.short()),
            Event::RunTaken { run } => format!(" {run}"),
            Event::Committee { leader } => format!(" led by …{}", leader.short()),
            Event::Announced { jobs } => format!(" {} jobs", jobs.len()),
            Event::Report { .. } | Event::ClockDiffers { .. } => String::new(),
        };
        tell(format!("event {}", name(event)), rest);
    }
    told
}

/// The variant of a message, and of what is in it: `Submission(Submit)`.
fn title(frame: &[u8], network: NetworkId) -> String {
    let Ok(message) = decode_message(network, frame) else {
        return "that cannot be read".to_owned();
    };
    let text = format!("{message:?}");
    match text.split_once('(') {
        Some((outer, inner)) => format!("{outer}/{}", head(inner)),
        None => head(&text).to_owned(),
    }
}

fn rumour(frame: &[u8], network: NetworkId) -> &'static str {
    match decode_gossip(network, frame) {
        Ok(Gossip::Announcement(_)) => "Announcement",
        Ok(Gossip::Report(_)) => "Report",
        Ok(Gossip::Committee(_)) => "Committee",
        Err(_) => "that cannot be read",
    }
}

/// The name of a variant, as its source has it.
fn name(value: &impl fmt::Debug) -> String {
    let text = format!("{value:?}");
    head(&text).to_owned()
}

fn head(text: &str) -> &str {
    text.split(|char: char| !char.is_ascii_alphanumeric()).next().unwrap_or_default()
}
