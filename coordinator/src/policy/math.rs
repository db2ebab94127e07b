//! A power and a cosine in `f64`, made of `+ - * /` alone, whose results IEEE 754 fixes: the same bits on every machine.
//!
//! Never calls a mathematical library, whose bits change with its version, and fuses nothing. Computed with about twice
//! the digits of an `f64` and rounded in the end, so that results are those nearest to the exact ones, but for rare near
//! ties: a rate is asked for once a step, and may take a microsecond. Series are those of Taylor, with as many terms as
//! leave an error below `2^-100`.

/// `base^(part / whole)`; infinite or 0 where no rate times it is a number of `f32` any more. `base` is above 0 and not
/// subnormal, `whole` above 0.
pub(super) fn power(base: f64, part: u64, whole: u64) -> f64 {
    exp(ratio(part, whole).times(ln(base)))
}

/// `(1 + cos(pi * part / whole)) / 2` for `part <= whole`: from 1 down to 0. As the square of a cosine, so that nothing
/// cancels near 0.
pub(super) fn raised_cosine(part: u64, whole: u64) -> f64 {
    let rest = whole - part;
    let root = if part <= rest {
        cosine(HALF_PI.times(ratio(part, whole)))
    } else {
        sine(HALF_PI.times(ratio(rest, whole)))
    };
    root.times(root).high
}

/// The exact sum of two numbers of which `high` is the one nearest to it: some 106 bits.
#[derive(Clone, Copy, Debug)]
struct Wide {
    high: f64,
    low: f64,
}

const ONE: Wide = Wide { high: 1.0, low: 0.0 };
const LN_2: Wide = Wide { high: std::f64::consts::LN_2, low: 2.319_046_813_846_299_6e-17 };
const HALF_PI: Wide = Wide { high: std::f64::consts::FRAC_PI_2, low: 6.123_233_995_736_766e-17 };

impl Wide {
    /// The exact sum (Knuth's).
    fn sum(a: f64, b: f64) -> Wide {
        let high = a + b;
        let of_b = high - a;
        Wide { high, low: (a - (high - of_b)) + (b - of_b) }
    }

    /// The exact product (Dekker's), far from overflow.
    fn product(a: f64, b: f64) -> Wide {
        // Halves of 26 bits, whose products are exact.
        let split = |value: f64| {
            let scaled = 134_217_729.0 * value;
            let high = scaled - (scaled - value);
            (high, value - high)
        };
        let ((a_high, a_low), (b_high, b_low)) = (split(a), split(b));
        let high = a * b;
        let low = ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low;
        Wide { high, low }
    }

    fn whole(number: u64) -> Wide {
        let high = number as f64;
        Wide { high, low: (i128::from(number) - high as i128) as f64 }
    }

    fn plus(self, other: Wide) -> Wide {
        let (high, low) = (Wide::sum(self.high, other.high), Wide::sum(self.low, other.low));
        let high = Wide::sum(high.high, high.low + low.high);
        Wide::sum(high.high, high.low + low.low)
    }

    fn minus(self, other: Wide) -> Wide {
        self.plus(Wide { high: -other.high, low: -other.low })
    }

    fn times(self, other: Wide) -> Wide {
        let Wide { high, low } = Wide::product(self.high, other.high);
        Wide::sum(high, low + (self.high * other.low + self.low * other.high))
    }

    /// By a number.
    fn scaled(self, factor: f64) -> Wide {
        self.times(Wide { high: factor, low: 0.0 })
    }

    /// As long division, three digits long.
    fn over(self, other: Wide) -> Wide {
        let first = self.high / other.high;
        let rest = self.minus(other.scaled(first));
        let second = rest.high / other.high;
        let third = rest.minus(other.scaled(second)).high / other.high;
        Wide::sum(first, second).plus(Wide { high: third, low: 0.0 })
    }
}

/// `part / whole`.
fn ratio(part: u64, whole: u64) -> Wide {
    Wide::whole(part).over(Wide::whole(whole))
}

/// The natural logarithm of a number above 0 that is not subnormal.
fn ln(x: f64) -> Wide {
    let bits = x.to_bits();
    let exponent = (bits >> 52) as i64 - 1023;
    let mantissa = f64::from_bits(bits & ((1 << 52) - 1) | (1023 << 52));
    let (exponent, mantissa) = match mantissa > std::f64::consts::SQRT_2 {
        true => (exponent + 1, mantissa / 2.0),
        false => (exponent, mantissa),
    };
    // 2 artanh(s) for |s| < 0.172; the difference is exact.
    let s = Wide { high: mantissa - 1.0, low: 0.0 }.over(Wide::sum(mantissa, 1.0));
    let square = s.times(s);
    let mut series = ratio(1, 2 * 22 + 1);
    for k in (0..22).rev() {
        series = series.times(square).plus(ratio(1, 2 * k + 1));
    }
    LN_2.scaled(exponent as f64).plus(s.times(series).scaled(2.0))
}

