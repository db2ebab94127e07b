//! exp, ln, tanh, erf and what is made of them: portable `f32` polynomials with fused multiply-add.
//!
//! The same bits on every CPU and from every loop: a value does not depend on whether it was computed alone or in
//! a vector. Never calls a mathematical library, whose bits change with its version. The bits are frozen by
//! `tests/math.rs`; a change to any constant here is a new numeric profile.
//!
//! [`exp`], [`ln`], [`tanh`] and [`erf`] are within 2 units in the last place of the exact value over all of `f32`,
//! subnormal results included; what is made of them keeps its relative accuracy where the exact value is small. NaN
//! gives NaN, but nobody promises which.

use pulp::{Arch, Simd, WithSimd};

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 is `LN_2_HIGH + LN_2_LOW` to 48 bits.
const LN_2_HIGH: f32 = std::f32::consts::LN_2;
const LN_2_LOW: f32 = -1.904_654_2e-9;
/// 1.5 * 2^23: adding it rounds a small number to an integer, which then lies in the low bits.
const ROUND: f32 = 12_582_912.0;
const FRAC_1_SQRT_2PI: f32 = 0.398_942_3;

/// `(exp(r) - 1 - r) / r^2` for `|r| <= ln(2) / 2`, low power first.
const EXP: [f32; 5] = [0.5, 0.166_665_76, 0.041_666_552, 0.008_363_346, 0.001_392_639_2];

/// `(ln(1 + f) - f + f^2 / 2) / f^3` for `|f| <= 1/3`.
const LN: [f32; 9] = [
    0.333_333_34,
    -0.249_999_43,
    0.199_999_47,
    -0.166_734_46,
    0.142_919_87,
    -0.122_859_105,
    0.109_130_52,
    -0.124_390_87,
    0.113_462_57,
];

/// `(tanh(x) - x) / x^3` in `x^2` for `|x| <= 0.625`.
const TANH: [f32; 5] = [-0.333_333_28, 0.133_327_7, -0.053_850_908, 0.020_997_18, -0.006_096_714];

/// `erf(x) / x - 1` in `x^2` for `|x| <= 1`.
const ERF: [f32; 7] = [
    0.128_379_17,
    -0.376_126_26,
    0.112_835_94,
    -0.026_854_211,
    0.005_189_087,
    -0.000_801_686_43,
    7.875_875e-5,
];

/// `(1 + 2 y) exp(y^2) erfc(y)` in `(y - 2) / (y + 2)` for `0 <= y <= 11`.
const ERFCX: [f32; 10] = [
    1.276_978_4,
    -0.092_764_02,
    -0.166_030_53,
    0.164_056_3,
    -0.054_211_963,
    -0.008_066_704,
    0.008_652_288,
    0.001_331_685_5,
    -0.001_246_796_9,
    -0.000_415_897_08,
];

/// Horner's rule from the highest power down.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: &[f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    for &coefficient in coefficients[..N - 1].iter().rev() {
        sum = sum.mul_add(x, coefficient);
    }
    sum
}

/// `exp(r) - 1` for `|r| <= ln(2) / 2`.
#[inline(always)]
fn exp_minus_1_reduced(r: f32) -> f32 {
    polynomial(r, &EXP).mul_add(r * r, r)
}

/// The exponential function. Overflows to infinity, underflows through subnormal numbers to 0.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Past these bounds the result is infinity or 0 anyway. Comparisons are false for NaN, which passes through.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let rounded = x.mul_add(LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let power = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    // Two factors, so that a subnormal result is rounded once and 2^128 is reached.
    let half = power >> 1;
    (1.0 + exp_minus_1_reduced(r)) * power_of_2(half) * power_of_2(power.wrapping_sub(half))
}

#[inline(always)]
fn power_of_2(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `exp(x) - 1` for `x <= 0`, without cancellation near 0.
#[inline(always)]
pub fn exp_minus_1_negative(x: f32) -> f32 {
    let near = exp_minus_1_reduced(x);
    let far = exp(x) - 1.0;
    if x > -0.34 { near } else { far }
}

/// The natural logarithm: minus infinity at both zeros, NaN below.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    const TWO_THIRDS: i32 = 0x3f2a_aaab;
    let subnormal = x < f32::MIN_POSITIVE;
    let scaled = if subnormal { x * 8_388_608.0 } else { x };
    let shift = if subnormal { -23 } else { 0 };
    let bits = (scaled.to_bits() as i32).wrapping_sub(TWO_THIRDS);
    let power = ((bits >> 23) + shift) as f32;
    let f = f32::from_bits((bits & 0x007f_ffff).wrapping_add(TWO_THIRDS) as u32) - 1.0;
    let square = f * f;
    let tail = polynomial(f, &LN).mul_add(f, -0.5);
    let ln_1_plus_f = tail.mul_add(square, f);
    let result = power.mul_add(LN_2_HIGH, power.mul_add(LN_2_LOW, ln_1_plus_f));
    let result = if x < f32::INFINITY { result } else { x };
    let result = if x < 0.0 { f32::NAN } else { result };
    if x == 0.0 { f32::NEG_INFINITY } else { result }
}

/// `ln(1 + t)` for `0 <= t <= 1`, without cancellation for small `t`.
#[inline(always)]
pub fn ln_1_plus(t: f32) -> f32 {
    let sum = 1.0 + t;
    ln(sum) + (t - (sum - 1.0)) / sum
}

