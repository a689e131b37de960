//! The process as such: whose death it dies, what it inherits, which privileges it has.

use std::io;

use rustix::process::{Pid, Signal};

use super::done;
use crate::SealError;

/// The process whose death is to be the child's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parent(Pid);

impl Parent {
    pub(super) fn current() -> Self {
        Self(rustix::process::getpid())
    }

    /// Called in the child. The kernel sends the signal when the forking *thread* ends. A process
    /// that confines itself is its own parent here, and keeps the tie that it has.
    pub(super) fn tie(self) -> io::Result<()> {
        if rustix::process::getpid() == self.0 {
            return Ok(());
        }
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the line above took effect.
        if rustix::process::getppid() != Some(self.0) {
            return Err(rustix::io::Errno::SRCH.into());
        }
        Ok(())
    }
}

/// Marks every descriptor but the three standard ones. Rust opens all of its files this way; this
/// is for those that a C library or the caller's own parent has left open.
pub(super) fn close_on_exec() -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: takes three numbers and closes nothing now.
    let marked = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, flags) };
    match done(marked) {
        Ok(_) => Ok(()),
        // Older than Linux 5.11.
        Err(_) => close_listed_on_exec(),
    }
}

fn close_listed_on_exec() -> io::Result<()> {
    use std::mem::MaybeUninit;
    use std::os::fd::BorrowedFd;

    use rustix::fs::{Mode, OFlags, RawDir};
    use rustix::io::FdFlags;

    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(c"/proc/self/fd", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 2048];
    let mut entries = RawDir::new(&folder, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let digits = entry.file_name().to_bytes();
        let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<i32>().ok());
        if let Some(number) = number.filter(|number| *number > 2) {
            // SAFETY: the number was just listed as open in this process, which has one thread
            // between fork and exec, so nothing closes it meanwhile.
            let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
            rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
        }
    }
    Ok(())
}

/// Gives up all capabilities and the way to new ones. What it is not allowed to give up (the
/// bounding set, for a user without privileges) `no_new_privs` makes worthless.
pub(super) fn drop_privileges() -> io::Result<()> {
    const ZERO: libc::c_ulong = 0;
    for capability in 0..=CAPABILITIES_MAX {
        // SAFETY: `prctl` with numbers only.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, ZERO, ZERO, ZERO) };
    }
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    // SAFETY: as above. Kernels without ambient capabilities have none to clear.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear, ZERO, ZERO, ZERO) };
    let header = CapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let none = [CapabilityData::default(); 2];
    // SAFETY: both point to values of the layout that version 3 has: a header and two words of
    // each set.
    done(unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) })?;
    let one: libc::c_ulong = 1;
    // SAFETY: `prctl` with numbers only.
    done(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, ZERO, ZERO, ZERO) }.into())?;
    Ok(())
}

pub(super) fn check_privileges() -> Result<(), SealError> {
    if !matches!(rustix::thread::no_new_privs(), Ok(true)) {
        return Err(SealError::Open("it may gain privileges"));
    }
    Ok(())
}

/// Keeps other processes of the same user, and core dumps, from this one's memory.
pub(super) fn hide() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// More than there are; asking for one that does not exist does nothing.
const CAPABILITIES_MAX: libc::c_ulong = 63;
