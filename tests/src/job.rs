//! Job files for tests: the handwritten digits with a model so small that training takes moments.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Cli, Command, Outcome, TRAINED};

/// The folder of the bundled job and its data.
#[must_use]
pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/examples")
}

/// A job on the bundled data.
#[derive(Clone, Debug)]
pub struct Job {
    name: String,
    epochs: u32,
    seed: u64,
    requirements: String,
    limits: String,
    training: String,
}

impl Job {
    /// Done in moments.
    #[must_use]
    pub fn short(name: &str) -> Self {
        Self::of(name, 20)
    }

    /// Takes seconds: something can happen meanwhile.
    #[must_use]
    pub fn middling(name: &str) -> Self {
        Self::of(name, 8_000)
    }

    /// Outlives any test.
    #[must_use]
    pub fn endless(name: &str) -> Self {
        Self::of(name, 1_000_000)
    }

    fn of(name: &str, epochs: u32) -> Self {
        let name = name.to_owned();
        let (requirements, limits, training) = (String::new(), String::new(), String::new());
        Self { name, epochs, seed: 1, requirements, limits, training }
    }

    /// Another start of the training.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Adds a line to `[requirements]`.
    #[must_use]
    pub fn needs(mut self, line: &str) -> Self {
        self.requirements.push_str(line);
        self.requirements.push('\n');
        self
    }

    /// Adds a line to `[limits]`.
    #[must_use]
    pub fn limit(mut self, line: &str) -> Self {
        self.limits.push_str(line);
        self.limits.push('\n');
        self
    }

    /// Adds a line to `[training]`.
    #[must_use]
    pub fn trains(mut self, line: &str) -> Self {
        self.training.push_str(line);
        self.training.push('\n');
        self
    }

    /// Another number of epochs.
    #[must_use]
    pub const fn epochs(mut self, epochs: u32) -> Self {
        self.epochs = epochs;
        self
    }

    /// The job file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { name, epochs, seed, requirements, limits, training } = self;
        format!(
            r#"name = "{name}"

[requirements]
{requirements}
[limits]
{limits}
[model]
layers = [{{ type = "dense", units = 10 }}]

[data]
source = "digits.csv"
label = "label"
scale = 0.0625
test = {{ every = 5 }}

[training]
epochs = {epochs}
batch_size = 128
loss = "softmax_cross_entropy"
seed = {seed}
{training}optimizer = {{ type = "adam", learning_rate = 0.003 }}
"#
        )
    }

    /// Submits it with more `options` of `cyxwiz job submit`.
    #[track_caller]
    pub fn submit_with(&self, cli: &Cli, options: &[&str]) -> Outcome {
        self.start_submit(cli, options).wait(TRAINED)
    }

    /// The same without waiting for its end.
    #[track_caller]
    pub fn start_submit(&self, cli: &Cli, options: &[&str]) -> Command {
        let file = cli.folder().join(format!("{}.toml", self.name));
        fs::write(&file, self.text()).expect("the folder can be written to");
        let (file, data) = (file.to_string_lossy().into_owned(), examples());
        let base = ["job", "submit", &file, "--files", &data.to_string_lossy()];
        cli.start(&[&base, options].concat(), "")
    }

    /// Submits it and returns its id.
    #[track_caller]
    pub fn submit(&self, cli: &Cli) -> String {
        let outcome = self.submit_with(cli, &["--id-only"]).succeeds();
        outcome.stdout.trim().to_owned()
    }
}
