//! The hostile trainer: does one forbidden thing and tells honestly how that went. `Ok` says that
//! it worked, and how one sees it; `Err` what the system answered.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use libc::c_long;

use crate::target::Target;

pub(crate) type Attack = fn(&Target) -> io::Result<String>;

/// By the name that `job.json` has.
pub(crate) const ATTACKS: &[(&str, Attack)] = &[
    ("read_the_key", |it| text(fs::read_to_string(&it.key)?)),
    ("read_the_users", |_| text(fs::read_to_string("/etc/passwd")?)),
    ("list_the_home", |it| text(format!("{} names", fs::read_dir(&it.home)?.count()))),
    ("list_the_root", |_| text(format!("{} names", fs::read_dir("/")?.count()))),
    ("write_outside", |it| text(fs::write(it.home.join("planted"), "x")?)),
    ("write_beside", |_| text(fs::write("../planted", "x")?)),
    ("remove_the_key", |it| text(fs::remove_file(&it.key)?)),
    ("change_an_input", change_an_input),
    ("empty_an_input", empty_an_input),
    ("take_an_input_from_its_reader", |_| {
        text(fs::set_permissions("inputs/data", fs::Permissions::from_mode(0o0))?)
    }),
    ("connect_by_tcp", |it| text(TcpStream::connect(("127.0.0.1", it.tcp)).map(drop)?)),
    ("listen_by_tcp", |_| text(TcpListener::bind("127.0.0.1:0").map(drop)?)),
    ("send_by_udp", |it| {
        text(UdpSocket::bind("127.0.0.1:0")?.send_to(b"x", ("127.0.0.1", it.udp)).map(drop)?)
    }),
    ("connect_by_unix_socket", |it| text(UnixStream::connect(&it.socket).map(drop)?)),
    ("connect_by_abstract_socket", |it| {
        let address = SocketAddr::from_abstract_name(&it.abstract_name)?;
        text(UnixStream::connect_addr(&address).map(drop)?)
    }),
    ("make_a_socket_pair", |_| text(UnixStream::pair().map(drop)?)),
    ("start_a_program", |_| Err(Command::new("/bin/sh").args(["-c", "exit 42"]).exec())),
    ("start_a_planted_program", |_| {
        let mut planted = OpenOptions::new();
        let planted = planted.write(true).create_new(true).mode(0o700);
        planted.open("output/planted")?.write_all(b"#!/bin/sh\nexit 42\n")?;
        Err(Command::new("output/planted").exec())
    }),
    ("fork", fork),
    ("fork_in_the_same_memory", fork_in_the_same_memory),
    ("fork_anew", fork_anew),
    ("fork_bomb", fork_bomb),
    ("leave_the_group_and_stay", leave_the_group_and_stay),
    ("join_another_group", |it| call(libc::SYS_setpgid, [0, it.group(), 0, 0, 0])),
    ("survive_the_node", |_| call(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG.into(), 0, 0, 0, 0])),
    ("signal_the_node", |it| call(libc::SYS_kill, [it.victim, libc::SIGUSR1.into(), 0, 0, 0])),
    ("signal_a_thread_of_the_node", |it| {
        call(libc::SYS_tgkill, [it.victim, it.victim, libc::SIGUSR1.into(), 0, 0])
    }),
    ("have_a_signal_sent", |it| call(libc::SYS_fcntl, [0, libc::F_SETOWN.into(), it.victim, 0, 0])),
    ("trace_the_node", |it| call(libc::SYS_ptrace, [PTRACE_SEIZE, it.victim, 0, 0, 0])),
    ("read_the_nodes_environment", |it| {
        text(fs::read_to_string(format!("/proc/{}/environ", it.victim))?)
    }),
    ("open_the_nodes_memory", |it| {
        text(fs::File::open(format!("/proc/{}/mem", it.victim)).map(drop)?)
    }),
    ("hold_the_node", |it| call(libc::SYS_pidfd_open, [it.victim, 0, 0, 0, 0])),
    ("limit_the_node", limit_the_node),
    ("slow_the_node", |it| call(libc::SYS_setpriority, [0, it.victim, 19, 0, 0])),
    ("raise_the_own_limit", raise_the_own_limit),
    ("mount", mount),
    ("make_a_user_namespace", |_| {
        call(libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0])
    }),
    ("use_io_uring", |_| {
        let parameters = [0_u8; 120];
        call(libc::SYS_io_uring_setup, [1, parameters.as_ptr() as c_long, 0, 0, 0])
    }),
    ("use_the_key_ring", |_| call(libc::SYS_keyctl, [0, -3, 1, 0, 0])),
    ("load_bpf", |_| {
        // A map of one element.
        let attributes: [u32; 18] =
            std::array::from_fn(|at| [2, 4, 4, 1].get(at).map_or(0, |it| *it));
        let bytes = size_of_val(&attributes) as c_long;
        call(libc::SYS_bpf, [0, attributes.as_ptr() as c_long, bytes, 0, 0])
    }),
    ("handle_page_faults", |_| call(libc::SYS_userfaultfd, [0, 0, 0, 0, 0])),
    ("make_a_file_in_memory", |_| {
        call(libc::SYS_memfd_create, [c"x".as_ptr() as c_long, 0, 0, 0, 0])
    }),
    ("leave_shared_memory", leave_shared_memory),
    ("link_the_key_symbolically", |it| text(std::os::unix::fs::symlink(&it.key, "output/model")?)),
    ("link_the_key", |it| text(fs::hard_link(&it.key, "output/model")?)),
    ("move_the_key", |it| text(fs::rename(&it.key, "output/model")?)),
    ("make_a_pipe_file", |_| {
        let mode = libc::S_IFIFO | 0o600;
        let path = c"output/model".as_ptr() as c_long;
        call(libc::SYS_mknodat, [libc::AT_FDCWD.into(), path, mode.into(), 0, 0])
    }),
    ("watch_the_home", |it| {
        // SAFETY: takes no pointer.
        let watcher = done(unsafe { libc::inotify_init1(0) }.into())?;
        let home = path(&it.home);
        call(libc::SYS_inotify_add_watch, [watcher, home.as_ptr() as c_long, 0xfff, 0, 0])
    }),
    ("use_a_call_of_tomorrow", |_| call(468, [0, 0, 0, 0, 0]).or_else(unknown_is_known)),
];

