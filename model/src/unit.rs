//! Units of targets. A network may be trained on targets that are scaled; what is said of its outputs is said in the unit that
//! the targets had before. Knows no table and nothing of how the scaling was found.

use lockstep_graph::{Element, Graph, Value};
use serde::{Deserialize, Serialize};

/// From what the network computes for one target to the target's own unit. All of it is `f64`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Unit {
    /// `value * factor + offset`.
    Affine {
        /// What 0 is in the own unit.
        offset: f64,
        /// What 1 is more than that; above 0.
        factor: f64,
    },
    /// `exp(value) - 1`, where the targets are `ln(1 + target)`. A value beyond 320 in size counts as 320.
    Expm1,
}

impl Unit {
    /// The unit in which the network computes anyway.
    pub const SAME: Unit = Unit::Affine { offset: 0.0, factor: 1.0 };

    /// The value in the own unit.
    pub fn back(&self, value: f64) -> f64 {
        match *self {
            Unit::Affine { offset, factor } => value * factor + offset,
            Unit::Expm1 => expm1(value),
        }
    }

    /// The operations of [`Unit::back`], of one column of what the network computes.
    pub fn describe(&self, graph: &mut Graph, value: Value) -> Value {
        let value = graph.convert(Element::Double, value);
        match *self {
            Unit::Affine { offset, factor } => {
                let [offset, factor] = [offset, factor].map(|number| graph.row(number));
                let scaled = graph.multiply(value, factor);
                graph.add(scaled, offset)
            }
            Unit::Expm1 => {
                let [least, most, one] =
                    [-EXPONENT_MAX, EXPONENT_MAX, 1.0].map(|number| graph.row(number));
                let is_less = graph.less(value, least);
                let value = graph.choose(is_less, least, value);
                let is_more = graph.greater(value, most);
                let value = graph.choose(is_more, most, value);
                let power = graph.exp(value);
                graph.subtract(power, one)
            }
        }
    }

    /// The same less a number that is the unit's alone, 0 or nearly what all targets have in common: errors and deviations
    /// are what they are, and no digits are lost to a large offset. A unit that is not linear has none to leave out.
    pub(crate) fn above_origin(&self, value: f64) -> f64 {
        match *self {
            Unit::Affine { factor, .. } => value * factor,
            Unit::Expm1 => expm1(value),
        }
    }

    /// The greatest size that [`Unit::above_origin`] gives for values up to this size.
    pub(crate) fn largest(&self, size: f64) -> f64 {
        match *self {
            Unit::Affine { factor, .. } => size * factor,
            Unit::Expm1 => expm1(size),
        }
    }

    /// What is wrong with its numbers, if anything is.
    pub(crate) fn problem(&self) -> Option<String> {
        let Unit::Affine { offset, factor } = *self else { return None };
        let fits = offset.is_finite() && (FACTOR_MIN..=FACTOR_MAX).contains(&factor);
        (!fits).then(|| {
            format!(
                "found offset {offset:e} and factor {factor:e}, wanted finite numbers, and a factor from {FACTOR_MIN:e} \
                 to {FACTOR_MAX:e}"
            )
        })
    }
}

/// Factors for which sums of squares of a table's `f32` values stay finite, and more than 0.
const FACTOR_MIN: f64 = 1e-150;
const FACTOR_MAX: f64 = 1e101;

/// Where exponents end, for the same reason. A target is at most `ln(1 + 1e100)`, about 230.
const EXPONENT_MAX: f64 = 320.0;

/// `ln 2`, in a part whose products with exponents are exact, and the rest.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// `exp(x) - 1` for `x` of at most [`EXPONENT_MAX`], which a larger one counts as: to some units of the last place, by `+ - * /`
/// alone, so that its bits are the same on every machine.
fn expm1(x: f64) -> f64 {
    let x = x.clamp(-EXPONENT_MAX, EXPONENT_MAX);
    let halvings = (x / std::f64::consts::LN_2).round();
    let rest = (x - halvings * LN_2_HIGH) - halvings * LN_2_LOW;
    // `exp(rest) - 1` by Taylor's series: rest is at most ln 2 / 2.
    let mut series = 0.0;
    for k in (2..=15).rev() {
        series = rest / f64::from(k) * (1.0 + series);
    }
    let small = rest + rest * series;
    let power = f64::from_bits(((1023 + halvings as i64) as u64) << 52);
    power * small + (power - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_in_the_own_unit() {
        let unit = Unit::Affine { offset: 1_700_000_000.0, factor: 0.25 };
        assert_eq!((unit.back(-2.0), unit.above_origin(-2.0)), (1_699_999_999.5, -0.5));
        assert_eq!((Unit::SAME.back(0.1), Unit::SAME.above_origin(0.1)), (0.1, 0.1));
        assert_eq!(unit.problem(), None);
        for (offset, factor) in
            [(0.0, 0.0), (0.0, -1.0), (f64::NAN, 1.0), (f64::INFINITY, 1.0), (0.0, 1e102)]
        {
            assert!(Unit::Affine { offset, factor }.problem().is_some(), "{offset} {factor}");
        }
    }

    /// NumPy 2.4's `expm1`.
    #[test]
    fn numpys_exponentials() {
        for (x, wanted) in [
            (-300.0, -1.0),
            (-1.0, -0.632_120_558_828_557_7),
            (-0.3, -0.259_181_779_318_282_1),
            (-1e-12, -9.999_999_999_995e-13),
            (1e-20, 1e-20),
            (0.2, 0.221_402_758_160_169_85),
            (0.5, 0.648_721_270_700_128_2),
            (1.0, 1.718_281_828_459_045),
            (10.5, 36_314.502_674_246_636),
            (100.0, 2.688_117_141_816_135_6e43),
            (320.0, 9.423_976_816_163_585e138),
        ] {
            let found = Unit::Expm1.back(x);
            assert!((found - wanted).abs() <= 6e-16 * wanted.abs(), "{x}: {found}, not {wanted}");
        }
        assert_eq!(Unit::Expm1.back(0.0), 0.0);
        // Whatever a network computes, its size has a bound.
        let most = f64::from(f32::MAX);
        assert_eq!(Unit::Expm1.above_origin(most), Unit::Expm1.largest(most));
        assert_eq!(Unit::Expm1.above_origin(most), Unit::Expm1.back(320.0));
        assert!(Unit::Expm1.back(f64::NAN).is_nan());
        assert_eq!(Unit::Expm1.problem(), None);
    }

    #[test]
    fn json_is_stable() {
        assert_eq!(serde_json::to_string(&Unit::Expm1).unwrap(), r#""expm1""#);
        assert_eq!(serde_json::from_str::<Unit>(r#""expm1""#).unwrap(), Unit::Expm1);
        let unit = Unit::Affine { offset: -0.5, factor: 2.0 };
        let json = r#"{"affine":{"offset":-0.5,"factor":2.0}}"#;
        assert_eq!(serde_json::to_string(&unit).unwrap(), json);
        assert_eq!(serde_json::from_str::<Unit>(json).unwrap(), unit);
    }
}
