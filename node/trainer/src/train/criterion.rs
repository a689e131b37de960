//! A loss on data: settings brought onto the engine, targets picked by row,
//! and by what the sum over a batch is divided, so that parts of a batch add up to the whole.

use crate::data::{Dataset, Targets};
use crate::definition::{ClassWeights, Loss, LossSpec, PositiveWeight};
use crate::engine::{Engine, EngineError, LossFunction, LossGradient, Target};
use crate::layers::batched;
use crate::metrics::{Outputs, Seen, Tally};

/// A loss that knows its data's classes.
#[derive(Debug)]
pub(crate) struct Criterion<T> {
    kind: Loss,
    function: LossFunction<T>,
    /// Of each class, where the loss is a mean by weight.
    weights: Option<Vec<f64>>,
    /// Classes, or values of a row.
    outputs: usize,
    /// What a model gives for a row, where that is not yet one row of classes for each position.
    flat: Option<Vec<usize>>,
    top_k: Option<u32>,
}

/// The loss of some rows: what it did, and which way is up.
#[derive(Debug)]
pub(crate) struct Measured<T> {
    pub(crate) seen: Seen,
    pub(crate) gradient: T,
}

impl<T: Clone + std::fmt::Debug> Criterion<T> {
    /// Of a loss that is settled, for a model that gives `output`, without the batch axis.
    pub(crate) fn new<E: Engine<Tensor = T>>(
        engine: &mut E,
        loss: &LossSpec,
        targets: &Targets,
        output: &[usize],
        top_k: Option<u32>,
    ) -> Result<Self, EngineError> {
        let outputs = targets.names().len();
        let mut weights = None;
        let function = match loss {
            LossSpec::SoftmaxCrossEntropy { label_smoothing, class_weights } => {
                weights = class_weights.as_ref().map(|it| match it {
                    ClassWeights::Each(weights) => weights.clone(),
                    ClassWeights::Named(_) => unreachable!("the loss is settled with its data"),
                });
                let weights = uploaded(engine, weights.as_deref())?;
                LossFunction::SoftmaxCrossEntropy { smoothing: *label_smoothing, weights }
            }
            LossSpec::BinaryCrossEntropy { positive_weight } => {
                let weights = positive_weight.as_ref().map(|weight| match weight {
                    PositiveWeight::All(weight) => vec![*weight; outputs],
                    PositiveWeight::Each(weights) => weights.clone(),
                });
                let positive_weight = uploaded(engine, weights.as_deref())?;
                LossFunction::BinaryCrossEntropy { positive_weight }
            }
            LossSpec::Mse => LossFunction::Squared,
            LossSpec::Mae => LossFunction::Absolute,
            LossSpec::Huber { delta } => LossFunction::Huber { delta: *delta },
        };
        // A mean by weight is one over rows of a single class.
        let weights = weights.filter(|_| !matches!(targets, Targets::Values { .. }));
        let flat = (output.last() != Some(&outputs)).then(|| output.to_vec());
        Ok(Self { kind: loss.kind(), function, weights, outputs, flat, top_k })
    }

    pub(crate) fn tally(&self, confusion: bool) -> Tally {
        Tally::new(self.kind, self.outputs, self.top_k, confusion)
    }

    /// What the sum of the losses of these rows is divided by to be their mean.
    pub(crate) fn weight(&self, data: &Dataset, rows: &[u32]) -> f64 {
        match &data.targets {
            Targets::Values { .. } if self.kind == Loss::SoftmaxCrossEntropy => rows.len() as f64,
            Targets::Values { .. } => (rows.len() * self.outputs) as f64,
            Targets::Classes { .. } | Targets::Positions { .. } => {
                let classes = data.targets.classes(rows);
                match &self.weights {
                    Some(weights) => classes.map(|class| weights[class as usize]).sum(),
                    None => classes.count() as f64,
                }
            }
        }
    }

    /// The loss of `output`, the model's on `rows`, as a part of a batch of weight `whole`.
    pub(crate) fn measure<E: Engine<Tensor = T>>(
        &self,
        engine: &mut E,
        output: &T,
        data: &Dataset,
        rows: &[u32],
        whole: f64,
    ) -> Result<Measured<T>, EngineError> {
        let (found, outputs) = match &data.targets {
            Targets::Classes { .. } | Targets::Positions { .. } => {
                let truth: Vec<u32> = data.targets.classes(rows).collect();
                match &self.flat {
                    None => self.of_classes(engine, output, truth, whole)?,
                    Some(flat) => {
                        let shape = [truth.len(), self.outputs];
                        let logits = engine.reshape(output.clone(), &shape)?;
                        let (mut found, seen) = self.of_classes(engine, &logits, truth, whole)?;
                        let shape = batched(rows.len(), flat);
                        found.gradient = engine.reshape(found.gradient, &shape)?;
                        (found, seen)
                    }
                }
            }
            Targets::Values { values, names } => {
                let width = names.len();
                let each = rows.iter().flat_map(|&row| &values[row as usize * width..][..width]);
                let truth: Vec<f32> = each.copied().collect();
                let on_engine = engine.upload(&truth, &[rows.len(), width])?;
                let target = Target::Values(&on_engine);
                let found = engine.loss(&self.function, output, target, whole)?;
                let outputs = if self.kind == Loss::SoftmaxCrossEntropy {
                    let largest = engine.argmax_rows(&on_engine)?;
                    self.classes(engine, output, largest)?
                } else {
                    Outputs::Values { predicted: engine.download(output)?, truth }
                };
                (found, outputs)
            }
        };
        let seen = Seen { loss: found.loss * whole, weight: self.weight(data, rows), outputs };
        Ok(Measured { seen, gradient: found.gradient })
    }

    fn of_classes<E: Engine<Tensor = T>>(
        &self,
        engine: &mut E,
        output: &T,
        truth: Vec<u32>,
        whole: f64,
    ) -> Result<(LossGradient<T>, Outputs), EngineError> {
        let on_engine = engine.upload_ids(&truth)?;
        let target = Target::Classes(&on_engine);
        let found = engine.loss(&self.function, output, target, whole)?;
        Ok((found, self.classes(engine, output, truth)?))
    }

    fn classes<E: Engine<Tensor = T>>(
        &self,
        engine: &mut E,
        output: &T,
        truth: Vec<u32>,
    ) -> Result<Outputs, EngineError> {
        let predicted = engine.argmax_rows(output)?;
        let logits = match self.top_k {
            Some(_) => Some(engine.download(output)?),
            None => None,
        };
        Ok(Outputs::Classes { predicted, truth, logits })
    }
}

fn uploaded<E: Engine>(
    engine: &mut E,
    weights: Option<&[f64]>,
) -> Result<Option<E::Tensor>, EngineError> {
    let Some(weights) = weights else {
        return Ok(None);
    };
    let weights: Vec<f32> = weights.iter().map(|weight| *weight as f32).collect();
    engine.upload(&weights, &[weights.len()]).map(Some)
}
