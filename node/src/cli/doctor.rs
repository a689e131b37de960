//! `cyxwiz doctor`: what this machine can do to lock strangers' jobs in, and what it computes with,
//! both found out by doing it; and the next step where something is missing.

use cyxwiz_sandbox::{Layer, Level, Report, State};
use cyxwiz_trainer::{
    ArrayFireChoice, ArrayFireDevice, ArrayFireFound, ArrayFireReport, Backend, EngineChoice,
};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::error::CommandError;
use super::table::Rows;
use super::{Context, run};
use crate::{engines, node};

/// What was found, as programs read it.
#[derive(Debug, Serialize)]
struct Findings {
    sandbox: Sandbox,
    arrayfire: Vec<BackendLine>,
    next: String,
}

/// One backend of ArrayFire.
#[derive(Debug, Serialize)]
struct BackendLine {
    backend: Backend,
    #[serde(flatten)]
    report: ArrayFireReport,
    useless: Vec<Useless>,
}

/// A device on which a job does not finish.
#[derive(Debug, Serialize)]
struct Useless {
    /// Counted from 0.
    device: usize,
    why: String,
}

impl BackendLine {
    fn look(backend: Backend, runtime: &Runtime) -> Self {
        let report = engines::probe(&node::program(), backend);
        let count = found(&report).map_or(0, |found| found.devices.len());
        let useless = (0..count).filter_map(|device| {
            let number = u16::try_from(device).ok()?;
            let library = found(&report).map(|found| found.path.clone());
            let choice = ArrayFireChoice { backend, device: number, library };
            let trial =
                engines::trial(node::executor_config(true), EngineChoice::ArrayFire(choice));
            let why = runtime.block_on(trial).err()?.to_string();
            Some(Useless { device, why })
        });
        let useless = useless.collect();
        Self { backend, report, useless }
    }

    fn why_useless(&self, device: usize) -> Option<&str> {
        let useless = self.useless.iter().find(|it| it.device == device);
        useless.map(|it| it.why.as_str())
    }

    fn useful(&self) -> impl Iterator<Item = &ArrayFireDevice> {
        let devices = found(&self.report).map_or(&[][..], |found| &found.devices).iter();
        let useful = devices.enumerate().filter(|(device, _)| self.why_useless(*device).is_none());
        useful.map(|(_, device)| device)
    }
}

fn found(report: &ArrayFireReport) -> Option<&ArrayFireFound> {
    match report {
        ArrayFireReport::Found(found) => Some(found),
        ArrayFireReport::Absent { .. } | ArrayFireReport::Broken { .. } => None,
    }
}

#[derive(Debug, Serialize)]
struct Sandbox {
    /// As workers tell it to the network: 0 to 3.
    level: u8,
    /// Whether strangers' jobs run here without further agreement.
    runs_strangers_jobs: bool,
    layers: Vec<Line>,
}

/// One layer.
#[derive(Debug, Serialize)]
struct Line {
    layer: Layer,
    needed: bool,
    purpose: &'static str,
    #[serde(flatten)]
    state: State,
}

pub(super) fn run(context: &Context) -> Result<(), CommandError> {
    let (report, runtime) = (cyxwiz_sandbox::probe(), run::runtime()?);
    let lines = Backend::ALL.map(|backend| BackendLine::look(backend, &runtime));
    let findings = findings(&report, lines.into());
    context.output.show(&findings, || text(&findings))?;
    context.output.say(&format!("\n{}", findings.next));
    Ok(())
}

fn findings(report: &Report, arrayfire: Vec<BackendLine>) -> Findings {
    let level = report.level();
    let layers = report.findings.iter().map(|it| Line {
        layer: it.layer,
        needed: it.layer.is_needed(),
        purpose: it.layer.purpose(),
        state: it.state.clone(),
    });
    let sandbox = Sandbox {
        level: level as u8,
        runs_strangers_jobs: level == Level::Whole,
        layers: layers.collect(),
    };
    Findings { sandbox, arrayfire, next: next_step(report) }
}

