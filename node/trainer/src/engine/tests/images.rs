//! Convolution, pooling and norms on drawn shapes against the reference, and over numbers of
//! threads.

use proptest::prelude::*;

use super::*;
use crate::engine::images::{Conv2d, ConvPool, Statistics, Window};

/// One axis of a convolution whose window fits its input.
#[derive(Clone, Copy, Debug)]
struct Along {
    length: usize,
    kernel: usize,
    stride: usize,
    before: usize,
    after: usize,
    dilation: usize,
}

fn along() -> impl Strategy<Value = Along> {
    let sizes = (1_usize..5, 1_usize..4, 0_usize..3, 0_usize..3, 1_usize..4, 0_usize..9);
    sizes.prop_map(|(kernel, stride, before, after, dilation, more)| {
        let least = ((kernel - 1) * dilation + 1).saturating_sub(before + after).max(1);
        Along { length: least + more, kernel, stride, before, after, dilation }
    })
}

fn window(h: Along, w: Along) -> Window {
    Window {
        kernel: [h.kernel, w.kernel],
        stride: [h.stride, w.stride],
        before: [h.before, w.before],
        after: [h.after, w.after],
        dilation: [h.dilation, w.dilation],
    }
}

/// A pooling must see the picture with every window.
fn pooled(axis: Along) -> Along {
    let (before, after) = (axis.before.min(axis.kernel / 2), axis.after.min(axis.kernel / 2));
    let length = axis.length.max(axis.kernel);
    Along { before, after, dilation: 1, length, ..axis }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn convolutions_and_their_gradients(
        seed in any::<u64>(),
        rows in 1_usize..20,
        groups in 1_usize..4,
        own in 1_usize..5,
        outputs in 1_usize..6,
        h in along(),
        w in along(),
        threads in prop::sample::select(vec![1_usize, 3]),
    ) {
        on_each!(threads, engine => {
            let conv = Conv2d { window: window(h, w), groups };
            let x = drawn(engine, seed, &[rows, groups * own, h.length, w.length], 2.0);
            let k = drawn(engine, seed ^ 1, &[groups * outputs, own, h.kernel, w.kernel], 1.0);
            let b = drawn(engine, seed ^ 2, &[groups * outputs], 1.0);
            let y = engine.conv2d(&x.fast, &k.fast, Some(&b.fast), &conv).unwrap();
            let exact = Reference.conv2d(&x.exact, &k.exact, Some(&b.exact), &conv).unwrap();
            near(engine, &y, &exact, 1e-5);
            let plain = engine.conv2d(&x.fast, &k.fast, None, &conv).unwrap();
            near(engine, &plain, &Reference.conv2d(&x.exact, &k.exact, None, &conv).unwrap(), 1e-5);
            let dy = drawn(engine, seed ^ 3, &exact.shape, 1.0);
            let wanted = InputGradient::Wanted;
            let found = engine.conv2d_backward(&x.fast, &k.fast, &dy.fast, &conv, wanted).unwrap();
            let exact = Reference.conv2d_backward(&x.exact, &k.exact, &dy.exact, &conv, wanted);
            let exact = exact.unwrap();
            near(engine, &found.weight, &exact.weight, 1e-5);
            near(engine, &found.bias, &exact.bias, 1e-5);
            near(engine, &found.input.unwrap(), &exact.input.unwrap(), 1e-5);
            let unused = InputGradient::Unused;
            let without = engine.conv2d_backward(&x.fast, &k.fast, &dy.fast, &conv, unused).unwrap();
            prop_assert!(without.input.is_none());
            prop_assert_eq!(
                engine.download(&without.weight).unwrap(),
                engine.download(&found.weight).unwrap()
            );
        });
    }

    #[test]
    fn poolings_and_their_gradients(
        seed in any::<u64>(),
        rows in 1_usize..6,
        channels in 1_usize..5,
        h in along().prop_map(pooled),
        w in along().prop_map(pooled),
    ) {
        on_each!(1, engine => {
            pool(engine, seed, [rows, channels, h.length, w.length], &window(h, w));
        });
    }

    /// The windows that most models have.
    #[test]
    fn poolings_of_squares_and_their_gradients(
        seed in any::<u64>(),
        rows in 1_usize..3,
        channels in 1_usize..3,
        lines in 2_usize..10,
        columns in 2_usize..40,
    ) {
        on_each!(1, engine => { pool(engine, seed, [rows, channels, lines, columns], &SQUARES) });
    }

    #[test]
    fn norms_and_their_gradients(
        seed in any::<u64>(),
        rows in 4_usize..20,
        channels in 1_usize..40,
        points in prop::sample::select(vec![1_usize, 2, 7, 30]),
        spread in prop::sample::select(vec![0.5_f32, 20.0]),
    ) {
        on_each!(1, engine => {
            let epsilon = 1e-2;
            let x = drawn(engine, seed, &[rows, channels, points], spread);
            let dy = drawn(engine, seed ^ 1, &[rows, channels, points], 1.0);
            let w = drawn(engine, seed ^ 2, &[channels], 1.0);
            let b = drawn(engine, seed ^ 3, &[channels], 1.0);
            let found = engine.batch_norm(&x.fast, &w.fast, &b.fast, epsilon).unwrap();
            let exact = Reference.batch_norm(&x.exact, &w.exact, &b.exact, epsilon).unwrap();
            near(engine, &found.output, &exact.output, 1e-5);
            near(engine, &found.mean, &exact.mean, 1e-6);
            near(engine, &found.variance, &exact.variance, 1e-6);
            let by = Statistics { mean: &found.mean, variance: &found.variance };
            let back = engine.batch_norm_backward(&x.fast, &w.fast, by, &dy.fast, epsilon).unwrap();
            let by = Statistics { mean: &exact.mean, variance: &exact.variance };
            let exact =
                Reference.batch_norm_backward(&x.exact, &w.exact, by, &dy.exact, epsilon).unwrap();
            near(engine, &back.input, &exact.input, 2e-5);
            near(engine, &back.weight, &exact.weight, 2e-5);
            near(engine, &back.bias, &exact.bias, 1e-5);

            let w = drawn(engine, seed ^ 2, &[channels, points], 1.0);
            let b = drawn(engine, seed ^ 3, &[channels, points], 1.0);
            let y = engine.layer_norm(&x.fast, &w.fast, &b.fast, epsilon).unwrap();
            let exact = Reference.layer_norm(&x.exact, &w.exact, &b.exact, epsilon).unwrap();
            near(engine, &y, &exact, 1e-5);
            let back = engine.layer_norm_backward(&x.fast, &w.fast, &dy.fast, epsilon).unwrap();
            let exact =
                Reference.layer_norm_backward(&x.exact, &w.exact, &dy.exact, epsilon).unwrap();
            near(engine, &back.input, &exact.input, 2e-5);
            near(engine, &back.weight, &exact.weight, 2e-5);
            near(engine, &back.bias, &exact.bias, 1e-5);

            let mut sum = drawn(engine, seed ^ 4, &[channels, points], 1.0);
            engine.blend(&mut sum.fast, 0.75, &w.fast, 0.25).unwrap();
            Reference.blend(&mut sum.exact, 0.75, &w.exact, 0.25).unwrap();
            near(engine, &sum.fast, &sum.exact, 1e-6);
        });
    }
}

