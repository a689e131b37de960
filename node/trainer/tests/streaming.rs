//! Features that are read from disk as they are needed: every result is that of features in
//! memory, byte for byte, a file's faults are named as they are there, and a data set several
//! times larger than the memory that a process may have is trained on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "data/files.rs"]
#[expect(dead_code, reason = "these tests need only some kinds of file")]
mod files;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use cyxwiz_trainer::frames::{FailureClass, Frame, Summary};
use cyxwiz_trainer::{
    CpuEngine, EngineChoice, Event, Means, Places, Requests, TrainError, Workload, evaluate,
    serve_on, train_at,
};
use files::*;
use parquet::basic::Compression;

/// Rows, and values of each, of which every one is a byte.
const ROWS: usize = 90;
const WIDTH: usize = 6;

fn byte(index: usize) -> u8 {
    (index * 37 % 251) as u8
}

fn class(row: usize) -> u8 {
    (row % 7 % 3) as u8
}

/// Where a table has a gap.
fn is_gap(row: usize, column: usize) -> bool {
    (row * WIDTH + column) % 23 == 5
}

fn text(row: usize) -> &'static str {
    ["red", "green", "blue", "grey"][row % 11 % 4]
}

fn table(gaps: bool) -> String {
    let mut table = "a,b,c,d,e,f,colour,kind\n".to_owned();
    for row in 0..ROWS {
        for column in 0..WIDTH {
            if !(gaps && is_gap(row, column)) {
                table += &byte(row * WIDTH + column).to_string();
            }
            table.push(',');
        }
        table += &format!("{},{}\n", text(row), class(row));
    }
    table
}

fn parquet_table() -> Vec<u8> {
    let numbers = |column: usize| {
        let cell = |row| (!is_gap(row, column)).then(|| byte(row * WIDTH + column).into());
        Column::Doubles((0..ROWS).map(cell).collect())
    };
    let columns = [
        ("a", numbers(0)),
        ("colour", Column::Texts((0..ROWS).map(|row| Some(text(row))).collect())),
        ("b", numbers(1)),
        ("kind", Column::Integers((0..ROWS).map(|row| Some(class(row).into())).collect())),
        ("c", numbers(2)),
    ];
    parquet(&columns, 40, Compression::SNAPPY)
}

/// What a run gave.
#[derive(Debug)]
struct Ran {
    summary: Summary,
    streamed: bool,
    warnings: Vec<String>,
    checkpoints: BTreeMap<String, Vec<u8>>,
}

fn run(workload: &Workload, inputs: &Path, dir: &Path) -> Result<Ran, TrainError> {
    let (output, folder) = (dir.join("output"), dir.join("checkpoints"));
    let (mut streamed, mut warnings) = (false, Vec::new());
    let mut observer = |event| match event {
        Event::Started(started) => streamed = started.streamed,
        Event::Warning(text) => warnings.push(text),
        Event::Reading(_) | Event::Progress(_) | Event::Checkpoint(_) => {}
    };
    let (checkpoints, resume) = (Some(&*folder), None);
    let places = Places { inputs, output: &output, checkpoints, resume, disk: None };
    let engine = &mut CpuEngine::new(2).unwrap();
    let requests = Requests::default();
    let summary = train_at(&places, workload, engine, &mut observer, &requests)?;
    let mut checkpoints = BTreeMap::new();
    for entry in fs::read_dir(&folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        checkpoints.insert(name, fs::read(entry.path()).unwrap());
    }
    Ok(Ran { summary, streamed, warnings, checkpoints })
}

/// Runs a job with features in memory and on disk.
#[track_caller]
fn same(what: &str, text: &str, files: Files<'_>) {
    let inputs = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(inputs.path().join(name), bytes).unwrap();
    }
    let text = text.replace("epochs = 2", "epochs = 3\ncheckpoint_every_epochs = 1");
    let mut evaluated = Vec::new();
    let ran = ["\"auto\"", "true", "false"].map(|streaming| {
        let text = text.replace("[training]", &format!("streaming = {streaming}\n[training]"));
        let workload: Workload = toml::from_str(&text).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ran = run(&workload, inputs.path(), dir.path()).unwrap();
        let engine = &mut CpuEngine::new(1).unwrap();
        let output = dir.path().join("output");
        evaluated.push(evaluate(&output, &workload, inputs.path(), engine).unwrap());
        assert_eq!(ran.streamed, streaming == "true", "{what}");
        assert!(ran.warnings.is_empty(), "{what}: {:?}", ran.warnings);
        ran
    });
    for other in &ran[1..] {
        assert_eq!(other.summary.outputs, ran[0].summary.outputs, "{what}");
        assert_eq!(other.summary.metrics, ran[0].summary.metrics, "{what}");
    }
    assert!(evaluated.iter().all(|metrics| *metrics == evaluated[0]), "{what}");
}

