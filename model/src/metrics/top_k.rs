//! The share of rows whose label is among the `k` largest outputs: Keras' `SparseTopKCategoricalAccuracy`, which is
//! `TopKCategoricalAccuracy` of labels. The part is the count of such rows.

use super::Measure;
use super::rows::{Bounds, COUNT, Limits, Rows, Widths};
use crate::kinds::Loss;

/// A label is among them if fewer than `k` outputs are larger than its own: equal ones count for it.
pub(super) struct TopK {
    pub(super) k: u32,
}

impl Measure for TopK {
    fn unfit(&self, loss: Loss, (outputs, _): Widths) -> Option<String> {
        if !matches!(loss, Loss::CrossEntropy { .. }) {
            return Some("it needs cross_entropy".to_string());
        }
        let k = self.k;
        (k == 0 || k as usize > outputs).then(|| {
            format!(
                "k is {k} and there are {outputs} classes, set k to a number from 1 to {outputs}, as in \
                 {{ type = \"top_k_accuracy\", k = {} }}",
                outputs.min(2)
            )
        })
    }

    fn is_better_larger(&self) -> bool {
        true
    }

    fn len(&self, _: Widths) -> usize {
        1
    }

    fn bounds(&self, _: &Limits<'_>) -> Vec<Bounds> {
        vec![COUNT]
    }

    fn add(&self, rows: Rows<'_>, part: &mut [f64]) {
        for (row, label) in rows.labelled() {
            let own = row.get(label as usize);
            let larger = |&own: &f32| row.iter().filter(|&&output| output > own).count();
            part[0] += f64::from(own.is_some_and(|own| larger(own) < self.k as usize));
        }
    }

    fn value(&self, _: Widths, part: &[f64], rows: f64) -> f64 {
        part[0] / rows
    }

    fn each(&self, _: Widths, _: &[f64], _: f64) -> Vec<f64> {
        Vec::new()
    }
}
