//! Job files that are wrong: refused at submit, with the place and what to do, and nothing of
//! them is left.

use std::{fs, path::Path};

use cyxwiz_tests::{Cli, Job, Network, Outcome};

/// A job file, and what must be said about it.
struct Case {
    name: &'static str,
    text: String,
    words: &'static [&'static str],
}

fn case(name: &'static str, text: String, words: &'static [&'static str]) -> Case {
    Case { name, text, words }
}

/// The small job with one thing changed.
fn changed(from: &str, to: &str) -> String {
    let text = Job::short("changed").text();
    assert!(text.contains(from), "{from:?} is in {text}");
    text.replace(from, to)
}

fn definitions() -> Vec<Case> {
    let layer = "{ type = \"dense\", units = 10 }";
    vec![
        case("syntax", changed("layers = [", "layers = ]"), &["line 8", "layers = ]"]),
        case("empty", String::new(), &["missing field"]),
        case("key", changed("seed = 1", "sede = 1"), &["sede", "line", "seed"]),
        case("table", changed("[training]", "[trainin]"), &["trainin", "line"]),
        case("layer", changed("dense", "dens"), &["dens", "dense", "dropout", "line"]),
        case("optimizer", changed("adam", "adamant"), &["adamant", "sgd", "adamw", "line"]),
        case("loss", changed("softmax_cross_entropy", "hinge"), &["hinge", "mse", "line"]),
        case("type", changed("epochs = 20", "epochs = \"many\""), &["epochs", "line"]),
        case("epochs", changed("epochs = 20", "epochs = 0"), &["training.epochs", "1 or more"]),
        case("rate", changed("0.003", "-1.0"), &["learning_rate", "above 0"]),
        case("none", changed(layer, ""), &["model.layers", "at least one"]),
        case("units", changed("units = 10", "units = 7"), &["7", "10", "units"]),
        case("zero", changed("units = 10", "units = 0"), &["layer 0", "1 or more"]),
        case("label", changed("\"label\"", "\"digit\""), &["digits.csv", "digit", "p00"]),
        case("missing", changed("digits.csv", "nowhere.csv"), &["nowhere.csv", "--files"]),
        case("climbing", changed("digits.csv", "../digits.csv"), &["../digits.csv", "plain file"]),
        case("format", changed("digits.csv", "digits.toml"), &["digits.toml", ".csv"]),
        case("slash", changed("name = \"changed\"", "name = \"a/b\""), &["a/b", "letters"]),
        case(
            "device",
            changed("[requirements]", "[requirements]\ndevice = \"tpu\""),
            &["tpu", "cuda"],
        ),
        case("time", changed("[limits]", "[limits]\nqueue = \"soon\""), &["limits.queue", "90s"]),
    ]
}

/// Data files of three rows that do not hold up, with a job that names them.
fn data() -> Vec<(Case, &'static str)> {
    let on = |file: &str| {
        let text = changed("digits.csv", file).replace("\"label\"", "\"y\"");
        text.replace("units = 10", "units = 2").replace("test = { every = 5 }\n", "")
    };
    vec![
        (case("short-row", on("row.csv"), &["row.csv", "line 3", "fields"]), "x,y\n1,a\n2\n3,b\n"),
        (case("word", on("word.csv"), &["word.csv", "line 4", "ten"]), "x,y\n1,a\n2,b\nten,a\n"),
        (case("nan", on("nan.csv"), &["nan.csv", "line 3", "NaN"]), "x,y\n1,a\nNaN,b\n3,b\n"),
        (case("gap", on("gap.csv"), &["gap.csv", "line 2", "empty"]), "x,y\n,a\n2,b\n3,b\n"),
        (case("twice", on("twice.csv"), &["twice.csv", "\"x\"", "twice"]), "x,x,y\n1,1,a\n2,2,b\n"),
        (case("no-rows", on("rows.csv"), &["rows.csv", "no rows"]), "x,y\n"),
        (case("one-class", on("one.csv"), &["one.csv", "one value"]), "x,y\n1,a\n2,a\n"),
        (case("blank", on("blank.csv"), &["blank.csv"]), ""),
    ]
}

#[test]
fn whatever_is_wrong_with_a_job_is_said_at_submit_and_nothing_is_left() {
    let (network, coordinator, laptop) = Network::with_coordinator("wrong");
    let _worker = network.worker("worker", &["--memory-mb", "1024"]);
    laptop.awaits_workers(1);
    let cli = laptop.cli();
    let mut wrong = Vec::new();

    for case in definitions() {
        let file = write(cli.folder(), &format!("{}.toml", case.name), &case.text);
        let data = cyxwiz_tests::examples();
        let outcome = cli.run(&["job", "submit", &file, "--files", &data.to_string_lossy()]);
        wrong.extend(fault(&case, &outcome));
    }
    for (case, rows) in data() {
        let file = write(cli.folder(), &format!("{}.toml", case.name), &case.text);
        write(cli.folder(), case.words[0], rows);
        wrong.extend(fault(&case, &cli.run(&["job", "submit", &file])));
    }
    wrong.extend(files_that_are_no_job_files(&cli));

    assert!(wrong.is_empty(), "{} cases:\n\n{}", wrong.len(), wrong.join("\n\n"));
    assert_eq!(cli.json(&["job", "list", "--all"]), serde_json::json!([]));
    let status = cli.json(&["node", "status"]);
    assert_eq!(status["submitter"], serde_json::json!({ "unaccepted": 0, "unfinished": 0 }));
    let status = coordinator.cli().json(&["node", "status"]);
    assert_eq!(status["coordinator"]["queued"], 0, "{status:#}");

    // Standard input works when it is right.
    let data = cyxwiz_tests::examples();
    let options = ["job", "submit", "-", "--wait", "--files", &data.to_string_lossy()];
    cli.run_with(&options, &Job::short("piped").text()).succeeds();
    let text = Job::short("piped").text().replace("adam", "eve");
    cli.run_with(&options, &text).exits(2).says(&["standard input", "eve", "line"]);
}

fn files_that_are_no_job_files(cli: &Cli) -> Vec<String> {
    let garbage: Vec<u8> =
        (0..10 * 1024 * 1024_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(cli.folder().join("garbage.toml"), &garbage).expect("written");
    fs::write(cli.folder().join("long.toml"), "# long\n".repeat(1_500_000)).expect("written");
    fs::create_dir(cli.folder().join("folder.toml")).expect("made");
    let cases: [(&'static str, &'static [&'static str]); 4] = [
        ("garbage.toml", &["garbage.toml"]),
        ("long.toml", &["long.toml", "KiB"]),
        ("folder.toml", &["folder.toml", "directory"]),
        ("nothing.toml", &["nothing.toml", "No such file"]),
    ];
    let submit = |(name, words)| {
        fault(&case(name, String::new(), words), &cli.run(&["job", "submit", name]))
    };
    cases.into_iter().filter_map(submit).collect()
}

/// What is missing from an answer, if anything is.
fn fault(case: &Case, outcome: &Outcome) -> Option<String> {
    let silent: Vec<_> =
        case.words.iter().filter(|word| !outcome.stderr.contains(**word)).collect();
    let plain = !outcome.stderr.contains("panicked") && outcome.stdout.is_empty();
    let right = outcome.code == Some(2) && silent.is_empty() && plain;
    (!right).then(|| format!("{}: not said: {silent:?}; {}", case.name, outcome.told()))
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("the folder can be written to");
    path.to_string_lossy().into_owned()
}
