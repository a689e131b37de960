//! The model of a store with group commit: batches that come while a flush is under way become
//! durable together with the next one. A crash keeps what was flushed and, of the flush that was
//! under way, as many whole batches as chance has it.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
};

use cyxwiz_protocol::{Rng, effects::Write};

use crate::chance::place;

#[derive(Debug, Default)]
pub(crate) struct Disk {
    durable: BTreeMap<Vec<u8>, Vec<u8>>,
    flushing: VecDeque<Batch>,
    gathered: VecDeque<Batch>,
}

#[derive(Debug)]
struct Batch {
    number: u64,
    writes: Vec<Write>,
}

impl Disk {
    /// Takes a batch; true when a flush begins with it.
    pub(crate) fn commit(&mut self, number: u64, writes: Vec<Write>) -> bool {
        self.gathered.push_back(Batch { number, writes });
        self.begin_flush()
    }

    /// Keys that the flush under way writes.
    pub(crate) fn flushing(&self) -> impl Iterator<Item = &[u8]> {
        self.flushing.iter().flat_map(|batch| batch.writes.iter().map(|it| it.key.as_slice()))
    }

    /// The flush that was under way is done: the number of its last batch, and whether another
    /// begins.
    pub(crate) fn finish_flush(&mut self) -> Option<(u64, bool)> {
        let last = self.flushing.back()?.number;
        for batch in mem::take(&mut self.flushing) {
            self.apply(batch);
        }
        Some((last, self.begin_flush()))
    }

    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        self.gathered.clear();
        let flushing = mem::take(&mut self.flushing);
        let kept = place(rng, flushing.len() + 1);
        for batch in flushing.into_iter().take(kept) {
            self.apply(batch);
        }
    }

    /// What a peer finds when it opens its store again.
    pub(crate) fn records(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.durable.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// What would survive a crash at this moment.
    pub(crate) fn value(&self, key: &[u8]) -> Option<&[u8]> {
        self.durable.get(key).map(Vec::as_slice)
    }

    /// Whether a record of this key would survive a crash at this moment.
    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        self.durable.contains_key(key)
    }

    fn begin_flush(&mut self) -> bool {
        let begins = self.flushing.is_empty() && !self.gathered.is_empty();
        if begins {
            self.flushing = mem::take(&mut self.gathered);
        }
        begins
    }

    fn apply(&mut self, batch: Batch) {
        for write in batch.writes {
            match write.value {
                Some(value) => self.durable.insert(write.key, value),
                None => self.durable.remove(&write.key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: u8) -> Vec<Write> {
        vec![Write { key: vec![key], value: Some(vec![key]) }]
    }

    #[test]
    fn batches_that_come_during_a_flush_share_the_next() {
        let mut disk = Disk::default();
        assert!(disk.commit(1, put(1)));
        assert!(!disk.commit(2, put(2)));
        assert!(!disk.commit(3, put(3)));
        assert_eq!(disk.finish_flush(), Some((1, true)));
        assert_eq!(disk.records().len(), 1);
        assert_eq!(disk.finish_flush(), Some((3, false)));
        assert_eq!(disk.records().len(), 3);
        assert_eq!(disk.finish_flush(), None);
    }

    #[test]
    fn a_crash_keeps_what_was_flushed_and_never_what_was_gathered() {
        for seed in 0..32 {
            let mut disk = Disk::default();
            disk.commit(1, put(1));
            let _ = disk.finish_flush();
            disk.commit(2, put(2));
            disk.commit(3, put(3));
            disk.crash(&mut Rng::new([seed; 32]));
            assert!(disk.durable.contains_key(&[1][..]));
            assert!(!disk.durable.contains_key(&[3][..]));
        }
    }
}
