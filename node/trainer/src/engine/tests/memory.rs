//! What happens when the device has no room: an error that training can go on from.

use super::*;
use crate::engine::arrays::Side;

/// More than any device has; each is one step more likely to be refused by arithmetic alone.
#[test]
fn a_tensor_beyond_all_memory_is_refused_and_the_engine_goes_on() {
    on_each!(1, engine => {
        for count in [1_usize << 45, usize::MAX / 8] {
            let refused = engine.zeros(&[count]);
            assert!(matches!(refused, Err(EngineError::OutOfMemory { .. })), "{refused:?}");
        }
        let row = engine.zeros(&[1, 1 << 22]).unwrap();
        let column = engine.zeros(&[1 << 22, 1]).unwrap();
        let bias = engine.zeros(&[1 << 22]).unwrap();
        // A product of more than 60 TB from operands of 16 MB.
        let refused = engine.linear(&column, &column, &bias);
        assert!(matches!(refused, Err(EngineError::OutOfMemory { .. })), "{refused:?}");
        let sum = engine.add(&row, &row).unwrap();
        assert!(engine.download(&sum).unwrap().iter().all(|value| *value == 0.0));
    });
}

/// Devices give memory again that was given back, with what it held.
#[test]
fn what_memory_held_before_is_not_seen() {
    on_each!(1, engine => {
        for wrong in [f32::NAN, f32::NEG_INFINITY] {
            for shape in [[1, 40, 30], [30, 40, 1], [30, 1, 40], [1, 40, 1], [9, 9, 9]] {
                products_into_spoilt_memory(engine, wrong, shape);
            }
        }
    });
}

/// All values are exact.
fn products_into_spoilt_memory<E: Engine>(
    engine: &mut E,
    wrong: f32,
    [rows, inputs, outputs]: [usize; 3],
) {
    let mut full = |value: f32, shape: &[usize]| {
        engine.upload(&vec![value; shape.iter().product()], shape).unwrap()
    };
    let (x, w) = (full(0.5, &[rows, inputs]), full(0.25, &[outputs, inputs]));
    let (xs, ws) = (full(0.5, &[3, rows, inputs]), full(0.25, &[3, outputs, inputs]));
    let none = full(0.0, &[outputs]);
    let output = inputs as f32 / 8.0;
    spoil(engine, wrong, rows * outputs);
    let y = engine.linear(&x, &w, &none).unwrap();
    assert_all(engine, &y, output);
    spoil(engine, wrong, rows * inputs);
    let found = engine.linear_backward(&x, &w, &y, InputGradient::Wanted).unwrap();
    assert_all(engine, &found.input.unwrap(), output * outputs as f32 / 4.0);
    spoil(engine, wrong, inputs * outputs);
    let found = engine.linear_backward(&x, &w, &y, InputGradient::Unused).unwrap();
    assert_all(engine, &found.weight, output * rows as f32 / 2.0);
    spoil(engine, wrong, 3 * rows * outputs);
    let ys = engine.matmul(&xs, Side::Plain, &ws, Side::Transposed).unwrap();
    assert_all(engine, &ys, output);
}

/// Takes memory for so many values, fills it and gives it back.
fn spoil<E: Engine>(engine: &mut E, wrong: f32, count: usize) {
    let taken = [(); 4].map(|()| engine.upload(&vec![wrong; count], &[count]).unwrap());
    drop(taken);
}

fn assert_all<E: Engine>(engine: &mut E, found: &E::Tensor, expected: f32) {
    let values = engine.download(found).unwrap();
    assert_eq!(values.iter().find(|value| **value != expected), None, "not {expected}");
}
