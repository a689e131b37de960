//! Who wins a job: refuse what may not run it, rank the rest, price the winner.
//!
//! Collecting the bids, closing the window and awarding are left to the coordinator, which also
//! counts each award in the load of the next auction, so that a burst spreads.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::eligibility::obstacles;
use crate::{Ineligible, Offer, Policy, Requirements, Score, score};

/// An offer that may win, with its score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranked<K> {
    /// Who bids.
    pub key: K,
    /// How good the offer is, and why.
    pub score: Score,
    /// What it asks, in credits.
    pub price: u64,
}

/// An offer that may not win.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused<K> {
    /// Who bids.
    pub key: K,
    /// Why not; never empty.
    pub reasons: Vec<Ineligible>,
}

/// The outcome of an auction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision<K> {
    /// The eligible offers, best first.
    pub ranking: Vec<Ranked<K>>,
    /// The others, by key.
    pub refused: Vec<Refused<K>>,
    /// What the winner is paid, in credits; `None` when nobody won.
    pub price_paid: Option<u64>,
}

impl<K> Decision<K> {
    /// The best eligible offer.
    pub fn winner(&self) -> Option<&Ranked<K>> {
        self.ranking.first()
    }

    /// The second best, which steps in when the winner defaults.
    pub fn runner_up(&self) -> Option<&Ranked<K>> {
        self.ranking.get(1)
    }
}

/// Holds a sealed second-score auction.
///
/// The ranking is by higher total, then lower price, then smaller tie, then smaller key, and does
/// not depend on the order of `offers`. A key that bids more than once counts once, with its best
/// eligible offer; if none is eligible, with the one that has the fewest obstacles.
///
/// The winner is paid its bid and, in credits, the lead of its score over the runner-up's, up to
/// the job's limit. What it is paid depends on what others bid, so it does best by bidding its
/// true cost (Che, "Design competition through multidimensional auctions", 1993). A winner without
/// a runner-up is paid its bid, and so is any winner where the policy or the job sets no value on
/// price.
pub fn hold<K: Ord + Clone>(
    policy: &Policy,
    requirements: &Requirements,
    offers: &[Offer<K>],
    excluded: &BTreeSet<K>,
) -> Decision<K> {
    let mut eligible = Vec::new();
    let mut refused: BTreeMap<&K, Vec<Ineligible>> = BTreeMap::new();
    for offer in offers {
        let reasons = refusal(requirements, offer, excluded);
        if reasons.is_empty() {
            eligible.push(Entry { offer, score: score(policy, requirements, offer) });
            continue;
        }
        refused
            .entry(&offer.key)
            .and_modify(|kept| {
                if (reasons.len(), &reasons) < (kept.len(), kept) {
                    kept.clone_from(&reasons);
                }
            })
            .or_insert(reasons);
    }

    eligible.sort_by(Entry::order);
    let mut seen = BTreeSet::new();
    eligible.retain(|entry| seen.insert(&entry.offer.key));
    refused.retain(|key, _| !seen.contains(key));

    Decision {
        price_paid: price_paid(policy, requirements, &eligible),
        ranking: eligible.into_iter().map(Entry::into_ranked).collect(),
        refused: refused
            .into_iter()
            .map(|(key, reasons)| Refused { key: key.clone(), reasons })
            .collect(),
    }
}

struct Entry<'a, K> {
    offer: &'a Offer<K>,
    score: Score,
}

impl<K: Ord + Clone> Entry<'_, K> {
    fn order(&self, other: &Self) -> Ordering {
        let (a, b) = (self.offer, other.offer);
        other
            .score
            .total
            .cmp(&self.score.total)
            .then_with(|| a.price.cmp(&b.price))
            .then_with(|| a.tie.cmp(&b.tie))
            .then_with(|| a.key.cmp(&b.key))
            // Only a key that bids twice comes this far; which bid is kept must not depend on
            // which came first.
            .then_with(|| self.score.cmp(&other.score))
    }

    fn into_ranked(self) -> Ranked<K> {
        Ranked { key: self.offer.key.clone(), score: self.score, price: self.offer.price }
    }
}

fn refusal<K: Ord>(
    requirements: &Requirements,
    offer: &Offer<K>,
    excluded: &BTreeSet<K>,
) -> Vec<Ineligible> {
    let Offer { capability, load, reputation, price, .. } = offer;
    let mut reasons = obstacles(requirements, capability, load, *reputation, *price);
    if excluded.contains(&offer.key) {
        reasons.push(Ineligible::Excluded);
    }
    reasons
}

/// One point of score is worth `max_price * sum / (1000 * weight)` credits, because that much
/// on the price takes one point off the score.
fn price_paid<K>(
    policy: &Policy,
    requirements: &Requirements,
    ranking: &[Entry<'_, K>],
) -> Option<u64> {
    let winner = ranking.first()?;
    let bid = winner.offer.price;
    let (Some(runner_up), Some(max_price)) = (ranking.get(1), requirements.price_limit()) else {
        return Some(bid);
    };
    let weight = policy.weights.price;
    if weight == 0 {
        return Some(bid);
    }

    let lead = winner.score.total.abs_diff(runner_up.score.total);
    // At most 1000 * 2^64 * 9 * 2^16, far below 2^128.
    let gain = u128::from(lead) * u128::from(max_price) * u128::from(policy.weights.sum())
        / (1000 * u128::from(weight));
    let paid = (u128::from(bid) + gain).min(u128::from(max_price));
    Some(u64::try_from(paid).expect("capped at a u64"))
}

#[cfg(test)]
mod tests;
