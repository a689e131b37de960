//! The cell of `torch.nn.LSTM`. With the sums of what the position and the output before give, in
//! the order input, forget, new, output:
//!
//! `i, f, o = σ(..)`, `g = tanh(..)`, memory `f · before + i · g`, output `o · tanh(memory)`.

use std::rc::Rc;

use super::{Slopes, Stepped, gates};
use crate::definition::Activation::{Sigmoid, Tanh};
use crate::engine::{Engine, EngineError};

/// The output before and the memory before and after, the four gates before and after their
/// functions, and the memory after its own.
pub(super) const HELD: usize = 12;

pub(super) fn step<E: Engine>(
    engine: &mut E,
    input: &E::Tensor,
    hidden: &E::Tensor,
    state: &[Rc<E::Tensor>],
    units: usize,
) -> Result<Stepped<E::Tensor>, EngineError> {
    let before = &state[1];
    let sums = engine.add(input, hidden)?;
    let share_sums = gates(engine, &sums, 0..2, units)?;
    let shares = engine.activate(Sigmoid, &share_sums)?;
    let new_sum = gates(engine, &sums, 2..3, units)?;
    let new = engine.activate(Tanh, &new_sum)?;
    let out_sum = gates(engine, &sums, 3..4, units)?;
    let out = engine.activate(Sigmoid, &out_sum)?;
    let taken = gates(engine, &shares, 0..1, units)?;
    let taken = engine.multiply(&taken, &new)?;
    let left = gates(engine, &shares, 1..2, units)?;
    let left = engine.multiply(&left, before)?;
    let memory = Rc::new(engine.add(&left, &taken)?);
    let bounded = engine.activate(Tanh, &memory)?;
    let output = Rc::new(engine.multiply(&out, &bounded)?);
    let own = [share_sums, shares, new_sum, new, out_sum, out, bounded].map(Rc::new);
    let kept = own.into_iter().chain([Rc::clone(&memory)]).collect();
    Ok(Stepped { state: vec![output, memory], kept })
}

/// `later` is the slope by the memory from the position after, if there is one.
pub(super) fn step_back<E: Engine>(
    engine: &mut E,
    kept: &[Rc<E::Tensor>],
    slope: &E::Tensor,
    later: Option<&E::Tensor>,
    units: usize,
) -> Result<Slopes<E::Tensor>, EngineError> {
    let [_, before, share_sums, shares, new_sum, new, out_sum, out, bounded, memory] = kept else {
        unreachable!("a step leaves ten tensors");
    };
    let of_out = engine.multiply(slope, bounded)?;
    let of_out = engine.activate_backward(Sigmoid, out_sum, out, &of_out)?;
    let of_bounded = engine.multiply(slope, out)?;
    let of_memory = engine.activate_backward(Tanh, memory, bounded, &of_bounded)?;
    let of_memory = match later {
        None => of_memory,
        Some(later) => engine.add(&of_memory, later)?,
    };
    let taken = gates(engine, shares, 0..1, units)?;
    let left = gates(engine, shares, 1..2, units)?;
    let of_taken = engine.multiply(&of_memory, new)?;
    let of_left = engine.multiply(&of_memory, before)?;
    let of_shares = engine.concatenate(&[&of_taken, &of_left], 1)?;
    let of_shares = engine.activate_backward(Sigmoid, share_sums, shares, &of_shares)?;
    let of_new = engine.multiply(&of_memory, &taken)?;
    let of_new = engine.activate_backward(Tanh, new_sum, new, &of_new)?;
    let of_sums = Rc::new(engine.concatenate(&[&of_shares, &of_new, &of_out], 1)?);
    let of_before = engine.multiply(&of_memory, &left)?;
    Ok(Slopes {
        of_input: Rc::clone(&of_sums),
        of_hidden: of_sums,
        output: None,
        memory: Some(of_before),
    })
}
