//! Evaluation, inference and extraction with a model of a table: by one file, with other columns
//! beside those it knows, in every format.

use std::fmt::Write;

use cyxwiz_trainer::frames::Frame;

use crate::serving::{Served, npy, on_threads, refused, rows, run, tensor};

/// Three classes that lie apart in two numbers and a colour; every ninth number is missing.
fn table(first: u32, count: u32) -> String {
    let mut text = "a,colour,b,kind\n".to_owned();
    for n in first..first + count {
        let (kind, colour) = (n % 3, ["red", "green", "blue"][(n / 3 % 3) as usize]);
        let noise = f64::from(n * 37 % 101) / 101.0;
        let a = if n % 9 == 4 { String::new() } else { (f64::from(kind) + noise).to_string() };
        let b = f64::from(kind * 2 % 3) - noise;
        let kind = ["small", "large", "very, very large"][kind as usize];
        writeln!(text, "{a},{colour},{b},\"{kind}\"").unwrap();
    }
    text
}

pub(crate) fn trained() -> Served {
    run(
        r#"
        [model]
        layers = [
            { type = "dense", units = 8, activation = "tanh" },
            { type = "dense", units = 6, activation = "relu" },
            { type = "dense", units = 3 },
        ]
        [data]
        source = "t.csv"
        label = "kind"
        one_hot = ["colour"]
        missing = "mean"
        normalize = "standard"
        [training]
        epochs = 30
        batch_size = 16
        loss = "softmax_cross_entropy"
        seed = 5
        optimizer = { type = "adam", learning_rate = 0.02 }
        "#,
        &[("t.csv", table(0, 180).as_bytes())],
    )
}

/// New rows with a name each, columns in another order, and one that the model does not know.
fn other_rows(labelled: bool) -> String {
    let mut text = if labelled { "kind,".to_owned() } else { String::new() };
    text.push_str("b,number,weather,colour,a\n");
    for (index, row) in rows(&table(1000, 70)).iter().enumerate() {
        let [a, colour, b, kind] = &row[..] else { panic!("{row:?}") };
        if labelled {
            write!(text, "\"{kind}\",").unwrap();
        }
        writeln!(text, "{b},n{index},rain,{colour},{a}").unwrap();
    }
    text
}

fn job(kind: &str, data: &str, more: &str) -> String {
    format!("kind = \"{kind}\"\n[start]\nweights = \"m.safetensors\"\n[data]\n{data}\n{more}")
}

fn applied(model: &[u8], kind: &str, data: &str, more: &str) -> Served {
    let (labelled, bare) = (other_rows(true), other_rows(false));
    let files =
        [("m.safetensors", model), ("l.csv", labelled.as_bytes()), ("u.csv", bare.as_bytes())];
    on_threads(&job(kind, data, more), &files, 2)
}

