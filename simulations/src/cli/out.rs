//! Results for programs: JSON documents, tidy CSV, and the files of `--out`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    ops::Range,
    path::{Path, PathBuf},
};

use cyxwiz_sim::{Compared, Figures, Observation, Plan, Scenario, report};
use serde_json::{Value, json};

use super::{Problem, choice::command, series::Done, table::Sum};

/// A directory for results.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// Makes it where there is none, and tries whether one may write there: better now than after
    /// an hour of simulating.
    pub(super) fn make(path: &Path) -> Result<Self, Problem> {
        let problem = |what, source| Problem::File { what, path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(|source| problem("make", source))?;
        let probe = path.join(".cyxwiz-sim-probe");
        File::create(&probe)
            .and_then(|_| fs::remove_file(&probe))
            .map_err(|source| problem("write", source))?;
        Ok(Self(path.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<(), Problem> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(|source| Problem::File { what: "write", path, source })
    }

    /// Everything about one run.
    pub(super) fn write_run(
        &self,
        scenario: &Scenario,
        plan: &Plan,
        seen: &Observation,
        record: Option<u32>,
    ) -> Result<(), Problem> {
        self.write("summary.json", format!("{:#}\n", summary(scenario, plan, seen)))?;
        self.write("runs.csv", rows([(scenario.settings(), &seen.figures)])?)?;
        self.write("jobs.csv", csv(&seen.jobs)?)?;
        self.write("peers.csv", csv(&seen.peers)?)?;
        self.write("timeseries.csv", csv(&seen.seconds)?)?;
        self.write("events.csv", csv(&seen.marks)?)?;
        let command = command(scenario, seen.figures.seed);
        self.write("report.html", report::html(scenario, plan, seen, &command))?;
        if let (Some(host), Some(recorded)) = (record, &seen.recorded) {
            for (life, bytes) in recorded.lives.iter().enumerate() {
                self.write_private(&format!("host-{host}.life-{life}.cyxrec"), bytes)?;
            }
            self.write_private(&format!("host-{host}.key"), &recorded.key)?;
        }
        Ok(())
    }

    /// For its owner alone, as a recording of a real node would be.
    fn write_private(&self, name: &str, bytes: &[u8]) -> Result<(), Problem> {
        let path = self.0.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let write = || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => options.open(&path)?.write_all(bytes),
        };
        write().map_err(|source| Problem::File { what: "write", path: path.clone(), source })
    }
}

/// One run: what it was, whether the promises held, and its figures.
pub(super) fn summary(scenario: &Scenario, plan: &Plan, seen: &Observation) -> Value {
    let violation = seen.violation.as_ref().map(|violation| {
        json!({
            "invariant": violation.invariant,
            "what": violation.what,
            "at_us": violation.at.0,
        })
    });
    json!({
        "scenario": scenario.name(),
        "settings": scenario.settings(),
        "seed": seen.figures.seed,
        "version": env!("CARGO_PKG_VERSION"),
        "command": command(scenario, seen.figures.seed),
        "trace": seen.figures.trace,
        "held": seen.violation.is_none(),
        "violation": violation,
        "plan": plan,
        "figures": seen.figures,
    })
}

/// Runs as CSV, one row for each.
pub(super) fn rows<'a>(
    runs: impl IntoIterator<Item = (&'a [String], &'a Figures)>,
) -> Result<String, Problem> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut headed = false;
    for (settings, figures) in runs {
        let metrics = figures.metrics();
        if !headed {
            let names = metrics.iter().map(|(name, _)| *name);
            writer
                .write_record(["scenario", "settings", "seed", "trace"].into_iter().chain(names))?;
            headed = true;
        }
        let fixed = [
            figures.scenario.clone(),
            settings.join(" "),
            figures.seed.to_string(),
            figures.trace.clone(),
        ];
        let values = metrics.iter().map(|(_, value)| value.to_string());
        writer.write_record(fixed.into_iter().chain(values))?;
    }
    text(writer)
}

pub(super) fn sweep(sums: &[Sum], done: &[Done]) -> Value {
    let variants = sums.iter().map(|sum| {
        let metrics = sum.metrics.iter().map(|(name, values)| {
            let [min, p50, p90, p99, max] = Sum::spread(values);
            let spread = json!({ "min": min, "p50": p50, "p90": p90, "p99": p99, "max": max });
            ((*name).to_owned(), spread)
        });
        json!({
            "name": sum.name,
            "runs": sum.runs,
            "violations": sum.violations,
            "events": sum.total("events"),
            "virtual_s": sum.total("virtual_s"),
            "crashes": sum.total("crashes"),
            "accepted": sum.total("accepted"),
            "metrics": metrics.collect::<serde_json::Map<_, _>>(),
        })
    });
    let failures = done.iter().filter_map(|done| done.failure.as_ref()).map(|failure| {
        json!({
            "scenario": failure.scenario,
            "seed": failure.seed,
            "why": failure.why,
            "command": failure.command,
        })
    });
    json!({
        "variants": variants.collect::<Vec<_>>(),
        "failures": failures.collect::<Vec<_>>(),
    })
}

pub(super) fn compared(names: [&str; 2], compared: &[Compared], seeds: &Range<u64>) -> Value {
    json!({
        "one": names[0],
        "other": names[1],
        "seeds": [seeds.start, seeds.end],
        "confidence": 0.95,
        "metrics": compared,
    })
}

pub(super) fn compared_rows(names: [&str; 2], compared: &[Compared]) -> Result<String, Problem> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["metric", names[0], names[1], "difference", "low", "high"])?;
    for line in compared {
        let values = [line.one, line.other, line.difference, line.low, line.high];
        let values = values.map(|value| value.to_string());
        writer.write_record([line.metric.to_owned()].into_iter().chain(values))?;
    }
    text(writer)
}

fn csv<T: serde::Serialize>(lines: &[T]) -> Result<String, Problem> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        writer.serialize(line)?;
    }
    text(writer)
}

fn text(writer: csv::Writer<Vec<u8>>) -> Result<String, Problem> {
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8(bytes).expect("what was written was text"))
}
