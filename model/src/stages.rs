//! The stages that rows go through, each in its place: the embeddings, if a network has any, and its layers. Checks that they
//! fit on top of each other, and counts their parameters; knows neither loss nor metrics.

use std::ops::Range;

use lockstep_proto::layout::PARAMETERS_MAX;

use crate::embeddings::Embeddings;
use crate::error::SpecError;
use crate::layers::{LayerSpec, Shape, Stage, Tensors};
use crate::spec::NetworkSpec;

/// A layer in its place, or the embeddings.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) stage: Box<dyn Stage>,
    /// Place among the job's layers; 0 for the embeddings.
    pub(crate) number: usize,
    /// Values of an input row.
    pub(crate) inputs: usize,
    /// The first of these by which slopes are wanted, if they are: numbers that go into the network need none.
    pub(crate) slopes_from: usize,
    /// Values of an output row.
    pub(crate) outputs: usize,
    pub(crate) shape: Shape,
    /// Where each of its tensors is among its values.
    ranges: Vec<Range<usize>>,
}

impl Built {
    /// Number of the layer's values.
    pub(crate) fn len(&self) -> usize {
        self.ranges.last().map_or(0, |last| last.end)
    }

    /// The layer's tensors.
    ///
    /// # Panics
    /// If there are more or fewer values.
    pub(crate) fn tensors<'a>(&'a self, values: &'a [f32]) -> Tensors<'a> {
        assert_eq!(values.len(), self.len(), "number of a layer's parameters");
        Tensors { values, ranges: &self.ranges }
    }
}

/// Gives each layer the shape of what is before it.
pub(crate) fn build(spec: &NetworkSpec) -> Result<Vec<Built>, SpecError> {
    let input = vec![spec.inputs];
    let mut stages = Stages { built: Vec::new(), input, slopes_from: 0, parameters: 0 };
    if let Some(embeddings) = Embeddings::new(spec.inputs, &spec.embeddings)? {
        stages.input = vec![spec.inputs + spec.embeddings.len()];
        let shape = embeddings.shape();
        stages.add(Box::new(embeddings), 0, shape).ok_or(SpecError::TooManyEmbedded)?;
        stages.slopes_from = spec.inputs;
    }
    for (layer, described) in spec.layers.iter().enumerate() {
        let wrong = |problem| SpecError::Layer { layer, problem };
        let shape = shape(described, &stages.input).map_err(wrong)?;
        if checked_len(&shape.output).is_none() {
            return Err(wrong("its rows are too long to count".to_string()));
        }
        let stage = described.layer().boxed();
        stages.add(stage, layer, shape).ok_or(SpecError::TooManyParameters { layer })?;
    }
    Ok(stages.built)
}

/// Stages on top of each other.
struct Stages {
    built: Vec<Built>,
    /// Sides of a row of what goes into the next one.
    input: Vec<usize>,
    /// The first of its values by which slopes are wanted.
    slopes_from: usize,
    parameters: usize,
}

impl Stages {
    /// Adds one; `None` if that would be too many parameters.
    fn add(&mut self, stage: Box<dyn Stage>, number: usize, shape: Shape) -> Option<()> {
        let (mut ranges, mut len) = (Vec::with_capacity(shape.tensors.len()), 0);
        let is_counted = |&total: &usize| total <= PARAMETERS_MAX;
        for tensor in &shape.tensors {
            let end = tensor.shape.checked_len().and_then(|own| own.checked_add(len));
            let end = end.filter(is_counted)?;
            ranges.push(len..end);
            len = end;
        }
        self.parameters = Some(self.parameters + len).filter(is_counted)?;
        let (inputs, outputs) = (checked_len(&self.input)?, checked_len(&shape.output)?);
        self.input.clone_from(&shape.output);
        let slopes_from = std::mem::take(&mut self.slopes_from);
        self.built.push(Built { stage, number, inputs, slopes_from, outputs, shape, ranges });
        Some(())
    }
}

/// Values of a row with these sides, if they can be counted.
fn checked_len(sides: &[usize]) -> Option<usize> {
    sides.iter().try_fold(1usize, |len, &side| len.checked_mul(side))
}

fn shape(described: &LayerSpec, input: &[usize]) -> Result<Shape, String> {
    described.check().map_err(|wrong| format!("`{}`: {}", wrong.parameter, wrong.problem))?;
    described.layer().shape(input)
}
