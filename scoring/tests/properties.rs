//! What holds for every job, every policy and every set of offers, hostile ones included.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use cyxwiz_scoring::{
    Capability, Decision, Device, DeviceKind, Evidence, Factor, Load, Offer, Permille, Policy,
    Ranked, Reputation, Requirements, Weights, can_run_now, could_ever_run, hold, score,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Small numbers, which meet each other often, and the whole range, which finds overflows.
fn amount() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..20_u32, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn small() -> impl Strategy<Value = u16> {
    prop_oneof![4 => 0..6_u16, 1 => any::<u16>(), 1 => Just(u16::MAX)]
}

fn credits() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..200_u64, 1 => any::<u64>(), 1 => (u64::MAX - 2)..=u64::MAX]
}

fn permille() -> impl Strategy<Value = Permille> {
    (0..=1000_u16).prop_map(Permille::new)
}

fn kind() -> impl Strategy<Value = DeviceKind> {
    prop_oneof![4 => Just(DeviceKind::Cpu), 1 => select(DeviceKind::ALL.to_vec())]
}

fn device() -> impl Strategy<Value = Device> {
    (kind(), amount()).prop_map(|(kind, memory_mb)| Device { kind, name: String::new(), memory_mb })
}

prop_compose! {
    fn requirements()(
        device in kind(),
        (memory_mb, device_memory_mb, disk_mb) in (amount(), amount(), amount()),
        cores in small(),
        max_price in credits(),
        min_reputation in prop_oneof![3 => Just(Permille::ZERO), 1 => permille()],
        min_sandbox_level in 0..3_u8,
    ) -> Requirements {
        Requirements {
            device, memory_mb, device_memory_mb, disk_mb, cores, max_price, min_reputation,
            min_sandbox_level,
        }
    }
}

prop_compose! {
    fn capability()(
        cores in small(),
        (memory_mb, disk_mb) in (amount(), amount()),
        devices in vec(device(), 0..4),
        max_concurrent in small(),
        speed in prop_oneof![0..100_000_u32, any::<u32>()],
        sandbox_level in 0..4_u8,
        price in credits(),
    ) -> Capability {
        Capability {
            cores, memory_mb, disk_mb, devices, max_concurrent, speed, sandbox_level, price,
        }
    }
}

prop_compose! {
    fn offer()(
        key in 0..12_u8,
        capability in capability(),
        (active, memory_free_mb, disk_free_mb) in (small(), amount(), amount()),
        (reputation, uptime, proximity, warm_data) in
            (permille(), permille(), permille(), permille()),
        price in credits(),
        tie in 0..3_u64,
    ) -> Offer<u8> {
        let load = Load { active, memory_free_mb, disk_free_mb };
        Offer {
            key, capability, load, reputation, uptime, proximity, warm_data, price, tie,
        }
    }
}

/// An offer that a modest job accepts, so that rankings are not empty by chance.
fn able_offer() -> impl Strategy<Value = Offer<u8>> {
    (offer(), 1..8_u16, 0..200_u64).prop_map(|(mut offer, max_concurrent, price)| {
        let cpu = Device { kind: DeviceKind::Cpu, name: String::new(), memory_mb: 64 };
        offer.capability.devices.push(cpu);
        offer.capability.max_concurrent = max_concurrent;
        offer.capability.memory_mb = 1000;
        offer.load.memory_free_mb = offer.load.memory_free_mb.clamp(100, 1000);
        offer.load.active %= max_concurrent;
        offer.price = price;
        offer
    })
}

fn modest_job() -> impl Strategy<Value = Requirements> {
    (0..90_u32, prop_oneof![Just(u64::MAX), Just(u64::MAX - 1), 100..2000_u64]).prop_map(
        |(memory_mb, max_price)| Requirements { memory_mb, max_price, ..Requirements::default() },
    )
}

