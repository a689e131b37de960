//! What kernels of all levels have in common, and what only one has.

use super::*;

/// Results of `work` at each level up to the processor's: those that fuse have the same bits, and
/// all of them are near the sums of `exact`.
pub(in super::super) fn same_at_all_levels(exact: &[f64], work: impl Fn(Level) -> Vec<f32>) {
    let plain = work(Level::Plain);
    near(&plain, exact);
    for &level in levels_that_fuse() {
        let found = work(level);
        near(&found, exact);
        let first = levels_that_fuse()[0];
        assert_eq!(bits(&found), bits(&work(first)), "{level:?} and {first:?}");
    }
}

fn near(found: &[f32], exact: &[f64]) {
    for (found, exact) in found.iter().zip(exact) {
        assert!((f64::from(*found) - exact).abs() < 1e-4, "{found} for {exact}");
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[cfg(target_arch = "x86_64")]
fn levels_that_fuse() -> &'static [Level] {
    match Level::of_processor() {
        Level::Plain => &[],
        Level::Avx2 => &[Level::Avx2],
        Level::Avx512 => &[Level::Avx2, Level::Avx512],
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn levels_that_fuse() -> &'static [Level] {
    &[]
}

#[test]
fn a_square_is_turned() {
    struct Turn(Vec<f32>);
    impl Kernel for &mut Turn {
        #[inline(always)]
        fn run<V: Vector>(self) {
            let rows = self.0.as_chunks::<TURNED>().0;
            let turned = V::turned(std::array::from_fn(|row| &rows[row]));
            self.0 = turned.as_flattened().to_vec();
        }
    }
    let values: Vec<f32> = (0..TURNED * TURNED).map(|index| index as f32).collect();
    for level in [&[Level::Plain], levels_that_fuse()].concat() {
        let mut turned = Turn(values.clone());
        level.run(&mut turned);
        for (index, value) in turned.0.into_iter().enumerate() {
            assert_eq!(value, values[index % TURNED * TURNED + index / TURNED], "{level:?}");
        }
    }
}
