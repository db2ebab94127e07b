//! Means and variances of channels over rows, and what is done with them. Sums are in `f64`, row after row, and of an image position
//! after position.

use pulp::Arch;

/// Mean and variance of each channel.
#[derive(Clone, Copy)]
pub(super) struct Moments<'a> {
    pub(super) mean: &'a [f32],
    pub(super) variance: &'a [f32],
}

impl<'a> Moments<'a> {
    /// Those of the microbatch that begins with row `first`, as the forward pass kept them.
    pub(super) fn kept(kept: &'a [f32], first: usize, channels: usize) -> Moments<'a> {
        let (mean, rest) = kept[first * 2 * channels..].split_at(channels);
        Moments { mean, variance: &rest[..channels] }
    }
}

/// Measures mean and variance (the population's) of each channel.
pub(super) fn measure(rows: &[f32], mean: &mut [f32], variance: &mut [f32]) {
    let channels = mean.len();
    let count = (rows.len() / channels) as f64;
    let mut sums = vec![0f64; channels];
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for values in rows.chunks_exact(channels) {
                for (sum, &value) in sums.iter_mut().zip(values) {
                    *sum += f64::from(value);
                }
            }
            for (mean, sum) in mean.iter_mut().zip(&mut sums) {
                *mean = (*sum / count) as f32;
                *sum = 0.0;
            }
            for values in rows.chunks_exact(channels) {
                for ((sum, &value), &mean) in sums.iter_mut().zip(values).zip(&*mean) {
                    let deviation = f64::from(value - mean);
                    *sum += deviation * deviation;
                }
            }
            for (variance, &sum) in variance.iter_mut().zip(&sums) {
                *variance = (sum / count) as f32;
            }
        },
    );
}

/// What is done to the values of each channel.
pub(super) struct Channels<'a> {
    mean: &'a [f32],
    /// `1 / sqrt(variance + epsilon)`.
    factors: Vec<f32>,
    /// Empty where it is left out.
    gamma: &'a [f32],
    /// Empty where it is left out.
    beta: &'a [f32],
}

impl<'a> Channels<'a> {
    /// By these moments.
    pub(super) fn new(
        moments: Moments<'a>,
        epsilon: f32,
        gamma: &'a [f32],
        beta: &'a [f32],
    ) -> Channels<'a> {
        let factor = |&variance: &f32| 1.0 / (variance + epsilon).sqrt();
        let factors = moments.variance.iter().map(factor).collect();
        Channels { mean: moments.mean, factors, gamma, beta }
    }

    /// Normalizes rows in place.
    pub(super) fn normalize(&self, rows: &mut [f32]) {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for values in rows.chunks_exact_mut(self.mean.len()) {
                    for ((value, &mean), &factor) in
                        values.iter_mut().zip(self.mean).zip(&self.factors)
                    {
                        *value = (*value - mean) * factor;
                    }
                    for (value, &gamma) in values.iter_mut().zip(self.gamma) {
                        *value *= gamma;
                    }
                    for (value, &beta) in values.iter_mut().zip(self.beta) {
                        *value += beta;
                    }
                }
            },
        );
    }

    /// From slopes by the outputs to slopes by the inputs, in place, where the moments do not depend on these.
    pub(super) fn scale(&self, slopes: &mut [f32]) {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for slopes in slopes.chunks_exact_mut(self.mean.len()) {
                    for (slope, &factor) in slopes.iter_mut().zip(&self.factors) {
                        *slope *= factor;
                    }
                    for (slope, &gamma) in slopes.iter_mut().zip(self.gamma) {
                        *slope *= gamma;
                    }
                }
            },
        );
    }

    /// Sums over rows of the products of each channel's slopes by the outputs with the normalized values of `x`.
    pub(super) fn product_sums(&self, x: &[f32], slopes: &[f32]) -> Vec<f64> {
        let channels = self.mean.len();
        let mut sums = vec![0.0; channels];
        Arch::new().dispatch(
            #[inline(always)]
            || {
                for (slopes, x) in slopes.chunks_exact(channels).zip(x.chunks_exact(channels)) {
                    let moments = self.mean.iter().zip(&self.factors);
                    let values = sums.iter_mut().zip(slopes).zip(x).zip(moments);
                    for (((sum, &slope), &x), (&mean, &factor)) in values {
                        let normalized = (x - mean) * factor;
                        *sum += f64::from(slope) * f64::from(normalized);
                    }
                }
            },
        );
        sums
    }

    /// From slopes by the outputs to slopes by the inputs `x`, in place, where the moments are those of `x`. With slopes `d` and
    /// normalized values `n`: `(d - mean(d) - n * mean(d * n)) * factor * gamma`.
    pub(super) fn input_slopes(&self, x: &[f32], slopes: &mut [f32]) {
        let channels = self.mean.len();
        let count = (x.len() / channels) as f64;
        let means = |sums: Vec<f64>| -> Vec<f32> {
            sums.into_iter().map(|sum| (sum / count) as f32).collect()
        };
        let mean_slopes = means(slope_sums(slopes, channels));
        let mean_products = means(self.product_sums(x, slopes));
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let pixels = slopes.chunks_exact_mut(channels).zip(x.chunks_exact(channels));
                for (slopes, x) in pixels {
                    let moments = self.mean.iter().zip(&self.factors);
                    let means = mean_slopes.iter().zip(&mean_products);
                    let values = slopes.iter_mut().zip(x).zip(moments).zip(means);
                    for (((slope, &x), (&mean, &factor)), (&mean_slope, &mean_product)) in values {
                        let normalized = (x - mean) * factor;
                        *slope = *slope - mean_slope - normalized * mean_product;
                    }
                }
            },
        );
        self.scale(slopes);
    }
}

/// Sums over rows of each channel's slopes by the outputs.
pub(super) fn slope_sums(slopes: &[f32], channels: usize) -> Vec<f64> {
    let mut sums = vec![0.0; channels];
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for slopes in slopes.chunks_exact(channels) {
                for (sum, &slope) in sums.iter_mut().zip(slopes) {
                    *sum += f64::from(slope);
                }
            }
        },
    );
    sums
}
