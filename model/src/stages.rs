//! The stages that rows go through, each in its place: the embeddings, if a network has any, and its layers. Checks that they
//! fit on top of each other, and counts their parameters; knows neither loss nor metrics.

use std::ops::Range;

use lockstep_parameters::check;
use lockstep_proto::layout::PARAMETERS_MAX;

use crate::embeddings::Embeddings;
use crate::error::SpecError;
use crate::layers::{Layer, LayerSpec, Shape, Stage, Tensors};
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
    /// Sides of an input row.
    pub(crate) sides: Vec<usize>,
    /// Whether training changes none of its tensors.
    pub(crate) is_frozen: bool,
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
    /// Whether it has tensors that training changes.
    pub(crate) fn learns(&self) -> bool {
        self.len() > 0 && !self.is_frozen
    }

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
    let input = match spec.image {
        Some(sides) => image(spec, sides)?,
        None => vec![spec.inputs],
    };
    let mut stages = Stages { built: Vec::new(), input, slopes_from: 0, parameters: 0, number: 0 };
    if let Some(embeddings) = Embeddings::new(spec.inputs, &spec.embeddings)? {
        stages.input = vec![spec.inputs + spec.embeddings.len()];
        let (shape, is_frozen) = (embeddings.shape(), embeddings.is_frozen());
        let place = (LayerPlace::default(), None);
        stages.add(Box::new(embeddings), place, shape).ok_or(SpecError::TooManyEmbedded)?;
        if let Some(built) = stages.built.last_mut() {
            built.is_frozen = is_frozen;
        }
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
            return Err(wrong(unlike(&self.input, &input)));
        }
        if checked_len(&shape.output).is_none() {
            return Err(wrong("its rows are too long to count".to_string()));
        }
        let (stage, block) = (described.boxed(), (!inside.is_empty()).then_some(first));
        let added = self.add(stage, (place.clone(), block), shape);
        added.ok_or(SpecError::TooManyParameters { layer: place })?;
        if let Some(built) = self.built.last_mut() {
            built.is_frozen = described.is_frozen();
        }
        Ok(())
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
        let sides = std::mem::replace(&mut self.input, shape.output.clone());
        let slopes_from = std::mem::take(&mut self.slopes_from);
        let number = self.number;
        self.number += 1;
        self.built.push(Built {
            stage,
            number,
            place,
            block,
            sides,
            is_frozen: false,
            inputs,
            slopes_from,
            outputs,
            shape,
            ranges,
        });
        Some(())
    }
}

/// Why rows of a block cannot be added to those that went into it.
fn unlike(found: &[usize], wanted: &[usize]) -> String {
    let why = "to which they cannot be added";
    match (found, wanted) {
        ([found], [wanted]) => format!(
            "its layers make rows of {found} of rows of {wanted}, {why}: let the last of them have {wanted} units"
        ),
        _ => format!(
            "its layers make rows of shape {found:?} of rows of shape {wanted:?}, {why}: let them keep the shape, as \
             `padding = \"same\"` does"
        ),
    }
}

/// The sides of rows that are images.
fn image(spec: &NetworkSpec, sides: [usize; 3]) -> Result<Vec<usize>, SpecError> {
    let problem = match checked_len(&sides) {
        _ if !spec.embeddings.is_empty() => {
            "columns that are embedded are beside them, which an image has no place for".to_string()
        }
        Some(len) if len == spec.inputs && len > 0 => return Ok(sides.to_vec()),
        found => {
            let found = found.map_or("too many to count".to_string(), |len| len.to_string());
            format!("which are {found} numbers, but rows have {}", spec.inputs)
        }
    };
    Err(SpecError::Image { sides, problem })
}

/// Most values of a side of an image that is not known yet.
const UNKNOWN_SIDE_MAX: usize = 1 << 10;

/// Sides of an image that these layers, one after another, can take where it is not known yet: a small one. `None` where no layer takes
/// images.
pub(crate) fn image_for(layers: &[LayerSpec]) -> Option<[usize; 3]> {
    let all = || layers.iter().map(LayerSpec::layer);
    if !all().any(takes_images) {
        return None;
    }
    let channels = LayerSpec::inputs_for(layers);
    let sides = (0..).map(|power| 1usize << power).take_while(|&side| side <= UNKNOWN_SIDE_MAX);
    // Where none goes through all layers, the first of those that go farthest.
    let mut farthest = (0, [1, 1, channels]);
    for image in sides.map(|side| [side, side, channels]) {
        let mut passed = 0;
        if output_of(all(), image.to_vec(), &mut passed).is_some() {
            return Some(image);
        }
        if passed > farthest.0 {
            farthest = (passed, image);
        }
    }
    Some(farthest.1)
}

fn takes_images(layer: &dyn Layer) -> bool {
    layer.takes_images() || layer.inside().into_iter().any(takes_images)
}

/// What layers make of rows of a shape, if they can take them. Counts those that can.
fn output_of<'a>(
    layers: impl Iterator<Item = &'a dyn Layer>,
    mut sides: Vec<usize>,
    passed: &mut usize,
) -> Option<Vec<usize>> {
    for layer in layers {
        let (inside, before) = (layer.inside(), sides.clone());
        let is_block = !inside.is_empty();
        sides = output_of(inside.into_iter(), sides, passed)?;
        if is_block && sides != before {
            return None;
        }
        sides = shape(layer, &sides).ok()?.output;
        *passed += 1;
    }
    Some(sides)
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
