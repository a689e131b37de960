//! The engines that a test runs on: the CPU engine always, ArrayFire where there is a library.
//! `CYXWIZ_AF_BACKEND` names its backend, else the first that opens is taken; with
//! `REQUIRE_ARRAYFIRE=1` it is a failure if none does.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use cyxwiz_arrayfire::{Backend, LoadError};

use crate::engine::arrayfire::ArrayFireEngine;
use crate::engine::choice::ArrayFireChoice;

/// Runs a block with `$engine` as each of the engines; the CPU engine has `$threads` threads.
macro_rules! on_each {
    ($threads:expr, $engine:ident => $body:block) => {{
        let $engine = &mut crate::engine::cpu::CpuEngine::new($threads).unwrap();
        $body
    }
    if let Some(mut held) = $crate::engine::tests::engines::arrayfire() {
        let $engine = &mut held.engine;
        $body
    }};
}
pub(crate) use on_each;

/// One test at a time, as a run has the device for itself too.
pub(crate) struct Held {
    pub(crate) engine: ArrayFireEngine,
    _turn: MutexGuard<'static, ()>,
}

pub(crate) fn arrayfire() -> Option<Held> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that has failed leaves nothing behind that another would see.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let choice = ArrayFireChoice { backend: backend()?, device: 0, library: None };
    let engine = ArrayFireEngine::new(&choice, 1).unwrap();
    Some(Held { engine, _turn: turn })
}

fn backend() -> Option<Backend> {
    static FOUND: OnceLock<Option<Backend>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let asked: Vec<Backend> = match std::env::var("CYXWIZ_AF_BACKEND") {
            Ok(name) => vec![name.parse().unwrap()],
            Err(_) => Backend::ALL.to_vec(),
        };
        let mut missing = Vec::new();
        for backend in asked {
            match cyxwiz_arrayfire::load(backend) {
                Ok(_) => return Some(backend),
                Err(error) => missing.push(error),
            }
        }
        missed(&missing);
        None
    })
}

fn missed(missing: &[LoadError]) {
    let tried = missing.iter().flat_map(LoadError::tried);
    let places: String = tried.map(|place| format!("\n  {place}")).collect();
    let text = format!("no ArrayFire library found; looked for{places}\n");
    assert!(std::env::var_os("REQUIRE_ARRAYFIRE").is_none_or(|value| value != "1"), "{text}");
    // Past the capture of output, so that nobody takes what was left out for passed.
    std::io::stderr().write_all(format!("SKIPPED: {text}").as_bytes()).unwrap();
}
