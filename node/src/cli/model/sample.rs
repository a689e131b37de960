//! `cyxwiz model sample`: a trained model of texts writes, and can be watched while it does.

use std::path::PathBuf;

use clap::Args;
use cyxwiz_trainer::{CpuEngine, Sampling, load_model, sample};
use serde::Serialize;

use crate::cli::Context;
use crate::cli::error::CommandError;
use crate::cli::output::{Format, Stream};

#[derive(Debug, Args)]
pub struct SampleArgs {
    /// The folder with model.safetensors and model.json, as `cyxwiz job results` leaves it
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// How the text begins
    #[arg(long, value_name = "TEXT", default_value = "The ")]
    pub prompt: String,
    /// How many characters more
    #[arg(long, value_name = "N", default_value_t = 400)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub characters: u32,
    /// 1 draws characters as often as the model takes them for likely; less keeps to likely ones
    #[arg(long, value_name = "T", default_value_t = 0.8)]
    pub temperature: f64,
    /// Another seed, another text
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// What was written, for programs.
#[derive(Debug, Serialize)]
struct Written {
    text: String,
}

pub(super) fn run(context: &Context, args: &SampleArgs) -> Result<(), CommandError> {
    let shown = args.folder.display();
    let model = load_model(&args.folder).map_err(|source| {
        CommandError::usage(format!("{shown} holds no model that can be read")).because(&source)
    })?;
    let mut engine = CpuEngine::new(1)
        .map_err(|source| CommandError::failure("cannot start an engine").because(&source))?;
    let SampleArgs { prompt, characters, temperature, seed, .. } = args;
    let (characters, temperature, seed) = (*characters, *temperature, *seed);
    let sampling = Sampling { prompt: prompt.clone(), characters, temperature, seed };
    let live = context.output.format == Format::Table;
    let (mut text, mut shown_bytes, mut told) = (prompt.clone(), 0, Ok(()));
    let mut written = |character: char| {
        text.push(character);
        if live && told.is_ok() {
            told = Stream::Stdout.write(&text.as_bytes()[shown_bytes..]);
            shown_bytes = text.len();
        }
    };
    sample(&model, &mut engine, &sampling, &mut written).map_err(|source| {
        CommandError::usage(format!("the model in {shown} cannot write that")).because(&source)
    })?;
    told?;
    if live { Stream::Stdout.line("") } else { context.output.show(&Written { text }, String::new) }
}
