//! What happens when the device has no room: an error that training can go on from.

use super::*;

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
