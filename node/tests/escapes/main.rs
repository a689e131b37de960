//! Escape attempts, each made for real by a hostile trainer that the executor has started: held
//! inside the walls, and, where that harms nobody, shown to work without them. The trainer is a
//! planted one that does nothing to confine itself, so that it is the parent's walls that hold.
//!
//! To be run as a superuser and as anybody: the walls promise the same to both. The program is its
//! own trainer and its own victim, hence its own `main`.

#[cfg(target_os = "linux")]
mod attacks;
#[cfg(target_os = "linux")]
mod bench;
#[cfg(target_os = "linux")]
mod ends;
#[cfg(target_os = "linux")]
mod floods;
#[cfg(target_os = "linux")]
mod hostile;
#[cfg(target_os = "linux")]
mod target;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("there are no walls on this system, so nothing is tried");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().collect();
    match words.get(1).map(String::as_str) {
        Some(TRAINER) => {
            // Behind what an engine is told.
            let is_directory = |word: &&String| std::path::Path::new(word).is_absolute();
            let directory = words[2..].iter().find(is_directory);
            hostile::train(directory.expect("the executor names the run's directory").as_ref());
            std::process::ExitCode::SUCCESS
        }
        Some(VICTIM) => {
            // Until the test is over, one way or the other.
            std::io::stdin().lines().for_each(drop);
            std::process::ExitCode::SUCCESS
        }
        _ => libtest_mimic::run(&libtest_mimic::Arguments::from_args(), ends::trials()).exit_code(),
    }
}

/// The first argument of the hostile trainer, and of the process that it is after.
#[cfg(target_os = "linux")]
const TRAINER: &str = "__hostile";
#[cfg(target_os = "linux")]
const VICTIM: &str = "__victim";
