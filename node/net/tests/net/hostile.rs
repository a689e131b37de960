//! Peers that break the rules: they are cut off, and nobody else notices.

use std::time::Duration;

use cyxwiz_net::{Event, HandleError};
use tokio::io::AsyncWriteExt;

use crate::peer::{config, joining, started, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_frame_ends_the_connection_and_is_counted() {
    let mut small = config(1);
    small.limits.max_frame_bytes = 1000;
    let one = started(small).await;
    let two = joining(2, &one).await;
    two.connected(one.key).await;
    one.connected(two.key).await;
    two.handle.send(one.key, vec![1; 1000]).await.unwrap();
    assert_eq!(one.frame().await.1.len(), 1000);
    two.handle.send(one.key, vec![1; 1001]).await.unwrap();
    one.wait("disconnection", |event| match event {
        Event::Disconnected(peer) if peer == two.key => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(one.handle.counters().frames_oversized, 1);
    let refused = one.handle.send(two.key, vec![0; 1001]).await;
    assert_eq!(refused, Err(HandleError::TooLarge { bytes: 1001, limit: 1000 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_stream_hurts_nobody_else() {
    let one = started(config(1)).await;
    let mut hostile = config(2);
    // The name of the frames' own protocol: what it writes there is up to it.
    hostile.purposes = vec!["frames"];
    hostile.join = one.addresses().await;
    let hostile = started(hostile).await;
    let honest = joining(3, &one).await;
    hostile.connected(one.key).await;
    honest.connected(one.key).await;
    for garbage in [&[0xff; 64][..], &[0, 0, 1, 0, 1], &[0, 0], &[]] {
        // The other side may be hanging up just now, for what came before.
        let Ok(mut stream) = hostile.handle.open_stream(one.key, "frames").await else { continue };
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
    }
    until("garbage noticed", || async { one.handle.counters().frames_oversized > 0 }).await;
    honest.handle.send(one.key, b"still here".to_vec()).await.unwrap();
    let (from, bytes) = one.frame().await;
    assert_eq!((from, bytes.as_slice()), (honest.key, &b"still here"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_nobody_takes_holds_up_only_its_sender() {
    let mut limited = config(1);
    limited.limits.inbound_bytes_per_peer = 64 << 10;
    limited.limits.max_frame_bytes = 16 << 10;
    let (handle, mut events) = cyxwiz_net::start(limited).await.unwrap();
    let addresses = handle.snapshot().await.unwrap().addresses;
    let peer = |number| {
        let mut config = config(number);
        config.join = addresses.clone();
        config.limits.per_peer_queue = 64;
        config
    };
    let (flooding, honest) = (started(peer(2)).await, started(peer(3)).await);
    flooding.connected(handle.key()).await;
    honest.connected(handle.key()).await;
    for _ in 0..400 {
        flooding.handle.send(handle.key(), vec![0; 16 << 10]).await.unwrap();
    }
    flooding
        .wait("failure to send", |event| match event {
            Event::SendFailed { to, .. } if to == handle.key() => Some(()),
            _ => None,
        })
        .await;
    honest.handle.send(handle.key(), b"me too".to_vec()).await.unwrap();
    until("the honest frame in", || async { handle.counters().frames_in >= 5 }).await;
    let mut before = 0;
    loop {
        match tokio::time::timeout(Duration::from_secs(20), events.next()).await.unwrap() {
            Some(Event::Frame { from, .. }) if from == honest.key => break,
            Some(Event::Frame { .. }) => before += 1,
            Some(_) => {}
            None => panic!("ended"),
        }
    }
    // Four frames are the flooder's share; some more come in while these are taken.
    assert!(before < 40, "{before} frames of the flood came first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_banned_peer_stays_out_for_its_time() {
    let one = started(config(1)).await;
    let two = joining(2, &one).await;
    one.connected(two.key).await;
    one.handle.disconnect(two.key, Duration::from_secs(3)).await.unwrap();
    one.wait("disconnection", |event| match event {
        Event::Disconnected(peer) if peer == two.key => Some(()),
        _ => None,
    })
    .await;
    until("a refused return", || async { one.handle.counters().banned_refused > 0 }).await;
    one.connected(two.key).await;
}
