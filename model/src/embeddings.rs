//! Category inputs: what stands before the layers where a network has columns that are embedded, `keras.layers.Embedding`.
//!
//! A row that goes in is numbers, then for each embedded column the place of its category in that column's table; what goes on
//! to the layers is the numbers, then each category's vector. Of layout, passes and gradients the tables are one stage like a
//! layer. But a row has slopes by one vector of a table alone, so that their squares can be added as well, row by row: the *row
//! squares*, which some optimizers are fed with.
//!
//! Believes no place: one that the table does not have is an error where rows come in ([`check`]), and makes a vector of NaN, and
//! so no finite loss, wherever it comes from.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;

use lockstep_graph::{Graph, Value};
use lockstep_proto::layout::TensorShape;
use lockstep_proto::penalties::Penalty;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::error::SpecError;
use crate::finite::all_finite;
use crate::fold::{self, Leaves, Order};
use crate::kinds::Initializer;
use crate::layers::{
    Backward, Forward, Gradient, Shape, Stage, Tensor, TensorPart, Tensors, with_scratch,
};
use crate::product;

/// Most rows of a table: places up to there are whole numbers in `f32`. And most values of a vector, as units of a layer.
const SIDE_MAX: usize = 1 << 24;

/// Floating point operations of matrix products that take about as long as a value that is copied forward and added backward:
/// 0.4 ns, where a thread makes 80 of them a ns.
const VALUE_FLOPS: u64 = 32;

/// No place among the touched rows.
const UNTOUCHED: u32 = u32::MAX;

thread_local! {
    /// Never borrowed across a call into rayon.
    static TOUCHED: RefCell<Touched> = const { RefCell::new(Touched { slots: Vec::new(), places: Vec::new() }) };
}

/// A category column of a network's inputs: a table with a vector for each category, which training changes. It starts as
/// Keras has it, uniform over -0.05 to 0.05.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// The column's name.
    pub column: String,
    /// Rows of the table. Row 0 stands for what training never saw, then comes one for each category.
    pub rows: usize,
    /// Values of a vector.
    pub dimension: usize,
    /// Whether training changes it, as in layers; so it does unless told otherwise. All of a network's tables are alike in that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trainable: Option<bool>,
}

/// A place that is none of its column's table.
#[derive(Clone, Debug, Error, PartialEq)]
#[error(
    "row {row}: found {found} in column {column:?}, wanted a whole number from 0 to {place_max}, a row of its embedding"
)]
pub struct BadPlace {
    /// Counted from 0.
    pub row: usize,
    /// The column's name.
    pub column: String,
    /// What was found.
    pub found: f32,
    /// The greatest place that the table has.
    pub place_max: usize,
}

/// The embeddings of a network: the stage before its layers.
#[derive(Debug)]
pub(crate) struct Embeddings {
    /// Numbers that go in before the places, and on as they are.
    numbers: usize,
    tables: Vec<Table>,
}

#[derive(Debug)]
struct Table {
    embedding: Embedding,
    /// Where its vector begins in an output row.
    start: usize,
}

impl Embedding {
    /// Whether training leaves the table as it is.
    pub fn is_frozen(&self) -> bool {
        self.trainable == Some(false)
    }

    /// Values of the table.
    pub fn parameters(&self) -> usize {
        self.rows.saturating_mul(self.dimension)
    }

    /// The place in the table that a value means, if it is one.
    fn find(&self, value: f32) -> Option<usize> {
        // Saturates, and makes 0 of NaN, which is not equal to it.
        let place = value as usize;
        (place < self.rows && place as f32 == value).then_some(place)
    }
}

/// Checks the places in rows as tables hold them, of `width` values each: numbers, a place for each embedding, and others.
///
/// # Errors
/// The first that is none of its column's table.
pub(crate) fn check(
    numbers: usize,
    embeddings: &[Embedding],
    rows: &[f32],
    width: usize,
) -> Result<(), BadPlace> {
    if embeddings.is_empty() {
        return Ok(());
    }
    for (row, values) in rows.chunks_exact(width).enumerate() {
        for (embedding, &found) in embeddings.iter().zip(&values[numbers..]) {
            if embedding.find(found).is_none() {
                let (column, place_max) = (embedding.column.clone(), embedding.rows - 1);
                return Err(BadPlace { row, column, found, place_max });
            }
        }
    }
    Ok(())
}

