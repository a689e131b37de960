//! The committee's record in the network's hash table: its leader puts it there, and whoever knows
//! no committee, or cannot reach the leader that it knows, looks it up. Both go on beside the
//! driver's loop; what a record must be, to be kept or believed, is the protocol's to say.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use cyxwiz_net::{Handle, RecordError};
use cyxwiz_protocol::{
    Network, PeerId,
    notice::{committee_key, newest_committee},
};
use futures::FutureExt;
use tokio::task::JoinHandle;

use crate::clock::unix_now;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Notice {
    /// Bounded by the connections there can be.
    connected: BTreeSet<PeerId>,
    /// What was put last, and when.
    put: Option<(Vec<u8>, Instant)>,
    putting: Option<JoinHandle<Result<(), RecordError>>>,
    looked_at: Option<Instant>,
    looking: Option<JoinHandle<Option<Vec<u8>>>>,
}

impl Notice {
    pub(super) fn on_connected(&mut self, peer: PeerId) {
        self.connected.insert(peer);
    }

    pub(super) fn on_disconnected(&mut self, peer: PeerId) {
        self.connected.remove(&peer);
    }

    /// The record that was looked for, once it is found.
    pub(super) async fn take_found(&mut self) -> Option<Vec<u8>> {
        self.looking.take_if(|it| it.is_finished())?.await.ok()?
    }

    /// Does what is due: `known` is the leader that this peer, `me`, knows, and its record.
    pub(super) fn tend(
        &mut self,
        net: &Handle,
        network: &Network,
        me: PeerId,
        known: Option<(PeerId, Vec<u8>)>,
    ) {
        match known {
            Some((leader, frame)) if leader == me => self.put(net, network, frame),
            Some((leader, _)) if self.connected.contains(&leader) => {}
            Some(_) => self.look(net, network, LOOK_FOR_NEWER),
            None => self.look(net, network, LOOK),
        }
    }

    fn put(&mut self, net: &Handle, network: &Network, frame: Vec<u8>) {
        if let Some(putting) = self.putting.take_if(|it| it.is_finished())
            && !matches!(putting.now_or_never(), Some(Ok(Ok(()))))
        {
            self.put = None;
        }
        if self.putting.is_some() {
            return;
        }
        let fresh = |(last, at): &(Vec<u8>, Instant)| *last == frame && at.elapsed() < PUT_AGAIN;
        if self.put.as_ref().is_some_and(fresh) {
            return;
        }
        let news = self.put.as_ref().is_none_or(|(last, _)| *last != frame);
        self.put = Some((frame.clone(), Instant::now()));
        let (net, key) = (net.clone(), committee_key(network));
        self.putting = Some(tokio::spawn(async move {
            let outcome = net.put_record(key, frame).await;
            match &outcome {
                Ok(()) if news => tracing::info!("others keep the committee's record"),
                Ok(()) => {}
                // Alone in the network there is nobody to keep it.
                Err(error) => tracing::debug!(%error, "the committee's record was not put"),
            }
            outcome
        }));
    }

    fn look(&mut self, net: &Handle, network: &Network, pause: Duration) {
        let soon = self.looked_at.is_some_and(|at| at.elapsed() < pause);
        if soon || self.looking.is_some() || self.connected.is_empty() {
            return;
        }
        self.looked_at = Some(Instant::now());
        let (net, network) = (net.clone(), network.clone());
        self.looking = Some(tokio::spawn(async move {
            let found = net.get_record(committee_key(&network)).await;
            match found {
                Ok(found) => newest_committee(&network, &found),
                Err(error) => {
                    tracing::debug!(%error, "the committee's record was not found");
                    None
                }
            }
        }));
    }
}

/// How often the leader puts the record again: those who keep it come and go.
const PUT_AGAIN: Duration = Duration::from_secs(60);
/// How often who knows no committee looks for one.
const LOOK: Duration = Duration::from_secs(4);
/// How often who is not connected to the leader looks for another: most such peers merely need
/// nothing of it.
const LOOK_FOR_NEWER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