#[test]
fn every_format_gives_the_same_bytes_from_disk() {
    const SPLIT: &str = "test = {fraction = 0.2}\nvalidation = 0.25";
    let balanced = |data: &str| {
        let loss = "loss = {type = \"softmax_cross_entropy\", class_weights = \"balanced\"}";
        classes(3, data).replace("loss = \"softmax_cross_entropy\"", loss)
    };
    let csv = "label = \"kind\"\none_hot = [\"colour\"]\nnormalize = \"standard\"";
    for missing in ["mean", "drop_row", "zero"] {
        let data = |source: &str| format!("{source}\n{csv}\nmissing = \"{missing}\"\n{SPLIT}");
        let whole = table(true);
        let packed = gzip(whole.as_bytes());
        let text = balanced(&data("source = \"d.csv\""));
        same(&format!("csv, {missing}"), &text, &[("d.csv", whole.as_bytes())]);
        same("csv.gz", &balanced(&data("source = \"d.csv.gz\"")), &[("d.csv.gz", &packed)]);
        let text = balanced(&data("source = \"d.parquet\""));
        same(&format!("parquet, {missing}"), &text, &[("d.parquet", &parquet_table())]);
    }
    let plain = "source = \"d.csv\"\nlabel = [\"a\", \"b\"]\nfeatures = [\"c\", \"d\", \"e\"]";
    let text = job(2, "mse", &format!("{plain}\nnormalize = \"min_max\"\n{SPLIT}"));
    same("a regression", &text, &[("d.csv", table(false).as_bytes())]);

    let bytes: Vec<u8> = (0..ROWS * WIDTH).map(byte).collect();
    let labels: Vec<u8> = (0..ROWS).map(class).collect();
    let y = npy("|u1", &format!("{ROWS},"), &labels);
    let shape = format!("{ROWS}, 1, 2, 3");
    let single: Vec<f32> = bytes.iter().map(|&value| f32::from(value) / 7.0).collect();
    let double: Vec<u8> = bytes.iter().flat_map(|&v| (f64::from(v) / 7.0).to_le_bytes()).collect();
    let mut gaps = single.clone();
    gaps.iter_mut().step_by(29).for_each(|value| *value = f32::NAN);
    let short: Vec<u8> = bytes.iter().flat_map(|&v| (i16::from(v) - 99).to_le_bytes()).collect();
    let long = bytes.iter().flat_map(|&value| (i64::from(value) << 40 | 12_345).to_le_bytes());
    for (what, x, keys) in [
        ("f4", npy("<f4", &shape, &floats(&single)), "normalize = \"standard\""),
        ("f8", npy("<f8", &shape, &double), "scale = 0.5"),
        ("u1", npy("|u1", &shape, &bytes), "normalize = \"min_max\""),
        ("i2", npy("<i2", &shape, &short), ""),
        ("i8", npy("<i8", &shape, &long.collect::<Vec<u8>>()), "normalize = \"standard\""),
        (
            "gaps",
            npy("<f4", &shape, &floats(&gaps)),
            "missing = \"mean\"\nnormalize = \"standard\"",
        ),
        ("dropped", npy("<f4", &shape, &floats(&gaps)), "missing = \"drop_row\""),
    ] {
        let arrays = format!("source = \"x.npy\"\nlabels = \"y.npy\"\n{keys}\n{SPLIT}");
        same(what, &balanced(&arrays), &[("x.npy", &x), ("y.npy", &y)]);
        let archive = zipped(&[("x.npy", &x), ("y.npy", &y)]);
        let named = format!("source = \"d.npz\"\n{keys}\n{SPLIT}");
        same(&format!("npz of {what}"), &balanced(&named), &[("d.npz", &archive)]);
    }
    let (x, y) = (idx(&[ROWS as u32, 2, 3], &bytes), idx(&[ROWS as u32], &labels));
    let arrays = format!("source = \"x.idx\"\nlabels = \"y.idx\"\n{SPLIT}");
    same("idx", &balanced(&arrays), &[("x.idx", &x), ("y.idx", &y)]);
    let arrays = format!("source = \"x.idx.gz\"\nlabels = \"y.idx\"\n{SPLIT}");
    same("idx.gz", &balanced(&arrays), &[("x.idx.gz", &gzip(&x)), ("y.idx", &y)]);

    let pictures: Vec<(String, Vec<u8>)> = (0..ROWS)
        .map(|row| {
            let points = (0..12).map(|place| byte(row * 12 + place)).collect();
            (format!("{}/{row}.png", class(row)), png(2, 2, points))
        })
        .collect();
    let entries: Vec<(&str, &[u8])> =
        pictures.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let images = format!("source = \"d.zip\"\nimages = {{size = [3, 3], channels = 3}}\n{SPLIT}");
    same("images", &balanced(&images), &[("d.zip", &zipped(&entries))]);

    let verse = "the wheel turns, the wheel stays, and the wheel turns.\n".repeat(20);
    let letters: std::collections::BTreeSet<char> = verse.chars().collect();
    for stride in [1, 5, 8, 11] {
        let data =
            format!("source = \"t.txt\"\ntext = {{context = 8, stride = {stride}}}\n{SPLIT}");
        let text = classes(8 * letters.len(), &data);
        same(&format!("text by {stride}"), &text, &[("t.txt", verse.as_bytes())]);
    }
}