fn auction() -> impl Strategy<Value = (Requirements, Vec<Offer<u8>>)> {
    prop_oneof![
        3 => (modest_job(), vec(able_offer(), 0..16)),
        1 => (requirements(), vec(offer(), 0..16)),
        1 => (modest_job(), vec(prop_oneof![offer(), able_offer()], 0..16)),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let named = select(Policy::NAMES.to_vec())
        .prop_map(|name| Policy::named(name).expect("every listed name is known"));
    let drawn = proptest::array::uniform9(prop_oneof![0..1000_u16, any::<u16>()]).prop_map(
        |[
            fit,
            memory_headroom,
            reputation,
            availability,
            capability,
            uptime,
            price,
            proximity,
            warm_data,
        ]| {
            let weights = Weights {
                fit,
                memory_headroom,
                reputation,
                availability,
                capability,
                uptime,
                price,
                proximity,
                warm_data,
            };
            Policy { name: "drawn".to_owned(), weights }
        },
    );
    prop_oneof![named, drawn]
}

fn excluded() -> impl Strategy<Value = BTreeSet<u8>> {
    proptest::collection::btree_set(0..12_u8, 0..3)
}

/// Every way to make an offer better in one respect and no worse in any other.
fn improvements(offer: &Offer<u8>, by: u16) -> Vec<(Factor, Offer<u8>)> {
    let raised = |share: Permille| Permille::new(share.get().saturating_add(by));
    let changed = |factor, change: &dyn Fn(&mut Offer<u8>)| {
        let mut better = offer.clone();
        change(&mut better);
        (factor, better)
    };
    vec![
        changed(Factor::Reputation, &|o| o.reputation = raised(o.reputation)),
        changed(Factor::Uptime, &|o| o.uptime = raised(o.uptime)),
        changed(Factor::Proximity, &|o| o.proximity = raised(o.proximity)),
        changed(Factor::WarmData, &|o| o.warm_data = raised(o.warm_data)),
        changed(Factor::Price, &|o| o.price = o.price.saturating_sub(by.into())),
        changed(Factor::Availability, &|o| o.load.active = o.load.active.saturating_sub(by)),
        changed(Factor::Capability, &|o| {
            o.capability.speed = o.capability.speed.saturating_add(u32::from(by) * 50);
        }),
        changed(Factor::MemoryHeadroom, &|o| {
            o.load.memory_free_mb = o.load.memory_free_mb.saturating_add(by.into());
        }),
        changed(Factor::Fit, &|o| {
            let wanted = o.capability.devices.first().map(|device| device.kind);
            o.capability.devices.retain(|device| Some(device.kind) == wanted);
        }),
    ]
}

/// The promised order, written once more from its description.
fn promised_order(a: &(Ranked<u8>, u64), b: &(Ranked<u8>, u64)) -> Ordering {
    (-a.0.score.total, a.0.price, a.1, a.0.key).cmp(&(-b.0.score.total, b.0.price, b.1, b.0.key))
}

fn keys(decision: &Decision<u8>) -> Vec<u8> {
    decision.ranking.iter().map(|ranked| ranked.key).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn totals_are_bounded_and_the_sum_of_their_terms(
        policy in policy(), job in requirements(), offer in offer(),
    ) {
        let score = score(&policy, &job, &offer);
        prop_assert!((0..=1000).contains(&score.total));
        prop_assert_eq!(score.terms.iter().map(|term| term.points).sum::<i32>(), score.total);
        let factors: Vec<_> = score.terms.iter().map(|term| term.factor).collect();
        prop_assert_eq!(factors, Factor::ALL);
        for term in score.terms {
            prop_assert_eq!(term.weight, policy.weights.of(term.factor));
            prop_assert!(term.points >= 0);
        }
    }

    #[test]
    fn a_better_offer_never_scores_less(
        policy in policy(),
        job in prop_oneof![modest_job(), requirements()],
        offer in prop_oneof![able_offer(), offer()],
        by in 1..=1000_u16,
    ) {
        let job = match offer.capability.devices.first() {
            Some(device) => Requirements { device: device.kind, ..job },
            None => job,
        };
        let before = score(&policy, &job, &offer);
        for (factor, better) in improvements(&offer, by) {
            let after = score(&policy, &job, &better);
            prop_assert!(after.total >= before.total, "{}: {:?} {:?}", factor, before, after);
            for (before, after) in before.terms.iter().zip(&after.terms) {
                prop_assert!(after.value >= before.value);
                prop_assert!(after.factor == factor || after == before);
            }
        }
    }

    #[test]
    fn the_order_of_offers_does_not_matter(
        policy in policy(),
        (job, offers, shuffled) in auction().prop_flat_map(|(job, offers)| {
            (Just(job), Just(offers.clone()), Just(offers).prop_shuffle())
        }),
        excluded in excluded(),
    ) {
        prop_assert_eq!(
            hold(&policy, &job, &offers, &excluded),
            hold(&policy, &job, &shuffled, &excluded)
        );
    }

    #[test]
    fn the_ranking_is_in_the_promised_order(
        policy in policy(), (job, mut offers) in auction(),
    ) {
        let mut seen = BTreeSet::new();
        offers.retain(|offer| seen.insert(offer.key));
        let ties: BTreeMap<_, _> = offers.iter().map(|offer| (offer.key, offer.tie)).collect();
        let decision = hold(&policy, &job, &offers, &BTreeSet::new());
        let ranked: Vec<_> =
            decision.ranking.into_iter().map(|ranked| (ties[&ranked.key], ranked)).collect();
        for pair in ranked.windows(2) {
            let [(tie_a, a), (tie_b, b)] = pair else { unreachable!("windows of two") };
            let order = promised_order(&(a.clone(), *tie_a), &(b.clone(), *tie_b));
            prop_assert_eq!(order, Ordering::Less);
        }
    }

    /// Antisymmetric and transitive: two offers compare the same way in every company.
    #[test]
    fn the_rank_of_two_does_not_depend_on_a_third(
        policy in policy(), job in modest_job(), offers in vec(able_offer(), 3),
    ) {
        let mut offers = offers;
        for (key, offer) in (0..).zip(&mut offers) {
            offer.key = key;
        }
        let all = keys(&hold(&policy, &job, &offers, &BTreeSet::new()));
        for absent in 0..3_u8 {
            let pair: Vec<_> = offers.iter().filter(|o| o.key != absent).cloned().collect();
            let alone = keys(&hold(&policy, &job, &pair, &BTreeSet::new()));
            let together: Vec<_> = all.iter().copied().filter(|key| *key != absent).collect();
            prop_assert_eq!(alone, together);
        }
    }

    #[test]
    fn every_bidder_is_either_ranked_or_refused_with_a_reason(
        policy in policy(), (job, offers) in auction(), excluded in excluded(),
    ) {
        let decision = hold(&policy, &job, &offers, &excluded);
        let mut listed = keys(&decision);
        listed.extend(decision.refused.iter().map(|refused| refused.key));
        listed.sort_unstable();
        let bidders: BTreeSet<_> = offers.iter().map(|offer| offer.key).collect();
        prop_assert_eq!(listed, bidders.into_iter().collect::<Vec<_>>());
        for refused in &decision.refused {
            prop_assert!(!refused.reasons.is_empty());
            let shown: BTreeSet<_> = refused.reasons.iter().map(ToString::to_string).collect();
            prop_assert_eq!(shown.len(), refused.reasons.len(), "{:?}", refused.reasons);
        }
        prop_assert_eq!(decision.price_paid.is_some(), decision.winner().is_some());
    }

    #[test]
    fn whoever_is_ranked_can_run_it_now(
        policy in policy(), (job, offers) in auction(), excluded in excluded(),
    ) {
        for ranked in hold(&policy, &job, &offers, &excluded).ranking {
            prop_assert!(!excluded.contains(&ranked.key));
            let able = offers.iter().filter(|o| o.key == ranked.key).any(|offer| {
                let at_bid = Capability { price: offer.price, ..offer.capability.clone() };
                offer.price == ranked.price
                    && can_run_now(&job, &at_bid, &offer.load, offer.reputation).is_ok()
                    && score(&policy, &job, offer) == ranked.score
            });
            prop_assert!(able, "{:?}", ranked);
        }
    }

    #[test]
    fn the_winner_is_paid_at_least_its_bid_and_at_most_the_limit(
        policy in policy(), (job, offers) in auction(),
    ) {
        let decision = hold(&policy, &job, &offers, &BTreeSet::new());
        if let Some(winner) = decision.winner() {
            let paid = decision.price_paid.expect("a winner is paid");
            prop_assert!(winner.price <= paid && paid <= job.max_price);
        }
    }

    /// The price passes through two roundings, to a thousandth of the limit and to a point, in
    /// each of the two auctions.
    #[test]
    fn what_the_winner_is_paid_does_not_depend_on_its_bid(
        policy in select(vec!["balanced", "economy", "quality"]),
        max_price in 200..2000_u64,
        offers in vec(able_offer(), 2..8),
        less in 1..50_u64,
    ) {
        let policy = Policy::named(policy).expect("every listed name is known");
        let job = Requirements { max_price, ..Requirements::default() };
        let mut offers = offers;
        for (key, offer) in (0..).zip(&mut offers) {
            offer.key = key;
        }
        let before = hold(&policy, &job, &offers, &BTreeSet::new());
        let winner = before.winner().expect("every offer can run it").key;
        let offer = &mut offers[usize::from(winner)];
        offer.price = offer.price.saturating_sub(less);
        let after = hold(&policy, &job, &offers, &BTreeSet::new());
        prop_assert_eq!(after.winner().map(|ranked| ranked.key), Some(winner));
        let paid = |decision: &Decision<u8>| decision.price_paid.expect("a winner is paid");
        let point = max_price.div_ceil(policy.weights.price.into());
        let moved = paid(&before).abs_diff(paid(&after));
        prop_assert!(moved <= 3 * point, "{} credits, a point is {}", moved, point);
    }

    #[test]
    fn what_could_never_run_cannot_run_now(
        job in prop_oneof![modest_job(), requirements()],
        offer in prop_oneof![able_offer(), offer()],
    ) {
        let Offer { capability, load, reputation, .. } = &offer;
        let now = can_run_now(&job, capability, load, *reputation).err().unwrap_or_default();
        let ever = could_ever_run(&job, capability, *reputation).err().unwrap_or_default();
        prop_assert!(ever.iter().all(|reason| reason.is_permanent()));
        let lasting = now.iter().filter(|reason| reason.is_permanent()).count();
        prop_assert_eq!(lasting, ever.len(), "{:?} {:?}", now, ever);
        let idle = can_run_now(&job, capability, &Load::idle(capability), *reputation);
        prop_assert_eq!(idle.is_ok(), ever.is_empty());
    }

    #[test]
    fn equal_workers_share_a_burst_evenly(
        policy in select(Policy::NAMES.to_vec()),
        worker in able_offer(),
        workers in 1..6_u8,
        slots in 1..=64_u16,
        jobs in 0..40_u16,
        ties in vec(any::<u64>(), 40 * 6),
    ) {
        let policy = Policy::named(policy).expect("every listed name is known");
        let job = Requirements::default();
        let mut ties = ties.into_iter();
        let mut offers: Vec<_> = (0..workers).map(|key| Offer { key, ..worker.clone() }).collect();
        for offer in &mut offers {
            offer.capability.max_concurrent = slots;
            offer.load.active = 0;
        }
        for _ in 0..jobs.min(slots * u16::from(workers)) {
            for offer in &mut offers {
                offer.tie = ties.next().expect("one for each offer");
            }
            let decision = hold(&policy, &job, &offers, &BTreeSet::new());
            let winner = usize::from(decision.winner().expect("a free slot is left").key);
            offers[winner].load.active += 1;
            let active = || offers.iter().map(|offer| offer.load.active);
            let spread = active().max().expect("workers") - active().min().expect("workers");
            prop_assert!(spread <= 1, "{:?}", active().collect::<Vec<_>>());
        }
    }

    #[test]
    fn reputation_follows_the_evidence(
        events in vec((0..10_000_000_u64, evidence()), 0..60),
        now in 0..20_000_000_u64,
    ) {
        let mut reputation = Reputation::new();
        for (at, event) in events {
            reputation.record(at, event);
        }
        let after = |event| {
            let mut next = reputation.clone();
            next.record(now, event);
            next.score(now)
        };
        let before = reputation.score(now);
        prop_assert!(after(Evidence::Success) >= before);
        prop_assert!(after(Evidence::Failure) <= before);
        prop_assert_eq!(after(Evidence::Fraud), Permille::ZERO);
    }

    #[test]
    fn reputation_rises_slowly_and_falls_fast(good in 5..150_usize, bad in 1..5_usize) {
        let mut reputation = Reputation::new();
        for _ in 0..good {
            reputation.record(0, Evidence::Success);
        }
        let high = reputation.score(0);
        for _ in 0..bad {
            reputation.record(0, Evidence::Failure);
        }
        for _ in 0..bad {
            reputation.record(0, Evidence::Success);
        }
        let healed = reputation.score(0);
        prop_assert!(healed < high, "{} failures are not made good by as many successes", bad);
    }

    #[test]
    fn reputation_survives_any_clock(
        events in vec((any::<u64>(), evidence()), 0..20), now in any::<u64>(),
    ) {
        let count = events.len();
        let mut reputation = Reputation::new();
        for (at, event) in events {
            reputation.record(at, event);
        }
        prop_assert!(reputation.score(now) <= Permille::ONE);
        prop_assert_eq!(usize::try_from(reputation.trials()).ok(), Some(count));
    }
}

fn evidence() -> impl Strategy<Value = Evidence> {
    prop_oneof![
        6 => Just(Evidence::Success),
        2 => Just(Evidence::Failure),
        1 => Just(Evidence::Fraud),
    ]
}

#[test]
fn ten_thousand_offers_are_ranked() {
    let cpu = Device { kind: DeviceKind::Cpu, name: String::new(), memory_mb: 1000 };
    let capability = Capability {
        memory_mb: 1000,
        devices: vec![cpu],
        max_concurrent: 4,
        ..Capability::default()
    };
    let offers: Vec<_> = (0..10_000_u32)
        .map(|key| {
            let mixed = key.wrapping_mul(2_654_435_761);
            let share = |shift: u32| Permille::new(u16::try_from((mixed >> shift) % 1001).unwrap());
            Offer {
                key,
                load: Load { active: u16::from(key % 10 == 0) * 4, ..Load::idle(&capability) },
                capability: capability.clone(),
                reputation: share(0),
                uptime: share(8),
                proximity: share(12),
                warm_data: share(16),
                price: u64::from(mixed % 100),
                tie: mixed.into(),
            }
        })
        .collect();
    let job = Requirements { max_price: 100, ..Requirements::default() };
    let decision = hold(&Policy::default(), &job, &offers, &BTreeSet::new());
    assert_eq!((decision.ranking.len(), decision.refused.len()), (9_000, 1_000));
    assert!(decision.ranking.is_sorted_by(|a, b| a.score.total >= b.score.total));
    let best = offers
        .iter()
        .filter(|offer| offer.load.active == 0)
        .map(|offer| score(&Policy::default(), &job, offer).total)
        .max();
    assert_eq!(decision.winner().map(|winner| winner.score.total), best);
}
