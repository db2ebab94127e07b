//! What an encoder is: how a job names it, what of the training rows it looks at, and the fitted one that it makes. Knows no
//! encoder by name, no table and no file.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use lockstep_graph::{Graph, Value};
use lockstep_parameters::Range;
use serde::{Deserialize, Serialize};

/// A way to turn the cells of a column into network inputs. There is one of each; two are the same if their names are.
pub(crate) struct Encoder {
    /// As a job has it.
    pub(crate) name: &'static str,
    /// The number that a job gives with it, as in `{ divide = 255 }`; `None` where its name stands alone.
    pub(crate) parameter: Option<Range>,
    /// What of the training rows it looks at.
    pub(crate) looks: Looks,
    /// Whether a number that no `f32` holds is as good as any: the result is rounded, never the number.
    pub(crate) takes_any_size: bool,
    /// Learns from the training rows. The parameter is there if there is one, and in its range.
    pub(crate) fit: fn(parameter: f64, seen: &Seen<'_>) -> Arc<dyn Fitted>,
    /// Makes again what was fitted, from its state; `None` if that is none.
    pub(crate) restore: fn(parameter: f64, state: &State) -> Option<Arc<dyn Fitted>>,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Encoder {
    fn eq(&self, other: &Encoder) -> bool {
        self.name == other.name
    }
}

/// What of a column's training rows an encoder looks at. Less is faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looks {
    /// Nothing: it is the same whatever they hold.
    Nothing,
    /// The least and the greatest number.
    Range,
    /// Every number.
    Values,
}

/// A column in the training rows, missing cells filled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Row after row, in the file's order; empty for who does not look at them.
    pub(crate) values: &'a [f64],
}

impl Seen<'_> {
    pub(crate) fn is_constant(&self) -> bool {
        self.min == self.max
    }

    /// Of numbers that are all there.
    pub(crate) fn of(values: &[f64]) -> Seen<'_> {
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Seen { min, max, values }
    }
}

/// An encoder that has learned what it has to. Frozen: the same cells give the same bits wherever the model goes.
pub(crate) trait Fitted: fmt::Debug + Send + Sync {
    /// Network inputs that a cell becomes.
    fn outputs(&self) -> usize {
        1
    }

    /// Values of the vector that the network learns for a cell, whose place among its categories the one input is; `None` where
    /// inputs are numbers.
    fn dimension(&self) -> Option<usize> {
        None
    }

    /// Computes one of the inputs for each of the cells, none of which is missing: in `f64`, by `+ - * /` or portable
    /// functions of our own. It is rounded to `f32` elsewhere.
    fn encode(&self, cells: &[f64], output: usize, out: &mut [f64]);

    /// The operations of [`Fitted::encode`], for other programs: of one column of cells, `f64` that are not missing, all of its
    /// inputs side by side. What `encode` has no number for is NaN.
    fn describe(&self, graph: &mut Graph, cells: Value) -> Value;

    /// All that [`Encoder::restore`] needs.
    fn state(&self) -> State;

    /// What is computed of a cell, written out with its numbers, for messages; `None` where the cell is all there is.
    fn formula(&self, cell: f64) -> Option<String>;

    /// How an output of the network goes back into the unit of the table, if a target may be encoded so, which does not depend on
    /// the rows.
    fn back(&self) -> Option<Back>;
}

/// From what the network computes to a number in the unit of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Back {
    /// `value * divisor + offset`.
    Affine(Scaling),
    /// `exp(value) - 1`.
    Expm1,
}

/// `(cell - offset) / divisor`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// What becomes 0: the mean, the median, or the least value.
    pub offset: f64,
    /// What becomes 1 above that: the population standard deviation, the interquartile range, or the range. 1 for a
    /// constant column.
    pub divisor: f64,
}

/// What an encoder has learned, by name: all that is kept of it.
pub(crate) type State = BTreeMap<String, StateValue>;

/// One thing that an encoder has learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum StateValue {
    /// A number.
    Number(f64),
    /// Numbers, such as quantiles.
    Numbers(Vec<f64>),
    /// Texts, such as categories.
    Texts(Vec<String>),
}
