//! What the crate hands out survives the encoding that peers exchange.

use std::collections::BTreeSet;

use bincode::config::standard;
use bincode::serde::{decode_from_slice, encode_to_vec};
use cyxwiz_scoring::{
    Capability, Decision, Device, DeviceKind, Evidence, Load, Offer, Permille, Policy, Reputation,
    Requirements, hold,
};

#[test]
fn a_decision_and_its_inputs_survive_the_wire() {
    let capability = Capability {
        cores: 4,
        memory_mb: 4000,
        devices: vec![Device { kind: DeviceKind::Cpu, name: "one".to_owned(), memory_mb: 4000 }],
        max_concurrent: 1,
        ..Capability::default()
    };
    let offer = |key: u8, active| Offer {
        key,
        load: Load { active, ..Load::idle(&capability) },
        capability: capability.clone(),
        reputation: Permille::new(120),
        uptime: Permille::ONE,
        proximity: Permille::ZERO,
        warm_data: Permille::ZERO,
        price: 3,
        tie: u64::MAX,
    };
    let job = Requirements { max_price: 10, ..Requirements::default() };
    let input = (Policy::default(), job, vec![offer(1, 0), offer(2, 1), offer(3, 0)]);
    let bytes = encode_to_vec(&input, standard()).unwrap();
    let (decoded, read): ((Policy, Requirements, Vec<Offer<u8>>), _) =
        decode_from_slice(&bytes, standard()).unwrap();
    assert_eq!((&decoded, read), (&input, bytes.len()));

    let decision = hold(&input.0, &input.1, &input.2, &BTreeSet::from([3]));
    assert_eq!((decision.ranking.len(), decision.refused.len()), (1, 2));
    let bytes = encode_to_vec(&decision, standard()).unwrap();
    let (decoded, read): (Decision<u8>, _) = decode_from_slice(&bytes, standard()).unwrap();
    assert_eq!((decoded, read), (decision, bytes.len()));
}

#[test]
fn a_reputation_survives_the_wire() {
    let mut reputation = Reputation::new();
    reputation.record(1_700_000_000, Evidence::Success);
    reputation.record(1_700_100_000, Evidence::Fraud);
    let bytes = encode_to_vec(&reputation, standard()).unwrap();
    let (decoded, _): (Reputation, _) = decode_from_slice(&bytes, standard()).unwrap();
    assert_eq!(decoded, reputation);
}

#[test]
fn a_share_above_the_whole_is_refused() {
    let decode = |thousandths: u16| {
        let bytes = encode_to_vec(thousandths, standard()).unwrap();
        decode_from_slice::<Permille, _>(&bytes, standard())
    };
    assert_eq!(decode(1000).unwrap().0, Permille::ONE);
    let refusal = decode(1001).unwrap_err().to_string();
    assert!(refusal.contains("out of range"), "{refusal}");
}