/// The hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let square = size * size;
    let near = polynomial(square, &TANH).mul_add(square * size, size);
    let far = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
    (if size < 0.625 { near } else { far }).copysign(x)
}

/// The logistic function `1 / (1 + exp(-x))`, with full relative accuracy for very negative `x`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let t = exp(-x.abs());
    let above = if x < 0.0 { t } else { 1.0 };
    above / (1.0 + t)
}

/// `ln(1 + exp(x))`, with full relative accuracy for very negative `x`.
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    let positive = if x < 0.0 { 0.0 } else { x };
    positive + ln_1_plus(exp(-x.abs()))
}

/// `exp(y^2) erfc(y)` for `0 <= y <= 11`; beyond, `exp(-y^2)` is 0 in `f32` and this only has to be finite.
#[inline(always)]
fn erfc_scaled(y: f32) -> f32 {
    let y = if y > 11.0 { 11.0 } else { y };
    polynomial((y - 2.0) / (y + 2.0), &ERFCX) / (2.0f32.mul_add(y, 1.0))
}

/// `exp(-factor * x^2)`: the square's rounding error is put back, so that far tails keep their relative accuracy.
#[inline(always)]
fn exp_minus_square(x: f32, factor: f32) -> f32 {
    let x = if x > 16.0 { 16.0 } else { x };
    let square = x * x;
    let error = x.mul_add(x, -square);
    let main = exp(-factor * square);
    main.mul_add(-factor * error, main)
}

/// The error function.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let size = x.abs();
    let near = polynomial(size * size, &ERF).mul_add(size, size);
    let far = 1.0 - exp_minus_square(size, 1.0) * erfc_scaled(size);
    (if size < 1.0 { near } else { far }).copysign(x)
}

/// The complementary error function `1 - erf(x)`, without cancellation for large `x`.
#[inline(always)]
pub fn erfc(x: f32) -> f32 {
    let size = x.abs();
    let tail = exp_minus_square(size, 1.0) * erfc_scaled(size);
    let middle = 1.0 - erf(x);
    let far = if x < 0.0 { 2.0 - tail } else { tail };
    if size < 0.5 { middle } else { far }
}

/// The normal distribution function at `-|x|`, over the density there times `sqrt(2 pi)`; and that exponential.
#[inline(always)]
fn normal_tail(x: f32) -> (f32, f32) {
    let size = x.abs();
    let scaled = 0.5 * erfc_scaled(size * std::f32::consts::FRAC_1_SQRT_2);
    (scaled, exp_minus_square(size, 0.5))
}

/// `x` times the normal distribution function of `x`, accurate in the negative tail.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    let (scaled, exponential) = normal_tail(x);
    let tail = scaled * exponential;
    let share = if x < 0.0 { tail } else { 1.0 - tail };
    // Minus infinity has no share of itself: its value is the limit, -0.
    let x = if x < -16.0 { -16.0 } else { x };
    x * share
}

/// The slope of [`gelu`].
#[inline(always)]
pub fn gelu_slope(x: f32) -> f32 {
    let (scaled, exponential) = normal_tail(x);
    let bounded = if x > 16.0 { 16.0 } else { x };
    let bounded = if bounded < -16.0 { -16.0 } else { bounded };
    let below = exponential * bounded.mul_add(FRAC_1_SQRT_2PI, scaled);
    let density = FRAC_1_SQRT_2PI * exponential;
    let above = bounded.mul_add(density, 1.0 - scaled * exponential);
    if x < 0.0 { below } else { above }
}

/// `x * sigmoid(x)`.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    // Below -104 the sigmoid is 0: stay at the limit, -0, for minus infinity too.
    let bounded = if x < -128.0 { -128.0 } else { x };
    bounded * sigmoid(x)
}

/// The slope of [`silu`].
#[inline(always)]
pub fn silu_slope(x: f32) -> f32 {
    let bounded = if x < -128.0 { -128.0 } else { x };
    let bounded = if bounded > 128.0 { 128.0 } else { bounded };
    let t = exp(-bounded.abs());
    let (above, below) = (1.0 / (1.0 + t), t / (1.0 + t));
    let (share, rest) = if bounded < 0.0 { (below, above) } else { (above, below) };
    share * bounded.mul_add(rest, 1.0)
}

/// Replaces every value by `f` of it, vectorised for this CPU. `f` must be inlined to gain from that.
#[inline]
pub fn map(values: &mut [f32], f: impl Fn(f32) -> f32) {
    struct Map<'a, F>(&'a mut [f32], F);

    impl<F: Fn(f32) -> f32> WithSimd for Map<'_, F> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            for value in self.0 {
                *value = (self.1)(*value);
            }
        }
    }

    Arch::new().dispatch(Map(values, f));
}

/// Replaces every value `a` by `f(a, b)` with the value `b` at the same place of `other`, vectorised for this CPU.
#[inline]
pub fn zip(values: &mut [f32], other: &[f32], f: impl Fn(f32, f32) -> f32) {
    struct Zip<'a, F>(&'a mut [f32], &'a [f32], F);

    impl<F: Fn(f32, f32) -> f32> WithSimd for Zip<'_, F> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            for (value, &other) in self.0.iter_mut().zip(self.1) {
                *value = (self.2)(*value, other);
            }
        }
    }

    assert_eq!(values.len(), other.len());
    Arch::new().dispatch(Zip(values, other, f));
}