impl Embeddings {
    /// The stage for so many numbers and these columns; `None` if there are no columns.
    ///
    /// # Errors
    /// If a column is there twice, or a table cannot be.
    pub(crate) fn new(
        numbers: usize,
        columns: &[Embedding],
    ) -> Result<Option<Embeddings>, SpecError> {
        let mut names = HashSet::new();
        let mut tables = Vec::with_capacity(columns.len());
        let mut start = numbers;
        for embedding in columns {
            let Embedding { column, rows, dimension, .. } = embedding;
            let wrong = |problem| SpecError::Embedding { column: column.clone(), problem };
            if !names.insert(column) {
                return Err(wrong("it is listed twice".to_string()));
            }
            for (side, found) in [("rows", rows), ("dimension", dimension)] {
                if !(1..=SIDE_MAX).contains(found) {
                    return Err(wrong(format!("{side}: found {found}, wanted 1 to {SIDE_MAX}")));
                }
            }
            if embedding.is_frozen() != columns[0].is_frozen() {
                return Err(wrong(format!(
                    "found `trainable = {}` for it and another for {:?}, wanted the same for all embeddings of a network",
                    !embedding.is_frozen(),
                    columns[0].column
                )));
            }
            tables.push(Table { embedding: embedding.clone(), start });
            // At least as much as a row that goes in gets by the column.
            let end = start.checked_add(*dimension);
            start = end.ok_or_else(|| wrong("its rows are too long to count".to_string()))?;
        }
        Ok((!tables.is_empty()).then_some(Embeddings { numbers, tables }))
    }

    /// Whether training changes none of the tables.
    pub(crate) fn is_frozen(&self) -> bool {
        self.tables.iter().all(|table| table.embedding.is_frozen())
    }

    /// What it makes of rows, and its tensors: `{column}.embedding`, `[rows, dimension]`.
    pub(crate) fn shape(&self) -> Shape {
        let tensor = |table: &Table| {
            let Embedding { column, rows, dimension, .. } = &table.embedding;
            Tensor {
                shape: TensorShape::new(format!("{column}.embedding"), [*rows, *dimension]),
                initializer: Initializer::RandomUniform,
                fans: (*rows, *dimension),
                penalty: Penalty::default(),
            }
        };
        let width = self.width();
        Shape {
            output: vec![width],
            tensors: self.tables.iter().map(tensor).collect(),
            kept: 0,
            flops: VALUE_FLOPS.saturating_mul(width as u64),
        }
    }

    /// The operations of the forward pass: numbers, and the vector in each place, side by side.
    pub(crate) fn describe(
        &self,
        graph: &mut Graph,
        numbers: Option<Value>,
        places: &[Value],
        tensors: Tensors<'_>,
    ) -> Value {
        let mut parts: Vec<Value> = numbers.into_iter().collect();
        for ((tensor, table), place) in self.tables.iter().enumerate().zip(places) {
            let Embedding { column, rows, dimension, .. } = &table.embedding;
            let (name, shape) = (format!("{column}.embedding"), [*rows, *dimension]);
            let vectors = graph.weights(&name, &shape, tensors.get(tensor));
            parts.push(graph.rows(vectors, *place));
        }
        graph.join(&parts)
    }

    /// Values of an output row.
    fn width(&self) -> usize {
        self.tables.last().map_or(self.numbers, |last| last.start + last.embedding.dimension)
    }

    /// Calls `f` with the places of these rows in a table, as far as they lie among `wanted`, and the slopes by their vectors.
    fn each_slope(
        &self,
        gradient: &Gradient<'_, '_>,
        part: &TensorPart,
        rows: Range<usize>,
        mut f: impl FnMut(usize, &[f32]),
    ) {
        let Table { embedding: Embedding { dimension, .. }, start } = &self.tables[part.tensor];
        for row in rows {
            if let Some(place) = self.place(gradient.pass, part, row) {
                let slopes = gradient.slopes.row(row);
                let slopes = slopes.to_slice().expect("slopes lie row by row");
                f(place, &slopes[*start..start + dimension]);
            }
        }
    }

    /// The place of a row in a part of a table, counted from the part's first; `None` if it lies elsewhere.
    fn place(&self, pass: &Backward<'_>, part: &TensorPart, row: usize) -> Option<usize> {
        let found = pass.input[[row, self.numbers + part.tensor]];
        let place = self.tables[part.tensor].embedding.find(found)?;
        part.places.contains(&place).then(|| place - part.places.start)
    }
}

impl Stage for Embeddings {
    fn forward(&self, pass: &Forward<'_>, outputs: &mut [f32], _kept: &mut [f32]) {
        let rows = pass.input.rows().into_iter();
        for (row, outputs) in rows.zip(outputs.chunks_exact_mut(self.width())) {
            let (numbers, mut vectors) = outputs.split_at_mut(self.numbers);
            let mut values = row.iter();
            numbers.iter_mut().zip(&mut values).for_each(|(output, &number)| *output = number);
            for ((tensor, Table { embedding, .. }), &place) in
                self.tables.iter().enumerate().zip(values)
            {
                let dimension = embedding.dimension;
                let (vector, rest) = vectors.split_at_mut(dimension);
                vectors = rest;
                match embedding.find(place) {
                    Some(place) => {
                        let table = &pass.tensors.get(tensor)[place * dimension..];
                        vector.copy_from_slice(&table[..dimension]);
                    }
                    None => vector.fill(f32::NAN),
                }
            }
        }
    }

