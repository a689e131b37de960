//! What a stranger may hand in as a trained model, and tables that mean nothing to a kind.

use crate::apply::{trained, weights};
use crate::serving::{refused, run};

const INFER: &str =
    "kind = \"infer\"\n[start]\nweights = \"m.safetensors\"\n[data]\nsource = \"u.csv\"\n";
const ROWS: &[u8] = b"a,colour,b\n1,red,2\n";

/// With the metadata's text changed.
fn redefined(model: &[u8], change: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    let (_, header) = safetensors::SafeTensors::read_metadata(model).unwrap();
    let text = &header.metadata().as_ref().unwrap()["cyxwiz"];
    let mut definition: serde_json::Value = serde_json::from_str(text).unwrap();
    change(&mut definition);
    let tensors = safetensors::SafeTensors::deserialize(model).unwrap().tensors();
    let texts = [("cyxwiz".to_owned(), definition.to_string())].into();
    safetensors::serialize(tensors, Some(texts)).unwrap()
}

#[track_caller]
fn says(model: &[u8], words: &str) {
    let message = refused(INFER, &[("m.safetensors", model), ("u.csv", ROWS)]);
    assert!(message.contains(words), "\"{words}\" is not in: {message}");
    assert!(!message.contains("bug"), "{message}");
}

#[test]
fn a_file_of_weights_is_not_believed() {
    let model = trained().output("model.safetensors");
    says(b"", "m.safetensors is damaged");
    says(&u64::MAX.to_le_bytes(), "m.safetensors is damaged");
    let header = u64::from_le_bytes(model[..8].try_into().unwrap()) as usize;
    let mut long = model.clone();
    long[..8].copy_from_slice(&(header as u64 * 1000).to_le_bytes());
    says(&long, "m.safetensors is damaged");
    says(&model[..model.len() - 4], "m.safetensors is damaged");
    let lie =
        br#"{"0.weight":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#;
    says(&[&(lie.len() as u64).to_le_bytes(), &lie[..]].concat(), "m.safetensors is damaged");
    let mut nan = model.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    says(&nan, "holds values that are not finite");
    says(b"PK\x03\x04 a pickle of PyTorch", "m.safetensors is damaged");
}

#[test]
fn a_definition_is_not_believed() {
    let model = trained().output("model.safetensors");
    let set = |path: &'static str, value: serde_json::Value| {
        redefined(&model, |definition| *definition.pointer_mut(path).unwrap() = value.clone())
    };
    says(&set("/format_version", 99.into()), "has format version 99");
    says(&set("/format_version", "x".into()), "does not parse");
    says(&set("/loss", "guess".into()), "unknown variant `guess`");
    says(&redefined(&model, |it| it["extra"] = 1.into()), "unknown field `extra`");
    says(&set("/scaling/factor/0", 1e300.into()), "number out of range");
    says(&set("/scaling/factor", vec![1.0].into()), "contradicts itself");
    says(&set("/input_shape", vec![u64::MAX, 2].into()), "contradicts itself");
    says(&set("/outputs/classes", vec!["only"].into()), "contradicts itself");
    says(&set("/model/layers/1/units", 7.into()), "\"2.weight\" has the shape [6, 8]");
    says(&set("/model/layers/1/units", 0.into()), "out of range");
    says(&set("/model/layers/1/units", 65_536.into()), "does not fit the layers");
    let mut deep = serde_json::json!({"type": "dense", "units": 5});
    for _ in 0..9 {
        deep = serde_json::json!({"type": "residual", "layers": [deep]});
    }
    says(&set("/model/layers/0", deep.clone()), "depth");
    for _ in 0..60 {
        deep = serde_json::json!({"type": "residual", "layers": [deep]});
    }
    says(&set("/model/layers/0", deep), "m.safetensors does not parse");
    says(
        &redefined(&model, |definition| {
            definition["model"]["layers"].as_array_mut().unwrap().pop();
        }),
        "contradicts itself",
    );
    let huge = redefined(&model, |definition| {
        definition["model"]["layers"][0]["units"] = 65_536.into();
        definition["model"]["layers"][1]["units"] = 65_536.into();
    });
    says(&huge, "parameters");
}

#[test]
fn any_damage_is_a_fault_with_words_or_none_at_all() {
    let model = trained().output("model.safetensors");
    let length = model.len();
    for place in (0..length).step_by(length / 150) {
        for flip in [0x01, 0x80] {
            let mut bytes = model.clone();
            bytes[place] ^= flip;
            let ended = run(INFER, &[("m.safetensors", &bytes), ("u.csv", ROWS)]);
            let last = format!("{:?}", ended.frames.last());
            assert!(!last.contains("bug") && !last.contains("Internal"), "{place}: {last}");
        }
    }
}

