//! Where each tensor lies in the flat parameter vector, and how that vector is cut into chunks.
//!
//! Weights, gradients and optimizer moments are all one flat `f32` vector in this order: layer by layer, each layer's
//! tensors (row-major) in the order in which it declares them. A layer may have none: it has an empty place between its
//! neighbours, and belongs to no chunk. Where a network's inputs have tensors, those of embeddings, these come first, in the
//! order of the inputs: for whatever sends, adds and waits they are one layer more, before the job's.
//!
//! A layout may have *row squares*: next to the gradient of each value of the inputs' tensors, the sum over the rows of the
//! square of the row's own slope. They go up the tree in the same frames, behind the gradients of their chunk, and come back
//! in none: they belong to no weight.
//!
//! Layers may be *frozen*: their weights never change. No chunk has values of both such layers and others, so that of those of frozen
//! layers no sums are sent, and no new weights come back.
//!
//! The last tensors of a layer may be *moving averages*: what goes up the tree for them are sums over rows of what they average, and
//! no optimizer has a part in them. They are in chunks of their own, each of one layer. In a frozen layer they are as its other
//! tensors. Knows no kind of layer and no values.

use std::ops::Range;

/// Most values in a chunk: 256 KiB of `f32`. On a slow link a chunk comes back as soon as all workers have sent it, so that
/// the shorter chunks are, the less of the way back has to wait.
pub const CHUNK_VALUES_MAX: usize = 1 << 16;

/// Chunks that several processes add up are shorter, so that each of them gets some and their ways overlap: about so many, but none
/// shorter than what small layers share.
const CHUNKS_TO_SPREAD: usize = 64;

/// Most values of a block of the global norm: whole chunks.
const NORM_BLOCK_VALUES: usize = 1 << 18;

/// Small neighbouring layers share a chunk up to this many values, so that a small network is one frame.
const SHARED_CHUNK_VALUES_MAX: usize = 1 << 14;

/// Most values in a network: 4 Gi parameters is 16 GiB of weights.
pub const PARAMETERS_MAX: usize = 1 << 32;

/// One named tensor of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// `layers.{i}.` and its name in the layer: `layers.0.kernel`. `i` counts all layers of the job; of a layer inside another,
    /// `layers.{j}.` follows. Of the inputs, `inputs.`
    /// and its name there: `inputs.color.embedding`.
    pub name: String,
    /// As the layer declares it: `[in, out]` for a dense layer's kernel.
    pub shape: Vec<usize>,
    /// Place in the flat vector.
    pub range: Range<usize>,
}

/// A contiguous slice of the flat vector: the unit of transfer, reduction, update and broadcast.
#[derive(Clone, Debug, PartialEq)]
pub struct ChunkRange {
    /// Place in the flat vector.
    pub range: Range<usize>,
    /// The layers it touches, first and last of which have tensors. A chunk of more than one layer holds these layers whole.
    pub layers: Range<usize>,
    /// How many of its values, the first ones, have row squares.
    pub squared: usize,
    /// Whether its weights never change.
    pub is_frozen: bool,
    /// Where its values are moving averages: the share of the old average in the new one.
    pub momentum: Option<f32>,
}

impl ChunkRange {
    /// Values in a frame of its sums: a gradient for each of its values, then the row squares.
    pub fn sums_len(&self) -> usize {
        self.range.len() + self.squared
    }
}

/// The order of all parameters. Made from the layers' shapes alone, so both sides make the same one.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    tensors: Vec<Tensor>,
    layers: Vec<Range<usize>>,
    chunks: Vec<ChunkRange>,
    /// Whether the first layer is that of the inputs.
    has_inputs: bool,
    /// Where the job has each layer, if some are inside others.
    places: Vec<Vec<usize>>,
    /// Whether there are row squares of the inputs' tensors.
    has_row_squares: bool,
    /// Most values of a chunk's frames.
    chunk_values_max: usize,
    /// By layer: whether its weights never change. Empty if all do.
    frozen: Vec<bool>,
    /// By layer: how many of its values, the last ones, are moving averages, and their momentum.
    moving: Vec<Option<(usize, f32)>>,
}

/// A tensor as a layer declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorShape {
    /// Its name in the layer, such as `kernel`.
    pub name: String,
    /// Its dimensions, the slowest first.
    pub shape: Vec<usize>,
    /// Where its values are moving averages: the share of the old average in the new one, the same for all such tensors of a layer.
    pub momentum: Option<f32>,
}

impl TensorShape {
    /// A tensor of this name and shape.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> TensorShape {
        TensorShape { name: name.into(), shape: shape.into(), momentum: None }
    }

    /// The same as moving averages, with this share of the old average in the new one.
    pub fn moving(self, momentum: f32) -> TensorShape {
        TensorShape { momentum: Some(momentum), ..self }
    }

    /// Number of values; `None` if no machine can count them.
    pub fn checked_len(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |len, &side| len.checked_mul(side))
    }
}

