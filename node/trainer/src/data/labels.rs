//! Class names of a classification: numbered as they come, then put in an order that does not
//! depend on the order of rows.

use std::collections::BTreeMap;

use super::DataError;
use crate::limits;

/// The labels seen so far.
#[derive(Default)]
pub(super) struct Classes {
    first_seen: BTreeMap<String, u32>,
    ids: Vec<u32>,
}

impl Classes {
    pub(super) fn push(&mut self, label: &str, file: &str) -> Result<(), DataError> {
        let next = self.first_seen.len();
        let id = match self.first_seen.get(label) {
            Some(&id) => id,
            None if next == limits::MAX_OUTPUTS => {
                return Err(DataError::TooMany {
                    file: file.to_owned(),
                    what: "classes",
                    found: next as u64 + 1,
                    limit: limits::MAX_OUTPUTS as u64,
                });
            }
            None => {
                self.first_seen.insert(label.to_owned(), next as u32);
                next as u32
            }
        };
        self.ids.push(id);
        Ok(())
    }

    /// Class of each row, and the names by number: numeric order if all are numbers, else by text.
    pub(super) fn sorted(self, file: &str) -> Result<(Vec<u32>, Vec<String>), DataError> {
        let mut names: Vec<(String, u32)> = self.first_seen.into_iter().collect();
        if let [(only, _)] = names.as_slice() {
            return Err(DataError::OneClass { file: file.to_owned(), value: only.clone() });
        }
        let number = |name: &str| name.parse::<f64>().ok().filter(|value| value.is_finite());
        if names.iter().all(|(name, _)| number(name).is_some()) {
            names.sort_by(|(left, _), (right, _)| {
                let by_number =
                    number(left).unwrap_or(0.0).total_cmp(&number(right).unwrap_or(0.0));
                by_number.then_with(|| left.cmp(right))
            });
        }
        let mut renumbered = vec![0; names.len()];
        for (new, (_, old)) in names.iter().enumerate() {
            renumbered[*old as usize] = new as u32;
        }
        let ids = self.ids.into_iter().map(|id| renumbered[id as usize]).collect();
        Ok((ids, names.into_iter().map(|(name, _)| name).collect()))
    }
}
