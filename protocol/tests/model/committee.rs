//! What a small committee may do next.
//!
//! What does not show is no step of its own:
//!
//! - Writing and answering are one, because an answer waits for the disk.
//! - A promise or an acceptance that arrives changes nothing at the leader until a quorum is full;
//!   the step that uses the quorum, with any choice of who was heard, stands for all arrivals.
//! - A crash takes an office and nothing else from a replica whose writes are done. One that lost
//!   its office and does nothing is like one that has it and does nothing; what it may do next is
//!   stand again, which any replica may at any time. A crash amid a proposal, before the leader's
//!   own write, is a step.

use std::collections::BTreeSet;

use crate::{
    explorer::Model,
    law::{Break, Law},
    properties::{self, Sight},
    state::{
        Ballot, Base, Configuration, Content, Held, Leader, Member, Members, Message, Messages,
        Office, Rank, Registers, Replica, State, Value, is_configuration, is_job, name,
    },
};

/// How small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    /// The founding members.
    pub(crate) founders: Members,
    /// What they may be changed to, once.
    pub(crate) target: Option<Members>,
    /// The owner of each ballot, the lowest first.
    pub(crate) ballots: &'static [Replica],
    /// Steps of the job.
    pub(crate) versions: u64,
}

/// A committee of at most four.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committee {
    pub(crate) scope: Scope,
    pub(crate) law: Law,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Stand(Replica, Ballot),
    Hear(Replica, Message),
    /// Answered, but crashed before the write was on disk.
    HearAndForget(Replica, Message),
    TakeOver(Replica, Members),
    Propose(Replica),
    EnterJoint(Replica),
    LeaveJoint(Replica),
    /// Proposed, but crashed before its own write was on disk.
    SendAndForget(Replica),
}

impl Model for Committee {
    type State = State;
    type Action = Action;
    type Sight = Sight;

    fn start(&self) -> State {
        let everyone = self.scope.founders.union(self.scope.target.unwrap_or(Members::NONE));
        let founding = Held {
            rank: Rank { ballot: 0, version: 0 },
            content: Configuration::stable(self.scope.founders),
        };
        let member = |replica| Member {
            promised: None,
            registers: Registers {
                configuration: self.scope.founders.contains(replica).then_some(founding),
                job: None,
            },
            office: Office::None,
        };
        State {
            members: (0..=everyone.list().iter().copied().max().unwrap_or(0)).map(member).collect(),
            messages: Messages::default(),
            in_force: vec![None; self.scope.ballots.len() + 1],
            chosen: BTreeSet::new(),
        }
    }

    fn steps(&self, state: &State) -> Vec<(Action, State)> {
        let mut steps = Vec::new();
        for (replica, member) in (0..).zip(&state.members) {
            self.stand(state, replica, &mut steps);
            match &member.office {
                Office::None => {}
                Office::Candidate(ballot) => self.take_over(state, replica, *ballot, &mut steps),
                Office::Leader(leader) => self.lead(state, replica, leader, &mut steps),
            }
        }
        for &message in state.messages.iter() {
            for &replica in self.addressees(state).list() {
                self.hear(state, replica, message, &mut steps);
            }
        }
        self.lose_writes(state, &mut steps);
        for (_, after) in &mut steps {
            self.note_chosen(after);
            self.drop_dead_promises(after);
        }
        steps
    }

    fn fault(&self, state: &State) -> Option<String> {
        properties::fault(state)
    }

    fn sights(&self, state: &State, seen: &mut BTreeSet<Sight>) {
        properties::sights(state, seen);
    }

    fn tell(&self, before: &State, action: Action, after: &State) -> String {
        let mut told = match action {
            Action::SendAndForget(replica) => {
                format!("{} crashes before this is on its disk", name(replica))
            }
            Action::Stand(replica, ballot) => {
                format!("{} stands with ballot {ballot}", name(replica))
            }
            Action::Hear(replica, message) => format!("{} hears: {message}", name(replica)),
            Action::HearAndForget(replica, message) => {
                format!("{} hears: {message}; and crashes before it is on disk", name(replica))
            }
            Action::TakeOver(replica, heard) => format!("{} leads, heard {heard}", name(replica)),
            Action::Propose(replica) => format!("{} proposes the next step", name(replica)),
            Action::EnterJoint(replica) => format!("{} adds the new side", name(replica)),
            Action::LeaveJoint(replica) => format!("{} drops the old side", name(replica)),
        };
        let sent: Vec<_> = after
            .messages
            .iter()
            .filter(|message| !before.messages.contains(message))
            .map(Message::to_string)
            .collect();
        if !sent.is_empty() {
            told += &format!(" -> {}", sent.join("; "));
        }
        for chosen in after.chosen.difference(&before.chosen) {
            told += &format!(" [chosen: {chosen}]");
        }
        told
    }
}

