//! Founding the committee anew, when the majority of its disks is gone for good: what it can cost
//! is said in words, and nothing happens before somebody has agreed to it.

use std::io::{self, BufRead, IsTerminal, Write};

use super::decision::{Decision, DecisionError, Decisions};

/// Why the committee is not founded anew.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// Somebody was asked and did not agree.
    #[error("nothing was changed: it was not confirmed")]
    Declined,
    /// Nobody can be asked.
    #[error("nothing was changed: there is no terminal to confirm it on; say --yes to agree")]
    NoTerminal,
    /// The terminal failed.
    #[error("nothing was changed: the answer cannot be read")]
    Terminal(#[source] io::Error),
}

/// Says on standard error what founding the committee of `network` anew can cost, and asks on the
/// terminal whether to go on; with `yes`, somebody has agreed already. Waits for the answer.
pub fn confirm_new_committee(network: &str, yes: bool) -> Result<(), ConfirmError> {
    let mut err = io::stderr().lock();
    // Who has closed standard error sees no words, and cannot agree but with --yes.
    let _ = writeln!(err, "{}", cost(network));
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(ConfirmError::NoTerminal);
    }
    let _ = write!(err, "Type 'yes' to found it anew: ").and_then(|()| err.flush());
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(ConfirmError::Terminal)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(ConfirmError::Declined) }
}

fn cost(network: &str) -> String {
    format!(
        "This founds the committee of the network '{network}' anew. It can cost:\n\
         - Jobs that only the lost committee knew are lost, unless their submitters and workers \
         hand them in again; those that still run do so by themselves.\n\
         - Results that the lost committee had counted may be computed and counted again.\n\
         - If the old committee is still alive, it is set aside: what it decides from then on \
         counts for nothing.\n\
         Do it only when the majority of the committee's disks is gone for good. Members that \
         are merely down come back by themselves when their machines do."
    )
}

/// Sets the decision aside after somebody has agreed, and says what to do next.
pub(crate) fn force_new_committee(decisions: &Decisions, yes: bool) -> Result<Anew, ForceError> {
    let seen = decisions.read()?;
    let Some(founding) = seen.founding else {
        return Ok(Anew { decision: seen, changed: false });
    };
    tracing::info!(
        founder = %founding.founder, generation = founding.generation, "the decision so far"
    );
    confirm_new_committee(decisions.network().name(), yes)?;
    let decision = decisions.renew(&seen)?;
    Ok(Anew { decision, changed: true })
}

/// How the decision stands after it was to be set aside.
#[derive(Debug)]
pub(crate) struct Anew {
    pub(crate) decision: Decision,
    /// Otherwise nobody had founded in that generation yet.
    pub(crate) changed: bool,
}

/// Why the decision was not set aside.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForceError {
    #[error(transparent)]
    Decision(#[from] DecisionError),
    #[error(transparent)]
    Confirm(#[from] ConfirmError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyxwiz_protocol::{Identity, Network, PeerId, StoreId, UnixMillis};

    #[test]
    fn it_says_the_cost_asks_and_does_it_once() {
        let words = cost("lab");
        for part in ["'lab'", "lost", "counted again", "set aside", "gone for good"] {
            assert!(words.contains(part), "{words}");
        }
        let dir = tempfile::tempdir().unwrap();
        let charter = std::sync::Arc::new(Identity::from_seed([1; 32]));
        let network = Network::new("lab", charter.id()).unwrap();
        let decisions = Decisions::open(dir.path(), charter, network).unwrap();
        let replica = (PeerId([7; 32]), StoreId([7; 16]));
        assert!(!force_new_committee(&decisions, true).unwrap().changed, "nobody has founded yet");
        decisions.founder(replica, UnixMillis(1)).unwrap();
        let anew = force_new_committee(&decisions, true).unwrap();
        assert!(anew.changed && anew.decision.generation == 1);
        let again = force_new_committee(&decisions, true).unwrap();
        assert!(!again.changed && again.decision.generation == 1, "it waits for a coordinator");
    }
}
