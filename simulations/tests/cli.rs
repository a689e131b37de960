//! The program as people use it: what it prints, what it writes, and how it says no.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cyxwiz-sim")).args(args).output().expect("the program starts")
}

/// Its stdout; it must have gone well.
fn done(args: &[&str]) -> String {
    let output = sim(args);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {told}");
    String::from_utf8(output.stdout).expect("the form that it always has")
}

/// Exit code and stderr of what cannot be done.
fn refused(args: &[&str]) -> (Option<i32>, String) {
    let output = sim(args);
    (output.status.code(), String::from_utf8(output.stderr).expect("the form that it always has"))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("the form that it always has")
}

fn column(csv: &str, name: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let place = reader
        .headers()
        .expect("the form that it always has")
        .iter()
        .position(|head| head == name)
        .expect("the form that it always has");
    reader
        .records()
        .map(|row| row.expect("the form that it always has")[place].to_owned())
        .collect()
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().expect("the form that it always has").to_owned()
}

#[test]
fn a_run_writes_everything_down() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(dir.path(), "results/of/today");
    let text = done(&["run", "churn", "--seed", "3", "--jobs", "25", "--out", &out]);
    assert!(text.contains("jobs handed in, accepted        25, 25"), "{text}");
    let read = |name: &str| fs::read_to_string(Path::new(&out).join(name)).unwrap();

    let summary = json(&read("summary.json"));
    assert_eq!(summary["held"], true);
    assert_eq!(summary["command"], "cyxwiz-sim run churn --seed 3 --set jobs=25");
    assert_eq!(summary["trace"], summary["figures"]["trace"]);

    let jobs = read("jobs.csv");
    assert_eq!(column(&jobs, "job").len(), 25);
    let number = |text: &String| text.parse::<f64>().unwrap();
    for (submitted, accepted) in
        column(&jobs, "submitted_s").iter().zip(&column(&jobs, "accepted_s"))
    {
        assert!(number(submitted) < number(accepted), "{submitted} {accepted}");
    }
    let ends = column(&jobs, "end");
    let completed = ends.iter().filter(|end| *end == "completed").count();
    assert_eq!(summary["figures"]["completed"], completed);

    let peers = read("peers.csv");
    assert_eq!(column(&peers, "part").iter().filter(|part| *part == "worker").count(), 8);
    let runs: u64 = column(&peers, "runs").iter().map(|runs| runs.parse::<u64>().unwrap()).sum();
    assert!(runs >= completed as u64);

    let accepted = column(&read("timeseries.csv"), "accepted");
    assert_eq!(accepted.last().unwrap(), "25");
    assert_eq!(column(&read("runs.csv"), "seed"), ["3"]);
    assert!(column(&read("events.csv"), "what").iter().any(|what| what == "crash"));
}

#[test]
fn a_report_is_one_file_that_stands_alone_and_can_be_read_aloud() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(dir.path(), "o");
    let file = path(dir.path(), "<b>&.toml");
    fs::write(&file, "base = 'churn'\nabout = '<script>alert(1)</script>'\njobs = 10\n").unwrap();
    done(&["run", &file, "--out", &out]);
    let page = fs::read_to_string(Path::new(&out).join("report.html")).unwrap();
    for never in ["<script", "http://", "https://", "@import", "url(", "NaN", "inf "] {
        assert!(!page.contains(never), "{never}");
    }
    let count = |what: &str| page.matches(what).count();
    assert_eq!(count("<svg "), 8);
    for each in ["role=\"img\"", "<desc ", "</figure>", "</svg>"] {
        assert_eq!(count(each), 8, "{each}");
    }
    for said in ["prefers-color-scheme: dark", "virtual time (s)", "Jain", "lang=\"en\""] {
        assert!(page.contains(said), "{said}");
    }
    // Whatever is opened is closed.
    for tag in ["g", "section", "figure", "details", "table", "main", "p", "title", "desc"] {
        let opened = count(&format!("<{tag}>")) + count(&format!("<{tag} "));
        assert_eq!(opened, count(&format!("</{tag}>")), "{tag}");
    }
}

