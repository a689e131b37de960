//! Files by a list of what is allowed: Landlock, down to its first version. What versions before
//! the third cannot refuse (emptying a file by opening it) is refused by `calls`.
//! <https://docs.kernel.org/userspace-api/landlock.html>

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope, make_bitflags,
};

use super::done;
use crate::{Policy, PrepareError, SealError};

/// A ruleset, complete but for the process's own folder in `/proc`, which does not exist before
/// the process does.
#[derive(Debug)]
pub(super) struct Fence {
    ruleset: OwnedFd,
    own: [(&'static CStr, BitFlags<AccessFs>); 2],
}

/// The version of Landlock, or why there is none.
pub(super) fn abi() -> Result<i64, &'static str> {
    let version = LANDLOCK_CREATE_RULESET_VERSION;
    let nothing = std::ptr::null::<u8>();
    // SAFETY: with this flag the call only tells its version; pointer and size must be zero.
    let abi =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, version) };
    done(abi).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOSYS) => "the kernel is older than Linux 5.13 or built without Landlock",
        Some(libc::EOPNOTSUPP) => {
            "Landlock is switched off; add `landlock` to `lsm=` on the kernel's command line"
        }
        _ => "the container around this process forbids Landlock; allow its system calls",
    })
}

impl Fence {
    pub(super) fn new(policy: &Policy) -> Result<Self, PrepareError> {
        let wrong = |error: landlock::RulesetError| PrepareError::Files(error.to_string());
        let newest = ABI::V10;
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(newest))
            .and_then(|rules| rules.handle_access(AccessNet::from_all(newest)))
            .and_then(|rules| rules.scope(Scope::from_all(newest)))
            .and_then(Ruleset::create)
            .map_err(wrong)?;
        allow(&mut rules, &policy.directory, READ)?;
        for folder in &policy.writable {
            allow(&mut rules, folder, CHANGE)?;
        }
        allow(&mut rules, &policy.program, START)?;
        if let Some(loader) = loader(&policy.program) {
            allow(&mut rules, &loader, START)?;
        }
        let system = SYSTEM.iter().map(Path::new).chain(policy.readable.iter().map(Path::new));
        for path in system {
            allow_if_there(&mut rules, path, READ)?;
        }
        allow_if_there(&mut rules, Path::new("/dev/null"), DISCARD)?;
        let mut own = [(c"/proc/self", READ), (c"/proc/self/task", READ)];
        if policy.gpu {
            for path in gpu_devices() {
                allow_if_there(&mut rules, &path, DEVICE)?;
            }
            for path in GPU_FACTS.iter().map(Path::new) {
                allow_if_there(&mut rules, path, READ)?;
            }
            // Drivers name their threads. A right that the kernel does not know would be an error.
            own[1].1 |= AccessFs::WriteFile;
            if abi().is_ok_and(|abi| abi >= 3) {
                own[1].1 |= AccessFs::Truncate;
            }
        }
        let ruleset: Option<OwnedFd> = rules.into();
        let ruleset =
            ruleset.ok_or_else(|| PrepareError::Files("Landlock went away".to_owned()))?;
        Ok(Self { ruleset, own })
    }

    pub(super) fn enter(&self) -> io::Result<()> {
        let ruleset = self.ruleset.as_raw_fd();
        for (path, access) in self.own {
            let flags = libc::O_PATH | libc::O_CLOEXEC;
            // SAFETY: the path ends in a zero. The descriptor is closed by the exec that follows.
            let folder = unsafe { libc::open(path.as_ptr(), flags) };
            if folder < 0 {
                // Without /proc mounted there is nothing to allow.
                continue;
            }
            let rule = PathRule { allowed_access: access.bits(), parent_fd: folder };
            let (call, kind) = (libc::SYS_landlock_add_rule, LANDLOCK_RULE_PATH_BENEATH);
            // SAFETY: `rule` has the layout that the kernel gives for this kind.
            done(unsafe { libc::syscall(call, ruleset, kind, &raw const rule, 0_u32) })?;
        }
        // SAFETY: takes two numbers.
        done(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0_u32) })?;
        Ok(())
    }
}

/// Tries what must not work: to list the root of all files.
pub(super) fn check() -> Result<(), SealError> {
    match fs::read_dir("/") {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Ok(_) | Err(_) => Err(SealError::Open("it may read any file")),
    }
}

