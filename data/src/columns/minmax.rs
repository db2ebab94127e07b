//! `minmax`: so that the training rows cover 0 to 1, as scikit-learn's `MinMaxScaler`. A constant column is only shifted.

use super::{Encoder, Looks, affine};

pub(super) static MINMAX: Encoder = Encoder {
    name: "minmax",
    parameter: None,
    looks: Looks::Range,
    takes_any_size: true,
    fit: |_, seen| affine::fitted(seen.min, seen.max - seen.min),
    restore: affine::restore,
};
