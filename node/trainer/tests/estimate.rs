//! What a plan says of memory, beside what a process takes that carries it out: never less, and
//! not much more, whether rows are in memory or on disk.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use cyxwiz_trainer::{CpuEngine, Places, Requests, Workload, train_at};
use rustix::process::{Resource, Rlimit, setrlimit};

const MIB: u64 = 1 << 20;
/// Values of a row.
const COLUMNS: usize = 200;
/// 128 MiB as f32; those of a table are a quarter, as it takes time to write them.
const ROWS: usize = 163_840;
const TABLE_ROWS: usize = ROWS / 4;
const FEW_ROWS: usize = 2_048;
/// 32 MiB as f32.
const LETTERS: u64 = 8 << 20;

/// A job, and the private memory of its process.
struct Case {
    name: &'static str,
    data: String,
    layers: &'static str,
    process: u64,
    /// Whether its rows are read from disk.
    streamed: bool,
}

fn cases() -> Vec<Case> {
    let array = "source = \"x.npy\"\nlabels = \"y.npy\"\nnormalize = \"standard\"";
    let few = "source = \"few.npy\"\nlabels = \"kinds.npy\"";
    let table = "source = \"d.csv\"\nlabel = \"kind\"\nvalidation = 0.1";
    let text = "source = \"t.txt\"\ntext = { context = 64, stride = 64 }\nvalidation = 0.1";
    let streamed = "\nstreaming = true";
    let layers =
        r#"{type = "dense", units = 16, activation = "relu"}, {type = "dense", units = 2}"#;
    let letters = r#"{type = "embedding", vocabulary = 26, dimensions = 8},
        {type = "dense", units = 26}"#;
    // 6 million parameters.
    let wide = r#"{type = "dense", units = 8192, activation = "relu"},
        {type = "dense", units = 512, activation = "relu"}, {type = "dense", units = 2}"#;
    let case = |name, data: &str, layers, process, streamed| Case {
        name,
        data: data.to_owned(),
        layers,
        process: process * MIB,
        streamed,
    };
    vec![
        case("array in memory", array, layers, 512, false),
        case("array on disk", array, layers, 128, true),
        case("table in memory", table, layers, 256, false),
        case("table that goes to disk", table, layers, 56, true),
        case("table on disk", &format!("{table}{streamed}"), layers, 512, true),
        case("text in memory", text, letters, 512, false),
        case("text on disk", &format!("{text}{streamed}"), letters, 512, true),
        case("wide model", few, wide, 512, false),
    ]
}

impl Case {
    fn workload(&self) -> Workload {
        let Self { data, layers, .. } = self;
        let text = format!(
            r#"model.layers = [{layers}]
[data]
{data}
[training]
epochs = 2
batch_size = 256
checkpoint_every_epochs = 1
checkpoint_min_seconds = 0
loss = "softmax_cross_entropy"
optimizer = {{type = "adam", learning_rate = 0.001}}
"#
        );
        toml::from_str(&text).unwrap()
    }

    /// The most that a process had of its own while it did the work.
    fn peak(&self, inputs: &Path) -> u64 {
        let output = tempfile::tempdir().unwrap();
        fs::write(output.path().join("job.json"), self.workload().to_json()).unwrap();
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "worker", "--nocapture"])
            .env("CYXWIZ_INPUTS", inputs)
            .env("CYXWIZ_OUTPUT", output.path())
            .env("CYXWIZ_PROCESS", self.process.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{}: {said}", self.name);
        fs::read_to_string(output.path().join("peak")).unwrap().parse().unwrap()
    }
}

#[test]
#[ignore = "a part of other tests, run in a process of its own"]
fn worker() {
    let folder = |name| PathBuf::from(std::env::var_os(name).unwrap());
    let (inputs, output) = (folder("CYXWIZ_INPUTS"), folder("CYXWIZ_OUTPUT"));
    let most = std::env::var("CYXWIZ_PROCESS").unwrap().parse().ok();
    setrlimit(Resource::Data, Rlimit { current: most, maximum: most }).unwrap();
    let text = fs::read_to_string(output.join("job.json")).unwrap();
    let workload = Workload::from_json(&text).unwrap();
    let (checkpoints, requests) = (output.join("checkpoints"), Requests::default());
    let places = Places {
        inputs: &inputs,
        output: &output,
        checkpoints: Some(&checkpoints),
        resume: None,
        disk: None,
    };
    let mut engine = CpuEngine::new(1).unwrap();
    train_at(&places, &workload, &mut engine, &mut |_| {}, &requests).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let number = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    // The program's own pages are not memory that it takes.
    let peak = number("VmHWM:") - number("RssFile:");
    fs::write(output.join("peak"), peak.to_string()).unwrap();
}

#[test]
fn the_estimate_of_memory_is_what_a_process_takes() {
    let inputs = tempfile::tempdir().unwrap();
    write_inputs(inputs.path());
    for case in cases() {
        let job = cyxwiz_trainer::Job::Train(case.workload());
        let plan = job.check(inputs.path(), Some(case.process)).unwrap();
        assert_eq!(plan.streamed, case.streamed, "{}", case.name);
        let (estimate, peak) = (plan.memory_bytes, case.peak(inputs.path()));
        let told =
            format!("{}: estimated {} MiB, taken {} MiB", case.name, estimate / MIB, peak / MIB);
        println!("{told}");
        assert!(estimate >= peak, "{told}");
        assert!(estimate <= 2 * peak + 16 * MIB, "{told}");
    }
}

fn write_inputs(folder: &Path) {
    let file = |name: &str| BufWriter::new(fs::File::create(folder.join(name)).unwrap());
    for (features, labels, rows) in [("x.npy", "y.npy", ROWS), ("few.npy", "kinds.npy", FEW_ROWS)] {
        let mut array = file(features);
        array.write_all(&header("<f4", &format!("{rows}, {COLUMNS}"))).unwrap();
        for row in 0..rows {
            let values = row_values(row).map(|value| f32::from(value).to_le_bytes());
            array.write_all(&values.collect::<Vec<_>>().concat()).unwrap();
        }
        array.flush().unwrap();
        let kinds = (0..rows).map(|row| (row % 2) as u8);
        let labelled = header("|u1", &format!("{rows},")).into_iter().chain(kinds);
        fs::write(folder.join(labels), labelled.collect::<Vec<_>>()).unwrap();
    }
    let mut table = file("d.csv");
    let names: Vec<String> = (0..COLUMNS).map(|column| format!("c{column}")).collect();
    writeln!(table, "{},kind", names.join(",")).unwrap();
    for row in 0..TABLE_ROWS {
        let line: Vec<u8> = row_values(row).flat_map(|value| [b'0' + value, b',']).collect();
        table.write_all(&line).unwrap();
        writeln!(table, "{}", row % 2).unwrap();
    }
    table.flush().unwrap();
    let letters: Vec<u8> = (0..LETTERS).map(|at| b'a' + (at * at / 7 % 26) as u8).collect();
    fs::write(folder.join("t.txt"), letters).unwrap();
}

fn row_values(row: usize) -> impl Iterator<Item = u8> {
    (0..COLUMNS).map(move |column| ((row * 7 + column) % 10) as u8)
}

fn header(descr: &str, shape: &str) -> Vec<u8> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    text += &" ".repeat(63 - (10 + text.len()) % 64);
    text.push('\n');
    [b"\x93NUMPY\x01\0", &(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
}
