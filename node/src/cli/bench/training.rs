//! How fast models train on this machine: our engine in a process of its own, and with `--rivals`
//! PyTorch and burn beside it, on the same data and, but for burn, from the same start weights.
//!
//! All take turns, an epoch each, round after round, so that whatever else the machine does meets
//! them alike, and so does what the processor can do at most, which is measured before each. Time,
//! processor time and memory are what the system says of each process; what a rival says of itself
//! is its loss alone. What the network adds to it is for `network`.

mod contenders;
mod jobs;
mod network;

use std::path::Path;

use cyxwiz_trainer::peak_flops;
use serde::Serialize;

use super::{disk, machine};
use crate::cli::{
    Context, TrainingArgs,
    error::CommandError,
    table::{Facts, Rows},
};
use contenders::{Contender, Epoch, Program};
use jobs::Model;

pub(crate) use jobs::train_in_turns;

/// What was measured.
#[derive(Debug, Serialize)]
struct Measured {
    machine: String,
    load_average: [f64; 2],
    threads: u32,
    rounds: u32,
    rows: usize,
    models: Vec<OfModel>,
}

#[derive(Debug, Serialize)]
struct OfModel {
    model: &'static str,
    /// What the threads could multiply and add at most, over rounds.
    peak_gflops: Samples,
    /// Samples a second that would be trained if that were spent on matrix products alone.
    bound_samples_per_second: f64,
    engines: Vec<OfEngine>,
}

/// One engine on one model.
#[derive(Debug, Serialize)]
struct OfEngine {
    engine: String,
    samples_per_second: Samples,
    /// Of the median, to that of the fastest PyTorch; none without one.
    ratio_to_pytorch: Option<f64>,
    /// Of the median, to what the processor allows.
    share_of_bound: f64,
    /// User and system together, over all rounds.
    cpu_us_per_sample: f64,
    /// PyTorch's, the least there is, divided by this; none without one.
    cpu_ratio_to_pytorch: Option<f64>,
    peak_memory_mb: f64,
    /// From the start of the process until one batch is trained.
    first_batch_ms: f64,
    /// Of the last epoch.
    loss: f64,
}

/// Over rounds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Samples {
    median: f64,
    least: f64,
    most: f64,
}

impl Samples {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        // Of an even number, halfway between the two in the middle.
        let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        Self { median, least: at(0), most: at(last) }
    }
}

/// See the module's text.
pub(super) fn run(context: &Context, args: &TrainingArgs) -> Result<(), CommandError> {
    if args.through_network {
        return network::run(context, args);
    }
    let load_before = disk::load_average();
    let mut programs = vec![Program::ours()?];
    if args.rivals {
        programs.extend(contenders::pytorch(context)?);
        programs.extend(contenders::burn(context)?);
    }
    let folder = tempfile::tempdir().map_err(|source| {
        CommandError::failure("cannot make a folder for the data").because(&source)
    })?;
    let mut models = Vec::new();
    for model in Model::ALL {
        let name = model.name();
        context.output.say(&format!("{name}: {} rounds of {} rows", args.rounds, args.rows));
        models.push(measure(context, args, model, &programs, &folder.path().join(name))?);
    }
    let measured = Measured {
        machine: machine(),
        load_average: [load_before, disk::load_average()],
        threads: args.threads,
        rounds: args.rounds,
        rows: args.rows,
        models,
    };
    context.output.show(&measured, || table(&measured))
}

/// All programs on one model; those that do not start are told and left out.
fn measure(
    context: &Context,
    args: &TrainingArgs,
    model: Model,
    programs: &[Program],
    folder: &Path,
) -> Result<OfModel, CommandError> {
    let (whole, batch) = (folder.join("whole"), folder.join("batch"));
    jobs::write(model, args.rows, &whole)?;
    jobs::write(model, jobs::BATCH, &batch)?;
    let mut running = Vec::new();
    for program in programs {
        let started = first_batch(program, model, args.threads, &batch).and_then(|first| {
            let mut contender = Contender::start(program, model, args.threads, &whole)?;
            // Not counted: memory is taken and caches are filled.
            contender.epoch()?;
            Ok((first, contender, Vec::new()))
        });
        match started {
            Ok(started) => running.push(started),
            Err(error) if program.is_rival() => context.output.say(&format!("{error}")),
            Err(error) => return Err(error),
        }
    }
    let mut peaks = Vec::new();
    for _ in 0..args.rounds {
        peaks.push(peak_flops(args.threads as usize) / 1e9);
        for (_, contender, epochs) in &mut running {
            epochs.push(contender.epoch()?);
        }
    }
    let summed = running
        .iter()
        .map(|(first, contender, epochs)| summary(contender, *first, epochs, args.rows as f64));
    let mut engines: Vec<OfEngine> = summed.collect();
    let peak_gflops = Samples::of(peaks);
    let bound_samples_per_second = 1e9 * peak_gflops.median / model.products();
    compare(&mut engines, bound_samples_per_second);
    Ok(OfModel { model: model.name(), peak_gflops, bound_samples_per_second, engines })
}

