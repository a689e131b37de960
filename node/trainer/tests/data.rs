//! Data of every format, read right: the same numbers give the same model whatever file they come
//! from; gaps and texts are encoded by what the training rows teach, and the model remembers how.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "data/files.rs"]
mod files;

use cyxwiz_trainer::{ColumnEncoding, CpuEngine, Encoding, Workload, evaluate};
use files::*;
use parquet::basic::{Compression, GzipLevel};

/// Twelve rows of four whole numbers from 0 to 250, and their classes 0, 1 and 2.
fn rows() -> (Vec<u8>, Vec<u8>) {
    let features = (0..48_u32).map(|index| (index * 37 % 251) as u8).collect();
    (features, (0..12).map(|row| row % 3).collect())
}

fn csv_of(features: &[u8], classes: &[u8]) -> String {
    let mut text = "a,b,c,d,kind\n".to_owned();
    for (row, class) in features.chunks(4).zip(classes) {
        let fields: Vec<String> = row.iter().map(u8::to_string).collect();
        text += &format!("{},{class}\n", fields.join(","));
    }
    text
}

const REST: &str = "normalize = \"standard\"\ntest = {every = 4}\nvalidation = 0.2";

#[test]
fn the_same_numbers_give_the_same_weights_from_every_format() {
    let (features, labels) = rows();
    let table = csv_of(&features, &labels);
    let data = |keys: &str| classes(3, &format!("{keys}\n{REST}"));
    let csv = data("source = \"d.csv\"\nlabel = \"kind\"");
    let (_, expected) = trained(&csv, &[("d.csv", table.as_bytes())]);

    let packed = data("source = \"d.csv.gz\"\nlabel = \"kind\"");
    let same = |found: Vec<u8>, what: &str| assert!(found == expected, "{what} differs");
    same(trained(&packed, &[("d.csv.gz", &gzip(table.as_bytes()))]).1, "csv.gz");

    let values: Vec<f32> = features.iter().map(|&value| f32::from(value)).collect();
    let (x, y) = (npy("<f4", "12, 4", &floats(&values)), npy("|u1", "12,", &labels));
    let arrays = data("source = \"x.npy\"\nlabels = \"y.npy\"");
    same(trained(&arrays, &[("x.npy", &x), ("y.npy", &y)]).1, "npy");

    for (keys, entries) in [
        ("", [("x.npy", &x), ("y.npy", &y)]),
        ("", [("images.npy", &x), ("marks.npy", &y)]),
        ("label = \"marks\"", [("marks.npy", &y), ("points.npy", &x)]),
        ("features = [\"q\"]\nlabel = \"p\"", [("p.npy", &y), ("q.npy", &x)]),
    ] {
        let archive = zipped(&entries.map(|(name, bytes)| (name, bytes.as_slice())));
        let named = data(&format!("source = \"d.npz\"\n{keys}"));
        same(trained(&named, &[("d.npz", &archive)]).1, "npz");
    }

    let (images, marks) = (idx(&[12, 2, 2], &features), idx(&[12], &labels));
    let plain = data("source = \"t-images-idx3-ubyte\"\nlabels = \"t-labels-idx1-ubyte\"");
    let files: Files<'_> = &[("t-images-idx3-ubyte", &images), ("t-labels-idx1-ubyte", &marks)];
    same(trained(&plain, files).1, "idx");
    let packed = data("source = \"x.idx.gz\"\nlabels = \"y.idx.gz\"");
    let (images, marks) = (gzip(&images), gzip(&marks));
    same(trained(&packed, &[("x.idx.gz", &images), ("y.idx.gz", &marks)]).1, "idx.gz");

    let column = |column: usize| {
        let cells = features.iter().skip(column).step_by(4);
        cells.map(|&value| Some(f64::from(value))).collect::<Vec<_>>()
    };
    let kinds = ["red", "green", "blue"];
    let integers = column(1).into_iter().map(|value| value.map(|value| value as i64));
    let columns = [
        ("a", Column::Doubles(column(0))),
        ("b", Column::Integers(integers.collect())),
        ("kind", Column::Integers(labels.iter().map(|&class| Some(class.into())).collect())),
        ("c", Column::Doubles(column(2))),
        ("unused", Column::Texts((0..12).map(|row| Some(kinds[row % 3])).collect())),
        ("d", Column::Doubles(column(3))),
    ];
    for (group, compression) in [
        (12, Compression::UNCOMPRESSED),
        (5, Compression::SNAPPY),
        (1, Compression::GZIP(GzipLevel::default())),
        (7, Compression::LZ4_RAW),
    ] {
        let table = data(
            "source = \"d.parquet\"\nlabel = \"kind\"\nfeatures = [\"a\", \"b\", \"c\", \"d\"]",
        );
        let file = parquet(&columns, group, compression);
        same(trained(&table, &[("d.parquet", &file)]).1, &format!("parquet {compression}"));
    }
}

