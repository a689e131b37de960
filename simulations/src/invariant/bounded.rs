//! Nothing grows without end among honest peers: not what is under way, not what waits for a
//! disk, not the timeouts of one moment; and nobody shuts an honest peer out.

use super::{Fact, Invariant, Sizes};

/// Messages and deadlines under way, for each host and for each job. An idle host has a deadline
/// and a few copies of gossip; a job has a dozen bids.
const PLANNED_PER_HOST: usize = 200;
const PLANNED_PER_JOB: usize = 200;
/// Effects that may wait for one disk: a node takes no more inputs from outside at 512.
const HELD: usize = 512;
/// Timeouts of one host at one moment. One handles every deadline that has passed.
const SPINS: u32 = 16;

#[derive(Debug)]
pub(super) struct Bounded;

impl Invariant for Bounded {
    fn name(&self) -> &'static str {
        "everything is bounded"
    }

    fn look(&mut self, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::ShutOut { peer, why } = fact {
            return Err(format!("{peer} is shut out: {why}"));
        }
        if let Fact::Sizes(sizes) = fact { look_at(sizes) } else { Ok(()) }
    }
}

fn look_at(sizes: &Sizes) -> Result<(), String> {
    let Sizes { hosts, jobs, planned, held, spins } = *sizes;
    let most = hosts * PLANNED_PER_HOST + jobs * PLANNED_PER_JOB;
    if planned > most {
        return Err(format!("{planned} happenings are planned, {most} would be many"));
    }
    if held > HELD {
        return Err(format!("{held} effects of one host wait for its disk"));
    }
    if spins > SPINS {
        return Err(format!("{spins} timeouts of one host at one moment"));
    }
    Ok(())
}
