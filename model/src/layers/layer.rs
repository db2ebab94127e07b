//! What a layer is: parameters and a shape, and, as any stage that rows go through, two passes. Knows no layer by name, and
//! nothing of threads, other layers, or where values are kept: a stage is lent all that it reads and writes.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use lockstep_graph::{Graph, Value};
use lockstep_parameters::Parameter;
use lockstep_proto::layout::TensorShape;
use lockstep_proto::penalties::Penalty;
use lockstep_proto::values::Precision;
use ndarray::ArrayView2;

use crate::finite::all_finite;
use crate::fold::{self, Leaves, Order};
use crate::kinds::{Activation, Initializer};
use crate::leaves::TrainingRows;
use crate::product;

thread_local! {
    /// What waits to be added. Never borrowed across a call into rayon.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A stage that a job names and puts in its place.
pub(crate) trait Layer: Stage {
    /// Its name in a job, as in the list of layers.
    fn name(&self) -> &'static str;

    /// Its parameters, in the order in which they are written.
    fn parameters(&mut self) -> Vec<Parameter<'_>>;

    /// A copy.
    fn boxed(&self) -> Box<dyn Layer>;

    /// What a table of layers says of it in a few words.
    fn summary(&self) -> String;

    /// What it makes of rows of a shape, whose sides are above 0. The parameters are in their ranges.
    ///
    /// # Errors
    /// Why it cannot take such rows, or what is wrong with its parameters together.
    fn shape(&self, input: &[usize]) -> Result<Shape, String>;

    /// The layers that rows go through before they come to this one, which is told besides what went into the first of them. What
    /// comes out of this one has the shape of that.
    fn inside(&self) -> Vec<&dyn Layer> {
        Vec::new()
    }

    /// Whether it takes images: rows of three sides, height, width and channels.
    fn takes_images(&self) -> bool {
        false
    }

    /// The last side of an output row, where it does not follow from those of an input row.
    fn units(&self) -> Option<usize> {
        None
    }

    /// Adds the operations that [`Stage::forward`] does where nothing is learned, for programs that run the model elsewhere, and
    /// says what comes out. A tensor is a constant under its own name ([`Graph::weights`]).
    fn describe(&self, graph: &mut Graph, pass: Described<'_>) -> Value;

    /// Whether training changes none of its own tensors.
    fn is_frozen(&self) -> bool {
        false
    }

    /// Fewest rows of a microbatch that it can learn from.
    fn rows_min(&self) -> u64 {
        1
    }

    /// Whether its last tensor has a bias for each of its units, whose gradient is 0 exactly while the unit gives 0 for every row.
    fn is_rectified(&self) -> bool {
        false
    }

    /// The activation that its outputs went through last: a loss may be computed together with it, from the layer's sums.
    fn output_activation(&self) -> Activation {
        Activation::Linear
    }

    /// Why it cannot be the last layer, if it cannot.
    fn refuses_last_place(&self) -> Option<&'static str> {
        None
    }
}

/// What rows go through: a layer, or the embeddings before the first one. A row's results may depend on the row, its identity,
/// the seed and the tensors, in training on the other rows of its microbatch, which come together, and on nothing else.
pub(crate) trait Stage: Any + fmt::Debug + Send + Sync {
    /// Fills the outputs of all rows, and what the backward pass needs besides.
    fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32], kept: &mut [f32]);

    /// Slopes of the loss by the outputs, turned in place into the slopes that gradients and the inputs' slopes are made
    /// of. Passed over where the loss was computed together with the output activation.
    fn slopes_inside(&self, _pass: &Backward<'_>, _slopes: &mut [f32]) {}

    /// Overwrites `out` with the gradient of a part of a tensor over the rows of one microbatch, added in order.
    fn leaf_gradient(
        &self,
        _gradient: &Gradient<'_, '_>,
        _part: &TensorPart,
        _rows: Range<usize>,
        _out: &mut [f32],
    ) {
        unreachable!("{self:?} has tensors, and no gradients of them");
    }

    /// Writes a node's gradient of a part of a tensor, and says whether it is finite. Has the bits of the leaves' gradients,
    /// added up the tree and rounded at every node; there may be faster ways to them.
    fn node_gradient(
        &self,
        gradient: &Gradient<'_, '_>,
        part: &TensorPart,
        order: &Order,
        out: &mut [f32],
    ) -> bool {
        gradient.fold(self, part, order, out)
    }

    /// Writes a node's row squares of a part of a tensor, added like a gradient, and says whether they are finite. Asked of the
    /// stage of the network's inputs alone, each row of which has a slope by one place of a tensor.
    fn node_squares(
        &self,
        _gradient: &Gradient<'_, '_>,
        _part: &TensorPart,
        _order: &Order,
        _out: &mut [f32],
    ) -> bool {
        unreachable!("{self:?} has no row squares");
    }

    /// From the slopes inside to slopes by the inputs. Not asked for below the first layer that has tensors to learn. Where the
    /// slopes inside are those by the inputs, there is nothing to do.
    fn input_slopes(&self, _pass: &Backward<'_>, _slopes: &mut Slopes) {}
}

/// What a stage makes of its rows, and what it needs for that.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Sides of an output row, the slowest first. All are above 0.
    pub(crate) output: Vec<usize>,
    /// Its tensors, in the order of their places.
    pub(crate) tensors: Vec<Tensor>,
    /// Values a row that the forward pass keeps for the backward pass, besides inputs and outputs.
    pub(crate) kept: usize,
    /// Floating point operations a row in a training step, about: what a step costs, next to matrix products.
    pub(crate) flops: u64,
}

