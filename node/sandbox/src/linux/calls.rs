//! System calls by a list of what is refused: all ways to the network, to other programs and
//! processes, to privileges, to memory that no limit counts, and to parts of the kernel that a
//! trainer does not need. Calls newer than the list do not exist for the process.
//!
//! A fork bomb ends here: nothing but threads can be made, and their number is watched by the
//! parent. Refusals say EPERM; ENOSYS where libraries know another way (`clone3`).

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

use super::done;
use crate::{PrepareError, SealError};

/// A program for the kernel. The number of the process, which it compares with, is filled in by
/// the process itself.
#[derive(Debug)]
pub(super) struct Filter {
    program: BpfProgram,
}

/// Why there are no filters, if there are none.
pub(super) fn is_available() -> Result<(), &'static str> {
    if architecture().is_err() {
        return Err("there is no filter for this kind of processor");
    }
    let action: u32 = libc::SECCOMP_RET_ERRNO;
    let ask = libc::SECCOMP_GET_ACTION_AVAIL;
    // SAFETY: the call reads one number where the pointer points.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, ask, 0_u32, &raw const action) };
    match done(answer) {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            Err("the kernel is built without seccomp filters")
        }
        Err(_) => Err("the container around this process forbids seccomp; allow its system call"),
    }
}

impl Filter {
    /// For the time from before the exec; the exec itself passes.
    pub(super) fn cage(gpu: bool) -> Result<Self, PrepareError> {
        let compiled = compile(rules(gpu)?).map_err(|error| PrepareError::Calls(error.to_string()));
        let mut program = newer_are_unknown();
        program.extend(compiled?);
        Ok(Self { program })
    }

    /// For the program, once it runs: starts no other.
    pub(super) fn seal() -> Result<Self, seccompiler::Error> {
        let calls = [libc::SYS_execve, libc::SYS_execveat];
        let program = compile(calls.into_iter().map(|call| (call, Vec::new())).collect())?;
        Ok(Self { program })
    }

    /// In the child of a fork: never allocates.
    pub(super) fn install_cage(&mut self) -> io::Result<()> {
        let own = std::process::id();
        let compares = |it: &&mut sock_filter| it.code == JUMP_IF_EQUAL && it.k == OWN_PID;
        for instruction in self.program.iter_mut().filter(compares) {
            instruction.k = own;
        }
        self.install(0)
    }

    /// On all threads that there are by now.
    pub(super) fn install_seal(&mut self) -> io::Result<()> {
        self.install(libc::SECCOMP_FILTER_FLAG_TSYNC)
    }