#[test]
fn faults_are_named_by_file_and_place() {
    let with = |data: &str, files: Files<'_>, words: &[&str]| {
        for streaming in ["true", "false", "\"auto\""] {
            refused(&classes(3, &format!("{data}\nstreaming = {streaming}")), files, words);
        }
    };
    let csv = "source = \"d.csv\"\nlabel = \"kind\"\none_hot = [\"colour\"]";
    let broken = table(false).replacen("\n222,", "\nseven,", 1);
    with(csv, &[("d.csv", broken.as_bytes())], &["d.csv line 3", "\"a\"", "seven"]);
    let short = table(false).replacen(",red,", ",", 1);
    with(csv, &[("d.csv", short.as_bytes())], &["d.csv line 2", "7 fields"]);
    with(csv, &[("d.csv", table(true).as_bytes())], &["d.csv line 2", "\"f\"", "empty"]);
    let parquet = "source = \"d.parquet\"\nlabel = \"kind\"\none_hot = [\"colour\"]";
    with(parquet, &[("d.parquet", &parquet_table())], &["d.parquet row", "empty"]);
    let y = npy("|u1", "3,", &[0, 1, 2]);
    let x = npy("<f4", "3, 2", &floats(&[1.0, 2.0, f32::INFINITY, 4.0, 5.0, 6.0]));
    let arrays = "source = \"x.npy\"\nlabels = \"y.npy\"";
    with(arrays, &[("x.npy", &x), ("y.npy", &y)], &["x.npy", "row 1, value 0"]);
    with(arrays, &[("x.npy", &x[..x.len() - 4]), ("y.npy", &y)], &["x.npy", "24 bytes"]);
    let word = classes(3, &format!("{arrays}\nstreaming = \"sometimes\""));
    let error = toml::from_str::<Workload>(&word).unwrap_err().to_string();
    assert!(error.contains("\"auto\", true or false"), "{error}");
}

#[test]
fn a_file_that_shrinks_meanwhile_ends_the_run() {
    let inputs = tempfile::tempdir().unwrap();
    let path = inputs.path().join("x.npy");
    fs::write(&path, npy("<f4", "4, 2", &floats(&[1.0; 8]))).unwrap();
    fs::write(inputs.path().join("y.npy"), npy("|u1", "4,", &[0, 1, 0, 1])).unwrap();
    let data = "source = \"x.npy\"\nlabels = \"y.npy\"\nstreaming = true";
    let workload: Workload = toml::from_str(&classes(2, data)).unwrap();
    let output = tempfile::tempdir().unwrap();
    let engine = &mut CpuEngine::new(1).unwrap();
    let mut observer = |event| {
        if let Event::Started(_) = event {
            fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(20).unwrap();
        }
    };
    let requests = Requests::default();
    let (inputs, output) = (inputs.path(), output.path());
    let ended = cyxwiz_trainer::train(&workload, inputs, output, engine, &mut observer, &requests);
    let error = ended.unwrap_err();
    assert_eq!(error.class(), FailureClass::Internal);
    assert!(error.to_string().contains("rows of x.npy"), "{error}");
}

