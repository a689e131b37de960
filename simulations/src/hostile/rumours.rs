//! What goes round among hostile hosts: calls for bids, the committee's record, and frames of
//! others. They tell each other everything.

use std::collections::VecDeque;

use cyxwiz_protocol::{
    Attempt, JobId, NetworkId, Run, Topic,
    message::{
        Gossip, Message,
        auction::{Announcement, Auction},
        decode_gossip,
        membership::CommitteeRecord,
    },
    signed::{Signed, Verified},
};

/// Calls that are remembered.
const CALLS: usize = 64;
/// Frames of others that are remembered.
const FRAMES: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Rumours {
    /// Jobs and the attempts that they were called out for.
    pub(super) calls: VecDeque<(JobId, Attempt)>,
    pub(super) announcement: Option<Verified<Announcement>>,
    pub(super) committee: Option<Verified<CommitteeRecord>>,
    /// Direct frames of honest hosts to coordinators.
    pub(super) frames: VecDeque<Vec<u8>>,
    pub(super) gossip: VecDeque<(Topic, Vec<u8>)>,
}

impl Rumours {
    /// A gossip message comes to everyone's ears; true when it calls for bids.
    pub(crate) fn note_gossip(&mut self, network: NetworkId, topic: Topic, frame: &[u8]) -> bool {
        keep(&mut self.gossip, (topic, frame.to_vec()), FRAMES);
        match decode_gossip(network, frame) {
            Ok(Gossip::Announcement(signed)) => self.note_announcement(network, &signed),
            Ok(Gossip::Committee(signed)) => {
                if let Ok(record) = signed.verify(network) {
                    self.committee = Some(record);
                }
                false
            }
            Ok(Gossip::Report(_)) | Err(_) => false,
        }
    }

    /// What one of them was told, all know.
    pub(crate) fn note_direct(&mut self, network: NetworkId, message: &Message) {
        if let Message::Auction(Auction::Invitation(signed)) = message {
            self.note_announcement(network, signed);
        }
    }

    fn note_announcement(&mut self, network: NetworkId, signed: &Signed<Announcement>) -> bool {
        let Ok(announcement) = signed.verify(network) else {
            return false;
        };
        for call in &announcement.calls {
            keep(&mut self.calls, (call.job, call.attempt), CALLS);
        }
        self.announcement = Some(announcement);
        true
    }

    pub(crate) fn note_frame(&mut self, frame: &[u8]) {
        keep(&mut self.frames, frame.to_vec(), FRAMES);
    }

    /// The attempts that were called out, the newest last.
    pub(super) fn runs(&self) -> Vec<Run> {
        self.calls.iter().map(|&(job, attempt)| Run { job, attempt }).collect()
    }
}

fn keep<T>(list: &mut VecDeque<T>, item: T, most: usize) {
    if list.len() == most {
        list.pop_front();
    }
    list.push_back(item);
}
