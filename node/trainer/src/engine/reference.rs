//! The same operations in f64, written for plainness, as the measure of the other engines. It
//! uses the host's own functions where the CPU engine uses `libm`.

mod arrays;
mod images;
mod losses;

use super::{
    AdamStep, Engine, EngineError, InputGradient, Linear, LinearGradients, LossFunction,
    LossGradient, Moments, RmsState, RmsStep, SgdStep, Target,
};
use crate::definition::Activation;

/// f64 in host memory, one thread.
#[derive(Debug)]
pub(crate) struct Reference;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exact {
    pub(crate) values: Vec<f64>,
    pub(crate) shape: Vec<usize>,
}

impl Exact {
    fn columns(&self) -> usize {
        *self.shape.last().expect("every shape has an axis")
    }

    fn zip(&self, other: &Self, work: impl Fn(f64, f64) -> f64) -> Self {
        assert_eq!(self.shape, other.shape);
        let pairs = self.values.iter().zip(&other.values);
        Self { values: pairs.map(|(a, b)| work(*a, *b)).collect(), shape: self.shape.clone() }
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns() + column]
    }
}

impl Engine for Reference {
    type Tensor = Exact;
    type Ids = Vec<u32>;

    fn name(&self) -> String {
        "reference".to_owned()
    }

    fn threads(&self) -> u32 {
        1
    }

    fn upload(&mut self, values: &[f32], shape: &[usize]) -> Result<Exact, EngineError> {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        Ok(Exact { values: values.iter().map(|v| f64::from(*v)).collect(), shape: shape.to_vec() })
    }

    fn upload_ids(&mut self, ids: &[u32]) -> Result<Vec<u32>, EngineError> {
        Ok(ids.to_vec())
    }

    fn download(&mut self, tensor: &Exact) -> Result<Vec<f32>, EngineError> {
        Ok(tensor.values.iter().map(|value| *value as f32).collect())
    }

    fn zeros(&mut self, shape: &[usize]) -> Result<Exact, EngineError> {
        Ok(Exact { values: vec![0.0; shape.iter().product()], shape: shape.to_vec() })
    }

    fn linear(&mut self, x: &Exact, weight: &Exact, bias: &Exact) -> Result<Exact, EngineError> {
        let Linear { rows, outputs, shape, .. } = Linear::of("linear", &x.shape, &weight.shape)?;
        let mut values = Vec::new();
        for row in 0..rows {
            for output in 0..outputs {
                let products = (0..x.columns()).map(|i| x.at(row, i) * weight.at(output, i));
                values.push(bias.values[output] + products.sum::<f64>());
            }
        }
        Ok(Exact { values, shape })
    }

    fn linear_backward(
        &mut self,
        x: &Exact,
        weight: &Exact,
        dy: &Exact,
        input: InputGradient,
    ) -> Result<LinearGradients<Exact>, EngineError> {
        let size = Linear::of("linear_backward", &x.shape, &weight.shape)?;
        let Linear { rows, outputs, inputs, .. } = size;
        let mut dw = self.zeros(&[outputs, inputs])?;
        let mut bias = self.zeros(&[outputs])?;
        let mut dx = self.zeros(&x.shape)?;
        for row in 0..rows {
            for output in 0..outputs {
                let slope = dy.at(row, output);
                bias.values[output] += slope;
                for i in 0..inputs {
                    dw.values[output * inputs + i] += slope * x.at(row, i);
                    dx.values[row * inputs + i] += slope * weight.at(output, i);
                }
            }
        }
        let input = (input == InputGradient::Wanted).then_some(dx);
        Ok(LinearGradients { input, weight: dw, bias })
    }

    fn activate(&mut self, function: Activation, x: &Exact) -> Result<Exact, EngineError> {
        let mut values = x.values.clone();
        if function == Activation::Softmax {
            values = values.chunks(x.columns()).flat_map(softmax).collect();
        } else {
            values.iter_mut().for_each(|value| *value = one(function, *value));
        }
        Ok(Exact { values, shape: x.shape.clone() })
    }

    /// By central differences for the functions of one value: independent of any formula.
    fn activate_backward(
        &mut self,
        function: Activation,
        x: &Exact,
        y: &Exact,
        dy: &Exact,
    ) -> Result<Exact, EngineError> {
        const H: f64 = 1e-5;
        if function != Activation::Softmax {
            let slope = |x: f64| (one(function, x + H) - one(function, x - H)) / (2.0 * H);
            return Ok(x.zip(dy, |x, dy| dy * slope(x)));
        }
        let mut dx = dy.clone();
        let columns = x.columns();
        for row in 0..x.shape[0] {
            for to in 0..columns {
                let jacobian = |from: usize| {
                    let same = if from == to { 1.0 } else { 0.0 };
                    y.at(row, from) * (same - y.at(row, to))
                };
                let sum = (0..columns).map(|from| dy.at(row, from) * jacobian(from)).sum();
                dx.values[row * columns + to] = sum;
            }
        }
        Ok(dx)
    }

