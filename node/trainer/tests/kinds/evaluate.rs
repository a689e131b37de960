//! Evaluation gives what training gave for the same rows, whatever settings the loss has: they
//! stay with the model.

use std::collections::BTreeMap;

use cyxwiz_trainer::frames::Frame;

use crate::serving::{Served, run};

/// Two numbers, a class that one row in four has, a target, and two that are yes or no.
fn table(rows: impl Iterator<Item = u32>) -> String {
    let lines = rows.map(|n| {
        let (a, b) = (f64::from(n * 37 % 101) / 50.0, f64::from(n * 53 % 89) / 40.0);
        let kind = if n * 7 % 4 == 1 { "rare" } else { "usual" };
        format!("{a},{b},{kind},{},{},{}\n", 3.0 * a - b, n % 3 % 2, n / 3 % 2)
    });
    format!("a,b,kind,y,p,q\n{}", lines.collect::<String>())
}

/// Trains on a table of which every fifth row is for testing.
fn trained(loss: &str, label: &str, units: u32) -> Served {
    let job = format!(
        "[model]\nlayers = [{{ type = \"dense\", units = 5, activation = \"tanh\" }}, \
         {{ type = \"dense\", units = {units} }}]\n\
         [data]\nsource = \"t.csv\"\nlabel = {label}\nfeatures = [\"a\", \"b\"]\n\
         normalize = \"standard\"\ntest = {{ every = 5 }}\n\
         [training]\nepochs = 3\nbatch_size = 16\nseed = 5\nloss = {loss}\n\
         optimizer = {{ type = \"adam\", learning_rate = 0.01 }}\n"
    );
    run(&job, &[("t.csv", table(0..200).as_bytes())])
}

fn evaluation(label: &str) -> String {
    format!(
        "kind = \"evaluate\"\n[start]\nweights = \"m.safetensors\"\n\
         [data]\nsource = \"t.csv\"\nlabel = {label}\n"
    )
}

/// Metrics of the rows that training kept for testing.
fn evaluated(model: &[u8], label: &str) -> BTreeMap<String, f64> {
    let rows = table((0..200).step_by(5));
    let files = [("m.safetensors", model), ("t.csv", rows.as_bytes())];
    run(&evaluation(label), &files).summary().metrics.clone()
}

#[test]
fn evaluation_gives_what_training_told_of_its_test_rows() {
    let (kind, yes) = ("\"kind\"", "[\"p\", \"q\"]");
    for (loss, label, units) in [
        ("\"softmax_cross_entropy\"", kind, 2),
        ("{ type = \"softmax_cross_entropy\", class_weights = \"balanced\" }", kind, 2),
        ("{ type = \"softmax_cross_entropy\", class_weights = [3, 0.7] }", kind, 2),
        ("{ type = \"softmax_cross_entropy\", label_smoothing = 0.2 }", kind, 2),
        ("{ type = \"binary_cross_entropy\", positive_weight = [2.5, 0.1] }", yes, 2),
        ("{ type = \"huber\", delta = 0.3 }", "\"y\"", 1),
        ("\"mae\"", "\"y\"", 1),
    ] {
        let trained = trained(loss, label, units);
        let told = trained.summary().metrics.iter().filter(|(name, _)| name.starts_with("test_"));
        let mut told: BTreeMap<_, _> = told.map(|(name, it)| (name.clone(), *it)).collect();
        assert!(told.contains_key("test_loss"), "{loss}");
        told.insert("test_rows".to_owned(), 40.0);
        assert_eq!(evaluated(&trained.output("model.safetensors"), label), told, "{loss}");
    }
}

