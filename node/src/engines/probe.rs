//! A short life in which a library and its driver are tried: `cyxwiz __devices BACKEND` opens the
//! library and writes what it found. A driver that crashes or hangs takes that process down, and
//! the node hears of it.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use cyxwiz_trainer::{ArrayFireReport, Attempt, Backend, Obstacle, candidates};

use super::places;

/// How long a driver may take to start; the first start after an installation compiles.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much is read of what the process writes.
const MAX_OUTPUT_BYTES: u64 = 64 << 10;

/// What `backend` offers, found out by `program`, which is this one. Starts nothing where no
/// library lies.
pub(crate) fn probe(program: &Path, backend: Backend) -> ArrayFireReport {
    let files = candidates(backend);
    if files.iter().all(|file| matches!(file.try_exists(), Ok(false))) {
        let absent = |path| Attempt { path, why: Obstacle::Absent };
        return ArrayFireReport::Absent { tried: files.into_iter().map(absent).collect() };
    }
    let arguments = ["__devices", backend.name()].map(OsString::from);
    ask(program, &arguments).unwrap_or_else(|why| ArrayFireReport::Broken { why })
}

fn ask(program: &Path, arguments: &[OsString]) -> Result<ArrayFireReport, String> {
    let path = std::env::var_os("AF_PATH").map(|path| ("AF_PATH", path));
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child =
        child.map_err(|fault| format!("the process that looks did not start: {fault}"))?;
    let Some(stdout) = child.stdout.take() else {
        return Err("the process that looks has no output".to_owned());
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    // Ends with the program's output, at the latest when the program is killed below.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.take(MAX_OUTPUT_BYTES).read_to_string(&mut text);
        let _nobody_waits_any_more = sender.send(read.map(|_| text));
    });
    let answer = receiver.recv_timeout(PATIENCE);
    let Ok(answer) = answer else {
        // A process stuck in the driver does not even die of this; then it is left behind.
        let killed = child.kill();
        tracing::warn!(?killed, "a GPU driver did not answer");
        drop(child.try_wait());
        return Err(format!("its driver did not answer within {} s", PATIENCE.as_secs()));
    };
    drop(reader.join());
    let status = child.wait().map_err(|fault| fault.to_string())?;
    let text = answer.map_err(|fault| fault.to_string())?;
    serde_json::from_str(&text).map_err(|_| format!("it took its process down: {status}"))
}

/// A report on one line.
pub(crate) fn report_text(backend: Backend, report: &ArrayFireReport) -> String {
    match report {
        ArrayFireReport::Found(found) => {
            let devices = found.devices.iter().map(|device| match device.memory_mib {
                Some(memory) => format!("{} with {memory} MiB", device.name),
                None => device.name.clone(),
            });
            let devices = devices.collect::<Vec<_>>().join(", ");
            format!("{backend}: ArrayFire {}, {devices}", found.version)
        }
        ArrayFireReport::Absent { tried } => format!("{backend}: {}", places(tried)),
        ArrayFireReport::Broken { why } => format!("{backend}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<ArrayFireReport, String> {
        ask(Path::new("/bin/sh"), &["-c", script].map(OsString::from))
    }

    #[test]
    fn a_driver_that_takes_its_process_down_leaves_the_node_alone() {
        let why = shell("kill -SEGV $$").unwrap_err();
        assert!(why.contains("took its process down") && why.contains("signal"), "{why}");
        assert!(shell("echo nonsense").is_err());
        let missing = ask(Path::new("/no/such/program"), &[]).unwrap_err();
        assert!(missing.contains("did not start"), "{missing}");
    }

    #[test]
    fn what_the_process_writes_is_read() {
        let broken = ArrayFireReport::Broken { why: "no device".to_owned() };
        let text = serde_json::to_string(&broken).unwrap();
        assert_eq!(shell(&format!("echo '{text}'")), Ok(broken));
    }
}
