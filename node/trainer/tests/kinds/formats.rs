//! Rows without targets, in every format that rows come in.

use std::io::{Cursor, Write};

use crate::apply::weights;
use crate::serving::{Files, Served, npy, refused, rows, run};

/// Adds up the two or three values of a row.
fn sum(width: usize) -> Vec<u8> {
    let ones = vec![1.0; width];
    weights(&[("1.weight", &[1, width], &ones), ("1.bias", &[1], &[0.0])])
}

const LAYERS: &str =
    "[model]\nlayers = [{ type = \"flatten\" }, { type = \"dense\", units = 1 }]\n";

fn predicted(data: &str, model: &[u8], file: (&str, &[u8])) -> Vec<Vec<String>> {
    let job = format!(
        "kind = \"infer\"\n[start]\nweights = \"m.safetensors\"\noutputs = {{ targets = [\"s\"] }}\n\
         {LAYERS}[data]\nsource = \"{}\"\n{data}",
        file.0
    );
    rows(&run(&job, &[("m.safetensors", model), file]).text("predictions.csv"))
}

fn array(shape: &str, values: &[f32]) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn png(grey: u8) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let image = image::GrayImage::from_raw(2, 2, vec![grey; 4]).unwrap();
    image.write_to(&mut out, image::ImageFormat::Png).unwrap();
    out.into_inner()
}

#[test]
fn arrays_and_tables_need_no_labels() {
    let values = array("2, 3", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let sums = [["0", "6"], ["1", "15"]];
    assert_eq!(predicted("", &sum(3), ("x.npy", &values)), sums);
    assert_eq!(predicted("", &sum(3), ("x.npz", &zipped(&[("a.npy", &values)]))), sums);
    let two = zipped(&[("other.npy", &array("1, 1", &[0.0])), ("x.npy", &values)]);
    assert_eq!(predicted("", &sum(3), ("x.npz", &two)), sums);
    let idx = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3][..], &[1, 2, 3, 4, 5, 6]].concat();
    assert_eq!(predicted("", &sum(3), ("x.idx", &idx)), sums);
    assert_eq!(predicted("", &sum(3), ("x.csv", b"a,b,c\n1,2,3\n4,5,6\n")), sums);
    let named = predicted("id = \"b\"", &sum(2), ("x.csv", b"a,b,c\n1,k,3\n4,\"l,m\",6\n"));
    assert_eq!(named, [["0", "k", "4"], ["1", "l,m", "10"]]);
    let data = "id = \"b\"\nstreaming = true";
    let streamed = predicted(data, &sum(2), ("x.csv", b"a,b,c\n1,k,3\n4,\"l,m\",6\n"));
    assert_eq!(streamed, named);
    let gap = predicted("missing = \"zero\"", &sum(2), ("x.csv", b"a,b\n1,\n4,6\n"));
    assert_eq!(gap, [["0", "1"], ["1", "10"]]);
}

fn train(model: &str, data: &str, files: Files<'_>) -> Served {
    run(
        &format!(
            "{model}\n[data]\n{data}\n[training]\nepochs = 40\nbatch_size = 4\nloss = \
             \"softmax_cross_entropy\"\noptimizer = {{ type = \"adam\", learning_rate = 0.05 }}"
        ),
        files,
    )
}

#[test]
fn images_need_no_folders() {
    let layers = "[model]\nlayers = [{ type = \"flatten\" }, { type = \"dense\", units = 2 }]";
    let (dark, light) = (png(10), png(200));
    let archive = zipped(&[
        ("dark/a.png", &dark),
        ("dark/b.png", &png(30)),
        ("light/a.png", &light),
        ("light/b.png", &png(240)),
    ]);
    let data = "source = \"i.zip\"\nimages = { size = [2, 2], channels = 1 }\nscale = 0.01";
    let model = train(layers, data, &[("i.zip", &archive)]).output("model.safetensors");
    let new = zipped(&[("x.png", &png(220)), ("deep/er/y.png", &png(20))]);
    let job = "kind = \"infer\"\n[start]\nweights = \"m.safetensors\"\n[data]\nsource = \"n.zip\"";
    let said = run(job, &[("m.safetensors", &model), ("n.zip", &new)]).text("predictions.csv");
    let said: Vec<Vec<String>> = rows(&said).into_iter().map(|row| row[1..3].to_vec()).collect();
    assert_eq!(said, [["deep/er/y.png", "dark"], ["x.png", "light"]]);
    let from_disk = format!("{job}\nstreaming = true\n[infer]\nformat = \"parquet\"");
    let in_memory = format!("{job}\n[infer]\nformat = \"parquet\"");
    let files: Files<'_> = &[("m.safetensors", &model), ("n.zip", &new)];
    let [from_disk, in_memory] =
        [from_disk, in_memory].map(|job| run(&job, files).output("predictions.parquet"));
    assert_eq!(from_disk, in_memory);
    let message = refused(
        &format!("{job}\nimages = {{ size = [3, 3], channels = 1 }}"),
        &[("m.safetensors", &model), ("n.zip", &new)],
    );
    assert!(message.contains("n.zip"), "{message}");
}

#[test]
fn a_text_is_continued_at_every_place() {
    let layers = "[model]\nlayers = [{ type = \"embedding\", vocabulary = 3, dimensions = 4 }, \
                  { type = \"dense\", units = 3 }]";
    let text = "abcabcabcabcabcabcabcabcabcabc";
    let data = "source = \"t.txt\"\ntext = { context = 3 }";
    let model = train(layers, data, &[("t.txt", text.as_bytes())]).output("model.safetensors");
    let job = "kind = \"infer\"\n[start]\nweights = \"m.safetensors\"\n[data]\nsource = \"n.txt\"";
    let files = [("m.safetensors", &model[..]), ("n.txt", &b"bcaabc"[..])];
    let said = run(job, &files);
    let header = said.text("predictions.csv");
    assert!(header.starts_with("row,position,predicted,probability_a,"), "{header}");
    let said: Vec<Vec<String>> = rows(&header).into_iter().map(|row| row[..3].to_vec()).collect();
    let next = [("0", "0", "c"), ("0", "1", "a"), ("0", "2", "b")];
    let then = [("1", "0", "b"), ("1", "1", "c"), ("1", "2", "a")];
    let expected: Vec<[&str; 3]> =
        next.into_iter().chain(then).map(|(row, place, said)| [row, place, said]).collect();
    assert_eq!(said, expected);
    let array = run(&format!("{job}\n[infer]\nformat = \"npy\""), &files);
    assert_eq!(npy(&array.output("predictions.npy")).0, "2, 3, 3");
    let files = [files[0], ("n.txt", &b"bcx"[..])];
    assert!(refused(job, &files).contains("line 1 has the character 'x'"));
}
