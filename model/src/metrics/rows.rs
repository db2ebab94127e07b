//! Rows as metrics see them, how wide they are, and what their values can be. Knows no metric.

use crate::unit::Unit;

/// Outputs of the network, and targets of a row: 1 where it is the class.
pub(crate) type Widths = (usize, usize);

/// The least and the most that a row adds to a sum, and whether that is a whole number.
pub(super) type Bounds = (f64, f64, bool);

/// A count: a row is in it or not.
pub(super) const COUNT: Bounds = (0.0, 1.0, true);

/// Whether a row's target is one of several classes, and no value for each output.
pub(super) fn is_label((outputs, targets): Widths) -> bool {
    outputs != targets
}

/// How many targets there are to measure one by one; none, if all there is is one.
pub(super) fn each_len((outputs, targets): Widths) -> usize {
    if targets > 1 { outputs } else { 0 }
}

/// What the values of rows can be.
pub(crate) struct Limits<'a> {
    /// The least and the greatest loss.
    pub(crate) loss: (f64, f64),
    pub(crate) widths: Widths,
    /// Of each output, where targets are scaled.
    pub(crate) units: &'a [Unit],
}

impl Limits<'_> {
    /// The greatest size of a value of an output in its unit.
    pub(super) fn largest(&self, output: usize) -> f64 {
        let largest = f64::from(f32::MAX);
        self.units.get(output).map_or(largest, |unit| unit.largest(largest))
    }

    /// Of a sum over all outputs and, where there are several, one for each, to which an output adds from 0 to `term`.
    pub(super) fn of_terms(&self, term: impl Fn(usize) -> f64, is_whole: bool) -> Vec<Bounds> {
        let all = match self.units {
            [] => self.widths.1 as f64 * term(0),
            units => (0..units.len()).map(&term).sum(),
        };
        let each = (0..each_len(self.widths)).map(|output| (0.0, term(output), is_whole));
        std::iter::once((0.0, all, is_whole)).chain(each).collect()
    }
}

/// Rows of a call: their losses, outputs and targets.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) losses: &'a [f32],
    pub(crate) outputs: &'a [f32],
    pub(crate) targets: &'a [f32],
    /// Columns of `outputs` and of `targets`.
    pub(crate) widths: Widths,
    /// Of each column, where targets are scaled.
    pub(crate) units: &'a [Unit],
}

impl<'a> Rows<'a> {
    /// Shows each output with its column and its target, in their own unit, less its origin: an offset many times the spread
    /// costs no digits of what compares values with each other.
    #[inline(always)]
    pub(super) fn each_pair(&self, mut see: impl FnMut(usize, f64, f64)) {
        let pairs = || self.outputs.iter().zip(self.targets).enumerate();
        let width = self.widths.0;
        if self.units.is_empty() {
            pairs().for_each(|(at, (&p, &y))| see(at % width, f64::from(p), f64::from(y)));
            return;
        }
        pairs().for_each(|(at, (&p, &y))| {
            let unit = &self.units[at % width];
            see(at % width, unit.above_origin(f64::from(p)), unit.above_origin(f64::from(y)));
        });
    }

    /// Adds a term of each output to the sum over all and, where there are several, to the output's own.
    #[inline(always)]
    pub(super) fn add_terms(&self, part: &mut [f64], term: impl Fn(f64, f64) -> f64) {
        let [all, each @ ..] = part else { return };
        self.each_pair(|_, p, y| *all += term(p, y));
        if !each.is_empty() {
            self.each_pair(|output, p, y| each[output] += term(p, y));
        }
    }

    /// Each row's outputs with its label, where targets are classes.
    pub(super) fn labelled(&self) -> impl Iterator<Item = (&'a [f32], f32)> {
        self.outputs.chunks_exact(self.widths.0).zip(self.targets.iter().copied())
    }
}

/// The place of the largest value, the first of equals.
pub(super) fn first_largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, &value) in row.iter().enumerate() {
        if value > row[best] {
            best = i;
        }
    }
    best
}

/// Whether an output or a target of two classes is class 1.
pub(super) fn is_class_1(value: f64) -> bool {
    value > 0.5
}
