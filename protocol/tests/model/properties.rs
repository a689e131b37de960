//! What must hold in every state of the model, and what must have been seen for that to mean
//! anything.

use std::collections::BTreeSet;

use crate::state::{Content, Held, Leader, Message, Office, Replica, State, Value, name};

/// The first property that a state breaks, in words.
pub(crate) fn fault(state: &State) -> Option<String> {
    let proposals: Vec<_> = proposals(state).collect();
    one_per_rank(&proposals).or_else(|| chosen_agree(state)).or_else(|| later_extend(state))
}

/// L1: at most one content is proposed per ballot and version, and so at most one is chosen.
fn one_per_rank(proposals: &[Held<Content>]) -> Option<String> {
    proposals.iter().find_map(|one| {
        let same = |other: &&Held<Content>| {
            other.rank == one.rank
                && other.content != one.content
                && matches!(other.content, Content::Job(_))
                    == matches!(one.content, Content::Job(_))
        };
        let other = proposals.iter().find(same)?;
        Some(format!("two proposals of one rank: {one} and {other}"))
    })
}

/// S1, S2: of any two chosen values one was made from the other, and nothing from a final one.
fn chosen_agree(state: &State) -> Option<String> {
    state.chosen.iter().find_map(|one| {
        let apart = |other: &&Held<Value>| {
            !one.content.leads_to(other.content) && !other.content.leads_to(one.content)
        };
        let other = state.chosen.iter().find(apart)?;
        Some(format!("chosen were both {one} and {other}"))
    })
}

/// L2: what was chosen is contained in whatever is proposed later, and known to every later
/// leader before it does anything.
fn later_extend(state: &State) -> Option<String> {
    state.chosen.iter().find_map(|chosen| {
        let lost = proposals(state).find(|proposal| match proposal.content {
            Content::Job(value) => proposal.rank > chosen.rank && !chosen.content.leads_to(value),
            Content::Configuration(_) => false,
        });
        if let Some(proposal) = lost {
            return Some(format!("{chosen} was chosen, yet there is the proposal {proposal}"));
        }
        let ignorant = leaders(state).find(|(_, leader)| {
            let known = leader.job.map_or(Value::default(), |base| base.held.content);
            leader.ballot > chosen.rank.ballot && !chosen.content.leads_to(known)
        });
        let (replica, leader) = ignorant?;
        let (who, ballot) = (name(replica), leader.ballot);
        Some(format!("{chosen} was chosen, yet {who} leads with ballot {ballot} without it"))
    })
}

/// What a search that means something has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sight {
    FinalChosen,
    SecondStepChosen,
    /// A leader goes on from what a quorum reported alike.
    KnownChosen,
    ProposedAgain,
    /// Something was proposed, and what was chosen later was not made from it.
    Superseded,
    /// A step of an earlier ballot is chosen under the last one.
    LivesOn,
    /// A later leader, whom the changed configuration elected, has a step from before.
    CarriedOver,
}

/// Notes what a state is an example of.
pub(crate) fn sights(state: &State, seen: &mut BTreeSet<Sight>) {
    let last = state.in_force.len() - 1;
    for chosen in &state.chosen {
        if chosen.content.is_final() {
            seen.insert(Sight::FinalChosen);
        }
        if chosen.content.version() > 1 {
            seen.insert(Sight::SecondStepChosen);
        }
        let ballot = usize::from(chosen.rank.ballot);
        if ballot == last && chosen.content.proposers().any(|by| usize::from(by) < last) {
            seen.insert(Sight::LivesOn);
        }
    }
    for proposal in proposals(state) {
        let Content::Job(value) = proposal.content else { continue };
        if value.proposers().all(|by| by < proposal.rank.ballot) {
            seen.insert(Sight::ProposedAgain);
        }
        let passes =
            |chosen: &Held<Value>| chosen.rank > proposal.rank && !value.leads_to(chosen.content);
        if state.chosen.iter().any(passes) {
            seen.insert(Sight::Superseded);
        }
    }
    for (_, leader) in leaders(state) {
        let Some(job) = leader.job else { continue };
        if job.held.rank.ballot < leader.ballot {
            seen.insert(Sight::KnownChosen);
        }
        let changed = leader.configuration.held.rank;
        let earlier = job.held.content.proposers().any(|by| by < leader.ballot);
        if changed.version == 2 && changed.ballot < leader.ballot && earlier {
            seen.insert(Sight::CarriedOver);
        }
    }
}

fn proposals(state: &State) -> impl Iterator<Item = Held<Content>> {
    state.messages.iter().filter_map(|message| match message {
        Message::Accept { held } => Some(*held),
        Message::Prepare { .. } | Message::Promise { .. } | Message::Accepted { .. } => None,
    })
}

fn leaders(state: &State) -> impl Iterator<Item = (Replica, &Leader)> {
    (0..).zip(&state.members).filter_map(|(replica, member)| match &member.office {
        Office::Leader(leader) => Some((replica, leader)),
        Office::None | Office::Candidate(_) => None,
    })
}