#[test]
fn a_model_that_only_names_its_loss_is_measured_with_the_usual_settings() {
    let trained = trained("{ type = \"huber\", delta = 0.3 }", "\"y\"", 1);
    let mut definition: serde_json::Value =
        serde_json::from_slice(&trained.output("model.json")).unwrap();
    assert_eq!(definition["loss"], serde_json::json!({"type": "huber", "delta": 0.3}));
    let (model, rows) = (trained.output("model.safetensors"), table((0..200).step_by(5)));
    let mut with_loss = |loss: &str| {
        definition["loss"] = serde_json::from_str(loss).unwrap();
        let definition = definition.to_string();
        let job = evaluation("\"y\"").replace("[data]", "definition = \"m.json\"\n[data]");
        let files = [
            ("m.safetensors", &model[..]),
            ("m.json", definition.as_bytes()),
            ("t.csv", rows.as_bytes()),
        ];
        run(&job, &files)
    };
    let plain = with_loss("\"huber\"").summary().metrics["test_loss"];
    let written = with_loss(r#"{"type": "huber", "delta": 1}"#).summary().metrics["test_loss"];
    assert_eq!(plain, written);
    assert_ne!(plain, trained.summary().metrics["test_loss"]);
    for (loss, words) in [
        (r#"{"type": "huber", "delta": -1}"#, "loss, delta"),
        (r#"{"type": "mae", "delta": 1}"#, "unknown field `delta`"),
        (r#"{"type": "huber", "gamma": 1}"#, "unknown field `gamma`"),
    ] {
        refused(&with_loss(loss), words);
    }
}

#[test]
fn weights_of_another_number_of_classes_are_refused() {
    let loss = "{ type = \"softmax_cross_entropy\", class_weights = \"balanced\" }";
    let trained = trained(loss, "\"kind\"", 2);
    let mut definition: serde_json::Value =
        serde_json::from_slice(&trained.output("model.json")).unwrap();
    // 160 rows, of which 40 are rare.
    assert_eq!(definition["loss"]["class_weights"], serde_json::json!([2.0, 0.6666666666666666]));
    let model = trained.output("model.safetensors");
    for (weights, words) in [
        (serde_json::json!([1, 2, 3]), "the weights of the loss"),
        (serde_json::json!("balanced"), "a list with one number for each class"),
    ] {
        definition["loss"]["class_weights"] = weights;
        let definition = definition.to_string();
        let job = evaluation("\"kind\"").replace("[data]", "definition = \"m.json\"\n[data]");
        let rows = table(0..10);
        let files = [
            ("m.safetensors", &model[..]),
            ("m.json", definition.as_bytes()),
            ("t.csv", rows.as_bytes()),
        ];
        refused(&run(&job, &files), words);
    }
}

#[test]
fn weights_from_elsewhere_have_the_loss_that_the_job_says() {
    let weight: (&str, &[usize], &[f32]) = ("0.weight", &[1, 2], &[0.0; 2]);
    let zeros = crate::apply::weights(&[weight, ("0.bias", &[1], &[0.0])]);
    let with_loss = |loss: &str| {
        let start = format!("outputs = {{ targets = [\"y\"] }}\nloss = {loss}\n[data]");
        let job = evaluation("\"y\"").replace("[data]", &start)
            + "features = [\"a\", \"b\"]\n[model]\nlayers = [{ type = \"dense\", units = 1 }]";
        run(&job, &[("m.safetensors", &zeros), ("t.csv", b"a,b,y\n1,1,4\n")])
    };
    for (loss, expected) in
        [("\"huber\"", 3.5), ("{ type = \"huber\", delta = 2 }", 6.0), ("\"mse\"", 16.0)]
    {
        assert_eq!(with_loss(loss).summary().metrics["test_loss"], expected, "{loss}");
    }
    refused(&with_loss("{ type = \"huber\", delta = 0 }"), "start.loss, delta");
}

#[track_caller]
fn refused(served: &Served, words: &str) {
    let Some(Frame::Failed(failure)) = served.frames.last() else {
        panic!("the last frame is {:?}", served.frames.last());
    };
    assert!(failure.message.contains(words), "\"{words}\" is not in: {}", failure.message);
}
