//! Whose memory was too little when a process was refused some. A limit that the job asks for is
//! the same at every worker, so that the job ends with it; where this machine or its device may
//! have had no more, another worker may do better. That a process was killed by the system says
//! the latter.

use std::fs;

use cyxwiz_trainer::EngineChoice;
use cyxwiz_trainer::frames::{Failure, FailureClass};
use cyxwiz_trainer::limits::ESTIMATED_THREADS;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::{Run, confinement};

/// The failure of a run that was refused memory, as `what` tells; one that has `begun` has read its
/// data and made its model.
pub(super) fn refused(what: &str, begun: bool, run: &Run) -> Failure {
    let limit = run.limits.memory_mb;
    let (doing, remedies) = if begun {
        ("computed", "or use a smaller batch_size")
    } else {
        ("read its data and made its model", "set data.streaming = true, or use a smaller model")
    };
    let message = format!(
        "the memory was used up while it {doing}: {what}; its limit is {limit} MiB: raise \
         requirements.memory_mb, {remedies}"
    );
    let class = if is_the_same_everywhere(run) {
        FailureClass::InvalidJob
    } else {
        FailureClass::OutOfMemory
    };
    Failure { class, message }
}

/// Whether the limit of the job decides alone. What libraries and drivers take is each worker's
/// own, and so is what more threads take than the estimate that the submitter was told; a state to
/// go on from takes room that a run from the beginning does not need.
fn is_the_same_everywhere(run: &Run) -> bool {
    run.engine == EngineChoice::Cpu
        && run.resume.is_none()
        && run.limits.threads <= ESTIMATED_THREADS
        && this_machine_grants(confinement::memory_bytes(run))
}

/// Whether a process that may have so many bytes gets them from the system whenever it asks. Linux
/// refuses nothing that the machine could have, unless its owner forbids to promise more than there
/// is; others bound no process.
fn this_machine_grants(bytes: u64) -> bool {
    let promises = fs::read_to_string("/proc/sys/vm/overcommit_memory")
        .is_ok_and(|mode| matches!(mode.trim(), "0" | "1"));
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let machine = System::new_with_specifics(memory);
    promises && machine.is_ok_and(|machine| machine.total_memory() >= bytes)
}
