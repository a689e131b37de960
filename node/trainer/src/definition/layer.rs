//! What can be told of a layer from its definition alone.

use super::{Activation, LayerSpec};

impl LayerSpec {
    /// The name it has in definitions.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dense { .. } => "dense",
            Self::Activation { .. } => "activation",
            Self::Dropout { .. } => "dropout",
            Self::Flatten {} => "flatten",
            Self::Embedding { .. } => "embedding",
            Self::PositionalEmbedding {} => "positional_embedding",
            Self::Attention { .. } => "attention",
            Self::Gru { .. } => "gru",
            Self::Lstm { .. } => "lstm",
            Self::Reshape { .. } => "reshape",
            Self::Conv2d { .. } => "conv2d",
            Self::MaxPool2d { .. } => "max_pool2d",
            Self::AvgPool2d { .. } => "avg_pool2d",
            Self::GlobalAvgPool {} => "global_avg_pool",
            Self::BatchNorm { .. } => "batch_norm",
            Self::LayerNorm { .. } => "layer_norm",
            Self::Residual { .. } => "residual",
        }
    }

    /// Its entries in a layer table: itself, and the activation written within it.
    pub(crate) fn entries(&self) -> Vec<&'static str> {
        let own =
            if let Self::Activation { function } = self { function.name() } else { self.name() };
        let within = self.written_activation().map(Activation::name);
        std::iter::once(own).chain(within).collect()
    }

    /// The activation that is written within it but counts by itself.
    pub(crate) fn written_activation(&self) -> Option<Activation> {
        match self {
            Self::Dense { activation, .. }
            | Self::Conv2d { activation, .. }
            | Self::Residual { activation, .. } => *activation,
            Self::Activation { .. }
            | Self::Dropout { .. }
            | Self::Flatten {}
            | Self::Reshape { .. }
            | Self::MaxPool2d { .. }
            | Self::AvgPool2d { .. }
            | Self::GlobalAvgPool {}
            | Self::BatchNorm { .. }
            | Self::LayerNorm { .. }
            | Self::Embedding { .. }
            | Self::PositionalEmbedding {}
            | Self::Attention { .. }
            | Self::Gru { .. }
            | Self::Lstm { .. } => None,
        }
    }

    /// The same without the activation written within it.
    pub(crate) fn without_activation(&self) -> Self {
        let mut layer = self.clone();
        if let Self::Dense { activation, .. }
        | Self::Conv2d { activation, .. }
        | Self::Residual { activation, .. } = &mut layer
        {
            *activation = None;
        }
        layer
    }

    /// Whether it may have parameters; a residual of layers without any may have a projection.
    pub(crate) fn learns(&self) -> bool {
        match self {
            Self::Dense { .. }
            | Self::Conv2d { .. }
            | Self::BatchNorm { .. }
            | Self::LayerNorm { .. }
            | Self::Embedding { .. }
            | Self::PositionalEmbedding {}
            | Self::Attention { .. }
            | Self::Gru { .. }
            | Self::Lstm { .. }
            | Self::Residual { .. } => true,
            Self::Activation { .. }
            | Self::Dropout { .. }
            | Self::Flatten {}
            | Self::Reshape { .. }
            | Self::MaxPool2d { .. }
            | Self::AvgPool2d { .. }
            | Self::GlobalAvgPool {} => false,
        }
    }
}
