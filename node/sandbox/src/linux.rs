//! The walls as Linux has them.

mod calls;
mod files;
mod limits;
mod probe;
mod process;

use std::io;
use std::mem::size_of;

use calls::Filter;
use files::Fence;
use limits::Bounds;
use process::Parent;

pub use probe::probe;

use crate::{ApplyError, Layer, Policy, PrepareError, Report, SealError, Strength};

/// Everything that the walls are made of, made beforehand: the child of a fork of a process with
/// threads must neither allocate nor lock.
#[derive(Debug)]
pub struct Cage {
    report: Report,
    parent: Parent,
    bounds: Bounds,
    privileges: bool,
    fence: Option<Fence>,
    filter: Option<Filter>,
}

impl Policy {
    /// Makes the walls, without putting them up. To be called by the parent.
    ///
    /// # Errors
    /// When a layer is missing that [`Strength::Whole`] needs, or a path cannot be looked at.
    pub fn prepare(&self) -> Result<Cage, PrepareError> {
        let mut report = Report::default();
        report.applied(Layer::Process, "dies with its parent");
        report.applied(Layer::Limits, "rlimits");
        let (parent, bounds) = (Parent::current(), Bounds::new(&self.limits));
        let mut cage =
            Cage { report, parent, bounds, privileges: false, fence: None, filter: None };
        if self.strength == Strength::LimitsOnly {
            for layer in &Layer::ALL[2..] {
                cage.report.lacks(*layer, "the owner trusts this program");
            }
            return Ok(cage);
        }
        cage.privileges = true;
        cage.report.applied(Layer::Privileges, "no_new_privs, no capabilities");
        let abi = files::abi();
        match abi {
            Ok(abi) => {
                cage.fence = Some(Fence::new(self)?);
                cage.report.applied(Layer::Files, format!("Landlock ABI {abi}"));
            }
            Err(why) => cage.report.lacks(Layer::Files, why),
        }
        match calls::is_available() {
            Ok(()) => {
                cage.filter = Some(Filter::cage(self.gpu)?);
                cage.report.applied(Layer::Calls, "seccomp filter");
            }
            Err(why) => cage.report.lacks(Layer::Calls, why),
        }
        for (layer, since) in [(Layer::Ports, 4), (Layer::Scopes, 6)] {
            match abi {
                Ok(abi) if abi >= since => cage.report.applied(layer, format!("ABI {since}")),
                Ok(abi) => cage.report.lacks(
                    layer,
                    format!("Landlock ABI {abi} has none, ABI {since} has; `calls` refuses it too"),
                ),
                Err(why) => cage.report.lacks(layer, why),
            }
        }
        if self.strength == Strength::Whole
            && let Some((layer, why)) = cage.report.missing().next()
        {
            return Err(PrepareError::Missing { layer, why: why.to_owned() });
        }
        Ok(cage)
    }
}

impl Cage {
    /// What [`Cage::enter`] will put up.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Puts up all walls around the calling process, for good. Meant for the child between fork
    /// and exec: makes system calls only, never allocates, never locks.
    ///
    /// # Errors
    /// When the system refuses one of them; the process must then end.
    pub fn enter(&mut self) -> io::Result<()> {
        Layer::ALL.into_iter().try_for_each(|layer| self.step(layer))
    }

    /// One wall. In the order of [`Layer::ALL`], as each takes away what the next does not need.
    fn step(&mut self, layer: Layer) -> io::Result<()> {
        match layer {
            Layer::Process => {
                self.parent.tie()?;
                process::close_on_exec()
            }
            Layer::Limits => self.bounds.set(),
            Layer::Privileges if self.privileges => process::drop_privileges(),
            Layer::Files => self.fence.as_ref().map_or(Ok(()), Fence::enter),
            Layer::Calls => self.filter.as_mut().map_or(Ok(()), Filter::install_cage),
            // Parts of the fence.
            Layer::Privileges | Layer::Ports | Layer::Scopes => Ok(()),
        }
    }
}

/// Confines the calling process, for good, without another program: cage and seal at once. Its
/// other threads, if any, keep the access to files that they had.
///
/// # Errors
/// When a layer is missing that the policy needs, or the system refuses a wall; the process must
/// then end.
pub fn apply(policy: &Policy) -> Result<Report, ApplyError> {
    let mut cage = policy.prepare()?;
    cage.enter().map_err(ApplyError::Enter)?;
    if policy.strength == Strength::Whole {
        seal()?;
    }
    Ok(cage.report)
}

/// The last wall, put up by the program itself: nothing more is started from here, and nobody
/// looks at this process's memory. Checks first that the others stand.
///
/// # Errors
/// When they do not, or the system refuses; the process must not read a stranger's job then.
pub fn seal() -> Result<(), SealError> {
    process::check_privileges()?;
    calls::check()?;
    files::check()?;
    let mut filter = Filter::seal().map_err(|error| SealError::Calls(error.to_string()))?;
    filter.install_seal().map_err(SealError::Refused)?;
    process::hide().map_err(SealError::Refused)
}

/// The result of a system call that answers -1 for an error.
fn done(answer: libc::c_long) -> io::Result<libc::c_long> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

// Numbers and pointers go into `syscall` as whole registers.
const _: () = assert!(size_of::<usize>() == size_of::<libc::c_long>());
