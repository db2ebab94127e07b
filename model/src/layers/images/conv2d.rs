//! The convolution, `keras.layers.Conv2D`: `activation(patch * kernel + bias)` at each position of a window on the image.
//!
//! All is products of the patches, rows of `height * width * channels` values of the window, one for each position. They are made
//! for some positions at a time, and never kept: memory does not grow with the rows.

use std::cell::RefCell;
use std::ops::Range;

use lockstep_graph::{Graph, Value};
use lockstep_parameters::{Parameter, Range as Numbers, Slot};
use lockstep_proto::layout::TensorShape;
use lockstep_proto::penalties::Penalty;
use ndarray::ArrayView2;

use super::grid::{Grid, Padding, SIDE_MAX};
use crate::activation;
use crate::blocks::{each_beside, each_block_at, each_pair, row_of, view, view_mut};
use crate::kinds::{Activation, Initializer};
use crate::layers::layer::{
    Backward, Described, Forward, Gradient, Layer, Shape, Slopes, Stage, Tensor, TensorPart,
};
use crate::layers::spec::LayerSpec;
use crate::product::{self, CHAIN, Product};

/// Most filters that a layer may have; the parameters of a network have a bound of their own.
const FILTERS_MAX: u64 = 1 << 24;

/// Values of the patches that are made at a time, about: with what the product packs of them they stay in the second cache.
const TILE_VALUES: usize = 1 << 16;

/// Positions whose patches are made at a time, at least, as the kernel is packed anew for each of these products; and most
/// values of so many.
const TILE_POSITIONS: usize = 128;
const TILE_VALUES_MAX: usize = 1 << 22;

/// Values of a patch that are made at a time for the gradient: of a whole chain of positions they stay in the second cache.
const GRADIENT_VALUES: usize = 320;

/// Units whose gradient of the bias is summed at a time, in registers.
const BIAS_UNITS: usize = 32;

/// Floating point operations of products that take about as long as copying a value of a patch twice and adding one: 0.7 ns, where a
/// thread makes 80 of them a ns.
const VALUE_FLOPS: u64 = 60;

/// Places of the tensors.
const KERNEL: usize = 0;
const BIAS: usize = 1;

thread_local! {
    /// Patches. Never borrowed across a call into rayon.
    static PATCHES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A convolution over height and width.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    /// Channels of the output.
    pub filters: usize,
    /// Height and width of the window.
    pub kernel_size: [usize; 2],
    /// Places between two positions of the window, down and across.
    pub strides: [usize; 2],
    /// What is beyond the edge.
    pub padding: Padding,
    /// Applied to the layer's sums.
    pub activation: Activation,
    /// Whether a bias is added.
    pub use_bias: bool,
    /// How the kernel starts.
    pub kernel_initializer: Initializer,
    /// How the bias starts.
    pub bias_initializer: Initializer,
    /// What the loss grows by for each absolute value of the kernel, if it does.
    pub kernel_l1: Option<f32>,
    /// What the loss grows by for each square of the kernel, if it does.
    pub kernel_l2: Option<f32>,
    /// Whether its weights change in training: they do, where nothing is said.
    pub trainable: Option<bool>,
}

impl Conv2d {
    /// A linear convolution with Keras' defaults: strides of 1, no padding, a glorot-uniform kernel and a bias of zeros.
    pub fn new(filters: usize, kernel_size: [usize; 2]) -> Conv2d {
        Conv2d {
            filters,
            kernel_size,
            strides: [1, 1],
            padding: Padding::Valid,
            activation: Activation::Linear,
            use_bias: true,
            kernel_initializer: Initializer::GlorotUniform,
            bias_initializer: Initializer::Zeros,
            kernel_l1: None,
            kernel_l2: None,
            trainable: None,
        }
    }

    /// Sets the activation.
    pub fn activation(mut self, activation: Activation) -> Conv2d {
        self.activation = activation;
        self
    }

    /// Sets the places between two positions, down and across.
    pub fn strides(mut self, strides: [usize; 2]) -> Conv2d {
        self.strides = strides;
        self
    }

    /// Sets what is beyond the edge.
    pub fn padding(mut self, padding: Padding) -> Conv2d {
        self.padding = padding;
        self
    }

    /// Sets the kernel's initializer.
    pub fn kernel_initializer(mut self, initializer: Initializer) -> Conv2d {
        self.kernel_initializer = initializer;
        self
    }

    /// Adds `l1` times the sum of the kernel's absolute values to the loss.
    pub fn kernel_l1(mut self, l1: f32) -> Conv2d {
        self.kernel_l1 = Some(l1);
        self
    }

