//! Brings features to a common range with one offset and one factor a column, measured on the
//! training rows alone, so that a model can do the same to rows it has never seen.

use serde::{Deserialize, Serialize};

use super::{DataError, Features, Reading};
use crate::definition::{DataSpec, Normalize};

/// `x' = (x - offset) * factor`, column by column, in f32.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    pub offset: Vec<f32>,
    pub factor: Vec<f32>,
}

impl Scaling {
    /// Measures `features` on the rows `train`.
    pub(crate) fn fit(
        spec: &DataSpec,
        features: &Features,
        train: &[u32],
        reading: &Reading<'_>,
    ) -> Result<Self, DataError> {
        let (offset, factor) = match spec.normalize {
            Normalize::None => {
                let factor = spec.scale.unwrap_or(1.0) as f32;
                (vec![0.0; features.columns()], vec![factor; features.columns()])
            }
            Normalize::Standard => standard(features, train, reading)?,
            Normalize::MinMax => min_max(features, train, reading)?,
        };
        Ok(Self { offset, factor })
    }

    /// Scales whole rows in place.
    pub(crate) fn apply(&self, features: &mut [f32]) {
        for row in features.chunks_exact_mut(self.offset.len()) {
            for ((value, offset), factor) in row.iter_mut().zip(&self.offset).zip(&self.factor) {
                *value = (*value - offset) * factor;
            }
        }
    }
}

fn standard(
    features: &Features,
    train: &[u32],
    reading: &Reading<'_>,
) -> Result<(Vec<f32>, Vec<f32>), DataError> {
    let count = train.len() as f64;
    let mut mean = vec![0.0_f64; features.columns()];
    features.each(reading, train.iter().copied(), |_, row| {
        row.iter().zip(&mut mean).for_each(|(value, mean)| *mean += f64::from(*value));
        Ok::<(), DataError>(())
    })?;
    mean.iter_mut().for_each(|mean| *mean /= count);
    let mut variance = vec![0.0_f64; features.columns()];
    features.each(reading, train.iter().copied(), |_, row| {
        for ((value, mean), variance) in row.iter().zip(&mean).zip(&mut variance) {
            *variance += (f64::from(*value) - mean) * (f64::from(*value) - mean);
        }
        Ok::<(), DataError>(())
    })?;
    let factor = variance.iter().map(|sum| inverse((sum / count).sqrt())).collect();
    Ok((mean.into_iter().map(|mean| mean as f32).collect(), factor))
}

fn min_max(
    features: &Features,
    train: &[u32],
    reading: &Reading<'_>,
) -> Result<(Vec<f32>, Vec<f32>), DataError> {
    let mut low = vec![f32::INFINITY; features.columns()];
    let mut high = vec![f32::NEG_INFINITY; features.columns()];
    features.each(reading, train.iter().copied(), |_, row| {
        for ((value, low), high) in row.iter().zip(&mut low).zip(&mut high) {
            *low = low.min(*value);
            *high = high.max(*value);
        }
        Ok::<(), DataError>(())
    })?;
    let spread = low.iter().zip(&high).map(|(low, high)| f64::from(*high) - f64::from(*low));
    let factor = spread.map(inverse).collect();
    Ok((low, factor))
}

/// A column that never changes is only shifted: there is nothing to scale it by.
fn inverse(spread: f64) -> f32 {
    let factor = (1.0 / spread) as f32;
    if factor.is_finite() && factor != 0.0 { factor } else { 1.0 }
}
