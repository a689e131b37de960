//! Losses, summed in f64 in the order of rows; their gradients take the place of the outputs.

/// Mean of `-ln softmax(row)[class]`; `logits` become the gradient.
pub(super) fn softmax_cross_entropy(logits: &mut [f32], classes: &[u32], width: usize) -> f64 {
    let share = 1.0 / classes.len() as f32;
    let mut total = 0.0;
    for (row, &class) in logits.chunks_exact_mut(width).zip(classes) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let chosen = row[class as usize] - largest;
        let mut sum = 0.0;
        for value in row.iter_mut() {
            *value = libm::expf(*value - largest);
            sum += *value;
        }
        total += f64::from(libm::logf(sum)) - f64::from(chosen);
        row.iter_mut().for_each(|value| *value *= share / sum);
        row[class as usize] -= share;
    }
    total / classes.len() as f64
}

/// Mean of the squared differences; `predicted` become the gradient.
pub(super) fn mean_squared_error(predicted: &mut [f32], target: &[f32]) -> f64 {
    let count = predicted.len() as f64;
    let share = (2.0 / count) as f32;
    let mut total = 0.0;
    for (value, target) in predicted.iter_mut().zip(target) {
        let difference = *value - target;
        total += f64::from(difference) * f64::from(difference);
        *value = share * difference;
    }
    total / count
}