/// Whether a run's chunks may have so many values at most: blocks of the norm are whole chunks, and small layers share one.
pub fn chunk_values_may_be(values_max: usize) -> bool {
    let range = SHARED_CHUNK_VALUES_MAX..=CHUNK_VALUES_MAX;
    range.contains(&values_max) && values_max.is_power_of_two()
}

impl Layout {
    /// Lays out the tensors of each layer. Layer `i` is named by its place in the job.
    pub fn new<L: AsRef<[TensorShape]>>(declared: &[L]) -> Layout {
        Layout::with_inputs(&[], declared)
    }

    /// Lays out the tensors of the inputs, if they have any, and then those of each layer.
    ///
    /// # Panics
    /// If other tensors of a layer are behind its moving averages.
    pub fn with_inputs<L: AsRef<[TensorShape]>>(inputs: &[TensorShape], declared: &[L]) -> Layout {
        let has_inputs = !inputs.is_empty();
        let inputs = has_inputs.then(|| ("inputs".to_string(), inputs));
        let named = declared.iter().enumerate();
        let named = named.map(|(i, layer)| (format!("layers.{i}"), layer.as_ref()));
        let mut tensors = Vec::new();
        let (mut layers, mut moving) = (Vec::new(), Vec::new());
        let mut at = 0;
        for (of, declared) in inputs.into_iter().chain(named) {
            let start = at;
            let mut averages: Option<(usize, f32)> = None;
            for TensorShape { name, shape, momentum } in declared {
                let len = shape.iter().product::<usize>();
                let before = averages.map_or(0, |(len, _)| len);
                assert!(
                    before == 0 || momentum.is_some(),
                    "moving averages are a layer's last tensors"
                );
                averages = momentum.map(|momentum| (before + len, momentum));
                let name = format!("{of}.{name}");
                tensors.push(Tensor { name, shape: shape.clone(), range: at..at + len });
                at += len;
            }
            layers.push(start..at);
            moving.push(averages);
        }
        let layout = Layout {
            tensors,
            layers,
            chunks: Vec::new(),
            has_inputs,
            places: Vec::new(),
            has_row_squares: false,
            chunk_values_max: CHUNK_VALUES_MAX,
            frozen: Vec::new(),
            moving,
        };
        layout.cut()
    }

    /// The same, with each of the job's layers in its place: in the job, then in that layer, and so on. The tensors of the second
    /// layer inside the first are `layers.0.layers.1.kernel` and so on.
    ///
    /// # Panics
    /// If there is not a place for each layer.
    pub fn in_places(mut self, places: Vec<Vec<usize>>) -> Layout {
        let first = usize::from(self.has_inputs);
        assert_eq!(first + places.len(), self.layers.len(), "a place for each layer");
        if places.iter().all(|place| place.len() == 1) {
            return self;
        }
        for (at, (layer, place)) in self.layers[first..].iter().zip(&places).enumerate() {
            let (was, levels) = (format!("layers.{at}."), place.iter().map(usize::to_string));
            let name = levels.map(|at| format!("layers.{at}.")).collect::<String>();
            let is_its = |tensor: &&mut Tensor| layer.contains(&tensor.range.start);
            for tensor in self.tensors.iter_mut().filter(is_its) {
                tensor.name = tensor.name.replacen(&was, &name, 1);
            }
        }
        self.places = places;
        self
    }

    /// The same parameters, with row squares of the inputs' tensors, if they have any and `wanted`. No frame becomes longer for
    /// it: chunks of these tensors have half as many values. Where they never change there are none.
    pub fn with_row_squares(self, wanted: bool) -> Layout {
        let has_row_squares = wanted && self.has_inputs && !self.is_frozen(0);
        Layout { has_row_squares, ..self }.cut()
    }

    /// The same parameters; the weights of some of the [layers](Layout::layers) never change.
    ///
    /// # Panics
    /// If it is not said of each layer.
    pub fn freezing(self, frozen: Vec<bool>) -> Layout {
        assert_eq!(frozen.len(), self.layers.len(), "a word for each layer");
        let frozen = if frozen.contains(&true) { frozen } else { Vec::new() };
        Layout { frozen, ..self }.cut()
    }

    /// The same parameters in chunks of at most `values_max` values, instead of [`CHUNK_VALUES_MAX`]. As small as the layers
    /// that would share one, they share none.
    ///
    /// # Panics
    /// If `values_max` is 0.
    pub fn in_chunks_of(self, values_max: usize) -> Layout {
        assert!(values_max > 0, "a chunk without values");
        Layout { chunk_values_max: values_max, ..self }.cut()
    }

    /// The same parameters in chunks that several processes can add up: shorter ones, unless there are many anyway. The blocks of the
    /// norm are the same.
    pub fn to_spread(self) -> Layout {
        let values = (self.len() / CHUNKS_TO_SPREAD).max(1);
        let values_max = 1 << values.ilog2();
        self.in_chunks_of(values_max.clamp(SHARED_CHUNK_VALUES_MAX, CHUNK_VALUES_MAX))
    }