#[test]
fn a_failure_ends_with_the_command_that_shows_it_again() {
    let args = ["sweep", "churn", "--seeds", "0..40", "--jobs", "2", "--skip-fsync"];
    let (code, told) = refused(&args);
    assert_eq!(code, Some(1), "{told}");
    let again = told.lines().find_map(|line| line.trim().strip_prefix("again: ")).unwrap();
    assert!(told.contains("broken promise in scenario churn"), "{told}");
    assert!(told.contains("were not begun"), "{told}");
    let again: Vec<_> = again.split(' ').map(|word| word.trim_matches('\'')).collect();
    let (code, second) = refused(&again[1..]);
    assert_eq!(code, Some(1), "{second}");
    let why = |told: &str| {
        let lines: Vec<_> = told.lines().map(str::to_owned).collect();
        let place = lines.iter().position(|line| line.starts_with("broken promise")).unwrap();
        lines[place + 1].clone()
    };
    assert_eq!(why(&told), why(&second));
}

#[test]
fn a_sweep_runs_every_combination_and_any_number_of_threads_gives_the_same() {
    let sweep = |threads| {
        done(&[
            "sweep",
            "smoke",
            "--seeds",
            "4..7",
            "--set",
            "slots=1,3",
            "--jobs",
            threads,
            "--output",
            "csv",
        ])
    };
    let one = sweep("1");
    assert_eq!(one, sweep("3"));
    assert_eq!(column(&one, "seed"), ["4", "5", "6", "4", "5", "6"]);
    assert_eq!(column(&one, "settings")[3], "slots=3");
    let text = done(&["sweep", "smoke", "--seeds", "4..7", "--output", "json"]);
    let sums = json(&text);
    assert_eq!(sums["variants"][0]["runs"], 3);
    assert_eq!(sums["variants"][0]["violations"], 0);
    assert_eq!(sums["variants"][0]["metrics"]["completed"]["p50"], 20.0);
}

#[test]
fn a_comparison_pairs_seeds_and_repeats_to_the_last_digit() {
    let compare = || {
        let args = ["compare", "smoke", "--set", "slots=1,3", "--seeds", "0..6"];
        done(&[args.as_slice(), &["--output", "json"]].concat())
    };
    let text = compare();
    assert_eq!(text, compare());
    let compared = json(&text);
    assert_eq!((&compared["one"], &compared["other"]), (&"slots=1".into(), &"slots=3".into()));
    let metrics = compared["metrics"].as_array().unwrap();
    let metric = |name: &str| metrics.iter().find(|it| it["metric"] == name).unwrap();
    // More slots, less waiting; the same jobs all the same.
    assert!(metric("start_p50_ms")["high"].as_f64().unwrap() < 0.0, "{text}");
    assert_eq!(metric("completed")["difference"], 0.0);

    let table = done(&["compare", "balanced", "economy", "--scenario", "smoke", "--seeds", "0..3"]);
    assert!(table.contains("economy − balanced"), "{table}");
}

#[test]
fn a_recorded_host_lives_the_same_life_again() {
    let dir = tempfile::tempdir().unwrap();
    let out = path(dir.path(), "o");
    // A coordinator, a submitter and a worker.
    for host in ["0", "1", "5"] {
        done(&["run", "churn", "--seed", "7", "--record", host, "--out", &out]);
        let key = path(Path::new(&out), &format!("host-{host}.key"));
        let lives: Vec<_> = (0..)
            .map(|life| path(Path::new(&out), &format!("host-{host}.life-{life}.cyxrec")))
            .take_while(|file| Path::new(file).exists())
            .collect();
        assert!(!lives.is_empty());
        for file in &lives {
            let sums = done(&["replay", file, "--key", &key, "--output", "json"]);
            let sums = json(&sums);
            assert!(sums["played"].as_u64().unwrap() > 10, "{sums}");
            assert_eq!(sums["played"], sums["verified"], "{sums}");
        }
        let bytes = fs::read(&lives[0]).unwrap();
        let cut = path(dir.path(), "cut.cyxrec");
        fs::write(&cut, &bytes[..bytes.len() - 3]).unwrap();
        let output = sim(&["replay", &cut, "--key", &key]);
        assert!(output.status.success());
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("the recording is damaged at byte"), "{told}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&lives[0]).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600);
        }
    }
    let file = path(Path::new(&out), "host-5.life-0.cyxrec");
    let other = path(Path::new(&out), "host-0.key");
    let (code, told) = refused(&["replay", &file, "--key", &other]);
    assert_eq!(code, Some(2));
    assert!(told.contains("the key is that of") && told.contains("hint:"), "{told}");
    let key = path(Path::new(&out), "host-5.key");
    let events = done(&["replay", &file, "--key", &key, "--events", "--until", "5s"]);
    assert!(events.contains("Committee from"), "{events}");
    let (_, until) = events.split_once(" inputs until ").unwrap();
    let until: f64 = until.split('s').next().unwrap().parse().unwrap();
    assert!((1.0..=5.0).contains(&until), "{events}");
}

