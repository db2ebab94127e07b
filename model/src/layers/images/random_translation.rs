//! Shifts of images, `keras.layers.RandomTranslation`: in training each image is moved by whole pixels, drawn anew. Elsewhere the
//! layer is the identity. Keras moves by parts of pixels, too, and interpolates.
//!
//! Of a row's stream the first number is the shift down, the second that to the right: uniform over the whole numbers from `-m`
//! to `m`, where `m` is the factor times the image's height or width, rounded down.

use lockstep_graph::{Graph, Value};
use lockstep_parameters::{Parameter, Range, Slot, choices};
use lockstep_proto::random::Random;

use super::moved::{self, Moves, Sources};
use crate::layers::layer::{Backward, Described, Forward, Layer, Shape, Slopes, Stage};
use crate::layers::spec::LayerSpec;

/// What comes in from beyond the edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FillMode {
    /// The image, mirrored at its edge: `d c b a | a b c d | d c b a`.
    #[default]
    Reflect,
    /// `fill_value`.
    Constant,
    /// What was moved out at the other edge.
    Wrap,
    /// The pixel at the edge.
    Nearest,
}

choices!(FillMode {
    "reflect" => Reflect,
    "constant" => Constant,
    "wrap" => Wrap,
    "nearest" => Nearest,
});

/// What an image may be filled with.
const VALUE: Range =
    Range::new("a number, as a 32-bit float", |number| (number as f32).is_finite());

/// Moves images at random, in training only.
#[derive(Clone, Debug, PartialEq)]
pub struct RandomTranslation {
    /// Most that an image is moved up or down, as a share of its height.
    pub height_factor: f32,
    /// Most that it is moved left or right, as a share of its width.
    pub width_factor: f32,
    /// What comes in from beyond the edge.
    pub fill_mode: FillMode,
    /// What that is where it is constant.
    pub fill_value: f32,
}

impl RandomTranslation {
    /// Moves images by up to these shares of their height and width, from 0 to 1, mirrored at their edges as in Keras.
    pub fn new(height_factor: f32, width_factor: f32) -> RandomTranslation {
        let (fill_mode, fill_value) = (FillMode::Reflect, 0.0);
        RandomTranslation { height_factor, width_factor, fill_mode, fill_value }
    }

    /// Sets what comes in from beyond the edge.
    pub fn fill_mode(mut self, mode: FillMode) -> RandomTranslation {
        self.fill_mode = mode;
        self
    }

    /// Fills with this value.
    pub fn fill_value(mut self, value: f32) -> RandomTranslation {
        (self.fill_mode, self.fill_value) = (FillMode::Constant, value);
        self
    }

    /// Where each place of a side is taken from.
    fn shift(&self, len: usize, by: isize, sources: &mut Vec<Option<usize>>) {
        let side = len as isize;
        let source = |at: isize| match self.fill_mode {
            FillMode::Constant => (0..side).contains(&at).then_some(at),
            FillMode::Nearest => Some(at.clamp(0, side - 1)),
            FillMode::Wrap => Some(at.rem_euclid(side)),
            FillMode::Reflect => {
                let at = at.rem_euclid(2 * side);
                Some(at.min(2 * side - 1 - at))
            }
        };
        sources.clear();
        sources.extend((0..side).map(|at| source(at - by).map(|from| from as usize)));
    }
}

/// Pixels that a side is moved by at most. In `f64`, exactly: a factor has 24 digits, a side as many.
fn most(len: usize, factor: f32) -> u32 {
    (len as f64 * f64::from(factor)) as u32
}

fn draw(random: &mut Option<Random>, most: u32) -> isize {
    let drawn = random.as_mut().map(|random| random.below(2 * most + 1) as isize - most as isize);
    drawn.unwrap_or(0)
}

impl Moves for RandomTranslation {
    fn output(&self, image: [usize; 2]) -> [usize; 2] {
        image
    }

    fn sources(
        &self,
        [height, width]: [usize; 2],
        mut random: Option<Random>,
        sources: &mut Sources,
    ) {
        let down = draw(&mut random, most(height, self.height_factor));
        let right = draw(&mut random, most(width, self.width_factor));
        self.shift(height, down, &mut sources.rows);
        self.shift(width, right, &mut sources.columns);
    }

    fn fill(&self) -> f32 {
        self.fill_value
    }
}

impl From<RandomTranslation> for LayerSpec {
    fn from(layer: RandomTranslation) -> LayerSpec {
        LayerSpec::of(layer)
    }
}

impl Layer for RandomTranslation {
    fn name(&self) -> &'static str {
        "random_translation"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let share = |into| Slot::Number32(into, Range::SHARE);
        vec![
            Parameter::required("height_factor", share(&mut self.height_factor)),
            Parameter::required("width_factor", share(&mut self.width_factor)),
            Parameter::optional("fill_mode", Slot::Choice(&mut self.fill_mode)),
            Parameter::optional("fill_value", Slot::Number32(&mut self.fill_value, VALUE)),
        ]
    }

    fn boxed(&self) -> Box<dyn Layer> {
        Box::new(self.clone())
    }

    fn summary(&self) -> String {
        let RandomTranslation { height_factor, width_factor, fill_mode, .. } = self;
        format!("up to {height_factor} x {width_factor}, {fill_mode}")
    }

    fn takes_images(&self) -> bool {
        true
    }

    fn shape(&self, input: &[usize]) -> Result<Shape, String> {
        let image = super::image(input)?;
        let sides = [(image[0], "height"), (image[1], "width")];
        match sides.into_iter().find(|&(side, _)| side > super::MOVED_SIDE_MAX) {
            Some((side, name)) => Err(super::too_large(side, name)),
            None => Ok(moved::shape(self, image)),
        }
    }

    /// Nothing is moved where nothing is learned.
    fn describe(&self, _: &mut Graph, pass: Described<'_>) -> Value {
        pass.input
    }

    fn refuses_last_place(&self) -> Option<&'static str> {
        Some(super::LAST)
    }
}

impl Stage for RandomTranslation {
    fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32], _kept: &mut [f32]) {
        moved::forward(self, pass, outputs);
    }

    fn input_slopes(&self, pass: &Backward<'_>, slopes: &mut Slopes) {
        moved::input_slopes(self, pass, slopes);
    }
}