/// A call that the kernel knows complains about its arguments.
fn unknown_is_known(error: io::Error) -> io::Result<String> {
    match error.raw_os_error() {
        Some(libc::EFAULT | libc::EINVAL | libc::EBADF | libc::ENOENT) => text("it is there"),
        _ => Err(error),
    }
}

fn change_an_input(_: &Target) -> io::Result<String> {
    fs::set_permissions("inputs/data", fs::Permissions::from_mode(0o600)).ok();
    text(OpenOptions::new().write(true).open("inputs/data")?.write_all(b"changed")?)
}

fn empty_an_input(_: &Target) -> io::Result<String> {
    fs::set_permissions("inputs/data", fs::Permissions::from_mode(0o600)).ok();
    let file = c"inputs/data".as_ptr() as c_long;
    let by_path = call(libc::SYS_truncate, [file, 0, 0, 0, 0]);
    // Reading, and a mode that is neither reading nor writing, both empty the file on the way.
    let by_reading = OpenOptions::new().read(true).custom_flags(libc::O_TRUNC).open("inputs/data");
    let flags = libc::O_ACCMODE | libc::O_TRUNC;
    let by_neither = call(libc::SYS_openat, [libc::AT_FDCWD.into(), file, flags.into(), 0, 0]);
    by_path.or(by_reading.map(|_| String::new())).or(by_neither)
}

/// Has the system's loader start a program, as it may be started itself.
pub(crate) fn start_by_the_loader(_: &Target) -> io::Result<String> {
    let loader = "/lib64/ld-linux-x86-64.so.2";
    Err(Command::new(loader).args(["/bin/sh", "-c", "exit 42"]).exec())
}

/// A process that is no thread, and shares the memory all the same.
fn fork_in_the_same_memory(_: &Target) -> io::Result<String> {
    extern "C" fn end(_: *mut libc::c_void) -> i32 {
        0
    }
    let mut stack = vec![0_u128; 4096];
    let top = stack.as_mut_ptr_range().end.cast();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the child has a stack of its own, and this thread waits until it has ended.
    text(done(unsafe { libc::clone(end, top, flags, std::ptr::null_mut()) }.into())?)
}

