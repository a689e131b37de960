//! The engines that a test runs on: the CPU engine; and ArrayFire in a process of its own for each
//! backend that is there, as a process opens one library. With `REQUIRE_ARRAYFIRE=1` it is a
//! failure if none is. Where `CYXWIZ_AF_BACKEND` names a backend, tests run on that one alone.

use std::io::Write;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cyxwiz_arrayfire::Backend;

use crate::engine::arrayfire::ArrayFireEngine;
use crate::engine::arrayfire::devices::{ArrayFireReport, arrayfire_report};
use crate::engine::choice::ArrayFireChoice;

/// Runs a block with `$engine` as the engine under test; the CPU engine has `$threads` threads.
macro_rules! on_each {
    ($threads:expr, $engine:ident => $body:block) => {
        if let Some(mut held) = $crate::engine::tests::engines::arrayfire() {
            let $engine = &mut held.engine;
            $body
        } else {
            let $engine = &mut crate::engine::cpu::CpuEngine::new($threads).unwrap();
            $body
        }
    };
}
pub(crate) use on_each;

/// One test at a time, as a run has the device for itself too.
pub(crate) struct Held {
    pub(crate) engine: ArrayFireEngine,
    _turn: MutexGuard<'static, ()>,
}

const BACKEND: &str = "CYXWIZ_AF_BACKEND";

fn asked() -> Option<Backend> {
    std::env::var(BACKEND).ok().map(|name| name.parse().unwrap())
}

pub(crate) fn arrayfire() -> Option<Held> {
    static TURN: Mutex<()> = Mutex::new(());
    let backend = asked()?;
    // A test that has failed leaves nothing behind that another would see.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let choice = ArrayFireChoice { backend, device: 0, library: None };
    let engine = ArrayFireEngine::new(&choice, 1).unwrap();
    Some(Held { engine, _turn: turn })
}

/// Runs these tests in processes of their own, which a driver may take down.
#[test]
fn arrayfire_on_every_backend_that_is_there() {
    if asked().is_some() {
        return;
    }
    let (mut ran, mut missing) = (0, Vec::new());
    for backend in Backend::ALL {
        let told = this_program(backend, &["--ignored", "--exact", "--nocapture", DEVICES]);
        let line = told.lines().find_map(|line| line.split_once("FOUND "));
        let Some((_, device)) = line else {
            missing.push(format!("{backend}: {told}"));
            continue;
        };
        let passed = this_program(backend, &["engine::tests::", "layers::tests::"]);
        let result = passed.lines().find(|line| line.starts_with("test result: ok"));
        let result = result.unwrap_or_else(|| panic!("{backend} on {device}:\n{passed}"));
        note(&format!("RAN on {backend}, {device}: {result}"));
        ran += 1;
    }
    if ran == 0 {
        let required = std::env::var_os("REQUIRE_ARRAYFIRE").is_some_and(|value| value == "1");
        assert!(!required, "no backend of ArrayFire works:\n{}", missing.join("\n"));
        note("SKIPPED: no backend of ArrayFire works; REQUIRE_ARRAYFIRE=1 says why");
    }
}

const DEVICES: &str = "engine::tests::engines::devices";

#[test]
#[ignore = "run by arrayfire_on_every_backend_that_is_there in a process of its own"]
fn devices() {
    match arrayfire_report(asked().unwrap()) {
        ArrayFireReport::Found(found) => {
            let name = found.devices.first().map(|device| device.name.as_str());
            println!("FOUND ArrayFire {} on {}", found.version, name.unwrap());
        }
        ArrayFireReport::Absent { tried } => {
            tried.iter().for_each(|place| println!("{place}"));
        }
        ArrayFireReport::Broken { why } => println!("{why}"),
    }
}

/// All that a process of these tests writes. OpenCL computes everything by itself there, as on a GPU:
/// on processors the library would leave products to OpenBLAS.
fn this_program(backend: Backend, arguments: &[&str]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).env(BACKEND, backend.name()).env("AF_OPENCL_CPU_OFFLOAD", "0");
    let output = command.output().unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

/// Past the capture of output, so that nobody takes what was left out for passed.
fn note(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}
