//! `cyxwiz model …`: looks at a model before anything runs, and has one write that was trained;
//! without a network.

pub mod sample;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use cyxwiz_trainer::{LayerPlan, LayerState, ModelSpec, ModelTable, model_table};
use serde::Serialize;

use super::Context;
use super::error::CommandError;
use super::job::submit::{folder_of, read};
use super::quantity::{bytes, count, of, rate};
use super::table::Rows;
use crate::job_file::JobFile;
use crate::model_file::ModelFile;
use crate::tasks::process_memory;

#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Check a model, and show it layer by layer: shapes, parameters, memory, work
    #[command(after_long_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Write a model as the `[model]` table of a job file
    #[command(after_long_help = CONVERT_EXAMPLES)]
    Convert(ConvertArgs),
    /// Let a model that was trained on text write
    #[command(after_long_help = SAMPLE_EXAMPLES)]
    Sample(sample::SampleArgs),
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A job file, a model (`layers = [...]` or `{"layers": [...]}`), or a graph that the node
    /// editor saved; - reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The shape of one row, channels first, as in 1,28,28; a job's data say it themselves when
    /// they lie beside it
    #[arg(long, value_name = "SHAPE", value_parser = shape)]
    pub input: Option<Shape>,
    /// Rows of one step, for the estimate of memory; by default the job's, or 32
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub batch: Option<u32>,
}

#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// A model, or a graph that the node editor saved; - reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Lengths of the axes of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(Vec<usize>);

fn shape(text: &str) -> Result<Shape, String> {
    let lengths: Result<Vec<usize>, _> = text.split([',', 'x']).map(str::parse).collect();
    match lengths {
        Ok(lengths) if lengths.iter().all(|length| *length > 0) => Ok(Shape(lengths)),
        Ok(_) | Err(_) => Err("write the lengths with commas between, as in 1,28,28".to_owned()),
    }
}

/// What a check found, for people and programs.
#[derive(Debug, Serialize)]
struct Checked {
    input_shape: Vec<u64>,
    batch_size: u32,
    layers: Vec<LayerView>,
    parameters: u64,
    trainable: u64,
    /// A training step's own, or with the data and the program where these are known.
    memory_bytes: u64,
    flops_per_row: u64,
    /// Of a job whose data are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<RowsView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LayerView {
    /// As the names of its tensors begin.
    path: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip)]
    depth: u32,
    /// Where its parameters come from, in a model that was trained before.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    output_shape: Vec<u64>,
    parameters: u64,
    memory_bytes: u64,
    flops_per_row: u64,
}

#[derive(Debug, Serialize)]
struct RowsView {
    all: u64,
    train: u64,
    validation: u64,
    test: u64,
    outputs: u64,
    batches_per_epoch: u32,
    /// Whether they are read from disk while the model is trained.
    streamed: bool,
}

pub(super) fn run(context: &Context, command: ModelCommand) -> Result<(), CommandError> {
    match command {
        ModelCommand::Check(args) => check(context, &args),
        ModelCommand::Convert(args) => convert(context, &args),
        ModelCommand::Sample(args) => sample::run(context, &args),
    }
}

fn check(context: &Context, args: &CheckArgs) -> Result<(), CommandError> {
    let (file, shown) = parse(&args.file)?;
    let checked = match (&file, &args.input) {
        (ModelFile::Job(read), None) => with_data(&read.job, &args.file, &shown)?,
        (ModelFile::Job(read), Some(input)) => {
            let batch = read.job.training.as_ref().map_or(32, |training| training.batch_size);
            let batch = args.batch.unwrap_or(batch);
            alone(layers(&file, &shown)?, input, batch, &shown)?
        }
        (ModelFile::Model(read), Some(input)) => {
            alone(&read.model, input, args.batch.unwrap_or(32), &shown)?
        }
        (ModelFile::Model(_), None) => {
            let message = format!("{shown} is a model without data, which may have any input");
            let hint = "say the shape of a row with --input, as in --input 1,28,28";
            return Err(CommandError::usage(message).hint(hint));
        }
    };
    let notes = [file.notes(), &checked.notes].concat();
    let checked = Checked { notes, ..checked };
    context.output.show(&checked, || checked.text())?;
    for note in &checked.notes {
        context.output.say(&format!("note: {note}"));
    }
    Ok(())
}

