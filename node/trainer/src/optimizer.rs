//! Turns gradients into steps: keeps velocities and moments, and the numbers that change from
//! step to step. The arithmetic on tensors is the engine's.

use crate::definition::OptimizerSpec;
use crate::engine::{AdamStep, Engine, EngineError, Moments, RmsState, RmsStep, SgdStep};

/// State of one optimizer over all parameters of a model, in their order.
pub(crate) struct Optimizer<T> {
    spec: OptimizerSpec,
    slots: Vec<Slot<T>>,
    steps: u64,
}

enum Slot<T> {
    Plain,
    Velocity(T),
    Moments { first: T, second: T },
    Rms { square: T, mean: Option<T>, velocity: Option<T> },
}

impl<T: Clone + std::fmt::Debug> Optimizer<T> {
    /// State for parameters of these shapes.
    pub(crate) fn new<E: Engine<Tensor = T>>(
        engine: &mut E,
        spec: OptimizerSpec,
        shapes: &[Vec<usize>],
    ) -> Result<Self, EngineError> {
        let slots = shapes.iter().map(|shape| {
            Ok(match spec {
                OptimizerSpec::Sgd { momentum: 0.0, .. } => Slot::Plain,
                OptimizerSpec::Sgd { .. } => Slot::Velocity(engine.zeros(shape)?),
                OptimizerSpec::Adam { .. } | OptimizerSpec::Adamw { .. } => {
                    Slot::Moments { first: engine.zeros(shape)?, second: engine.zeros(shape)? }
                }
                OptimizerSpec::Rmsprop { momentum, centered, .. } => Slot::Rms {
                    square: engine.zeros(shape)?,
                    mean: if centered { Some(engine.zeros(shape)?) } else { None },
                    velocity: if momentum == 0.0 { None } else { Some(engine.zeros(shape)?) },
                },
            })
        });
        Ok(Self { spec, slots: slots.collect::<Result<_, _>>()?, steps: 0 })
    }

    /// Changes every parameter by its gradient, at a learning rate that is this step's.
    pub(crate) fn step<E: Engine<Tensor = T>>(
        &mut self,
        engine: &mut E,
        parameters: Vec<&mut T>,
        gradients: &[T],
        learning_rate: f64,
    ) -> Result<(), EngineError> {
        assert_eq!(parameters.len(), gradients.len(), "one gradient for each parameter");
        assert_eq!(parameters.len(), self.slots.len(), "one state for each parameter");
        self.steps += 1;
        let kind = self.kind(learning_rate);
        let pairs = parameters.into_iter().zip(gradients);
        for ((parameter, gradient), slot) in pairs.zip(&mut self.slots) {
            match (&kind, slot) {
                (Kind::Sgd(step), Slot::Velocity(velocity)) => {
                    engine.sgd(parameter, gradient, Some(velocity), step)?;
                }
                (Kind::Adam(step), Slot::Moments { first, second }) => {
                    engine.adam(parameter, gradient, Moments { first, second }, step)?;
                }
                (Kind::Sgd(step), Slot::Plain) => engine.sgd(parameter, gradient, None, step)?,
                (Kind::Rms(step), Slot::Rms { square, mean, velocity }) => {
                    let (mean, velocity) = (mean.as_mut(), velocity.as_mut());
                    let state = RmsState { square, mean, velocity };
                    engine.rmsprop(parameter, gradient, state, step)?;
                }
                (Kind::Sgd(_) | Kind::Adam(_) | Kind::Rms(_), _) => {
                    unreachable!("slots are made for the optimizer's kind")
                }
            }
        }
        Ok(())
    }

    /// The tensors of the state, each with the number of its parameter and its own name; the rest
    /// of it is [`Self::steps`].
    pub(crate) fn state_mut(&mut self) -> Vec<(usize, &'static str, &mut T)> {
        let mut state = Vec::new();
        for (parameter, slot) in self.slots.iter_mut().enumerate() {
            match slot {
                Slot::Plain => {}
                Slot::Velocity(velocity) => state.push((parameter, "velocity", velocity)),
                Slot::Moments { first, second } => {
                    state.extend([(parameter, "first", first), (parameter, "second", second)]);
                }
                Slot::Rms { square, mean, velocity } => {
                    state.push((parameter, "square", square));
                    state.extend(mean.as_mut().map(|mean| (parameter, "mean", mean)));
                    state.extend(velocity.as_mut().map(|it| (parameter, "velocity", it)));
                }
            }
        }
        state
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn resume_at(&mut self, steps: u64) {
        self.steps = steps;
    }

    fn kind(&self, learning_rate: f64) -> Kind {
        match self.spec {
            OptimizerSpec::Sgd { momentum, nesterov, weight_decay, .. } => {
                Kind::Sgd(SgdStep { learning_rate, momentum, nesterov, weight_decay })
            }
            OptimizerSpec::Adam { beta1, beta2, epsilon, weight_decay, .. } => {
                let step = self.adam(learning_rate, beta1, beta2, epsilon);
                Kind::Adam(AdamStep { weight_decay, ..step })
            }
            OptimizerSpec::Adamw { beta1, beta2, epsilon, weight_decay, .. } => {
                let step = self.adam(learning_rate, beta1, beta2, epsilon);
                Kind::Adam(AdamStep { shrink: 1.0 - learning_rate * weight_decay, ..step })
            }
            OptimizerSpec::Rmsprop { alpha, epsilon, momentum, weight_decay, .. } => {
                Kind::Rms(RmsStep { learning_rate, alpha, epsilon, momentum, weight_decay })
            }
        }
    }

    fn adam(&self, learning_rate: f64, beta1: f64, beta2: f64, epsilon: f64) -> AdamStep {
        // From libm: the host's powi may differ in the last bit.
        let correction = |beta| 1.0 - libm::pow(beta, self.steps as f64);
        AdamStep {
            learning_rate,
            beta1,
            beta2,
            epsilon,
            weight_decay: 0.0,
            shrink: 1.0,
            correction1: correction(beta1),
            correction2: correction(beta2),
        }
    }
}

enum Kind {
    Sgd(SgdStep),
    Adam(AdamStep),
    Rms(RmsStep),
}
