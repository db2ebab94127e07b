//! Forward passes: outputs of rows, their losses, and sums of these.
//!
//! A row's results never depend on the other rows of the call.

use ndarray::{ArrayView2, ArrayViewMut2};
use rayon::prelude::*;

use crate::activation;
use crate::finite::{NonFinite, NonFiniteKind};
use crate::loss::LossRows;
use crate::metrics::{self, Rows};
use crate::network::Network;
use crate::parameters::Parameters;
use crate::product;
use crate::spec::Activation;
use crate::workspace::Workspace;

/// One layer's tensors in a flat vector.
#[derive(Clone, Copy)]
pub(crate) struct Tensors<'a> {
    pub(crate) kernel: ArrayView2<'a, f32>,
    /// Empty if the layer has none.
    pub(crate) bias: &'a [f32],
}

/// Rows that are measured in one go.
const EVALUATION_ROWS: usize = 1024;

impl Network {
    /// The network's outputs for the rows of `x`. Memory grows with the rows of a call, results do not depend on
    /// how rows are dealt to calls.
    ///
    /// # Panics
    /// If `params`, `x` or `ws` are of another network.
    pub fn predict<'w>(
        &self,
        params: &dyn Parameters,
        x: ArrayView2<'_, f32>,
        ws: &'w mut Workspace,
    ) -> ArrayView2<'w, f32> {
        let rows = x.nrows();
        let pieces = product::pieces(self.flops(rows));
        self.forward(params, x, ws, pieces, false);
        let outputs = &ws.outputs[self.shapes().len() - 1];
        view(outputs, rows, self.outputs())
    }

    /// Adds loss and metrics of these rows to `sums`, row by row. Calls for successive rows give the bits of one
    /// call for all of them.
    ///
    /// # Errors
    /// If the loss is not finite; `sums` is of no use then.
    ///
    /// # Panics
    /// If the arguments do not fit the network or each other.
    pub fn evaluate(
        &self,
        params: &dyn Parameters,
        x: ArrayView2<'_, f32>,
        y: ArrayView2<'_, f32>,
        ws: &mut Workspace,
        sums: &mut [f64],
    ) -> Result<(), NonFinite> {
        assert_eq!(sums.len(), self.sums_len(), "sums of another network");
        let rows = x.nrows();
        if rows == 0 {
            return Ok(());
        }
        let targets = self.targets(&y, rows);
        let targets = targets.as_slice().expect("standard layout");
        let pieces = product::pieces(self.flops(rows));
        self.forward(params, x, ws, pieces, self.fused());
        self.losses(targets, ws, pieces, false);
        self.add_rows(targets, ws, 0..rows, sums);
        if sums[0].is_finite() {
            return Ok(());
        }
        let layer = self.first_bad_layer(ws, 0..rows);
        Err(NonFinite { shard: 0, layer, what: NonFiniteKind::Loss })
    }

    /// [`Network::evaluate`] for rows as tables hold them, features before targets, a block at a time.
    ///
    /// # Errors
    /// As [`Network::evaluate`].
    ///
    /// # Panics
    /// If the values are not whole rows, or the arguments do not fit the network.
    pub fn evaluate_rows(
        &self,
        params: &dyn Parameters,
        rows: &[f32],
        ws: &mut Workspace,
        sums: &mut [f64],
    ) -> Result<(), NonFinite> {
        let width = self.inputs() + self.target_width();
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for block in rows.chunks(EVALUATION_ROWS * width) {
            x.clear();
            y.clear();
            for row in block.chunks(width) {
                let (features, targets) = row.split_at(self.inputs());
                x.extend_from_slice(features);
                y.extend_from_slice(targets);
            }
            let count = block.len() / width;
            let matrix = |values, width| {
                ArrayView2::from_shape((count, width), values).expect("whole rows were given")
            };
            let (x, y) = (matrix(&x, self.inputs()), matrix(&y, self.target_width()));
            self.evaluate(params, x, y, ws, sums)?;
        }
        Ok(())
    }

    pub(crate) fn flops(&self, rows: usize) -> u64 {
        self.flops_per_row().saturating_mul(rows as u64)
    }

    pub(crate) fn targets<'y>(
        &self,
        y: &'y ArrayView2<'_, f32>,
        rows: usize,
    ) -> ndarray::CowArray<'y, f32, ndarray::Ix2> {
        assert_eq!(y.dim(), (rows, self.target_width()), "shape of y");
        y.as_standard_layout()
    }

    /// The tensors of one layer's parameters.
    pub(crate) fn tensors<'p>(&self, layer: usize, values: &'p [f32]) -> Tensors<'p> {
        let shape = self.shapes()[layer];
        assert_eq!(values.len(), shape.len(), "number of parameters of layer {layer}");
        let (kernel, bias) = values.split_at(shape.inputs * shape.units);
        Tensors { kernel: view(kernel, shape.inputs, shape.units), bias }
    }

    /// Fills the workspace's outputs. With `raw`, the last layer's are its sums, not yet activated.
    pub(crate) fn forward(
        &self,
        params: &dyn Parameters,
        x: ArrayView2<'_, f32>,
        ws: &mut Workspace,
        pieces: usize,
        raw: bool,
    ) {
        for layer in 0..self.shapes().len() {
            self.outputs_of(layer, params.layer(self.layout(), layer), x, ws, pieces, raw);
        }
    }

    /// Fills the workspace's outputs of one layer; those of the layers before it have to be there.
    pub(crate) fn outputs_of(
        &self,
        layer: usize,
        values: &[f32],
        x: ArrayView2<'_, f32>,
        ws: &mut Workspace,
        pieces: usize,
        raw: bool,
    ) {
        assert_eq!(x.ncols(), self.inputs(), "columns of x");
        let (dense, rows) = (&self.spec().layers[layer], x.nrows());
        if layer == 0 {
            assert!(ws.fits(self), "workspace of another network");
            ws.reserve_forward(rows);
        }
        let units = dense.units;
        let tensors = self.tensors(layer, values);
        let last = layer + 1 == self.shapes().len();
        let activation = if last && raw { Activation::Linear } else { dense.activation };
        let (before, rest) = ws.outputs.split_at_mut(layer);
        let outputs = &mut rest[0][..rows * units];
        let input = match before.last() {
            Some(before) => view(before, rows, self.shapes()[layer].inputs),
            None => x,
        };
        if activation::keeps_input(activation) {
            let sums = &mut ws.sums[layer][..rows * units];
            let out = view_mut(sums, rows, units);
            product::multiply_in_pieces(input, tensors.kernel, out, pieces);
            each_pair(sums, outputs, units, pieces, |sums, outputs| {
                activation::forward_keeping(activation, tensors.bias, units, sums, outputs);
            });
        } else {
            let out = view_mut(outputs, rows, units);
            product::multiply_in_pieces(input, tensors.kernel, out, pieces);
            each_block(outputs, units, pieces, |outputs| {
                activation::forward(activation, tensors.bias, units, outputs);
            });
        }
    }

    /// Fills the workspace's losses and, if asked, the slopes by what [`forward`](Self::forward) left.
    pub(crate) fn losses(
        &self,
        targets: &[f32],
        ws: &mut Workspace,
        pieces: usize,
        with_slopes: bool,
    ) {
        let units = self.outputs();
        let target_width = self.target_width();
        let rows = targets.len() / target_width;
        let outputs = &mut ws.outputs[self.shapes().len() - 1][..rows * units];
        let losses = &mut ws.losses[..rows];
        let slope_width = if with_slopes { units } else { 0 };
        let slopes = &mut ws.slopes[0][..rows * slope_width];
        let loss = self.spec().loss;
        let step = if pieces == 1 { rows } else { rows.div_ceil(pieces) };
        if step == rows {
            return LossRows { loss, units, outputs, targets, losses, slopes }.compute();
        }
        let mut blocks = Vec::with_capacity(pieces);
        let mut rest = slopes;
        for ((outputs, targets), losses) in outputs
            .chunks_mut(step * units)
            .zip(targets.chunks(step * target_width))
            .zip(losses.chunks_mut(step))
        {
            let (slopes, after) = rest.split_at_mut(losses.len() * slope_width);
            rest = after;
            blocks.push(LossRows { loss, units, outputs, targets, losses, slopes });
        }
        blocks.into_par_iter().for_each(LossRows::compute);
    }

    /// Adds the rows' losses and metrics to the sums, in order.
    pub(crate) fn add_rows(
        &self,
        targets: &[f32],
        ws: &Workspace,
        rows: std::ops::Range<usize>,
        sums: &mut [f64],
    ) {
        let (units, target_width) = (self.outputs(), self.target_width());
        let outputs = &ws.outputs[self.shapes().len() - 1];
        let rows = Rows {
            losses: &ws.losses[rows.clone()],
            outputs: &outputs[rows.start * units..rows.end * units],
            targets: &targets[rows.start * target_width..rows.end * target_width],
            widths: (units, target_width),
        };
        metrics::add_rows(&self.spec().metrics, rows, sums);
    }

    /// The first layer with an output that is not finite in these rows.
    pub(crate) fn first_bad_layer(
        &self,
        ws: &Workspace,
        rows: std::ops::Range<usize>,
    ) -> Option<usize> {
        self.shapes().iter().zip(&ws.outputs).position(|(shape, outputs)| {
            let outputs = &outputs[rows.start * shape.units..rows.end * shape.units];
            !crate::finite::all_finite(outputs)
        })
    }
}

pub(crate) fn view(values: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), &values[..rows * columns]).expect("length checked")
}

pub(crate) fn view_mut(values: &mut [f32], rows: usize, columns: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, columns), &mut values[..rows * columns])
        .expect("length checked")
}

/// Calls `f` for blocks of whole rows of `width` values.
fn each_block(
    values: &mut [f32],
    width: usize,
    pieces: usize,
    f: impl Fn(&mut [f32]) + Send + Sync,
) {
    if pieces == 1 {
        return f(values);
    }
    values.par_chunks_mut(block_len(values.len(), width, pieces)).for_each(f);
}

/// Calls `f` for blocks of whole rows of `width` values, the same rows of both.
pub(crate) fn each_pair(
    first: &mut [f32],
    second: &mut [f32],
    width: usize,
    pieces: usize,
    f: impl Fn(&mut [f32], &mut [f32]) + Sync,
) {
    if pieces == 1 {
        return f(first, second);
    }
    let len = block_len(first.len(), width, pieces);
    first.par_chunks_mut(len).zip(second.par_chunks_mut(len)).for_each(|(a, b)| f(a, b));
}

fn block_len(len: usize, width: usize, pieces: usize) -> usize {
    (len / width).div_ceil(pieces).max(1) * width
}