impl Committee {
    fn stand(&self, state: &State, replica: Replica, steps: &mut Vec<(Action, State)>) {
        let member = &state.members[usize::from(replica)];
        let seated = member
            .registers
            .configuration
            .is_some_and(|held| held.content.seats().contains(&replica));
        for (ballot, &owner) in (1..).zip(self.scope.ballots) {
            if !seated || owner != replica || !self.law.may_stand(member.promised, ballot) {
                continue;
            }
            let mut after = state.clone();
            let standing = &mut after.members[usize::from(replica)];
            if !self.law.breaks(Break::ReuseBallot) {
                standing.promised = Some(ballot);
            }
            standing.office = Office::Candidate(ballot);
            after.messages.insert(Message::Prepare { ballot });
            steps.push((Action::Stand(replica, ballot), after));
        }
    }

    /// Every way in which enough promises may have come in.
    fn take_over(
        &self,
        state: &State,
        replica: Replica,
        ballot: Ballot,
        steps: &mut Vec<(Action, State)>,
    ) {
        let promises: Vec<_> = state
            .messages
            .iter()
            .filter_map(|message| match message {
                Message::Promise { ballot: of, from, holds } if *of == ballot => {
                    Some((*from, *holds))
                }
                Message::Promise { .. }
                | Message::Prepare { .. }
                | Message::Accept { .. }
                | Message::Accepted { .. } => None,
            })
            .collect();
        for choice in 0..1_u32 << promises.len() {
            let mut heard = Members::NONE.with(replica);
            let mut reports = vec![(replica, state.members[usize::from(replica)].registers)];
            for (index, (from, holds)) in promises.iter().enumerate() {
                if choice >> index & 1 == 1 && !heard.contains(*from) {
                    heard = heard.with(*from);
                    reports.push((*from, *holds));
                }
            }
            if reports.len() <= choice.count_ones() as usize {
                continue;
            }
            if let Some(after) = self.adopt(state, replica, ballot, &reports) {
                steps.push((Action::TakeOver(replica, heard), after));
            }
        }
    }

    /// Takes over from what `reports` say, if they are enough.
    fn adopt(
        &self,
        state: &State,
        replica: Replica,
        ballot: Ballot,
        reports: &[(Replica, Registers)],
    ) -> Option<State> {
        let reported: Vec<_> =
            reports.iter().map(|(from, holds)| (*from, holds.configuration)).collect();
        let newest = if self.law.breaks(Break::KeepOwnConfiguration) {
            state.members[usize::from(replica)].registers.configuration
        } else {
            self.newest(&reported)
        }?;
        let seats = newest.content.seats();
        let enough = |member: &Replica| reports.iter().any(|(from, _)| from == member);
        if !seats.contains(&replica) || !self.law.is_quorum(&seats, enough) {
            return None;
        }
        let (configuration, configuration_is_chosen) = self.base(newest, newest.content, &reported);
        let reported: Vec<_> = reports.iter().map(|(from, holds)| (*from, holds.job)).collect();
        let adopted = self.newest(&reported);
        let job = adopted.map(|job| self.base(job, newest.content, &reported));

        let mut after = state.clone();
        let leader = Leader { ballot, configuration, job: job.map(|(base, _)| base) };
        after.members[usize::from(replica)].office = Office::Leader(leader);
        after.in_force[usize::from(ballot)] = Some(newest.content);
        if !configuration_is_chosen {
            let version = newest.rank.version;
            propose(&mut after, replica, version, Content::Configuration(newest.content));
        }
        if let Some((base, false)) = job {
            let Held { rank, content } = base.held;
            match self.law.broken {
                Some(Break::ForgetUnchosen) => forget(&mut after, replica),
                Some(Break::ActOnAdopted) => {
                    after.chosen.insert(base.held);
                }
                _ => propose(&mut after, replica, rank.version, Content::Job(content)),
            }
        }
        Some(after)
    }

    fn newest<T: Copy>(&self, reports: &[(Replica, Option<Held<T>>)]) -> Option<Held<T>> {
        let rank = self.law.newest(reports.iter().map(|(_, held)| held.map(|held| held.rank)))?;
        reports.iter().find_map(|(_, held)| held.filter(|held| held.rank == rank))
    }