fn convert(context: &Context, args: &ConvertArgs) -> Result<(), CommandError> {
    let (file, shown) = parse(&args.file)?;
    #[derive(Serialize)]
    struct Table<'a> {
        model: &'a ModelSpec,
    }
    let table = Table { model: layers(&file, &shown)? };
    let text = toml::to_string_pretty(&table).map_err(|source| {
        CommandError::failure("cannot write the model as TOML").because(&source)
    })?;
    context.output.show(&table, || text.trim_end().to_owned())?;
    for note in file.notes() {
        context.output.say(&format!("note: {note}"));
    }
    Ok(())
}

fn layers<'a>(file: &'a ModelFile, shown: &str) -> Result<&'a ModelSpec, CommandError> {
    file.model().ok_or_else(|| {
        CommandError::usage(format!(
            "{shown} takes its layers from the weights that it starts with"
        ))
        .hint("without --input, `cyxwiz model check` reads them from the file beside it")
    })
}

fn parse(file: &Path) -> Result<(ModelFile, String), CommandError> {
    let (text, shown) = read(file, "file")?;
    let parsed = ModelFile::parse(&text, folder_of(file)).map_err(|source| {
        CommandError::usage(format!("{shown} holds no model that can be trained")).because(&source)
    })?;
    Ok((parsed, shown))
}

/// By the data beside the job.
fn with_data(job: &JobFile, file: &Path, shown: &str) -> Result<Checked, CommandError> {
    let folder = folder_of(file);
    if let Some((name, _)) = job.files(folder).iter().find(|(_, path)| !path.is_file()) {
        let message = format!("{shown} names the data file {name}, which is not beside it");
        let hint = "say the shape of a row with --input, as in --input 64, to check without data";
        return Err(CommandError::usage(message).hint(hint));
    }
    let unfit = |source: &dyn std::error::Error| {
        CommandError::usage(format!("{shown} does not fit its files")).because(source)
    };
    let workload = job.job().map_err(|source| unfit(&source))?;
    workload.validate().map_err(|source| unfit(&source))?;
    let needs = job.requirements(0).map_err(|source| unfit(&source))?;
    let plan = workload.check(folder, Some(process_memory(&needs)));
    let plan = plan.map_err(|source| unfit(&source))?;
    Ok(Checked {
        input_shape: plan.feature_shape,
        batch_size: plan.batch_size,
        parameters: plan.parameters,
        trainable: plan.trainable,
        memory_bytes: plan.memory_bytes,
        flops_per_row: plan.layers.iter().map(|layer| layer.flops).sum(),
        layers: plan.layers.into_iter().map(LayerView::from).collect(),
        rows: Some(RowsView {
            all: plan.rows,
            train: plan.train_rows,
            validation: plan.validation_rows,
            test: plan.test_rows,
            outputs: plan.outputs,
            batches_per_epoch: plan.batches_per_epoch,
            streamed: plan.streamed,
        }),
        notes: job.memory_note(plan.memory_bytes).into_iter().collect(),
    })
}

/// By the shape that was given.
fn alone(
    model: &ModelSpec,
    input: &Shape,
    batch_size: u32,
    shown: &str,
) -> Result<Checked, CommandError> {
    let table = model_table(model, &input.0, batch_size).map_err(|source| {
        CommandError::usage(format!("{shown} does not fit rows of shape {:?}", input.0))
            .because(&source)
    })?;
    let ModelTable { input_shape, layers, parameters, memory_bytes, flops } = table;
    Ok(Checked {
        input_shape,
        batch_size,
        layers: layers.into_iter().map(LayerView::from).collect(),
        parameters,
        trainable: parameters,
        memory_bytes,
        flops_per_row: flops,
        rows: None,
        notes: Vec::new(),
    })
}

