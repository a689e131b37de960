//! Vectors in place of ids: `torch.nn.Embedding`.

use std::rc::Rc;

use super::{Gradients, Kept, Layer, Moment, Pass, Start, TensorSpec, values};
use crate::engine::{Engine, EngineError, InputGradient};

/// Takes whole numbers below `vocabulary`, gives `dimensions` values for each.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Embedding {
    vocabulary: usize,
    dimensions: usize,
    output: Vec<usize>,
    /// Of its start values.
    stream: u32,
}

impl Embedding {
    pub(crate) fn new(input: &[usize], vocabulary: usize, dimensions: usize, stream: u32) -> Self {
        Self { vocabulary, dimensions, output: [input, &[dimensions]].concat(), stream }
    }
}

impl Layer for Embedding {
    fn kind(&self) -> &'static str {
        "embedding"
    }

    fn output(&self) -> &[usize] {
        &self.output
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        let start = Start::Normal { stream: self.stream };
        vec![TensorSpec::parameter("weight", &[self.vocabulary, self.dimensions], start)]
    }

    fn flops(&self) -> u64 {
        0
    }

    /// With the ids.
    fn held(&self) -> u64 {
        let output = values(&self.output);
        output + output / self.dimensions as u64
    }

    fn predict<E: Engine>(
        &self,
        engine: &mut E,
        state: &[E::Tensor],
        x: Rc<E::Tensor>,
        _: usize,
    ) -> Result<Rc<E::Tensor>, EngineError> {
        engine.embed(&state[0], &x).map(Rc::new)
    }

    fn forward<E: Engine>(
        &self,
        engine: &mut E,
        state: &mut [E::Tensor],
        x: Rc<E::Tensor>,
        moment: Moment,
    ) -> Result<Pass<E::Tensor>, EngineError> {
        let output = self.predict(engine, state, Rc::clone(&x), moment.rows)?;
        Ok(Pass { output, kept: Kept::tensors([x]) })
    }

    /// Ids have no gradient: whoever fits layers together lets nothing with parameters come before.
    fn backward<E: Engine>(
        &self,
        engine: &mut E,
        _: &[E::Tensor],
        kept: Kept<E::Tensor>,
        slope: Rc<E::Tensor>,
        input: InputGradient,
        _: usize,
    ) -> Result<Gradients<E::Tensor>, EngineError> {
        assert_eq!(input, InputGradient::Unused, "ids come from the data");
        let table = engine.embed_backward(&kept.tensors[0], &slope, self.vocabulary)?;
        Ok(Gradients { input: None, parameters: vec![table] })
    }
}
