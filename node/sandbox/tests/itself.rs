//! A process that confines itself, from outside. Walls stay for good, so each try is a process of
//! its own: this program again.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use cyxwiz_sandbox::{Level, Limits, Policy, Strength, apply, probe, seal};

fn policy(directory: &Path, strength: Strength) -> Policy {
    Policy {
        directory: directory.to_owned(),
        writable: vec![directory.join("output")],
        readable: Vec::new(),
        program: "/proc/self/exe".into(),
        limits: Limits {
            memory_bytes: 256 << 20,
            file_bytes: 1 << 20,
            open_files: 64,
            processor: Duration::from_secs(20),
            niceness: 0,
        },
        gpu: false,
        strength,
    }
}

/// Runs one of the ignored tests below in a process of its own.
fn again(test: &str, directory: &Path) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .output()
        .unwrap()
}

fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("output")).unwrap();
    fs::write(folder.path().join("input"), "rows").unwrap();
    folder
}

#[track_caller]
fn assert_passed(output: &Output) {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{words}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_process_that_confines_itself_keeps_what_it_needs_and_nothing_else() {
    if probe().level() < Level::Whole {
        eprintln!("skipped, as this machine lacks: {}", probe());
        return;
    }
    assert_passed(&again("confined", folder().path()));
}

#[test]
#[ignore = "a part of `a_process_that_confines_itself_keeps_what_it_needs_and_nothing_else`"]
fn confined() {
    let Some(directory) = directory() else { return };
    let report = apply(&policy(&directory, Strength::Whole)).unwrap();
    assert_eq!(report.level(), Level::Whole, "{report:?}");

    assert_eq!(fs::read_to_string(directory.join("input")).unwrap(), "rows");
    fs::write(directory.join("output/unfinished"), "model").unwrap();
    fs::rename(directory.join("output/unfinished"), directory.join("output/model")).unwrap();
    fs::File::open(directory.join("output")).unwrap().sync_all().unwrap();
    fs::write("/dev/null", "x").unwrap();
    assert!(fs::read_to_string("/proc/self/status").unwrap().contains("NoNewPrivs:\t1"));
    let sums = (0..8).map(|number| std::thread::spawn(move || number));
    assert_eq!(sums.map(|it| it.join().unwrap()).sum::<i32>(), 28);
    // What a GPU's runtime reserves and never touches.
    // SAFETY: asks for address space at no place in particular, and leaves it alone.
    let reserved = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        libc::mmap(std::ptr::null_mut(), 64 << 30, libc::PROT_NONE, flags, -1, 0)
    };
    assert_ne!(reserved, libc::MAP_FAILED);

    let denied = |result: std::io::Result<()>| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::PermissionDenied);
    };
    denied(fs::write(directory.join("input"), "x"));
    denied(fs::write(directory.join("beside"), "x"));
    denied(fs::read("/etc/passwd").map(drop));
    denied(UdpSocket::bind("127.0.0.1:0").map(drop));
    denied(Command::new("/bin/true").status().map(drop));
    // SAFETY: starts nothing: the program is this one, which is sealed.
    let again = unsafe {
        let program = c"/proc/self/exe";
        libc::execv(program.as_ptr(), [program.as_ptr(), std::ptr::null()].as_ptr())
    };
    assert_eq!((again, std::io::Error::last_os_error().kind()), (-1, ErrorKind::PermissionDenied));
}

#[test]
fn a_gpu_opens_what_its_driver_needs_and_nothing_else() {
    if probe().level() == Level::Whole {
        assert_passed(&again("with_gpu", folder().path()));
    }
}

#[test]
#[ignore = "a part of `a_gpu_opens_what_its_driver_needs_and_nothing_else`"]
fn with_gpu() {
    let Some(directory) = directory() else { return };
    apply(&Policy { gpu: true, ..policy(&directory, Strength::Whole) }).unwrap();
    // Drivers name their threads, and share memory with the device.
    std::thread::spawn(|| fs::write("/proc/thread-self/comm", "driver").unwrap()).join().unwrap();
    // SAFETY: asks for fresh memory at no place in particular, and leaves it alone.
    let shared = unsafe {
        let (access, flags) = (libc::PROT_READ, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        libc::mmap(std::ptr::null_mut(), 4096, access, flags, -1, 0)
    };
    assert_ne!(shared, libc::MAP_FAILED);
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    // SAFETY: takes no argument.
    let parent = unsafe { libc::getppid() };
    let renamed = fs::write(format!("/proc/{parent}/task/{parent}/comm"), "mine");
    assert_eq!(kind(renamed), ErrorKind::PermissionDenied);
    assert_eq!(kind(fs::read("/etc/passwd").map(drop)), ErrorKind::PermissionDenied);
    assert_eq!(kind(UdpSocket::bind("127.0.0.1:0").map(drop)), ErrorKind::PermissionDenied);
    assert_eq!(kind(Command::new("/bin/true").status().map(drop)), ErrorKind::PermissionDenied);
}

#[test]
fn limits_alone_are_not_taken_for_walls() {
    assert_passed(&again("limited", folder().path()));
}

#[test]
#[ignore = "a part of `limits_alone_are_not_taken_for_walls`"]
fn limited() {
    let Some(directory) = directory() else { return };
    let report = apply(&policy(&directory, Strength::LimitsOnly)).unwrap();
    assert_eq!(report.level(), Level::Limited);
    assert!(report.missing().count() > 0);
    assert!(fs::read("/etc/passwd").is_ok());
    let refused = seal().unwrap_err().to_string();
    assert!(refused.contains("there is no wall around this process"), "{refused}");
    // It did not put up the last wall either.
    assert!(Command::new("/bin/true").status().unwrap().success());
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let missing = Path::new("/nonexistent/run");
    match policy(missing, Strength::Whole).prepare() {
        Err(error) if probe().level() == Level::Whole => {
            assert!(error.to_string().contains("/nonexistent/run"), "{error}");
        }
        other => assert!(probe().level() < Level::Whole, "{other:?}"),
    }
}

const DIRECTORY: &str = "CYXWIZ_TEST_DIRECTORY";