/// The exponential function, rounded; 0 or infinity from `exp(-700)` and `exp(700)` on: 10^304 or more away from 1, while
/// an `f32` above 0 lies between 10^-46 and 10^39.
fn exp(x: Wide) -> f64 {
    if x.high < -700.0 {
        return 0.0;
    }
    if x.high > 700.0 {
        return f64::INFINITY;
    }
    let quotient = x.high / LN_2.high;
    let exponent = (quotient + 0.5f64.copysign(quotient)) as i64;
    let rest = x.minus(LN_2.scaled(exponent as f64));
    let mut series = ONE;
    for k in (1..=25).rev() {
        series = series.times(rest).over(Wide::whole(k)).plus(ONE);
    }
    series.high * f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// For an angle up to `pi / 4`.
fn cosine(angle: Wide) -> Wide {
    alternating(angle.times(angle), 0)
}

/// For an angle up to `pi / 4`.
fn sine(angle: Wide) -> Wide {
    alternating(angle.times(angle), 1).times(angle)
}

/// `1 - square / ((f + 1) (f + 2)) + square^2 / ((f + 1) (f + 2) (f + 3) (f + 4)) - ...`, with `f` factors left out.
fn alternating(square: Wide, left_out: u64) -> Wide {
    let mut series = ONE;
    for k in (0..15).rev() {
        let factor = 2 * k + 1 + left_out;
        series = ONE.minus(series.times(square).over(Wide::whole(factor * (factor + 1))));
    }
    series
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

    use super::*;

    /// The `f64` nearest to values of 60 digits (mpmath's).
    #[test]
    fn powers_are_the_nearest_there_are() {
        let powers: [(f64, u64, u64, f64); 18] = [
            (0.96, 1, 1000, 0.999959178838686),
            (0.96, 1, 1, 0.96),
            (0.96, 12345, 1000, 0.6041410859269235),
            (0.5, 1, 2, FRAC_1_SQRT_2),
            (0.5, 10, 10, 0.5),
            (0.9, 333, 7, 0.006656574641264928),
            (0.1, 3, 1, 0.0010000000000000002),
            (0.999, 100000, 1, 3.5385276883431275e-44),
            (1e-30, 1, 3, 1e-10),
            (1.1, 1000, 3, 62742485562337.68),
            (3.0, 1, 1, 3.0),
            (2.5, 700, 11, 2.1059841452715583e25),
            (FRAC_1_SQRT_2, 9, 2, 0.2102241038134287),
            (SQRT_2, 5, 3, 1.7817974362806788),
            (0.99, 9007199254740993, 1000000000000000, 0.9134511524001154),
            (1e30, 9, 1, 1.0000000000000002e270),
            (1.0, 5, 3, 1.0),
            (0.96, 0, 7, 1.0),
        ];
        for (base, part, whole, wanted) in powers {
            let found = power(base, part, whole);
            assert_eq!(found.to_bits(), wanted.to_bits(), "{base}^({part} / {whole}): {found}");
        }
        for (base, part, wanted) in
            [(0.5, 5000, 0.0), (0.1, u64::MAX, 0.0), (2.0, 5000, f64::INFINITY)]
        {
            assert_eq!(power(base, part, 1), wanted);
        }
    }

    /// The same.
    #[test]
    fn cosines_are_the_nearest_there_are() {
        let cosines: [(u64, u64, f64); 18] = [
            (0, 1, 1.0),
            (1, 1, 0.0),
            (1, 2, 0.5),
            (1, 1000, 0.999997532600929),
            (250, 1000, 0.8535533905932737),
            (333, 1000, 0.750453312680355),
            (499, 1000, 0.5015707937429398),
            (500, 1000, 0.5),
            (501, 1000, 0.4984292062570602),
            (999, 1000, 2.467399070916944e-06),
            (1, 4000, 0.9999998457874392),
            (3999, 4000, 1.5421256083984926e-07),
            (1, 3, 0.75),
            (2, 3, 0.25),
            (1, 1000000007, 1.0),
            (1000000006, 1000000007, 2.4674010657287245e-18),
            (123456789, 9007199254740993, 0.9999999999999996),
            (9007199254740992, 9007199254740993, 3.0413066648502467e-32),
        ];
        for (part, whole, wanted) in cosines {
            let found = raised_cosine(part, whole);
            assert_eq!(found.to_bits(), wanted.to_bits(), "{part} / {whole}: {found}");
        }
    }

    #[test]
    fn steps_beyond_those_of_f64_are_exact() {
        let wide = Wide::whole(u64::MAX);
        assert_eq!((wide.high, wide.low), (18_446_744_073_709_551_616.0, -1.0));
        let third = ratio(1, 3);
        assert_eq!(third.high, 1.0 / 3.0);
        assert!((third.low - 1.850_371_707_708_594e-17).abs() < 1e-31, "{third:?}");
    }
}
