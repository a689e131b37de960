//! The record over real swarms: the leader goes, and who comes later finds it at others.

use std::sync::Arc;

use cyxwiz_net::{Config, Event, Multiaddr, NetSnapshot};
use cyxwiz_protocol::{
    Ballot, CellId, Identity, StoreId, UnixMillis,
    charter::{Founding, Ticket},
    message::{
        Message, encode_message,
        membership::{CommitteeRecord, Member, Membership},
    },
    notice::keeps_committee,
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

struct Lab {
    charter: Identity,
    network: Network,
}

impl Lab {
    fn new() -> Self {
        let charter = Identity::from_seed([1; 32]);
        let network = Network::new("lab", charter.id()).unwrap();
        Self { charter, network }
    }

    async fn peer(&self, number: u8, join: &[Multiaddr]) -> Handle {
        let mut config = Config::new([number; 32], self.network.slug());
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.join = join.to_vec();
        let network = self.network.clone();
        config.accepts_record = Arc::new(move |offer| {
            offer.key == committee_key(&network)
                && keeps_committee(&network, offer.value, offer.held)
        });
        let (handle, mut events) = cyxwiz_net::start(config).await.unwrap();
        let (joined, join_done) = tokio::sync::oneshot::channel();
        let mut joined = Some(joined);
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if matches!(event, Event::Joined { .. })
                    && let Some(joined) = joined.take()
                {
                    let _ = joined.send(());
                }
            }
        });
        if !join.is_empty() {
            tokio::time::timeout(PATIENCE, join_done).await.expect("it joins").unwrap();
        }
        handle
    }

    fn record(&self, leader: &Identity, term: u64) -> Vec<u8> {
        let (peer, store) = (leader.id(), StoreId([1; 16]));
        let forever = UnixMillis(u64::MAX);
        let ticket = Ticket::issue(&self.charter, &self.network, [3; 32], forever);
        let replica = (peer, store);
        let founding = Founding::sign(&self.charter, &self.network, replica, 0, UnixMillis(1));
        let credential = ticket.seat(&self.network, peer);
        let record = CommitteeRecord {
            cell: CellId::default(),
            founding,
            epoch: 1,
            ballot: Ballot { term, leader: peer },
            members: vec![Member { peer, store, credential }],
        };
        let id = self.network.id();
        let signed = leader.sign(id, UnixMillis(1), 1, record).into_signed();
        encode_message(id, &Message::Membership(Membership::Committee(signed)))
    }
}

async fn snapshot(peer: &Handle) -> NetSnapshot {
    peer.snapshot().await.unwrap()
}

/// Looks until a record is there that `wanted` likes.
async fn find(
    lab: &Lab,
    notice: &mut Notice,
    net: &Handle,
    wanted: impl Fn(&[u8]) -> bool,
) -> Vec<u8> {
    let deadline = Instant::now() + PATIENCE;
    let me = PeerId(net.key().0);
    let mut turn = tokio::time::interval(Duration::from_millis(20));
    loop {
        // No pause between two looks, which a user would have.
        notice.looked_at = None;
        notice.tend(net, &lab.network, me, None);
        if let Some(found) = notice.take_found().await
            && wanted(&found)
        {
            return found;
        }
        assert!(Instant::now() < deadline, "no record: {:?}", snapshot(net).await);
        turn.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_after_the_leader_went_finds_its_record_at_others() {
    let lab = Lab::new();
    let leader = Identity::from_seed([12; 32]);
    let first = lab.peer(11, &[]).await;
    let join = snapshot(&first).await.addresses;
    let leading = lab.peer(12, &join).await;
    let third = lab.peer(13, &join).await;

    let (mut notice, record) = (Notice::default(), lab.record(&leader, 1));
    notice.tend(&leading, &lab.network, leader.id(), Some((leader.id(), record.clone())));
    notice.putting.take().expect("it is put").await.unwrap().unwrap();
    // The same again is put only after a while.
    notice.tend(&leading, &lab.network, leader.id(), Some((leader.id(), record.clone())));
    assert!(notice.putting.is_none());
    leading.shutdown().await;

    let late = lab.peer(14, &join).await;
    let mut looking = Notice::default();
    looking.on_connected(PeerId(first.key().0));
    assert_eq!(find(&lab, &mut looking, &late, |_| true).await, record);

    // Another of the same network took over; a forger puts what nobody believes.
    let newer = lab.record(&Identity::from_seed([13; 32]), 2);
    let me = PeerId(third.key().0);
    let mut taking_over = Notice::default();
    taking_over.tend(&third, &lab.network, me, Some((me, newer.clone())));
    taking_over.putting.take().expect("it is put").await.unwrap().unwrap();
    let _ = late.put_record(committee_key(&lab.network), b"forged".to_vec()).await;
    let found = find(&lab, &mut looking, &late, |found| found == newer.as_slice()).await;
    assert_eq!(found, newer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_looks_only_when_there_is_somebody_to_ask_and_a_reason() {
    let lab = Lab::new();
    let net = lab.peer(21, &[]).await;
    let (me, leader) = (PeerId(net.key().0), Identity::from_seed([22; 32]));
    let mut notice = Notice::default();
    notice.tend(&net, &lab.network, me, None);
    assert!(notice.looking.is_none(), "nobody is connected");
    notice.on_connected(leader.id());
    let known = Some((leader.id(), lab.record(&leader, 1)));
    notice.tend(&net, &lab.network, me, known.clone());
    assert!(notice.looking.is_none(), "the leader is there");
    notice.on_connected(me);
    notice.on_disconnected(leader.id());
    notice.tend(&net, &lab.network, me, known.clone());
    assert!(notice.looking.is_some() && notice.put.is_none());
    notice.looking = None;
    notice.tend(&net, &lab.network, me, known);
    assert!(notice.looking.is_none(), "not again at once");
}
