//! Asks the holder of the charter whether this replica begins the committee. Goes on beside a
//! running node until there is an answer, and never holds up its start: a coordinator that was not
//! answered yet is a candidate like any other.

use std::{path::Path, path::PathBuf, time::Duration};

use cyxwiz_bootstrap::ask_founding;
use cyxwiz_net::{Handle, Multiaddr, PeerKey};
use cyxwiz_protocol::{
    Command, PeerId, StoreId,
    charter::{Credential, Founding, FoundingAnswer, FoundingQuestion},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    driver::Call,
    membership::{Membership, NEW_COMMITTEE_THERE, warn_of_lost_store},
};

/// A coordinator with a question.
#[derive(Debug)]
pub(crate) struct Asker {
    net: Handle,
    calls: mpsc::Sender<Call>,
    dir: PathBuf,
    membership: Membership,
    peer: PeerId,
    store: StoreId,
}

impl Asker {
    /// For the replica `(peer, store)`, which has its place in the network in `dir`.
    pub(crate) fn new(
        net: Handle,
        calls: mpsc::Sender<Call>,
        dir: &Path,
        membership: &Membership,
        (peer, store): (PeerId, StoreId),
    ) -> Self {
        let (dir, membership) = (dir.to_owned(), membership.clone());
        Self { net, calls, dir, membership, peer, store }
    }

    /// Asks until it is answered. In a network of this peer's own there is nobody to ask.
    pub(crate) async fn run(mut self) {
        let Some(credential) = self.membership.credential else { return };
        if self.membership.network.charter() == self.peer {
            return;
        }
        let holders = self.holders();
        if holders.is_empty() && self.membership.founding.is_none() {
            tracing::warn!(
                "it is not known who holds the network's charter: join once with the \
                 coordinator's invite, or this peer never begins a committee"
            );
        }
        if holders.is_empty() {
            return;
        }
        let mut pause = FIRST_PAUSE;
        loop {
            for holder in &holders {
                if let Some(answer) = self.ask(*holder, credential).await {
                    return self.on_answer(answer).await;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn holders(&self) -> Vec<PeerKey> {
        let addresses = self.membership.holders.iter();
        let parsed = addresses.filter_map(|address| address.parse::<Multiaddr>().ok());
        let mut holders: Vec<_> =
            parsed.filter_map(|address| PeerKey::of_address(&address)).collect();
        holders.sort_unstable();
        holders.dedup();
        holders
    }

    async fn ask(&self, holder: PeerKey, credential: Credential) -> Option<FoundingAnswer> {
        let question = FoundingQuestion { store: self.store, credential };
        let asked = ask_founding(&self.net, holder, &self.membership.network, &question).await;
        asked
            .inspect_err(|error| {
                let cause = std::error::Error::source(error).map(tracing::field::display);
                tracing::debug!(%holder, %error, cause, "not told yet who begins the committee");
            })
            .ok()
    }

    async fn on_answer(&mut self, answer: FoundingAnswer) {
        let founding = match answer {
            FoundingAnswer::Founding(founding) => founding,
            FoundingAnswer::Refused(refusal) => {
                tracing::warn!(
                    "the holder of the charter does not say who begins the committee: {refusal}"
                );
                return;
            }
        };
        if (founding.founder, founding.store) == (self.peer, self.store) {
            return self.begin(founding).await;
        }
        if founding.founder == self.peer {
            return warn_of_lost_store(NEW_COMMITTEE_THERE);
        }
        if self.membership.founding.is_some_and(|own| own.generation < founding.generation) {
            // What this peer founded was set aside: it must not begin that again.
            self.membership.founding = None;
            if let Err(error) = self.membership.keep(&self.dir) {
                tracing::error!(%error, "a founding that counts no more is still noted");
            }
        }
        let (founder, generation) = (founding.founder, founding.generation);
        tracing::info!(%founder, generation, "another coordinator begins the committee");
        self.watch_for_committee(founder).await;
    }

    /// A founder that never comes keeps everybody waiting: that is for a person to know.
    async fn watch_for_committee(&self, founder: PeerId) {
        tokio::time::sleep(FOUNDED_BY_THEN).await;
        let (reply, status) = oneshot::channel();
        if self.calls.send(Call::Status { reply }).await.is_err() {
            return;
        }
        if status.await.is_ok_and(|status| status.committee.is_none()) {
            tracing::warn!(
                %founder,
                "no committee is known, and only that coordinator may begin one: start it; if its \
                 disk is lost for good, run {NEW_COMMITTEE_THERE}"
            );
        }
    }

    /// On disk before the peer acts on it; the node may be told again at its next start.
    async fn begin(&mut self, founding: Founding) {
        if self.membership.founding != Some(founding) {
            self.membership.founding = Some(founding);
            if let Err(error) = self.membership.keep(&self.dir) {
                tracing::error!(%error, "this peer may begin the committee but cannot note it");
                return;
            }
        }
        tracing::info!(generation = founding.generation, "this coordinator begins the committee");
        let (reply, done) = oneshot::channel();
        let command = Command::Found(Box::new(founding));
        if self.calls.send(Call::Command { command, reply }).await.is_ok() {
            // Nothing is left to do, whatever it says; without an answer the node has ended.
            let _ = done.await;
        }
    }
}

/// The pauses between two rounds of questions that nobody answered.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A committee that nobody has heard of by then is worth a word.
const FOUNDED_BY_THEN: Duration = Duration::from_secs(60);
