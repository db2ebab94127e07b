//! A checked network: every rule about what fits together is here, so that the passes need none.
//!
//! Holds shapes and choices, never values of parameters.

use lockstep_proto::layout::{DenseShape, Layout, PARAMETERS_MAX};
use thiserror::Error;

use crate::metrics;
use crate::spec::{Activation, DenseSpec, Loss, Metric, NetworkSpec};

/// A network description that does not make sense.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SpecError {
    /// There is nothing to train.
    #[error("a network needs at least one layer")]
    NoLayers,
    /// There is nothing to train on.
    #[error("a network needs at least one input column")]
    NoInputs,
    /// A layer without outputs.
    #[error("layer {layer} has 0 units, it needs at least 1")]
    NoUnits {
        /// Counted from 0.
        layer: usize,
    },
    /// The softmax of one value is always 1.
    #[error(
        "layer {layer}: softmax over 1 unit is always 1; for two classes use 1 unit with sigmoid and \
         loss binary_cross_entropy, or 2 units with softmax"
    )]
    SoftmaxOfOne {
        /// Counted from 0.
        layer: usize,
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
    /// The flat vector would be too long.
    #[error("the network has more than {PARAMETERS_MAX} parameters, reached at layer {layer}")]
    TooManyParameters {
        /// Counted from 0.
        layer: usize,
    },
    /// A metric that cannot be measured with this loss.
    #[error("metric {metric} does not fit loss {loss}: {wanted}")]
    MetricUnfit {
        /// The metric's name.
        metric: &'static str,
        /// The loss' name.
        loss: &'static str,
        /// What would fit.
        wanted: &'static str,
    },
    /// A metric named twice.
    #[error("metric {metric} is listed twice")]
    MetricTwice {
        /// The metric's name.
        metric: &'static str,
    },
    /// A parameter of an activation outside its range.
    #[error("layer {layer}: {activation} has {parameter} {value}, it must be {wanted}")]
    ActivationParameter {
        /// Counted from 0.
        layer: usize,
        /// The activation's name.
        activation: &'static str,
        /// The parameter's name.
        parameter: &'static str,
        /// What was found.
        value: f32,
        /// What would do.
        wanted: &'static str,
    },
    /// A parameter of the loss outside its range.
    #[error("loss huber has delta {value}, it must be finite and above 0")]
    HuberDelta {
        /// What was found.
        value: f32,
    },
}

/// A network that can compute. Made once per job; cheap to clone, holds no parameters.
#[derive(Clone, Debug)]
pub struct Network {
    spec: NetworkSpec,
    shapes: Vec<DenseShape>,
    layout: Layout,
}

