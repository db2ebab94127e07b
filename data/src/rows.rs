//! A table in memory: preprocessed rows of `f32`, one after another. Knows no names and no files.

/// Row-major rows, each its features, then its targets, then its weight if it has one. A class target is the class index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Feature values in a row.
    pub features: usize,
    /// Target values in a row; 0 for rows to predict.
    pub targets: usize,
    /// Whether each ends with its weight, which is finite and at least 0.
    pub is_weighted: bool,
    /// All rows, [`Rows::width`] values each.
    pub values: Vec<f32>,
}

impl Rows {
    /// # Panics
    /// If rows would hold no value, or `values` does not divide into whole rows.
    pub fn new(features: usize, targets: usize, values: Vec<f32>) -> Rows {
        let width = features + targets;
        assert!(width > 0, "a row holds at least one value");
        assert!(values.len().is_multiple_of(width), "{} values in rows of {width}", values.len());
        Rows { features, targets, is_weighted: false, values }
    }

    /// The same rows, each with its weight, multiplied with the one that it had.
    ///
    /// # Panics
    /// If there is not one for each row.
    pub fn weighted(self, weights: &[f32]) -> Rows {
        assert_eq!(weights.len(), self.len(), "a weight for each row");
        let (width, own) = (self.width(), self.features + self.targets);
        let mut values = Vec::with_capacity(weights.len() * (own + 1));
        for (row, &weight) in self.values.chunks_exact(width).zip(weights) {
            values.extend_from_slice(&row[..own]);
            values.push(row.get(own).map_or(weight, |before| before * weight));
        }
        Rows { is_weighted: true, values, ..self }
    }

    /// Values in a row.
    pub fn width(&self) -> usize {
        self.features + self.targets + usize::from(self.is_weighted)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width().max(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Row `index`: features, then targets, then its weight if it has one.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, index: usize) -> &[f32] {
        let width = self.width();
        &self.values[index * width..(index + 1) * width]
    }

    /// The features of row `index`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn features_of(&self, index: usize) -> &[f32] {
        &self.row(index)[..self.features]
    }

    /// The targets of row `index`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn targets_of(&self, index: usize) -> &[f32] {
        &self.row(index)[self.features..self.features + self.targets]
    }

    /// The weight of row `index`, if rows have one.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn weight_of(&self, index: usize) -> Option<f32> {
        self.row(index).last().copied().filter(|_| self.is_weighted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_features_then_targets() {
        let rows = Rows::new(2, 1, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!((rows.width(), rows.len(), rows.is_empty()), (3, 2, false));
        assert_eq!(rows.row(1), [4.0, 5.0, 6.0]);
        assert_eq!((rows.features_of(1), rows.targets_of(1)), (&[4.0, 5.0][..], &[6.0][..]));
    }

    #[test]
    fn weights_are_at_the_end_and_multiply() {
        let rows = Rows::new(1, 1, vec![1.0, 2.0, 3.0, 4.0]);
        assert_eq!(rows.weight_of(0), None);
        let rows = rows.weighted(&[0.5, 2.0]);
        assert_eq!((rows.width(), rows.len(), rows.row(1)), (3, 2, &[3.0, 4.0, 2.0][..]));
        assert_eq!((rows.targets_of(1), rows.weight_of(1)), (&[4.0][..], Some(2.0)));
        let rows = rows.weighted(&[3.0, 3.0]);
        assert_eq!(rows.values, [1.0, 2.0, 1.5, 3.0, 4.0, 6.0]);
    }

    #[test]
    #[should_panic(expected = "5 values in rows of 3")]
    fn half_a_row_is_refused() {
        Rows::new(2, 1, vec![0.0; 5]);
    }
}
