//! Texts that a model writes: one character after the other, each drawn by what the model takes
//! for likely after those before it. Which models are texts' is told by how they encode rows.

use crate::data::encoding::Encoding;
use crate::definition::LayerSpec;
use crate::engine::Engine;
use crate::model::{LoadError, TrainedModel};
use crate::random::{Purpose, Stream};

/// What is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// How the text begins; one character or more.
    pub prompt: String,
    /// How many more there shall be.
    pub characters: u32,
    /// Above 0. At 1 characters come as often as the model takes them for likely; below, likely
    /// ones come more often still.
    pub temperature: f64,
    /// All chance comes from here.
    pub seed: u64,
}

/// Why a model writes nothing.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    #[error("the model has not learnt from text; train one on a .txt file")]
    NoText,
    #[error("an attention of the model sees what comes later; train it with causal = true")]
    NotCausal,
    #[error("the prompt is empty; begin with one character or more")]
    NoPrompt,
    #[error("the text that the model has learnt from has no {0:?}; begin with others")]
    Character(char),
    #[error("a temperature of {0} is out of range; use a number above 0")]
    Temperature(f64),
    #[error(transparent)]
    Model(#[from] LoadError),
}

/// Writes on from a prompt and tells each character as soon as it is drawn.
///
/// # Errors
/// The model is none of texts, or the prompt none of its characters; what the engine reports.
pub fn sample<E: Engine>(
    model: &TrainedModel,
    engine: &mut E,
    sampling: &Sampling,
    written: &mut dyn FnMut(char),
) -> Result<(), SampleError> {
    let Some(Encoding::Characters { vocabulary, context }) = &model.file().encoding else {
        return Err(SampleError::NoText);
    };
    if sees_later(&model.file().model.layers) {
        return Err(SampleError::NotCausal);
    }
    if !(sampling.temperature > 0.0 && sampling.temperature.is_finite()) {
        return Err(SampleError::Temperature(sampling.temperature));
    }
    let (vocabulary, context): (Vec<char>, _) = (vocabulary.chars().collect(), *context as usize);
    let mut text = ids(&sampling.prompt, &vocabulary)?;
    let mut stream = Stream::new(sampling.seed, Purpose::Sampling);
    for _ in 0..sampling.characters {
        let seen = &text[text.len().saturating_sub(context)..];
        // What is behind the last character changes nothing before it.
        let mut row = vec![0.0; context];
        row[..seen.len()].copy_from_slice(seen);
        let outputs = model.predict(engine, &row)?;
        let logits = &outputs[(seen.len() - 1) * vocabulary.len()..][..vocabulary.len()];
        let next = draw(logits, sampling.temperature, &mut stream);
        written(vocabulary[next]);
        text.push(next as f32);
    }
    Ok(())
}

fn ids(prompt: &str, vocabulary: &[char]) -> Result<Vec<f32>, SampleError> {
    if prompt.is_empty() {
        return Err(SampleError::NoPrompt);
    }
    let id = |character: char| {
        let place = vocabulary.iter().position(|known| *known == character);
        place.map(|place| place as f32).ok_or(SampleError::Character(character))
    };
    prompt.chars().map(id).collect()
}

/// By the softmax of the logits.
fn draw(logits: &[f32], temperature: f64, stream: &mut Stream) -> usize {
    let highest = logits.iter().fold(f32::NEG_INFINITY, |highest, logit| highest.max(*logit));
    let share = |logit: &f32| libm::exp(f64::from(logit - highest) / temperature);
    let shares: Vec<f64> = logits.iter().map(share).collect();
    let mut left = stream.unit() * shares.iter().sum::<f64>();
    for (place, share) in shares.iter().enumerate() {
        left -= share;
        if left < 0.0 {
            return place;
        }
    }
    // Rounding may leave a rest; the likeliest is never wrong.
    logits.iter().position(|logit| *logit == highest).unwrap_or(0)
}

fn sees_later(layers: &[LayerSpec]) -> bool {
    layers.iter().any(|layer| match layer {
        LayerSpec::Attention { causal, .. } => !causal,
        LayerSpec::Residual { layers, .. } => sees_later(layers),
        LayerSpec::Dense { .. }
        | LayerSpec::Activation { .. }
        | LayerSpec::Dropout { .. }
        | LayerSpec::Flatten {}
        | LayerSpec::Embedding { .. }
        | LayerSpec::PositionalEmbedding {}
        | LayerSpec::Gru { .. }
        | LayerSpec::Lstm { .. }
        | LayerSpec::Reshape { .. }
        | LayerSpec::Conv2d { .. }
        | LayerSpec::MaxPool2d { .. }
        | LayerSpec::AvgPool2d { .. }
        | LayerSpec::GlobalAvgPool {}
        | LayerSpec::BatchNorm { .. }
        | LayerSpec::LayerNorm { .. } => false,
    })
}