#[test]
fn what_is_predicted_is_what_is_evaluated() {
    let model = trained().output("model.safetensors");
    let scores = applied(&model, "evaluate", "source = \"l.csv\"\nlabel = \"kind\"", "");
    let metrics = scores.summary().metrics.clone();
    let names: Vec<&str> = metrics.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["test_accuracy", "test_f1", "test_loss", "test_precision", "test_recall", "test_rows",]
    );
    let said = applied(&model, "infer", "source = \"u.csv\"\nid = \"number\"", "");
    let text = said.text("predictions.csv");
    let header = "row,id,predicted,probability_large,probability_small,\"probability_very, very \
                  large\"";
    assert_eq!(text.lines().next(), Some(header));
    let truth = rows(&table(1000, 70));
    let (mut right, mut loss) = (0, 0.0);
    for (index, (row, truth)) in rows(&text).iter().zip(&truth).enumerate() {
        assert_eq!((&row[0], &row[1]), (&index.to_string(), &format!("n{index}")));
        right += u32::from(row[2] == truth[3]);
        let chances: Vec<f64> = row[3..].iter().map(|text| text.parse().unwrap()).collect();
        assert!((chances.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{chances:?}");
        let class = ["large", "small", "very, very large"].iter().position(|it| *it == truth[3]);
        loss -= chances[class.unwrap()].ln() / 70.0;
    }
    assert_eq!(metrics["test_accuracy"], f64::from(right) / 70.0);
    assert!((metrics["test_loss"] - loss).abs() < 1e-5, "{} {loss}", metrics["test_loss"]);
    assert!(right >= 60, "the model has learnt: {right} of 70");
    let file: serde_json::Value = serde_json::from_str(&scores.text("metrics.json")).unwrap();
    let counts: Vec<Vec<u32>> =
        serde_json::from_value(file["confusion"]["counts"].clone()).unwrap();
    assert_eq!(counts.iter().flatten().sum::<u32>(), 70);
    assert_eq!((0..3).map(|class| counts[class][class]).sum::<u32>(), right);
    assert_eq!(file["metrics"]["test_rows"], 70.0);
    assert!(file.get("history").is_none());
}

#[test]
fn formats_batches_and_threads_change_no_number() {
    let model = trained().output("model.safetensors");
    let data = "source = \"u.csv\"";
    let one = applied(&model, "infer", data, "").output("predictions.csv");
    let small = applied(&model, "infer", data, "[infer]\nbatch_size = 3");
    assert_eq!(small.output("predictions.csv"), one);
    let Some(Frame::Started(started)) = small.frames.get(1) else { panic!("{:?}", small.frames) };
    assert_eq!((started.test_rows, started.epochs, started.batches_per_epoch), (70, 1, 24));
    let last = small.frames.iter().rfind(|frame| matches!(frame, Frame::Progress(_)));
    let Some(Frame::Progress(last)) = last else { panic!("{:?}", small.frames) };
    assert_eq!((last.samples_processed, last.batch, last.eta_ms), (70, 24, Some(0)));
    let bare = other_rows(false);
    let files = [("m.safetensors", &model[..]), ("u.csv", bare.as_bytes())];
    let threads = on_threads(&job("infer", data, ""), &files, 3);
    assert_eq!(threads.output("predictions.csv"), one);

    let array = applied(&model, "infer", data, "[infer]\nformat = \"npy\"");
    let (shape, values) = npy(&array.output("predictions.npy"));
    assert_eq!(shape, "70, 3");
    let from_text: Vec<f32> = rows(std::str::from_utf8(&one).unwrap())
        .iter()
        .flat_map(|row| row[2..].iter().map(|text| text.parse().unwrap()).collect::<Vec<f32>>())
        .collect();
    assert_eq!(values, from_text);

    // A table that was written is one that can be read: its numbers are the features of a model.
    let table = applied(&model, "infer", data, "[infer]\nformat = \"parquet\"");
    let bytes = table.output("predictions.parquet");
    let layers = "[model]\nlayers = [{ type = \"dense\", units = 3 }]";
    let data = "source = \"p.parquet\"\nid = \"predicted\"\nfeatures = [\"probability_large\", \
                \"probability_small\", \"probability_very, very large\"]";
    let more = format!("{layers}\n[extract]\nlayer = 0\nformat = \"csv\"");
    let identity = weights(&[
        ("0.weight", &[3, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]),
        ("0.bias", &[3], &[0.0; 3]),
    ]);
    let files = [("m.safetensors", &identity[..]), ("p.parquet", &bytes[..])];
    let again = run(&job("extract", data, &more), &files).text("features.csv");
    let read: Vec<f32> = rows(&again)
        .iter()
        .flat_map(|row| row[2..].iter().map(|text| text.parse().unwrap()).collect::<Vec<f32>>())
        .collect();
    assert_eq!(read, values);
}

/// A safetensors file that says nothing of itself, as PyTorch's users make them.
pub(crate) fn weights(tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let bytes: Vec<(&str, &[usize], Vec<u8>)> = tensors
        .iter()
        .map(|(name, shape, values)| {
            (*name, *shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let dtype = safetensors::Dtype::F32;
        (*name, safetensors::tensor::TensorView::new(dtype, shape.to_vec(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn a_layer_in_the_middle_gives_what_the_head_takes() {
    let model = trained().output("model.safetensors");
    let data = "source = \"u.csv\"";
    let taken = applied(&model, "extract", data, "[extract]\nlayer = 3");
    let (shape, features) = npy(&taken.output("features.npy"));
    assert_eq!(shape, "70, 6");
    let named = applied(&model, "extract", data, "[extract]\nlayer = \"3 relu\"");
    assert_eq!(named.output("features.npy"), taken.output("features.npy"));
    let last = applied(&model, "extract", data, "[extract]\nlayer = 4");
    let (shape, logits) = npy(&last.output("features.npy"));
    assert_eq!(shape, "70, 3");
    let (_, weight) = tensor(&model, "4.weight");
    let (_, bias) = tensor(&model, "4.bias");
    let (_, chances) =
        npy(&applied(&model, "infer", data, "[infer]\nformat = \"npy\"").output("predictions.npy"));
    for row in 0..70 {
        let mut powers = [0.0_f64; 3];
        for class in 0..3 {
            let products = (0..6).map(|index| {
                f64::from(features[row * 6 + index]) * f64::from(weight[class * 6 + index])
            });
            let logit = products.sum::<f64>() + f64::from(bias[class]);
            assert!((logit - f64::from(logits[row * 3 + class])).abs() < 1e-5);
            powers[class] = logit.exp();
        }
        for class in 0..3 {
            let chance = powers[class] / powers.iter().sum::<f64>();
            assert!((chance - f64::from(chances[row * 3 + class])).abs() < 1e-5);
        }
    }
}

#[test]
fn two_files_are_as_good_as_one() {
    let trained = trained();
    let (model, definition) = (trained.output("model.safetensors"), trained.output("model.json"));
    let whole = safetensors::SafeTensors::deserialize(&model).unwrap();
    let bare = safetensors::serialize(whole.tensors(), None).unwrap();
    let text = other_rows(false);
    let files = [("m.safetensors", &bare[..]), ("m.json", &definition), ("u.csv", text.as_bytes())];
    let job = job("infer", "source = \"u.csv\"", "");
    let two = run(&job.replace("[data]", "definition = \"m.json\"\n[data]"), &files);
    let one = run(&job, &[("m.safetensors", &model), ("u.csv", text.as_bytes())]);
    assert_eq!(two.output("predictions.csv"), one.output("predictions.csv"));
    let message = refused(&job, &files);
    assert!(message.contains("m.safetensors does not say what its weights are"), "{message}");
    let both = format!("{job}\n[model]\nlayers = [{{ type = \"dense\", units = 3 }}]");
    let message = refused(
        &both.replace("[data]", "outputs = { targets = [\"a\"] }\n[data]"),
        &[("m.safetensors", &model), ("u.csv", text.as_bytes())],
    );
    assert!(message.contains("m.safetensors says itself"), "{message}");
}

#[test]
fn a_regression_and_yes_or_no_are_written_as_such() {
    let weights = weights(&[("0.weight", &[2, 1], &[2.0, -1.0]), ("0.bias", &[2], &[0.5, 0.0])]);
    let layers = "[model]\nlayers = [{ type = \"dense\", units = 2 }]";
    let files = [("m.safetensors", &weights[..]), ("u.csv", b"x\n1\n-2\n")];
    let said = |start: &str| {
        let job = job("infer", "source = \"u.csv\"\nscale = 0.5", layers);
        run(&job.replace("[data]", &format!("{start}\n[data]")), &files).text("predictions.csv")
    };
    assert_eq!(
        said("outputs = { targets = [\"y\", \"z\"] }"),
        "row,predicted_y,predicted_z\n0,1.5,-0.5\n1,-1.5,1\n"
    );
    let yes = said("loss = \"binary_cross_entropy\"\noutputs = { targets = [\"y\", \"z\"] }");
    let lines: Vec<&str> = yes.lines().collect();
    assert_eq!(lines[0], "row,predicted_y,probability_y,predicted_z,probability_z");
    assert_eq!(lines[1], "0,1,0.8175745,0,0.37754068");
    let classes = said("outputs = { classes = [\"y\", \"z\"] }");
    assert_eq!(classes.lines().nth(2), Some("1,z,0.07585818,0.9241418"));
}
