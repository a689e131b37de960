//! Brings one channel of an image to another size with a triangle filter that widens as the image
//! shrinks: what Pillow and torchvision call bilinear with antialiasing. Only sums and products
//! of f64 in a fixed order, so that every machine gives the same bits.

/// Appends `plane`, `from` (height, width) points row by row, in the size `to`.
pub(super) fn append(plane: &[u8], from: [usize; 2], to: [usize; 2], out: &mut Vec<f32>) {
    if from == to {
        out.extend(plane.iter().map(|&value| f32::from(value)));
        return;
    }
    let [from_height, from_width] = from;
    let [to_height, to_width] = to;
    let across = weights(from_width, to_width);
    let down = weights(from_height, to_height);
    let mut narrow = vec![0.0_f64; from_height * to_width];
    for (row, narrow) in plane.chunks_exact(from_width).zip(narrow.chunks_exact_mut(to_width)) {
        for (place, window) in narrow.iter_mut().zip(&across) {
            let points = row[window.start..].iter().zip(&window.weights);
            *place = points.map(|(&value, weight)| f64::from(value) * weight).sum();
        }
    }
    let mut row = vec![0.0_f64; to_width];
    for window in &down {
        row.fill(0.0);
        let lines = narrow[window.start * to_width..].chunks_exact(to_width);
        for (line, weight) in lines.zip(&window.weights) {
            row.iter_mut().zip(line).for_each(|(sum, value)| *sum += value * weight);
        }
        out.extend(row.iter().map(|&value| value as f32));
    }
    debug_assert_eq!(down.len(), to_height);
}

/// The points that one new point is the weighted mean of.
struct Window {
    start: usize,
    weights: Vec<f64>,
}

fn weights(from: usize, to: usize) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let window = |index: usize| {
        let center = (index as f64 + 0.5) * scale;
        let start = (center - reach + 0.5).max(0.0) as usize;
        let end = ((center + reach + 0.5) as usize).min(from).max(start + 1);
        let weight = |point: usize| (1.0 - ((point as f64 + 0.5 - center) / reach).abs()).max(0.0);
        let mut weights: Vec<f64> = (start..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        Window { start, weights }
    };
    (0..to).map(window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resized(plane: &[u8], from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
        let mut out = Vec::new();
        append(plane, from, to, &mut out);
        out
    }

    #[test]
    fn an_even_image_stays_even_at_any_size() {
        for to in [[1, 1], [2, 7], [3, 3], [40, 1], [9, 16]] {
            let out = resized(&[200; 35], [5, 7], to);
            assert_eq!(out.len(), to[0] * to[1]);
            assert!(out.iter().all(|value| (value - 200.0).abs() < 1e-4), "{to:?}: {out:?}");
        }
    }

    /// Pillow 13.0: `Image.fromarray(plane).resize((3, 4), Image.BILINEAR)` of 32-bit floats.
    #[test]
    fn shrinks_as_pillow_does() {
        let plane = [
            172, 47, 117, 192, 67, 251, 195, 103, 9, 211, 21, 242, 36, 87, 70, 216, 88, 140, 58,
            193, 230, 39, 87, 174, 88, 81, 165, 25, 77, 72, 9, 148, 115, 208, 243,
        ];
        let known = [
            101.446_43, 134.382_35, 168.267_85, 106.928_57, 117.122_55, 131.244_05, 108.470_24,
            113.142_16, 130.452_38, 67.339_29, 107.705_88, 174.678_57,
        ];
        let out = resized(&plane, [5, 7], [4, 3]);
        assert_eq!(out.len(), known.len());
        for (ours, theirs) in out.iter().zip(known) {
            assert!((ours - theirs).abs() < 1e-3, "{out:?}");
        }
    }

    #[test]
    fn doubling_interpolates_between_neighbours() {
        let out = resized(&[0, 100], [1, 2], [1, 4]);
        assert_eq!(out, [0.0, 25.0, 75.0, 100.0]);
    }
}
