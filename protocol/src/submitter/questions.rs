//! Questions to the leader: asked again until answered, and given up in the end.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    CommandId, PeerId, RequestId, Timing,
    context::Context,
    effects::{Reply, Unreachable},
    limits,
    message::{
        Message,
        query::{Query, Question},
    },
    timers::Timer,
};

/// How often a question is asked before it is given up.
const TRIES: u32 = 6;

#[derive(Debug, Default)]
pub(super) struct Questions {
    open: BTreeMap<RequestId, Asked>,
}

#[derive(Debug)]
pub(super) struct Asked {
    pub(super) question: Question,
    /// The user's command that it belongs to, if it is one's.
    pub(super) command: Option<CommandId>,
    tries: u32,
}

impl Questions {
    pub(super) fn ask(
        &mut self,
        request: RequestId,
        question: Question,
        command: Option<CommandId>,
        cx: &mut Context<'_>,
    ) {
        if self.open.len() >= limits::QUESTIONS {
            if let Some(id) = command {
                cx.reply(id, Reply::Busy("too many questions at this moment"));
            }
            return;
        }
        self.open.insert(request, Asked { question, command, tries: 0 });
        cx.after(Duration::ZERO, Timer::Question(request));
    }

    /// Asks, or asks again, or gives up.
    pub(super) fn on_timeout(&mut self, request: RequestId, timing: &Timing, cx: &mut Context<'_>) {
        let Some(asked) = self.open.get_mut(&request) else {
            return;
        };
        let leader = cx.directory.leader();
        if asked.tries >= TRIES {
            let command = asked.command;
            self.open.remove(&request);
            if let Some(id) = command {
                let why = leader.map_or(Unreachable::NoCommittee, Unreachable::Silent);
                cx.reply(id, Reply::Unreachable(why));
            }
            return;
        }
        asked.tries += 1;
        if let Some(leader) = leader {
            send(leader, request, &asked.question, cx);
        }
        cx.after(timing.question_resend, Timer::Question(request));
    }

    /// Another member is said to lead.
    pub(super) fn redirect(&self, request: RequestId, leader: PeerId, cx: &mut Context<'_>) {
        if let Some(asked) = self.open.get(&request) {
            send(leader, request, &asked.question, cx);
        }
    }

    /// A leader is known: ask it at once.
    pub(super) fn hurry(&self, cx: &mut Context<'_>) {
        for request in self.open.keys() {
            cx.after(Duration::ZERO, Timer::Question(*request));
        }
    }

    pub(super) fn answered(&mut self, request: RequestId, cx: &mut Context<'_>) -> Option<Asked> {
        cx.timers.clear(Timer::Question(request));
        self.open.remove(&request)
    }
}

fn send(to: PeerId, request: RequestId, question: &Question, cx: &mut Context<'_>) {
    let question = question.clone();
    cx.send(to, &Message::Query(Query::Ask { request, question }));
}
