//! Moving averages of what is measured over a batch, with the formula of Keras' `BatchNormalization`. They are no weights: no
//! optimizer, penalty, clipping or averaging of weights has a part in them.

/// Takes a mean over a batch into its moving average: `momentum * average + (1 - momentum) * mean`, each operation rounded. What is kept
/// as the average of the weights (empty if nothing is) is the same: to average them once more would only be late.
///
/// # Panics
/// If `kept` is of another length, and not empty.
#[inline(always)]
pub(super) fn take_in(momentum: f32, means: &[f32], averages: &mut [f32], kept: &mut [f32]) {
    let rest = 1.0 - momentum;
    for (average, &mean) in averages.iter_mut().zip(means) {
        *average = momentum * *average + rest * mean;
    }
    if !kept.is_empty() {
        kept.copy_from_slice(averages);
    }
}