#[test]
fn every_tensor_that_does_not_fit_is_named() {
    let job = format!(
        "{}\n[model]\nlayers = [{{ type = \"dense\", units = 2 }}, {{ type = \"batch_norm\" }}]\n",
        INFER.replace("[data]", "outputs = { classes = [\"x\", \"y\"] }\n[data]\nid = \"colour\"")
    );
    let tensors: [(&str, &[usize], &[f32]); 6] = [
        ("0.weight", &[2, 3], &[0.0; 6]),
        ("0.bias", &[2], &[0.0; 2]),
        ("1.weight", &[2], &[0.0; 2]),
        ("1.running_mean", &[2], &[0.0; 2]),
        ("1.num_batches_tracked", &[], &[0.0]),
        ("head.bias", &[1], &[0.0]),
    ];
    let message = refused(&job, &[("m.safetensors", &weights(&tensors)), ("u.csv", ROWS)]);
    for words in [
        "\"0.weight\" has the shape [2, 3], the layer needs [2, 2]",
        "\"1.bias\" is missing",
        "\"1.running_var\" is missing",
        "\"head.bias\" is of no layer",
    ] {
        assert!(message.contains(words), "\"{words}\" is not in: {message}");
    }
    assert!(!message.contains("num_batches"), "{message}");
}

#[test]
fn what_a_kind_does_not_have_is_refused_by_name() {
    let training = "[training]\nepochs = 1\nbatch_size = 1\nloss = \"mse\"\noptimizer = { type = \
                    \"sgd\", learning_rate = 0.1 }\n";
    let start = "[start]\nweights = \"m.safetensors\"\n";
    let data = "[data]\nsource = \"u.csv\"\n";
    for (job, words) in [
        (format!("{INFER}{training}"), "kind = \"infer\" has no [training] table: remove it"),
        (format!("{INFER}[extract]\nlayer = 1"), "kind = \"infer\" has no [extract] table"),
        (format!("kind = \"infer\"\n{data}"), "kind = \"infer\" needs a [start] table"),
        (
            format!("kind = \"extract\"\n{start}{data}"),
            "kind = \"extract\" needs a [extract] table",
        ),
        (format!("{data}{training}"), "kind = \"train\" needs a [model] table"),
        (format!("{start}{data}{training}"), "kind = \"train\" has no [start] table"),
        (format!("kind = \"fine_tune\"\n{start}{data}"), "needs a [training] table"),
        (format!("{INFER}label = \"b\""), "data.label: kind = \"infer\" reads no targets"),
        (format!("{INFER}test = {{ every = 5 }}"), "data.test: kind = \"infer\" takes every row"),
        (format!("{INFER}validation = 0.1"), "data.validation: kind = \"infer\" takes every row"),
        (format!("{INFER}normalize = \"standard\""), "learns nothing from its rows"),
        (format!("{INFER}scale = 0.5"), "data.scale: the model brings its own scaling"),
        (format!("{INFER}missing = \"drop_row\""), "has an answer for every row"),
        (format!("{INFER}[infer]\nbatch_size = 0"), "infer.batch_size: 0 is out of range"),
        (format!("{INFER}[infer]\nform = \"csv\""), "unknown field `form`"),
        (format!("{INFER}[infer]\nformat = \"xls\""), "unknown variant `xls`"),
        (INFER.replace(".safetensors", ".pt"), "\"m.pt\" is no .safetensors file"),
        (INFER.replace("\"m.s", "\"../m.s"), "is not a plain file name"),
        (INFER.replace("[data]", "definition = \"a/b\"\n[data]"), "is not a plain file name"),
        (INFER.replace("[data]", "loss = \"mse\"\n[data]"), "the model itself says its loss"),
        (
            format!("{INFER}[model]\nlayers = [{{ type = \"dense\", units = 1 }}]"),
            "start.outputs: kind = \"infer\" with [model] layers needs it",
        ),
        (INFER.replace("infer", "evaluate"), "needs `label`"),
        (format!("{INFER}id = \"a\"\nfeatures = [\"a\"]"), "\"a\" names the rows"),
    ] {
        let message = refused(&job, &[("u.csv", ROWS)]);
        assert!(message.contains(words), "\"{words}\" is not in: {message}\n{job}");
    }
}
