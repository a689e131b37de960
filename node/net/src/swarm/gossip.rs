//! Gossip: topics, publishing, and messages on their way to the owner's verdict. A hint that
//! does not fit is dropped and counted; nothing waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::gossipsub::{self, IdentTopic, MessageAcceptance, MessageId, PublishError};

use super::Net;
use crate::event::{Event, GossipId, Shared};
use crate::handle::Verdict;
use crate::key::PeerKey;

/// Messages published while nobody was known to listen, as is normal just after joining.
#[derive(Debug, Default)]
pub(super) struct Unpublished {
    waiting: VecDeque<(IdentTopic, Vec<u8>, Instant)>,
}

impl Net {
    pub(super) fn publish(&mut self, topic: &str, frame: Vec<u8>) {
        let topic = IdentTopic::new(self.names.topic(topic));
        if self.try_publish(&topic, &frame) {
            return;
        }
        if self.unpublished.waiting.len() >= MAX_UNPUBLISHED {
            self.counters.publish_dropped.add(1);
            return;
        }
        self.unpublished.waiting.push_back((topic, frame, Instant::now() + PATIENCE));
    }

    pub(super) fn publish_waiting(&mut self, now: Instant) {
        for _ in 0..self.unpublished.waiting.len() {
            let Some((topic, frame, until)) = self.unpublished.waiting.pop_front() else { return };
            if now > until {
                self.counters.publish_dropped.add(1);
            } else if !self.try_publish(&topic, &frame) {
                self.unpublished.waiting.push_back((topic, frame, until));
            }
        }
    }

    /// Whether that was all that can be done for the message.
    fn try_publish(&mut self, topic: &IdentTopic, frame: &[u8]) -> bool {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        match gossip.publish(topic.clone(), frame) {
            Ok(_) => {
                self.counters.gossip_out.add(1);
                self.counters.gossip_bytes_out.add(frame.len() as u64);
                true
            }
            Err(PublishError::Duplicate) => true,
            Err(PublishError::NoPeersSubscribedToTopic) => false,
            Err(error) => {
                tracing::debug!(%error, %topic, "gossip not published");
                self.counters.publish_dropped.add(1);
                true
            }
        }
    }

    pub(super) fn subscribe(&mut self, topic: &str) {
        let topic = IdentTopic::new(self.names.topic(topic));
        if let Err(error) = self.swarm.behaviour_mut().gossip.subscribe(&topic) {
            tracing::warn!(%error, %topic, "cannot subscribe");
        }
    }

    pub(super) fn unsubscribe(&mut self, topic: &str) {
        let topic = IdentTopic::new(self.names.topic(topic));
        self.swarm.behaviour_mut().gossip.unsubscribe(&topic);
    }

    pub(super) fn on_verdict(&mut self, id: GossipId, source: PeerKey, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => {
                self.counters.gossip_rejected.add(1);
                MessageAcceptance::Reject
            }
        };
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let id = MessageId::new(&id.0);
        gossip.report_message_validation_result(&id, &source.to_peer_id(), acceptance);
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                if !self.offer_gossip(propagation_source, &message_id, message) {
                    self.counters.gossip_dropped.add(1);
                    let gossip = &mut self.swarm.behaviour_mut().gossip;
                    gossip.report_message_validation_result(
                        &message_id,
                        &propagation_source,
                        MessageAcceptance::Ignore,
                    );
                }
            }
            gossipsub::Event::Subscribed { .. } => self.publish_waiting(Instant::now()),
            gossipsub::Event::Unsubscribed { .. } => {}
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                tracing::trace!(peer = %peer_id, "does not gossip");
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                tracing::debug!(peer = %peer_id, "takes gossip too slowly");
            }
        }
    }

    fn offer_gossip(
        &mut self,
        source: libp2p::PeerId,
        id: &MessageId,
        message: gossipsub::Message,
    ) -> bool {
        self.counters.gossip_in.add(1);
        self.counters.gossip_bytes_in.add(message.data.len() as u64);
        let (Some(key), Ok(id)) = (PeerKey::from_peer_id(&source), id.0.as_slice().try_into())
        else {
            return false;
        };
        let Some(topic) = self.names.topic_of(message.topic.as_str()) else { return false };
        let topic = topic.to_owned();
        let share = Arc::clone(&self.shares_of(source).gossip);
        let Ok(share) = share.try_acquire_owned() else { return false };
        let event = Event::Gossip { topic, source: key, id: GossipId(id), bytes: message.data };
        let shared = Shared { event, _shares: [Some(share), None] };
        self.queues.gossip.try_send(shared).is_ok()
    }
}

/// Messages that may wait for a listener.
const MAX_UNPUBLISHED: usize = 64;

/// How long they wait: as long as gossip would take to recover them.
const PATIENCE: Duration = Duration::from_secs(5);