/// A tensor that training changes, unless its layer is frozen. Where it is a moving average, its gradient is the sum over rows of what
/// it averages.
#[derive(Debug)]
pub(crate) struct Tensor {
    pub(crate) shape: TensorShape,
    pub(crate) initializer: Initializer,
    /// Fan-in and fan-out.
    pub(crate) fans: (usize, usize),
    /// What each of its weights adds to the loss.
    pub(crate) penalty: Penalty,
}

/// The values of a stage's tensors.
#[derive(Clone, Copy)]
pub(crate) struct Tensors<'a> {
    pub(crate) values: &'a [f32],
    /// The place of each.
    pub(crate) ranges: &'a [Range<usize>],
}

impl<'a> Tensors<'a> {
    /// The tensor in this place of the stage's declaration; empty if it declares fewer.
    pub(crate) fn get(self, tensor: usize) -> &'a [f32] {
        self.ranges.get(tensor).map_or(&[], |range| &self.values[range.clone()])
    }
}

/// What a layer's operations in a graph are told.
#[derive(Clone, Copy)]
pub(crate) struct Described<'a> {
    /// Rows of `f32`.
    pub(crate) input: Value,
    /// Of a row of the input, the slowest first.
    pub(crate) sides: &'a [usize],
    /// What goes into the first of the layers inside it, if it has any.
    pub(crate) beside: Option<Value>,
    pub(crate) tensors: Tensors<'a>,
}

/// What a forward pass is told.
#[derive(Clone, Copy)]
pub(crate) struct Forward<'a> {
    /// Place among the job's layers, where those inside a block count before the block; 0 for the embeddings.
    pub(crate) layer: usize,
    /// `[rows, inputs]`; columns may lie together instead of rows.
    pub(crate) input: ArrayView2<'a, f32>,
    /// Of a row of the input, the slowest first.
    pub(crate) sides: &'a [usize],
    /// What went into the first of the layers inside it, if it has any; as `input`.
    pub(crate) beside: Option<ArrayView2<'a, f32>>,
    pub(crate) tensors: Tensors<'a>,
    /// Who the rows are; `None` where nothing is learned from them.
    pub(crate) training: Option<TrainingRows<'a>>,
    /// Whether the output activation is applied, or left to the loss.
    pub(crate) activates: bool,
    /// Into how many pieces work is worth cutting; 1 means that rayon is not to be touched.
    pub(crate) pieces: usize,
}

