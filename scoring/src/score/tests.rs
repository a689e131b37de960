use super::*;
use crate::Device;

fn offer() -> Offer<u8> {
    let capability = Capability {
        cores: 8,
        memory_mb: 4000,
        disk_mb: 1000,
        devices: vec![device(DeviceKind::Cpu)],
        max_concurrent: 4,
        speed: 25_000,
        sandbox_level: 0,
        price: 0,
    };
    Offer {
        key: 1,
        load: Load { active: 1, ..Load::idle(&capability) },
        capability,
        reputation: Permille::new(800),
        uptime: Permille::new(900),
        proximity: Permille::new(300),
        warm_data: Permille::new(200),
        price: 25,
        tie: 0,
    }
}

fn device(kind: DeviceKind) -> Device {
    Device { kind, name: String::new(), memory_mb: 4000 }
}

fn job() -> Requirements {
    Requirements { memory_mb: 4000, max_price: 100, ..Requirements::default() }
}

#[test]
fn every_term_is_explained() {
    let score = score(&Policy::default(), &job(), &offer());
    let shown: Vec<_> = score
        .terms
        .iter()
        .map(|term| {
            (term.factor.to_string(), term.value.get(), u32::from(term.weight), term.points)
        })
        .collect();
    let expected = [
        ("fit", 1000, 30, 30),
        ("memory headroom", 500, 70, 35),
        ("reputation", 800, 280, 224),
        ("availability", 750, 210, 157),
        ("capability", 500, 70, 35),
        ("uptime", 900, 70, 63),
        ("price", 750, 210, 157),
        ("proximity", 300, 20, 6),
        ("warm data", 200, 40, 8),
    ]
    .map(|(factor, value, weight, points)| (factor.to_owned(), value, weight, points));
    assert_eq!(shown, expected);
    assert_eq!(score.total, 715);
}

#[test]
fn a_perfect_offer_scores_a_thousand_under_every_policy() {
    let mut perfect = offer();
    perfect.capability.speed = u32::MAX;
    perfect.capability.memory_mb = 8000;
    perfect.load = Load::idle(&perfect.capability);
    for share in [
        &mut perfect.reputation,
        &mut perfect.uptime,
        &mut perfect.proximity,
        &mut perfect.warm_data,
    ] {
        *share = Permille::ONE;
    }
    perfect.price = 0;
    for name in Policy::NAMES {
        let policy = Policy::named(name).unwrap();
        assert_eq!(score(&policy, &job(), &perfect).total, 1000, "{name}");
    }
}

#[test]
fn classic_bonus_takes_ten_of_sixty_for_each_of_three_jobs() {
    let policy = Policy::named("classic-bonus").unwrap();
    let mut offer = offer();
    offer.capability.max_concurrent = 3;
    for (reputation, active) in [(1000, 0), (1000, 1), (600, 2), (0, 3), (333, 1)] {
        offer.reputation = Permille::new(reputation);
        offer.load.active = active;
        let total = score(&policy, &job(), &offer).total;
        // 30·r - 10·n, which spans -30 to 30, stretched over 0 to 1000.
        let expected = (30 * i32::from(reputation) - 10_000 * i32::from(active) + 30_000) / 60;
        assert!(total.abs_diff(expected) <= 1, "{reputation}, {active}: {total} {expected}");
    }
}

#[test]
fn an_accelerator_is_spared_for_jobs_that_need_it() {
    let mut both = offer();
    both.capability.devices.push(device(DeviceKind::Cuda));
    let fit = |offer: &Offer<u8>, device| {
        let job = Requirements { device, ..job() };
        score(&Policy::default(), &job, offer).terms[0].value.get()
    };
    assert_eq!(fit(&offer(), DeviceKind::Cpu), 1000);
    assert_eq!(fit(&both, DeviceKind::Cpu), 500);
    assert_eq!(fit(&both, DeviceKind::Cuda), 1000);
    assert_eq!(fit(&offer(), DeviceKind::Cuda), 0);
}

#[test]
fn claiming_more_free_memory_than_there_is_earns_nothing() {
    let honest = score(&Policy::default(), &job(), &offer());
    let mut boasting = offer();
    boasting.load.memory_free_mb = u32::MAX;
    assert_eq!(score(&Policy::default(), &job(), &boasting), honest);
}

#[test]
fn without_a_limit_every_halving_of_the_price_is_worth_the_same() {
    let job = Requirements { max_price: Requirements::ANY_PRICE, ..job() };
    let cheap = |price| i32::from(cheapness(&job, price).get());
    assert_eq!(cheap(0), 1000);
    assert_eq!(cheap(u64::MAX), 0);
    for exponent in 2..63 {
        let gained = cheap((1 << (exponent - 1)) - 1) - cheap((1 << exponent) - 1);
        assert!((15..=16).contains(&gained), "2^{exponent}: {gained}");
    }
    assert!((0..5000).all(|price| cheap(price) >= cheap(price + 1)));
}

#[test]
fn a_price_at_the_limit_is_not_cheap_and_a_free_one_is() {
    for (max_price, price, expected) in
        [(100, 100, 0), (100, 1, 990), (100, 101, 0), (0, 0, 1000), (0, 1, 0), (100, 0, 1000)]
    {
        let job = Requirements { max_price, ..job() };
        assert_eq!(cheapness(&job, price).get(), expected, "{price} of {max_price}");
    }
}

#[test]
fn a_policy_without_weights_ranks_nothing_above_anything() {
    let policy = Policy { name: "none".to_owned(), weights: Default::default() };
    assert_eq!(score(&policy, &job(), &offer()).total, 0);
}
