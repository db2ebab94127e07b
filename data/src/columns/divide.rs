//! `{ divide = d }`: by the same number, above 0, whatever the rows hold.

use lockstep_parameters::Range;

use super::{Encoder, Looks, StateValue, affine};

/// What is divided by less is hardly finite.
const LEAST: f64 = f32::MIN_POSITIVE as f64;

pub(super) static DIVIDE: Encoder = Encoder {
    name: "divide",
    parameter: Some(Range::new("a number above 0", |divisor| divisor >= LEAST)),
    looks: Looks::Nothing,
    takes_any_size: true,
    fit: |divisor, _| affine::exactly(0.0, divisor),
    restore: |divisor, state| {
        let is_its_own = state.get("divisor") == Some(&StateValue::Number(divisor))
            && state.get("offset") == Some(&StateValue::Number(0.0));
        affine::restore(divisor, state).filter(|_| is_its_own)
    },
};