/// What a backward pass is told: what the forward pass had, and what it left.
#[derive(Clone, Copy)]
pub(crate) struct Backward<'a> {
    /// As the forward pass was told.
    pub(crate) layer: usize,
    /// `[rows, inputs]`; columns may lie together instead of rows.
    pub(crate) input: ArrayView2<'a, f32>,
    /// Of a row of the input, the slowest first.
    pub(crate) sides: &'a [usize],
    pub(crate) tensors: Tensors<'a>,
    /// Row by row.
    pub(crate) outputs: &'a [f32],
    /// Row by row.
    pub(crate) kept: &'a [f32],
    /// The first of the inputs by which slopes are wanted: those by the ones before it may be anything.
    pub(crate) slopes_from: usize,
    pub(crate) training: TrainingRows<'a>,
    pub(crate) pieces: usize,
}

/// What a gradient is made from.
#[derive(Clone, Copy)]
pub(crate) struct Gradient<'a, 'p> {
    pub(crate) pass: &'a Backward<'p>,
    /// The slopes inside the stage, `[rows, outputs]`.
    pub(crate) slopes: ArrayView2<'a, f32>,
    /// Of every node's sum.
    pub(crate) precision: Precision,
}

/// A part of a tensor that is computed in one go: some places of all its sides but the last, counted together. Tensors of one
/// side are never cut, and their places are those of that.
#[derive(Clone, Debug)]
pub(crate) struct TensorPart {
    /// Place in the stage's declaration.
    pub(crate) tensor: usize,
    pub(crate) places: Range<usize>,
}

/// Slopes of the rows, row by row: those at hand, and memory for those of the layer before.
#[derive(Debug, Default)]
pub(crate) struct Slopes {
    at_hand: Vec<f32>,
    before: Vec<f32>,
}

impl Slopes {
    /// Makes room for so many values.
    pub(crate) fn reserve(&mut self, len: usize) {
        for slopes in [&mut self.at_hand, &mut self.before] {
            if slopes.len() < len {
                slopes.resize(len, 0.0);
            }
        }
    }

    /// The first `len` slopes at hand.
    pub(crate) fn at_hand(&self, len: usize) -> &[f32] {
        &self.at_hand[..len]
    }

    pub(crate) fn at_hand_mut(&mut self, len: usize) -> &mut [f32] {
        &mut self.at_hand[..len]
    }

    /// Has `f` make `len` slopes of those at hand, which these then are.
    pub(crate) fn replace(&mut self, len: usize, f: impl FnOnce(&[f32], &mut [f32])) {
        f(&self.at_hand, &mut self.before[..len]);
        std::mem::swap(&mut self.at_hand, &mut self.before);
    }
}

impl Gradient<'_, '_> {
    /// Writes a node's gradient of a part of a tensor, leaf by leaf and up the tree, and says whether it is finite.
    pub(crate) fn fold<S: Stage + ?Sized>(
        &self,
        stage: &S,
        part: &TensorPart,
        order: &Order,
        out: &mut [f32],
    ) -> bool {
        with_scratch(|scratch| {
            let scratch = product::lines(scratch, order.scratch_len(out.len()));
            fold::fold(&PartLeaves { stage, gradient: self, part }, order, out, scratch);
        });
        all_finite(out)
    }
}

/// Lends this thread's memory for what waits to be added. What it holds does not matter.
pub(crate) fn with_scratch<T>(f: impl FnOnce(&mut Vec<f32>) -> T) -> T {
    SCRATCH.with_borrow_mut(f)
}

/// Gradients of microbatches, as a stage makes them.
struct PartLeaves<'a, 'g, 'p, S: ?Sized> {
    stage: &'a S,
    gradient: &'a Gradient<'g, 'p>,
    part: &'a TensorPart,
}

impl<S: Stage + ?Sized> Leaves for PartLeaves<'_, '_, '_, S> {
    type Value = f32;

    fn write(&self, leaf: usize, out: &mut [f32]) {
        let rows = self.gradient.pass.training.microbatches[leaf].rows.clone();
        self.stage.leaf_gradient(self.gradient, self.part, rows, out);
    }

    fn round(&self, sum: &mut [f32]) {
        self.gradient.precision.round(sum);
    }
}