    /// What to go on from, and whether it is known to be chosen.
    fn base<T: Copy>(
        &self,
        held: Held<T>,
        configuration: Configuration,
        reports: &[(Replica, Option<Held<T>>)],
    ) -> (Base<T>, bool) {
        let rank_of = |replica: &Replica| {
            let report = reports.iter().find(|(from, _)| from == replica)?;
            report.1.map(|held| held.rank)
        };
        let seats = configuration.seats();
        let known = self.law.is_known_chosen(&seats, &held.rank, rank_of);
        let same = reports.iter().filter(|(from, _)| rank_of(from) == Some(held.rank));
        let holders = same.fold(Members::NONE, |holders, (from, _)| holders.with(*from));
        (Base { held, holders }, known)
    }

    fn lead(
        &self,
        state: &State,
        replica: Replica,
        leader: &Leader,
        steps: &mut Vec<(Action, State)>,
    ) {
        let job = leader.job.map_or(Value::default(), |base| base.held.content);
        for is_final in [false, true] {
            let Some(next) = job.extended(leader.ballot, is_final) else { continue };
            // Beyond the bound nothing goes on, so that the last step may as well be final.
            let is_last = next.version() == self.scope.versions;
            if next.version() <= self.scope.versions && (is_final || !is_last) {
                let mut after = state.clone();
                propose(&mut after, replica, next.version(), Content::Job(next));
                steps.push((Action::Propose(replica), after));
            }
        }
        let Held { rank, content: now } = leader.configuration.held;
        let seats = now.seats();
        let ours = |held: Rank| held.ballot == leader.ballot;
        let with_configuration = if ours(rank) {
            state.accepted(rank, is_configuration)
        } else {
            leader.configuration.holders
        };
        let with_job = leader.job.map_or(Members::NONE, |base| {
            let rank = base.held.rank;
            if ours(rank) { state.accepted(rank, is_job) } else { base.holders }
        });
        if let Some(target) = self.scope.target
            && rank.version == 0
            && self.law.is_quorum(&seats, |&member| with_configuration.contains(member))
        {
            let joint = Configuration { old: now.old, new: target };
            let mut after = state.clone();
            propose(&mut after, replica, rank.version + 1, Content::Configuration(joint));
            if let Some(base) = leader.job
                && !ours(base.held.rank)
                && !self.law.breaks(Break::LeaveWithoutCopying)
            {
                let Held { rank, content } = base.held;
                propose(&mut after, replica, rank.version, Content::Job(content));
            }
            steps.push((Action::EnterJoint(replica), after));
        }
        let holds = |&member: &Replica, job: &Option<Rank>| {
            if job.is_some() { with_job } else { with_configuration }.contains(member)
        };
        if self.law.may_leave_joint(&seats, leader.job.map(|base| base.held.rank), holds) {
            let stable = Configuration::stable(now.new);
            let mut after = state.clone();
            propose(&mut after, replica, rank.version + 1, Content::Configuration(stable));
            steps.push((Action::LeaveJoint(replica), after));
        }
    }

    /// A leader may ask others to write before it has written itself: a second ending of each of
    /// its proposals.
    fn lose_writes(&self, before: &State, steps: &mut Vec<(Action, State)>) {
        for at in 0..steps.len() {
            let (action, after) = &steps[at];
            let replica = match *action {
                Action::TakeOver(replica, _)
                | Action::Propose(replica)
                | Action::EnterJoint(replica)
                | Action::LeaveJoint(replica) => replica,
                Action::Stand(..)
                | Action::Hear(..)
                | Action::HearAndForget(..)
                | Action::SendAndForget(_) => continue,
            };
            if after.messages.len() == before.messages.len() {
                continue;
            }
            let mut lost = after.clone();
            lost.messages.retain(|message| {
                let ours = matches!(message, Message::Accepted { from, .. } if *from == replica);
                !ours || before.messages.contains(message)
            });
            let office = Office::None;
            lost.members[usize::from(replica)] =
                Member { office, ..before.members[usize::from(replica)] };
            steps.push((Action::SendAndForget(replica), lost));
        }
    }

    /// Who can have been sent anything: whom a configuration named.
    fn addressees(&self, state: &State) -> Members {
        let mut named = self.scope.founders;
        for message in state.messages.iter() {
            if let Message::Accept { held: Held { content: Content::Configuration(now), .. } } =
                message
            {
                named = named.union(now.old).union(now.new);
            }
        }
        named
    }

