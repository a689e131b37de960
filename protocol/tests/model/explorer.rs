//! Visits every state of a model, the nearest first, until one breaks a property. What a state
//! is, and what is wrong with it, the model knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{Hash, Hasher},
};

/// Something that moves in steps of which any may come next.
pub(crate) trait Model {
    type State: Hash;
    type Action: Copy;
    type Sight: Ord;

    fn start(&self) -> Self::State;

    /// Every step that may follow, with the state behind it.
    fn steps(&self, state: &Self::State) -> Vec<(Self::Action, Self::State)>;

    /// What is wrong with a state.
    fn fault(&self, state: &Self::State) -> Option<String>;

    /// What is worth having been seen, so that a search that gets nowhere does not pass for one
    /// that found nothing.
    fn sights(&self, state: &Self::State, seen: &mut BTreeSet<Self::Sight>);

    /// What a step did, for a person.
    fn tell(&self, before: &Self::State, action: Self::Action, after: &Self::State) -> String;
}

/// What a search found.
#[derive(Debug)]
pub(crate) struct Explored<S> {
    pub(crate) states: usize,
    /// Steps from the start to the farthest state.
    pub(crate) depth: usize,
    pub(crate) sights: BTreeSet<S>,
    pub(crate) counterexample: Option<Counterexample>,
}

/// The shortest way to a state that breaks a property.
#[derive(Debug)]
pub(crate) struct Counterexample {
    pub(crate) steps: Vec<String>,
    pub(crate) fault: String,
}

/// Ends when no state is left or one is at fault.
///
/// # Panics
///
/// At more than `limit` states: the bounds of the model are then not what they are believed to be.
pub(crate) fn explore<M: Model>(model: &M, limit: usize) -> Explored<M::Sight> {
    let start = model.start();
    let mut trail = Trail { origins: vec![None], known: BTreeMap::new() };
    trail.known.insert(fingerprint(&start), 0);
    let mut explored =
        Explored { states: 1, depth: 0, sights: BTreeSet::new(), counterexample: None };
    let mut level = vec![(0, start)];
    while !level.is_empty() {
        let mut next = Vec::new();
        for (id, state) in &level {
            for (action, after) in model.steps(state) {
                let Some(new) = trail.enter(*id, action, &after) else { continue };
                assert!(trail.origins.len() <= limit, "more than {limit} states");
                model.sights(&after, &mut explored.sights);
                if let Some(fault) = model.fault(&after) {
                    let steps = trail.tell(model, new);
                    explored.counterexample = Some(Counterexample { steps, fault });
                    explored.states = trail.origins.len();
                    explored.depth += 1;
                    return explored;
                }
                next.push((new, after));
            }
        }
        explored.depth += usize::from(!next.is_empty());
        level = next;
    }
    explored.states = trail.origins.len();
    explored
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {:>2}. {step}", number + 1)?;
        }
        write!(f, "  => {}", self.fault)
    }
}

/// How each known state was first reached.
struct Trail<A> {
    origins: Vec<Option<(u32, A)>>,
    /// By fingerprint: 128 bits of a good hash are never equal by chance.
    known: BTreeMap<u128, u32>,
}

impl<A: Copy> Trail<A> {
    /// The number of a state that was not known before.
    fn enter(&mut self, from: u32, action: A, state: &impl Hash) -> Option<u32> {
        let new = u32::try_from(self.origins.len()).expect("the limit is far lower");
        if *self.known.entry(fingerprint(state)).or_insert(new) != new {
            return None;
        }
        self.origins.push(Some((from, action)));
        Some(new)
    }

    /// The way to a state, walked again.
    fn tell<M: Model<Action = A>>(&self, model: &M, last: u32) -> Vec<String> {
        let mut actions = Vec::new();
        let mut at = last;
        while let Some((from, action)) = self.origins[at as usize] {
            actions.push((at, action));
            at = from;
        }
        let mut state = model.start();
        let mut steps = Vec::new();
        for (id, action) in actions.into_iter().rev() {
            let (_, after) = model
                .steps(&state)
                .into_iter()
                .find(|(_, after)| self.known.get(&fingerprint(after)) == Some(&id))
                .expect("it was a step before");
            steps.push(model.tell(&state, action, &after));
            state = after;
        }
        steps
    }
}

fn fingerprint(state: &impl Hash) -> u128 {
    let mut bytes = Bytes(Vec::with_capacity(512));
    state.hash(&mut bytes);
    let digest = blake3::hash(&bytes.0);
    let (head, _) = digest.as_bytes().split_first_chunk().expect("32 bytes");
    u128::from_le_bytes(*head)
}

/// What a state hashes, in a row. Small states have small numbers, so that a byte holds each.
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn write_u8(&mut self, number: u8) {
        self.0.push(number);
    }

    fn write_u64(&mut self, number: u64) {
        self.0.push(u8::try_from(number).expect("small"));
    }

    fn write_usize(&mut self, number: usize) {
        self.0.push(u8::try_from(number).expect("small"));
    }

    fn write_isize(&mut self, number: isize) {
        self.0.push(u8::try_from(number).expect("small"));
    }

    fn finish(&self) -> u64 {
        unreachable!("the bytes themselves are wanted")
    }
}
