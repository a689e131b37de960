use super::*;

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
