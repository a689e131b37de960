//! Operations on tensors of any rank.

use super::{CpuEngine, CpuTensor, same, unfit};
use crate::engine::arrays::Arrays;
use crate::engine::{Engine, EngineError};

impl Arrays<CpuTensor> for CpuEngine {
    fn reshape(&mut self, x: CpuTensor, shape: &[usize]) -> Result<CpuTensor, EngineError> {
        if shape.iter().product::<usize>() != x.values.len() {
            return Err(unfit("reshape", &x.shape, shape));
        }
        Ok(CpuTensor { values: x.values, shape: shape.to_vec() })
    }

    fn add(&mut self, left: &CpuTensor, right: &CpuTensor) -> Result<CpuTensor, EngineError> {
        same("add", left, right)?;
        let mut values = self.download(left)?;
        self.in_pieces(&mut values, |offset, piece| {
            let right = &right.values[offset..offset + piece.len()];
            piece.iter_mut().zip(right).for_each(|(value, right)| *value += right);
        });
        Ok(CpuTensor { values, shape: left.shape.clone() })
    }
}
