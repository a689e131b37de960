//! Who cannot reach whom: hosts on sides, and which sides hear which.

use cyxwiz_protocol::Rng;

use crate::{chance::below, queue::HostId};

/// The side of each host, and whether one side still hears the other.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    sides: Vec<Side>,
    one_way: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Does not reach the other, and in a one-way cut is not the one that hears.
    Here,
    There,
    /// Reaches both and is reached by both.
    Bridge,
}

impl Cut {
    /// By these sides; in a one-way cut nothing comes from here to there, and all comes back.
    pub(crate) const fn new(sides: Vec<Side>, one_way: bool) -> Self {
        Self { sides, one_way }
    }

    /// Every host on one of the two sides by lot, but for those of `bridge`.
    pub(crate) fn by_lot(hosts: usize, one_way: bool, bridge: &[HostId], rng: &mut Rng) -> Self {
        let side = |index: usize| {
            if bridge.iter().any(|host| host.index() == index) {
                Side::Bridge
            } else if below(rng, 2) == 0 {
                Side::Here
            } else {
                Side::There
            }
        };
        Self::new((0..hosts).map(side).collect(), one_way)
    }

    /// Those of whom `alone` says so, away from the rest.
    pub(crate) fn around(hosts: usize, alone: impl Fn(HostId) -> bool) -> Self {
        let side = |host| if alone(HostId(host)) { Side::Here } else { Side::There };
        let hosts = u32::try_from(hosts).expect("hosts are numbered by 32 bits");
        Self::new((0..hosts).map(side).collect(), false)
    }

    pub(crate) fn blocks(&self, from: HostId, to: HostId) -> bool {
        let side = |host: HostId| self.sides.get(host.index()).copied().unwrap_or(Side::There);
        match (side(from), side(to)) {
            (Side::Here, Side::There) => true,
            (Side::There, Side::Here) => !self.one_way,
            (Side::Here, Side::Here) | (Side::There, Side::There) => false,
            (Side::Bridge, _) | (_, Side::Bridge) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: HostId = HostId(0);
    const B: HostId = HostId(1);
    const C: HostId = HostId(2);

    #[test]
    fn two_sides_do_not_reach_each_other() {
        let cut = Cut::around(3, |host| host == A);
        assert!(cut.blocks(A, B) && cut.blocks(B, A) && cut.blocks(C, A));
        assert!(!cut.blocks(B, C) && !cut.blocks(A, A));
    }

    #[test]
    fn one_way_lets_the_other_way_through() {
        let cut = Cut::new(vec![Side::Here, Side::There], true);
        assert!(cut.blocks(A, B));
        assert!(!cut.blocks(B, A));
    }

    #[test]
    fn a_bridge_reaches_both_that_do_not_reach_each_other() {
        let cut = Cut::new(vec![Side::Here, Side::Bridge, Side::There], false);
        assert!(cut.blocks(A, C) && cut.blocks(C, A));
        for (from, to) in [(A, B), (B, A), (B, C), (C, B)] {
            assert!(!cut.blocks(from, to));
        }
    }
}
