//! Commands that count once a majority of the committee has them on disk. A coordinator that says
//! nothing is told from one whose disks are slow: whoever hears of the latter may ask for the same
//! again, since asking twice does no harm.

use std::{pin::pin, time::Duration};

use cyxwiz_protocol::{
    Command, JobId, PeerId, Reply, effects::Unreachable, message::query::Question,
};
use tokio::time::{sleep, timeout};

use super::{Api, Failure, view::ErrorKind};

/// Disks are rarely slower. After this the coordinator is asked whether it is there.
const PROMPT: Duration = Duration::from_secs(5);
/// How long nobody may be there: longer than a committee needs for another leader.
const SILENCE: Duration = Duration::from_secs(15);
/// Before the coordinator is asked again whether it is there.
const ASK_AGAIN: Duration = Duration::from_millis(500);

impl Api {
    /// Has the committee put something of `job` on its disks, and waits for that.
    pub(super) async fn confirmed(&self, job: JobId, command: Command) -> Result<Reply, Failure> {
        let mut reply = pin!(self.command(command));
        if let Ok(reply) = timeout(PROMPT, &mut reply).await {
            return reply;
        }
        tokio::select! {
            biased;
            reply = &mut reply => reply,
            () = self.leader_answers() => Err(match self.leader().await? {
                Some(leader) => unconfirmed(job, leader),
                None => Failure::unreachable(Unreachable::NoCommittee),
            }),
            () = sleep(SILENCE - PROMPT) => {
                let leader = self.leader().await?;
                let why = leader.map_or(Unreachable::NoCommittee, Unreachable::Silent);
                Err(Failure::unreachable(why))
            }
        }
    }

    /// Returns when a leader has answered a question, for which it needs no disk.
    async fn leader_answers(&self) {
        // No job is older, so the answer is short.
        let oldest = JobId([0; 16]);
        let question = Question::Jobs { submitter: Some(self.parts().id), after: Some(oldest) };
        while self.ask(question.clone()).await.is_err() {
            sleep(ASK_AGAIN).await;
        }
    }

    async fn leader(&self) -> Result<Option<PeerId>, Failure> {
        Ok(self.status().await?.committee.map(|record| record.ballot.leader))
    }
}

fn unconfirmed(job: JobId, leader: PeerId) -> Failure {
    let message = format!(
        "the coordinator …{} is there, but what was asked of job {job} is not on its committee's \
         disks yet",
        leader.short()
    );
    Failure::new(ErrorKind::Unconfirmed, message)
        .hint("disks or network are slow; asking for the same again does no harm")
}
