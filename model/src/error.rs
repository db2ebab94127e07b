//! Why a network's description makes no sense: what was found and what would do. Finds nothing itself.

use lockstep_proto::layout::PARAMETERS_MAX;
use thiserror::Error;

use crate::place::LayerPlace;

/// A network description that does not make sense.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SpecError {
    /// There is nothing to train.
    #[error("a network needs at least one layer")]
    NoLayers,
    /// There is nothing to train on.
    #[error("a network needs at least one input column")]
    NoInputs,
    /// There is nothing to train, though there are layers.
    #[error(
        "none of the layers has weights: a network needs at least one that has, such as a dense one"
    )]
    NoParameters,
    /// All that there is to train is to stay as it is.
    #[error(
        "all layers with weights have `trainable = false`: wanted at least one whose weights training changes"
    )]
    NothingTrainable,
    /// A layer that cannot be, or not on what is before it.
    #[error("layer {layer}: {problem}")]
    Layer {
        /// Counted from 0.
        layer: LayerPlace,
        /// What was found, what would do.
        problem: String,
    },
    /// A layer that cannot be where it is.
    #[error("layer {layer}: {name} cannot be the last layer: {reason}")]
    LastLayer {
        /// Counted from 0.
        layer: usize,
        /// The layer's name.
        name: &'static str,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// Cross entropy is fused with the softmax before it.
    #[error(
        "loss cross_entropy needs activation softmax on the last layer, found {activation}: set it, \
         or choose another loss"
    )]
    CrossEntropyOutput {
        /// The last layer's.
        activation: &'static str,
    },
    /// Binary cross entropy is fused with the sigmoid before it.
    #[error(
        "loss binary_cross_entropy needs activation sigmoid on the last layer, found {activation}: set \
         it, or choose another loss"
    )]
    BinaryCrossEntropyOutput {
        /// The last layer's.
        activation: &'static str,
    },
    /// The outputs are rates.
    #[error(
        "loss poisson needs outputs of at least 0, of activation softplus, relu, sigmoid or softmax on the last layer, \
         found {activation}: set softplus, or choose another loss"
    )]
    PoissonOutput {
        /// The last layer's.
        activation: &'static str,
    },
    /// The flat vector would be too long.
    #[error("the network has more than {PARAMETERS_MAX} parameters, reached at layer {layer}")]
    TooManyParameters {
        /// Counted from 0.
        layer: LayerPlace,
    },
    /// The flat vector would be too long before the first layer.
    #[error("the network has more than {PARAMETERS_MAX} parameters, reached in its embeddings")]
    TooManyEmbedded,
    /// A category column that cannot be embedded.
    #[error("the embedding of column {column:?}: {problem}")]
    Embedding {
        /// The column's name.
        column: String,
        /// What was found, what would do.
        problem: String,
    },
    /// Rows that are no such images.
    #[error("rows are said to be images of {sides:?}: {problem}")]
    Image {
        /// Height, width and channels.
        sides: [usize; 3],
        /// What was found.
        problem: String,
    },
    /// A metric that cannot be measured with this loss.
    #[error("metric {metric} does not fit loss {loss}: {wanted}")]
    MetricUnfit {
        /// The metric's name.
        metric: &'static str,
        /// The loss' name.
        loss: &'static str,
        /// What would fit.
        wanted: String,
    },
    /// A metric named twice.
    #[error("metric {metric} is listed twice")]
    MetricTwice {
        /// The metric's name.
        metric: &'static str,
    },
    /// Units that do not go with the outputs.
    #[error(
        "the network has {outputs} outputs and the units of {units}: wanted one for each, or none"
    )]
    UnitCount {
        /// Of the network.
        outputs: usize,
        /// Units given.
        units: usize,
    },
    /// Units of what has none.
    #[error("loss {loss} has targets that are labels, which have no unit: leave out the units")]
    UnitsOfLabels {
        /// The loss' name.
        loss: &'static str,
    },
    /// Units of counts.
    #[error("loss poisson is of counts as they are: leave out the targets' scale")]
    UnitsOfCounts,
    /// A unit outside its range.
    #[error("the unit of output {output}: {problem}")]
    Unit {
        /// Counted from 0.
        output: usize,
        /// Found, wanted.
        problem: String,
    },
    /// A parameter of the loss outside its range.
    #[error("loss {loss}: {problem}")]
    Loss {
        /// The loss' name.
        loss: &'static str,
        /// The parameter, found, wanted.
        problem: String,
    },
}
