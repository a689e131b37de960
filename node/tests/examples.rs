//! Every job of `examples/` parses, fits the files beside it, and survives the way to a worker as
//! text. Those that need a file which another job leaves say so here.

use std::path::{Path, PathBuf};

use cyxwiz_node::job_file::JobFile;
use cyxwiz_trainer::{Job, JobKind};

/// Made by a command in `examples/README.md`.
const NOT_BUNDLED: [&str; 1] = ["digits-0-4.csv"];

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

#[test]
fn every_example_fits_its_files() {
    let mut kinds = Vec::new();
    for entry in std::fs::read_dir(examples()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let file = JobFile::parse(&std::fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let job = file.job().unwrap();
        assert_eq!(Job::from_json(&job.to_json()).unwrap(), job, "{}", path.display());
        let tables = file.tables();
        if tables.input_names().iter().any(|name| NOT_BUNDLED.contains(name)) {
            continue;
        }
        let plan = job.check(&examples(), None);
        let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        match job.kind() {
            JobKind::Train => assert_eq!(plan.trainable, plan.parameters),
            JobKind::FineTune => assert!((1..plan.parameters).contains(&plan.trainable)),
            JobKind::Evaluate | JobKind::Infer | JobKind::Extract => {
                assert_eq!((plan.trainable, plan.train_rows), (0, 0));
            }
        }
        kinds.push(job.kind());
    }
    for kind in [JobKind::Train, JobKind::FineTune, JobKind::Infer] {
        assert!(kinds.contains(&kind), "an example of {}", kind.name());
    }
}

#[test]
fn a_job_file_says_which_table_is_wrong() {
    let text = std::fs::read_to_string(examples().join("digits-infer.toml")).unwrap();
    let training = "[training]\nepochs = 1\nbatch_size = 1\nloss = \"mse\"\n\
                    optimizer = { type = \"sgd\", learning_rate = 0.1 }";
    let error = JobFile::parse(&format!("{text}\n{training}")).unwrap_err().to_string();
    assert!(error.contains("kind = \"infer\" has no [training] table: remove it"), "{error}");
    let error = JobFile::parse(&text.replace("[start]", "[begin]")).unwrap_err().to_string();
    assert!(error.contains("unknown field `begin`"), "{error}");
    let error = JobFile::parse(&text.replace("digits-0-4.s", "../x.s")).unwrap_err().to_string();
    assert!(error.contains("plain file name"), "{error}");
}
