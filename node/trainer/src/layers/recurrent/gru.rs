//! The cell of `torch.nn.GRU`. With `i` what the position gives and `h` what the output before
//! gives, both with their biases and in the order reset, update, new:
//!
//! `r = σ(i_r + h_r)`, `z = σ(i_z + h_z)`, `n = tanh(i_n + r · h_n)`, output
//! `n + z · (before - n)`.

use std::rc::Rc;

use super::{Slopes, Stepped, gates};
use crate::definition::Activation::{Sigmoid, Tanh};
use crate::engine::{Engine, EngineError};

/// The output before, `r` and `z` before and after their function, `h_n`, and `n` before and after
/// its own.
pub(super) const HELD: usize = 8;

pub(super) fn step<E: Engine>(
    engine: &mut E,
    input: &E::Tensor,
    hidden: &E::Tensor,
    state: &[Rc<E::Tensor>],
    units: usize,
) -> Result<Stepped<E::Tensor>, EngineError> {
    let before = &state[0];
    let sums = {
        let of_input = gates(engine, input, 0..2, units)?;
        let of_hidden = gates(engine, hidden, 0..2, units)?;
        engine.add(&of_input, &of_hidden)?
    };
    let shares = engine.activate(Sigmoid, &sums)?;
    let reset = gates(engine, &shares, 0..1, units)?;
    let update = gates(engine, &shares, 1..2, units)?;
    let candidate = gates(engine, hidden, 2..3, units)?;
    let new_sum = {
        let of_input = gates(engine, input, 2..3, units)?;
        let of_hidden = engine.multiply(&reset, &candidate)?;
        engine.add(&of_input, &of_hidden)?
    };
    let new = engine.activate(Tanh, &new_sum)?;
    let more = engine.subtract(before, &new)?;
    let more = engine.multiply(&update, &more)?;
    let output = Rc::new(engine.add(&new, &more)?);
    let kept = [sums, shares, candidate, new_sum, new].map(Rc::new);
    Ok(Stepped { state: vec![output], kept: kept.into() })
}

pub(super) fn step_back<E: Engine>(
    engine: &mut E,
    kept: &[Rc<E::Tensor>],
    slope: &E::Tensor,
    units: usize,
) -> Result<Slopes<E::Tensor>, EngineError> {
    let [before, sums, shares, candidate, new_sum, new] = kept else {
        unreachable!("a step leaves six tensors");
    };
    let reset = gates(engine, shares, 0..1, units)?;
    let update = gates(engine, shares, 1..2, units)?;
    let of_before = engine.multiply(slope, &update)?;
    let of_new = engine.subtract(slope, &of_before)?;
    let of_new = engine.activate_backward(Tanh, new_sum, new, &of_new)?;
    let of_update = engine.subtract(before, new)?;
    let of_update = engine.multiply(slope, &of_update)?;
    let of_reset = engine.multiply(&of_new, candidate)?;
    let of_candidate = engine.multiply(&of_new, &reset)?;
    let of_shares = engine.concatenate(&[&of_reset, &of_update], 1)?;
    let of_sums = engine.activate_backward(Sigmoid, sums, shares, &of_shares)?;
    Ok(Slopes {
        of_input: Rc::new(engine.concatenate(&[&of_sums, &of_new], 1)?),
        of_hidden: Rc::new(engine.concatenate(&[&of_sums, &of_candidate], 1)?),
        output: Some(of_before),
        memory: None,
    })
}
