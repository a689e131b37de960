//! The operations of [`Arrays`]: the engines on drawn shapes, the gradients that layers put
//! together from them against central differences in f64, and bits over numbers of threads.

use super::*;
use crate::engine::arrays::{Mask, Side};

const SIDES: [Side; 2] = [Side::Plain, Side::Transposed];

/// `[rows, columns]` after leading axes, as it lies before `side` is read.
fn lying(leading: &[usize], side: Side, rows: usize, columns: usize) -> Vec<usize> {
    match side {
        Side::Plain => [leading, &[rows, columns]].concat(),
        Side::Transposed => [leading, &[columns, rows]].concat(),
    }
}

/// Whole numbers below `vocabulary`.
fn drawn_ids<E: Engine>(
    engine: &mut E,
    seed: u64,
    shape: &[usize],
    vocabulary: usize,
) -> Pair<E::Tensor> {
    let places = drawn(engine, seed, shape, 1.0).exact.values;
    let id = |place: &f64| ((place + 1.0) / 2.0 * vocabulary as f64).floor() as f32;
    let values: Vec<f32> = places.iter().map(id).collect();
    let fast = engine.upload(&values, shape).unwrap();
    Pair { fast, exact: Reference.upload(&values, shape).unwrap() }
}

/// All orders of four axes.
fn orders() -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    for code in 0..256_usize {
        let axes: Vec<usize> = (0..4).map(|place| code >> (2 * place) & 3).collect();
        if (0..4).all(|axis| axes.contains(&axis)) {
            all.push(axes);
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn products(
        seed in any::<u64>(),
        leading in prop::sample::select(vec![vec![], vec![1], vec![7], vec![2, 3]]),
        rows in 1_usize..40,
        inner in 1_usize..300,
        columns in 1_usize..40,
        left_side in prop::sample::select(SIDES.to_vec()),
        right_side in prop::sample::select(SIDES.to_vec()),
        threads in prop::sample::select(vec![1_usize, 3]),
    ) {
        on_each!(threads, engine => {
            let left = drawn(engine, seed, &lying(&leading, left_side, rows, inner), 2.0);
            let right = drawn(engine, seed ^ 1, &lying(&leading, right_side, inner, columns), 1.0);
            let found = engine.matmul(&left.fast, left_side, &right.fast, right_side).unwrap();
            let exact = Reference.matmul(&left.exact, left_side, &right.exact, right_side).unwrap();
            prop_assert_eq!(&exact.shape, &[&leading[..], &[rows, columns]].concat());
            near(engine, &found, &exact, 1e-5);
        });
    }

    #[test]
    fn axes(
        seed in any::<u64>(),
        shape in prop::array::uniform4(1_usize..12),
        order in prop::sample::select(orders()),
        axis in 0_usize..4,
        cuts in prop::array::uniform2(0_usize..12),
        threads in prop::sample::select(vec![1_usize, 3]),
    ) {
        on_each!(threads, engine => {
            let x = drawn(engine, seed, &shape, 1.0);
            let turned = engine.permute(&x.fast, &order).unwrap();
            let exact = Reference.permute(&x.exact, &order).unwrap();
            within(engine, &turned, &exact, 0.0);
            let back: Vec<usize> =
                (0..4).map(|axis| order.iter().position(|from| *from == axis).unwrap()).collect();
            let again = engine.permute(&turned, &back).unwrap();
            within(engine, &again, &x.exact, 0.0);

            let [first, second] = cuts.map(|cut| cut % (shape[axis] + 1));
            let (first, second) = (first.min(second), first.max(second));
            let mut parts = Vec::new();
            for range in [0..first, first..second, second..shape[axis]] {
                let part = engine.slice(&x.fast, axis, range.clone()).unwrap();
                within(engine, &part, &Reference.slice(&x.exact, axis, range).unwrap(), 0.0);
                parts.push(part);
            }
            let whole = engine.concatenate(&parts.iter().collect::<Vec<_>>(), axis).unwrap();
            within(engine, &whole, &x.exact, 0.0);
            let twice = Reference.concatenate(&[&x.exact, &x.exact], axis).unwrap();
            let found = engine.concatenate(&[&x.fast, &x.fast], axis).unwrap();
            within(engine, &found, &twice, 0.0);

            let flat = engine.reshape(x.fast.clone(), &[shape.iter().product()]).unwrap();
            let again = engine.reshape(flat, &shape).unwrap();
            within(engine, &again, &x.exact, 0.0);
        });
    }

    #[test]
    fn sums_and_factors(seed in any::<u64>(), rows in 1_usize..40, columns in 1_usize..40) {
        on_each!(1, engine => {
            let left = drawn(engine, seed, &[rows, columns], 2.0);
            let right = drawn(engine, seed ^ 1, &[rows, columns], 2.0);
            let found = engine.add(&left.fast, &right.fast).unwrap();
            near(engine, &found, &Reference.add(&left.exact, &right.exact).unwrap(), 1e-7);
            let found = engine.subtract(&left.fast, &right.fast).unwrap();
            near(engine, &found, &Reference.subtract(&left.exact, &right.exact).unwrap(), 1e-7);
            let found = engine.scale(&left.fast, 0.3).unwrap();
            near(engine, &found, &Reference.scale(&left.exact, 0.3).unwrap(), 1e-7);
        });
    }

    #[test]
    fn softmax_under_a_mask(
        seed in any::<u64>(),
        count in 1_usize..20,
        length in 1_usize..70,
        bound in prop::sample::select(vec![2.0_f32, 60.0]),
        mask in prop::sample::select(vec![Mask::None, Mask::Causal]),
        threads in prop::sample::select(vec![1_usize, 3]),
    ) {
        on_each!(threads, engine => {
            let scores = drawn(engine, seed, &[count, length, length], bound);
            let dy = drawn(engine, seed ^ 1, &[count, length, length], 1.0);
            let y = engine.masked_softmax(&scores.fast, mask).unwrap();
            let exact = Reference.masked_softmax(&scores.exact, mask).unwrap();
            near(engine, &y, &exact, 2e-6);
            for (place, share) in engine.download(&y).unwrap().into_iter().enumerate() {
                let (query, key) = (place / length % length, place % length);
                prop_assert!(mask == Mask::None || key <= query || share == 0.0);
            }
            let found = engine.masked_softmax_backward(&y, &dy.fast).unwrap();
            near(engine, &found, &Reference.masked_softmax_backward(&exact, &dy.exact).unwrap(), 5e-6);
        });
    }

    #[test]
    fn embeddings_and_their_gradients(
        seed in any::<u64>(),
        rows in 1_usize..30,
        positions in 1_usize..30,
        vocabulary in 1_usize..50,
        dimensions in 1_usize..40,
        threads in prop::sample::select(vec![1_usize, 3]),
    ) {
        on_each!(threads, engine => {
            let table = drawn(engine, seed, &[vocabulary, dimensions], 1.0);
            let ids = drawn_ids(engine, seed ^ 1, &[rows, positions], vocabulary);
            let dy = drawn(engine, seed ^ 2, &[rows, positions, dimensions], 1.0);
            let found = engine.embed(&table.fast, &ids.fast).unwrap();
            within(engine, &found, &Reference.embed(&table.exact, &ids.exact).unwrap(), 0.0);
            let found = engine.embed_backward(&ids.fast, &dy.fast, vocabulary).unwrap();
            let exact = Reference.embed_backward(&ids.exact, &dy.exact, vocabulary).unwrap();
            near(engine, &found, &exact, 1e-6);
        });
    }
}

/// `loss = sum(weights * y)`, whose gradient by `y` is `weights`.
fn loss(y: &Exact, weights: &Exact) -> f64 {
    assert_eq!(y.shape, weights.shape);
    y.values.iter().zip(&weights.values).map(|(y, weight)| y * weight).sum()
}

/// That `gradient` is the slope of `loss` by each value of `x`.
fn slopes(name: &str, x: &Exact, gradient: &Exact, loss: impl Fn(&Exact) -> f64) {
    const H: f64 = 1e-6;
    assert_eq!(x.shape, gradient.shape, "{name}");
    for index in 0..x.values.len() {
        let at = |offset: f64| {
            let mut x = x.clone();
            x.values[index] += offset;
            loss(&x)
        };
        let (slope, found) = ((at(H) - at(-H)) / (2.0 * H), gradient.values[index]);
        assert!((slope - found).abs() < 1e-8, "{name}, value {index}: {found}, not {slope}");
    }
}

fn exact(seed: u64, shape: &[usize]) -> Exact {
    drawn(&mut CpuEngine::new(1).unwrap(), seed, shape, 1.5).exact
}

#[test]
fn axes_move_where_the_documentation_says() {
    on_each!(1, engine => {
        let x = engine.upload(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &[1, 2, 3]).unwrap();
        let turned = engine.permute(&x, &[2, 0, 1]).unwrap();
        let expected = engine.upload(&[0.0, 3.0, 1.0, 4.0, 2.0, 5.0], &[3, 1, 2]).unwrap();
        assert_eq!(engine.download(&turned).unwrap(), engine.download(&expected).unwrap());
        let left = engine.upload(&[1.0, 2.0, 3.0, 4.0], &[2, 2]).unwrap();
        let right = engine.upload(&[1.0, 10.0, 100.0, 1000.0], &[2, 2]).unwrap();
        let product = engine.matmul(&left, Side::Transposed, &right, Side::Plain).unwrap();
        assert_eq!(engine.download(&product).unwrap(), [301.0, 3010.0, 402.0, 4020.0]);
    });
}

#[test]
fn a_products_gradients_are_two_products() {
    for left_side in SIDES {
        for right_side in SIDES {
            let left = exact(1, &lying(&[2], left_side, 3, 4));
            let right = exact(2, &lying(&[2], right_side, 4, 5));
            let dy = exact(3, &[2, 3, 5]);
            let run = |left: &Exact, right: &Exact| {
                loss(&Reference.matmul(left, left_side, right, right_side).unwrap(), &dy)
            };
            let other = |side| if side == Side::Plain { Side::Transposed } else { Side::Plain };
            let dleft = match left_side {
                Side::Plain => Reference.matmul(&dy, Side::Plain, &right, other(right_side)),
                Side::Transposed => Reference.matmul(&right, right_side, &dy, Side::Transposed),
            };
            slopes("left", &left, &dleft.unwrap(), |left| run(left, &right));
            let dright = match right_side {
                Side::Plain => Reference.matmul(&left, other(left_side), &dy, Side::Plain),
                Side::Transposed => Reference.matmul(&dy, Side::Transposed, &left, left_side),
            };
            slopes("right", &right, &dright.unwrap(), |right| run(&left, right));
        }
    }
}

#[test]
fn gradients_of_softmax_and_embedding_are_slopes() {
    for mask in [Mask::None, Mask::Causal] {
        let (scores, dy) = (exact(1, &[3, 4, 4]), exact(2, &[3, 4, 4]));
        let y = Reference.masked_softmax(&scores, mask).unwrap();
        let found = Reference.masked_softmax_backward(&y, &dy).unwrap();
        let run = |x: &Exact| loss(&Reference.masked_softmax(x, mask).unwrap(), &dy);
        slopes("softmax", &scores, &found, run);
    }
    let ids = Reference.upload(&[0.0, 2.0, 2.0, 4.0, 0.0, 2.0], &[2, 3]).unwrap();
    let (table, dy) = (exact(3, &[5, 2]), exact(4, &[2, 3, 2]));
    let found = Reference.embed_backward(&ids, &dy, 5).unwrap();
    slopes("table", &table, &found, |table| loss(&Reference.embed(table, &ids).unwrap(), &dy));
}

#[test]
fn every_operation_gives_the_same_bits_on_any_number_of_threads() {
    let results = [1, 2, 3, 4, 7].map(|threads| {
        let engine = &mut CpuEngine::new(threads).unwrap();
        let x = drawn(engine, 1, &[5, 6, 65, 33], 2.0).fast;
        let scores = engine.matmul(&x, Side::Plain, &x, Side::Transposed).unwrap();
        let shares = engine.masked_softmax(&scores, Mask::Causal).unwrap();
        let slope = engine.masked_softmax_backward(&shares, &scores).unwrap();
        let turned = engine.permute(&x, &[2, 0, 3, 1]).unwrap();
        let big = drawn(engine, 2, &[2, 150, 700], 1.0).fast;
        let pair = engine.matmul(&big, Side::Plain, &big, Side::Transposed).unwrap();
        let single = engine.slice(&big, 0, 0..1).unwrap();
        let single = engine.matmul(&single, Side::Transposed, &single, Side::Plain).unwrap();
        let ids = drawn_ids(engine, 3, &[40, 50], 97).fast;
        let table = drawn(engine, 4, &[97, 24], 1.0).fast;
        let rows = engine.embed(&table, &ids).unwrap();
        let sums = engine.embed_backward(&ids, &rows, 97).unwrap();
        [scores, shares, slope, turned, pair, single, rows, sums]
    });
    assert!(results.iter().all(|result| *result == results[0]));
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    on_each!(1, engine => {
        let x = engine.zeros(&[2, 3]).unwrap();
        let y = engine.zeros(&[3, 3]).unwrap();
        let deep = engine.zeros(&[2, 3, 3]).unwrap();
        let refused = [
            engine.matmul(&x, Side::Transposed, &y, Side::Plain),
            engine.matmul(&deep, Side::Plain, &y, Side::Plain),
            engine.reshape(x.clone(), &[7]),
            engine.permute(&x, &[0]),
            engine.permute(&x, &[0, 0]),
            engine.permute(&x, &[0, 2]),
            engine.slice(&x, 1, 2..4),
            engine.slice(&x, 2, 0..0),
            engine.concatenate(&[], 0),
            engine.concatenate(&[&x, &y], 1),
            engine.concatenate(&[&x, &deep], 0),
            engine.add(&x, &y),
            engine.subtract(&x, &y),
            engine.masked_softmax(&x, Mask::Causal),
            engine.masked_softmax_backward(&x, &y),
            engine.embed(&deep, &x),
            engine.embed_backward(&x, &y, 3),
        ];
        for (case, refused) in refused.into_iter().enumerate() {
            assert!(matches!(refused, Err(EngineError::Shape { .. })), "case {case}: {refused:?}");
        }
    });
}

#[test]
fn an_id_outside_the_vocabulary_is_named_with_its_row() {
    on_each!(1, engine => {
        let table = engine.zeros(&[5, 2]).unwrap();
        for wrong in [5.0, -1.0, 1.5, f32::NAN, f32::INFINITY, 1e30] {
            let ids = engine.upload(&[0.0, 4.0, 1.0, 3.0, wrong, 7.0], &[2, 3]).unwrap();
            let refused = engine.embed(&table, &ids).unwrap_err();
            let EngineError::Id { row: 1, position: 1, id, vocabulary: 5 } = refused else {
                panic!("{wrong}: {refused:?}");
            };
            assert_eq!(id.to_bits(), wrong.to_bits());
            assert!(refused.to_string().contains("row 1 of the batch, position 1"), "{refused}");
        }
        let ids = engine.upload(&[-0.0, 4.0], &[1, 2]).unwrap();
        assert!(engine.embed(&table, &ids).is_ok());
    });
}
