//! The hostile trainer that uses more than it was given: none of these returns.

use std::fs;
use std::io::Write;
use std::time::Duration;

use crate::target::Target;

pub(crate) type Flood = fn(&Target);

/// By the name that `job.json` has.
pub(crate) const FLOODS: &[(&str, Flood)] = &[
    ("outlive_the_time", |_| {
        ignore_term();
        rest()
    }),
    ("one_large_file", |_| {
        let mut file = fs::File::create("output/model").expect("may be made");
        let piece = vec![1; 1 << 20];
        while file.write_all(&piece).is_ok() {}
    }),
    ("many_files", |_| {
        // Each is within the limit of one.
        let content = vec![1; 8 << 20];
        for number in 0.. {
            if fs::write(format!("output/{number}"), &content).is_err() {
                rest();
            }
        }
    }),
    ("many_names", |_| {
        for number in 0.. {
            if fs::File::create(format!("scratch/{number}")).is_err() {
                rest();
            }
        }
    }),
    ("many_folders_deep", |_| {
        let mut path = std::path::PathBuf::from("scratch");
        loop {
            path.push("d");
            if path.as_os_str().len() > 3000 {
                std::env::set_current_dir(&path).ok();
                path.clear();
                path.push("d");
            }
            if fs::create_dir(&path).is_err() {
                rest();
            }
        }
    }),
    ("private_memory", |_| {
        let mut kept = Vec::new();
        loop {
            kept.push(vec![1_u8; 16 << 20]);
        }
    }),
    ("shared_memory", |_| {
        loop {
            let bytes = 16 << 20;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
            // SAFETY: asks for fresh memory, and writes to what it got.
            unsafe {
                let memory = libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0);
                if memory == libc::MAP_FAILED {
                    panic!("refused: {}", std::io::Error::last_os_error());
                }
                std::ptr::write_bytes(memory.cast::<u8>(), 1, bytes);
            }
        }
    }),
    ("threads", |_| {
        let small = || std::thread::Builder::new().stack_size(16 << 10);
        loop {
            if small().spawn(rest).is_err() {
                rest();
            }
        }
    }),
    ("a_giant_frame", |_| {
        let piece = [b'x'; 64 << 10];
        while std::io::stdout().write_all(&piece).is_ok() {}
    }),
    ("endless_words", |_| {
        let piece = [b'x'; 64 << 10];
        while std::io::stderr().write_all(&piece).is_ok() {}
    }),
    ("endless_frames", |_| {
        loop {
            crate::hostile::say(r#"{"frame":"warning","message":"again"}"#);
        }
    }),
    ("processor_time", |_| {
        ignore_term();
        loop {
            std::hint::spin_loop();
        }
    }),
];

/// Until it is killed.
fn rest() {
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

fn ignore_term() {
    // SAFETY: changes how this process takes a signal.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
}
