//! Whether the calling thread rounds as IEEE 754 does by default: to nearest, subnormal numbers included.
//!
//! Both can be switched off for a thread and those that it starts, in its control register, and some libraries do so when
//! they are loaded (those built with `-ffast-math`). Found out by computing, not by reading registers, so that
//! it holds for every CPU. Changes nothing.

use std::fmt;
use std::hint::black_box;

/// How a thread's arithmetic differs from the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// Results that are subnormal become 0.
    FlushToZero,
    /// Subnormal operands count as 0.
    DenormalsAreZero,
    /// Both of them.
    NoSubnormals,
    /// Results are rounded to another side than to the nearest number.
    Rounding,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Deviation::FlushToZero => "flush-to-zero",
            Deviation::DenormalsAreZero => "denormals-are-zero",
            Deviation::NoSubnormals => "flush-to-zero and denormals-are-zero",
            Deviation::Rounding => "another rounding mode than to nearest",
        })
    }
}

/// How the arithmetic of this thread deviates, if it does.
pub fn deviation() -> Option<Deviation> {
    let (flushes, ignores) =
        (singles_flush() || doubles_flush(), singles_ignore() || doubles_ignore());
    match (flushes, ignores) {
        (true, true) => Some(Deviation::NoSubnormals),
        (true, false) => Some(Deviation::FlushToZero),
        (false, true) => Some(Deviation::DenormalsAreZero),
        (false, false) => (!singles_round() || !doubles_round()).then_some(Deviation::Rounding),
    }
}

/// A normal number times one half, of which the result is subnormal.
fn singles_flush() -> bool {
    (black_box(f32::MIN_POSITIVE) * black_box(0.5)).to_bits() != 1 << 22
}

fn doubles_flush() -> bool {
    (black_box(f64::MIN_POSITIVE) * black_box(0.5)).to_bits() != 1 << 51
}

/// A subnormal number times a power of two, of which the result is normal.
fn singles_ignore() -> bool {
    let (subnormal, power) = (f32::from_bits(1), f32::from_bits((127 + 100) << 23));
    (black_box(subnormal) * black_box(power)).to_bits() != (127 + 100 - 149) << 23
}

fn doubles_ignore() -> bool {
    let (subnormal, power) = (f64::from_bits(1), f64::from_bits((1023 + 1000) << 52));
    (black_box(subnormal) * black_box(power)).to_bits() != (1023 + 1000 - 1074) << 52
}

/// Halves of the last place: to the even neighbour, which is once towards zero and once away from it.
fn singles_round() -> bool {
    let half = black_box(f32::EPSILON / 2.0);
    let odd = 1.0 + f32::EPSILON;
    [1.0f32, -1.0].into_iter().all(|sign| {
        black_box(sign) + sign * half == sign
            && black_box(sign * odd) + sign * half == sign * (1.0 + 2.0 * f32::EPSILON)
    })
}

fn doubles_round() -> bool {
    let half = black_box(f64::EPSILON / 2.0);
    let odd = 1.0 + f64::EPSILON;
    [1.0f64, -1.0].into_iter().all(|sign| {
        black_box(sign) + sign * half == sign
            && black_box(sign * odd) + sign * half == sign * (1.0 + 2.0 * f64::EPSILON)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_thread_computes_as_by_default() {
        assert_eq!(deviation(), None);
    }

    /// What the control register can be set to, for a thread of its own.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn what_is_switched_off_is_found() {
        const FLUSH: u32 = 1 << 15;
        const IGNORE: u32 = 1 << 6;
        for (bits, wanted) in [
            (0, None),
            (FLUSH, Some(Deviation::FlushToZero)),
            (IGNORE, Some(Deviation::DenormalsAreZero)),
            (FLUSH | IGNORE, Some(Deviation::NoSubnormals)),
            (1 << 13, Some(Deviation::Rounding)),
            (2 << 13, Some(Deviation::Rounding)),
            (3 << 13, Some(Deviation::Rounding)),
        ] {
            let found = std::thread::spawn(move || {
                set(bits);
                // Threads begin as the one that starts them.
                let inherited = std::thread::spawn(deviation).join().unwrap();
                (deviation(), inherited)
            });
            assert_eq!(found.join().unwrap(), (wanted, wanted), "{bits:#x}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    fn set(bits: u32) {
        // All exceptions masked, as by default.
        let control = 0x1f80 | bits;
        // SAFETY: it is loaded from a live variable and holds for this thread alone, which compares a few numbers and
        // ends.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, readonly));
        }
    }
}