    fn multiply(&mut self, left: &Exact, right: &Exact) -> Result<Exact, EngineError> {
        Ok(left.zip(right, |left, right| left * right))
    }

    fn loss(
        &mut self,
        function: &LossFunction<Exact>,
        output: &Exact,
        target: Target<'_, Self>,
        divisor: f64,
    ) -> Result<LossGradient<Exact>, EngineError> {
        Ok(losses::loss(function, output, target, divisor))
    }

    fn argmax_rows(&mut self, tensor: &Exact) -> Result<Vec<u32>, EngineError> {
        let largest = |row: &[f64]| {
            let best = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.iter().position(|value| *value == best).expect("the largest is in the row") as u32
        };
        Ok(tensor.values.chunks(tensor.columns()).map(largest).collect())
    }

    fn sgd(
        &mut self,
        parameter: &mut Exact,
        gradient: &Exact,
        velocity: Option<&mut Exact>,
        step: &SgdStep,
    ) -> Result<(), EngineError> {
        let decayed = parameter.zip(gradient, |p, g| g + step.weight_decay * p);
        let ahead = match velocity {
            None => decayed,
            Some(velocity) => {
                *velocity = velocity.zip(&decayed, |v, g| step.momentum * v + g);
                if step.nesterov {
                    decayed.zip(velocity, |g, v| g + step.momentum * v)
                } else {
                    velocity.clone()
                }
            }
        };
        *parameter = parameter.zip(&ahead, |p, a| p - step.learning_rate * a);
        Ok(())
    }

    fn adam(
        &mut self,
        parameter: &mut Exact,
        gradient: &Exact,
        moments: Moments<'_, Exact>,
        step: &AdamStep,
    ) -> Result<(), EngineError> {
        let gradient = parameter.zip(gradient, |p, g| g + step.weight_decay * p);
        let Moments { first, second } = moments;
        *first = first.zip(&gradient, |m, g| step.beta1 * m + (1.0 - step.beta1) * g);
        *second = second.zip(&gradient, |v, g| step.beta2 * v + (1.0 - step.beta2) * g * g);
        let change = first.zip(second, |m, v| {
            (m / step.correction1) / ((v / step.correction2).sqrt() + step.epsilon)
        });
        *parameter = parameter.zip(&change, |p, c| p * step.shrink - step.learning_rate * c);
        Ok(())
    }

    fn rmsprop(
        &mut self,
        parameter: &mut Exact,
        gradient: &Exact,
        state: RmsState<'_, Exact>,
        step: &RmsStep,
    ) -> Result<(), EngineError> {
        let RmsState { square, mean, velocity } = state;
        let gradient = parameter.zip(gradient, |p, g| g + step.weight_decay * p);
        *square = square.zip(&gradient, |s, g| step.alpha * s + (1.0 - step.alpha) * g * g);
        let mut spread = square.clone();
        if let Some(mean) = mean {
            *mean = mean.zip(&gradient, |m, g| step.alpha * m + (1.0 - step.alpha) * g);
            spread = spread.zip(mean, |s, m| (s - m * m).max(0.0));
        }
        let mut change = gradient.zip(&spread, |g, s| g / (s.sqrt() + step.epsilon));
        if let Some(velocity) = velocity {
            *velocity = velocity.zip(&change, |v, c| step.momentum * v + c);
            change = velocity.clone();
        }
        *parameter = parameter.zip(&change, |p, c| p - step.learning_rate * c);
        Ok(())
    }

    fn accumulate(&mut self, sum: &mut Exact, part: &Exact) -> Result<(), EngineError> {
        *sum = sum.zip(part, |sum, part| sum + part);
        Ok(())
    }

    fn scale_in_place(&mut self, tensor: &mut Exact, factor: f64) -> Result<(), EngineError> {
        tensor.values.iter_mut().for_each(|value| *value *= factor);
        Ok(())
    }

    fn clamp(&mut self, tensor: &mut Exact, limit: f64) -> Result<(), EngineError> {
        tensor.values.iter_mut().for_each(|value| *value = value.clamp(-limit, limit));
        Ok(())
    }

    fn sum_of_squares(&mut self, tensor: &Exact) -> Result<f64, EngineError> {
        Ok(tensor.values.iter().map(|value| value * value).sum())
    }
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let sum: f64 = row.iter().map(|value| value.exp()).sum();
    row.iter().map(|value| value.exp() / sum).collect()
}

fn one(function: Activation, x: f64) -> f64 {
    match function {
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu => x.max(0.01 * x),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Gelu => x * 0.5 * (1.0 + libm::erf(x / 2.0_f64.sqrt())),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Elu => {
            if x > 0.0 {
                x
            } else {
                x.exp() - 1.0
            }
        }
        Activation::Softmax => unreachable!("softmax works on rows"),
    }
}
