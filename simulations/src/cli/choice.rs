//! Which scenario with which settings, from what the command line says; and the other way round,
//! the command that says it again.

use std::{fs, path::Path};

use clap::Args;
use cyxwiz_sim::Scenario;

use super::Problem;

/// Settings that every command which runs something takes.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Choice {
    /// Everyone together; workers are what remains beside coordinators and submitters
    #[arg(long, value_name = "N")]
    peers: Option<u32>,
    /// Coordinators, instead of the scenario's number
    #[arg(long, value_name = "N")]
    coordinators: Option<u32>,
    /// Workers, instead of the scenario's number
    #[arg(long, value_name = "N", conflicts_with = "peers")]
    workers: Option<u32>,
    /// How coordinators choose among bids; `cyxwiz-sim list` names the policies
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Sign by ed25519 as in production, many times slower
    #[arg(long)]
    real_signatures: bool,
    /// Break a promise on purpose: a coordinator's disk does not fsync
    #[arg(long)]
    skip_fsync: bool,
    /// Break the protocol on purpose; `cyxwiz-sim list` names the ways
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
    /// Any key of a scenario file, as in network.latency=5ms..50ms; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl Choice {
    /// Every setting, the general ones last.
    pub(super) fn settings(&self) -> Vec<String> {
        let numbers =
            [("coordinators", self.coordinators), ("peers", self.peers), ("workers", self.workers)];
        let mut settings: Vec<_> = numbers
            .iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", (*value)?)))
            .collect();
        settings.extend(self.policy.iter().map(|policy| format!("policy=\"{policy}\"")));
        if self.real_signatures {
            settings.push("signatures=\"real\"".to_owned());
        }
        if self.skip_fsync {
            settings.push("fsync=\"skipped\"".to_owned());
        }
        #[cfg(feature = "mutants")]
        settings.extend(self.mutant.iter().map(|mutant| format!("mutant=\"{mutant}\"")));
        settings.extend(self.settings.iter().cloned());
        settings
    }

    /// Every combination of the values that settings such as `slots=2,8` give; those with one
    /// value are in all of them.
    pub(super) fn variants(&self) -> Vec<Vec<String>> {
        let mut variants = vec![Vec::new()];
        for setting in self.settings() {
            let values = alternatives(&setting);
            variants = variants
                .into_iter()
                .flat_map(|variant: Vec<String>| {
                    values.iter().map(move |value| {
                        let mut variant = variant.clone();
                        variant.push(value.clone());
                        variant
                    })
                })
                .collect();
        }
        variants
    }

    /// The one combination that there is.
    pub(super) fn only(&self) -> Result<Vec<String>, Problem> {
        let settings = self.settings();
        match settings.iter().find(|setting| alternatives(setting).len() > 1) {
            Some(setting) => Err(Problem::ManyValues(setting.clone())),
            None => Ok(settings),
        }
    }
}

/// The scenario of a name or of a file.
pub(super) fn scenario(name: &str) -> Result<Scenario, Problem> {
    if let Some(scenario) = Scenario::named(name) {
        return Ok(scenario);
    }
    let path = Path::new(name);
    if path.extension().is_none_or(|extension| extension != "toml") && !path.exists() {
        return Err(Problem::NoScenario(name.to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|source| Problem::File {
        what: "read",
        path: path.to_owned(),
        source,
    })?;
    Ok(Scenario::parse(name, &text)?)
}

/// The command that runs this seed of it again.
pub(super) fn command(scenario: &Scenario, seed: u64) -> String {
    let mut command = format!("cyxwiz-sim run {} --seed {seed}", quoted(scenario.name()));
    for setting in scenario.settings() {
        command.push_str(" --set ");
        command.push_str(&quoted(setting));
    }
    command
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "._-/=:,+".contains(char);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// `slots=2,8` is `slots=2` and `slots=8`; commas within brackets or quotes part nothing.
pub(super) fn alternatives(setting: &str) -> Vec<String> {
    let Some((key, values)) = setting.split_once('=') else {
        return vec![setting.to_owned()];
    };
    let (mut depth, mut quote) = (0_u32, None);
    let mut parts = vec![String::new()];
    for char in values.chars() {
        match (char, quote) {
            ('"' | '\'', None) => quote = Some(char),
            (_, Some(open)) if char == open => quote = None,
            ('[' | '{', None) => depth += 1,
            (']' | '}', None) => depth = depth.saturating_sub(1),
            (',', None) if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("there is one from the start").push(char);
    }
    parts.iter().map(|value| format!("{}={}", key.trim(), value.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_parted_by_commas_outside_brackets() {
        assert_eq!(alternatives("slots=2,8"), ["slots=2", "slots=8"]);
        assert_eq!(alternatives("a={ draw = [1, 2] },3"), ["a={ draw = [1, 2] }", "a=3"]);
        assert_eq!(alternatives("a='x,y'"), ["a='x,y'"]);
        assert_eq!(alternatives("no setting"), ["no setting"]);
    }

    #[test]
    fn variants_are_all_combinations() {
        let settings = ["a=1,2", "b=3", "c=4,5"].map(str::to_owned).to_vec();
        let choice = Choice { settings, workers: Some(9), ..Choice::default() };
        let variants = choice.variants();
        assert_eq!(variants.len(), 4);
        assert_eq!(variants[1], ["workers=9", "a=1", "b=3", "c=5"]);
        assert!(choice.only().is_err());
    }

    #[test]
    fn a_command_is_fit_for_a_shell() {
        let scenario = Scenario::named("smoke").unwrap();
        let settings = ["jobs=3".to_owned(), "policy=\"economy\"".to_owned()];
        let scenario = scenario.with(&settings).unwrap();
        let command = command(&scenario, 7);
        assert_eq!(
            command,
            "cyxwiz-sim run smoke --seed 7 --set jobs=3 --set 'policy=\"economy\"'"
        );
    }
}
