//! Once healed, everything ends: accepted jobs, the wishes of users, the fetching of results; and
//! no run is left on any worker.

use super::{Fact, Invariant, Remains};

#[derive(Debug)]
pub(super) struct EverythingEnds;

impl Invariant for EverythingEnds {
    fn name(&self) -> &'static str {
        "every accepted job ends"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Over(remains) = fact else {
            return Ok(());
        };
        let Remains { unfinished, unanswered, followed, runs } = remains;
        if unfinished.is_empty() && *unanswered == 0 && *followed == 0 && *runs == 0 {
            return Ok(());
        }
        let named: Vec<_> = unfinished.iter().take(3).map(ToString::to_string).collect();
        Err(format!(
            "long after the network healed, {} accepted jobs have not ended ({}), {unanswered} \
             wishes have no answer, {followed} jobs are still followed, {runs} runs are left",
            unfinished.len(),
            named.join(", "),
        ))
    }
}