const SQUARES: Window =
    Window { kernel: [2; 2], stride: [2; 2], before: [0; 2], after: [0; 2], dilation: [1; 2] };

fn pool<E: Engine>(engine: &mut E, seed: u64, shape: [usize; 4], window: &Window) {
    let x = drawn(engine, seed, &shape, 2.0);
    let y = engine.max_pool2d(&x.fast, window).unwrap();
    let exact = Reference.max_pool2d(&x.exact, window).unwrap();
    near(engine, &y, &exact, 0.0);
    let dy = drawn(engine, seed ^ 1, &exact.shape, 1.0);
    let dx = engine.max_pool2d_backward(&x.fast, &dy.fast, window).unwrap();
    let exact = Reference.max_pool2d_backward(&x.exact, &dy.exact, window).unwrap();
    near(engine, &dx, &exact, 1e-6);
    let y = engine.avg_pool2d(&x.fast, window).unwrap();
    near(engine, &y, &Reference.avg_pool2d(&x.exact, window).unwrap(), 1e-6);
    let dx = engine.avg_pool2d_backward(&dy.fast, &shape, window).unwrap();
    let exact = Reference.avg_pool2d_backward(&dy.exact, &shape, window).unwrap();
    near(engine, &dx, &exact, 1e-6);
    // All are the largest: the first of each window takes the slope.
    let same = drawn(engine, seed, &shape, 0.0);
    let dx = engine.max_pool2d_backward(&same.fast, &dy.fast, window).unwrap();
    let exact = Reference.max_pool2d_backward(&same.exact, &dy.exact, window).unwrap();
    near(engine, &dx, &exact, 1e-6);
}