/// A pause waits for its checkpoint, however large the data are.
#[test]
fn a_checkpoint_needs_no_data_any_more() {
    let inputs = tempfile::tempdir().unwrap();
    let path = inputs.path().join("x.npy");
    fs::write(&path, npy("<f4", "4, 2", &floats(&[1.0; 8]))).unwrap();
    fs::write(inputs.path().join("y.npy"), npy("|u1", "4,", &[0, 1, 0, 1])).unwrap();
    let data = "source = \"x.npy\"\nlabels = \"y.npy\"\nstreaming = true";
    let every = "epochs = 2\ncheckpoint_every_epochs = 1\ncheckpoint_min_seconds = 0";
    let workload = classes(2, data).replace("epochs = 2", every);
    let (output, requests) = (tempfile::tempdir().unwrap(), Requests::default());
    let mut observer = |event| match event {
        Event::Progress(_) => {
            fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(20).unwrap();
        }
        Event::Checkpoint(_) => requests.pause(),
        Event::Reading(_) | Event::Started(_) | Event::Warning(_) => {}
    };
    let places = Places {
        inputs: inputs.path(),
        output: output.path(),
        checkpoints: Some(output.path()),
        resume: None,
        disk: None,
    };
    let engine = &mut CpuEngine::new(1).unwrap();
    let workload = toml::from_str(&workload).unwrap();
    let ended = train_at(&places, &workload, engine, &mut observer, &requests);
    let Err(TrainError::Paused(at)) = ended else { panic!("{ended:?}") };
    assert_eq!((at.epoch, at.batch), (1, 0));
}

/// What a process on its own folder says that may take so many bytes of disk for its rows.
fn served(disk: u64) -> Frame {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("inputs")).unwrap();
    fs::write(folder.path().join("inputs/d.csv"), table(false)).unwrap();
    let data = "source = \"d.csv\"\nlabel = \"kind\"\none_hot = [\"colour\"]\nstreaming = true";
    let job: Workload = toml::from_str(&classes(3, data)).unwrap();
    fs::write(folder.path().join("job.json"), job.to_json()).unwrap();
    let mut frames = Vec::new();
    let means = Means { threads: 1, disk: Some(disk) };
    let (_open, control) = std::io::pipe().map(|(read, write)| (write, read)).unwrap();
    serve_on(&EngineChoice::Cpu, folder.path(), means, control, &mut frames);
    let last = frames.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
    serde_json::from_slice(last.unwrap()).unwrap()
}

#[test]
fn a_run_takes_no_more_disk_than_it_has() {
    // Of each row the six numbers, and which of the texts.
    let needed = 4 * (ROWS * (WIDTH + 1)) as u64;
    assert!(matches!(served(needed), Frame::Finished(_)));
    let Frame::Failed(failure) = served(needed - 1) else { panic!("it had more") };
    assert_eq!(failure.class, FailureClass::InvalidData);
    for word in ["d.csv", "requirements.disk_mb", "requirements.memory_mb"] {
        assert!(failure.message.contains(word), "{}", failure.message);
    }
}

/// Rows and values of each of what does not fit: 100 MiB as f32.
const MANY: usize = 1 << 17;
const WIDE: usize = 200;

fn large(row: usize, column: usize) -> u8 {
    let mixed = (row as u32).wrapping_mul(2_654_435_761) ^ (column as u32).wrapping_mul(40_503);
    (mixed >> 13) as u8 % 100
}

fn write_large(folder: &Path, source: &str, rows: usize, width: usize) {
    let file = fs::File::create(folder.join(source)).unwrap();
    let mut out = std::io::BufWriter::new(file);
    if source == "x.npy" {
        out.write_all(&npy("|u1", &format!("{rows}, {width}"), &[])).unwrap();
        for row in 0..rows {
            let values: Vec<u8> = (0..width).map(|column| large(row, column)).collect();
            out.write_all(&values).unwrap();
        }
        let labels: Vec<u8> = (0..rows).map(class).collect();
        fs::write(folder.join("y.npy"), npy("|u1", &format!("{rows},"), &labels)).unwrap();
    } else {
        let header: Vec<String> = (0..width).map(|column| format!("c{column}")).collect();
        writeln!(out, "{},kind", header.join(",")).unwrap();
        for row in 0..rows {
            let mut line = String::new();
            (0..width).for_each(|column| line += &format!("{},", large(row, column)));
            writeln!(out, "{line}{}", class(row)).unwrap();
        }
    }
    out.flush().unwrap();
}

fn large_job(source: &str) -> String {
    let data = match source {
        "x.npy" => "source = \"x.npy\"\nlabels = \"y.npy\"",
        _ => "source = \"d.csv\"\nlabel = \"kind\"",
    };
    let data = format!("{data}\nnormalize = \"standard\"\ntest = {{fraction = 0.1}}");
    classes(3, &data).replace("batch_size = 4", "batch_size = 256").replace(
        "epochs = 2",
        "epochs = 2\ncheckpoint_every_epochs = 1\ncheckpoint_min_seconds = 0",
    )
}

