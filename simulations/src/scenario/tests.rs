use super::*;
use crate::Span;

fn plan(text: &str) -> Result<Plan, ScenarioError> {
    Scenario::parse("test.toml", text)?.plan(1)
}

fn error(text: &str) -> String {
    plan(text).unwrap_err().to_string()
}

#[test]
fn every_built_in_scenario_makes_plans_and_says_what_it_is() {
    for (name, text) in BUILT_IN {
        let scenario = Scenario::parse(name, text).unwrap_or_else(|error| panic!("{error}"));
        assert!(!scenario.about().is_empty(), "{name}");
        for seed in 0..50 {
            scenario.plan(seed).unwrap_or_else(|error| panic!("{name}, seed {seed}: {error}"));
        }
    }
}

#[test]
fn a_file_begins_where_its_base_ends() {
    let plan = plan("base = 'churn'\njobs = 7\n[network]\nloss_permille = 3\n").unwrap();
    let churn = Scenario::named("churn").unwrap().plan(1).unwrap();
    assert_eq!((plan.jobs, plan.network.loss_permille), (7, 3));
    assert_eq!((plan.workers, plan.network.latency), (churn.workers, churn.network.latency));
}

#[test]
fn errors_say_where() {
    for (text, said) in [
        ("jobs = 1\nworkers = \n", "test.toml:2: "),
        ("jobs = 1\nworkres = 3\n", "test.toml:2: workres: unknown field `workres`"),
        ("[network]\nlatency = '5ms'\nlos = 3\n", "test.toml:3: network.los: unknown field"),
        ("jobs = 'many'\n", "test.toml:1: jobs: invalid type"),
        ("arrival = '20 parsecs'\n", "test.toml:1: arrival: '20 parsecs' is no duration"),
        ("training = '20s..5s'\n", "test.toml:1: training: 20s comes after 5s"),
        ("\njobs = 0\n", "test.toml:2: jobs: 0 is not from 1 to"),
        ("policy = 'mine'\n", "test.toml:1: policy: 'mine' is none of balanced"),
        ("base = 'chrun'\n", "test.toml:1: there is no scenario 'chrun'"),
        ("base = 7\n", "test.toml:1: base: give a text in quotes"),
        ("jobs = { draw = '9..1' }\n", "test.toml:1: jobs: '9..1' is no range"),
        ("jobs = { draw = [] }\n", "test.toml:1: jobs: draw from a range"),
    ] {
        let error = error(text);
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn a_wrong_value_of_a_base_names_the_line_that_made_it_wrong() {
    let scenario = Scenario::named("churn").unwrap();
    let error = scenario.with(&["network.loss_permille=2000".to_owned()]).unwrap_err();
    let said = "--set network.loss_permille=2000: network.loss_permille: 2000 is not from 0";
    assert!(error.to_string().starts_with(said), "{error}");
}

#[test]
fn settings_are_values_or_texts() {
    let scenario = Scenario::named("smoke").unwrap();
    let settings = ["jobs=5", "network.latency=5ms..50ms", "policy=\"economy\"", "jobs=6"];
    let plan = scenario.with(&settings.map(str::to_owned)).unwrap().plan(1).unwrap();
    assert_eq!((plan.jobs, plan.policy.as_str()), (6, "economy"));
    assert_eq!(plan.network.latency, Span::millis(5, 50));
    for wrong in ["jobs", "=5", "network..x=1", "about=x", "jobs.few=1"] {
        let scenario = Scenario::parse("test.toml", "jobs = 3").unwrap();
        assert!(scenario.with(&[wrong.to_owned()]).is_err(), "{wrong}");
    }
}

#[test]
fn a_draw_follows_from_seed_and_key_alone() {
    let one = Scenario::parse("a", "jobs = { draw = '1..1000' }").unwrap();
    let text = "jobs = { draw = '1..1000' }\nworkers = { draw = '1..1000' }";
    let two = Scenario::parse("b", text).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let (one, two) = (one.plan(seed).unwrap(), two.plan(seed).unwrap());
        assert_eq!(one.jobs, two.jobs);
        seen.insert((two.jobs, two.workers));
    }
    assert!(seen.len() > 15, "{seen:?}");
    let span = plan("training = { least = '1ms', most = { draw = '20ms..30ms' } }").unwrap();
    assert!((20_000..=30_000).contains(&span.training.most_us));
}
