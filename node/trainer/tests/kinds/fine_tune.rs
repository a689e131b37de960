//! Training that begins with a trained model: what is frozen keeps its bits, what is new learns,
//! and nothing depends on threads or on an interruption.

use std::fmt::Write;

use crate::apply::{trained, weights};
use crate::serving::{Served, npy, on_threads, refused, resumed, rows, run, tensor};

/// Two new kinds, told apart by the same columns.
fn new_kinds() -> String {
    let mut text = "b,a,colour,kind\n".to_owned();
    for n in 0..120_u32 {
        let (kind, colour) = (n % 2, ["red", "green", "blue"][(n / 3 % 3) as usize]);
        let noise = f64::from(n * 37 % 101) / 101.0;
        let (a, b) = (f64::from(kind) * 1.5 + noise, noise - f64::from(kind));
        writeln!(text, "{b},{a},{colour},{}", ["round", "flat"][kind as usize]).unwrap();
    }
    text
}

fn job(changes: &str, training: &str) -> String {
    format!(
        r#"
        kind = "fine_tune"
        [start]
        weights = "m.safetensors"
        [fine_tune]
        {changes}
        [data]
        source = "new.csv"
        label = "kind"
        test = {{ every = 4 }}
        [training]
        epochs = 12
        batch_size = 8
        loss = "softmax_cross_entropy"
        seed = 9
        checkpoint_every_epochs = 1
        checkpoint_min_seconds = 0
        optimizer = {{ type = "adam", learning_rate = 0.02 }}
        {training}
        "#
    )
}

const HEAD: &str = "replace_head = [{ type = \"dense\", units = 2 }]";

fn tuned(model: &[u8], changes: &str, training: &str) -> Served {
    run(&job(changes, training), &[("m.safetensors", model), ("new.csv", new_kinds().as_bytes())])
}

#[test]
fn frozen_layers_keep_their_bits_and_a_new_head_learns() {
    let old = trained().output("model.safetensors");
    let run = tuned(&old, &format!("{HEAD}\nfreeze = 4"), "");
    let new = run.output("model.safetensors");
    for name in ["0.weight", "0.bias", "2.weight", "2.bias"] {
        assert_eq!(tensor(&new, name), tensor(&old, name), "{name}");
    }
    assert_eq!(tensor(&new, "4.weight").0, [2, 6]);
    let accuracy = run.summary().metrics["test_accuracy"];
    assert!(accuracy >= 0.9, "{accuracy}");
    let definition: serde_json::Value = serde_json::from_str(&run.text("model.json")).unwrap();
    assert_eq!(definition["outputs"]["classes"], serde_json::json!(["flat", "round"]));
    let before: serde_json::Value = serde_json::from_str(&trained().text("model.json")).unwrap();
    for kept in ["scaling", "encoding", "feature_names"] {
        assert_eq!(definition[kept], before[kept], "{kept}");
    }

    let listed = tuned(&old, &format!("{HEAD}\nfreeze = [\"2 dense\"]"), "");
    let new = listed.output("model.safetensors");
    assert_eq!(tensor(&new, "2.weight"), tensor(&old, "2.weight"));
    assert_ne!(tensor(&new, "0.weight"), tensor(&old, "0.weight"));
    let whole = tuned(&old, HEAD, "").output("model.safetensors");
    assert_ne!(tensor(&whole, "2.weight"), tensor(&old, "2.weight"));
    let cut = tuned(
        &old,
        "replace_head = [{ type = \"activation\", function = \"tanh\" }, { type = \"dense\", \
         units = 2 }]\nhead_from = \"3 relu\"\nfreeze = 3",
        "",
    );
    let definition: serde_json::Value = serde_json::from_str(&cut.text("model.json")).unwrap();
    assert_eq!(definition["model"]["layers"][1], serde_json::json!({"type": "dense", "units": 6}));
    assert_eq!(definition["model"]["layers"][2]["function"], "tanh");
}

#[test]
fn an_interruption_and_threads_change_no_bit() {
    let old = trained().output("model.safetensors");
    let job = job(&format!("{HEAD}\nfreeze = 2"), "checkpoint_keep = 5");
    let text = new_kinds();
    let files = [("m.safetensors", &old[..]), ("new.csv", text.as_bytes())];
    let whole = run(&job, &files);
    let middle = &whole.checkpoints()[1];
    let rest = resumed(&job, &files, 1, Some(middle));
    let threads = on_threads(&job, &files, 3);
    for name in ["model.safetensors", "metrics.json"] {
        assert_eq!(rest.output(name), whole.output(name), "{name}");
        assert_eq!(threads.output(name), whole.output(name), "{name}");
    }
    // A state of the same job that froze less, or began with another model, is another's.
    let other = job.replace("freeze = 2", "freeze = 0");
    let message = format!("{:?}", resumed(&other, &files, 1, Some(middle)).frames.last());
    assert!(message.contains("BadCheckpoint"), "{message}");
    let mut altered = old.clone();
    *altered.last_mut().unwrap() ^= 1;
    let files = [("m.safetensors", &altered[..]), files[1]];
    let message = format!("{:?}", resumed(&job, &files, 1, Some(middle)).frames.last());
    assert!(message.contains("another job"), "{message}");
}

