//! Flips of images, `keras.layers.RandomFlip`: in training each image is mirrored with probability 1/2, across or upside down or,
//! by a second draw, both. Elsewhere the layer is the identity.
//!
//! Of a row's stream the first number decides on left and right, the second on top and bottom, whatever the mode.

use lockstep_graph::{Graph, Value};
use lockstep_parameters::{Parameter, Slot, choices};
use lockstep_proto::random::Random;

use super::moved::{self, Moves, Sources};
use crate::layers::layer::{Backward, Described, Forward, Layer, Shape, Slopes, Stage};
use crate::layers::spec::LayerSpec;

/// How images are mirrored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlipMode {
    /// Left and right are exchanged.
    Horizontal,
    /// Top and bottom are.
    Vertical,
    /// Each by its own draw.
    #[default]
    HorizontalAndVertical,
}

choices!(FlipMode {
    "horizontal" => Horizontal,
    "vertical" => Vertical,
    "horizontal_and_vertical" => HorizontalAndVertical,
});

/// Mirrors images at random, in training only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RandomFlip {
    /// Which sides are exchanged.
    pub mode: FlipMode,
}

impl RandomFlip {
    /// Exchanges these sides, each with probability 1/2.
    pub fn new(mode: FlipMode) -> RandomFlip {
        RandomFlip { mode }
    }
}

impl Moves for RandomFlip {
    fn output(&self, image: [usize; 2]) -> [usize; 2] {
        image
    }

    fn sources(&self, [height, width]: [usize; 2], random: Option<Random>, sources: &mut Sources) {
        let [horizontal, vertical] = match random {
            Some(mut random) => [random.unit_f32() < 0.5, random.unit_f32() < 0.5],
            None => [false; 2],
        };
        mirror(height, vertical && self.mode != FlipMode::Horizontal, &mut sources.rows);
        mirror(width, horizontal && self.mode != FlipMode::Vertical, &mut sources.columns);
    }
}

fn mirror(len: usize, is_turned: bool, sources: &mut Vec<Option<usize>>) {
    sources.clear();
    sources.extend((0..len).map(|at| Some(if is_turned { len - 1 - at } else { at })));
}

impl From<RandomFlip> for LayerSpec {
    fn from(layer: RandomFlip) -> LayerSpec {
        LayerSpec::of(layer)
    }
}

impl Layer for RandomFlip {
    fn name(&self) -> &'static str {
        "random_flip"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        vec![Parameter::optional("mode", Slot::Choice(&mut self.mode))]
    }

    fn boxed(&self) -> Box<dyn Layer> {
        Box::new(self.clone())
    }

    fn summary(&self) -> String {
        self.mode.to_string()
    }

    fn takes_images(&self) -> bool {
        true
    }

    fn shape(&self, input: &[usize]) -> Result<Shape, String> {
        Ok(moved::shape(self, super::image(input)?))
    }

    /// Nothing is moved where nothing is learned.
    fn describe(&self, _: &mut Graph, pass: Described<'_>) -> Value {
        pass.input
    }

    fn refuses_last_place(&self) -> Option<&'static str> {
        Some(super::LAST)
    }
}

impl Stage for RandomFlip {
    fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32], _kept: &mut [f32]) {
        moved::forward(self, pass, outputs);
    }

    fn input_slopes(&self, pass: &Backward<'_>, slopes: &mut Slopes) {
        moved::input_slopes(self, pass, slopes);
    }
}
