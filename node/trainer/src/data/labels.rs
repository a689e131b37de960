//! Texts that stand for classes: numbered as they come, then put in an order that does not depend
//! on the order of rows.

use std::collections::BTreeMap;

use super::{DataError, reserve, too_many};
use crate::limits;

/// Number of a row whose text is missing.
pub(super) const MISSING: u32 = u32::MAX;

/// Distinct texts, numbered as they were first seen.
#[derive(Debug, Default)]
pub(super) struct Numbered(BTreeMap<String, u32>);

impl Numbered {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The number of a text that has been seen.
    pub(super) fn known(&self, text: &str) -> Option<u32> {
        self.0.get(text).copied()
    }

    pub(super) fn insert(&mut self, text: &str) -> u32 {
        let number = self.0.len() as u32;
        self.0.insert(text.to_owned(), number);
        number
    }

    /// All texts with their numbers: in numeric order if all are numbers, else by text.
    pub(super) fn in_order(self) -> Vec<(String, u32)> {
        let mut texts: Vec<(String, u32)> = self.0.into_iter().collect();
        let number = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
        if texts.iter().all(|(text, _)| number(text).is_some()) {
            texts.sort_by(|(left, _), (right, _)| {
                let by_number =
                    number(left).unwrap_or(0.0).total_cmp(&number(right).unwrap_or(0.0));
                by_number.then_with(|| left.cmp(right))
            });
        }
        texts
    }
}

/// The labels seen so far, one a row.
#[derive(Debug, Default)]
pub(super) struct Classes {
    seen: Numbered,
    ids: Vec<u32>,
}

impl Classes {
    pub(super) fn push(&mut self, label: &str, file: &str) -> Result<(), DataError> {
        let id = match self.seen.known(label) {
            Some(id) => id,
            None if self.seen.len() == limits::MAX_OUTPUTS => {
                let found = limits::MAX_OUTPUTS + 1;
                return Err(too_many(file, "classes", found, limits::MAX_OUTPUTS));
            }
            None => self.seen.insert(label),
        };
        self.note(id, file)
    }

    /// Notes a row without a label, which [`Self::retain`] must take out.
    pub(super) fn push_missing(&mut self, file: &str) -> Result<(), DataError> {
        self.note(MISSING, file)
    }

    fn note(&mut self, id: u32, file: &str) -> Result<(), DataError> {
        reserve(&mut self.ids, 1, file)?;
        self.ids.push(id);
        Ok(())
    }

    pub(super) fn is_missing(&self, row: usize) -> bool {
        self.ids[row] == MISSING
    }

    pub(super) fn retain(&mut self, keep: &[bool]) {
        let mut kept = keep.iter();
        self.ids.retain(|_| *kept.next().expect("one flag a row"));
    }

    /// Class of each row among `names`, which it also gives.
    pub(super) fn numbered_as(
        self,
        names: &[String],
        file: &str,
    ) -> Result<(Vec<u32>, Vec<String>), DataError> {
        let places: BTreeMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        let mut renumbered = vec![MISSING; self.seen.len()];
        for (name, old) in &self.seen.0 {
            renumbered[*old as usize] = places.get(name.as_str()).copied().unwrap_or(MISSING);
        }
        let unknown = |id: u32| {
            let name = self.seen.0.iter().find(|(_, number)| **number == id);
            let value = name.map(|(name, _)| super::shortened(name)).unwrap_or_default();
            DataError::OtherClass { file: file.to_owned(), value }
        };
        let class = |&id: &u32| match renumbered[id as usize] {
            MISSING => Err(unknown(id)),
            class => Ok(class),
        };
        let ids = self.ids.iter().map(class).collect::<Result<_, _>>()?;
        Ok((ids, names.to_vec()))
    }

    /// Class of each row, and the names by number, of the classes that rows have.
    pub(super) fn sorted(self, file: &str) -> Result<(Vec<u32>, Vec<String>), DataError> {
        let mut used = vec![false; self.seen.len()];
        self.ids.iter().for_each(|&id| used[id as usize] = true);
        let mut renumbered = vec![MISSING; used.len()];
        let mut names = Vec::new();
        for (name, old) in self.seen.in_order() {
            if used[old as usize] {
                renumbered[old as usize] = names.len() as u32;
                names.push(name);
            }
        }
        if let [only] = names.as_slice() {
            return Err(DataError::OneClass { file: file.to_owned(), value: only.clone() });
        }
        let ids = self.ids.into_iter().map(|id| renumbered[id as usize]).collect();
        Ok((ids, names))
    }
}
