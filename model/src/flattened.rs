//! What is behind a flattened image: which sides of which tensors are its values, for whoever has these in another order.
//!
//! A dense layer mixes them: its kernel has a row for each, and what comes out is of no image any more. What comes out of a block is
//! added to what went in, and so has its order: the last layer in it that mixes values has a column for each value of the image.

use std::ops::Range;

use crate::layers::Tensor;
use crate::network::Network;
use crate::stages::Built;

/// A tensor with sides that are the values of an image: row by row, pixel by pixel, channel by channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flattened {
    /// Its place in the layout.
    pub tensor: usize,
    /// Height, width and channels.
    pub image: [usize; 3],
    /// Whether its first side is.
    pub first: bool,
    /// Whether its last side is, where that is another.
    pub last: bool,
}

impl Network {
    /// Tensors with sides that are the values of an image that was flattened before.
    pub fn flattened(&self) -> Vec<Flattened> {
        let mut walk = Walk { stages: self.layers(), found: Vec::new() };
        walk.layers(0..self.layers().len(), None, false);
        walk.found.sort_by_key(|found| found.tensor);
        walk.found
    }
}

struct Walk<'a> {
    stages: &'a [Built],
    found: Vec<Flattened>,
}

impl Walk<'_> {
    /// Goes through layers that follow each other, those of a block or of the network, and says of which image their outputs are.
    fn layers(
        &mut self,
        stages: Range<usize>,
        before: Option<[usize; 3]>,
        is_block: bool,
    ) -> Option<[usize; 3]> {
        let layers = self.following(stages);
        let last_mixing = layers.iter().rposition(|layer| self.mixes(layer));
        let mut image = before;
        for (place, layer) in layers.iter().enumerate() {
            let at = layer.end - 1;
            let built = &self.stages[at];
            match (built.sides.as_slice(), built.shape.output.as_slice()) {
                _ if layer.len() > 1 => {
                    self.layers(layer.start..at, image, true);
                }
                (&[height, width, channels], &[len]) if len == built.inputs => {
                    image = Some([height, width, channels]);
                }
                _ if self.mixes(layer) => {
                    let after = before.filter(|_| is_block && Some(place) == last_mixing);
                    self.mixing(at, image, after);
                    image = after;
                }
                _ => self.of_each(at, image),
            }
        }
        image
    }

    /// The stages of each layer, which are more than one if it is a block.
    fn following(&self, stages: Range<usize>) -> Vec<Range<usize>> {
        let (mut layers, mut end) = (Vec::new(), stages.end);
        while end > stages.start {
            let start = self.stages[end - 1].block.unwrap_or(end - 1);
            layers.push(start..end);
            end = start;
        }
        layers.reverse();
        layers
    }

    /// Whether a layer makes a value of several.
    fn mixes(&self, layer: &Range<usize>) -> bool {
        layer.len() == 1 && !self.stages[layer.start].shape.tensors.iter().all(is_of_each)
    }

    fn mixing(&mut self, stage: usize, before: Option<[usize; 3]>, after: Option<[usize; 3]>) {
        let Some(image) = before.or(after) else { return };
        for (place, tensor) in self.stages[stage].shape.tensors.iter().enumerate() {
            let (first, last) = match is_of_each(tensor) {
                // A bias, for what comes out.
                true => (after.is_some(), false),
                false => (before.is_some(), after.is_some()),
            };
            if first || last {
                self.found.push(Flattened {
                    tensor: self.tensor(stage, place),
                    image,
                    first,
                    last,
                });
            }
        }
    }

    fn of_each(&mut self, stage: usize, image: Option<[usize; 3]>) {
        let Some(image) = image else { return };
        for place in 0..self.stages[stage].shape.tensors.len() {
            let tensor = self.tensor(stage, place);
            self.found.push(Flattened { tensor, image, first: true, last: false });
        }
    }

    /// The place in the layout of a stage's tensor.
    fn tensor(&self, stage: usize, place: usize) -> usize {
        self.stages[..stage].iter().map(|before| before.shape.tensors.len()).sum::<usize>() + place
    }
}

/// Whether a tensor has a weight for each value of a row, of which it mixes none.
fn is_of_each(tensor: &Tensor) -> bool {
    tensor.shape.shape.len() == 1
}
