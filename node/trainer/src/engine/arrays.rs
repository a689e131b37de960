//! Operations on tensors of any rank, of which layers are put together.

use super::EngineError;

/// What an [`super::Engine`] does with tensors `T` besides whole layers.
pub trait Arrays<T> {
    /// The same values in the same order under another shape.
    ///
    /// # Errors
    /// Like all of these: shapes disagree, memory ran out, or the device failed.
    fn reshape(&mut self, x: T, shape: &[usize]) -> Result<T, EngineError>;

    /// Sum value by value.
    fn add(&mut self, left: &T, right: &T) -> Result<T, EngineError>;
}
