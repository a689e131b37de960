//! The two schemes of signatures: the cheap one of simulated networks refuses what the real one
//! refuses, neither counts in the other's networks, and whole runs hold with both.

use cyxwiz_protocol::{
    Identity, JobId, Network, RequestId, Signed, UnixMillis, Verified,
    charter::Ticket,
    message::{Message, decode_message, encode_message, submission::Submission},
    signed::Rejection,
    spec::CancelOrder,
};
use cyxwiz_sim::{Scenario, Signatures, simulate};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn simulated() -> Network {
    Network::simulated("lab", Identity::simulated([1; 32]).id()).expect("a plain name")
}

fn real() -> Network {
    Network::new("lab", Identity::from_seed([1; 32]).id()).expect("a plain name")
}

fn order(author: &Identity, network: &Network) -> Verified<CancelOrder> {
    author.sign(network.id(), NOW, 1, CancelOrder { job: JobId([7; 16]) })
}

/// The order as it travels, with one byte of it changed.
fn altered(signed: &Signed<CancelOrder>, network: &Network, byte: usize) -> Signed<CancelOrder> {
    let order = signed.clone();
    let message = Message::Submission(Submission::Cancel { request: RequestId(1), order });
    let mut frame = encode_message(network.id(), &message);
    let at = frame.len() - 1 - byte;
    frame[at] ^= 1;
    match decode_message(network.id(), &frame) {
        Ok(Message::Submission(Submission::Cancel { order, .. })) => order,
        other => panic!("byte {byte} from the end is none of the document's: {other:?}"),
    }
}

#[test]
fn a_document_of_a_simulated_network_is_believed_as_it_is_and_not_otherwise() {
    let (network, author) = (simulated(), Identity::simulated([2; 32]));
    let signed = order(&author, &network).into_signed();
    let opened = signed.verify(network.id()).expect("its author's own");
    assert_eq!(opened.author(), author.id());
    // Signature, job, sequence, time, author: all but the length and what names the document's
    // kind, version and network, for which there are answers of their own.
    for byte in 0..64 + 16 + 8 + 8 + 32 {
        let rejection = altered(&signed, &network, byte).verify(network.id()).unwrap_err();
        assert!(matches!(rejection, Rejection::Signature), "byte {byte}: {rejection}");
    }
}

#[test]
fn neither_scheme_counts_in_the_networks_of_the_other() {
    let cases =
        [(simulated(), Identity::from_seed([2; 32])), (real(), Identity::simulated([2; 32]))];
    for (network, author) in cases {
        let signed = order(&author, &network).into_signed();
        assert!(signed.verify(network.id()).is_err(), "{network:?}");
    }
}

#[test]
fn no_name_that_a_user_can_give_is_a_simulated_networks() {
    let network = simulated();
    assert!(Network::new(network.name(), network.charter()).is_err());
    assert!(Network::from_fact(&network.fact()).is_err());
    assert_ne!(network.id(), Network::new("lab", network.charter()).unwrap().id());
}

#[test]
fn seats_of_a_simulated_network_are_given_by_its_charter_alone() {
    let (network, later) = (simulated(), UnixMillis(NOW.0 + 1));
    let peer = Identity::simulated([2; 32]).id();
    let seat = Ticket::issue(&Identity::simulated([1; 32]), &network, [3; 32], later);
    assert_eq!(seat.seat(&network, peer).verify(&network, peer, NOW), Ok(()));
    assert!(seat.seat(&network, peer).verify(&network, network.charter(), NOW).is_err());
    let forged = Ticket::issue(&Identity::simulated([4; 32]), &network, [3; 32], later);
    assert!(forged.seat(&network, peer).verify(&network, peer, NOW).is_err());
}

#[test]
fn whole_runs_hold_with_the_signatures_of_production() {
    let scenario = Scenario::named("churn").expect("a scenario of the table");
    let real = scenario.with(&["signatures=\"real\"".to_owned()]).expect("one of its settings");
    for seed in 0..2 {
        let plan = real.plan(seed).expect("it was checked when it was made");
        assert_eq!(plan.signatures, Signatures::Real);
        let figures = simulate(&real, seed, plan).unwrap_or_else(|violation| panic!("{violation}"));
        assert_eq!(figures.completed + figures.failed + figures.cancelled, figures.accepted);
    }
}
