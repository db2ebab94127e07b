//! A checked network: every rule about what fits together is here, so that the passes need none.
//!
//! Holds shapes and choices, never values of parameters.

use std::ops::Range;
use std::sync::Arc;

use lockstep_parameters::AnyChoice;
use lockstep_proto::layout::Layout;
use lockstep_proto::penalties::{Penalized, Penalties, Penalty};

use crate::embeddings::{self, BadPlace};
use crate::error::SpecError;
use crate::kinds::{Activation, Loss};
use crate::layers::{Layer, LayerSpec};
use crate::metrics::{self, Limits};
use crate::place::LayerPlace;
use crate::spec::NetworkSpec;
use crate::stages::{self, Built, build};
use crate::unit::Unit;

/// A layer of a description, and how large it is in the network.
#[derive(Clone, Debug)]
pub struct LayerSize {
    /// Where the description has it.
    pub place: LayerPlace,
    /// As described.
    pub layer: LayerSpec,
    /// Sides of an output row.
    pub shape: Vec<usize>,
    /// Values of an output row.
    pub units: usize,
    /// Its own: a block has none.
    pub parameters: usize,
}

/// A network that can compute. Made once per job; cheap to clone, holds no parameters.
#[derive(Clone, Debug)]
pub struct Network {
    spec: NetworkSpec,
    /// As the layout has them: the embeddings, if there are any, then each layer of the description.
    layers: Arc<[Built]>,
    layout: Layout,
}

