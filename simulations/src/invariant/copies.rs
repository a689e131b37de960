//! What a committee's disks hold of one job, and what those may decide who have them.

use std::fmt;

use cyxwiz_protocol::{
    JobId,
    inspect::RegisterOnDisk,
    job::{AttemptRecord, JobRecord},
    limits,
};

/// A job on the disks of everyone who coordinates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copies<'a> {
    pub(crate) job: JobId,
    pub(crate) held: &'a [Option<RegisterOnDisk>],
    /// The sides of a seating that must agree, as places in `held`; none for a disk that is lost.
    pub(crate) sides: &'a [Vec<Option<usize>>],
    /// Whether this seating is in force, rather than one that may come to be.
    pub(crate) in_force: bool,
}

impl Copies<'_> {
    /// Whether those for whom `has` holds may decide alone, be it that the others never return.
    pub(super) fn may_decide(&self, has: impl Fn(&Option<RegisterOnDisk>) -> bool) -> bool {
        self.sides.iter().all(|side| {
            let count = side.iter().flatten().filter(|place| has(&self.held[**place])).count();
            count > side.len() / 2
        })
    }

    /// The state in which the job has ended, if enough have just that one.
    pub(crate) fn ended(&self) -> Option<&JobRecord> {
        let same = |held: &RegisterOnDisk, other: &RegisterOnDisk| {
            (held.ballot, held.version) == (other.ballot, other.version)
        };
        let mut ended = self.present().filter(|held| held.record.is_finished());
        let chosen = ended.find(|held| {
            self.may_decide(|other| other.as_ref().is_some_and(|other| same(held, other)))
        });
        chosen.map(|held| &held.record)
    }

    /// What those who sit hold.
    pub(super) fn present(&self) -> impl Iterator<Item = &RegisterOnDisk> {
        let places = self.sides.iter().flatten().flatten();
        places.filter_map(|place| self.held[*place].as_ref())
    }
}

impl fmt::Display for Copies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.in_force { "in force" } else { "to come" })?;
        for side in self.sides {
            f.write_str(": ")?;
            for (index, place) in side.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                match place.map(|place| (place, self.held[place].as_ref())) {
                    None => write!(f, "{comma}a lost disk")?,
                    Some((place, None)) => write!(f, "{comma}host {place} nothing")?,
                    Some((place, Some(held))) => {
                        let (term, version) = (held.ballot.term, held.version);
                        write!(f, "{comma}host {place} term {term} version {version}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether `later` may have come from `earlier` by steps that the protocol allows.
pub(super) fn extends(earlier: &JobRecord, later: &JobRecord) -> bool {
    if earlier.is_finished() {
        return earlier == later;
    }
    let full = later.attempts.len() == usize::from(limits::ATTEMPTS);
    let same_attempt = |one: &AttemptRecord| {
        let other = later.attempts.iter().find(|other| other.attempt == one.attempt);
        other.map_or(full, |other| {
            one.worker == other.worker && (one.end.is_none() || other.end.is_some())
        })
    };
    (earlier.job, earlier.submitter, earlier.spec) == (later.job, later.submitter, later.spec)
        && earlier.newest_attempt() <= later.newest_attempt()
        && earlier.attempts.iter().all(same_attempt)
        && earlier.cancel_requested <= later.cancel_requested
        && (earlier.pause.order < later.pause.order || earlier.pause == later.pause)
}
