//! A run as a page to look at: one HTML file that needs nothing else, with its plots as inline
//! SVG, in light or dark as the reader's system has it.

mod chart;
mod plots;

use std::fmt::Write as _;

use crate::{Observation, Plan, Scenario, observe::MarkKind};
use chart::{bytes, escape, milliseconds, short};

const STYLE: &str = include_str!("report/style.css");
/// Events that are listed.
const LISTED: usize = 500;

/// The page; `command` shows the run again.
#[must_use]
pub fn html(scenario: &Scenario, plan: &Plan, seen: &Observation, command: &str) -> String {
    let name = escape(scenario.name());
    let seed = seen.figures.seed;
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{name}, seed {seed} · cyxwiz-sim</title><style>{STYLE}</style></head><body><main>\
         <header><h1>{name} <span class=\"soft\">· seed {seed}</span></h1>\
         <p class=\"soft\">{}</p>",
        escape(scenario.about())
    );
    match &seen.violation {
        None => page.push_str("<div class=\"verdict held\">✓ every promise held</div>"),
        Some(violation) => {
            let _ = write!(
                page,
                "<div class=\"verdict broken\">✗ broken promise: {}</div><p>{} (at {})</p>",
                escape(violation.invariant),
                escape(&violation.what),
                violation.at
            );
        }
    }
    let _ = write!(page, "<pre>{}</pre></header>", escape(command));
    page.push_str("<section class=\"tiles\" aria-label=\"Figures\">");
    for (value, label) in tiles(seen) {
        let _ = write!(page, "<div class=\"tile\"><b>{value}</b><span>{label}</span></div>");
    }
    page.push_str("</section><section class=\"charts\" aria-label=\"Plots\">");
    for plot in plots::all(seen) {
        page.push_str(&plot);
    }
    page.push_str("</section>");
    page.push_str(&events(seen));
    let plan = serde_json::to_string_pretty(plan).expect("a plan is plain numbers and texts");
    let _ = writeln!(
        page,
        "<details><summary>What was simulated</summary><pre>{}</pre></details>\
         <footer>cyxwiz-sim {} · all times are virtual · trace {}</footer></main></body></html>",
        escape(&plan),
        env!("CARGO_PKG_VERSION"),
        escape(&seen.figures.trace)
    );
    page
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn tiles(seen: &Observation) -> Vec<(String, String)> {
    let figures = &seen.figures;
    let percent = |permille: u64| format!("{}.{} %", permille / 10, permille % 10);
    let fairness =
        format!("{}.{:03}", figures.fairness_permille / 1_000, figures.fairness_permille % 1_000);
    vec![
        (
            format!("{} / {}", figures.completed, figures.accepted),
            "jobs completed / accepted".to_owned(),
        ),
        (
            milliseconds(figures.accept_ms.p50),
            format!("to be accepted, p99 {}", milliseconds(figures.accept_ms.p99)),
        ),
        (
            milliseconds(figures.start_ms.p50),
            format!("to run, p99 {}", milliseconds(figures.start_ms.p99)),
        ),
        (percent(figures.wasted_permille), "of computing wasted".to_owned()),
        (percent(figures.utilisation_permille), "of slots busy".to_owned()),
        (fairness, "fairness (Jain)".to_owned()),
        (bytes(figures.bytes_per_job as f64), "on all links per job".to_owned()),
        (figures.crashes.to_string(), "crashes".to_owned()),
        (
            short(figures.events as f64),
            format!("events, {} peers, {:.0} s", figures.peers, figures.virtual_s),
        ),
    ]
}

fn events(seen: &Observation) -> String {
    if seen.marks.is_empty() {
        return String::new();
    }
    let mut html = format!(
        "<details><summary>{} events</summary><table><thead><tr><th>time</th><th>what</th>\
         <th>whom</th></tr></thead><tbody>",
        seen.marks.len()
    );
    for mark in seen.marks.iter().take(LISTED) {
        let class = if mark.what == MarkKind::Violation { " class=\"broken\"" } else { "" };
        let _ = write!(
            html,
            "<tr{class}><td>{}.{:03} s</td><td>{}</td><td>{}</td></tr>",
            mark.at_us / 1_000_000,
            mark.at_us / 1_000 % 1_000,
            mark.what.name(),
            escape(&mark.whom)
        );
    }
    html.push_str("</tbody></table></details>");
    html
}