    fn leaf_gradient(
        &self,
        gradient: &Gradient<'_, '_>,
        part: &TensorPart,
        rows: Range<usize>,
        out: &mut [f32],
    ) {
        let dimension = self.tables[part.tensor].embedding.dimension;
        out.fill(0.0);
        self.each_slope(gradient, part, rows, |place, slopes| {
            add(&mut out[place * dimension..][..dimension], slopes);
        });
    }

    fn node_gradient(
        &self,
        gradient: &Gradient<'_, '_>,
        part: &TensorPart,
        order: &Order,
        out: &mut [f32],
    ) -> bool {
        self.node_sums(gradient, part, order, out, add)
    }

    fn node_squares(
        &self,
        gradient: &Gradient<'_, '_>,
        part: &TensorPart,
        order: &Order,
        out: &mut [f32],
    ) -> bool {
        self.node_sums(gradient, part, order, out, add_squares)
    }
}

impl Embeddings {
    /// Writes a node's sums of a part of a table, of what `add` adds for a row, and says whether they are finite.
    ///
    /// Adds the rows of the table that the node's rows touch, packed together; all others are +0 in every microbatch, and so in
    /// every sum of them. What it takes does not grow with the table, but for the zeros.
    fn node_sums(
        &self,
        gradient: &Gradient<'_, '_>,
        part: &TensorPart,
        order: &Order,
        out: &mut [f32],
        add: impl Fn(&mut [f32], &[f32]),
    ) -> bool {
        let dimension = self.tables[part.tensor].embedding.dimension;
        TOUCHED.with_borrow_mut(|touched| {
            touched.clear(part.places.len());
            for row in order.rows(gradient.pass.training.microbatches) {
                if let Some(place) = self.place(gradient.pass, part, row) {
                    touched.add(place);
                }
            }
            with_scratch(|scratch| {
                let len = touched.places.len() * dimension;
                let (sums, scratch) =
                    product::lines(scratch, len + order.scratch_len(len)).split_at_mut(len);
                let leaves = PackedLeaves { embeddings: self, gradient, part, touched, add };
                fold::fold(&leaves, order, sums, scratch);
                out.fill(0.0);
                for (&place, sums) in touched.places.iter().zip(sums.chunks_exact(dimension)) {
                    out[place as usize * dimension..][..dimension].copy_from_slice(sums);
                }
                all_finite(sums)
            })
        })
    }
}

/// Which rows of a part of a table a node's rows touch.
struct Touched {
    /// By place in the part: which of the touched ones it is.
    slots: Vec<u32>,
    /// The places of the touched ones, in the order of the rows.
    places: Vec<u32>,
}

impl Touched {
    /// None, of so many.
    fn clear(&mut self, len: usize) {
        self.places.clear();
        self.slots.clear();
        self.slots.resize(len, UNTOUCHED);
    }

    fn add(&mut self, place: usize) {
        if self.slots[place] == UNTOUCHED {
            self.slots[place] = self.places.len() as u32;
            self.places.push(place as u32);
        }
    }
}

/// Sums over microbatches, of the touched rows alone.
struct PackedLeaves<'a, 'g, 'p, F> {
    embeddings: &'a Embeddings,
    gradient: &'a Gradient<'g, 'p>,
    part: &'a TensorPart,
    touched: &'a Touched,
    /// Adds a row's slopes.
    add: F,
}

impl<F: Fn(&mut [f32], &[f32])> Leaves for PackedLeaves<'_, '_, '_, F> {
    type Value = f32;

    fn write(&self, leaf: usize, out: &mut [f32]) {
        let rows = self.gradient.pass.training.microbatches[leaf].rows.clone();
        out.fill(0.0);
        self.embeddings.each_slope(self.gradient, self.part, rows, |place, slopes| {
            let slot = self.touched.slots[place] as usize;
            (self.add)(&mut out[slot * slopes.len()..][..slopes.len()], slopes);
        });
    }

    fn round(&self, sum: &mut [f32]) {
        self.gradient.precision.round(sum);
    }
}

fn add(sums: &mut [f32], slopes: &[f32]) {
    for (sum, &slope) in sums.iter_mut().zip(slopes) {
        *sum += slope;
    }
}

fn add_squares(sums: &mut [f32], slopes: &[f32]) {
    for (sum, &slope) in sums.iter_mut().zip(slopes) {
        *sum += slope * slope;
    }
}
