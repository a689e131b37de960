//! A small committee as data: what each replica has on disk and in its head, and every message
//! that was ever sent.
//!
//! Messages are a set that only grows. Each may be received at any time, never, or again: loss,
//! delay, reordering and duplication need no steps of their own.

use std::{collections::BTreeSet, fmt, slice};

use cyxwiz_protocol::rules::{self, Seats};

/// A replica, by its seat: 0 prints as `a`.
pub(crate) type Replica = u8;

/// Position in the list of ballots of the scope, from 1 on; 0 is that of the founding.
pub(crate) type Ballot = u8;

pub(crate) type Rank = rules::Rank<Ballot>;

/// A set of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Members(pub(crate) u8);

impl Members {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn with(self, replica: Replica) -> Self {
        Self(self.0 | 1 << replica)
    }

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn contains(self, replica: Replica) -> bool {
        self.0 >> replica & 1 == 1
    }

    /// As the rules want them.
    pub(crate) const fn list(self) -> &'static [Replica] {
        const LISTS: [&[Replica]; 16] = [
            &[],
            &[0],
            &[1],
            &[0, 1],
            &[2],
            &[0, 2],
            &[1, 2],
            &[0, 1, 2],
            &[3],
            &[0, 3],
            &[1, 3],
            &[0, 1, 3],
            &[2, 3],
            &[0, 2, 3],
            &[1, 2, 3],
            &[0, 1, 2, 3],
        ];
        LISTS[self.0 as usize]
    }
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list().iter().try_for_each(|&replica| write!(f, "{}", name(replica)))
    }
}

/// How a replica is called in a trace.
pub(crate) const fn name(replica: Replica) -> char {
    (b'a' + replica) as char
}

/// Who decides: `old`, and while joint also `new`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Configuration {
    pub(crate) old: Members,
    pub(crate) new: Members,
}

impl Configuration {
    pub(crate) const fn stable(members: Members) -> Self {
        Self { old: members, new: Members::NONE }
    }

    pub(crate) fn is_joint(self) -> bool {
        self.new != Members::NONE
    }

    pub(crate) fn seats(self) -> Seats<'static, Replica> {
        if self.is_joint() {
            Seats::joint(self.old.list(), self.new.list())
        } else {
            Seats::stable(self.old.list())
        }
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.old)?;
        if self.is_joint() {
            write!(f, "+{{{}}}", self.new)?;
        }
        Ok(())
    }
}

/// The state of a job as the steps that led to it: a letter for each, of the ballot that proposed
/// it, so that two leaders never make the same one. A capital is a final state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Value([u8; 3]);

impl Value {
    pub(crate) fn version(self) -> u64 {
        self.0.iter().map(|&step| u64::from(step != 0)).sum()
    }

    pub(crate) fn is_final(self) -> bool {
        self.0.iter().any(u8::is_ascii_uppercase)
    }

    /// The ballot of each step.
    pub(crate) fn proposers(self) -> impl Iterator<Item = Ballot> {
        self.0
            .into_iter()
            .filter(|&step| step != 0)
            .map(|step| step.to_ascii_lowercase() - b'a' + 1)
    }

    /// The transition function; nothing leads on from a final state.
    pub(crate) fn extended(mut self, ballot: Ballot, is_final: bool) -> Option<Self> {
        if self.is_final() {
            return None;
        }
        let step = b'a' + ballot - 1;
        let free = self.0.iter_mut().find(|step| **step == 0)?;
        *free = if is_final { step.to_ascii_uppercase() } else { step };
        Some(self)
    }

    /// Whether `later` is this one or was made from it.
    pub(crate) fn leads_to(self, later: Self) -> bool {
        self.0.iter().zip(later.0).all(|(&step, other)| step == 0 || step == other)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.0.iter().filter(|&&step| step != 0);
        steps.map(|&step| char::from(step)).try_for_each(|step| write!(f, "{step}"))
    }
}

/// The content of one of the two registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Content {
    Configuration(Configuration),
    Job(Value),
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(configuration) => write!(f, "{configuration}"),
            Self::Job(value) => write!(f, "'{value}'"),
        }
    }
}