impl Network {
    /// Checks a description.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn new(spec: NetworkSpec) -> Result<Network, SpecError> {
        if spec.inputs == 0 && spec.embeddings.is_empty() {
            return Err(SpecError::NoInputs);
        }
        let Some(last) = spec.layers.last() else { return Err(SpecError::NoLayers) };
        let layers = build(&spec)?;
        let output = last.layer();
        if let Some(reason) = output.refuses_last_place() {
            let (layer, name) = (spec.layers.len() - 1, output.name());
            return Err(SpecError::LastLayer { layer, name, reason });
        }
        check_loss(spec.loss, output.output_activation())?;
        let outputs = layers.last().map_or(0, |layer| layer.outputs);
        let widths = (outputs, target_width(spec.loss, outputs));
        metrics::check(spec.loss, &spec.metrics, widths)?;
        check_units(spec.loss, &spec.units, outputs)?;
        let declared = layers.iter().map(|layer| layer.shape.tensors.iter());
        let declared: Vec<Vec<_>> =
            declared.map(|tensors| tensors.map(|tensor| tensor.shape.clone()).collect()).collect();
        let (inputs, declared) = declared.split_at(embeddings_of(&spec));
        let layout = Layout::with_inputs(inputs.first().map_or(&[], Vec::as_slice), declared);
        let places = layers[embeddings_of(&spec)..].iter().map(|layer| layer.place.0.clone());
        let layout = layout.in_places(places.collect());
        if layout.is_empty() {
            return Err(SpecError::NoParameters);
        }
        if !layers.iter().any(Built::learns) {
            return Err(SpecError::NothingTrainable);
        }
        let layout = layout.freezing(layers.iter().map(|layer| layer.is_frozen).collect());
        Ok(Network { layers: layers.into(), layout, spec })
    }

    /// Height, width and channels of a small image that these layers, one after another, can take where rows are not known yet.
    /// `None` where no layer takes images.
    pub fn image_for(layers: &[LayerSpec]) -> Option<[usize; 3]> {
        stages::image_for(layers)
    }

    /// The same network, its parameters in chunks of at most so many values: for tests of what sends them.
    ///
    /// # Panics
    /// If `values_max` is 0.
    pub fn in_chunks_of(self, values_max: usize) -> Network {
        Network { layout: self.layout.in_chunks_of(values_max), ..self }
    }

    /// The same network, its parameters in chunks that several processes can add up: see [`Layout::to_spread`].
    pub fn to_spread(self) -> Network {
        Network { layout: self.layout.to_spread(), ..self }
    }

    /// The same network; if `wanted`, each node's gradient of the embeddings' tables has their row squares behind it, as the
    /// layout then says.
    pub fn with_row_squares(self, wanted: bool) -> Network {
        Network { layout: self.layout.with_row_squares(wanted), ..self }
    }

    /// The description it was made from.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// Where each tensor lies in the flat vector.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Columns of the input: numbers, then a place for each embedding.
    pub fn inputs(&self) -> usize {
        self.spec.inputs + self.spec.embeddings.len()
    }

    /// Checks rows of `width` values as tables hold them, features first: whether each place is one of its embedding. What comes from a
    /// table or a peer has to be checked before anything is computed on it.
    ///
    /// # Errors
    /// The first place that is none.
    pub fn check_rows(&self, rows: &[f32], width: usize) -> Result<(), BadPlace> {
        embeddings::check(self.spec.inputs, &self.spec.embeddings, rows, width)
    }

    /// Columns of the output.
    pub fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs
    }

    /// Columns of the target: 1 (the class index) for cross entropy, else one per output.
    pub fn target_width(&self) -> usize {
        target_width(self.spec.loss, self.outputs())
    }

    /// Whether targets are scaled: then the loss is in another unit than metrics and predictions.
    pub fn has_units(&self) -> bool {
        !self.spec.units.is_empty()
    }

    /// A value of an output in its target's own unit.
    ///
    /// # Panics
    /// If targets are scaled and there is no such output.
    pub fn in_own_unit(&self, output: usize, value: f32) -> f64 {
        match self.spec.units.as_slice() {
            [] => f64::from(value),
            units => units[output].back(f64::from(value)),
        }
    }

    /// Floating point operations of one row through a training step, as the layers say: 6 for each element of a dense
    /// layer's kernel.
    pub fn flops_per_row(&self) -> u64 {
        self.layers.iter().fold(0, |flops, layer| flops.saturating_add(layer.shape.flops))
    }

    /// Values of one row in what the embeddings, if there are any, and each layer make of it.
    pub fn widths(&self) -> impl ExactSizeIterator<Item = usize> {
        self.layers.iter().map(|layer| layer.outputs)
    }

    /// The layers of the description with their sizes, each before those inside it.
    pub fn layer_sizes(&self) -> Vec<LayerSize> {
        let mut sizes = Vec::new();
        for built in &self.layers[embeddings_of(&self.spec)..] {
            let layer = self.described(built).map(LayerSpec::copy_of);
            sizes.extend(layer.map(|layer| LayerSize {
                place: built.place.clone(),
                layer,
                shape: built.shape.output.clone(),
                units: built.outputs,
                parameters: built.len(),
            }));
        }
        sizes.sort_by(|a, b| a.place.cmp(&b.place));
        sizes
    }

    /// A layer as the description has it; the embeddings are none.
    fn described(&self, built: &Built) -> Option<&dyn Layer> {
        let mut layers: Vec<_> = self.spec.layers.iter().map(LayerSpec::layer).collect();
        let mut found = None;
        for &at in &built.place.0 {
            found = layers.get(at).copied();
            layers = found.map_or(Vec::new(), |layer| layer.inside());
        }
        found
    }

    /// Values of one row that layers keep from the forward to the backward pass, besides inputs and outputs.
    pub fn kept_per_row(&self) -> usize {
        self.layers.iter().map(|layer| layer.shape.kept).sum()
    }

    /// Length of the vectors of loss and metric sums, such as those of a training step.
    pub fn sums_len(&self) -> usize {
        metrics::sums_len(&self.spec.metrics, self.target_widths())
    }

    /// The metric with the most sums, and how many; `None` without metrics.
    pub fn longest_metric(&self) -> Option<(&'static str, usize)> {
        let widths = self.target_widths();
        let lens = self
            .spec
            .metrics
            .iter()
            .map(|&metric| (metric.name(), metrics::part_len(metric, widths)));
        lens.max_by_key(|&(_, len)| len)
    }

    /// What each of the sums of a table can be, a row: the least and the most that it adds, and whether that is a whole number.
    /// Those of a step are the first of them.
    pub fn sum_bounds(&self) -> Vec<(f64, f64, bool)> {
        let most = f64::from(f32::MAX);
        let loss = match self.spec.loss {
            Loss::Mse
            | Loss::Mae
            | Loss::Huber { .. }
            | Loss::Quantile { .. }
            | Loss::CrossEntropy { .. } => (0.0, most),
            // Targets outside 0 to 1 make it negative.
            Loss::BinaryCrossEntropy { .. } | Loss::Poisson => (-most, most),
        };
        let limits = Limits { loss, widths: self.target_widths(), units: &self.spec.units };
        let mut bounds = metrics::sum_bounds(&self.spec.metrics, &limits);
        bounds.extend(self.tally().bounds(&limits));
        bounds
    }

    /// What the sums over `rows` rows mean: first `loss`, then each metric under its own name.
    ///
    /// # Panics
    /// If `sums` are neither those of a step nor those of a table.
    pub fn report(&self, sums: &[f64], rows: u64) -> Vec<(&'static str, f64)> {
        let (sums, _) = self.parted(sums);
        metrics::report(&self.spec.metrics, self.target_widths(), sums, rows)
    }

    /// What the sums over `rows` rows mean for each target, where there are several: metric, target, value.
    ///
    /// # Panics
    /// If `sums` are neither those of a step nor those of a table.
    pub fn report_each(&self, sums: &[f64], rows: u64) -> Vec<(&'static str, usize, f64)> {
        let (sums, _) = self.parted(sums);
        metrics::report_each(&self.spec.metrics, self.target_widths(), sums, rows)
    }

    /// Parameters before the first step: they depend on the description and the seed alone.
    pub fn initial_parameters(&self, seed: u64) -> Vec<f32> {
        let (embeddings, layers) = self.layers.split_at(embeddings_of(&self.spec));
        let embeddings = embeddings.first().map(|stage| &stage.shape);
        crate::init::initial_parameters(embeddings, layers.iter().map(|layer| &layer.shape), seed)
    }

    /// The tensors whose weights add to the loss: none of a frozen layer, as in Keras. What the passes measure is the loss of rows, without that.
    pub fn penalties(&self) -> Penalties {
        let penalty = |layer: &Built, of| if layer.is_frozen { Penalty::default() } else { of };
        let declared = self.layers.iter().flat_map(|layer| {
            layer.shape.tensors.iter().map(move |tensor| penalty(layer, tensor.penalty))
        });
        Penalties::new(declared.zip(self.layout.tensors()).map(|(penalty, tensor)| {
            let range = tensor.range.clone();
            Penalized { range, penalty }
        }))
    }

    /// Where the biases of units are that may give 0 for every row; of layers that learn.
    pub fn rectified(&self) -> Vec<Range<usize>> {
        let mut tensors = self.layout.tensors().iter();
        let mut found = Vec::new();
        for built in self.layers.iter() {
            let own: Vec<_> = tensors.by_ref().take(built.shape.tensors.len()).collect();
            let is_rectified = self.described(built).is_some_and(|layer| layer.is_rectified());
            let bias = own.last().filter(|_| is_rectified && !built.is_frozen);
            found.extend(bias.map(|bias| bias.range.clone()));
        }
        found
    }

    pub(crate) fn layers(&self) -> &[Built] {
        &self.layers
    }

    /// Whether loss and output activation are computed together, from the last layer's sums.
    pub(crate) fn fused(&self) -> bool {
        self.spec.loss.is_of_labels()
    }
}