impl Network {
    /// Checks a description.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn new(spec: NetworkSpec) -> Result<Network, SpecError> {
        if spec.inputs == 0 {
            return Err(SpecError::NoInputs);
        }
        let Some(last) = spec.layers.last() else { return Err(SpecError::NoLayers) };
        let shapes = shapes(&spec)?;
        for (layer, dense) in spec.layers.iter().enumerate() {
            check_activation(layer, dense)?;
        }
        check_loss(spec.loss, last.activation)?;
        check_metrics(spec.loss, &spec.metrics)?;
        let layout = Layout::new(&shapes);
        Ok(Network { spec, shapes, layout })
    }

    /// The description it was made from.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// Where each tensor lies in the flat vector.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Columns of the input.
    pub fn inputs(&self) -> usize {
        self.spec.inputs
    }

    /// Columns of the output.
    pub fn outputs(&self) -> usize {
        self.shapes[self.shapes.len() - 1].units
    }

    /// Columns of the target: 1 (the class index) for cross entropy, else one per output.
    pub fn target_width(&self) -> usize {
        match self.spec.loss {
            Loss::CrossEntropy => 1,
            _ => self.outputs(),
        }
    }

    /// Floating point operations of one row through a training step: 6 for each kernel parameter.
    pub fn flops_per_row(&self) -> u64 {
        self.shapes.iter().map(|shape| 6 * (shape.inputs * shape.units) as u64).sum()
    }

    /// Length of the vectors of loss and metric sums.
    pub fn sums_len(&self) -> usize {
        metrics::sums_len(&self.spec.metrics, (self.outputs(), self.target_width()))
    }

    /// What each of the sums can be, a row: the least and the most that it adds, and whether that is a whole number.
    pub fn sum_bounds(&self) -> Vec<(f64, f64, bool)> {
        let most = f64::from(f32::MAX);
        let loss = match self.spec.loss {
            Loss::Mse | Loss::Mae | Loss::Huber { .. } | Loss::CrossEntropy => (0.0, most),
            // Targets outside 0 to 1 make it negative.
            Loss::BinaryCrossEntropy => (-most, most),
        };
        metrics::sum_bounds(loss, &self.spec.metrics, (self.outputs(), self.target_width()))
    }

    /// What the sums over `rows` rows mean: first `loss`, then each metric under its own name.
    ///
    /// # Panics
    /// If `sums` is not [`sums_len`](Self::sums_len) long.
    pub fn report(&self, sums: &[f64], rows: u64) -> Vec<(&'static str, f64)> {
        metrics::report(&self.spec.metrics, (self.outputs(), self.target_width()), sums, rows)
    }

    /// What the sums over `rows` rows mean for each target, where there are several: metric, target, value.
    ///
    /// # Panics
    /// If `sums` is not [`sums_len`](Self::sums_len) long.
    pub fn report_each(&self, sums: &[f64], rows: u64) -> Vec<(&'static str, usize, f64)> {
        let widths = (self.outputs(), self.target_width());
        metrics::report_each(&self.spec.metrics, widths, sums, rows)
    }

    /// Parameters before the first step: they depend on the description and the seed alone.
    pub fn initial_parameters(&self, seed: u64) -> Vec<f32> {
        crate::init::initial_parameters(&self.spec, &self.shapes, seed)
    }

    pub(crate) fn shapes(&self) -> &[DenseShape] {
        &self.shapes
    }

    /// Whether loss and output activation are computed together, from the last layer's sums.
    pub(crate) fn fused(&self) -> bool {
        matches!(self.spec.loss, Loss::CrossEntropy | Loss::BinaryCrossEntropy)
    }
}

fn shapes(spec: &NetworkSpec) -> Result<Vec<DenseShape>, SpecError> {
    let mut shapes = Vec::with_capacity(spec.layers.len());
    let mut inputs = spec.inputs;
    let mut total = 0;
    for (layer, dense) in spec.layers.iter().enumerate() {
        if dense.units == 0 {
            return Err(SpecError::NoUnits { layer });
        }
        let rows = inputs.checked_add(usize::from(dense.use_bias));
        total = rows
            .and_then(|rows| rows.checked_mul(dense.units))
            .and_then(|len| len.checked_add(total))
            .filter(|&total| total <= PARAMETERS_MAX)
            .ok_or(SpecError::TooManyParameters { layer })?;
        shapes.push(DenseShape { inputs, units: dense.units, bias: dense.use_bias });
        inputs = dense.units;
    }
    Ok(shapes)
}

fn check_activation(layer: usize, dense: &DenseSpec) -> Result<(), SpecError> {
    let name = dense.activation.name();
    let check = |parameter, value: f32, fits: bool, wanted| {
        if value.is_finite() && fits {
            return Ok(());
        }
        Err(SpecError::ActivationParameter { layer, activation: name, parameter, value, wanted })
    };
    match dense.activation {
        Activation::LeakyRelu { slope } => {
            check("slope", slope, slope >= 0.0, "finite and at least 0")
        }
        Activation::Elu { alpha } => check("alpha", alpha, alpha > 0.0, "finite and above 0"),
        Activation::Softmax if dense.units == 1 => Err(SpecError::SoftmaxOfOne { layer }),
        _ => Ok(()),
    }
}

fn check_loss(loss: Loss, output: Activation) -> Result<(), SpecError> {
    match loss {
        Loss::CrossEntropy if output != Activation::Softmax => {
            Err(SpecError::CrossEntropyOutput { activation: output.name() })
        }
        Loss::BinaryCrossEntropy if output != Activation::Sigmoid => {
            Err(SpecError::BinaryCrossEntropyOutput { activation: output.name() })
        }
        Loss::Huber { delta } if !(delta.is_finite() && delta > 0.0) => {
            Err(SpecError::HuberDelta { value: delta })
        }
        _ => Ok(()),
    }
}

