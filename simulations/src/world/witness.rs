//! What leaves coordinators, told to the invariants: promises, awards, and under which ballot.

use cyxwiz_protocol::{
    Ballot, Input, Key, Peer, Topic,
    message::{
        Gossip, Message, auction::Auction, decode_gossip, pausing::Pausing, run::RunStep,
        run::Verdict, submission::Submission,
    },
};

use super::World;
use crate::{host::Part, invariant::Fact, queue::HostId};

impl World {
    /// The coordinator that acts under the highest ballot. Others may believe to lead for a
    /// while; they decide nothing any more.
    pub(super) fn acting_leader(&self) -> Option<HostId> {
        self.leaders().last().copied()
    }

    /// The coordinators that say they lead, by their ballots.
    pub(super) fn leaders(&self) -> Vec<HostId> {
        let mut leaders: Vec<_> = self
            .coordinators()
            .iter()
            .filter(|host| host.leads())
            .map(|host| (self.ballot_of(host.id), host.id))
            .collect();
        leaders.sort_unstable();
        leaders.into_iter().map(|(_, id)| id).collect()
    }

    /// The ballot under which a coordinator leads, as it says.
    fn ballot_of(&self, id: HostId) -> Option<Ballot> {
        let host = self.host(id);
        let committee = host.peer.as_ref()?.committee()?;
        (committee.ballot.leader == host.peer_id).then_some(committee.ballot)
    }

    /// Whether nobody was seen to lead under a higher ballot, ever: one that was cut off or stood
    /// still while another led says so for a while, also when that other is gone again.
    pub(super) fn is_newest(&mut self, id: HostId) -> bool {
        let ballot = self.ballot_of(id);
        let highest = &mut self.troubles.highest;
        *highest = (*highest).max(ballot);
        ballot.is_some() && ballot == *highest
    }

    /// Something leaves a coordinator for one host.
    pub(super) fn witness(&mut self, from: HostId, message: &Message) {
        match message {
            Message::Auction(Auction::Invitation(announcement)) => {
                let Ok(announcement) = announcement.verify(self.identity.id()) else { return };
                let (author, ballot) = (announcement.author(), announcement.ballot);
                let life = self.host(from).life().number;
                self.judge.see(self.now, &Fact::Acted { author, ballot, life });
            }
            Message::Auction(Auction::Award { award, .. }) => {
                let Ok(award) = award.verify(self.identity.id()) else { return };
                let (author, ballot) = (award.author(), award.ballot);
                self.troubles.highest = self.troubles.highest.max(Some(ballot));
                let life = self.host(from).life().number;
                self.judge.see(self.now, &Fact::Acted { author, ballot, life });
                let (run, worker) = (award.run(), award.worker);
                self.judge.see(self.now, &Fact::Awarded { run, worker });
            }
            Message::Submission(Submission::Accepted { job, .. }) => {
                self.see_told(from, *job, "accepted");
            }
            Message::Submission(Submission::CancelNoted { job, .. }) => {
                self.see_told(from, *job, "to be cancelled");
            }
            Message::Pausing(Pausing::Noted { job, .. }) => {
                self.see_told(from, *job, "to be paused or resumed");
            }
            Message::Run(RunStep::Counted { run, verdict: Verdict::Counted }) => {
                self.judge.see(self.now, &Fact::CountedTold { run: *run });
                self.see_told(from, run.job, "counted");
            }
            Message::Submission(_)
            | Message::Pausing(_)
            | Message::Auction(_)
            | Message::Run(_)
            | Message::Membership(_)
            | Message::Query(_) => {}
            Message::Replication(replication) => self.witness_replica(from, replication),
        }
    }

    /// How many of the committee that the speaker belongs to hold a job on their disks.
    fn see_told(&mut self, from: HostId, job: cyxwiz_protocol::JobId, what: &'static str) {
        self.is_newest(from);
        let Some(committee) = self.host(from).peer.as_ref().and_then(Peer::committee) else {
            return;
        };
        let key = Key::Register(job).to_bytes();
        let holds = |host: &crate::host::Host| {
            let seat = |member: &cyxwiz_protocol::message::membership::Member| {
                (member.peer, member.store) == (host.peer_id, host.store())
            };
            committee.members.iter().any(seat) && host.disk.holds(&key)
        };
        let holding = self.coordinators().iter().filter(|host| holds(host)).count();
        let members = committee.members.len();
        // With a new disk a member is another one, and while members change each side counts by
        // itself: what was told must outlive a minority then too, which another invariant sees to.
        if self.troubles.counts.lost_disks == 0 && self.sits_among(from, members) {
            let told = Fact::Told { job, what, holding, members };
            self.judge.see(self.now, &told);
        }
    }

    /// Something is published; hostile hosts listen to everything.
    pub(super) fn witness_gossip(&mut self, from: HostId, topic: Topic, frame: &[u8]) {
        self.rumour(from, topic, frame);
        if self.host(from).part != Part::Coordinator {
            return;
        }
        let network = self.identity.id();
        let (author, ballot) = match decode_gossip(network, frame) {
            Ok(Gossip::Announcement(signed)) => match signed.verify(network) {
                Ok(announcement) => (announcement.author(), announcement.ballot),
                Err(_) => return,
            },
            Ok(Gossip::Committee(signed)) => match signed.verify(network) {
                Ok(record) => (record.author(), record.ballot),
                Err(_) => return,
            },
            Ok(Gossip::Report(_)) => return,
            Err(error) => {
                let what = format!("a coordinator published what cannot be read: {error}");
                return self.judge.accuse(self.now, "frames can be read", what);
            }
        };
        self.troubles.highest = self.troubles.highest.max(Some(ballot));
        let life = self.host(from).life().number;
        self.judge.see(self.now, &Fact::Acted { author, ballot, life });
    }

    /// Hands a frame to a hostile host, if it is for one.
    pub(super) fn hands_to_hostile(
        &mut self,
        from: HostId,
        to: cyxwiz_protocol::PeerId,
        bytes: &[u8],
    ) -> bool {
        let Some(by) = self.mischief.host_of(to) else {
            let to_coordinator = self
                .by_peer
                .get(&to)
                .is_some_and(|to| self.host(*to).part == Part::Coordinator && *to != from);
            if to_coordinator {
                self.mischief.tap(bytes);
            }
            return false;
        };
        self.counts.bytes += bytes.len() as u64;
        let way = (from, by);
        let arrivals = self.network.carry(self.now, way, bytes.len(), &mut self.chance.network);
        for at in arrivals {
            let bytes = bytes.to_vec();
            self.plan_fault(at, crate::faults::Fault::Heard { by, from, bytes });
        }
        true
    }

    /// One input in the name of a hostile peer reaches an honest host.
    pub(super) fn meet(&mut self, host: HostId, rogue: HostId) {
        let (life, rogue) = (self.host(host).life(), self.peer_id(rogue));
        self.feed(life, Input::Connected(rogue));
    }
}