    fn install(&mut self, flags: libc::c_ulong) -> io::Result<()> {
        let len = u16::try_from(self.program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        // Both types are the kernel's own layout.
        let filter = self.program.as_mut_ptr().cast::<libc::sock_filter>();
        let program = libc::sock_fprog { len, filter };
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: `program` names `len` instructions that live until the call returns; the kernel
        // copies and checks them.
        let thread = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
        match done(thread)? {
            0 => Ok(()),
            // A thread that cannot follow.
            _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }
}

/// Tries what must not work: a socket, and to see a signal through to the parent.
pub(super) fn check() -> Result<(), SealError> {
    let is_refused = |answer: c_long| matches!(done(answer), Err(error) if error.raw_os_error() == Some(libc::EPERM));
    // SAFETY: takes three numbers; a descriptor that comes of it is left open, as the process ends.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
    if !is_refused(socket.into()) {
        return Err(SealError::Open("it may use the network"));
    }
    // SAFETY: takes two numbers; signal 0 is none.
    let signal = unsafe { libc::kill(libc::getppid(), 0) };
    if !is_refused(signal.into()) {
        return Err(SealError::Open("it may signal others"));
    }
    Ok(())
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn compile(rules: Rules) -> Result<BpfProgram, seccompiler::Error> {
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture()?)?;
    Ok(filter.try_into()?)
}

fn architecture() -> Result<TargetArch, seccompiler::Error> {
    Ok(TargetArch::try_from(std::env::consts::ARCH)?)
}

/// Instructions before all others: calls that came after this list was written, those of the x32
/// world, and those whose arguments a filter cannot read, do not exist. What the process was
/// compiled for is checked by the instructions that follow.
fn newer_are_unknown() -> BpfProgram {
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(LOAD, 0, 0, 0),
        step(JUMP_IF_GREATER, 3, 0, NEWEST_CALL),
        step(JUMP_IF_EQUAL, 2, 0, libc::SYS_clone3 as u32),
        step(JUMP_IF_EQUAL, 1, 0, libc::SYS_openat2 as u32),
        step(JUMP, 0, 0, 1),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

fn rules(gpu: bool) -> Result<Rules, PrepareError> {
    let wrong = |error: seccompiler::BackendError| PrepareError::Calls(error.to_string());
    let mut rules: Rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    rules.extend(REFUSED_OLD.iter().map(|call| (*call, Vec::new())));
    if !gpu {
        rules.extend(UNCOUNTED_MEMORY.iter().map(|call| (*call, Vec::new())));
    }
    for (call, conditions) in conditional(gpu) {
        let conditions = conditions
            .into_iter()
            .map(|Test { argument, is, value }| {
                // All of them are 32 bits for the kernel, flags of `mmap` and `clone` included.
                SeccompCondition::new(argument, Width::Dword, is, u64::from(value))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(wrong)?;
        let rule = SeccompRule::new(conditions).map_err(wrong)?;
        rules.entry(call).or_default().push(rule);
    }
    Ok(rules)
}

/// What is asked of one argument.
struct Test {
    argument: u8,
    is: Is,
    value: u32,
}

fn is_not(argument: u8, value: u32) -> Test {
    Test { argument, is: Is::Ne, value }
}

fn is(argument: u8, value: u32) -> Test {
    Test { argument, is: Is::Eq, value }
}

/// Whether, of the bits in `mask`, exactly those in `value` are set.
fn has(argument: u8, mask: i32, value: i32) -> Test {
    Test { argument, is: Is::MaskedEq(u64::from(mask as u32)), value: value as u32 }
}

/// Calls that are refused when all tests of a line hold; lines of one call add up.
fn conditional(gpu: bool) -> Vec<(c_long, Vec<Test>)> {
    // Only threads, and none in a namespace of its own.
    let mut rules = vec![(libc::SYS_clone, vec![has(0, libc::CLONE_THREAD, 0)])];
    rules.extend(NAMESPACES.map(|flag| (libc::SYS_clone, vec![has(0, flag, flag)])));
    for call in [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo] {
        rules.push((call, vec![is_not(0, OWN_PID)]));
    }
    rules.push((libc::SYS_rt_tgsigqueueinfo, vec![is_not(0, OWN_PID)]));
    for call in [libc::SYS_prlimit64, libc::SYS_sched_setaffinity] {
        rules.push((call, vec![is_not(0, 0), is_not(0, OWN_PID)]));
    }
    // Having signals sent to others, and keeping others from their files.
    for command in [libc::F_SETOWN, F_SETOWN_EX, F_SETSIG, libc::F_SETLEASE, libc::F_NOTIFY] {
        rules.push((libc::SYS_fcntl, vec![is(1, command as u32)]));
    }
    // Dying with the node cannot be revoked, nor the own memory made out to be another's.
    for option in [libc::PR_SET_PDEATHSIG, libc::PR_SET_MM, libc::PR_SET_PTRACER] {
        rules.push((libc::SYS_prctl, vec![is(0, option as u32)]));
    }
    rules.push((libc::SYS_personality, vec![is_not(0, u32::MAX)]));
    // Typing into a terminal.
    rules.push((libc::SYS_ioctl, vec![is(1, libc::TIOCSTI as u32)]));
    // Emptying a file that may only be read, which Landlock knows since its third version.
    let emptying = [libc::O_TRUNC, libc::O_TRUNC | libc::O_ACCMODE];
    for flags in emptying {
        let mask = libc::O_TRUNC | libc::O_ACCMODE;
        rules.push((libc::SYS_openat, vec![has(2, mask, flags)]));
        #[cfg(target_arch = "x86_64")]
        rules.push((libc::SYS_open, vec![has(1, mask, flags)]));
    }
    // Memory beside the limit on private memory.
    for flag in [libc::MAP_GROWSDOWN, libc::MAP_HUGETLB] {
        rules.push((libc::SYS_mmap, vec![has(3, flag, flag)]));
    }
    if !gpu {
        let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        rules.push((libc::SYS_mmap, vec![has(3, shared, shared)]));
    }
    rules
}

const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// Memory that `RLIMIT_DATA` does not count. GPU drivers use it, and are left to the watch on
/// resident memory.
const UNCOUNTED_MEMORY: &[c_long] = &[libc::SYS_memfd_create];

/// Refused with any arguments.
#[rustfmt::skip]
const REFUSED: &[c_long] = &[
    // The network, and sockets of any kind: nothing is inherited to talk on.
    libc::SYS_socket, libc::SYS_socketpair,
    // A process group of its own choice, and other processes.
    libc::SYS_setsid, libc::SYS_setpgid, libc::SYS_ptrace, libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev, libc::SYS_process_madvise, libc::SYS_process_mrelease,
    libc::SYS_kcmp, libc::SYS_pidfd_open, libc::SYS_pidfd_getfd, libc::SYS_pidfd_send_signal,
    libc::SYS_tkill, libc::SYS_setpriority, libc::SYS_ioprio_set, libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam, libc::SYS_sched_setattr, libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // Identities and capabilities.
    libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setreuid, libc::SYS_setregid,
    libc::SYS_setresuid, libc::SYS_setresgid, libc::SYS_setfsuid, libc::SYS_setfsgid,
    libc::SYS_setgroups, libc::SYS_capset,
    // Namespaces and mounts.
    libc::SYS_unshare, libc::SYS_setns, libc::SYS_mount, libc::SYS_umount2,
    libc::SYS_pivot_root, libc::SYS_chroot, libc::SYS_move_mount, libc::SYS_open_tree,
    libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick,
    libc::SYS_mount_setattr,
    // What Landlock does not rule: a file's owner, mode, times and attributes. Inputs are the
    // node's own files.
    libc::SYS_fchmod, libc::SYS_fchmodat, SYS_FCHMODAT2, libc::SYS_fchown, libc::SYS_fchownat,
    libc::SYS_utimensat, libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr,
    libc::SYS_removexattr, libc::SYS_lremovexattr, libc::SYS_fremovexattr, libc::SYS_truncate,
    libc::SYS_linkat, libc::SYS_symlinkat, libc::SYS_mknodat, libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at, libc::SYS_inotify_init1, libc::SYS_inotify_add_watch,
    libc::SYS_fanotify_init, libc::SYS_fanotify_mark,
    // Memory and queues that outlive the process or that no limit counts.
    libc::SYS_shmget, libc::SYS_shmat, libc::SYS_shmctl, libc::SYS_semget, libc::SYS_semctl,
    libc::SYS_semop, libc::SYS_semtimedop, libc::SYS_msgget, libc::SYS_msgsnd,
    libc::SYS_msgrcv, libc::SYS_msgctl, libc::SYS_mq_open, libc::SYS_mq_unlink,
    libc::SYS_mq_notify, libc::SYS_memfd_secret,
    // Parts of the kernel with a history.
    libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register,
    libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd, libc::SYS_keyctl,
    libc::SYS_add_key, libc::SYS_request_key,
    // The machine.
    libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module,
    libc::SYS_kexec_load, libc::SYS_kexec_file_load, libc::SYS_reboot, libc::SYS_swapon,
    libc::SYS_swapoff, libc::SYS_acct, libc::SYS_quotactl, libc::SYS_quotactl_fd,
    libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_clock_adjtime,
    libc::SYS_adjtimex, libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_syslog,
    libc::SYS_vhangup, libc::SYS_sync, libc::SYS_syncfs,
];

/// Older names of the same, which newer architectures do not have.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const REFUSED_OLD: &[c_long] = &[
    libc::SYS_fork, libc::SYS_vfork, libc::SYS_chmod, libc::SYS_chown, libc::SYS_lchown,
    libc::SYS_utime, libc::SYS_utimes, libc::SYS_futimesat, libc::SYS_link, libc::SYS_symlink,
    libc::SYS_mknod, libc::SYS_inotify_init, libc::SYS_iopl, libc::SYS_ioperm,
    libc::SYS_modify_ldt, libc::SYS_uselib, libc::SYS_ustat, libc::SYS_sysfs,
    libc::SYS_kexec_file_load,
];

/// The newest call of this list, `mseal` of Linux 6.10. Later ones that matter here change files'
/// attributes and mounts by new names.
const NEWEST_CALL: u32 = libc::SYS_mseal as u32;

/// The same number on all architectures; not yet in `libc` for each of them.
const SYS_FCHMODAT2: c_long = 452;

/// Stands for the process's own number, which no process has: they end at 2^22.
const OWN_PID: u32 = 0x7a3c_51d9;

const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;

// Classic BPF, as in <linux/bpf_common.h>.
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const RETURN: u16 = 0x06;
