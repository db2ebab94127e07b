//! Crops of images, `keras.layers.RandomCrop`: in training a part of each image, at a place that is drawn anew. Elsewhere the part in
//! its middle.
//!
//! Of a row's stream the first number is the place from the top, the second that from the left: uniform over all that there are.

use lockstep_graph::{Graph, Value};
use lockstep_parameters::{Parameter, Slot};
use lockstep_proto::random::Random;

use super::moved::{self, Moves, Sources};
use crate::layers::layer::{Backward, Described, Forward, Layer, Shape, Slopes, Stage};
use crate::layers::spec::LayerSpec;

/// Most of a part's height and width.
const SIDE_MAX: u64 = super::MOVED_SIDE_MAX as u64;

/// Takes parts of images, at random in training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RandomCrop {
    /// Of the part.
    pub height: usize,
    /// Of the part.
    pub width: usize,
}

impl RandomCrop {
    /// Parts of this height and width.
    pub fn new(height: usize, width: usize) -> RandomCrop {
        RandomCrop { height, width }
    }
}

/// Where a part of a side begins.
fn place(random: &mut Option<Random>, len: usize, part: usize) -> usize {
    let left = len - part;
    let drawn = random.as_mut().map(|random| random.below(left as u32 + 1) as usize);
    drawn.unwrap_or(left / 2)
}

fn take(first: usize, part: usize, sources: &mut Vec<Option<usize>>) {
    sources.clear();
    sources.extend((first..first + part).map(Some));
}

impl Moves for RandomCrop {
    fn output(&self, _: [usize; 2]) -> [usize; 2] {
        [self.height, self.width]
    }

    fn sources(
        &self,
        [height, width]: [usize; 2],
        mut random: Option<Random>,
        sources: &mut Sources,
    ) {
        let top = place(&mut random, height, self.height);
        let left = place(&mut random, width, self.width);
        take(top, self.height, &mut sources.rows);
        take(left, self.width, &mut sources.columns);
    }
}

impl From<RandomCrop> for LayerSpec {
    fn from(layer: RandomCrop) -> LayerSpec {
        LayerSpec::of(layer)
    }
}

impl Layer for RandomCrop {
    fn name(&self) -> &'static str {
        "random_crop"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        vec![
            Parameter::required("height", Slot::Whole(&mut self.height, 1, SIDE_MAX)),
            Parameter::required("width", Slot::Whole(&mut self.width, 1, SIDE_MAX)),
        ]
    }

    fn boxed(&self) -> Box<dyn Layer> {
        Box::new(self.clone())
    }

    fn summary(&self) -> String {
        format!("{} x {}", self.height, self.width)
    }

    fn takes_images(&self) -> bool {
        true
    }

    fn shape(&self, input: &[usize]) -> Result<Shape, String> {
        let image = super::image(input)?;
        let ([height, width, _], RandomCrop { height: rows, width: columns }) = (image, self);
        if height < *rows || width < *columns {
            return Err(format!(
                "found images of {height} x {width}, wanted at least the part's {rows} x {columns}"
            ));
        }
        let sides = [(height, "height"), (width, "width")];
        match sides.into_iter().find(|&(side, _)| side > super::MOVED_SIDE_MAX) {
            Some((side, name)) => Err(super::too_large(side, name)),
            None => Ok(moved::shape(self, image)),
        }
    }

    /// The part in the middle, row by row.
    fn describe(&self, graph: &mut Graph, pass: Described<'_>) -> Value {
        let [height, width, channels] = super::image(pass.sides).expect("images");
        let (top, left) =
            (place(&mut None, height, self.height), place(&mut None, width, self.width));
        let rows: Vec<Value> = (top..top + self.height)
            .map(|row| {
                let from = (row * width + left) * channels;
                graph.columns(from, from + self.width * channels, pass.input)
            })
            .collect();
        graph.join(&rows)
    }

    fn refuses_last_place(&self) -> Option<&'static str> {
        Some(super::LAST)
    }
}

impl Stage for RandomCrop {
    fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32], _kept: &mut [f32]) {
        moved::forward(self, pass, outputs);
    }

    fn input_slopes(&self, pass: &Backward<'_>, slopes: &mut Slopes) {
        moved::input_slopes(self, pass, slopes);
    }
}
