//! What `node status` says of the committee: who sits, who leads under which ballot, how each
//! member does, and in words what a loss would mean and what to do. Only a coordinator knows more
//! than the record that everyone has; only the leader knows how its members do.

use crate::{
    api::view::{CoordinatorView, MemberView, NodeView, OfficeView, SeatView},
    cli::{output::Output, quantity},
};

/// Who sits, one a line, then the ballot.
pub(super) fn members(view: &NodeView, output: &Output) -> Vec<String> {
    let seat = view.coordinator.as_ref().map(|coordinator| &coordinator.seat);
    let (mut lines, leader, term, epoch) = match (seat, &view.committee) {
        (Some(seat), _) if seat.office == OfficeView::Leader => {
            let line = |it: &MemberView| {
                format!("{}{}", who(&it.peer, &seat.leader, view, output), does(it))
            };
            let lines = seat.members.iter().map(line).collect();
            (lines, seat.leader.as_str(), seat.term, seat.epoch)
        }
        (Some(seat), _) if seat.office == OfficeView::Electing => {
            let line = |it: &MemberView| who(&it.peer, "", view, output);
            let mut lines: Vec<_> = seat.members.iter().map(line).collect();
            lines.push(format!("term {} is over, epoch {}", seat.term, seat.epoch));
            return lines;
        }
        (_, Some(record)) => {
            let line = |peer: &String| who(peer, &record.leader, view, output);
            let lines: Vec<_> = record.members.iter().map(line).collect();
            (lines, record.leader.as_str(), record.term, record.epoch)
        }
        (_, None) => return vec!["not known yet".to_owned()],
    };
    let leader = output.ids.peer(leader);
    lines.push(format!("term {term} of {leader}, epoch {epoch}"));
    lines
}

/// What this coordinator is to its committee.
pub(super) const fn office(view: &CoordinatorView) -> &'static str {
    match (view.seat.office, view.leading) {
        (OfficeView::Leader, true) => "leading",
        (OfficeView::Leader, false) => "elected, and catching up",
        (OfficeView::Follower, _) => "following",
        (OfficeView::Electing, _) => "electing: it hears of no leader",
        (OfficeView::Candidate, _) => "a candidate without a seat",
    }
}

/// Whether this coordinator has a seat and nobody leads.
pub(super) fn is_electing(view: &NodeView) -> bool {
    view.coordinator.as_ref().is_some_and(|it| it.seat.office == OfficeView::Electing)
}

/// What the committee can lose, and what to do about what it has lost. Nothing where this peer
/// cannot know.
pub(super) fn health(view: &NodeView, output: &Output) -> Vec<String> {
    let Some(coordinator) = &view.coordinator else {
        return Vec::new();
    };
    let seat = &coordinator.seat;
    match seat.office {
        OfficeView::Leader => leading(seat, &view.network, output),
        OfficeView::Electing => vec![
            "no leader is heard of, and nothing is decided until there is one".to_owned(),
            "if it stays so, a majority is missing: start the missing coordinators".to_owned(),
            lost(&view.network),
        ],
        OfficeView::Follower => Vec::new(),
        OfficeView::Candidate => {
            vec!["it takes a seat when the committee grows to 3 or 5, or loses a member".to_owned()]
        }
    }
}

fn leading(seat: &SeatView, network: &str, output: &Output) -> Vec<String> {
    let mut lines = Vec::new();
    if seat.joint {
        lines.push(
            "members are being exchanged (joint committee): the old and the new majority both \
             decide until the new ones have every job"
                .to_owned(),
        );
        return lines;
    }
    let members = seat.members.len();
    if members == 1 {
        lines.push("one coordinator alone: its disk is the only copy of every job".to_owned());
        lines.push(match seat.candidates {
            0 => "start two more with the coordinators' invite".to_owned(),
            1 => "start one more with the coordinators' invite: one stands by".to_owned(),
            standing => format!("{standing} stand by and are admitted in a moment"),
        });
        return lines;
    }
    let silent: Vec<_> = seat.members.iter().filter(|member| !answers(member)).collect();
    let (answering, majority) = (members - silent.len(), members / 2 + 1);
    let standing = format!("{answering} of {members} members answer");
    if answering < majority {
        lines.push(format!("no majority answers ({answering} of {members}): nothing is decided"));
        lines.push(format!("start the missing ones: {}", names(&silent, output)));
        lines.push(lost(network));
    } else if answering == majority && !silent.is_empty() {
        lines.push(format!("{standing}: one more loss stops new decisions"));
        lines.push(format!("start the missing ones: {}", names(&silent, output)));
    } else {
        let spare = answering - majority;
        lines.push(format!("{standing}: {spare} more may be lost without harm"));
    }
    if seat.candidates > 0 {
        let standing = quantity::of(seat.candidates as u64, "more coordinator");
        lines.push(format!("{standing} would take a seat"));
    }
    lines
}

/// `…3f9aZ2 (leader), this peer`
fn who(peer: &str, leader: &str, view: &NodeView, output: &Output) -> String {
    let leads = if peer == leader { " (leader)" } else { "" };
    let here = if peer == view.peer { ", this peer" } else { "" };
    format!("{}{leads}{here}", output.ids.peer(peer))
}

/// `, silent for 12 s, 3 jobs behind`; nothing for one that does well.
fn does(member: &MemberView) -> String {
    let mut words = match member.silent_ms {
        Some(_) if answers(member) => String::new(),
        Some(silent) => format!(", silent for {}", quantity::duration(silent)),
        None => ", not heard of yet".to_owned(),
    };
    if member.behind > 0 {
        words.push_str(&format!(", {} behind", quantity::of(member.behind as u64, "job")));
    }
    words
}

fn answers(member: &MemberView) -> bool {
    member.silent_ms.is_some_and(|silent| silent < SILENT_MS)
}

fn names(members: &[&MemberView], output: &Output) -> String {
    members.iter().map(|member| output.ids.peer(&member.peer)).collect::<Vec<_>>().join(", ")
}

fn lost(network: &str) -> String {
    format!(
        "if their disks are lost for good: `cyxwiz-bootstrap --network {network} \
         --force-new-committee` tells what that costs"
    )
}

/// A leader is heard of five times a second and steps down after so long without a majority.
const SILENT_MS: u64 = 3_000;