/// Joined, they give what each of them gives by itself, to the bit, whatever the windows.
#[test]
fn a_convolution_and_its_pooling_are_what_they_are_one_by_one() {
    let same =
        Window { kernel: [3; 2], stride: [1; 2], before: [1; 2], after: [1; 2], dilation: [1; 2] };
    let far = Window { stride: [2, 1], dilation: [1, 2], ..same };
    let wide = Window { kernel: [3; 2], stride: [2; 2], ..same };
    let cases = [
        // Rows, channels, lines and columns; filters, groups; windows.
        ([11, 3, 12, 10], [5, 1], same, SQUARES),
        ([3, 4, 13, 11], [6, 2], same, SQUARES),
        ([2, 2, 9, 2], [3, 1], same, SQUARES),
        ([2, 2, 11, 17], [9, 1], far, SQUARES),
        ([2, 3, 12, 11], [4, 1], same, wide),
        // More than one band, the last of an odd number of lines.
        ([1, 8, 127, 260], [16, 1], same, SQUARES),
    ];
    on_each!(1, engine => {
        for (seed, (x, [filters, groups], window, pool)) in (1..).zip(cases) {
            let joined = ConvPool { conv: Conv2d { window, groups }, pool };
            joined_is_one_by_one(engine, seed, x, filters, &joined);
        }
    });
}

fn joined_is_one_by_one<E: Engine>(
    engine: &mut E,
    seed: u64,
    shape: [usize; 4],
    filters: usize,
    joined: &ConvPool,
) {
    let [rows, channels, ..] = shape;
    let x = drawn(engine, seed, &shape, 2.0).fast;
    let kernel = [filters, channels / joined.conv.groups, 3, 3];
    let w = drawn(engine, seed ^ 1, &kernel, 1.0).fast;
    let bias = drawn(engine, seed ^ 2, &[filters], 1.0).fast;
    let input = InputGradient::Wanted;
    for bias in [Some(&bias), None] {
        let found = engine.conv2d_max_pool(&x, &w, bias, joined).unwrap();
        let between = engine.conv2d(&x, &w, bias, &joined.conv).unwrap();
        let y = engine.max_pool2d(&between, &joined.pool).unwrap();
        equal(engine, &found.output, &y);
        let origin = &found.origin;
        let back = engine.conv2d_max_pool_backward(&x, &w, origin, &y, joined, input).unwrap();
        let slope = engine.max_pool2d_backward(&between, &y, &joined.pool).unwrap();
        let each = engine.conv2d_backward(&x, &w, &slope, &joined.conv, input).unwrap();
        equal(engine, &back.weight, &each.weight);
        equal(engine, &back.bias, &each.bias);
        equal(engine, &back.input.unwrap(), &each.input.unwrap());
    }
    let wrong = engine.zeros(&[rows, filters, 1, 1]).unwrap();
    let back = engine.conv2d_max_pool_backward(&x, &w, &wrong, &wrong, joined, input);
    assert!(matches!(back, Err(EngineError::Shape { .. })));
}

fn equal<E: Engine>(engine: &mut E, left: &E::Tensor, right: &E::Tensor) {
    let (left, right) = (engine.download(left).unwrap(), engine.download(right).unwrap());
    assert_eq!(left, right);
    assert!(left.iter().any(|value| *value != 0.0));
}