/// Stages before those of the layers: 1 if there are embeddings.
fn embeddings_of(spec: &NetworkSpec) -> usize {
    usize::from(!spec.embeddings.is_empty())
}

/// Activations whose outputs are never below 0, so that they can be rates.
const RATES: [Activation; 4] =
    [Activation::Softplus, Activation::Relu, Activation::Sigmoid, Activation::Softmax];

fn check_loss(loss: Loss, output: Activation) -> Result<(), SpecError> {
    match loss {
        Loss::CrossEntropy { .. } if output != Activation::Softmax => {
            Err(SpecError::CrossEntropyOutput { activation: output.name() })
        }
        Loss::BinaryCrossEntropy { .. } if output != Activation::Sigmoid => {
            Err(SpecError::BinaryCrossEntropyOutput { activation: output.name() })
        }
        Loss::Poisson if !RATES.contains(&output) => {
            Err(SpecError::PoissonOutput { activation: output.name() })
        }
        mut loss => AnyChoice::check(&mut loss).map_err(|wrong| SpecError::Loss {
            loss: loss.name(),
            problem: format!("`{}`: {}", wrong.parameter, wrong.problem),
        }),
    }
}

fn check_units(loss: Loss, units: &[Unit], outputs: usize) -> Result<(), SpecError> {
    if units.is_empty() {
        return Ok(());
    }
    if loss.is_of_labels() {
        return Err(SpecError::UnitsOfLabels { loss: loss.name() });
    }
    if loss == Loss::Poisson && units.iter().any(|unit| *unit != Unit::SAME) {
        return Err(SpecError::UnitsOfCounts);
    }
    if units.len() != outputs {
        return Err(SpecError::UnitCount { outputs, units: units.len() });
    }
    let mut problems = units.iter().map(Unit::problem).enumerate();
    match problems.find_map(|(output, problem)| Some((output, problem?))) {
        Some((output, problem)) => Err(SpecError::Unit { output, problem }),
        None => Ok(()),
    }
}

/// Columns of the target: 1 (the class index) for cross entropy, else one for each output.
fn target_width(loss: Loss, outputs: usize) -> usize {
    match loss {
        Loss::CrossEntropy { .. } => 1,
        _ => outputs,
    }
}

#[cfg(test)]
mod tests;