fn check_metrics(loss: Loss, metrics: &[Metric]) -> Result<(), SpecError> {
    for (i, metric) in metrics.iter().enumerate() {
        if metrics[..i].contains(metric) {
            return Err(SpecError::MetricTwice { metric: metric.name() });
        }
        let classes = matches!(loss, Loss::CrossEntropy | Loss::BinaryCrossEntropy);
        let wanted = match metric {
            Metric::Accuracy if !classes => "it needs cross_entropy or binary_cross_entropy",
            Metric::Mse | Metric::Rmse | Metric::Mae | Metric::R2 if loss == Loss::CrossEntropy => {
                "a class label has no distance, use accuracy"
            }
            _ => continue,
        };
        return Err(SpecError::MetricUnfit { metric: metric.name(), loss: loss.name(), wanted });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(layers: &[(usize, Activation)], loss: Loss, metrics: &[Metric]) -> NetworkSpec {
        let layers = layers.iter().map(|&(units, act)| DenseSpec::new(units, act)).collect();
        NetworkSpec { inputs: 3, layers, loss, metrics: metrics.to_vec() }
    }

    /// Layers, loss, metrics, and the start of the error.
    type Case<'a> = (&'a [(usize, Activation)], Loss, &'a [Metric], &'a str);

    /// One network per row, and the start of what is said about it.
    #[test]
    fn refusals() {
        use Activation::*;
        let none: &[Metric] = &[];
        let mse = Loss::Mse;
        let binary = Loss::BinaryCrossEntropy;
        let huge = PARAMETERS_MAX / 4;
        let rows: &[Case] = &[
            (&[], mse, none, "a network needs at least one layer"),
            (&[(2, Relu), (0, Linear)], mse, none, "layer 1 has 0 units"),
            (&[(1, Softmax)], Loss::CrossEntropy, none, "layer 0: softmax over 1 unit"),
            (&[(1, Softmax), (1, Linear)], mse, none, "layer 0: softmax over 1 unit"),
            (
                &[(2, Linear)],
                Loss::CrossEntropy,
                none,
                "loss cross_entropy needs activation softmax",
            ),
            (&[(2, Tanh)], binary, none, "loss binary_cross_entropy needs activation sigmoid"),
            (
                &[(huge, Relu), (1, Relu)],
                mse,
                none,
                "the network has more than 4294967296 parameters",
            ),
            (&[(usize::MAX, Relu)], mse, none, "the network has more than 4294967296 parameters"),
            (
                &[(1, Linear)],
                mse,
                &[Metric::Accuracy],
                "metric accuracy does not fit loss mse: it needs",
            ),
            (&[(2, Softmax)], Loss::CrossEntropy, &[Metric::Mse], "metric mse does not fit"),
            (&[(2, Softmax)], Loss::CrossEntropy, &[Metric::R2], "metric r2 does not fit"),
            (&[(1, Linear)], mse, &[Metric::Mae, Metric::Mae], "metric mae is listed twice"),
            (&[(1, LeakyRelu { slope: -0.1 })], mse, none, "layer 0: leaky_relu has slope -0.1"),
            (&[(1, LeakyRelu { slope: f32::NAN })], mse, none, "layer 0: leaky_relu has slope NaN"),
            (&[(1, Elu { alpha: 0.0 })], mse, none, "layer 0: elu has alpha 0"),
            (&[(1, Elu { alpha: f32::INFINITY })], mse, none, "layer 0: elu has alpha inf"),
            (&[(1, Linear)], Loss::Huber { delta: 0.0 }, none, "loss huber has delta 0"),
        ];
        for &(layers, loss, metrics, want) in rows {
            let error = Network::new(spec(layers, loss, metrics)).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error:?} does not start with {want:?}");
        }
        let mut no_inputs = spec(&[(1, Linear)], mse, none);
        no_inputs.inputs = 0;
        assert_eq!(Network::new(no_inputs).unwrap_err(), SpecError::NoInputs);
    }

    #[test]
    fn sizes() {
        let network = Network::new(spec(
            &[(4, Activation::Relu), (2, Activation::Softmax)],
            Loss::CrossEntropy,
            &[Metric::Accuracy],
        ))
        .unwrap();
        assert_eq!((network.outputs(), network.target_width(), network.sums_len()), (2, 1, 2));
        assert_eq!(network.flops_per_row(), 6 * (12 + 8));
        assert_eq!(network.layout().len(), 12 + 4 + 8 + 2);
        let mse = Network::new(spec(&[(2, Activation::Softmax)], Loss::Mse, &[])).unwrap();
        assert_eq!((mse.target_width(), mse.sums_len()), (2, 1));
    }
}