fn text(findings: &Findings) -> String {
    let mut rows = Rows::new(&["LAYER", "STATE", "PURPOSE", "HOW, OR WHY NOT"]);
    for line in &findings.sandbox.layers {
        let (state, words) = match &line.state {
            State::Applied { how } => ("ok", how),
            State::Missing { why } if line.needed => ("MISSING", why),
            State::Missing { why } => ("absent", why),
        };
        rows.add([line.layer.name(), state, line.purpose, words]);
    }
    let Sandbox { level, runs_strangers_jobs, .. } = findings.sandbox;
    let verdict = if runs_strangers_jobs { "strangers' jobs are locked in" } else { "not enough" };
    let level = format!("sandbox level {level} of {}: {verdict}", Level::Whole as u8);
    format!("{}\n\n{level}\n\n{}", rows.text(), computes(&findings.arrayfire))
}

/// What jobs can compute with, and below it what is too long for a table.
fn computes(arrayfire: &[BackendLine]) -> String {
    let mut rows = Rows::new(&["ENGINE", "STATE", "DEVICE", "HOW, OR WHY NOT"]);
    rows.add(["cpu", "ok", "the processor", "embedded; results can be checked bit by bit"]);
    let mut below = Vec::new();
    for line in arrayfire {
        let BackendLine { backend, report, .. } = line;
        let engine = format!("arrayfire {backend}");
        match report {
            ArrayFireReport::Found(found) => {
                let how = format!("ArrayFire {}, {}", found.version, found.path.display());
                for (index, device) in found.devices.iter().enumerate() {
                    let memory = device.memory_mib.map(|mib| format!(", {mib} MiB"));
                    let memory = memory.unwrap_or_default();
                    let is_told = device.is_gpu || *backend == Backend::Cpu;
                    let kind = if is_told { "" } else { ", a processor" };
                    let name = format!("{index}: {}{memory}{kind}", device.name);
                    if let Some(why) = line.why_useless(index) {
                        rows.add([&engine, "BROKEN", &name, "no job finishes on it: see below"]);
                        below.push(format!("{engine}, device {index}: {why}"));
                    } else {
                        rows.add([&engine, "ok", &name, &how]);
                    }
                }
                if found.devices.is_empty() {
                    rows.add([engine.as_str(), "absent", "none", how.as_str()]);
                }
            }
            ArrayFireReport::Absent { tried } => {
                rows.add([&engine, "absent", "", "no library: see below for where it may be"]);
                below.push(format!("{engine}: {}", engines::places(tried)));
            }
            ArrayFireReport::Broken { why } => {
                rows.add([&engine, "BROKEN", "", "it does not answer: see below"]);
                below.push(format!("{engine}: {why}"));
            }
        }
    }
    below.insert(0, rows.text());
    below.push(arrayfire_step(arrayfire).to_owned());
    below.join("\n")
}

/// What a GPU takes to be of use.
fn arrayfire_step(arrayfire: &[BackendLine]) -> &'static str {
    let mut devices = arrayfire.iter().flat_map(BackendLine::useful).peekable();
    let is_there = devices.peek().is_some();
    if devices.any(|device| device.is_gpu) {
        "a worker computes jobs for cuda or opencl on it; `--engine cpu` switches that off"
    } else if is_there {
        "on processors ArrayFire is slower than the embedded engine and computes only where \
         `--af-backend` asks for it"
    } else if arrayfire.iter().any(|line| !line.useless.is_empty()) {
        "a worker offers no device on which a trial job does not finish within the walls"
    } else {
        "jobs for GPUs need ArrayFire 3.8 or newer: install it into /opt/arrayfire, or name its \
         folder in AF_PATH"
    }
}

