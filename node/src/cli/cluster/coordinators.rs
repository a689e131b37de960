//! The coordinators of a cluster: started with one invite, asked each by its own local API who
//! leads, killed and started again.

use std::time::Instant;

use super::{Bootstrap, Cluster, Node};
use crate::{
    api::view::{NodeView, OfficeView, SeatView},
    cli::{client::Client, error::CommandError},
};

/// Those that run have a client.
#[derive(Debug)]
pub(crate) struct Coordinators(Vec<(Node, Option<Client>)>);

/// Who leads, by its own word.
#[derive(Clone, Debug)]
pub(crate) struct Leading {
    /// Its place among the coordinators.
    pub(crate) at: usize,
    pub(crate) peer: String,
    pub(crate) seat: SeatView,
}

impl Coordinators {
    /// Starts `count` of them; which begins the committee is for the bootstrap peer to say.
    pub(crate) fn start(
        cluster: &mut Cluster,
        bootstrap: &Bootstrap,
        count: u16,
    ) -> Result<Self, CommandError> {
        let mut nodes = Vec::new();
        for number in 1..=count {
            let name = format!("coordinator-{number}");
            let node = cluster.node(&name, &bootstrap.coordinator_invite, &["--coordinator"])?;
            let client = node.client()?;
            nodes.push((node, Some(client)));
        }
        Ok(Self(nodes))
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.0.iter().map(|(node, _)| node)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many of them a decision needs.
    pub(crate) fn majority(&self) -> usize {
        self.len() / 2 + 1
    }

    /// The one that acts as leader, if one does.
    pub(crate) fn leading(&self) -> Option<Leading> {
        (0..self.len()).find_map(|at| {
            let view = self.view(at)?;
            let coordinator = view.coordinator.filter(|coordinator| coordinator.leading)?;
            Some(Leading { at, peer: view.peer, seat: coordinator.seat })
        })
    }

    /// The leader of a committee in which every coordinator sits, answers, and has every job.
    pub(crate) fn whole(&self) -> Option<Leading> {
        let leading = self.leading()?;
        let well = |it: &crate::api::view::MemberView| {
            it.behind == 0 && it.silent_ms.is_some_and(|silent| silent < PRESENT_MS)
        };
        let (seat, size) = (&leading.seat, self.len());
        let whole = !seat.joint && seat.members.len() == size && seat.members.iter().all(well);
        let followers = || {
            (0..size).filter(|at| *at != leading.at).all(|at| {
                let seat = self.view(at).and_then(|view| view.coordinator).map(|it| it.seat);
                seat.is_some_and(|seat| seat.office == OfficeView::Follower)
            })
        };
        (whole && followers()).then_some(leading)
    }

    /// What one of them says; nothing when it does not run or does not answer.
    pub(crate) fn view(&self, at: usize) -> Option<NodeView> {
        self.0.get(at)?.1.as_ref()?.node().ok()
    }

    /// Ends one as a power cut does, and says when.
    pub(crate) fn kill(
        &mut self,
        cluster: &mut Cluster,
        at: usize,
    ) -> Result<Instant, CommandError> {
        let (node, client) = &mut self.0[at];
        *client = None;
        cluster.kill(node)
    }

    /// Starts one again that was killed.
    pub(crate) fn restart(&mut self, cluster: &mut Cluster, at: usize) -> Result<(), CommandError> {
        let (node, client) = &mut self.0[at];
        cluster.restart(node)?;
        *client = Some(node.client()?);
        Ok(())
    }
}

/// A leader is heard of five times a second.
const PRESENT_MS: u64 = 1_500;
