//! The models, the data that they learn, and our engine's way through them. The same models in
//! other words are in `node/benches`.

use std::{
    io::{BufRead, Write},
    path::Path,
};

use cyxwiz_trainer::{CpuEngine, Event, Requests, TrainError, Workload, train};

use crate::cli::error::CommandError;

/// Rows of a step.
pub(super) const BATCH: usize = 128;

const CONTEXT: usize = 32;
const PICTURE: usize = 784;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    /// 784-512-256-10.
    Mlp,
    /// Two convolutions with pooling, and two dense layers.
    Cnn,
    /// Of characters: two blocks of 64 dimensions and 4 heads, 32 positions.
    Transformer,
}

impl Model {
    pub(super) const ALL: [Self; 3] = [Self::Mlp, Self::Cnn, Self::Transformer];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mlp => "mlp",
            Self::Cnn => "cnn",
            Self::Transformer => "transformer",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.name() == name)
    }

    fn layers(self) -> String {
        match self {
            Self::Mlp => r#"{"type": "dense", "units": 512, "activation": "relu"},
                {"type": "dense", "units": 256, "activation": "relu"},
                {"type": "dense", "units": 10}"#
                .to_owned(),
            Self::Cnn => r#"{"type": "reshape", "shape": [1, 28, 28]},
                {"type": "conv2d", "filters": 16, "kernel": 3, "padding": 1, "activation": "relu"},
                {"type": "max_pool2d", "kernel": 2},
                {"type": "conv2d", "filters": 32, "kernel": 3, "padding": 1, "activation": "relu"},
                {"type": "max_pool2d", "kernel": 2}, {"type": "flatten"},
                {"type": "dense", "units": 128, "activation": "relu"},
                {"type": "dense", "units": 10}"#
                .to_owned(),
            Self::Transformer => {
                let block = r#"{"type": "residual", "layers": [{"type": "layer_norm"},
                        {"type": "attention", "heads": 4, "causal": true}]},
                    {"type": "residual", "layers": [{"type": "layer_norm"},
                        {"type": "dense", "units": 256, "activation": "gelu"},
                        {"type": "dense", "units": 64}]}"#;
                format!(
                    r#"{{"type": "embedding", "vocabulary": 64, "dimensions": 64}},
                       {{"type": "positional_embedding"}}, {block}, {block},
                       {{"type": "layer_norm"}}, {{"type": "dense", "units": 64}}"#
                )
            }
        }
    }

    /// Additions and multiplications in the matrix products that one row cannot be trained without,
    /// by the count that `cyxwiz model check` gives for a forward pass: twice as many in the
    /// backward pass, but for the first layer, whose input needs no gradient.
    pub(super) fn products(self) -> f64 {
        /// Of a product forth, and of those that are taken back from it.
        const FIRST: usize = 2;
        const LATER: usize = 3;
        let multiplications = match self {
            Self::Mlp => FIRST * PICTURE * 512 + LATER * (512 * 256 + 256 * 10),
            Self::Cnn => {
                let convolutions = FIRST * PICTURE * 9 * 16 + LATER * PICTURE / 4 * 9 * 16 * 32;
                convolutions + LATER * (PICTURE / 16 * 32 * 128 + 128 * 10)
            }
            Self::Transformer => {
                let (width, inner) = (64, 256);
                // A position sees itself and those before it: half of all, and half of itself.
                let attended = width * (CONTEXT + 1);
                let block = 4 * width * width + attended + 2 * width * inner;
                LATER * CONTEXT * (2 * block + width * width)
            }
        };
        2.0 * multiplications as f64
    }

    pub(super) fn workload(self, epochs: u32, rate: f64) -> Result<Workload, CommandError> {
        let data = match self {
            Self::Mlp | Self::Cnn => r#""source": "x.npy", "labels": "y.npy", "scale": 0.00392"#,
            Self::Transformer => r#""source": "text.txt", "text": {"context": 32, "stride": 32}"#,
        };
        let text = format!(
            r#"{{"model": {{"layers": [{}]}}, "data": {{{data}}},
                "training": {{"epochs": {epochs}, "batch_size": {BATCH}, "seed": 1,
                    "loss": "softmax_cross_entropy",
                    "optimizer": {{"type": "adam", "learning_rate": {rate}}}}}}}"#,
            self.layers()
        );
        Workload::from_json(&text)
            .map_err(|error| CommandError::failure("the bench's job is damaged").because(&error))
    }
}

