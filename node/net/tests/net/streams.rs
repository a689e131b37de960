//! Bulk streams, and what is sent to peers that are not there.

use cyxwiz_net::{Event, HandleError, OpenError, PeerKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::peer::{config, joining, started};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_stream_carries_bytes_both_ways() {
    let mut serving = config(1);
    serving.purposes = vec!["artifacts"];
    let one = started(serving).await;
    let mut asking = config(2);
    asking.purposes = vec!["artifacts", "unserved"];
    asking.join = one.addresses().await;
    let two = started(asking).await;
    two.connected(one.key).await;
    let mut out = two.handle.open_stream(one.key, "artifacts").await.unwrap();
    // More than fits on the way: it goes on only while the other side reads.
    let writing = tokio::spawn(async move {
        out.write_all(&vec![7; 600_000]).await.unwrap();
        out.shutdown().await.unwrap();
        out.read_u64().await.unwrap()
    });
    let (from, purpose, mut stream) = one
        .wait("stream", |event| match event {
            Event::Stream { from, purpose, stream } => Some((from, purpose, stream)),
            _ => None,
        })
        .await;
    assert_eq!((from, purpose), (two.key, "artifacts"));
    let echo = tokio::spawn(async move {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        stream.write_all(&(bytes.len() as u64).to_be_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    assert_eq!(writing.await.unwrap(), 600_000);
    echo.await.unwrap();
    let refused = two.handle.open_stream(one.key, "unserved").await.unwrap_err();
    assert!(matches!(refused, OpenError::Refused { .. }), "{refused}");
    let unknown = two.handle.open_stream(one.key, "nonsense").await.unwrap_err();
    assert!(matches!(unknown, OpenError::UnknownPurpose { .. }), "{unknown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_for_nobody_fails_in_words() {
    let one = started(config(1)).await;
    let two = joining(2, &one).await;
    two.connected(one.key).await;
    let nobody = PeerKey::of_secret([99; 32]);
    two.handle.send(nobody, b"hello?".to_vec()).await.unwrap();
    let (to, frames, reason) = two
        .wait("failure", |event| match event {
            Event::SendFailed { to, frames, reason } => Some((to, frames, reason)),
            _ => None,
        })
        .await;
    assert_eq!((to, frames), (nobody, 1));
    assert!(reason.contains("no address of that peer is known"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_delivers_what_is_queued_and_closes_the_handle() {
    let one = started(config(1)).await;
    let two = joining(2, &one).await;
    two.connected(one.key).await;
    two.handle.send(one.key, b"last words".to_vec()).await.unwrap();
    two.handle.shutdown().await;
    assert_eq!(one.frame().await, (two.key, b"last words".to_vec()));
    assert_eq!(two.handle.send(one.key, Vec::new()).await, Err(HandleError::Closed));
}
