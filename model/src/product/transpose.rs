//! Small tiles turned around in registers: lines into columns.

use pulp::Simd;

/// Lines and places of a tile.
pub(crate) const TILE: usize = 8;

/// `out[i][j] = tile[j][i]`.
#[inline(always)]
pub(crate) fn transpose<S: Simd>(_simd: S, tile: [[f32; TILE]; TILE]) -> [[f32; TILE]; TILE] {
    #[cfg(target_arch = "x86_64")]
    {
        use std::any::Any;
        // Known when this is compiled for its vectors.
        let simd: &dyn Any = &_simd;
        let v4 = simd.downcast_ref::<pulp::x86::V4>().map(|v4| **v4);
        if let Some(v3) = v4.or_else(|| simd.downcast_ref::<pulp::x86::V3>().copied()) {
            return in_vectors(v3, tile);
        }
    }
    let mut out = [[0.0; TILE]; TILE];
    for (i, line) in out.iter_mut().enumerate() {
        for (j, value) in line.iter_mut().enumerate() {
            *value = tile[j][i];
        }
    }
    out
}

/// Pairs of values, then pairs of pairs inside half vectors, then halves.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn in_vectors(v3: pulp::x86::V3, tile: [[f32; TILE]; TILE]) -> [[f32; TILE]; TILE] {
    use std::arch::x86_64::__m256;
    let avx = v3.avx;
    let lines: [__m256; TILE] = pulp::bytemuck::cast(tile);
    let (mut pairs, mut fours, mut out) = (lines, lines, lines);
    for i in [0, 2, 4, 6] {
        pairs[i] = avx._mm256_unpacklo_ps(lines[i], lines[i + 1]);
        pairs[i + 1] = avx._mm256_unpackhi_ps(lines[i], lines[i + 1]);
    }
    for i in [0, 4] {
        fours[i] = avx._mm256_shuffle_ps::<0x44>(pairs[i], pairs[i + 2]);
        fours[i + 1] = avx._mm256_shuffle_ps::<0xee>(pairs[i], pairs[i + 2]);
        fours[i + 2] = avx._mm256_shuffle_ps::<0x44>(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = avx._mm256_shuffle_ps::<0xee>(pairs[i + 1], pairs[i + 3]);
    }
    for i in 0..4 {
        out[i] = avx._mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
        out[i + 4] = avx._mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
    }
    pulp::bytemuck::cast(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, Scalar, WithSimd};

    struct Turned([[f32; TILE]; TILE]);

    impl WithSimd for Turned {
        type Output = [[f32; TILE]; TILE];

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            transpose(simd, self.0)
        }
    }

    #[test]
    fn lines_become_columns() {
        let tile: [[f32; TILE]; TILE] =
            std::array::from_fn(|i| std::array::from_fn(|j| (i * 100 + j) as f32));
        let want: [[f32; TILE]; TILE] =
            std::array::from_fn(|i| std::array::from_fn(|j| (j * 100 + i) as f32));
        assert_eq!(Arch::new().dispatch(Turned(tile)), want);
        assert_eq!(Turned(tile).with_simd(Scalar), want);
        #[cfg(target_arch = "x86_64")]
        if let Some(v3) = pulp::x86::V3::try_new() {
            assert_eq!(in_vectors(v3, tile), want);
        }
    }
}
