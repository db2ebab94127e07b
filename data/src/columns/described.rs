//! The operations that make network inputs of the cells of a column, for programs that run a model elsewhere. What a cell
//! becomes is what [`Column::encode`] makes of it.
//!
//! A number, a truth value, and a category whose names are all whole numbers come as `f64`, where NaN is a missing one; any other
//! category as a text, where the empty one is missing; a date as `i64`, its seconds from 1970 on, where the least number, NumPy's
//! `NaT`, is a missing one. A graph cannot say what is wrong with a cell: one that prediction would refuse is NaN in what is
//! [refused](DescribedColumns::refused).

use lockstep_graph::{Element, Graph, Value};

use super::column::Reading;
use super::{Back, Column, ColumnKind, Scaling, affine};
use crate::dialect::Dialect;
use crate::labels;

/// Network inputs of some columns.
pub(crate) struct DescribedColumns {
    /// Numbers, `f32`; none of an embedded category without an indicator.
    pub(crate) numbers: Option<Value>,
    /// The place of an embedded category, `i64`.
    pub(crate) place: Option<Value>,
    /// What is NaN where a cell has no place among the numbers, and may not be missing.
    pub(crate) refused: Option<Value>,
}

/// How cells are read, wherever they come from.
#[derive(Clone, Copy)]
pub(crate) struct CellsRead<'a> {
    pub(crate) dialect: &'a Dialect,
    /// Numbers that mean a missing cell.
    pub(crate) missing_numbers: &'a [f64],
    /// Whether they are rounded to `f32` first.
    pub(crate) are_rounded: bool,
}

impl Column {
    /// Whether it is a number that only a linear scale makes an input of: any number of such are described together.
    pub(crate) fn is_linear(&self) -> bool {
        matches!(self.back(), Some(Back::Affine(_)))
            && self.kind() == ColumnKind::Number
            && !self.settings().indicator
    }

    /// The operations of one column, with an input of its name.
    pub(crate) fn describe(&self, graph: &mut Graph, read: CellsRead<'_>) -> DescribedColumns {
        let cells = match &self.reading {
            Reading::Numbers => {
                let cells = graph.input(self.name(), Element::Double, 1);
                describe_numbers(graph, read, cells)
            }
            Reading::Dates(_) => describe_seconds(graph, self.name()),
            Reading::Categories(all) => match labels::whole_numbers(all) {
                Some(numbers) => describe_whole(graph, self.name(), read, numbers),
                None => describe_texts(graph, self.name(), read.dialect, all),
            },
        };
        let present = describe_filled(graph, &[self.fill()], cells);
        let encoded = self.fitted.describe(graph, present);
        let mut numbers = Vec::new();
        let (mut place, mut refused) = (None, None);
        match self.fitted.dimension() {
            Some(_) => place = Some(describe_place(graph, encoded)),
            None => numbers.push(graph.convert(Element::Float, encoded)),
        }
        if self.fill().is_none() && self.kind() == ColumnKind::Category {
            refused = Some(graph.convert(Element::Float, present));
        }
        if self.settings().indicator {
            let is_missing = graph.is_nan(cells);
            numbers.push(graph.convert(Element::Float, is_missing));
        }
        let numbers = (!numbers.is_empty()).then(|| graph.join(&numbers));
        DescribedColumns { numbers, place, refused }
    }
}

/// The operations of several linear columns, whose cells are side by side.
pub(crate) fn describe_linear(
    graph: &mut Graph,
    columns: &[Column],
    read: CellsRead<'_>,
    cells: Value,
) -> DescribedColumns {
    let cells = describe_numbers(graph, read, cells);
    let fills: Vec<Option<f64>> = columns.iter().map(Column::fill).collect();
    let present = describe_filled(graph, &fills, cells);
    let scaling = |column: &Column| match column.back() {
        Some(Back::Affine(scaling)) => scaling,
        _ => Scaling { offset: 0.0, divisor: 1.0 },
    };
    let scalings: Vec<Scaling> = columns.iter().map(scaling).collect();
    let scaled = affine::describe(graph, &scalings, present);
    let numbers = Some(graph.convert(Element::Float, scaled));
    DescribedColumns { numbers, place: None, refused: None }
}

