//! The question over real connections: a registrar, coordinators, and those who mean harm.

use cyxwiz_net::{Config, Event};
use cyxwiz_protocol::charter::{Credential, Founding, Ticket};
use cyxwiz_protocol::{Identity, StoreId};

use super::*;

/// A network whose charter's holder runs.
struct Lab {
    charter: Arc<Identity>,
    network: Network,
    holder: Handle,
    address: cyxwiz_net::Multiaddr,
    dir: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let charter = Arc::new(Identity::from_seed([1; 32]));
        let network = Network::new("lab", charter.id()).unwrap();
        let mut config = Config::new([2; 32], network.slug());
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.purposes = vec![FOUNDING];
        let (holder, mut events) = cyxwiz_net::start(config).await.unwrap();
        let address = holder.snapshot().await.unwrap().addresses[0].clone();
        let decisions = Decisions::open(dir.path(), Arc::clone(&charter), network.clone()).unwrap();
        let registrar = Registrar::new(decisions);
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if let Event::Stream { from, stream, .. } = event {
                    registrar.serve(from, stream);
                }
            }
        });
        Self { charter, network, holder, address, dir }
    }

    async fn peer(&self, number: u8) -> Handle {
        let mut config = Config::new([number; 32], self.network.slug());
        config.known = vec![self.address.clone()];
        config.purposes = vec![FOUNDING];
        let (handle, mut events) = cyxwiz_net::start(config).await.unwrap();
        tokio::spawn(async move { while events.next().await.is_some() {} });
        handle
    }

    fn seat(&self, peer: &Handle) -> Credential {
        self.seat_until(peer, UnixMillis(u64::MAX))
    }

    fn seat_until(&self, peer: &Handle, expires: UnixMillis) -> Credential {
        let ticket = Ticket::issue(&self.charter, &self.network, [3; 32], expires);
        ticket.seat(&self.network, PeerId(peer.key().0))
    }

    async fn ask(
        &self,
        peer: &Handle,
        store: u8,
        credential: Credential,
    ) -> Result<FoundingAnswer, AskError> {
        let question = FoundingQuestion { store: StoreId([store; 16]), credential };
        ask_founding(peer, self.holder.key(), &self.network, &question).await
    }

    /// Asks until there is an answer, as coordinators do.
    async fn founding(&self, peer: &Handle, store: u8) -> Founding {
        loop {
            match self.ask(peer, store, self.seat(peer)).await {
                Ok(FoundingAnswer::Founding(founding)) => return founding,
                Ok(FoundingAnswer::Refused(refusal)) => panic!("refused: {refusal}"),
                Err(AskError::Cut(_) | AskError::Open(_)) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn is_undecided(&self) -> bool {
        !self.dir.path().join("founding.json").exists()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_coordinators_that_ask_at_once_one_founds_and_all_hear_of_it() {
    let lab = Lab::new().await;
    let mut peers = Vec::new();
    for number in 10..14 {
        peers.push(lab.peer(number).await);
    }
    let (a, b, c, d) = tokio::join!(
        lab.founding(&peers[0], 10),
        lab.founding(&peers[1], 11),
        lab.founding(&peers[2], 12),
        lab.founding(&peers[3], 13),
    );
    assert!([b, c, d].iter().all(|it| *it == a), "{a:?} {b:?} {c:?} {d:?}");
    let founder = peers.iter().find(|it| it.key().0 == a.founder.0).expect("one of them");
    assert_eq!(a.store.0[0], founder_store(&peers, founder));
    // Its disk is lost: it hears of the old replica, which it no longer is.
    assert_eq!(lab.founding(founder, 99).await, a);
}

fn founder_store(peers: &[Handle], founder: &Handle) -> u8 {
    let at = peers.iter().position(|it| it.key() == founder.key()).unwrap();
    10 + u8::try_from(at).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_decided_for_who_has_no_seat_or_that_of_another() {
    let lab = Lab::new().await;
    let (stranger, member) = (lab.peer(20).await, lab.peer(21).await);
    let forged = {
        let ticket = Ticket::issue(
            &Identity::from_seed([9; 32]),
            &lab.network,
            [3; 32],
            UnixMillis(u64::MAX),
        );
        ticket.seat(&lab.network, PeerId(stranger.key().0))
    };
    let refused = |answer: Result<FoundingAnswer, AskError>| match answer.unwrap() {
        FoundingAnswer::Refused(refusal) => refusal,
        FoundingAnswer::Founding(founding) => panic!("{founding:?}"),
    };
    let stolen = lab.seat(&member);
    for credential in [forged, stolen] {
        let refusal = refused(lab.ask(&stranger, 1, credential).await);
        assert_eq!(refusal, FoundingRefusal::Seat);
    }
    let expired = lab.seat_until(&member, UnixMillis(1));
    assert_eq!(refused(lab.ask(&member, 1, expired).await), FoundingRefusal::Expired);
    assert!(lab.is_undecided());
    assert_eq!(lab.founding(&member, 1).await.founder.0, member.key().0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_peers_hold_up_nobody_else() {
    let lab = Lab::new().await;
    let (hostile, member) = (lab.peer(30).await, lab.peer(31).await);
    // One that says nothing; its further streams are closed at once.
    let silent = hostile.open_stream(lab.holder.key(), FOUNDING).await.unwrap();
    let mut second = hostile.open_stream(lab.holder.key(), FOUNDING).await.unwrap();
    let mut byte = [0; 1];
    let closed = second.read(&mut byte).await;
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    // The silent one is served in the meantime of this one, which is told at once.
    assert_eq!(lab.founding(&member, 1).await.founder.0, member.key().0);
    drop((silent, second));

    let announced_too_much = [0xff_u8, 0xff, 0xff, 0xff];
    let noise = [&64_u32.to_be_bytes()[..], &[0xab; 64]].concat();
    let noisy = lab.peer(32).await;
    for bytes in [&announced_too_much[..], &noise, &1_u32.to_be_bytes()] {
        let mut stream = noisy.open_stream(lab.holder.key(), FOUNDING).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut rest = Vec::new();
        // Whether it is closed or broken off is all the same.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{rest:?}");
    }
    let undisturbed = lab.peer(33).await;
    assert_eq!(lab.founding(&undisturbed, 2).await.founder.0, member.key().0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_decision_is_told_to_nobody() {
    let lab = Lab::new().await;
    let member = lab.peer(40).await;
    lab.founding(&member, 1).await;
    std::fs::write(lab.dir.path().join("founding.json"), b"damaged").unwrap();
    let answer = lab.ask(&member, 1, lab.seat(&member)).await.unwrap();
    assert_eq!(answer, FoundingAnswer::Refused(FoundingRefusal::Trouble));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_answer_is_not_believed() {
    let lab = Lab::new().await;
    let member = lab.peer(50).await;
    // A holder of another charter that pretends to be this network's.
    let mut config = Config::new([51; 32], lab.network.slug());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.purposes = vec![FOUNDING];
    let (impostor, mut events) = cyxwiz_net::start(config).await.unwrap();
    let (own, network) = (Identity::from_seed([9; 32]), lab.network.clone());
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Stream { from, mut stream, .. } = event {
                let replica = (PeerId(from.0), StoreId([1; 16]));
                let founding = Founding::sign(&own, &network, replica, 0, UnixMillis(1));
                let answer = FoundingAnswer::Founding(founding).to_bytes();
                write(&mut stream, &answer).await.unwrap();
            }
        }
    });
    let address = impostor.snapshot().await.unwrap().addresses[0].clone();
    member.dial(address).await.unwrap();
    let question = FoundingQuestion { store: StoreId([1; 16]), credential: lab.seat(&member) };
    loop {
        match ask_founding(&member, impostor.key(), &lab.network, &question).await {
            Err(AskError::Forged(_)) => break,
            Err(AskError::Open(_) | AskError::Cut(_)) => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    }
}