/// Data of `rows` rows, and the weights that all begin with.
pub(super) fn write(model: Model, rows: usize, folder: &Path) -> Result<(), CommandError> {
    /// So small that no weight changes, and what a run leaves is what it began with.
    const NO_RATE: f64 = 1e-30;
    write_data(model, rows, folder)
        .map_err(|source| CommandError::failure("cannot write the data").because(&source))?;
    let (result, requests) = (folder.join("start"), Requests::default());
    let mut engine = engine(1)?;
    train(&model.workload(1, NO_RATE)?, folder, &result, &mut engine, &mut |_| {}, &requests)
        .map_err(|error| CommandError::failure("cannot draw the weights").because(&error))?;
    std::fs::rename(result.join("model.safetensors"), folder.join("start.safetensors"))
        .map_err(|source| CommandError::failure("cannot keep the weights").because(&source))
}

fn write_data(model: Model, rows: usize, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let (x, y, widths) = match model {
        Model::Mlp | Model::Cnn => {
            let mut pictures: Vec<u8> = numbers(rows * PICTURE).collect();
            // Each class lights up a place of its own.
            for (place, point) in pictures.iter_mut().enumerate() {
                let lit = place % PICTURE / 78 == place / PICTURE % 10;
                *point /= if lit { 1 } else { 2 };
            }
            let labels = (0..rows).map(|row| (row % 10) as u8).collect();
            (pictures, labels, [PICTURE, 0])
        }
        Model::Transformer => {
            let mut text: Vec<u8> = numbers(rows * CONTEXT + 1).map(|drawn| drawn % 64).collect();
            // Every second character follows from the one before it.
            for place in (1..text.len()).step_by(2) {
                text[place] = ((u32::from(text[place - 1]) * 5 + 7) % 64) as u8;
            }
            let characters: Vec<u8> = text.iter().map(|id| b'0' + id).collect();
            std::fs::write(folder.join("text.txt"), characters)?;
            let next = text.split_off(1);
            let x = [&text[..], &next[..next.len() - 1]].concat();
            (x, next, [CONTEXT, CONTEXT])
        }
    };
    std::fs::write(folder.join("x.npy"), npy(rows, widths[0], &x))?;
    std::fs::write(folder.join("y.npy"), npy(rows, widths[1], &y))
}

/// Drawn bytes, the same at all times.
fn numbers(count: usize) -> impl Iterator<Item = u8> {
    let mut state = 1_u32;
    (0..count).map(move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
}

/// A NumPy file of bytes; of one axis where `width` is 0.
fn npy(rows: usize, width: usize, bytes: &[u8]) -> Vec<u8> {
    let shape = if width == 0 { format!("{rows},") } else { format!("{rows}, {width}") };
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), bytes].concat()
}

fn engine(threads: u32) -> Result<CpuEngine, CommandError> {
    CpuEngine::new(threads as usize)
        .map_err(|error| CommandError::failure("the engine does not start").because(&error))
}

/// The process that trains with our engine: an epoch for each line that comes in, answered by its
/// mean loss.
pub(crate) fn train_in_turns(folder: &Path, name: &str, threads: u32) -> Result<(), CommandError> {
    /// More than anybody asks for: training ends with the input.
    const EPOCHS: u32 = 100_000;
    let model = Model::named(name)
        .ok_or_else(|| CommandError::usage(format!("no model is called {name}")))?;
    let (mut engine, requests) = (engine(threads)?, Requests::default());
    let mut turns = std::io::stdin().lock().lines();
    let mut wait = || {
        if !matches!(turns.next(), Some(Ok(_))) {
            requests.stop();
        }
    };
    wait();
    let mut observer = |event| {
        if let Event::Progress(progress) = event
            && progress.batch == progress.batches
        {
            let loss = progress.metrics.get("loss").copied().unwrap_or(f64::NAN);
            // Nobody listens any more: no turn will come either.
            writeln!(std::io::stdout(), "{{\"loss\": {loss}}}").ok();
            wait();
        }
    };
    let workload = model.workload(EPOCHS, 0.001)?;
    let result = folder.join("trained");
    match train(&workload, folder, &result, &mut engine, &mut observer, &requests) {
        // What the end of the input asks for.
        Ok(_) | Err(TrainError::Stopped { .. }) => Ok(()),
        Err(error) => Err(CommandError::failure("training failed").because(&error)),
    }
}