/// A head behind frozen layers learns as if it stood alone on what they give.
#[test]
fn a_frozen_beginning_is_the_features_it_gives() {
    let old = trained().output("model.safetensors");
    let text = new_kinds();
    let relabelled = text.replace("round", "small").replace("flat", "large");
    let sgd = "optimizer = { type = \"sgd\", learning_rate = 0.1, momentum = 0.9 }";
    let whole =
        job("freeze = 4", "").replace("optimizer = { type = \"adam\", learning_rate = 0.02 }", sgd);
    let files = [("m.safetensors", &old[..]), ("new.csv", relabelled.as_bytes())];
    let whole = run(&whole, &files).output("model.safetensors");

    let extract = "kind = \"extract\"\n[start]\nweights = \"m.safetensors\"\n[extract]\nlayer = 3\n\
                   [data]\nsource = \"new.csv\"";
    let features = run(extract, &files).output("features.npy");
    assert_eq!(npy(&features).0, "120, 6");
    let labels = rows(&relabelled);
    let labels: Vec<u8> = labels.iter().map(|row| u8::from(row[3] == "small")).collect();
    let mut array = b"\x93NUMPY\x01\x00".to_vec();
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (120,), }\n";
    array.extend((header.len() as u16).to_le_bytes());
    array.extend(header.as_bytes());
    array.extend(labels);
    // The class that no row has keeps its place by a weightless stand-in: two classes are enough.
    let (_, weight) = tensor(&old, "4.weight");
    let (_, bias) = tensor(&old, "4.bias");
    let head = weights(&[("0.weight", &[3, 6], &weight), ("0.bias", &[3], &bias)]);
    let alone = "kind = \"fine_tune\"\n[start]\nweights = \"h.safetensors\"\n[model]\nlayers = [{ \
                 type = \"dense\", units = 3 }]\n[data]\nsource = \"x.npy\"\nlabels = \"y.npy\"\n\
                 test = { every = 4 }\n[training]\nepochs = 12\nbatch_size = 8\nloss = \
                 \"softmax_cross_entropy\"\nseed = 9\n";
    // An own definition says that there are three classes.
    let message = refused(
        &format!("{alone}{sgd}"),
        &[("h.safetensors", &head), ("x.npy", &features), ("y.npy", &array)],
    );
    assert!(message.contains("3 outputs"), "{message}");
    let classes =
        alone.replace("[model]", "outputs = { classes = [\"0\", \"1\", \"2\"] }\n[model]");
    let head = run(
        &format!("{classes}{sgd}"),
        &[("h.safetensors", &head), ("x.npy", &features), ("y.npy", &array)],
    )
    .output("model.safetensors");
    for (alone, behind) in [("0.weight", "4.weight"), ("0.bias", "4.bias")] {
        assert_eq!(tensor(&head, alone), tensor(&whole, behind));
    }
    assert_ne!(tensor(&whole, "4.weight"), tensor(&old, "4.weight"));
}

#[test]
fn frozen_statistics_stay_and_only_a_beginning_can_freeze_them() {
    let first = r#"
        [model]
        layers = [
            { type = "dense", units = 6 },
            { type = "batch_norm" },
            { type = "dense", units = 2 },
        ]
        [data]
        source = "new.csv"
        label = "kind"
        features = ["a", "b"]
        [training]
        epochs = 3
        batch_size = 8
        loss = "softmax_cross_entropy"
        optimizer = { type = "adam", learning_rate = 0.02 }
    "#;
    let text = new_kinds();
    let old = run(first, &[("new.csv", text.as_bytes())]).output("model.safetensors");
    let files = [("m.safetensors", &old[..]), ("new.csv", text.as_bytes())];
    let new = run(&job("freeze = 2", ""), &files).output("model.safetensors");
    for name in ["1.running_mean", "1.running_var", "1.weight", "0.weight"] {
        assert_eq!(tensor(&new, name), tensor(&old, name), "{name}");
    }
    assert_ne!(tensor(&new, "2.weight"), tensor(&old, "2.weight"));
    let moving = run(&job("freeze = [0]", ""), &files).output("model.safetensors");
    assert_ne!(tensor(&moving, "1.running_mean"), tensor(&old, "1.running_mean"));
    let message = refused(&job("freeze = [1]", ""), &files);
    assert!(message.contains("layer 1 batch_norm has running statistics"), "{message}");
    assert!(refused(&job("freeze = 3", ""), &files).contains("nothing is left that learns"));
    assert!(refused(&job("freeze = 9", ""), &files).contains("no layer 8; it has 0 dense"));
    let message = refused(&job(&format!("{HEAD}\nfreeze = 3"), ""), &files);
    assert!(message.contains("2 dense is among the new ones"), "{message}");
    let message = refused(&job(&format!("{HEAD}\nhead_from = 0"), ""), &files);
    assert!(message.contains("kind = \"train\""), "{message}");
}

#[test]
fn classes_stay_where_the_head_does() {
    let old = trained().output("model.safetensors");
    let message = refused(
        &job("freeze = 2", ""),
        &[("m.safetensors", &old), ("new.csv", new_kinds().as_bytes())],
    );
    assert!(message.contains("which the model was not trained on"), "{message}");
}
