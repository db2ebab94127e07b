//! Which columns of a table to read, and what to say about cells that cannot be used. Knows no format.

/// Greatest number of a column that is scaled: sums of its squares stay finite.
pub(crate) const NUMBER_MAX: f64 = 1e100;

/// Which columns to read, and what to say about cells that cannot be used.
#[derive(Debug)]
pub(crate) struct Selection {
    /// File columns of the features, in the network's order.
    pub(crate) features: Vec<usize>,
    /// File columns of the targets, in the network's order.
    pub(crate) targets: Vec<usize>,
    /// Whether target cells are labels rather than numbers.
    pub(crate) labels: bool,
    /// Whether features are scaled, so that they may be numbers that no `f32` holds.
    pub(crate) are_scaled: bool,
    /// What to do about a missing feature cell where it is an error; `None` where it is not.
    pub(crate) missing_feature: Option<&'static str>,
    /// The same for targets.
    pub(crate) missing_target: Option<&'static str>,
    /// What to do about a text in a feature column.
    pub(crate) text_feature: Option<&'static str>,
}

impl Selection {
    pub(crate) fn number_targets(&self) -> usize {
        if self.labels { 0 } else { self.targets.len() }
    }

    /// Features, then targets that are numbers.
    pub(crate) fn number_width(&self) -> usize {
        self.features.len() + self.number_targets()
    }

    /// File columns of features, then of targets that are numbers.
    pub(crate) fn number_columns(&self) -> Vec<usize> {
        self.features.iter().chain(&self.targets).take(self.number_width()).copied().collect()
    }

    pub(crate) fn label_width(&self) -> usize {
        self.targets.len() - self.number_targets()
    }

    /// Values of a row: of features and targets of either kind.
    pub(crate) fn width(&self) -> usize {
        self.features.len() + self.targets.len()
    }
}