/// A child that ends at once.
fn fork(_: &Target) -> io::Result<String> {
    // SAFETY: the child makes one system call.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    if child == 0 {
        // SAFETY: ends this process.
        unsafe { libc::_exit(0) };
    }
    text(done(child)?)
}

/// By the call whose arguments a filter cannot read.
fn fork_anew(_: &Target) -> io::Result<String> {
    let mut arguments = [0_u64; 11];
    arguments[4] = libc::SIGCHLD as u64;
    let bytes = size_of_val(&arguments);
    // SAFETY: the arguments have the layout of the kernel's `clone_args`.
    let child = unsafe { libc::syscall(libc::SYS_clone3, arguments.as_ptr(), bytes) };
    if child == 0 {
        // SAFETY: ends this process.
        unsafe { libc::_exit(0) };
    }
    text(done(child)?)
}

/// Bounded, as it works where there are no walls.
fn fork_bomb(_: &Target) -> io::Result<String> {
    let mut children = 0;
    let mut refusal = None;
    for _ in 0..64 {
        // SAFETY: the child only waits to be killed.
        match unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } {
            0 => loop {
                // SAFETY: waits for a signal.
                unsafe { libc::pause() };
            },
            -1 => refusal = Some(io::Error::last_os_error()),
            _ => children += 1,
        }
    }
    match refusal {
        Some(refusal) if children == 0 => Err(refusal),
        _ => text(format!("{children} children")),
    }
}

/// The classic way to live on: a child that becomes leader of a session of its own. Its number is
/// left for the test, which ends it.
fn leave_the_group_and_stay(_: &Target) -> io::Result<String> {
    let parent = std::process::id();
    // SAFETY: the child makes system calls only.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    if child == 0 {
        // SAFETY: as above; closes what the test would wait for.
        unsafe {
            libc::setsid();
            (0..3).for_each(|descriptor| {
                libc::close(descriptor);
            });
            libc::sleep(60);
            libc::_exit(0);
        }
    }
    let child = done(child)?;
    fs::write("output/survivor", child.to_string())?;
    // SAFETY: takes a number. Waits until the child has left, so that the end does not meet it.
    while unsafe { libc::getpgid(child as i32) } == parent as i32 {
        std::thread::yield_now();
    }
    text(child)
}

fn limit_the_node(it: &Target) -> io::Result<String> {
    let limits = [64_u64, 64];
    let resource = libc::RLIMIT_NOFILE as c_long;
    call(libc::SYS_prlimit64, [it.victim, resource, limits.as_ptr() as c_long, 0, 0])
}

fn raise_the_own_limit(_: &Target) -> io::Result<String> {
    let limits = [u64::MAX; 2];
    let resource = libc::RLIMIT_DATA as c_long;
    call(libc::SYS_prlimit64, [0, resource, limits.as_ptr() as c_long, 0, 0])
}

fn mount(_: &Target) -> io::Result<String> {
    let (kind, folder) = (c"tmpfs".as_ptr() as c_long, c"output".as_ptr() as c_long);
    let done = call(libc::SYS_mount, [kind, folder, kind, 0, 0])?;
    // Where it works, the test's folder could not be removed otherwise.
    call(libc::SYS_umount2, [folder, 0, 0, 0, 0])?;
    Ok(done)
}

/// Memory that stays when its process is gone. Where it works it is removed again.
fn leave_shared_memory(_: &Target) -> io::Result<String> {
    // SAFETY: both take numbers, and a pointer that is none.
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o600) };
    done(id.into())?;
    // SAFETY: as above.
    unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
    text(id)
}

fn call(number: c_long, arguments: [c_long; 5]) -> io::Result<String> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the callers hand in numbers, and pointers to what outlives the call.
    text(done(unsafe { libc::syscall(number, a, b, c, d, e) })?)
}

fn done(answer: c_long) -> io::Result<c_long> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

fn text(answer: impl std::fmt::Debug) -> io::Result<String> {
    Ok(format!("{answer:?}").chars().take(200).collect())
}

fn path(path: &Path) -> CString {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).expect("a path has no zero")
}

const PTRACE_SEIZE: c_long = 0x4206;
