//! The job by which a device is tried before a worker offers it: the real training process under
//! the real executor, within the walls where the machine has them.

use std::path::PathBuf;

use cyxwiz_node::engines::{TrialError, trial};
use cyxwiz_node::executor::{ExecutorConfig, Walls};
use cyxwiz_trainer::{ArrayFireChoice, Backend, EngineChoice};

fn config(program: &str, arguments: &[&str]) -> ExecutorConfig {
    ExecutorConfig {
        root: PathBuf::new(),
        program: program.into(),
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        max_concurrent: 1,
        walls: Walls::WhatThereIs,
    }
}

fn trainer() -> ExecutorConfig {
    config(env!("CARGO_BIN_EXE_cyxwiz"), &["__train", "--allow-unsandboxed"])
}

#[tokio::test]
async fn an_engine_that_computes_passes() {
    trial(trainer(), EngineChoice::Cpu).await.unwrap();
}

#[tokio::test]
async fn an_engine_that_does_not_says_why() {
    let library = Some("/no/such/folder/libafopencl.so.3".into());
    let choice = ArrayFireChoice { backend: Backend::OpenCl, device: 0, library };
    let failed = trial(trainer(), EngineChoice::ArrayFire(choice)).await.unwrap_err();
    assert!(matches!(failed, TrialError::Failed(_)), "{failed:?}");
    assert!(failed.to_string().contains("/no/such/folder/libafopencl.so.3"), "{failed}");
}

#[tokio::test]
async fn a_process_that_dies_says_how() {
    let shell = ExecutorConfig {
        walls: Walls::LimitsOnly,
        ..config("/bin/sh", &["-c", "echo the driver is gone >&2; kill -SEGV $$"])
    };
    let failed = trial(shell, EngineChoice::Cpu).await.unwrap_err().to_string();
    assert!(failed.contains("SIGSEGV") && failed.contains("the driver is gone"), "{failed}");
}
