//! Functions of scales that are not linear, in `f64`, made of `+ - * /` and square roots alone, whose results IEEE 754 fixes:
//! the same bits on every machine. Never calls a mathematical library, and fuses nothing.

use lockstep_graph::{Graph, Value};

/// `ln 2`, in a part whose products with exponents are exact, and the rest.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// The natural logarithm of a number above 0 that is neither subnormal nor infinite, to some units of the last place.
pub(crate) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = (bits >> 52) as i64 - 1023;
    let mantissa = f64::from_bits(bits & ((1 << 52) - 1) | (1023 << 52));
    let (exponent, mantissa) = match mantissa > std::f64::consts::SQRT_2 {
        true => (exponent + 1, mantissa / 2.0),
        false => (exponent, mantissa),
    };
    let exponent = exponent as f64;
    let fraction = mantissa - 1.0;
    exponent * LN_2_HIGH + (twice_artanh(fraction / (2.0 + fraction)) + exponent * LN_2_LOW)
}

/// `ln(1 + x)`, also where `1 + x` would lose digits; NaN where there is none, from -1 down.
pub(crate) fn log1p(x: f64) -> f64 {
    if x.is_nan() || x <= -1.0 {
        return f64::NAN;
    }
    if (-0.29..0.41).contains(&x) {
        return twice_artanh(x / (2.0 + x));
    }
    let sum = 1.0 + x;
    // What the sum has lost; the part that matters comes first.
    let lost = if x > 1.0 { 1.0 - (sum - x) } else { x - (sum - 1.0) };
    ln(sum) + lost / sum
}

/// `ln((1 + s) / (1 - s))` for `|s| < 0.172`: the series `2 (s + s^3 / 3 + s^5 / 5 + ..)`, as many terms as are not lost.
fn twice_artanh(s: f64) -> f64 {
    let square = s * s;
    let mut series = 0.0;
    for k in (1..=12).rev() {
        series = square * (series + 1.0 / f64::from(2 * k + 1));
    }
    2.0 * s + 2.0 * s * series
}

/// The number below which this share of a standard normal distribution lies, for `0 < share < 1`: algorithm AS 241 (PPND16) of
/// Wichura, whose relative error is about `1e-16` in exact arithmetic.
pub(crate) fn normal_quantile(share: f64) -> f64 {
    let from_middle = share - 0.5;
    if from_middle.abs() <= 0.425 {
        let r = 0.180625 - from_middle * from_middle;
        return from_middle * ratio(r, &MIDDLE);
    }
    let tail = if from_middle < 0.0 { share } else { 1.0 - share };
    let r = (-ln(tail)).sqrt();
    let size = if r <= 5.0 { ratio(r - 1.6, &TAIL) } else { ratio(r - 5.0, &FAR_TAIL) };
    if from_middle < 0.0 { -size } else { size }
}

/// The operations of [`normal_quantile`], of one column.
pub(crate) fn describe_normal_quantile(graph: &mut Graph, share: Value) -> Value {
    let [zero, one, half] = [0.0, 1.0, 0.5].map(|number| graph.row(number));
    let from_middle = graph.subtract(share, half);
    let square = graph.multiply(from_middle, from_middle);
    let width = graph.row(0.180625);
    let r = graph.subtract(width, square);
    let middle = describe_ratio(graph, r, &MIDDLE);
    let middle = graph.multiply(from_middle, middle);
    let is_low = graph.less(from_middle, zero);
    let rest = graph.subtract(one, share);
    let tail = graph.choose(is_low, share, rest);
    let log = graph.log(tail);
    let log = graph.subtract(zero, log);
    let r = graph.square_root(log);
    let [near_from, far_from] = [1.6, 5.0].map(|from| graph.row(from));
    let near = graph.subtract(r, near_from);
    let near = describe_ratio(graph, near, &TAIL);
    let far = graph.subtract(r, far_from);
    let far = describe_ratio(graph, far, &FAR_TAIL);
    let is_far = graph.greater(r, far_from);
    let size = graph.choose(is_far, far, near);
    let minus = graph.subtract(zero, size);
    let signed = graph.choose(is_low, minus, size);
    let distance = graph.absolute(from_middle);
    let bound = graph.row(0.425);
    let is_in_tail = graph.greater(distance, bound);
    graph.choose(is_in_tail, signed, middle)
}