    /// Most values in a chunk.
    pub fn chunk_values_max(&self) -> usize {
        self.chunk_values_max
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.layers.last().map_or(0, |last| last.end)
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the weights of one of the [layers](Layout::layers) never change.
    pub fn is_frozen(&self, layer: usize) -> bool {
        self.frozen.get(layer).copied().unwrap_or(false)
    }

    /// Number of parameters that change.
    pub fn trained_len(&self) -> usize {
        self.trained().map(|chunk| chunk.range.len()).sum()
    }

    /// Those of some values, one for each parameter, whose parameters change.
    ///
    /// # Panics
    /// If there are fewer values.
    pub fn trained_of(&self, values: &[f32]) -> Vec<f32> {
        self.trained().flat_map(|chunk| &values[chunk.range.clone()]).copied().collect()
    }

    /// The chunks whose weights change.
    pub fn trained(&self) -> impl Iterator<Item = &ChunkRange> {
        self.chunks.iter().filter(|chunk| !chunk.is_frozen)
    }

    /// Whether there are row squares.
    pub fn has_row_squares(&self) -> bool {
        self.has_row_squares
    }

    /// Values that one node sends up the tree: a gradient for each parameter, and the row squares.
    pub fn sums_len(&self) -> usize {
        self.len() + self.squared()
    }

    /// Values of the row squares of one of the [layers](Layout::layers).
    pub fn squared_of(&self, layer: usize) -> usize {
        self.layers[layer].end.min(self.squared()).saturating_sub(self.layers[layer].start)
    }

    /// How many parameters, the first ones, have row squares.
    fn squared(&self) -> usize {
        if self.has_row_squares { self.layers[0].len() } else { 0 }
    }

    /// Every tensor, in order of its place.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Each layer's place in the flat vector, that of the inputs' tensors before those of the job's layers; empty for one
    /// without tensors.
    pub fn layers(&self) -> &[Range<usize>] {
        &self.layers
    }

    /// What one of the [layers](Layout::layers) is called: as the job counts them.
    pub fn layer_name(&self, layer: usize) -> String {
        match layer.checked_sub(self.has_inputs.into()) {
            Some(layer) => match self.places.get(layer) {
                Some(place) => {
                    let place: Vec<String> = place.iter().map(usize::to_string).collect();
                    format!("layer {}", place.join("."))
                }
                None => format!("layer {layer}"),
            },
            None => "the embeddings".to_string(),
        }
    }

    /// The chunks, in order of their place. They tile the flat vector.
    pub fn chunks(&self) -> &[ChunkRange] {
        &self.chunks
    }

    /// The numbers of the chunks that a layer touches.
    pub fn chunks_of(&self, layer: usize) -> Range<usize> {
        let first = self.chunks.partition_point(|chunk| chunk.layers.end <= layer);
        let end = self.chunks.partition_point(|chunk| chunk.layers.start <= layer);
        first..end
    }

    /// The chunks whose squares are added first, block by block: part of what determines the global norm's bits, so the
    /// same however long chunks are.
    pub fn norm_blocks(&self) -> Vec<Range<usize>> {
        let mut blocks: Vec<Range<usize>> = Vec::new();
        for (place, chunk) in self.chunks.iter().enumerate() {
            let in_layer = chunk.range.start - self.layers[chunk.layers.start].start;
            match blocks.last_mut() {
                Some(block) if !in_layer.is_multiple_of(NORM_BLOCK_VALUES) => block.end = place + 1,
                _ => blocks.push(place..place + 1),
            }
        }
        blocks
    }

    /// Makes the chunks of the layers.
    fn cut(self) -> Layout {
        let (layers, squared) = (&self.layers, self.squared());
        let is_cut_small = self.chunk_values_max < SHARED_CHUNK_VALUES_MAX;
        let mut chunks: Vec<ChunkRange> = Vec::new();
        for (i, layer) in layers.iter().enumerate().filter(|(_, layer)| !layer.is_empty()) {
            let is_frozen = self.is_frozen(i);
            let moving = self.moving[i].filter(|_| !is_frozen);
            if let Some(last) = chunks.last_mut()
                && last.is_frozen == is_frozen
                && last.momentum.is_none()
                && moving.is_none()
                && last.range.start == layers[last.layers.start].start
                && layer.end - last.range.start <= SHARED_CHUNK_VALUES_MAX
                && !is_cut_small
            {
                last.range.end = layer.end;
                last.layers.end = i + 1;
                continue;
            }
            let is_squared = layer.start < squared;
            let halved = if is_squared { 2 } else { 1 };
            let values_max = (self.chunk_values_max / halved).max(1);
            let learned = layer.end - moving.map_or(0, |(len, _)| len);
            let momentum = moving.map(|(_, momentum)| momentum);
            let mut start = layer.start;
            while start < layer.end {
                let (part_end, momentum) =
                    if start < learned { (learned, None) } else { (layer.end, momentum) };
                let end = part_end.min(start + values_max);
                let squared = if is_squared { end - start } else { 0 };
                let (range, layers) = (start..end, i..i + 1);
                chunks.push(ChunkRange { range, layers, squared, is_frozen, momentum });
                start = end;
            }
        }
        Layout { chunks, ..self }
    }
}

#[cfg(test)]
mod tests;
