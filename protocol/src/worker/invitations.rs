//! Which invitations a worker has answered: each once, and none of a leader that is overtaken.

use crate::{Ballot, replay::Window};

/// The invitations of one leader that were answered.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// The committee's generation and the leader's ballot: one that was founded anew counts its
    /// terms from the beginning.
    of: Option<(u32, Ballot)>,
    rounds: Window,
}

impl Answered {
    /// Takes note of an invitation; false when it is old or was answered.
    pub(super) fn admit(&mut self, generation: u32, ballot: Ballot, round: u64) -> bool {
        let of = Some((generation, ballot));
        if self.of > of {
            return false;
        }
        if self.of < of {
            *self = Self { of, rounds: Window::default() };
        }
        self.rounds.admit(round).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PeerId;

    #[test]
    fn an_invitation_is_answered_once_and_none_of_a_leader_before() {
        let ballot = |term| Ballot { term, leader: PeerId([1; 32]) };
        let mut answered = Answered::default();
        assert!(answered.admit(0, ballot(2), 7));
        assert!(!answered.admit(0, ballot(2), 7), "said again");
        assert!(answered.admit(0, ballot(2), 5), "overtaken on the way");
        assert!(answered.admit(0, ballot(3), 5), "another leader counts anew");
        assert!(!answered.admit(0, ballot(2), 9), "of a leader before");
    }
}
