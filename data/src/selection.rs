//! Which columns of a table to read, and what to say about cells that cannot be used. Knows no format.

/// Greatest number of a column that is scaled: sums of its squares stay finite.
pub(crate) const NUMBER_MAX: f64 = 1e100;

/// Which columns to read, and what to say about cells that cannot be used.
#[derive(Debug)]
pub(crate) struct Selection {
    /// The features, in the schema's order.
    pub(crate) features: Vec<Selected>,
    /// The targets, in the network's order.
    pub(crate) targets: Vec<Selected>,
    /// Whether target cells are labels rather than numbers.
    pub(crate) labels: bool,
    /// What to do about a text in a feature column.
    pub(crate) text_feature: Option<&'static str>,
}

/// A column to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selected {
    /// Column of the file.
    pub(crate) column: usize,
    /// Whether its numbers may be larger than any `f32`, since they are scaled.
    pub(crate) takes_any_size: bool,
    /// What to do about a missing cell where it is an error; `None` where it is not.
    pub(crate) missing: Option<&'static str>,
    /// Whether a row is left out where its cell here is missing.
    pub(crate) drops: bool,
}

impl Selection {
    /// Every column, features first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Selected> {
        self.features.iter().chain(&self.targets)
    }

    pub(crate) fn number_targets(&self) -> usize {
        if self.labels { 0 } else { self.targets.len() }
    }

    /// Features, then targets that are numbers.
    pub(crate) fn number_width(&self) -> usize {
        self.features.len() + self.number_targets()
    }

    /// File columns of features, then of targets that are numbers.
    pub(crate) fn number_columns(&self) -> Vec<usize> {
        self.all().take(self.number_width()).map(|selected| selected.column).collect()
    }

    pub(crate) fn label_width(&self) -> usize {
        self.targets.len() - self.number_targets()
    }

    /// Places among the numbers of a row, and among its labels, of those whose missing cell leaves the row out.
    pub(crate) fn dropping(&self) -> (Vec<usize>, Vec<usize>) {
        let places = |columns: &mut dyn Iterator<Item = &Selected>| {
            columns.enumerate().filter(|(_, one)| one.drops).map(|(place, _)| place).collect()
        };
        let numbers = places(&mut self.all().take(self.number_width()));
        let labels = places(&mut self.targets.iter().take(self.label_width()));
        (numbers, labels)
    }
}
