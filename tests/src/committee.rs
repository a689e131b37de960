//! Several coordinators of one network, and the question who of them leads.

use std::net::Ipv4Addr;

use serde_json::Value;

use crate::{Network, Node, SOON, Stop, eventually, network::free_port_of};

/// Coordinators that were all started with the coordinator's invite. Each listens where it
/// listened before when it is started again.
#[derive(Debug)]
pub struct Committee {
    nodes: Vec<Node>,
    /// Those that run and are not held.
    up: Vec<bool>,
}

/// Who leads, and since which election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its place among the nodes.
    pub index: usize,
    pub term: u64,
}

impl Network {
    /// `count` coordinators, of which each has a seat.
    #[must_use]
    pub fn committee(&self, count: usize) -> Committee {
        let nodes = (0..count).map(|index| {
            // An address of its own, where nobody else is given the port meanwhile.
            let last = u8::try_from(index).expect("committees are small");
            let address = Ipv4Addr::new(127, 0, 0, 2 + last);
            let listen = format!("/ip4/{address}/tcp/{}", free_port_of(address));
            let invite = ["--coordinator", "--join", &self.coordinator_invite];
            self.start(&format!("seat-{index}"), &[&invite[..], &["--listen", &listen]].concat())
        });
        Committee::new(nodes.collect())
    }

    /// `count` coordinators with a seat, and a peer from which jobs are handed in.
    #[must_use]
    pub fn with_committee(name: &str, count: usize) -> (Self, Committee, Node) {
        let network = Self::new(name);
        let committee = network.committee(count);
        let laptop = network.node("laptop", &[]);
        laptop.awaits_coordinator();
        (network, committee, laptop)
    }
}

impl Committee {
    /// Waits until each of `nodes`, which all run, has a seat.
    #[track_caller]
    #[must_use]
    pub fn new(nodes: Vec<Node>) -> Self {
        let up = vec![true; nodes.len()];
        let committee = Self { nodes, up };
        committee.awaits_members();
        committee
    }

    #[must_use]
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// Places of those that run and are not held.
    pub fn up(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|index| self.up[*index])
    }

    /// Waits until one of those that run leads, and the rest of them know it.
    #[track_caller]
    pub fn leader(&self) -> Leader {
        let running: Vec<usize> = self.up().collect();
        self.leader_among(&running)
    }

    /// The same for some of them, whatever the rest thinks.
    #[track_caller]
    pub fn leader_among(&self, some: &[usize]) -> Leader {
        eventually(SOON, "one leader that all know", || {
            let views = self.views(some)?;
            let leads = |(_, view): &&(usize, Value)| view["coordinator"]["leading"] == true;
            let leading: Vec<_> = views.iter().filter(leads).collect();
            let told = || format!("{:?}", views.iter().map(in_short).collect::<Vec<_>>());
            let [(index, view)] = leading[..] else { return Err(told()) };
            let known = |view: &Value| (view["committee"]["leader"].clone(), term_of(view));
            let leader = (Value::from(view["peer"].as_str()), term_of(view));
            if views.iter().any(|(_, view)| known(view) != leader) {
                return Err(told());
            }
            Ok(Leader { index: *index, term: leader.1 })
        })
    }

    /// Waits until those that run are told of another election than `before`.
    #[track_caller]
    pub fn leader_after(&self, before: Leader) -> Leader {
        let running: Vec<usize> = self.up().collect();
        self.leader_among_after(&running, before)
    }

    /// The same for some of them.
    #[track_caller]
    pub fn leader_among_after(&self, some: &[usize], before: Leader) -> Leader {
        eventually(SOON, "the next leader", || {
            let leader = self.leader_among(some);
            if leader.term > before.term { Ok(leader) } else { Err(format!("{leader:?}")) }
        })
    }

    /// Waits until everyone has a seat and none is being exchanged.
    #[track_caller]
    pub fn awaits_members(&self) {
        let mut all: Vec<&str> = self.nodes.iter().map(|node| node.peer.as_str()).collect();
        all.sort_unstable();
        eventually(SOON, "a seat for everyone", || {
            let leader = self.leader();
            let view = self.nodes[leader.index].cli().try_json(&["node", "status"])?;
            let committee = &view["committee"];
            let members = committee["members"].as_array().into_iter().flatten();
            let mut members: Vec<_> = members.filter_map(Value::as_str).collect();
            members.sort_unstable();
            let seat = &view["coordinator"]["seat"];
            let settled = seat["joint"] == false && seat["epoch"] == committee["epoch"];
            if members == all && settled { Ok(()) } else { Err(seat.to_string()) }
        });
    }

    /// Ends it as a power cut does.
    #[track_caller]
    pub fn kill(&mut self, index: usize) {
        self.kill_all(&[index]);
    }

    /// Ends them in one moment.
    #[track_caller]
    pub fn kill_all(&mut self, indices: &[usize]) {
        for &index in indices {
            self.up[index] = false;
            self.nodes[index].signal(Stop::Kill);
        }
        for &index in indices {
            self.nodes[index].stop(Stop::Kill);
        }
    }

    /// Starts it again on what it has on disk.
    #[track_caller]
    pub fn start_again(&mut self, index: usize) {
        self.nodes[index].start_again();
        self.up[index] = true;
    }

    /// Holds it where it is.
    #[track_caller]
    pub fn pause(&mut self, index: usize) {
        self.up[index] = false;
        self.nodes[index].pause();
    }

    /// Lets it go on.
    pub fn resume(&mut self, index: usize) {
        self.nodes[index].resume();
        self.up[index] = true;
    }

    fn views(&self, some: &[usize]) -> Result<Vec<(usize, Value)>, String> {
        let view = |&index: &usize| {
            let view = self.nodes[index].cli().try_json(&["node", "status"])?;
            Ok((index, view))
        };
        some.iter().map(view).collect()
    }
}

fn term_of(view: &Value) -> u64 {
    view["committee"]["term"].as_u64().unwrap_or(0)
}

/// What a failing wait shows of a node.
fn in_short((index, view): &(usize, Value)) -> String {
    format!("{index}: {} {}", view["committee"], view["coordinator"])
}
