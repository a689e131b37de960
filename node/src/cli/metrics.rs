//! Metrics of training as people read them: two in a line for those who watch, all in a table for
//! those who look.

use std::collections::BTreeMap;

use super::quantity::metric;

/// The loss, and the metric that tells most people how good the model is, also on the rows of the
/// validation where there are any: `loss 0.1234`, `accuracy 96.1 %`, `val 95.2 %`.
pub(crate) fn in_short(metrics: &BTreeMap<String, f64>) -> Vec<String> {
    let mut parts = Vec::new();
    let telling = HEADLINES.iter().copied().find(|name| metrics.contains_key(*name));
    let validation = telling.unwrap_or(LOSS);
    for name in [Some(LOSS), telling].into_iter().flatten() {
        if let Some(value) = metrics.get(name) {
            parts.push(format!("{} {}", title(name), metric(name, *value)));
        }
    }
    if let Some(value) = metrics.get(&format!("val_{validation}")) {
        parts.push(format!("val {}", metric(validation, *value)));
    }
    parts
}

/// One metric a line, one column for each part of the rows that it was measured on.
pub(crate) fn table(metrics: &BTreeMap<String, f64>) -> Vec<String> {
    let value = |(part, _): &(&str, &str), name: &str| {
        metrics.get(&format!("{part}{name}")).map_or(String::new(), |value| metric(name, *value))
    };
    let names = names(metrics);
    let has = |part: &(&str, &str)| names.iter().any(|name| !value(part, name).is_empty());
    let parts: Vec<_> = PARTS.into_iter().filter(has).collect();
    let first = names.iter().map(|name| title(name).chars().count()).max().unwrap_or(0);
    let line = |name: &str, cell: &dyn Fn(&(&str, &str)) -> String| {
        let cells: String = parts.iter().map(|part| format!("{:>COLUMN$}", cell(part))).collect();
        format!("{name:first$}{cells}").trim_end().to_owned()
    };
    let lines = names.iter().map(|name| line(&title(name), &|part| value(part, name)));
    // What is only used has no parts.
    let used = !metrics.contains_key(LOSS) && parts.len() == 1 && parts[0].0.is_empty();
    let head = (!used).then(|| line("", &|(_, words)| (*words).to_owned()));
    head.into_iter().chain(lines).collect()
}

/// Without the part of the rows in front, each once, those first that most people ask for.
fn names(metrics: &BTreeMap<String, f64>) -> Vec<&str> {
    let bare = |name: &'_ String| -> usize {
        let part = PARTS.iter().find(|(part, _)| !part.is_empty() && name.starts_with(part));
        part.map_or(0, |(part, _)| part.len())
    };
    let mut names: Vec<&str> = metrics.keys().map(|name| &name[bare(name)..]).collect();
    let rank = |name: &str| {
        let known = [LOSS].iter().chain(HEADLINES).position(|first| *first == name);
        known.unwrap_or(usize::MAX)
    };
    names.sort_by_key(|name| (rank(name), *name));
    names.dedup();
    names
}

fn title(name: &str) -> String {
    match name {
        "r2" => "R²".to_owned(),
        "f1" => "F1".to_owned(),
        "mae" | "rmse" => name.to_uppercase(),
        other => other.replace('_', " "),
    }
}

const LOSS: &str = "loss";
/// Of classes, and of numbers; the first that there is.
const HEADLINES: &[&str] = &["accuracy", "r2", "mae"];
/// How the names of metrics begin, and what that means.
const PARTS: [(&str, &str); 3] = [("", "training"), ("val_", "validation"), ("test_", "test")];
/// As wide as `validation`, and two spaces.
const COLUMN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::samples::metrics;

    #[test]
    fn a_line_has_the_loss_and_what_tells_most() {
        let classes = metrics(&[
            ("accuracy", 0.992),
            ("f1", 0.99),
            ("gradient_norm", 2.0),
            ("loss", 0.0288),
            ("val_accuracy", 0.979),
            ("val_loss", 0.0599),
        ]);
        assert_eq!(in_short(&classes), ["loss 0.0288", "accuracy 99.2 %", "val 97.9 %"]);
        let values = metrics(&[("loss", 3.5), ("mae", 1.5), ("r2", 0.91)]);
        assert_eq!(in_short(&values), ["loss 3.5000", "R² 0.9100"]);
        let bare = metrics(&[("loss", 3.5), ("val_loss", 4.0)]);
        assert_eq!(in_short(&bare), ["loss 3.5000", "val 4.0000"]);
        assert!(in_short(&BTreeMap::new()).is_empty());
    }

    #[test]
    fn a_table_has_a_column_for_each_part_of_the_rows() {
        let all = metrics(&[
            ("accuracy", 0.992),
            ("gradient_norm", 2.0),
            ("loss", 0.0288),
            ("test_accuracy", 0.975),
            ("test_loss", 0.07),
        ]);
        let expected = [
            "                 training        test",
            "loss               0.0288      0.0700",
            "accuracy           99.2 %      97.5 %",
            "gradient norm      2.0000",
        ];
        assert_eq!(table(&all), expected);
        assert_eq!(table(&metrics(&[("rows", 60.0)])), ["rows          60"]);
        let one = metrics(&[("test_r2", 0.5)]);
        assert_eq!(table(&one), ["          test", "R²      0.5000"]);
    }
}