fn allow(
    rules: &mut RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<(), PrepareError> {
    let about = |source| PrepareError::Path { path: path.to_owned(), source };
    let is_folder = fs::metadata(path).map_err(about)?.is_dir();
    let access = if is_folder { access } else { access & AccessFs::from_file(ABI::V10) };
    let handle = PathFd::new(path)
        .map_err(|error| about(io::Error::new(io::ErrorKind::PermissionDenied, error)))?;
    rules
        .add_rule(PathBeneath::new(handle, access))
        .map(|_| ())
        .map_err(|error| PrepareError::Files(error.to_string()))
}

fn allow_if_there(
    rules: &mut RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<(), PrepareError> {
    match allow(rules, path, access) {
        Err(PrepareError::Path { .. }) => Ok(()),
        result => result,
    }
}

/// The loader that a program's file names, which the system starts in its place.
fn loader(program: &Path) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::FileExt;

    let file = fs::File::open(program).ok()?;
    let mut head = [0; 64];
    file.read_exact_at(&mut head, 0).ok()?;
    // A 64-bit file of this machine's byte order; others do not start here.
    if head[..5] != *b"\x7fELF\x02" {
        return None;
    }
    let number = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at..at + 8)?;
        usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let short = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let (table, entry_bytes, count) = (number(&head, 32)?, short(54), short(56));
    for index in 0..count.min(PROGRAM_HEADERS_MAX) {
        let mut entry = [0; 56];
        let at = table.checked_add(index.checked_mul(entry_bytes)?)?;
        file.read_exact_at(&mut entry, at as u64).ok()?;
        if entry[..4] == PT_INTERP {
            let mut name = vec![0; number(&entry, 32)?.min(PATH_BYTES_MAX)];
            file.read_exact_at(&mut name, number(&entry, 8)? as u64).ok()?;
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            return Some(PathBuf::from(std::ffi::OsStr::from_bytes(&name[..end])));
        }
    }
    None
}

/// The device files of GPUs, as far as there are any.
fn gpu_devices() -> Vec<PathBuf> {
    let named = ["/dev/nvidia-caps", "/dev/dri", "/dev/kfd", "/dev/dxg"].map(PathBuf::from);
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let nvidia = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix("nvidia").is_some_and(|rest| {
            matches!(rest, "ctl" | "-uvm" | "-uvm-tools" | "-modeset")
                || (!rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
        })
    });
    named.into_iter().chain(nvidia.take(GPU_DEVICES_MAX)).collect()
}

#[repr(C, packed)]
struct PathRule {
    allowed_access: u64,
    parent_fd: i32,
}

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
const START: BitFlags<AccessFs> = make_bitflags!(AccessFs::{Execute | ReadFile});
const DISCARD: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate});
const DEVICE: BitFlags<AccessFs> =
    make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | IoctlDev});
/// Without `Refer`: nothing is moved or linked from one folder to another.
const CHANGE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir
});

/// What a program needs to be loaded, and what libraries ask about the processor. `/usr/lib` and
/// its like hold no secrets; programs lie elsewhere.
const SYSTEM: [&str; 19] = [
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/dev/zero",
    "/dev/urandom",
    "/dev/random",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
];

/// What drivers and runtimes of GPUs read, and the headers that their compilers of OpenCL include.
const GPU_FACTS: [&str; 16] = [
    "/etc/OpenCL/vendors",
    "/etc/vulkan/icd.d",
    "/usr/local/cuda",
    "/usr/share/clc",
    "/usr/share/nvidia",
    "/usr/share/pocl",
    "/opt/rocm",
    "/proc/devices",
    "/proc/modules",
    "/proc/driver/nvidia",
    "/sys/bus/pci",
    "/sys/class/drm",
    "/sys/class/kfd",
    "/sys/dev/char",
    "/sys/devices",
    "/sys/module",
];

const GPU_DEVICES_MAX: usize = 64;
const PROGRAM_HEADERS_MAX: usize = 64;
const PATH_BYTES_MAX: usize = 4096;
const PT_INTERP: [u8; 4] = 3_u32.to_le_bytes();
const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
const LANDLOCK_RULE_PATH_BENEATH: u32 = 1;
