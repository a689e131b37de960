//! Joining: what goes wrong is said in words, and tried again.

use std::net::TcpListener;
use std::time::Duration;

use cyxwiz_net::{Config, Event, NetError, ask_network};

use crate::peer::{address, config, joining, start, started};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut config = config(1);
    config.listen = vec![address(&format!("/ip4/127.0.0.1/tcp/{port}"))];
    let error = start(config).await.err().unwrap();
    assert!(matches!(error, NetError::PortTaken { .. }), "{error:?}");
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    assert!(error.to_string().contains("choose another port"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_of_another_peer_is_taken_too() {
    let one = started(config(1)).await;
    let mut second = config(2);
    second.listen = one.addresses().await;
    for address in &mut second.listen {
        address.pop();
    }
    let error = start(second).await.err().unwrap();
    assert!(matches!(error, NetError::PortTaken { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cannot_be_listened_on_is_named() {
    let mut config = config(1);
    config.listen = vec![address("/ip4/192.0.2.1/tcp/0")];
    let error = start(config).await.err().unwrap();
    assert!(matches!(error, NetError::CannotListen { .. }), "{error:?}");
    assert!(error.to_string().contains("192.0.2.1"), "{error}");
    let bad = start(Config::new([1; 32], "two words")).await.err().unwrap();
    assert!(matches!(bad, NetError::BadNetworkName { .. }), "{bad:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_join_address_is_reported_with_growing_pauses() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut config = config(1);
    config.join = vec![address(&format!("/ip4/127.0.0.1/tcp/{free}"))];
    let peer = started(config).await;
    let mut pauses = Vec::new();
    for number in 1..=4 {
        let (attempt, error, pause) = peer
            .wait("failing join", |event| match event {
                Event::JoinFailing { attempt, error, retry_in, .. } => {
                    Some((attempt, error, retry_in))
                }
                _ => None,
            })
            .await;
        assert_eq!((attempt, error.as_str()), (number, "connection refused"));
        pauses.push(pause);
    }
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert!(pauses[0] < Duration::from_millis(320) && pauses[3] > Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_another_network_is_refused_by_name() {
    let mut theirs = Config::new([1; 32], "other-ffffffffffffffff");
    theirs.listen = vec![address("/ip4/127.0.0.1/tcp/0")];
    theirs.protocol_version = "cyxwiz/1 other".to_owned();
    let one = started(theirs).await;
    let two = joining(2, &one).await;
    let error = two
        .wait("failing join", |event| match event {
            Event::JoinFailing { error, .. } => Some(error),
            Event::Connected(_) => panic!("connected to another network"),
            _ => None,
        })
        .await;
    assert!(error.contains("another network (cyxwiz/1 other)"), "{error}");
    let theirs = two
        .wait("foreign network", |event| match event {
            Event::ForeignNetwork { theirs, .. } => Some(theirs),
            _ => None,
        })
        .await;
    assert_eq!(theirs, "cyxwiz/1 other");
    assert!(two.handle.snapshot().await.unwrap().peers.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_can_ask_which_network_it_is() {
    let mut facts = config(1);
    facts.protocol_version = "cyxwiz/1 lab 1a2b".to_owned();
    let one = started(facts).await;
    let address = one.addresses().await.remove(0);
    let answer = ask_network(&address, Duration::from_secs(20)).await.unwrap();
    assert_eq!(answer, "cyxwiz/1 lab 1a2b");
    one.handle.shutdown().await;
    let error = ask_network(&address, Duration::from_secs(20)).await.unwrap_err();
    assert!(error.to_string().contains("connection refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_lost_everybody_joins_again() {
    let mut first = config(1);
    let one = started(first.clone()).await;
    first.listen = one.addresses().await;
    for address in &mut first.listen {
        address.pop();
    }
    let two = joining(2, &one).await;
    let via = two
        .wait("joined", |event| match event {
            Event::Joined { via } => Some(via),
            _ => None,
        })
        .await;
    assert_eq!(via, one.key);
    one.handle.shutdown().await;
    let gone = two
        .wait("disconnection", |event| match event {
            Event::Disconnected(peer) => Some(peer),
            _ => None,
        })
        .await;
    assert_eq!(gone, one.key);
    let again = started(first).await;
    two.connected(again.key).await;
    again.handle.send(two.key, b"back".to_vec()).await.unwrap();
    assert_eq!(two.frame().await, (again.key, b"back".to_vec()));
}
