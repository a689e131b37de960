//! Many peers that know one address: everybody hears gossip, everybody reaches everybody.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cyxwiz_net::{Event, NetRole, Verdict};

use crate::peer::{NETWORK, Peer, config, joining, started, until};

const PEERS: u8 = 16;

async fn swarm_of(count: u8) -> Vec<Arc<Peer>> {
    let mut first = config(1);
    first.role = NetRole::Bootstrap;
    let mut peers = vec![started(first).await];
    for number in 2..=count {
        peers.push(joining(number, &peers[0].clone()).await);
    }
    peers
}

async fn meshed(peers: &[Arc<Peer>], topic: &str) -> Duration {
    let start = Instant::now();
    for peer in peers {
        peer.handle.subscribe(topic).await.unwrap();
    }
    let least = (peers.len() - 1).min(3);
    for peer in peers {
        until("a mesh of enough peers", || async {
            let peers = peer.handle.snapshot().await.unwrap().peers;
            peers.iter().filter(|it| it.mesh.iter().any(|in_mesh| in_mesh == topic)).count()
                >= least
        })
        .await;
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_hears_gossip_and_reaches_everybody_by_key() {
    let peers = swarm_of(PEERS).await;
    let formed = meshed(&peers, "jobs").await;
    println!("{PEERS} peers meshed in {formed:?}");
    peers[3].handle.publish("jobs", b"job 1".to_vec()).await.unwrap();
    for peer in peers.iter().filter(|it| it.key != peers[3].key) {
        let bytes = peer
            .wait("gossip", |event| match event {
                Event::Gossip { topic, bytes, .. } if topic == "jobs" => Some(bytes),
                _ => None,
            })
            .await;
        assert_eq!(bytes, b"job 1");
    }
    gossip_latency(&peers).await;
    let start = Instant::now();
    for from in &peers {
        for to in peers.iter().filter(|it| it.key != from.key) {
            from.handle.send(to.key, from.key.0.to_vec()).await.unwrap();
        }
    }
    for peer in &peers {
        let mut heard = BTreeSet::new();
        while heard.len() < peers.len() - 1 {
            let (from, bytes) = peer.frame().await;
            assert_eq!(bytes, from.0, "the sender is who the handshake says");
            heard.insert(from);
        }
    }
    println!("all to all by key in {:?}", start.elapsed());
}

/// For the figure, not for a verdict: what a busy machine makes of fifty peers says little.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement of a minute; run by name with --nocapture"]
async fn fifty_peers_from_one_address() {
    let start = Instant::now();
    let peers = swarm_of(50).await;
    meshed(&peers, "jobs").await;
    println!("50 peers started, joined and meshed in {:?}", start.elapsed());
    gossip_latency(&peers).await;
}

/// Prints how long a message takes to each and to the last of all peers.
async fn gossip_latency(peers: &[Arc<Peer>]) {
    let (mut each, mut all) = (Vec::new(), Vec::new());
    for number in 0..40_u8 {
        let sender = &peers[usize::from(number) % peers.len()];
        let start = Instant::now();
        sender.handle.publish("jobs", vec![number; 500]).await.unwrap();
        let hearing = peers.iter().filter(|it| it.key != sender.key).map(|peer| async move {
            peer.wait("gossip", |event| match event {
                Event::Gossip { bytes, .. } if bytes == [number; 500] => Some(start.elapsed()),
                _ => None,
            })
            .await
        });
        let mut times = futures::future::join_all(hearing).await;
        times.sort();
        all.push(times[times.len() - 1]);
        each.extend(times);
    }
    for (what, mut times) in [("one peer", each), ("all peers", all)] {
        times.sort();
        let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        println!("gossip of 500 bytes to {what} of {}: p50 {p50:?}, p99 {p99:?}", peers.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_are_quick_and_in_order() {
    let peers = swarm_of(2).await;
    let [one, two] = &peers[..] else { unreachable!("two peers") };
    two.connected(one.key).await;
    let mut times = Vec::new();
    for number in 0..500_u32 {
        let start = Instant::now();
        one.handle.send(two.key, number.to_be_bytes().to_vec()).await.unwrap();
        let (_, bytes) = two.frame().await;
        assert_eq!(bytes, number.to_be_bytes());
        two.handle.send(one.key, bytes).await.unwrap();
        one.frame().await;
        times.push(start.elapsed());
    }
    times.sort();
    println!("round trip p50 {:?}, p99 {:?}", times[250], times[495]);
    let start = Instant::now();
    for number in 0..900_u32 {
        one.handle.send(two.key, number.to_be_bytes().to_vec()).await.unwrap();
    }
    for number in 0..900_u32 {
        assert_eq!(two.frame().await.1, number.to_be_bytes());
    }
    println!("900 frames one way in {:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_to_oneself_and_over_quic_arrives() {
    let mut quic = config(1);
    quic.listen = vec![crate::peer::address("/ip4/127.0.0.1/udp/0/quic-v1")];
    let one = started(quic).await;
    one.handle.send(one.key, b"me".to_vec()).await.unwrap();
    assert_eq!(one.frame().await, (one.key, b"me".to_vec()));
    let two = joining(2, &one).await;
    two.connected(one.key).await;
    two.handle.send(one.key, b"you".to_vec()).await.unwrap();
    assert_eq!(one.frame().await, (two.key, b"you".to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_message_travels_no_further() {
    // A line of three: only the middle one, who rejects everything, connects the ends.
    let mut middle = config(2);
    middle.limits.min_peers = 0;
    let (handle, mut events) = cyxwiz_net::start(middle).await.unwrap();
    handle.subscribe("t").await.unwrap();
    let addresses = handle.snapshot().await.unwrap().addresses;
    let end = |number| {
        let mut config = config(number);
        config.join = addresses.clone();
        config.limits.min_peers = 0;
        config.limits.max_connections = 1;
        config
    };
    let (one, three) = (started(end(1)).await, started(end(3)).await);
    for peer in [&one, &three] {
        peer.connected(handle.key()).await;
        peer.handle.subscribe("t").await.unwrap();
    }
    one.handle.publish("t", b"bad".to_vec()).await.unwrap();
    let judge = handle.clone();
    let mut verdicts = [Verdict::Reject, Verdict::Accept].into_iter();
    let judging = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Gossip { id, source, .. } = event {
                let Some(verdict) = verdicts.next() else { return };
                judge.verdict(id, source, verdict).await.unwrap();
            }
        }
    });
    until("the first message judged", || async { handle.counters().gossip_rejected == 1 }).await;
    until("the third peer in the mesh", || async {
        let peers = handle.snapshot().await.unwrap().peers;
        peers.iter().filter(|it| !it.mesh.is_empty()).count() == 2
    })
    .await;
    one.handle.publish("t", b"good".to_vec()).await.unwrap();
    let first = three
        .wait("gossip", |event| match event {
            Event::Gossip { bytes, .. } => Some(bytes),
            _ => None,
        })
        .await;
    assert_eq!(first, b"good");
    judging.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_found_and_refused() {
    let mut storing = config(1);
    storing.accepts_record =
        Arc::new(|offer| offer.value.starts_with(b"ok") && offer.held.is_none());
    let one = started(storing).await;
    let two = joining(2, &one).await;
    let three = joining(3, &one).await;
    for peer in [&two, &three] {
        peer.wait("joined", |event| matches!(event, Event::Joined { .. }).then_some(())).await;
    }
    two.handle.put_record(b"k".to_vec(), b"ok 1".to_vec()).await.unwrap();
    until("the record found", || async {
        three.handle.get_record(b"k".to_vec()).await == Ok(vec![b"ok 1".to_vec()])
    })
    .await;
    // The first two answer every put; whether they keep it is for `accepts_record` to say.
    let _ = two.handle.put_record(b"b".to_vec(), b"bad".to_vec()).await;
    until("the bad one refused", || async { one.handle.counters().records_refused > 0 }).await;
    let huge = two.handle.put_record(b"h".to_vec(), vec![0; 9000]).await;
    assert!(huge.is_err(), "over the limit of 8 KiB");
    assert!(NETWORK.len() < 64);
}
