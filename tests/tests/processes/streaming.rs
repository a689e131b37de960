//! Data that are larger than the memory of a job: read from disk while it trains, with the same
//! result.

use std::fmt::Write as _;

use cyxwiz_tests::{Chance, Network};

const ROWS: usize = 9_000;
const COLUMNS: usize = 2_000;

#[test]
fn a_job_whose_data_do_not_fit_into_its_memory_leaves_the_same_model() {
    let (network, _coordinator, laptop) = Network::with_coordinator("streaming");
    let options = ["--memory-mb", "2048", "--threads", "1", "--max-concurrent", "2"];
    let _worker = network.worker("worker", &options);
    laptop.awaits_workers(1);
    let cli = laptop.cli();
    std::fs::write(cli.folder().join("wide.csv"), table()).expect("there is room");
    let submit = |name: &str, memory_mb: usize, streaming: &str| {
        let file = cli.folder().join(format!("{name}.toml"));
        std::fs::write(&file, job(name, memory_mb, streaming)).expect("the folder is ours");
        cli.run(&["job", "submit", &file.to_string_lossy(), "--id-only"])
    };

    // Four bytes for each number, which are more than half of what the process may have.
    let on_disk = submit("on-disk", 64, "\"auto\"").succeeds();
    let in_memory = submit("in-memory", 512, "false").succeeds();
    // The check plans for the memory that each asks for, not for that of this machine.
    for (name, streamed) in [("on-disk", true), ("in-memory", false)] {
        let file = cli.folder().join(format!("{name}.toml"));
        let checked = cli.json(&["model", "check", &file.to_string_lossy()]);
        assert_eq!(checked["rows"]["streamed"], streamed, "{name}: {checked:#}");
    }
    submit("too-large", 64, "false").exits(2).says(&["69 MiB", "memory_mb is 64", "streaming"]);
    let [on_disk, in_memory] = [on_disk, in_memory].map(|submitted| {
        let job = laptop.awaits(submitted.stdout.trim(), "completed");
        assert_eq!(job["attempts"].as_array().map(Vec::len), Some(1), "{job:#}");
        let files = job["result"]["files"].as_array().expect("a list of files");
        let model = files.iter().find(|file| file["name"] == "model.safetensors");
        model.expect("there is a model")["sha256"].clone()
    });
    assert_eq!(on_disk, in_memory);
}

/// Rows of digits, the first of which says which class the row is of.
fn table() -> String {
    let mut chance = Chance::of_seed(1);
    let mut text = String::with_capacity((2 * COLUMNS + 4) * ROWS);
    for column in 0..COLUMNS {
        write!(text, "c{column},").expect("text grows");
    }
    text.push_str("label\n");
    for _row in 0..ROWS {
        let first = chance.below(10);
        write!(text, "{first}").expect("text grows");
        for _column in 1..COLUMNS {
            text.push_str([",0", ",1", ",2", ",3"][usize::try_from(chance.below(4)).expect("< 4")]);
        }
        text.push_str(if first < 5 { ",low\n" } else { ",high\n" });
    }
    text
}

fn job(name: &str, memory_mb: usize, streaming: &str) -> String {
    format!(
        r#"name = "{name}"
requirements.memory_mb = {memory_mb}
model.layers = [{{ type = "dense", units = 2 }}]
[data]
source = "wide.csv"
label = "label"
scale = 0.1
test = {{ every = 10 }}
streaming = {streaming}
[training]
epochs = 1
batch_size = 64
loss = "softmax_cross_entropy"
seed = 5
optimizer = {{ type = "adam", learning_rate = 0.001 }}
"#
    )
}