/// Large enough to be divided, in rows that fill no whole chunk, and with more columns than are
/// gathered at once.
#[test]
fn pictures_are_the_same_bits_on_any_number_of_threads() {
    let window =
        Window { kernel: [3, 3], stride: [1, 1], before: [1, 1], after: [1, 1], dilation: [1, 1] };
    let conv = Conv2d { window, groups: 1 };
    let pool = Window { kernel: [2, 2], stride: [2, 2], before: [0; 2], after: [0; 2], ..window };
    let results = [1, 2, 3, 4, 7].map(|threads| {
        let engine = &mut CpuEngine::new(threads).unwrap();
        let x = drawn(engine, 1, &[45, 40, 22, 21], 2.0).fast;
        let w = drawn(engine, 2, &[12, 40, 3, 3], 1.0).fast;
        let b = drawn(engine, 3, &[12], 1.0).fast;
        let y = engine.conv2d(&x, &w, Some(&b), &conv).unwrap();
        let back = engine.conv2d_backward(&x, &w, &y, &conv, InputGradient::Wanted).unwrap();
        let normal = engine.batch_norm(&y, &b, &b, 1e-5).unwrap();
        let by = Statistics { mean: &normal.mean, variance: &normal.variance };
        let norm = engine.batch_norm_backward(&y, &b, by, &normal.output, 1e-5).unwrap();
        let small = engine.max_pool2d(&y, &pool).unwrap();
        let large = engine.max_pool2d_backward(&y, &small, &pool).unwrap();
        let joined = ConvPool { conv, pool };
        let pooled = engine.conv2d_max_pool(&x, &w, Some(&b), &joined).unwrap();
        let (origin, dy) = (&pooled.origin, &pooled.output);
        let input = InputGradient::Wanted;
        let pooled_back =
            engine.conv2d_max_pool_backward(&x, &w, origin, dy, &joined, input).unwrap();
        let mean = engine.avg_pool2d(&y, &pool).unwrap();
        let spread = engine.avg_pool2d_backward(&mean, &[45, 12, 22, 21], &pool).unwrap();
        let line = drawn(engine, 4, &[21], 1.0).fast;
        let layer = engine.layer_norm(&y, &line, &line, 1e-5).unwrap();
        let layered = engine.layer_norm_backward(&y, &line, &layer, 1e-5).unwrap();
        [
            vec![y, back.weight, back.bias, back.input.unwrap()],
            vec![normal.output, norm.input, norm.weight, norm.bias, small, large, mean, spread],
            vec![layer, layered.input, layered.weight, layered.bias],
            vec![pooled.output, pooled_back.weight, pooled_back.bias, pooled_back.input.unwrap()],
        ]
    });
    assert!(results.iter().all(|result| *result == results[0]));
}

#[test]
fn windows_that_do_not_fit_are_refused() {
    on_each!(1, engine => {
        let x = engine.zeros(&[2, 3, 4, 4]).unwrap();
        let none =
            Window { kernel: [5, 5], stride: [1, 1], before: [0, 0], after: [0, 0], dilation: [1, 1] };
        let large = engine.zeros(&[2, 3, 5, 5]).unwrap();
        let conv = Conv2d { window: none, groups: 1 };
        assert!(matches!(engine.conv2d(&x, &large, None, &conv), Err(EngineError::Shape { .. })));
        assert!(matches!(engine.max_pool2d(&x, &none), Err(EngineError::Shape { .. })));
        let outside = Window { kernel: [2, 2], before: [2, 2], ..none };
        assert!(matches!(engine.max_pool2d(&x, &outside), Err(EngineError::Shape { .. })));
        let two = Conv2d { window: Window { kernel: [2, 2], ..none }, groups: 2 };
        let w = engine.zeros(&[4, 1, 2, 2]).unwrap();
        assert!(matches!(engine.conv2d(&x, &w, None, &two), Err(EngineError::Shape { .. })));
        let bias = engine.zeros(&[2]).unwrap();
        let norm = engine.batch_norm(&x, &bias, &bias, 1e-5);
        assert!(matches!(norm, Err(EngineError::Shape { .. })));
    });
}