    fn hear(
        &self,
        state: &State,
        replica: Replica,
        message: Message,
        steps: &mut Vec<(Action, State)>,
    ) {
        let member = &state.members[usize::from(replica)];
        // Of its own ballot it knows, be it on disk or not.
        let promised = member.promised.max(member.office.ballot());
        let is_ours = |ballot: Ballot| self.scope.ballots[usize::from(ballot) - 1] == replica;
        let (mut heard, answer, forgets) = match message {
            Message::Prepare { ballot } if is_ours(ballot) => return,
            Message::Accept { held } if is_ours(held.rank.ballot) => return,
            Message::Prepare { ballot } if self.law.may_promise(promised, ballot) => {
                let answer = Message::Promise { ballot, from: replica, holds: member.registers };
                let forgets = self.law.breaks(Break::PromiseBeforeTheDisk);
                (Member { promised: Some(ballot), ..*member }, answer, forgets)
            }
            Message::Accept { held } if self.law.may_accept(promised, held.rank.ballot) => {
                let Some(registers) = self.accepting(member.registers, held) else { return };
                let promised = promised.max(Some(held.rank.ballot));
                let answer = Message::Accepted { from: replica, held };
                let forgets = self.law.breaks(Break::AcceptBeforeTheDisk);
                (Member { promised, registers, ..*member }, answer, forgets)
            }
            Message::Prepare { .. }
            | Message::Promise { .. }
            | Message::Accept { .. }
            | Message::Accepted { .. } => return,
        };
        if heard.office.ballot() < heard.promised {
            heard.office = Office::None;
        }
        if heard != *member || !state.messages.contains(&answer) {
            let mut after = state.clone();
            after.members[usize::from(replica)] = heard;
            after.messages.insert(answer);
            steps.push((Action::Hear(replica, message), after));
        }
        if forgets {
            let mut after = state.clone();
            after.members[usize::from(replica)].office = Office::None;
            after.messages.insert(answer);
            steps.push((Action::HearAndForget(replica, message), after));
        }
    }

    /// The disk after an acceptance; none if it is refused.
    fn accepting(&self, mut registers: Registers, offered: Held<Content>) -> Option<Registers> {
        let rank = offered.rank;
        let held = match offered.content {
            Content::Configuration(_) => registers.configuration.map(|held| held.rank),
            Content::Job(_) => registers.job.map(|held| held.rank),
        };
        if self.law.replaces(held, rank) {
            registers.write(offered);
            return Some(registers);
        }
        held.is_some_and(|held| held.ballot == rank.ballot).then_some(registers)
    }

    fn note_chosen(&self, state: &mut State) {
        let mut chosen = Vec::new();
        for message in state.messages.iter() {
            if let Message::Accept { held: Held { rank, content: Content::Job(content) } } = message
                && let Some(configuration) = state.in_force[usize::from(rank.ballot)]
            {
                let accepted = state.accepted(*rank, is_job);
                let has = |&member: &Replica| accepted.contains(member);
                if self.law.is_quorum(&configuration.seats(), has) {
                    chosen.push(Held { rank: *rank, content: *content });
                }
            }
        }
        state.chosen.extend(chosen);
    }

    /// A promise matters to the candidate alone. Where a ballot is never used again, states that
    /// differ in nothing but the promises to a former candidate are one.
    fn drop_dead_promises(&self, state: &mut State) {
        if self.law.breaks(Break::ReuseBallot) {
            return;
        }
        let members = &state.members;
        state.messages.retain(|message| match message {
            Message::Promise { ballot, .. } => {
                members.iter().any(|member| member.office == Office::Candidate(*ballot))
            }
            Message::Prepare { .. } | Message::Accept { .. } | Message::Accepted { .. } => true,
        });
    }
}

/// The leader writes and sends out what it wants to be the next content.
fn propose(state: &mut State, replica: Replica, version: u64, content: Content) {
    let member = &mut state.members[usize::from(replica)];
    let Office::Leader(leader) = &mut member.office else {
        unreachable!("only a leader proposes");
    };
    let rank = Rank { ballot: leader.ballot, version };
    match content {
        Content::Configuration(content) => {
            leader.configuration = Base { held: Held { rank, content }, holders: Members::NONE };
            state.in_force[usize::from(leader.ballot)] = Some(content);
        }
        Content::Job(content) => {
            leader.job = Some(Base { held: Held { rank, content }, holders: Members::NONE });
        }
    }
    let held = Held { rank, content };
    member.promised = Some(rank.ballot);
    member.registers.write(held);
    state.messages.insert(Message::Accept { held });
    state.messages.insert(Message::Accepted { from: replica, held });
}

fn forget(state: &mut State, replica: Replica) {
    if let Office::Leader(leader) = &mut state.members[usize::from(replica)].office {
        leader.job = None;
    }
}
