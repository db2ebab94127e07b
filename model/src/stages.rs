//! The stages that rows go through, each in its place: the embeddings, if a network has any, and its layers. Checks that they
//! fit on top of each other, and counts their parameters; knows neither loss nor metrics.

use std::ops::Range;

use lockstep_parameters::check;
use lockstep_proto::layout::PARAMETERS_MAX;

use crate::embeddings::Embeddings;
use crate::error::SpecError;
use crate::layers::{Layer, Shape, Stage, Tensors};
use crate::place::LayerPlace;
use crate::spec::NetworkSpec;

/// A layer in its place, or the embeddings.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) stage: Box<dyn Stage>,
    /// Place among the job's layers, where those inside a block count before the block; 0 for the embeddings.
    pub(crate) number: usize,
    /// Where the description has it; nowhere for the embeddings.
    pub(crate) place: LayerPlace,
    /// The first of the stages of the layers inside it, if it has any.
    pub(crate) block: Option<usize>,
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
    let mut stages = Stages { built: Vec::new(), input, slopes_from: 0, parameters: 0, number: 0 };
    if let Some(embeddings) = Embeddings::new(spec.inputs, &spec.embeddings)? {
        stages.input = vec![spec.inputs + spec.embeddings.len()];
        let shape = embeddings.shape();
        let place = (LayerPlace::default(), None);
        stages.add(Box::new(embeddings), place, shape).ok_or(SpecError::TooManyEmbedded)?;
        stages.number = 0;
        stages.slopes_from = spec.inputs;
    }
    for (layer, described) in spec.layers.iter().enumerate() {
        stages.put(described.layer(), LayerPlace(vec![layer]))?;
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
    /// Of the next one.
    number: usize,
}

impl Stages {
    /// Puts a layer on top, after those inside it.
    fn put(&mut self, described: &dyn Layer, place: LayerPlace) -> Result<(), SpecError> {
        let wrong = |problem| SpecError::Layer { layer: place.clone(), problem };
        let inside = described.inside();
        let (first, input) = (self.built.len(), self.input.clone());
        for (at, &layer) in inside.iter().enumerate() {
            self.put(layer, place.inside(at))?;
        }
        let shape = shape(described, &self.input).map_err(wrong)?;
        if !inside.is_empty() && self.input != input {
            let [found, wanted] =
                [&self.input, &input].map(|sides| sides.iter().product::<usize>());
            return Err(wrong(format!(
                "its layers make rows of {found} of rows of {wanted}, to which they cannot be added: let the last of them \
                 have {wanted} units"
            )));
        }
        if checked_len(&shape.output).is_none() {
            return Err(wrong("its rows are too long to count".to_string()));
        }
        let (stage, block) = (described.boxed(), (!inside.is_empty()).then_some(first));
        let added = self.add(stage, (place.clone(), block), shape);
        added.ok_or(SpecError::TooManyParameters { layer: place })
    }

    /// Adds one; `None` if that would be too many parameters.
    fn add(
        &mut self,
        stage: Box<dyn Stage>,
        (place, block): (LayerPlace, Option<usize>),
        shape: Shape,
    ) -> Option<()> {
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
        let number = self.number;
        self.number += 1;
        self.built.push(Built {
            stage,
            number,
            place,
            block,
            inputs,
            slopes_from,
            outputs,
            shape,
            ranges,
        });
        Some(())
    }
}

/// Values of a row with these sides, if they can be counted.
fn checked_len(sides: &[usize]) -> Option<usize> {
    sides.iter().try_fold(1usize, |len, &side| len.checked_mul(side))
}

fn shape(described: &dyn Layer, input: &[usize]) -> Result<Shape, String> {
    check(described.boxed().parameters())
        .map_err(|wrong| format!("`{}`: {}", wrong.parameter, wrong.problem))?;
    described.shape(input)
}
