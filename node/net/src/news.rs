//! News on their way to an owner who is behind. The swarm never waits for its owner, so what
//! does not fit its queue gathers here, merged so that it cannot grow without bound: a peer that
//! came and went unseen is no news, failed sends to one peer are one entry, and news that only
//! inform are dropped when there are too many.

use std::collections::VecDeque;

use crate::event::Event;
use crate::handle::Counters;

#[derive(Debug, Default)]
pub(crate) struct News {
    waiting: VecDeque<Event>,
}

impl News {
    pub(crate) fn push(&mut self, event: Event, counters: &Counters) {
        match &event {
            Event::Disconnected(peer) => {
                let unseen =
                    |it: &Event| matches!(it, Event::Connected(connected) if connected == peer);
                if let Some(at) = self.waiting.iter().position(unseen) {
                    self.waiting.remove(at);
                    return;
                }
            }
            Event::SendFailed { to, frames, .. } => {
                for earlier in &mut self.waiting {
                    if let Event::SendFailed { to: same, frames: sum, .. } = earlier
                        && same == to
                    {
                        *sum += frames;
                        return;
                    }
                }
            }
            // Bounded by the connections there can be, and taken back above.
            Event::Connected(_) => {}
            Event::Listening(_)
            | Event::Frame { .. }
            | Event::Gossip { .. }
            | Event::Stream { .. }
            | Event::JoinFailing { .. }
            | Event::Joined { .. }
            | Event::AddressLearned { .. }
            | Event::ForeignNetwork { .. } => {
                if self.waiting.len() >= MAX_WAITING {
                    counters.news_dropped.add(1);
                    return;
                }
            }
        }
        self.waiting.push_back(event);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.waiting.pop_front()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// Beyond this, news that only inform are dropped.
pub(crate) const MAX_WAITING: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PeerKey;

    #[test]
    fn news_nobody_takes_stay_bounded() {
        let mut news = News::default();
        let counters = Counters::default();
        let peer = PeerKey([1; 32]);
        for _ in 0..10_000 {
            news.push(Event::Connected(peer), &counters);
            news.push(Event::Disconnected(peer), &counters);
            let failed = Event::SendFailed { to: peer, frames: 2, reason: "gone".to_owned() };
            news.push(failed, &counters);
            news.push(Event::Joined { via: peer }, &counters);
        }
        assert!(news.len() <= MAX_WAITING + 1, "{}", news.len());
        let Some(Event::SendFailed { frames, .. }) = news.pop() else { panic!("merged failures") };
        assert_eq!(frames, 20_000);
    }

    #[test]
    fn a_peer_seen_to_come_is_seen_to_go() {
        let mut news = News::default();
        let counters = Counters::default();
        let peer = PeerKey([1; 32]);
        news.push(Event::Connected(peer), &counters);
        assert!(matches!(news.pop(), Some(Event::Connected(_))));
        news.push(Event::Disconnected(peer), &counters);
        assert!(matches!(news.pop(), Some(Event::Disconnected(_))));
        assert!(news.is_empty());
    }
}