impl From<LayerPlan> for LayerView {
    fn from(layer: LayerPlan) -> Self {
        let state = match layer.state {
            LayerState::Plain => None,
            LayerState::New => Some("new"),
            LayerState::Continued => Some("continued"),
            LayerState::Frozen => Some("frozen"),
        };
        let LayerPlan { path, kind, depth, output_shape, parameters, memory_bytes, .. } = layer;
        let flops_per_row = layer.flops;
        Self { path, kind, depth, state, output_shape, parameters, memory_bytes, flops_per_row }
    }
}

impl LayerView {
    /// `2 dense`, or further in, below the block that it is part of, `0 dense`.
    fn title(&self) -> String {
        let place = self.path.rsplit('.').next().unwrap_or(&self.path);
        format!("{:indent$}{place} {}", "", self.kind, indent = 2 * self.depth as usize)
    }
}

impl Checked {
    fn text(&self) -> String {
        let mut titles = vec!["layer", "output", ">parameters", ">memory", ">FLOP a row"];
        let stated = self.layers.iter().any(|layer| layer.state.is_some());
        titles.extend(stated.then_some("state"));
        let mut rows = Rows::new(&titles);
        let none = String::new;
        let mut input = vec!["input".to_owned(), axes(&self.input_shape), none(), none(), none()];
        input.extend(stated.then(none));
        rows.add(input);
        for layer in &self.layers {
            let mut cells = vec![
                layer.title(),
                axes(&layer.output_shape),
                some(layer.parameters, count),
                bytes(layer.memory_bytes),
                some(layer.flops_per_row, flops),
            ];
            cells.extend(stated.then(|| layer.state.unwrap_or_default().to_owned()));
            rows.add(cells);
        }
        let learning = match self.parameters - self.trainable {
            0 => String::new(),
            _ if self.trainable == 0 => String::new(),
            frozen => format!(" ({} of them frozen)", count(frozen)),
        };
        let total = format!(
            "{} parameters{learning}, {} FLOP a row, about {} of memory at batch size {}",
            count(self.parameters),
            flops(self.flops_per_row),
            bytes(self.memory_bytes),
            count(u64::from(self.batch_size))
        );
        let mut text = format!("{}\n\n{total}", rows.text());
        if let Some(data) = &self.rows {
            let RowsView { all, train, validation, test, batches_per_epoch, streamed, .. } = *data;
            let batches = match batches_per_epoch {
                1 => "1 batch".to_owned(),
                more => format!("{} batches", count(u64::from(more))),
            };
            text += &match train {
                0 => format!("\n{} to go through the model in {batches}", of(all, "row")),
                train => format!(
                    "\n{} to train on in {batches}, {} to validate, {} to test",
                    of(train, "row"),
                    count(validation),
                    count(test)
                ),
            };
            text += if streamed { ", read from disk" } else { "" };
        }
        text
    }
}

fn axes(shape: &[u64]) -> String {
    let lengths: Vec<_> = shape.iter().map(u64::to_string).collect();
    lengths.join(" × ")
}

/// Exact where it is short.
fn flops(number: u64) -> String {
    if number < 10_000 { number.to_string() } else { rate(number as f64) }
}

/// Nothing is left blank.
fn some(number: u64, words: impl FnOnce(u64) -> String) -> String {
    if number == 0 { String::new() } else { words(number) }
}

const CHECK_EXAMPLES: &str = "\
Layers: dense, conv2d, max_pool2d, avg_pool2d, global_avg_pool, batch_norm, layer_norm, dropout,
flatten, reshape, residual, activation, embedding, positional_embedding, attention, gru, lstm

Examples:
  cyxwiz model check job.toml                       with the data beside it
  cyxwiz model check lenet.json --input 1,28,28 --batch 128
  cyxwiz model check graph.cyxgraph --input 784 --output json";

const CONVERT_EXAMPLES: &str = "\
Examples:
  cyxwiz model convert graph.cyxgraph >> job.toml";

const SAMPLE_EXAMPLES: &str = "\
Examples:
  cyxwiz job results last --out model
  cyxwiz model sample model --prompt Light --characters 400 --seed 1";