#[test]
fn recording_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let trace = |extra: &[&str]| {
        let args = [&["run", "churn", "--seed", "5", "--output", "json"], extra].concat();
        json(&done(&args))["trace"].clone()
    };
    let out = path(dir.path(), "o");
    assert_eq!(trace(&[]), trace(&["--record", "0", "--out", &out]));
}

#[test]
fn a_scenario_file_may_begin_with_another() {
    let dir = tempfile::tempdir().unwrap();
    let file = path(dir.path(), "mine.toml");
    fs::write(&file, "base = 'smoke'\njobs = 6\n[network]\nlatency = '2ms..4ms'\n").unwrap();
    let summary = json(&done(&["run", &file, "--output", "json"]));
    assert_eq!(summary["figures"]["accepted"], 6);
    assert_eq!(summary["plan"]["network"]["latency"], "2ms..4ms");
    assert_eq!(summary["plan"]["workers"], 3);
    let summary = json(&done(&["run", "smoke", "--peers", "10", "--output", "json"]));
    assert_eq!(
        (&summary["figures"]["peers"], &summary["plan"]["workers"]),
        (&10.into(), &7.into())
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = path(dir.path(), "bad.toml");
    fs::write(&file, "base = 'smoke'\n\nlatency = '5ms'\n").unwrap();
    let missing = path(dir.path(), "missing.toml");
    let plain = path(dir.path(), "plain");
    fs::write(&plain, "x").unwrap();
    let beneath = path(dir.path(), "plain/out");
    for (args, said) in [
        (vec!["run", &file], "bad.toml:3: latency: unknown field"),
        (vec!["run", &missing], "cannot read '"),
        (vec!["run", "chrun"], "there is no scenario 'chrun'"),
        (vec!["run", "smoke", "--set", "jobs=none"], "--set jobs=none: jobs: "),
        (vec!["run", "smoke", "--set", "jobs"], "is no setting"),
        (vec!["run", "smoke", "--set", "jobs=1,2"], "gives several values"),
        (vec!["run", "smoke", "--jobs", "0"], "0 is not from 1 to"),
        (vec!["run", "smoke", "--peers", "3"], "leave no worker"),
        (vec!["run", "smoke", "--out", &beneath], "cannot make '"),
        (vec!["run", "smoke", "--record", "1"], "hint: add --out"),
        (vec!["run", "smoke", "--record", "99", "--out", &missing], "there is no host 99"),
        (vec!["sweep", "smoke", "--seeds", "9..3"], "write 3..9"),
        (vec!["sweep", "smoke", "--seeds", "x"], "names no seeds"),
        (vec!["compare", "smoke"], "nothing to compare"),
        (vec!["compare", "smoke", "--set", "slots=1,2,3"], "more than two"),
        (vec!["replay", &plain, "--key", &plain], "holds 1 bytes"),
    ] {
        let (code, told) = refused(&args);
        assert_eq!(code, Some(2), "{args:?}: {told}");
        assert!(told.contains(said), "{args:?}: {told}");
    }
}

#[test]
fn the_list_names_what_there_is() {
    let list = done(&["list"]);
    for name in ["churn", "takeover", "balanced", "network.loss_permille", "faults.hostile"] {
        assert!(list.contains(name), "{name}");
    }
    let list = json(&done(&["list", "--output", "json"]));
    assert!(list["scenarios"].as_array().unwrap().len() >= 8, "{list}");
}
