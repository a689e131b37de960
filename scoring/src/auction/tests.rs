use super::*;
use crate::{Capability, Device, DeviceKind, Load, Permille};

fn job() -> Requirements {
    Requirements { memory_mb: 1000, max_price: 100, ..Requirements::default() }
}

fn offer(key: &'static str, price: u64) -> Offer<&'static str> {
    let device = Device { kind: DeviceKind::Cpu, name: String::new(), memory_mb: 4000 };
    let capability = Capability {
        cores: 4,
        memory_mb: 4000,
        disk_mb: 4000,
        devices: vec![device],
        max_concurrent: 4,
        speed: 50_000,
        sandbox_level: 0,
        price,
    };
    Offer {
        key,
        load: Load::idle(&capability),
        capability,
        reputation: Permille::new(500),
        uptime: Permille::new(500),
        proximity: Permille::ZERO,
        warm_data: Permille::ZERO,
        price,
        tie: 0,
    }
}

fn hold_default(offers: &[Offer<&'static str>]) -> Decision<&'static str> {
    hold(&Policy::default(), &job(), offers, &BTreeSet::new())
}

fn keys(decision: &Decision<&'static str>) -> Vec<&'static str> {
    decision.ranking.iter().map(|ranked| ranked.key).collect()
}

/// A bidder given by reputation, active jobs of three, speed and memory (one value for both),
/// uptime, all in thousandths, and its price.
fn bidder(
    key: &'static str,
    [reputation, active, capability, uptime]: [u16; 4],
    price: u64,
) -> Offer<&'static str> {
    let mut offer = offer(key, price);
    offer.capability.max_concurrent = 3;
    offer.capability.speed = u32::from(capability) * 50;
    offer.load.active = active;
    offer.load.memory_free_mb = u32::from(capability) * 2;
    offer.reputation = Permille::new(reputation);
    offer.uptime = Permille::new(uptime);
    offer
}

/// Four typical bidders under the three attitudes to price. The expected totals are those of
/// `400 R + 300 A + 200 C + 100 U - 1000 λ price / max`, moved and stretched to 0 to 1000 and
/// with a full mark for fit, which is the same for all.
#[test]
fn attitude_to_price_decides_between_typical_bidders() {
    let bidders = [
        bidder("veteran, one job running", [960, 1, 900, 990], 80),
        bidder("newcomer", [120, 0, 1000, 600], 40),
        bidder("solid", [870, 0, 800, 950], 70),
        bidder("flaky", [530, 0, 900, 700], 30),
    ];
    let quality = [865, 608, 903, 762];
    for (name, lambda, stretch, fit, order, paid) in [
        ("economy", 600, 570, 28, [3, 2, 0, 1], 46..=47),
        ("balanced", 300, 700, 30, [2, 3, 0, 1], 76..=77),
        ("quality", 100, 820, 38, [2, 0, 3, 1], 100..=100),
    ] {
        let policy = Policy::named(name).unwrap();
        let decision = hold(&policy, &job(), &bidders, &BTreeSet::new());
        assert_eq!(keys(&decision), order.map(|i| bidders[i].key), "{name}");
        assert!(paid.contains(&decision.price_paid.unwrap()), "{name}: {decision:?}");
        for (ranked, i) in decision.ranking.iter().zip(order) {
            let saved = lambda * (100 - i32::try_from(ranked.price).unwrap()) / 100;
            let expected = (quality[i] + saved) * stretch / 1000 + fit;
            let off = ranked.score.total.abs_diff(expected);
            assert!(off <= 5, "{name}, {}: {} not {expected}", ranked.key, ranked.score.total);
        }
    }
}

#[test]
fn a_burst_spreads_evenly_when_awards_are_counted_at_once() {
    for name in Policy::NAMES {
        let mut workers = [offer("a", 10), offer("b", 10), offer("c", 10)];
        let mut awards = [0; 3];
        for job_number in 0..10_u64 {
            for (i, worker) in (0_u64..).zip(&mut workers) {
                worker.tie = (job_number * 7 + i * 5) % 11;
            }
            let policy = Policy::named(name).unwrap();
            let decision = hold(&policy, &job(), &workers, &BTreeSet::new());
            let winner = decision.winner().unwrap().key;
            let i = workers.iter().position(|worker| worker.key == winner).unwrap();
            workers[i].load.active += 1;
            awards[i] += 1;
        }
        awards.sort_unstable();
        assert_eq!(awards, [3, 3, 4], "{name}");
    }
}

#[test]
fn equals_are_ordered_by_price_then_tie_then_key() {
    let tied = |key, price, tie| Offer { tie, ..offer(key, price) };
    let job = Requirements { max_price: 1_000_000, ..job() };
    let offers = [tied("d", 10, 1), tied("b", 11, 0), tied("c", 10, 2), tied("a", 10, 2)];
    let decision = hold(&Policy::default(), &job, &offers, &BTreeSet::new());
    let totals: BTreeSet<_> = decision.ranking.iter().map(|ranked| ranked.score.total).collect();
    assert_eq!(totals.len(), 1, "the prices differ by too little to show in the total");
    assert_eq!(keys(&decision), ["d", "a", "c", "b"]);
}

#[test]
fn nobody_bids_nobody_wins() {
    let decision = hold_default(&[]);
    assert_eq!(decision, Decision { ranking: vec![], refused: vec![], price_paid: None });
    assert_eq!((decision.winner(), decision.runner_up()), (None, None));
}

#[test]
fn the_refused_are_listed_with_their_reasons() {
    let mut busy = offer("busy", 10);
    busy.load.active = 4;
    let offers = [offer("shunned", 200), busy, offer("good", 10), offer("dear", 101)];
    let decision = hold(&Policy::default(), &job(), &offers, &BTreeSet::from(["shunned"]));
    assert_eq!(keys(&decision), ["good"]);
    let refused: Vec<_> = decision.refused.iter().map(|r| (r.key, r.reasons.as_slice())).collect();
    let expected: [(_, &[_]); 3] = [
        ("busy", &[Ineligible::Busy { active: 4, max: 4 }]),
        ("dear", &[Ineligible::Price { max: 100, asked: 101 }]),
        ("shunned", &[Ineligible::Price { max: 100, asked: 200 }, Ineligible::Excluded]),
    ];
    assert_eq!(refused, expected);
}

#[test]
fn the_price_bid_counts_not_the_price_listed() {
    let mut discount = offer("discount", 50);
    discount.capability.price = 500;
    let mut surcharge = offer("surcharge", 500);
    surcharge.capability.price = 50;
    let decision = hold_default(&[discount, surcharge]);
    assert_eq!(keys(&decision), ["discount"]);
}

#[test]
fn a_key_that_bids_twice_counts_once_with_its_best_bid() {
    let twice = [offer("a", 60), offer("a", 40), offer("a", 101), offer("b", 50)];
    let decision = hold_default(&twice);
    assert_eq!(keys(&decision), ["a", "b"]);
    assert_eq!(decision.winner().unwrap().price, 40);
    assert!(decision.refused.is_empty(), "{:?}", decision.refused);

    let mut worse = offer("c", 101);
    worse.load.active = 4;
    let refused = hold_default(&[worse, offer("c", 102)]).refused;
    let reasons = vec![Ineligible::Price { max: 100, asked: 102 }];
    assert_eq!(refused, [Refused { key: "c", reasons }]);
}

#[test]
fn which_of_two_equal_bids_of_a_key_is_kept_does_not_depend_on_their_order() {
    let mut present = offer("a", 10);
    present.uptime = Permille::new(600);
    present.capability.speed = 25_000;
    let mut fast = offer("a", 10);
    fast.uptime = Permille::new(500);
    fast.capability.speed = 30_000;
    let one = hold_default(&[present.clone(), fast.clone()]);
    assert_eq!(one, hold_default(&[fast.clone(), present.clone()]));
    let total = |offer| hold_default(&[offer]).ranking[0].score.total;
    assert_eq!(total(present), total(fast), "only equal bids come to the last comparison");
}

#[test]
fn the_winner_is_paid_its_lead_over_the_second() {
    // Alike but for the price, so the winner is paid what the second asks, to within a point.
    let decision = hold_default(&[offer("a", 20), offer("b", 50)]);
    let paid = decision.price_paid.unwrap();
    assert!((49..=51).contains(&paid), "{paid}");
}

#[test]
fn without_a_value_on_price_the_winner_is_paid_its_bid() {
    let mut good = offer("a", 20);
    good.reputation = Permille::ONE;
    let offers = [good, offer("b", 50)];
    let classic = Policy::named("classic-weights").unwrap();
    assert_eq!(hold(&classic, &job(), &offers, &BTreeSet::new()).price_paid, Some(20));
    let open = Requirements { max_price: Requirements::ANY_PRICE, ..job() };
    let decision = hold(&Policy::default(), &open, &offers, &BTreeSet::new());
    assert_eq!(decision.price_paid, Some(20));
    assert_eq!(hold_default(&offers[..1]).price_paid, Some(20));
}

#[test]
fn the_largest_prices_do_not_overflow() {
    let max_price = u64::MAX - 1;
    let job = Requirements { max_price, ..job() };
    let mut dull = offer("b", max_price);
    dull.reputation = Permille::ZERO;
    let offers = [offer("a", max_price - 1), dull];
    let weights = crate::Weights { reputation: u16::MAX, price: 1, ..Default::default() };
    let policy = Policy { name: String::new(), weights };
    let decision = hold(&policy, &job, &offers, &BTreeSet::new());
    assert_eq!(decision.price_paid, Some(max_price));
}
