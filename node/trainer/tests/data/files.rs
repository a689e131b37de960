//! Files in every format that jobs may have, made as other programs make them.

use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::Arc;

use cyxwiz_trainer::{CheckError, CpuEngine, ModelFile, Plan, Requests, TrainedModel, Workload};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// A job with one dense layer of `outputs` units over flat rows, and the data section `data`.
pub(crate) fn job(outputs: usize, loss: &str, data: &str) -> String {
    format!(
        "[model]\nlayers = [{{type=\"flatten\"}}, {{type=\"dense\", units={outputs}}}]\n[data]\n{data}\n[training]\n\
         epochs = 2\nbatch_size = 4\nseed = 3\nloss = \"{loss}\"\n\
         optimizer = {{type=\"adam\", learning_rate=0.01}}\n"
    )
}

pub(crate) fn classes(outputs: usize, data: &str) -> String {
    job(outputs, "softmax_cross_entropy", data)
}

pub(crate) type Files<'a> = &'a [(&'a str, &'a [u8])];

fn written(files: Files<'_>) -> tempfile::TempDir {
    let inputs = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(inputs.path().join(name), bytes).unwrap();
    }
    inputs
}

pub(crate) fn check(text: &str, files: Files<'_>) -> Result<Plan, CheckError> {
    let workload: Workload = toml::from_str(text).unwrap();
    workload.check(written(files).path())
}

/// Checks that a job or its data are refused in words that contain all of `words`.
#[track_caller]
pub(crate) fn refused(text: &str, files: Files<'_>, words: &[&str]) {
    let message = check(text, files).unwrap_err().message();
    for word in words {
        assert!(message.contains(word), "\"{word}\" is not in: {message}");
    }
}

/// Trains and reads the model back; gives it, and the bytes of its weights without metadata.
#[track_caller]
pub(crate) fn trained(text: &str, files: Files<'_>) -> (TrainedModel, Vec<u8>) {
    let (inputs, output) = (written(files), tempfile::tempdir().unwrap());
    let workload: Workload = toml::from_str(text).unwrap();
    train_into(&workload, inputs.path(), output.path());
    let model = cyxwiz_trainer::load_model(output.path()).unwrap();
    let bytes = std::fs::read(output.path().join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (model, bytes[8 + header..].to_vec())
}

pub(crate) fn train_into(workload: &Workload, inputs: &Path, output: &Path) {
    let engine = &mut CpuEngine::new(1).unwrap();
    let requests = Requests::default();
    cyxwiz_trainer::train(workload, inputs, output, engine, &mut |_| {}, &requests).unwrap();
}

pub(crate) fn model_file(text: &str, files: Files<'_>) -> ModelFile {
    trained(text, files).0.file().clone()
}

/// An NPY array of version 1.
pub(crate) fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

pub(crate) fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// An IDX array of bytes.
pub(crate) fn idx(axes: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, axes.len() as u8];
    bytes.extend(axes.iter().flat_map(|axis| axis.to_be_bytes()));
    bytes.extend(data);
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

pub(crate) fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

pub(crate) fn png(width: u32, height: u32, rgb: Vec<u8>) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let image = image::RgbImage::from_raw(width, height, rgb).unwrap();
    image.write_to(&mut out, image::ImageFormat::Png).unwrap();
    out.into_inner()
}

pub(crate) fn jpeg(width: u32, height: u32, rgb: Vec<u8>) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let image = image::RgbImage::from_raw(width, height, rgb).unwrap();
    image.write_to(&mut out, image::ImageFormat::Jpeg).unwrap();
    out.into_inner()
}

/// A column of a Parquet file, with gaps.
pub(crate) enum Column {
    Doubles(Vec<Option<f64>>),
    Integers(Vec<Option<i64>>),
    Booleans(Vec<Option<bool>>),
    Texts(Vec<Option<&'static str>>),
}

/// A Parquet file of optional columns, each group of rows with `group` of them.
pub(crate) fn parquet(
    columns: &[(&str, Column)],
    group: usize,
    compression: parquet::basic::Compression,
) -> Vec<u8> {
    let fields: String = columns
        .iter()
        .map(|(name, column)| {
            let kind = match column {
                Column::Doubles(_) => "double",
                Column::Integers(_) => "int64",
                Column::Booleans(_) => "boolean",
                Column::Texts(_) => "byte_array",
            };
            let text = if matches!(column, Column::Texts(_)) { "(UTF8)" } else { "" };
            format!("optional {kind} {name} {text};")
        })
        .collect();
    let schema = Arc::new(parse_message_type(&format!("message m {{ {fields} }}")).unwrap());
    let options = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, options).unwrap();
    let rows = match &columns[0].1 {
        Column::Doubles(values) => values.len(),
        Column::Integers(values) => values.len(),
        Column::Booleans(values) => values.len(),
        Column::Texts(values) => values.len(),
    };
    for start in (0..rows).step_by(group) {
        let end = rows.min(start + group);
        let mut out = writer.next_row_group().unwrap();
        for (_, column) in columns {
            let mut place = out.next_column().unwrap().unwrap();
            macro_rules! write {
                ($kind:ty, $values:expr, $to:expr) => {{
                    let part = &$values[start..end];
                    let levels: Vec<i16> =
                        part.iter().map(|value| value.is_some().into()).collect();
                    let values: Vec<_> = part.iter().flatten().map($to).collect();
                    place.typed::<$kind>().write_batch(&values, Some(&levels), None).unwrap();
                }};
            }
            match column {
                Column::Doubles(values) => write!(DoubleType, values, |value| *value),
                Column::Integers(values) => write!(Int64Type, values, |value| *value),
                Column::Booleans(values) => write!(BoolType, values, |value| *value),
                Column::Texts(values) => write!(ByteArrayType, values, |v| ByteArray::from(*v)),
            }
            place.close().unwrap();
        }
        out.close().unwrap();
    }
    writer.into_inner().unwrap()
}