#[test]
fn images_are_rows_of_channels_height_and_width() {
    let (features, labels) = rows();
    let folders = ["ant", "bee", "cat"];
    let names: Vec<String> =
        (0..12).map(|row| format!("set/{}/{row:02}.png", folders[row % 3])).collect();
    let pictures: Vec<Vec<u8>> = features
        .chunks(4)
        .map(|points| png(2, 2, points.iter().flat_map(|&value| [value; 3]).collect()))
        .collect();
    let mut entries: Vec<(&str, &[u8])> =
        names.iter().map(String::as_str).zip(pictures.iter().map(Vec::as_slice)).collect();
    entries.push(("set/.DS_Store", b"noise"));
    entries.push(("__MACOSX/set/ant/._00.png", b"noise"));
    entries.reverse();
    let archive = zipped(&entries);
    // Rows are in the order of names, folder by folder.
    let mut order: Vec<usize> = (0..12).collect();
    order.sort_by_key(|&row| &names[row]);
    let sorted: Vec<u8> =
        order.iter().flat_map(|&row| features[row * 4..][..4].iter().copied()).collect();
    let sorted_labels: Vec<u8> = order.iter().map(|&row| labels[row]).collect();

    let grey = format!("source = \"d.zip\"\nimages = {{size = [2, 2], channels = 1}}\n{REST}");
    let (model, weights) = trained(&classes(3, &grey), &[("d.zip", &archive)]);
    assert_eq!(model.file().outputs.names(), folders);
    let known = Encoding::Images { channels: 1, height: 2, width: 2 };
    assert_eq!(model.file().encoding, Some(known));
    let table = csv_of(&sorted, &sorted_labels);
    let csv = format!("source = \"d.csv\"\nlabel = \"kind\"\n{REST}");
    let (_, expected) = trained(&classes(3, &csv), &[("d.csv", table.as_bytes())]);
    assert!(weights == expected, "the same points, the same weights");

    let colour = "source = \"d.zip\"\nimages = {size = [3, 5], channels = 3}";
    let red = [250, 0, 0].repeat(64);
    let blue = [0, 0, 250].repeat(35);
    let two = zipped(&[("red/1.jpg", &jpeg(8, 8, red)), ("blue/1.JPEG", &jpeg(5, 7, blue))]);
    let data = format!("{colour}\nnormalize = \"min_max\"");
    let (model, _) = trained(&classes(2, &data), &[("d.zip", &two)]);
    let offset = &model.file().scaling.offset;
    assert_eq!(offset.len(), 3 * 3 * 5);
    let factor = &model.file().scaling.factor;
    // Per channel, rows of one: red and blue go from about 0 to about 250, green stays.
    for place in 0..15 {
        assert!((1.0 / factor[place] - 250.0).abs() < 6.0, "{factor:?}");
        assert!(offset[15 + place] < 6.0, "{offset:?}");
        assert!((1.0 / factor[30 + place] - 250.0).abs() < 6.0, "{factor:?}");
    }
}