/// Milliseconds until a new process has trained one batch.
fn first_batch(
    program: &Program,
    model: Model,
    threads: u32,
    folder: &Path,
) -> Result<f64, CommandError> {
    let mut contender = Contender::start(program, model, threads, folder)?;
    contender.epoch()?;
    Ok(contender.age().as_secs_f64() * 1_000.0)
}

fn summary(contender: &Contender, first: f64, epochs: &[Epoch], rows: f64) -> OfEngine {
    let used: f64 = epochs.iter().map(|epoch| epoch.cpu_seconds).sum();
    OfEngine {
        engine: contender.name().to_owned(),
        samples_per_second: Samples::of(epochs.iter().map(|epoch| rows / epoch.seconds).collect()),
        ratio_to_pytorch: None,
        share_of_bound: f64::NAN,
        cpu_us_per_sample: 1e6 * used / (rows * epochs.len() as f64),
        cpu_ratio_to_pytorch: None,
        peak_memory_mb: contender.peak_memory_mb(),
        first_batch_ms: first,
        loss: epochs.last().map_or(f64::NAN, |epoch| epoch.loss),
    }
}

/// Holds all against the best that PyTorch did, and the most that the processor allows.
fn compare(engines: &mut [OfEngine], bound: f64) {
    let theirs = || engines.iter().filter(|it| it.engine.starts_with(contenders::PYTORCH));
    let fastest = theirs().map(|it| it.samples_per_second.median).reduce(f64::max);
    let thriftiest = theirs().map(|it| it.cpu_us_per_sample).reduce(f64::min);
    for engine in engines {
        engine.ratio_to_pytorch = fastest.map(|best| engine.samples_per_second.median / best);
        engine.share_of_bound = engine.samples_per_second.median / bound;
        engine.cpu_ratio_to_pytorch = thriftiest.map(|best| best / engine.cpu_us_per_sample);
    }
}

fn table(measured: &Measured) -> String {
    let mut facts = Facts::default();
    facts.add("machine", measured.machine.as_str());
    let [before, after] = measured.load_average;
    facts.add("load average", format!("{before:.1} before, {after:.1} after"));
    let Measured { threads, rounds, rows, .. } = measured;
    facts.add("each", format!("{threads} threads, {rounds} rounds of {rows} rows, batch 128"));
    for OfModel { model, peak_gflops, bound_samples_per_second: bound, .. } in &measured.models {
        let Samples { median, least, most } = peak_gflops;
        let peak = format!("{median:.0} GFLOP/s ({least:.0} to {most:.0}) at most");
        facts.add(&format!("bound of {model}"), format!("{bound:.0} samples/s, by {peak}"));
    }
    let titles = [
        "model",
        "engine",
        ">samples/s",
        ">least",
        ">most",
        ">to PyTorch",
        ">of bound",
        ">CPU µs/sample",
        ">to PyTorch",
        ">peak MB",
        ">first batch",
        ">loss",
    ];
    let mut table = Rows::new(&titles);
    let ratio = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.2} x"));
    for OfModel { model, engines, .. } in &measured.models {
        for engine in engines {
            let Samples { median, least, most } = engine.samples_per_second;
            table.add([
                (*model).to_owned(),
                engine.engine.clone(),
                format!("{median:.0}"),
                format!("{least:.0}"),
                format!("{most:.0}"),
                ratio(engine.ratio_to_pytorch),
                format!("{:.0} %", 100.0 * engine.share_of_bound),
                format!("{:.1}", engine.cpu_us_per_sample),
                ratio(engine.cpu_ratio_to_pytorch),
                format!("{:.0}", engine.peak_memory_mb),
                format!("{:.0} ms", engine.first_batch_ms),
                format!("{:.4}", engine.loss),
            ]);
        }
    }
    format!("{}\n\n{}", facts.text(), table.text())
}
