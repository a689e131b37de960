//! `cyxwiz doctor`: what this machine can do to lock strangers' jobs in, found out by doing it, and
//! the one next step where something is missing.

use cyxwiz_sandbox::{Layer, Level, Report, State};
use serde::Serialize;

use super::Context;
use super::error::CommandError;
use super::table::Rows;

/// What was found, as programs read it.
#[derive(Debug, Serialize)]
struct Findings {
    sandbox: Sandbox,
    next: String,
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
    let report = cyxwiz_sandbox::probe();
    let findings = findings(&report);
    context.output.show(&findings, || text(&findings))?;
    context.output.say(&format!("\n{}", findings.next));
    Ok(())
}

fn findings(report: &Report) -> Findings {
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
    Findings { sandbox, next: next_step(report) }
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
    format!("{}\n\nsandbox level {level} of {}: {verdict}", rows.text(), Level::Whole as u8)
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
        let findings = findings(&report(None));
        assert!(findings.next.contains("node run --worker"), "{}", findings.next);
        let text = text(&findings);
        assert!(text.contains("sandbox level 3 of 3") && !text.contains("MISSING"), "{text}");
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json["sandbox"]["runs_strangers_jobs"], true);
        assert_eq!(json["sandbox"]["layers"].as_array().unwrap().len(), Layer::ALL.len());
    }

    #[test]
    fn a_missing_wall_is_named_with_its_reason() {
        let findings = findings(&report(Some(Layer::Files)));
        assert!(findings.next.contains("files: it is switched off"), "{}", findings.next);
        let text = text(&findings);
        assert!(text.contains("MISSING") && text.contains("level 2 of 3"), "{text}");
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json["sandbox"]["layers"][3]["state"], "missing");
    }

    #[test]
    fn a_second_wall_that_is_absent_is_no_trouble() {
        let findings = findings(&report(Some(Layer::Scopes)));
        assert!(findings.sandbox.runs_strangers_jobs);
        assert!(text(&findings).contains("absent"));
    }
}