fn next_step(report: &Report) -> String {
    match report.missing().next() {
        None => "next: lend this machine with `cyxwiz node run --worker --join ADDRESS`".to_owned(),
        Some((layer, why)) => format!(
            "next: {layer}: {why}. Until then strangers' jobs are refused here; \
             `--allow-unsandboxed` runs them with the rights of this user"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyxwiz_sandbox::Finding;

    fn report(missing: Option<Layer>) -> Report {
        let state = |layer| match missing {
            Some(it) if it == layer => State::Missing { why: "it is switched off".to_owned() },
            Some(_) | None => State::Applied { how: "it works".to_owned() },
        };
        let finding = |layer| Finding { layer, state: state(layer) };
        Report { findings: Layer::ALL.into_iter().map(finding).collect() }
    }

    #[test]
    fn a_machine_with_all_walls_is_told_how_to_go_on() {
        let findings = findings(&report(None), Vec::new());
        assert!(findings.next.contains("node run --worker"), "{}", findings.next);
        let text = text(&findings);
        assert!(text.contains("sandbox level 3 of 3") && !text.contains("MISSING"), "{text}");
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json["sandbox"]["runs_strangers_jobs"], true);
        assert_eq!(json["sandbox"]["layers"].as_array().unwrap().len(), Layer::ALL.len());
    }

    #[test]
    fn a_missing_wall_is_named_with_its_reason() {
        let findings = findings(&report(Some(Layer::Files)), Vec::new());
        assert!(findings.next.contains("files: it is switched off"), "{}", findings.next);
        let text = text(&findings);
        assert!(text.contains("MISSING") && text.contains("level 2 of 3"), "{text}");
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json["sandbox"]["layers"][3]["state"], "missing");
    }

    #[test]
    fn a_second_wall_that_is_absent_is_no_trouble() {
        let findings = findings(&report(Some(Layer::Scopes)), Vec::new());
        assert!(findings.sandbox.runs_strangers_jobs);
        assert!(text(&findings).contains("absent"));
    }

    #[test]
    fn engines_are_told_with_their_devices_or_the_places_looked_at() {
        use cyxwiz_trainer::{ArrayFireDevice, ArrayFireFound, Attempt, Obstacle};

        let absent = |path: &str| BackendLine {
            backend: Backend::OpenCl,
            report: ArrayFireReport::Absent {
                tried: vec![Attempt { path: path.into(), why: Obstacle::Absent }],
            },
            useless: Vec::new(),
        };
        let nothing = computes(&[absent("/usr/lib/libafopencl.so.3")]);
        assert!(nothing.contains("there is no libafopencl.so.3 in /usr/lib"), "{nothing}");
        assert!(nothing.contains("name its folder in AF_PATH"), "{nothing}");
        let device = ArrayFireDevice {
            name: "NVIDIA H200".to_owned(),
            toolkit: "CUDA v12".to_owned(),
            compute: "9.0".to_owned(),
            memory_mib: Some(143_771),
            is_gpu: true,
        };
        let processor = BackendLine {
            backend: Backend::OpenCl,
            report: ArrayFireReport::Found(ArrayFireFound {
                path: "/opt/arrayfire/lib64/libafopencl.so.3".into(),
                version: "3.10.0".to_owned(),
                devices: vec![ArrayFireDevice { is_gpu: false, ..device.clone() }],
            }),
            useless: Vec::new(),
        };
        let text = computes(std::slice::from_ref(&processor));
        assert!(text.contains("143771 MiB, a processor"), "{text}");
        assert!(text.contains("only where `--af-backend` asks for it"), "{text}");
        let why = "a trial job failed: its compiler was killed".to_owned();
        let useless = vec![Useless { device: 0, why }];
        let text = computes(&[BackendLine { useless, ..processor }]);
        assert!(text.contains("BROKEN") && text.contains("its compiler was killed"), "{text}");
        assert!(text.contains("a worker offers no device"), "{text}");
        let found = BackendLine {
            backend: Backend::Cuda,
            report: ArrayFireReport::Found(ArrayFireFound {
                path: "/opt/arrayfire/lib64/libafcuda.so.3".into(),
                version: "3.10.0".to_owned(),
                devices: vec![device],
            }),
            useless: Vec::new(),
        };
        let broken = BackendLine {
            backend: Backend::OpenCl,
            report: ArrayFireReport::Broken { why: "its driver did not answer".to_owned() },
            useless: Vec::new(),
        };
        let text = computes(&[found, broken]);
        assert!(text.contains("0: NVIDIA H200, 143771 MiB"), "{text}");
        assert!(text.contains("ArrayFire 3.10.0, /opt/arrayfire/lib64/libafcuda.so.3"), "{text}");
        assert!(text.contains("BROKEN") && text.contains("did not answer"), "{text}");
        assert!(text.contains("`--engine cpu` switches that off"), "{text}");
    }
}