/// Runs the job `job.toml` of a folder on its files, in a process that may have so many bytes of
/// memory beside what it has at its beginning.
#[cfg(target_os = "linux")]
fn run_small(folder: &Path, allowed: u64) {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "small_process", "--nocapture"])
        .env("CYXWIZ_FOLDER", folder)
        .env("CYXWIZ_ALLOWED", allowed.to_string())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "a part of other tests, run in a process of its own"]
fn small_process() {
    let folder = std::path::PathBuf::from(std::env::var_os("CYXWIZ_FOLDER").unwrap());
    let allowed: u64 = std::env::var("CYXWIZ_ALLOWED").unwrap().parse().unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    let used: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    let most = Some(used * 1024 + allowed);
    let limit = rustix::process::Rlimit { current: most, maximum: most };
    rustix::process::setrlimit(rustix::process::Resource::Data, limit).unwrap();
    let text = fs::read_to_string(folder.join("job.toml")).unwrap();
    let ran = run(&toml::from_str(&text).unwrap(), &folder, &folder).unwrap();
    assert!(ran.streamed);
    assert!(ran.warnings.iter().any(|text| text.contains("read from disk")), "{:?}", ran.warnings);
    fs::write(folder.join("outputs"), format!("{:?}", ran.summary.outputs)).unwrap();
    fs::write(folder.join("compute_ms"), ran.summary.compute_ms.to_string()).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn what_does_not_fit_into_memory_is_trained_on() {
    for source in ["x.npy", "d.csv"] {
        let folder = tempfile::tempdir().unwrap();
        let job = large_job(source);
        write_large(folder.path(), source, MANY, WIDE);
        fs::write(folder.path().join("job.toml"), &job).unwrap();
        run_small(folder.path(), 24 << 20);
        let dir = tempfile::tempdir().unwrap();
        let ran = run(&toml::from_str(&job).unwrap(), folder.path(), dir.path()).unwrap();
        assert!(!ran.streamed, "this machine is too small to compare");
        let outputs = fs::read_to_string(folder.path().join("outputs")).unwrap();
        assert_eq!(outputs, format!("{:?}", ran.summary.outputs), "{source}");
        // One machine may go on where another began, whatever memory they have.
        assert_eq!(ran.checkpoints.len(), 1);
        for (name, bytes) in &ran.checkpoints {
            let streamed = fs::read(folder.path().join("checkpoints").join(name)).unwrap();
            assert!(streamed == *bytes, "{source}: {name} differs");
        }
    }
}

/// Throughput of features on disk beside that of features in memory, also of a disk whose pages
/// the system is made to forget.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "measures; run with --release"]
fn how_much_slower_is_it() {
    let allowed = 96 << 20;
    for (source, rows, width, units) in
        [("x.npy", 1 << 19, 784, 512), ("x.npy", 1 << 22, 100, 64), ("d.csv", 1 << 21, 100, 64)]
    {
        let folder = tempfile::tempdir().unwrap();
        write_large(folder.path(), source, rows, width);
        let layers = format!("{{type=\"dense\", units={units}, activation=\"relu\"}}, ");
        let job = large_job(source)
            .replace("{type=\"flatten\"}, ", &layers)
            .replace("epochs = 2", "epochs = 1");
        fs::write(folder.path().join("job.toml"), &job).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ran = run(&toml::from_str(&job).unwrap(), folder.path(), dir.path()).unwrap();
        assert!(!ran.streamed, "this machine is too small to compare");
        let small = || {
            run_small(folder.path(), allowed);
            let text = fs::read_to_string(folder.path().join("compute_ms")).unwrap();
            ran.summary.compute_ms as f64 / text.parse::<f64>().unwrap()
        };
        let warm = small();
        let cold = forgetting(&folder.path().join(source), small);
        println!(
            "{source}, {rows} rows, {} MiB as f32, {} MiB of memory: {:.0} rows/s in memory, \
             {warm:.2} of it from disk, {cold:.2} where pages are forgotten",
            (rows * width) >> 18,
            allowed >> 20,
            rows as f64 / (ran.summary.compute_ms as f64 / 1000.0)
        );
    }
}

/// Does something while the system is made to forget what it knows of a file.
#[cfg(target_os = "linux")]
fn forgetting<T>(path: &Path, work: impl FnOnce() -> T) -> T {
    use std::sync::atomic::{AtomicBool, Ordering};
    let (file, done) = (fs::File::open(path).unwrap(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        let worked = work();
        done.store(true, Ordering::Relaxed);
        worked
    })
}