/// The operations of [`ratio`]: all powers at once, times the coefficients.
fn describe_ratio(graph: &mut Graph, x: Value, both: &[[f64; 8]; 2]) -> Value {
    let powers = graph.row(&[0.0_f64, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0][..]);
    let powers = graph.power(x, powers);
    let [above, below] = [0, 1].map(|which| {
        let coefficients = graph.matrix(1, &both[which][..]);
        graph.product(powers, coefficients)
    });
    graph.divide(above, below)
}

/// A ratio of two polynomials of the same degree, coefficients from the constant one on.
fn ratio(x: f64, [above, below]: &[[f64; 8]; 2]) -> f64 {
    let polynomial = |coefficients: &[f64; 8]| {
        coefficients.iter().rev().fold(0.0, |value, coefficient| value * x + coefficient)
    };
    polynomial(above) / polynomial(below)
}

const MIDDLE: [[f64; 8]; 2] = [
    [
        3.387_132_872_796_366_5,
        1.331_416_678_917_843_8e2,
        1.971_590_950_306_551_3e3,
        1.373_169_376_550_946e4,
        4.592_195_393_154_987e4,
        6.726_577_092_700_87e4,
        3.343_057_558_358_813e4,
        2.509_080_928_730_122_7e3,
    ],
    [
        1.0,
        4.231_333_070_160_091e1,
        6.871_870_074_920_579e2,
        5.394_196_021_424_751e3,
        2.121_379_430_158_659_7e4,
        3.930_789_580_009_271e4,
        2.872_908_573_572_194_3e4,
        5.226_495_278_852_854e3,
    ],
];

const TAIL: [[f64; 8]; 2] = [
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        2.417_807_251_774_506e-1,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        6.897_673_349_851e-1,
        1.481_039_764_274_800_8e-1,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ],
];

const FAR_TAIL: [[f64; 8]; 2] = [
    [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        2.965_605_718_285_049e-1,
        2.653_218_952_657_612_4e-2,
        1.242_660_947_388_078_4e-3,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ],
    [
        1.0,
        5.998_322_065_558_88e-1,
        1.369_298_809_227_358e-1,
        1.487_536_129_085_061_5e-2,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_7e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    /// NumPy 2.4's `log1p`.
    #[test]
    fn numpys_logarithms() {
        for (x, wanted) in [
            (-0.999_999, -13.815_510_557_935_518),
            (-0.5, -std::f64::consts::LN_2),
            (-0.3, -0.356_674_943_938_732_34),
            (-1e-10, -1.000_000_000_05e-10),
            (1e-20, 1e-20),
            (0.25, 0.223_143_551_314_209_76),
            (0.41, 0.343_589_704_390_076_9),
            (0.7, 0.530_628_251_062_170_4),
            (1.0, std::f64::consts::LN_2),
            (3.0, 1.386_294_361_119_890_6),
            (1e6, 13.815_511_557_963_774),
            (1.7e9, 21.253_894_088_596_816),
            (1e15, 34.538_776_394_910_684),
            (1e100, 230.258_509_299_404_58),
        ] {
            let found = log1p(x);
            assert!((found - wanted).abs() <= 6e-16 * wanted.abs(), "{x}: {found}, not {wanted}");
        }
        assert_eq!(log1p(0.0), 0.0);
        assert!([-1.0, -2.0, f64::NAN].iter().all(|&x| log1p(x).is_nan()));
    }

    /// SciPy 1.17's `norm.ppf`.
    #[test]
    fn scipys_normal_quantiles() {
        for (share, wanted) in [
            (1e-7, -5.199_337_582_192_816_5),
            (1e-5, -4.264_890_793_922_825),
            (0.01, -2.326_347_874_040_840_8),
            (0.074, -1.446_632_067_158_978_5),
            (0.3, -0.524_400_512_708_040_9),
            (0.62, 0.305_480_788_099_397_4),
            (0.95, 1.644_853_626_951_472_2),
            (0.9999, 3.719_016_485_455_709),
        ] {
            let found = normal_quantile(share);
            assert!(
                (found - wanted).abs() <= 2e-15 * wanted.abs(),
                "{share}: {found}, not {wanted}"
            );
        }
        assert_eq!(normal_quantile(0.5), 0.0);
    }
}
