//! Which bits this thread makes: found out at run time by computing, not by asking for features.
//!
//! A run pins its profile. A machine with another one cannot take part, because its gradients would differ. Neither can a
//! process in which something has switched off subnormal numbers or rounding to nearest, which holds for a thread
//! and those that it starts: every thread that computes is asked.

use lockstep_proto::arithmetic::{Deviation, deviation};
use ndarray::{Array2, ArrayView2};

use crate::product::{CHAIN, multiply};

/// The profile that runs are made in: `f32` products as chains of at most 256 fused multiply-adds.
pub const NUMERIC_PROFILE: &str = "f32-fma-k256";

/// What any other machine or thread gives. No run is made in them.
const OTHER_PROFILE: &str = "other";
const FLUSH_TO_ZERO: &str = "f32-fma-k256 with flush-to-zero";
const DENORMALS_ARE_ZERO: &str = "f32-fma-k256 with denormals-are-zero";
const NO_SUBNORMALS: &str = "f32-fma-k256 with flush-to-zero and denormals-are-zero";
const ROUNDING: &str = "f32-fma-k256 in another rounding mode";

/// The profile of this thread: [`NUMERIC_PROFILE`] if it rounds as IEEE 754 does by default and its matrix products have
/// exactly those bits.
pub fn numeric_profile() -> &'static str {
    match deviation() {
        None => {}
        Some(Deviation::FlushToZero) => return FLUSH_TO_ZERO,
        Some(Deviation::DenormalsAreZero) => return DENORMALS_ARE_ZERO,
        Some(Deviation::NoSubnormals) => return NO_SUBNORMALS,
        Some(Deviation::Rounding) => return ROUNDING,
    }
    const SHAPES: [[usize; 3]; 7] = [
        [1, 7, 1],
        [1, 300, 17],
        [9, 64, 33],
        [16, 256, 5],
        [17, 257, 5],
        [3, 600, 17],
        [40, 30, 2],
    ];
    let fits = SHAPES.iter().all(|&shape| Layouts::ALL.into_iter().all(|l| product_fits(shape, l)));
    if fits { NUMERIC_PROFILE } else { OTHER_PROFILE }
}

/// Which operands of a product are transposed in memory.
#[derive(Clone, Copy, Debug)]
struct Layouts {
    a: bool,
    b: bool,
}

impl Layouts {
    /// Forward, gradient and backward products.
    const ALL: [Layouts; 3] = [
        Layouts { a: false, b: false },
        Layouts { a: true, b: false },
        Layouts { a: false, b: true },
    ];
}

/// Whether the kernel's product of this shape has the bits of the naive loop.
fn product_fits([m, k, n]: [usize; 3], layouts: Layouts) -> bool {
    let a = operand(m, k, layouts.a, 1);
    let b = operand(k, n, layouts.b, 2);
    let mut got = Array2::from_elem((m, n), f32::NAN);
    multiply(a.view(), b.view(), got.view_mut());
    let want = naive(a.view(), b.view());
    got.iter().zip(&want).all(|(got, want)| got.to_bits() == want.to_bits())
}

/// The definition of a product.
fn naive(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Array2<f32> {
    let rows: Vec<Vec<f32>> = a.rows().into_iter().map(|row| row.to_vec()).collect();
    let columns: Vec<Vec<f32>> = b.columns().into_iter().map(|column| column.to_vec()).collect();
    Array2::from_shape_fn((rows.len(), columns.len()), |(i, j)| {
        let blocks = rows[i].chunks(CHAIN).zip(columns[j].chunks(CHAIN));
        let chains = blocks
            .map(|(a, b)| a.iter().zip(b).fold(0.0f32, |chain, (&a, &b)| a.mul_add(b, chain)));
        chains.reduce(|sum, chain| sum + chain).unwrap_or(0.0)
    })
}

/// Numbers of both signs and many exponents, the same on every machine.
fn operand(rows: usize, columns: usize, transposed: bool, seed: u32) -> Array2<f32> {
    let value = |i: usize, j: usize| {
        let mut bits = (i as u32).wrapping_mul(0x9e37_79b9) ^ (j as u32).wrapping_mul(0x85eb_ca6b);
        bits = (bits ^ seed).wrapping_mul(0xc2b2_ae35);
        bits ^= bits >> 15;
        bits = bits.wrapping_mul(0x2c1b_3c6d);
        bits ^= bits >> 12;
        let exponent = 120 + (bits >> 24) % 12;
        f32::from_bits((bits & 0x807f_ffff) | (exponent << 23))
    };
    if transposed {
        Array2::from_shape_fn((columns, rows), |(j, i)| value(i, j)).reversed_axes()
    } else {
        Array2::from_shape_fn((rows, columns), |(i, j)| value(i, j))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_keeps_the_profile() {
        assert_eq!(numeric_profile(), NUMERIC_PROFILE);
    }

    /// Flags of the control register as a library may leave them.
    #[test]
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    fn a_thread_without_subnormals_has_another_profile() {
        let (flush, ignore, down) = (1 << 15, 1 << 6, 1 << 13);
        for (flags, wanted) in [
            (0, NUMERIC_PROFILE),
            (flush, FLUSH_TO_ZERO),
            (ignore, DENORMALS_ARE_ZERO),
            (flush | ignore, NO_SUBNORMALS),
            (down, ROUNDING),
        ] {
            let found = std::thread::spawn(move || {
                let control: u32 = 0x1f80 | flags;
                // SAFETY: it is loaded from a live variable, and holds for this thread alone.
                unsafe {
                    let control = &raw const control;
                    std::arch::asm!("ldmxcsr [{}]", in(reg) control, options(nostack, readonly));
                }
                numeric_profile()
            });
            assert_eq!(found.join().unwrap(), wanted, "{flags:#x}");
        }
    }

    /// The kernel's bits are those of the naive loop for every product that a network makes.
    #[test]
    fn kernel_is_the_naive_loop() {
        let mut shapes = vec![[3, 10, 1100], [300, 300, 3], [130, 20, 40]];
        for m in [1, 2, 5, 14, 16, 17, 28, 65] {
            for k in [1, 2, 13, 255, 256, 257, 513] {
                shapes.extend([1, 2, 10, 16, 33, 64].map(|n| [m, k, n]));
            }
        }
        for shape in shapes {
            for layouts in Layouts::ALL {
                assert!(product_fits(shape, layouts), "{shape:?}, {layouts:?}");
            }
        }
    }
}