    /// Adds `l2` times the sum of the kernel's squares to the loss.
    pub fn kernel_l2(mut self, l2: f32) -> Conv2d {
        self.kernel_l2 = Some(l2);
        self
    }

    /// Leaves out the bias.
    pub fn without_bias(mut self) -> Conv2d {
        self.use_bias = false;
        self
    }

    /// Keeps the weights as they are: training changes none of them, and they have no penalty.
    pub fn frozen(mut self) -> Conv2d {
        self.trainable = Some(false);
        self
    }

    fn grid(&self, sides: &[usize]) -> Result<Grid, String> {
        Grid::new(sides, self.kernel_size, self.strides, self.padding)
    }
}

impl From<Conv2d> for LayerSpec {
    fn from(layer: Conv2d) -> LayerSpec {
        LayerSpec::of(layer)
    }
}

impl Layer for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let penalty = |into| Slot::Number32(into, Numbers::AT_LEAST_0_F32);
        vec![
            Parameter::required("filters", Slot::Whole(&mut self.filters, 1, FILTERS_MAX)),
            Parameter::required("kernel_size", Slot::Sides(&mut self.kernel_size, 1, SIDE_MAX)),
            Parameter::optional("strides", Slot::Sides(&mut self.strides, 1, SIDE_MAX)),
            Parameter::optional("padding", Slot::Choice(&mut self.padding)),
            Parameter::optional("activation", Slot::Choice(&mut self.activation)),
            Parameter::optional("use_bias", Slot::Flag(&mut self.use_bias)),
            Parameter::optional("kernel_initializer", Slot::Choice(&mut self.kernel_initializer)),
            Parameter::optional("bias_initializer", Slot::Choice(&mut self.bias_initializer)),
            Parameter::optional("kernel_l1", penalty(&mut self.kernel_l1)),
            Parameter::optional("kernel_l2", penalty(&mut self.kernel_l2)),
            Parameter::optional("trainable", Slot::Flag(&mut self.trainable)),
        ]
    }

    fn boxed(&self) -> Box<dyn Layer> {
        Box::new(self.clone())
    }

    fn summary(&self) -> String {
        let of = |name, rate: Option<f32>| rate.map_or(String::new(), |r| format!(", {name} {r}"));
        let (l1, l2) = (of("l1", self.kernel_l1), of("l2", self.kernel_l2));
        let [rows, columns] = self.kernel_size;
        let strides = match self.strides {
            [1, 1] => String::new(),
            [down, across] => format!(", strides {down} x {across}"),
        };
        let frozen = if self.is_frozen() { ", frozen" } else { "" };
        let (padding, activation) = (&self.padding, &self.activation);
        format!("{rows} x {columns}{strides}, {padding}, {activation}{l1}{l2}{frozen}")
    }

    fn is_rectified(&self) -> bool {
        self.use_bias && self.activation == Activation::Relu
    }

    fn is_frozen(&self) -> bool {
        self.trainable == Some(false)
    }

    fn takes_images(&self) -> bool {
        true
    }

    fn shape(&self, input: &[usize]) -> Result<Shape, String> {
        if self.activation == Activation::Softmax {
            return Err("`activation`: found softmax, which is for the outputs of a network: give it to a dense layer"
                .to_string());
        }
        let (grid, filters) = (self.grid(input)?, self.filters);
        let ([rows, columns], channels) = (self.kernel_size, grid.channels());
        let field = rows * columns;
        let mut tensors = vec![Tensor {
            shape: TensorShape::new("kernel", [rows, columns, channels, filters]),
            initializer: self.kernel_initializer,
            fans: (channels.saturating_mul(field), filters.saturating_mul(field)),
            penalty: Penalty {
                l1: self.kernel_l1.unwrap_or(0.0),
                l2: self.kernel_l2.unwrap_or(0.0),
            },
        }];
        if self.use_bias {
            let (shape, initializer) = (TensorShape::new("bias", [filters]), self.bias_initializer);
            let (fans, penalty) = ((filters, filters), Penalty::default());
            tensors.push(Tensor { shape, initializer, fans, penalty });
        }
        // Products forward, for the gradient and for the slopes before, at each position: two for each element of the kernel.
        let of_value = (filters as u64).saturating_mul(6).saturating_add(VALUE_FLOPS);
        let patch_len =
            grid.checked_patch_len().ok_or("its window has too many values to count")?;
        let values = (grid.positions() as u64).saturating_mul(patch_len as u64);
        let [height, width] = grid.output();
        let kept = match activation::keeps_input(self.activation) {
            true => {
                grid.positions().checked_mul(filters).ok_or("its rows are too long to count")?
            }
            false => 0,
        };
        let flops = values.saturating_mul(of_value);
        Ok(Shape { output: vec![height, width, filters], tensors, kept, flops })
    }

    fn units(&self) -> Option<usize> {
        Some(self.filters)
    }

    fn describe(&self, graph: &mut Graph, pass: Described<'_>) -> Value {
        let Described { input, sides, tensors, .. } = pass;
        let grid = self.grid(sides).expect("images that fit");
        let shape = [grid.patch_len(), self.filters];
        let kernel = graph.weights("kernel", &shape, tensors.get(KERNEL));
        let bias = self.use_bias.then(|| graph.weights("bias", &[self.filters], tensors.get(BIAS)));
        let sums = graph.convolution(grid.image(), grid.window(), input, kernel, bias);
        activation::describe(self.activation, graph, sums)
    }

    fn refuses_last_place(&self) -> Option<&'static str> {
        Some(super::LAST)
    }
}

