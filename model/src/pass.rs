//! Forward passes: outputs of rows, their losses, and sums of these.
//!
//! A row's results never depend on the other rows of the call; in training, on none but those of its microbatch.

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::blocks::view;
use crate::finite::{NonFinite, NonFiniteKind};
use crate::layers::Forward;
use crate::leaves::TrainingRows;
use crate::loss::LossRows;
use crate::metrics::{self, Rows};
use crate::network::Network;
use crate::parameters::Parameters;
use crate::product;
use crate::workspace::Workspace;

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
        self.forward(params, x, ws, pieces, true);
        let outputs = &ws.outputs[self.layers().len() - 1];
        view(outputs, rows, self.outputs())
    }

    /// Adds loss and metrics of these rows to `sums`, row by row, and what else is counted of a table if they are as long as
    /// [`Network::table_sums_len`]. Calls for successive rows give the bits of one call for all of them.
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
        let counts = !self.parted(sums).1.is_empty();
        let rows = x.nrows();
        if rows == 0 {
            return Ok(());
        }
        let targets = self.targets(&y, rows);
        let targets = targets.as_slice().expect("standard layout");
        let pieces = product::pieces(self.flops(rows));
        self.forward(params, x, ws, pieces, !self.fused());
        self.losses(targets, ws, pieces, false);
        let (own, counted) = sums.split_at_mut(self.sums_len());
        self.add_rows(targets, ws, 0..rows, own);
        if counts {
            self.tally().add(self.rows(targets, ws, 0..rows), counted);
        }
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

    /// Fills the workspace's outputs, of rows that nothing is learned from. Without `activates`, the last layer's are its
    /// sums, for a loss that goes with its activation.
    fn forward(
        &self,
        params: &dyn Parameters,
        x: ArrayView2<'_, f32>,
        ws: &mut Workspace,
        pieces: usize,
        activates: bool,
    ) {
        for layer in 0..self.layers().len() {
            let values = params.layer(self.layout(), layer);
            self.outputs_of((layer, values), x, None, ws, pieces, activates);
        }
    }

    /// Fills the workspace's outputs of one layer with these values; those of the layers before it have to be there.
    pub(crate) fn outputs_of(
        &self,
        (place, values): (usize, &[f32]),
        x: ArrayView2<'_, f32>,
        training: Option<TrainingRows<'_>>,
        ws: &mut Workspace,
        pieces: usize,
        activates: bool,
    ) {
        assert_eq!(x.ncols(), self.inputs(), "columns of x");
        let (layer, rows) = (&self.layers()[place], x.nrows());
        if place == 0 {
            assert!(ws.fits(self), "workspace of another network");
            ws.reserve_forward(rows);
        }
        let is_last = place + 1 == self.layers().len();
        let (before, rest) = ws.outputs.split_at_mut(place);
        let outputs = &mut rest[0][..rows * layer.outputs];
        let kept = &mut ws.kept[place][..rows * layer.shape.kept];
        let input = before.last().map_or(x, |before| view(before, rows, layer.inputs));
        let beside = layer.block.map(|first| match first.checked_sub(1) {
            Some(before_it) => view(&before[before_it], rows, layer.outputs),
            None => x,
        });
        let tensors = layer.tensors(values);
        let activates = activates || !is_last;
        let layer_number = layer.number;
        let pass = Forward {
            layer: layer_number,
            input,
            sides: &layer.sides,
            beside,
            tensors,
            training,
            activates,
            pieces,
        };
        layer.stage.forward(&pass, outputs, kept);
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
        let outputs = &mut ws.outputs[self.layers().len() - 1][..rows * units];
        let losses = &mut ws.losses[..rows];
        let slope_width = if with_slopes { units } else { 0 };
        let slopes = ws.slopes.at_hand_mut(rows * slope_width);
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

    /// Multiplies the rows' losses and slopes with their weights. What metrics say of them stays as it is.
    pub(crate) fn weigh(&self, weights: &[f32], rows: usize, ws: &mut Workspace) {
        assert_eq!(weights.len(), rows, "a weight for each row");
        let units = self.outputs();
        let slopes = ws.slopes.at_hand_mut(rows * units).chunks_exact_mut(units);
        for ((slopes, loss), &weight) in slopes.zip(&mut ws.losses[..rows]).zip(weights) {
            *loss *= weight;
            slopes.iter_mut().for_each(|slope| *slope *= weight);
        }
    }

    /// Adds the rows' losses and metrics to the sums, in order.
    pub(crate) fn add_rows(
        &self,
        targets: &[f32],
        ws: &Workspace,
        rows: std::ops::Range<usize>,
        sums: &mut [f64],
    ) {
        metrics::add_rows(&self.spec().metrics, self.rows(targets, ws, rows), sums);
    }

    /// Rows as metrics see them.
    fn rows<'a>(
        &'a self,
        targets: &'a [f32],
        ws: &'a Workspace,
        rows: std::ops::Range<usize>,
    ) -> Rows<'a> {
        let (units, target_width) = self.target_widths();
        let outputs = &ws.outputs[self.layers().len() - 1];
        Rows {
            losses: &ws.losses[rows.clone()],
            outputs: &outputs[rows.start * units..rows.end * units],
            targets: &targets[rows.start * target_width..rows.end * target_width],
            widths: (units, target_width),
            units: &self.spec().units,
        }
    }

    /// The first layer with an output that is not finite in these rows.
    pub(crate) fn first_bad_layer(
        &self,
        ws: &Workspace,
        rows: std::ops::Range<usize>,
    ) -> Option<usize> {
        self.layers().iter().zip(&ws.outputs).position(|(layer, outputs)| {
            let outputs = &outputs[rows.start * layer.outputs..rows.end * layer.outputs];
            !crate::finite::all_finite(outputs)
        })
    }
}
