//! The operations that make rows of the network of raw cells, for programs that run a model elsewhere: those of
//! [`Schema::read`], column by column.

use lockstep_graph::{Element, Graph, Value};

use super::{Cells, Schema};
use crate::columns::{CellsRead, Column, DescribedColumns, describe_linear};
use crate::readers::cell::missing_numbers;

/// What the input of rows that are images is called.
const IMAGE: &str = "image";

/// Rows of the network, described.
#[derive(Clone, Debug)]
pub struct DescribedRows {
    /// Its numbers, `f32`, if it has any.
    pub numbers: Option<Value>,
    /// The place of each embedded category, `i64`.
    pub places: Vec<Value>,
    /// 0 in each row, `f32`, but NaN in one with a cell that prediction refuses; `None` where it refuses none.
    pub refused: Option<Value>,
}

impl Schema {
    /// Adds an input for each feature, and the operations that make rows of the network of them. Rows of images are one input.
    pub fn describe(&self, graph: &mut Graph) -> DescribedRows {
        let read = CellsRead {
            dialect: &self.dialect,
            missing_numbers: &missing_numbers(&self.dialect),
            are_rounded: self.cells == Cells::F32,
        };
        let (mut numbers, mut places, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        let is_image = self.image.is_some() && self.features.iter().all(Column::is_linear);
        for run in self.features.chunk_by(|a, b| a.is_linear() && b.is_linear()) {
            let scope = format!("inputs.{}", run[0].name());
            let described = graph.within(&scope, |graph| match run {
                [column] if !column.is_linear() => column.describe(graph, read),
                columns => {
                    let cells = match is_image {
                        true => graph.input(IMAGE, Element::Double, columns.len()),
                        false => {
                            let input =
                                |column: &Column| graph.input(column.name(), Element::Double, 1);
                            let cells: Vec<Value> = columns.iter().map(input).collect();
                            graph.join(&cells)
                        }
                    };
                    describe_linear(graph, columns, read, cells)
                }
            });
            let DescribedColumns { numbers: of_run, place, refused: of_category } = described;
            numbers.extend(of_run);
            places.extend(place);
            refused.extend(of_category);
        }
        let numbers = (!numbers.is_empty()).then(|| graph.join(&numbers));
        refused.extend(numbers);
        let refused = (!refused.is_empty()).then(|| {
            graph.within("inputs", |graph| {
                let cells = graph.join(&refused);
                // 0 times NaN, or an infinite number, is NaN.
                let zero = graph.row(0.0_f32);
                let zeros = graph.multiply(cells, zero);
                graph.row_sum(zeros)
            })
        });
        DescribedRows { numbers, places, refused }
    }
}