const GAPS: &str = "a,colour,b,kind\n1,red,10,x\nNA,blue,20,y\n3,red,,x\n5,,40,y\n7,green,50,y\n";

fn gaps(keys: &str) -> String {
    classes(2, &format!("source = \"d.csv\"\nlabel = \"kind\"\none_hot = [\"colour\"]\n{keys}"))
}

#[test]
fn gaps_are_filled_by_what_the_training_rows_teach() {
    let files: Files<'_> = &[("d.csv", GAPS.as_bytes())];
    // Row 0 is for testing: neither its 1 nor its 10 counts.
    let text = gaps("missing = \"mean\"\ntest = {every = 5}");
    let model = model_file(&text, files);
    let names = ["a", "colour=blue", "colour=green", "colour=red", "b"];
    assert_eq!(model.feature_names, names);
    let number = |name: &str, missing| ColumnEncoding::Number { name: name.to_owned(), missing };
    let categories = ["blue", "green", "red"].map(str::to_owned).to_vec();
    let one_hot = ColumnEncoding::OneHot { name: "colour".to_owned(), categories };
    let columns = vec![number("a", Some(5.0)), one_hot, number("b", Some(110.0 / 3.0))];
    assert_eq!(model.encoding, Some(Encoding::Columns { columns }));

    let fills = |keys: &str| match model_file(&gaps(keys), files).encoding {
        Some(Encoding::Columns { columns }) => columns[0].clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(fills("missing = \"zero\""), number("a", Some(0.0)));
    assert_eq!(fills("missing = {value = -1.5}"), number("a", Some(-1.5)));
    let plan = check(&gaps("missing = \"drop_row\""), files).unwrap();
    assert_eq!((plan.train_rows, plan.features), (2, 4), "red and green are left");
    refused(&gaps(""), files, &["d.csv line 3", "\"a\"", "NA", "data.missing"]);
    let whole = GAPS.replace("NA", "2");
    refused(&gaps(""), &[("d.csv", whole.as_bytes())], &["line 4", "\"b\"", "empty"]);
    let whole = whole.replace("3,red,,", "3,red,30,");
    refused(&gaps(""), &[("d.csv", whole.as_bytes())], &["line 5", "\"colour\"", "empty"]);
    let never = "a,b,kind\n1,,x\n2,,y\n3,,x\n";
    let text = classes(2, "source = \"d.csv\"\nlabel = \"kind\"\nmissing = \"mean\"");
    refused(&text, &[("d.csv", never.as_bytes())], &["\"b\"", "no mean"]);
    let text = text.replace("mean", "drop_row");
    refused(&text, &[("d.csv", never.as_bytes())], &["each of its 3 rows"]);
}

#[test]
fn a_category_that_training_rows_do_not_have_is_none_of_them() {
    // Green is in row 4 only, which is for testing with row 0 and row 2.
    let text = gaps("missing = \"zero\"\ntest = {every = 2}");
    let model = model_file(&text, &[("d.csv", GAPS.as_bytes())]);
    assert_eq!(model.feature_names, ["a", "colour=blue", "b"]);
}

#[test]
fn a_missing_target_is_dropped_or_refused() {
    let table = "a,kind\n1,x\n2,\n3,y\n4,x\n";
    let text = |keys: &str| classes(2, &format!("source = \"d.csv\"\nlabel = \"kind\"\n{keys}"));
    let files: Files<'_> = &[("d.csv", table.as_bytes())];
    refused(&text("missing = \"mean\""), files, &["line 3", "\"kind\"", "target"]);
    let plan = check(&text("missing = \"drop_row\""), files).unwrap();
    assert_eq!((plan.train_rows, plan.outputs), (3, 2));
    let values = "a,b\n1,2\n2,NA\n,4\n4,5\n";
    let files: Files<'_> = &[("d.csv", values.as_bytes())];
    let text = job(1, "mse", "source = \"d.csv\"\nlabel = \"b\"\nmissing = \"drop_row\"");
    assert_eq!(check(&text, files).unwrap().train_rows, 2);
    refused(&text.replace("drop_row", "zero"), files, &["line 3", "\"b\"", "target"]);
    // A class whose rows are all dropped is no class.
    let table = "a,kind\n1,x\n2,y\n,z\n4,x\n";
    let text = classes(2, "source = \"d.csv\"\nlabel = \"kind\"\nmissing = \"drop_row\"");
    assert_eq!(check(&text, &[("d.csv", table.as_bytes())]).unwrap().outputs, 2);
}

#[test]
fn a_saved_model_encodes_new_rows_as_it_was_taught() {
    let (inputs, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let workload: Workload = toml::from_str(&gaps("missing = \"mean\"")).unwrap();
    std::fs::write(inputs.path().join("d.csv"), GAPS).unwrap();
    train_into(&workload, inputs.path(), output.path());
    let engine = &mut CpuEngine::new(1).unwrap();
    let first = evaluate(output.path(), &workload, inputs.path(), engine).unwrap();
    // The same rows beside others: a new colour, and other means were it to learn them again.
    let more = format!("{GAPS}999,violet,999,x\n,,,y\n");
    std::fs::write(inputs.path().join("d.csv"), more).unwrap();
    let mut split = workload.clone();
    split.data.test = None;
    let second = evaluate(output.path(), &split, inputs.path(), engine).unwrap();
    assert_ne!(first["test_loss"], second["test_loss"]);
    // One class alone is enough to be judged; one that was never learnt is not.
    let only = "a,colour,b,kind\n1,red,10,y\n";
    std::fs::write(inputs.path().join("d.csv"), only).unwrap();
    assert!(evaluate(output.path(), &split, inputs.path(), engine).is_ok());
    std::fs::write(inputs.path().join("d.csv"), only.replace('y', "z")).unwrap();
    let error = evaluate(output.path(), &split, inputs.path(), engine).unwrap_err();
    assert!(error.to_string().contains("label \"z\""), "{error}");
    let renamed = GAPS.replace("a,colour", "z,colour");
    std::fs::write(inputs.path().join("d.csv"), renamed).unwrap();
    let error = evaluate(output.path(), &workload, inputs.path(), engine).unwrap_err();
    assert!(error.to_string().contains("columns that the model was trained on"), "{error}");
}

#[test]
fn gaps_in_parquet_and_arrays_follow_the_same_policy() {
    let columns = [
        ("a", Column::Doubles(vec![Some(1.0), None, Some(f64::NAN), Some(3.0)])),
        ("on", Column::Booleans(vec![Some(true), Some(false), None, Some(true)])),
        ("kind", Column::Texts(vec![Some("x"), Some("y"), Some("x"), Some("y")])),
    ];
    let file = parquet(&columns, 3, Compression::SNAPPY);
    let text =
        |keys: &str| classes(2, &format!("source = \"d.parquet\"\nlabel = \"kind\"\n{keys}"));
    let files: Files<'_> = &[("d.parquet", &file)];
    refused(&text(""), files, &["d.parquet row 1", "\"a\"", "empty"]);
    let model = model_file(&text("missing = \"mean\""), files);
    let number = |name: &str, missing| ColumnEncoding::Number { name: name.to_owned(), missing };
    let columns = vec![number("a", Some(2.0)), number("on", Some(2.0 / 3.0))];
    assert_eq!(model.encoding, Some(Encoding::Columns { columns }));
    assert_eq!(check(&text("missing = \"drop_row\""), files).unwrap().train_rows, 2);
    let one_hot = model_file(&text("missing = \"zero\"\none_hot = [\"on\"]"), files);
    assert_eq!(one_hot.feature_names, ["a", "on=0", "on=1"]);

    let x = npy("<f4", "3, 2", &floats(&[1.0, f32::NAN, 3.0, 4.0, 5.0, 6.0]));
    let y = npy("|u1", "3,", &[0, 1, 0]);
    let files: Files<'_> = &[("x.npy", &x), ("y.npy", &y)];
    let text = |keys: &str| classes(2, &format!("source = \"x.npy\"\nlabels = \"y.npy\"\n{keys}"));
    refused(&text(""), files, &["row 0, value 1", "NaN", "data.missing"]);
    let model = model_file(&text("missing = \"mean\""), files);
    assert_eq!(model.encoding, Some(Encoding::Numbers { missing: vec![3.0, 5.0] }));
    assert_eq!(check(&text("missing = \"drop_row\""), files).unwrap().train_rows, 2);
}

#[test]
fn a_shape_must_hold_the_features() {
    let (features, labels) = rows();
    let table = csv_of(&features, &labels);
    let files: Files<'_> = &[("d.csv", table.as_bytes())];
    let text =
        |shape: &str| classes(3, &format!("source = \"d.csv\"\nlabel = \"kind\"\nshape = {shape}"));
    let plan = check(&text("[1, 2, 2]"), files).unwrap();
    assert_eq!((plan.features, plan.feature_shape), (4, vec![1, 2, 2]));
    refused(&text("[1, 2, 3]"), files, &["data.shape", "[1, 2, 3]", "6 values", "has 4"]);
    refused(&text("[]"), files, &["data.shape", "one axis"]);
    refused(&text("[2, 0, 2]"), files, &["data.shape", "0"]);
    refused(&text("[4294967295, 4294967295, 4294967295]"), files, &["data.shape", "allowed"]);
}

const VERSE: &str = "the wheel turns, the wheel stays, and the wheel turns.\n";

#[test]
fn text_is_learnt_window_by_window() {
    let verse = VERSE.repeat(20);
    let context = 8;
    let letters: std::collections::BTreeSet<char> = VERSE.chars().collect();
    let outputs = context * letters.len();
    let text = |keys: &str| {
        classes(outputs, &format!("source = \"t.txt\"\ntext = {{context = {context}{keys}}}"))
    };
    let files: Files<'_> = &[("t.txt", verse.as_bytes())];
    let plan = check(&text(""), files).unwrap();
    let windows = ((verse.len() - context - 1) / context + 1) as u64;
    assert_eq!((plan.train_rows, plan.features), (windows, context as u64));
    let (model, _) = trained(&text(""), files);
    let vocabulary: String = letters.iter().collect();
    assert_eq!(model.file().encoding, Some(Encoding::Characters { vocabulary, context: 8 }));
    assert_eq!(model.file().outputs.names().len(), letters.len());

    // Overlapping windows: 7 are left out at each border, which hold text of both sides.
    let all = (verse.len() - context - 1) as u64 + 1;
    let split = format!("{}\ntest = {{fraction = 0.1}}\nvalidation = 0.1", ", stride = 1}")
        .replace("}}", "}");
    let split = text("").replace("{context = 8}", &format!("{{context = 8{split}"));
    let plan = check(&split, files).unwrap();
    let test = (all as f64 * 0.1).round() as u64;
    let validation = ((all - test - 7) as f64 * 0.1).round() as u64;
    assert_eq!((plan.test_rows, plan.validation_rows), (test, validation));
    assert_eq!(plan.train_rows, all - test - validation - 14);

    let every = text(", stride = 4").replace("stride = 4}", "stride = 4}\ntest = {every = 3}");
    refused(&every, files, &["data.test", "fraction"]);
    refused(&text(""), &[("t.txt", b"short")], &["t.txt has 5 characters", "8"]);
    refused(&text(""), &[("t.txt", b"aaaaaaaaaaaaaaaaaaaaa")], &["one value only"]);
    let broken = [VERSE.as_bytes(), VERSE.as_bytes(), b"\xff\xfe"].concat();
    refused(&text(""), &[("t.txt", &broken)], &["t.txt line 3", "UTF-8"]);
    let scaled = text("").replace("{context = 8}", "{context = 8}\nscale = 2.0");
    refused(&scaled, files, &["scale", "characters"]);
}

#[test]
fn a_text_model_learns_what_follows() {
    let verse = VERSE.repeat(40);
    let letters: std::collections::BTreeSet<char> = VERSE.chars().collect();
    let data = "source = \"t.txt\"\ntext = {context = 2, stride = 1}";
    let text = classes(2 * letters.len(), data).replace("epochs = 2", "epochs = 30");
    let (inputs, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(inputs.path().join("t.txt"), &verse).unwrap();
    let layers = format!(
        "{{type=\"dense\", units=64, activation=\"relu\"}}, {{type=\"dense\", units={}}}",
        2 * letters.len()
    );
    let one = format!("{{type=\"dense\", units={}}}", 2 * letters.len());
    let workload: Workload = toml::from_str(&text.replace(&one, &layers)).unwrap();
    train_into(&workload, inputs.path(), output.path());
    let engine = &mut CpuEngine::new(1).unwrap();
    let metrics = evaluate(output.path(), &workload, inputs.path(), engine).unwrap();
    // Of two places, the second follows almost surely from both characters before it.
    assert!(metrics["test_accuracy"] > 0.6, "{metrics:?}");
    // Another text is read with the letters that were learnt, in their places.
    std::fs::write(inputs.path().join("t.txt"), "the wheel\nstays").unwrap();
    let other = evaluate(output.path(), &workload, inputs.path(), engine).unwrap();
    assert!(other["test_accuracy"] > 0.3, "{other:?}");
    std::fs::write(inputs.path().join("t.txt"), "the\nwheel!").unwrap();
    let error = evaluate(output.path(), &workload, inputs.path(), engine).unwrap_err();
    assert!(error.to_string().contains("t.txt line 2 has the character '!'"), "{error}");
}

#[test]
fn keys_that_a_format_does_not_have_are_refused() {
    for (keys, words) in [
        ("source = \"x.npy\"\nlabels = \"y.csv\"", ["data.labels", "same format"]),
        ("source = \"x.npy\"\nlabel = \"y\"", ["data.label", ".csv, .parquet and .npz"]),
        ("source = \"x.idx\"\nlabels = \"y.idx\"\nmissing = \"zero\"", ["data.missing", ".npz"]),
        ("source = \"d.zip\"", ["data.images", "size"]),
        ("source = \"d.zip\"\nimages = {size = [0, 2], channels = 1}", ["size", "1 or more"]),
        ("source = \"d.zip\"\nimages = {size = [2, 2], channels = 4}", ["channels", "1 or 3"]),
        ("source = \"d.zip\"\nimages = {size = [9999, 9999], channels = 1}", ["size", "allowed"]),
        ("source = \"d.txt\"", ["data.text", "context"]),
        ("source = \"d.txt\"\ntext = {context = 0}", ["context", "1 or more"]),
        ("source = \"d.csv\"\nlabel = \"k\"\none_hot = [\"k\"]", ["data.one_hot", "no feature"]),
        ("source = \"d.csv\"\nlabel = \"k\"\nmissing = {value = inf}", ["missing", "finite"]),
        ("source = \"d.npz\"\nfeatures = [\"a\", \"b\"]", ["data.features", "one for the"]),
        ("source = \"d.npz\"\nfeatures = [\"a\"]\nlabel = \"a\"", ["data.features", "both"]),
        ("source = \"d.gz\"", ["data.source", "no known format"]),
    ] {
        refused(&classes(2, keys), &[], &words);
    }
    let images = "source = \"d.zip\"\nimages = {size = [2, 2], channels = 1}";
    refused(&job(2, "mse", images), &[], &["softmax_cross_entropy"]);
}