impl Stage for Conv2d {
    fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32], kept: &mut [f32]) {
        let Forward { input, sides, tensors, pieces, .. } = *pass;
        let grid = self.grid(sides).expect("images that fit");
        let (activation, filters) = (self.activation, self.filters);
        let patches = Patches { grid: &grid, input };
        let kernel = view(tensors.get(KERNEL), grid.patch_len(), filters);
        let (bias, width) = (tensors.get(BIAS), grid.positions() * filters);
        if activation::keeps_input(activation) {
            each_pair(kept, outputs, [width; 2], pieces, |first, sums, outputs| {
                patches.multiply(kernel, first, sums);
                activation::forward_keeping(activation, bias, filters, sums, outputs);
            });
        } else {
            each_block_at(outputs, width, pieces, |first, outputs| {
                patches.multiply(kernel, first, outputs);
                activation::forward(activation, bias, filters, outputs);
            });
        }
    }

    /// Slopes by the sums.
    fn slopes_inside(&self, pass: &Backward<'_>, slopes: &mut [f32]) {
        let activation = self.activation;
        let keeps = activation::keeps_input(activation);
        let known = if keeps { pass.kept } else { pass.outputs };
        let width = known.len() / pass.input.nrows();
        each_beside(slopes, known, [width; 2], pass.pieces, |slopes, known| {
            activation::backward(activation, self.filters, known, slopes);
        });
    }

    fn leaf_gradient(
        &self,
        gradient: &Gradient<'_, '_>,
        part: &TensorPart,
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        let Gradient { pass, slopes, .. } = *gradient;
        let slopes = slopes.to_slice().expect("row by row");
        let grid = self.grid(pass.sides).expect("images that fit");
        let positions = grid.positions();
        let slopes = view(
            &slopes[rows.start * positions * self.filters..],
            rows.len() * positions,
            self.filters,
        );
        if part.tensor == KERNEL {
            let patches = Patches { grid: &grid, input: pass.input };
            return patches.multiply_slopes(slopes, rows, part.places.clone(), out);
        }
        out.fill(0.0);
        let slopes = slopes.to_slice().expect("row by row");
        for row in slopes.chunks_exact(positions * self.filters) {
            add_positions(row, self.filters, out);
        }
    }

    fn input_slopes(&self, pass: &Backward<'_>, slopes: &mut Slopes) {
        let (rows, inputs) = pass.input.dim();
        let grid = self.grid(pass.sides).expect("images that fit");
        let kernel = view(pass.tensors.get(KERNEL), grid.patch_len(), self.filters);
        let width = grid.positions() * self.filters;
        slopes.replace(rows * inputs, |inside, before| {
            let inside = &inside[..rows * width];
            each_beside(before, inside, [inputs, width], pass.pieces, |before, inside| {
                add_slopes(&grid, kernel, inside, before);
            });
        });
    }
}

/// The patches of images.
struct Patches<'a> {
    grid: &'a Grid,
    /// `[rows, height * width * channels]`.
    input: ArrayView2<'a, f32>,
}