/// Numbers, where those that the job lists as missing are.
fn describe_numbers(graph: &mut Graph, read: CellsRead<'_>, cells: Value) -> Value {
    let mut cells = describe_missing(graph, read, cells);
    if read.are_rounded {
        cells = graph.convert(Element::Float, cells);
        cells = graph.convert(Element::Double, cells);
    }
    cells
}

fn describe_missing(graph: &mut Graph, read: CellsRead<'_>, mut cells: Value) -> Value {
    for listed in read.missing_numbers.iter().filter(|number| number.is_finite()) {
        let (listed, missing) = (graph.row(*listed), graph.row(f64::NAN));
        let is_missing = graph.equal(cells, listed);
        cells = graph.choose(is_missing, missing, cells);
    }
    cells
}

/// Cells whose missing ones are filled, column by column, where there is something to fill them with.
fn describe_filled(graph: &mut Graph, fills: &[Option<f64>], cells: Value) -> Value {
    if fills.iter().all(Option::is_none) {
        return cells;
    }
    let fills: Vec<f64> = fills.iter().map(|fill| fill.unwrap_or(f64::NAN)).collect();
    let fills = graph.row(&fills[..]);
    let is_missing = graph.is_nan(cells);
    graph.choose(is_missing, fills, cells)
}

fn describe_seconds(graph: &mut Graph, name: &str) -> Value {
    let seconds = graph.input(name, Element::Whole, 1);
    let (not_a_time, missing) = (graph.row(i64::MIN), graph.row(f64::NAN));
    let is_missing = graph.equal(seconds, not_a_time);
    let seconds = graph.convert(Element::Double, seconds);
    graph.choose(is_missing, missing, seconds)
}

/// Places of categories that are whole numbers; a number that is none, or too large to be known exactly, is one that training
/// never saw.
fn describe_whole(graph: &mut Graph, name: &str, read: CellsRead<'_>, numbers: Vec<i64>) -> Value {
    let cells = graph.input(name, Element::Double, 1);
    let cells = describe_missing(graph, read, cells);
    let [zero, bound, missing] =
        [0.0, labels::EXACT_MAX as f64 + 1.0, f64::NAN].map(|number| graph.row(number));
    let size = graph.absolute(cells);
    let is_exact = graph.less(size, bound);
    let whole = graph.floor(cells);
    let is_whole = graph.equal(whole, cells);
    let is_label = graph.and(is_exact, is_whole);
    let label = graph.choose(is_label, cells, zero);
    let label = graph.convert(Element::Whole, label);
    let place = graph.find_whole(numbers.into_iter().zip(1..).collect(), 0, label);
    let place = graph.convert(Element::Double, place);
    let place = graph.choose(is_label, place, zero);
    let is_missing = graph.is_nan(cells);
    graph.choose(is_missing, missing, place)
}

/// Places of categories that are texts; a whole number with the `.0` that pandas adds is the same as without.
fn describe_texts(graph: &mut Graph, name: &str, dialect: &Dialect, all: &[String]) -> Value {
    const MISSING: i64 = -1;
    let cells = graph.input(name, Element::Text, 1);
    let mut found: Vec<(String, i64)> = all.iter().cloned().zip(1..).collect();
    let of_pandas = |(label, place): &(String, i64)| {
        labels::is_plain(label).then(|| (format!("{label}.0"), *place))
    };
    let of_pandas: Vec<(String, i64)> = found.iter().filter_map(of_pandas).collect();
    let missing = dialect.missing_texts().into_iter().map(|text| (text, MISSING));
    let mut known: std::collections::HashSet<String> = all.iter().cloned().collect();
    let more = of_pandas.into_iter().chain([(String::new(), MISSING)]).chain(missing);
    found.extend(more.filter(|(text, _)| known.insert(text.clone())));
    let place = graph.find_text(found, 0, cells);
    let (is_no_category, missing) = (graph.row(MISSING), graph.row(f64::NAN));
    let is_missing = graph.equal(place, is_no_category);
    let place = graph.convert(Element::Double, place);
    graph.choose(is_missing, missing, place)
}

/// A row of a table of vectors; of a missing category that may not be missing, the first.
fn describe_place(graph: &mut Graph, place: Value) -> Value {
    let zero = graph.row(0.0);
    let is_missing = graph.is_nan(place);
    let place = graph.choose(is_missing, zero, place);
    graph.convert(Element::Whole, place)
}
