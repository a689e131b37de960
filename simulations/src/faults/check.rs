//! What a plan may not ask for.

use super::{Faults, Hostile, Speeds, Widths};
use crate::host::Part;

/// More of one kind than this is a slip.
const MOST: u32 = 10_000;
/// Fewer coordinators lose no disk: the others would be no majority.
const FEWEST_FOR_LOST_DISKS: u32 = 3;

impl Faults {
    /// The key that is not right, and why, in a world of so many hosts of each part.
    pub(crate) fn check(&self, hosts: impl Fn(Part) -> u32) -> Result<(), (&'static str, String)> {
        let permilles = [
            ("faults.links.late_copies_permille", self.links.late_copies_permille),
            ("faults.links.overtaken_permille", self.links.overtaken_permille),
        ];
        for (key, permille) in permilles {
            if permille > 1_000 {
                return Err((key, format!("{permille} is not from 0 to 1000 (of a thousand)")));
            }
        }
        let widths = [
            ("faults.links.uplink", self.links.uplink),
            ("faults.links.downlink", self.links.downlink),
        ];
        for (key, widths) in widths {
            if let Some(Widths { least_kbit, most_kbit }) = widths
                && (least_kbit == 0 || least_kbit > most_kbit)
            {
                return Err((key, format!("{least_kbit} to {most_kbit} is no range of widths")));
            }
        }
        let Speeds { least_permille, most_permille } = self.speeds;
        if least_permille > most_permille {
            let what = format!("{least_permille} to {most_permille} is no range of speeds");
            return Err(("faults.speeds", what));
        }
        if self.clone().counts().into_iter().any(|count| *count > MOST) {
            return Err(("faults", format!("more than {MOST} of one kind")));
        }
        let Hostile { sybils, no_shows, .. } = self.hostile;
        if sybils + no_shows > MOST {
            return Err(("faults.hostile", format!("more than {MOST} hostile hosts")));
        }
        if self.crashes.lost_disks > 0 && hosts(Part::Coordinator) < FEWEST_FOR_LOST_DISKS {
            let what = format!("only with {FEWEST_FOR_LOST_DISKS} coordinators or more");
            return Err(("faults.crashes.lost_disks", what));
        }
        match self.churn.trace.stranger(hosts) {
            Some(name) => Err(("faults.churn.trace", format!("there is no {name}"))),
            None => Ok(()),
        }
    }
}
