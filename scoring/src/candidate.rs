//! Who should sit on the committee: the order in which candidates are admitted.
//!
//! Whether a candidate may sit at all, and when the committee grows, is left to the leader.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::Permille;

/// How others reach a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reachability {
    /// Nobody has confirmed that they can.
    Unknown,
    /// Through a relay.
    Relayed,
    /// At its own address.
    Direct,
}

/// A peer that stands for a seat. `O` is the operator behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate<K, O> {
    /// Who stands.
    pub key: K,
    /// Who runs it; one seat each, so that one failure or one will takes one seat.
    pub operator: O,
    /// The share of time for which it was seen present.
    pub uptime: Permille,
    /// What its past says about its next result.
    pub reputation: Permille,
    /// How others reach it.
    pub reachability: Reachability,
    /// Decides between equal candidates, the smaller wins.
    pub tie: u64,
}

/// A candidate in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankedCandidate<K> {
    /// Who stands.
    pub key: K,
    /// How good it is, 0 to 1000.
    pub total: i32,
}

/// Ranks candidates, best first: by higher total, then smaller tie, then smaller key, whatever
/// the order of `candidates`.
///
/// The total is half uptime, three tenths reputation and two tenths reachability. Each operator
/// appears once, with its best candidate, and not at all if it is in `seated`.
pub fn rank_candidates<K: Ord + Clone, O: Ord>(
    candidates: &[Candidate<K, O>],
    seated: &BTreeSet<O>,
) -> Vec<RankedCandidate<K>> {
    let mut standing: Vec<_> = candidates
        .iter()
        .filter(|candidate| !seated.contains(&candidate.operator))
        .map(|candidate| (total(candidate), candidate))
        .collect();
    standing.sort_by_key(|(total, candidate)| {
        (Reverse(*total), candidate.tie, &candidate.key, &candidate.operator)
    });

    let mut keys = BTreeSet::new();
    let mut operators = BTreeSet::new();
    standing.retain(|(_, candidate)| {
        !keys.contains(&candidate.key)
            && operators.insert(&candidate.operator)
            && keys.insert(&candidate.key)
    });
    standing
        .into_iter()
        .map(|(total, candidate)| RankedCandidate { key: candidate.key.clone(), total })
        .collect()
}

/// A seat is first of all being there: a member that is away costs every decision a vote.
fn total<K, O>(candidate: &Candidate<K, O>) -> i32 {
    let reachability = match candidate.reachability {
        Reachability::Unknown => 0,
        Reachability::Relayed => 400,
        Reachability::Direct => 1000,
    };
    let uptime = i32::from(candidate.uptime.get());
    let reputation = i32::from(candidate.reputation.get());
    (5 * uptime + 3 * reputation + 2 * reachability) / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(key: u8, operator: &'static str) -> Candidate<u8, &'static str> {
        Candidate {
            key,
            operator,
            uptime: Permille::new(900),
            reputation: Permille::new(800),
            reachability: Reachability::Direct,
            tie: u64::from(key),
        }
    }

    fn keys(candidates: &[Candidate<u8, &'static str>], seated: &[&'static str]) -> Vec<u8> {
        let seated = seated.iter().copied().collect();
        let ranked = rank_candidates(candidates, &seated);
        assert!(ranked.is_sorted_by(|a, b| a.total >= b.total));
        ranked.into_iter().map(|ranked| ranked.key).collect()
    }

    #[test]
    fn the_better_in_any_respect_goes_first() {
        let plain = candidate(1, "a");
        let present = Candidate { uptime: Permille::new(950), ..candidate(2, "b") };
        let trusted = Candidate { reputation: Permille::new(850), ..candidate(3, "c") };
        let relayed = Candidate { reachability: Reachability::Relayed, ..candidate(4, "d") };
        let unknown = Candidate { reachability: Reachability::Unknown, ..candidate(5, "e") };
        let mut all = [plain, present, trusted, relayed, unknown];
        assert_eq!(keys(&all, &[]), [2, 3, 1, 4, 5]);
        all.reverse();
        assert_eq!(keys(&all, &[]), [2, 3, 1, 4, 5]);
    }

    #[test]
    fn one_seat_for_each_operator() {
        let best = Candidate { uptime: Permille::ONE, ..candidate(7, "a") };
        let all = [candidate(1, "a"), candidate(2, "b"), best, candidate(3, "c")];
        assert_eq!(keys(&all, &[]), [7, 2, 3]);
        assert_eq!(keys(&all, &["b"]), [7, 3]);
        assert_eq!(keys(&all, &["a", "b", "c"]), []);
    }

    #[test]
    fn a_key_that_names_two_operators_takes_one_seat() {
        let all = [candidate(1, "a"), candidate(1, "b"), candidate(2, "b")];
        assert_eq!(keys(&all, &[]), [1, 2]);
    }

    #[test]
    fn equals_are_ordered_by_tie_then_key() {
        let all: Vec<_> = [(3, "a", 5), (1, "b", 9), (2, "c", 5)]
            .map(|(key, operator, tie)| Candidate { tie, ..candidate(key, operator) })
            .into();
        assert_eq!(keys(&all, &[]), [2, 3, 1]);
    }

    #[test]
    fn the_total_spans_the_whole_range() {
        let best =
            Candidate { uptime: Permille::ONE, reputation: Permille::ONE, ..candidate(1, "a") };
        let worst = Candidate {
            uptime: Permille::ZERO,
            reputation: Permille::ZERO,
            reachability: Reachability::Unknown,
            ..candidate(2, "b")
        };
        let ranked = rank_candidates(&[best, worst], &BTreeSet::new());
        assert_eq!(ranked.iter().map(|ranked| ranked.total).collect::<Vec<_>>(), [1000, 0]);
    }
}
