//! bfloat16: the upper half of an `f32`'s bits, so its range with 8 bits of precision.
//!
//! Rounds to nearest, ties to even, without a branch, so that loops over it become vector instructions. What is too
//! large becomes infinite, what is not a number stays so; nothing else is treated apart, subnormal numbers neither.
//! Knows no byte order: see [`crate::values`].

/// The nearest bfloat16, as its bits.
#[inline(always)]
pub fn from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    // Rounding could carry out of the fraction, and cutting could leave none of it: a quiet one is safe from both.
    let not_a_number = bits | 0x0040_0000;
    let bits = if value.is_nan() { not_a_number } else { rounded };
    (bits >> 16) as u16
}

/// The value of a bfloat16's bits; exact.
#[inline(always)]
pub fn to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The nearest value that a bfloat16 can have.
#[inline(always)]
pub fn round(value: f32) -> f32 {
    to_f32(from_f32(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_even() {
        // 1 + 2^-8 and 1 + 3 * 2^-8 lie in the middle between two.
        for (value, wanted) in [
            (1.0, 1.0),
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 1.1 / 256.0, 1.0 + 1.0 / 128.0),
            (1.0 + 3.0 / 256.0, 1.0 + 2.0 / 128.0),
            (1.0 + 2.9 / 256.0, 1.0 + 1.0 / 128.0),
            (255.5, 256.0),
            (3.140_625, 3.140_625),
        ] {
            assert_eq!(round(value).to_bits(), f32::to_bits(wanted), "{value}");
            assert_eq!(round(-value).to_bits(), f32::to_bits(-wanted), "-{value}");
        }
    }

    #[test]
    fn what_is_too_large_becomes_infinite() {
        let largest = to_f32(0x7f7f);
        let tie = f32::from_bits(0x7f7f_8000);
        assert_eq!(round(f32::from_bits(tie.to_bits() - 1)), largest);
        for value in [tie, f32::MAX, f32::INFINITY] {
            assert_eq!(round(value), f32::INFINITY);
            assert_eq!(round(-value), f32::NEG_INFINITY);
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        for bits in [0x7f80_0001, 0x7fc0_0000, 0x7fff_ffff, 0xff80_0001, 0xffff_8000, u32::MAX] {
            let rounded = round(f32::from_bits(bits));
            assert!(rounded.is_nan(), "{bits:x}");
            assert_eq!(rounded.to_bits() >> 31, bits >> 31, "{bits:x}");
        }
    }

    #[test]
    fn zeros_and_subnormal_numbers() {
        for (bits, wanted) in [
            (0, 0),
            (0x8000_0000, 0x8000),
            (1, 0),
            (0x8000, 0),
            (0x8001, 1),
            (0x8000_8001, 0x8001),
            (0x0001_8000, 2),
            // The largest subnormal number becomes the least normal one.
            (0x007f_ffff, 0x0080),
        ] {
            assert_eq!(from_f32(f32::from_bits(bits)), wanted, "{bits:x}");
        }
    }

    /// Against the definition in `f64`, where distances are exact: of the two neighbours the nearer, or the even one.
    #[test]
    fn the_nearest_of_both_neighbours() {
        let mut bits = 1u32;
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(0x915f_77f5).wrapping_add(0x9e37_79b9);
            let value = f32::from_bits(bits);
            let below = (bits >> 16) as u16;
            if !value.is_finite() || below & 0x7fff == 0x7f7f {
                continue;
            }
            let distance = |bits| (f64::from(to_f32(bits)) - f64::from(value)).abs();
            let (down, up) = (distance(below), distance(below + 1));
            let wanted =
                if down < up || down == up && below.is_multiple_of(2) { below } else { below + 1 };
            assert_eq!(from_f32(value), wanted, "{bits:x}");
            assert_eq!(from_f32(to_f32(wanted)), wanted, "rounding again changes nothing");
        }
    }
}