impl Patches<'_> {
    /// Overwrites `sums`, rows of a sum for each position and filter from row `first` on, with products of the patches.
    fn multiply(&self, kernel: ArrayView2<'_, f32>, first: usize, sums: &mut [f32]) {
        let (len, filters) = kernel.dim();
        PATCHES.with_borrow_mut(|memory| {
            for (place, sums) in sums.chunks_mut(tile(len) * filters).enumerate() {
                let (start, count) = (place * tile(len), sums.len() / filters);
                let patches = product::lines(memory, count * len);
                self.fill(first, start..start + count, 0..len, patches);
                let (a, c) = (view(patches, count, len), view_mut(sums, count, filters));
                Product { a, b: kernel, c, adds: false }.compute();
            }
        });
    }

    /// Overwrites `out`, some rows of the kernel, with products of the patches and the slopes of these rows: positions of a row
    /// in order, and rows in order, are the inner side of one product.
    fn multiply_slopes(
        &self,
        slopes: ArrayView2<'_, f32>,
        rows: Range<usize>,
        values: Range<usize>,
        out: &mut [f32],
    ) {
        let (all, filters) = slopes.dim();
        let parts = values.len().div_ceil(GRADIENT_VALUES).max(1);
        let part_len = values.len().div_ceil(parts);
        PATCHES.with_borrow_mut(|memory| {
            for (part, out) in out.chunks_mut(part_len * filters).enumerate() {
                let len = out.len() / filters;
                let first = values.start + part * part_len;
                let patches = product::lines(memory, CHAIN.min(all) * len);
                for start in (0..all).step_by(CHAIN) {
                    let chain = start..all.min(start + CHAIN);
                    let count = chain.len();
                    let patches = &mut patches[..count * len];
                    let b = slopes.slice(ndarray::s![chain.clone(), ..]);
                    self.fill(rows.start, chain, first..first + len, patches);
                    let (a, c) = (view(patches, count, len), view_mut(out, len, filters));
                    Product { a: a.t(), b, c, adds: start > 0 }.compute();
                }
            }
        });
    }

    /// Copies some values of the patches at these positions, counted on from those of row `first`.
    fn fill(
        &self,
        first: usize,
        positions: Range<usize>,
        values: Range<usize>,
        mut patches: &mut [f32],
    ) {
        // Where the values of a row do not lie together.
        let mut spare = Vec::new();
        for (row, of_row) in by_rows(positions, self.grid.positions()) {
            let (own, rest) = patches.split_at_mut(of_row.len() * values.len());
            patches = rest;
            let image = row_of(self.input, first + row, &mut spare);
            self.grid.copy(image, of_row, values.clone(), own);
        }
    }
}

/// Overwrites slopes by inputs with those that come from the slopes at each position, in order.
fn add_slopes(grid: &Grid, kernel: ArrayView2<'_, f32>, slopes: &[f32], before: &mut [f32]) {
    let (len, filters) = kernel.dim();
    let [height, width, channels] = grid.image();
    let image_len = height * width * channels;
    before.fill(0.0);
    PATCHES.with_borrow_mut(|memory| {
        for (place, slopes) in slopes.chunks(tile(len) * filters).enumerate() {
            let (start, count) = (place * tile(len), slopes.len() / filters);
            let patches = product::lines(memory, count * len);
            let c = view_mut(patches, count, len);
            Product { a: view(slopes, count, filters), b: kernel.t(), c, adds: false }.compute();
            let mut patches = &*patches;
            for (row, of_row) in by_rows(start..start + count, grid.positions()) {
                let (own, rest) = patches.split_at(of_row.len() * len);
                patches = rest;
                grid.add(own, of_row, &mut before[row * image_len..][..image_len]);
            }
        }
    });
}

/// Adds the sums over the positions of a row, each filter's in order from 0.
fn add_positions(slopes: &[f32], filters: usize, out: &mut [f32]) {
    for (place, out) in out.chunks_mut(BIAS_UNITS).enumerate() {
        let first = place * BIAS_UNITS;
        let mut sums = [0.0f32; BIAS_UNITS];
        for slopes in slopes.chunks_exact(filters) {
            for (sum, &slope) in sums.iter_mut().zip(&slopes[first..first + out.len()]) {
                *sum += slope;
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out += sum;
        }
    }
}

/// Positions whose patches, of so many values, are made at a time.
fn tile(patch_len: usize) -> usize {
    let wanted = (TILE_VALUES / patch_len).max(TILE_POSITIONS);
    wanted.min(TILE_VALUES_MAX / patch_len).max(1)
}

/// Positions of several rows, counted on from row to row, by the rows: each with its positions in it.
fn by_rows(positions: Range<usize>, of_row: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let rows = positions.start / of_row..positions.end.div_ceil(of_row);
    rows.map(move |row| {
        let start = row * of_row;
        let first = positions.start.max(start) - start;
        (row, first..positions.end.min(start + of_row) - start)
    })
}