/// A register as it is held or proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Held<T> {
    pub(crate) rank: Rank,
    pub(crate) content: T,
}

impl<T: fmt::Display> fmt::Display for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} {}", self.rank.ballot, self.rank.version, self.content)
    }
}

/// The registers of a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Registers {
    pub(crate) configuration: Option<Held<Configuration>>,
    pub(crate) job: Option<Held<Value>>,
}

impl Registers {
    pub(crate) const fn write(&mut self, Held { rank, content }: Held<Content>) {
        match content {
            Content::Configuration(content) => self.configuration = Some(Held { rank, content }),
            Content::Job(content) => self.job = Some(Held { rank, content }),
        }
    }
}

/// A replica: what survives a crash, and its office, which does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    pub(crate) promised: Option<Ballot>,
    pub(crate) registers: Registers,
    pub(crate) office: Office,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Office {
    None,
    Candidate(Ballot),
    Leader(Leader),
}

impl Office {
    pub(crate) const fn ballot(&self) -> Option<Ballot> {
        match self {
            Self::None => None,
            Self::Candidate(ballot) => Some(*ballot),
            Self::Leader(leader) => Some(leader.ballot),
        }
    }
}

/// What a leader goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leader {
    pub(crate) ballot: Ballot,
    pub(crate) configuration: Base<Configuration>,
    pub(crate) job: Option<Base<Value>>,
}

/// The newest of a register, and who said to hold just that when the leader took over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Base<T> {
    pub(crate) held: Held<T>,
    pub(crate) holders: Members,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Message {
    Prepare {
        ballot: Ballot,
    },
    Promise {
        ballot: Ballot,
        from: Replica,
        holds: Registers,
    },
    Accept {
        held: Held<Content>,
    },
    /// `from` has this, or what the same leader made from it.
    Accepted {
        from: Replica,
        held: Held<Content>,
    },
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prepare { ballot } => write!(f, "prepare {ballot}"),
            Self::Promise { ballot, from, holds } => {
                write!(f, "{} promises {ballot}, holds", name(*from))?;
                match (holds.configuration, holds.job) {
                    (None, None) => write!(f, " nothing"),
                    (Some(held), None) => write!(f, " {held}"),
                    (None, Some(held)) => write!(f, " {held}"),
                    (Some(first), Some(second)) => write!(f, " {first} and {second}"),
                }
            }
            Self::Accept { held } => write!(f, "accept {held}"),
            Self::Accepted { from, held } => write!(f, "{} accepted {held}", name(*from)),
        }
    }
}

/// Messages in order, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Messages(Vec<Message>);

impl Messages {
    pub(crate) fn insert(&mut self, message: Message) {
        if let Err(at) = self.0.binary_search(&message) {
            self.0.insert(at, message);
        }
    }

    pub(crate) fn contains(&self, message: &Message) -> bool {
        self.0.binary_search(message).is_ok()
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&Message) -> bool) {
        self.0.retain(keep);
    }

    pub(crate) fn iter(&self) -> slice::Iter<'_, Message> {
        self.0.iter()
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) members: Vec<Member>,
    pub(crate) messages: Messages,
    /// The newest configuration that was in force under each ballot, also when its leader is gone.
    pub(crate) in_force: Vec<Option<Configuration>>,
    /// Everything that was ever chosen for the job. No replica looks at it.
    pub(crate) chosen: BTreeSet<Held<Value>>,
}

impl State {
    /// Who said to have what was proposed at this rank, or what the same leader made from it.
    pub(crate) fn accepted(&self, rank: Rank, of: fn(Content) -> bool) -> Members {
        let mut members = Members::NONE;
        for message in self.messages.iter() {
            if let Message::Accepted { from, held } = message
                && held.rank.ballot == rank.ballot
                && held.rank.version >= rank.version
                && of(held.content)
            {
                members = members.with(*from);
            }
        }
        members
    }
}

pub(crate) const fn is_job(content: Content) -> bool {
    matches!(content, Content::Job(_))
}

pub(crate) const fn is_configuration(content: Content) -> bool {
    matches!(content, Content::Configuration(_))
}
