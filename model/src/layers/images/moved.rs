//! Images whose pixels are taken from other places of them, as augmentation does: which rows and columns, is said for each image.
//!
//! In training that is drawn from a stream of the row's own, keyed as dropout's: by seed, layer, step, shard and place in the
//! microbatch. So it depends neither on who computes the row, nor with which others, nor how often.

use lockstep_proto::random::{Purpose, Random};

use crate::blocks::{each_block_at, row_of};
use crate::layers::layer::{Backward, Forward, Shape, Slopes};
use crate::leaves::TrainingRows;

/// Floating point operations of matrix products that take about as long as a value that is copied forward and added backward.
const VALUE_FLOPS: u64 = 32;

/// Floating point operations of matrix products that take about as long as drawing what is done to an image: 100 ns.
const DRAW_FLOPS: u64 = 8000;

/// From which row and column of an image each of another is taken; `None` for those that are filled.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) rows: Vec<Option<usize>>,
    pub(super) columns: Vec<Option<usize>>,
}

/// A layer that moves pixels.
pub(super) trait Moves: Sync {
    /// Height and width of what comes out of images of this height and width.
    fn output(&self, image: [usize; 2]) -> [usize; 2];

    /// Overwrites where rows and columns are taken from: as drawn, or where nothing is learned.
    fn sources(&self, image: [usize; 2], random: Option<Random>, sources: &mut Sources);

    /// What the pixels become that are taken from nowhere.
    fn fill(&self) -> f32 {
        0.0
    }
}

/// What such a layer makes of its rows.
pub(super) fn shape(layer: &dyn Moves, [height, width, channels]: [usize; 3]) -> Shape {
    let [height, width] = layer.output([height, width]);
    let output = vec![height, width, channels];
    let values = output.iter().fold(1u64, |len, &side| len.saturating_mul(side as u64));
    let flops = values.saturating_mul(VALUE_FLOPS).saturating_add(DRAW_FLOPS);
    Shape { output, tensors: Vec::new(), kept: 0, flops }
}

pub(super) fn forward(layer: &dyn Moves, pass: &Forward<'_>, outputs: &mut [f32]) {
    let image = super::image(pass.sides).expect("images");
    let lens = Lens::new(layer, image);
    each_block_at(outputs, lens.output, pass.pieces, |first, outputs| {
        let (mut spare, mut sources) = (Vec::new(), Sources::default());
        let mut streams = Streams::new(pass.training, pass.layer, first);
        for (row, outputs) in outputs.chunks_exact_mut(lens.output).enumerate() {
            layer.sources([image[0], image[1]], streams.next(), &mut sources);
            let pixels = row_of(pass.input, first + row, &mut spare);
            for (at, from) in sources.pixels(image) {
                let own = &mut outputs[at..at + image[2]];
                match from {
                    Some(from) => own.copy_from_slice(&pixels[from..from + image[2]]),
                    None => own.fill(layer.fill()),
                }
            }
        }
    });
}

/// A pixel that was taken several times gets all slopes, in the order of what comes out.
pub(super) fn input_slopes(layer: &dyn Moves, pass: &Backward<'_>, slopes: &mut Slopes) {
    let image = super::image(pass.sides).expect("images");
    let lens = Lens::new(layer, image);
    slopes.replace(pass.input.len(), |inside, before| {
        each_block_at(before, lens.input, pass.pieces, |first, before| {
            let mut sources = Sources::default();
            let mut streams = Streams::new(Some(pass.training), pass.layer, first);
            before.fill(0.0);
            let rows = before.chunks_exact_mut(lens.input).zip(first..);
            for (before, row) in rows {
                layer.sources([image[0], image[1]], streams.next(), &mut sources);
                let inside = &inside[row * lens.output..(row + 1) * lens.output];
                for (at, from) in sources.pixels(image) {
                    let Some(from) = from else { continue };
                    let own = before[from..from + image[2]].iter_mut();
                    own.zip(&inside[at..]).for_each(|(before, &slope)| *before += slope);
                }
            }
        });
    });
}

impl Sources {
    /// The pixels of what comes out, and where they are taken from: the places of their first channels.
    fn pixels(
        &self,
        [_, width, channels]: [usize; 3],
    ) -> impl Iterator<Item = (usize, Option<usize>)> {
        let places = self.rows.iter().flat_map(move |&row| {
            let from = move |&column: &Option<usize>| Some((row? * width + column?) * channels);
            self.columns.iter().map(from)
        });
        places.enumerate().map(move |(at, from)| (at * channels, from))
    }
}

/// Values of a row.
struct Lens {
    input: usize,
    output: usize,
}

impl Lens {
    fn new(layer: &dyn Moves, [height, width, channels]: [usize; 3]) -> Lens {
        let [rows, columns] = layer.output([height, width]);
        Lens { input: height * width * channels, output: rows * columns * channels }
    }
}

/// The streams of successive rows, if something is learned from them.
struct Streams<'a> {
    rows: Option<TrainingRows<'a>>,
    identities: Box<dyn Iterator<Item = (u32, usize)> + 'a>,
    layer: usize,
}

impl<'a> Streams<'a> {
    fn new(training: Option<TrainingRows<'a>>, layer: usize, first: usize) -> Streams<'a> {
        let identities = training.into_iter().flat_map(move |rows| rows.identities(first));
        Streams { rows: training, identities: Box::new(identities), layer }
    }

    fn next(&mut self) -> Option<Random> {
        let (rows, (shard, place)) = (self.rows?, self.identities.next()?);
        let purpose = Purpose::Augmentation { layer: self.layer as u32 };
        Some(Random::new(rows.seed, purpose, rows.step, u64::from(shard) << 32 | place as u64))
    }
}
