//! What this machine can do, found out by doing it: a short-lived child puts up each wall and runs
//! against it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::Cage;
use crate::{Layer, Limits, Policy, Report, State, Strength};

/// Puts up all walls in a child process and has it try what they must refuse. Takes milliseconds;
/// blocks until the child is gone.
#[must_use]
pub fn probe() -> Report {
    let cage = policy().prepare();
    let found = cage.map_err(|error| error.to_string()).and_then(|cage| {
        let report = cage.report.clone();
        let answers = attempt(cage).map_err(|error| format!("cannot try it out: {error}"))?;
        Ok((report, answers))
    });
    match found {
        Ok((report, answers)) => judged(report, answers),
        Err(why) => {
            let mut report = Report::default();
            for layer in Layer::ALL {
                report.lacks(layer, why.clone());
            }
            report
        }
    }
}

fn policy() -> Policy {
    Policy {
        directory: "/proc/self/fdinfo".into(),
        writable: Vec::new(),
        readable: Vec::new(),
        program: "/proc/self/exe".into(),
        limits: Limits {
            memory_bytes: 1 << 30,
            file_bytes: 1 << 20,
            open_files: 64,
            processor: Duration::from_secs(10),
            niceness: 0,
        },
        gpu: false,
        strength: Strength::WhatThereIs,
    }
}

/// For each layer zero, or the error number of putting it up, or [`USELESS`].
type Answers = [i32; Layer::ALL.len()];

fn judged(mut report: Report, answers: Answers) -> Report {
    for (finding, answer) in report.findings.iter_mut().zip(answers) {
        if matches!(finding.state, State::Missing { .. }) || answer == 0 {
            continue;
        }
        let why = match answer {
            USELESS => "it was put up, and what it must refuse still worked".to_owned(),
            number => format!("the system refuses it: {}", io::Error::from_raw_os_error(number)),
        };
        finding.state = State::Missing { why };
    }
    report
}

fn attempt(mut cage: Cage) -> io::Result<Answers> {
    let (reader, writer) = pipe()?;
    // SAFETY: the child makes system calls only and ends by `_exit`; it shares no memory that it
    // could leave half changed.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let answers = inside(&mut cage);
        let bytes = size_of_val(&answers);
        // SAFETY: writes plain numbers that live here, and ends without running destructors, which
        // belong to the parent.
        unsafe {
            libc::write(writer.as_raw_fd(), answers.as_ptr().cast(), bytes);
            libc::_exit(0);
        }
    }
    super::done(child.into())?;
    drop(writer);
    let mut bytes = [0; size_of::<Answers>()];
    let read = File::from(reader).read_exact(&mut bytes);
    // SAFETY: waits for the child of this function, which nobody else knows; it has ended, or ends
    // now that nobody reads.
    while unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) } == -1
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
    read?;
    let mut answers = Answers::default();
    for (answer, number) in answers.iter_mut().zip(bytes.as_chunks().0) {
        *answer = i32::from_ne_bytes(*number);
    }
    Ok(answers)
}

/// In the child: puts up one wall after the other, then tries each.
fn inside(cage: &mut Cage) -> Answers {
    let mut answers = Answers::default();
    for (answer, layer) in answers.iter_mut().zip(Layer::ALL) {
        *answer = number(cage.step(layer));
    }
    for (answer, layer) in answers.iter_mut().zip(Layer::ALL) {
        if *answer == 0 && !is_refused(layer) {
            *answer = USELESS;
        }
    }
    answers
}

/// Tries what the layer must refuse, by system calls alone.
fn is_refused(layer: Layer) -> bool {
    match layer {
        Layer::Limits => {
            let bytes = 2 << 30;
            let (access, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: asks for fresh memory at no place in particular, and leaves it alone.
            let memory = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0) };
            memory == libc::MAP_FAILED
        }
        Layer::Privileges => matches!(rustix::thread::no_new_privs(), Ok(true)),
        Layer::Files => {
            let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
            // SAFETY: the path ends in a zero.
            unsafe { libc::open(c"/".as_ptr(), flags) == -1 }
        }
        // SAFETY: both take numbers only; as `libc::fork` takes locks, its system call is made. A
        // fork that works leaves a child that ends at once.
        Layer::Calls => unsafe {
            let child = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0);
            if child == 0 {
                libc::_exit(0);
            }
            child == -1 && libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) == -1
        },
        // These are refused by `Calls` as well, so that trying tells nothing of them.
        Layer::Process | Layer::Ports | Layer::Scopes => true,
    }
}

fn number(result: io::Result<()>) -> i32 {
    result.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0)
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the call writes two numbers.
    super::done(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    // SAFETY: both were just opened, and nobody else has them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// No error number of the system's.
const USELESS: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    #[test]
    fn a_probe_leaves_this_process_as_it_was() {
        let report = probe();
        assert_eq!(report.findings.len(), Layer::ALL.len());
        assert!(report.level() >= Level::Limited, "{report:?}");
        assert!(std::fs::read_dir("/").is_ok());
        assert!(std::net::TcpListener::bind("127.0.0.1:0").is_ok());
        assert!(std::process::Command::new("true").status().unwrap().success());
    }

    #[test]
    fn what_could_not_be_put_up_is_missing() {
        let mut report = Report::default();
        for layer in Layer::ALL {
            report.applied(layer, "yes");
        }
        let report = judged(report, [0, 0, 0, USELESS, libc::EPERM, 0, 0]);
        assert_eq!(report.level(), Level::Limited);
        let words = report.to_string();
        assert!(words.contains("still worked") && words.contains("not permitted"), "{words}");
    }
}
