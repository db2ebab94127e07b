//! Fewer bytes for the values of a chunk, without changing a bit of them: for links that are slower than this.
//!
//! What gradients and changes of weights have in common is that many values are zero and that the exponents of the others
//! are alike, while the rest of them is noise. A coded frame is: a bitmap of the values that are not zero; then of those, byte
//! by byte, the exponents of all, and the other bytes of all, most significant first. Each of these sections is compressed with
//! zstd, or stands as it is where that would not be shorter.
//!
//! | section | bytes |
//! | --- | --- |
//! | for each of bitmap and bytes: its length | 4, little-endian |
//! | what follows: as long as the section itself, or shorter and a zstd frame | as said |
//!
//! Weights are coded as what changed (exclusive or) from an earlier version that the receiver has. Whoever sends says which; this
//! file knows no versions, and trusts no frame: a coded one is decoded to exactly the length that it has to have, or not at all.

use std::cell::RefCell;

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

use crate::buffer::Buffer;
use crate::values::Precision;

/// The fastest level at which zstd still codes bytes by their frequency.
const LEVEL: i32 = 1;

/// Whether a section can be made shorter is tried on so many bytes of it.
const SAMPLE_BYTES: usize = 1 << 12;

/// A section that is to be compressed has to become shorter by this share.
const GAIN_MIN: f64 = 0.03;

/// Bytes of a value in bfloat16.
const WIDTH_BF16: usize = Precision::Bf16.width();

/// Bytes of a section's length.
const LENGTH_BYTES: usize = size_of::<u32>();

/// A coded frame that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("coded values that cannot be decoded: {0}")]
pub struct CodingError(&'static str);

/// Codes a frame of whole values, as what changed from `base`, a frame of the same length, if there is one. `None` if it would
/// not be shorter.
///
/// # Panics
/// If the base is of another length.
pub fn code(precision: Precision, frame: &[u8], base: Option<&[u8]>) -> Option<Bytes> {
    assert!(base.is_none_or(|base| base.len() == frame.len()), "a base of another length");
    CODER.with_borrow_mut(|coder| coder.code(precision.width(), frame, base))
}

/// Decodes into a frame of exactly the bytes that were coded.
///
/// # Errors
/// If it is no coded frame of so many bytes. What the frame holds then is of no meaning.
pub fn decode(
    precision: Precision,
    coded: &[u8],
    base: Option<&[u8]>,
    frame: &mut [u8],
) -> Result<(), CodingError> {
    if base.is_some_and(|base| base.len() != frame.len()) {
        return Err(CodingError("their base is of another length"));
    }
    CODER.with_borrow_mut(|coder| coder.decode(precision.width(), coded, base, frame))
}

/// [`decode`] into a frame of its own.
///
/// # Errors
/// As [`decode`].
pub fn decoded(precision: Precision, coded: &[u8], len: usize) -> Result<Bytes, CodingError> {
    let mut frame = Buffer::new(len);
    decode(precision, coded, None, &mut frame)?;
    Ok(frame.into_bytes())
}

thread_local! {
    static CODER: RefCell<Coder> = RefCell::default();
}

/// What is used again from one frame to the next.
#[derive(Default)]
struct Coder {
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
    /// By value: whether it is not zero. The first of a byte in its lowest bit.
    bitmap: Vec<u8>,
    /// The values that are not zero, with the sign moved to the lowest bit, so that the highest byte is the exponent.
    words: Vec<u32>,
    section: Vec<u8>,
    coded: Vec<u8>,
}

impl Coder {
    fn code(&mut self, width: usize, frame: &[u8], base: Option<&[u8]>) -> Option<Bytes> {
        match width {
            WIDTH_BF16 => {
                self.gather(frame, base, |bytes| u16::from_le_bytes(bytes).rotate_left(1).into());
            }
            _ => self.gather(frame, base, |bytes| u32::from_le_bytes(bytes).rotate_left(1)),
        }
        self.coded.clear();
        let mut section = std::mem::take(&mut self.bitmap);
        self.append(&section);
        self.bitmap = std::mem::take(&mut section);
        section = std::mem::take(&mut self.section);
        for byte in (0..width).rev() {
            section.clear();
            section.extend(self.words.iter().map(|word| (word >> (8 * byte)) as u8));
            self.append(&section);
        }
        self.section = section;
        (self.coded.len() < frame.len()).then(|| Bytes::copy_from_slice(&self.coded))
    }

    /// Notes which values are not zero, and keeps these.
    fn gather<const WIDTH: usize>(
        &mut self,
        frame: &[u8],
        base: Option<&[u8]>,
        word: impl Fn([u8; WIDTH]) -> u32,
    ) {
        let values = frame.as_chunks().0;
        let base = base.map(|base| base.as_chunks().0);
        self.bitmap.clear();
        self.words.resize(values.len(), 0);
        let mut count = 0;
        for (group, values) in values.chunks(8).enumerate() {
            let mut bits = 0;
            for (place, &value) in values.iter().enumerate() {
                let changed =
                    word(base.map_or(value, |base| changes(value, base[8 * group + place])));
                // A zero is written, too, and the next value over it.
                self.words[count] = changed;
                count += usize::from(changed != 0);
                bits |= u8::from(changed != 0) << place;
            }
            self.bitmap.push(bits);
        }
        self.words.truncate(count);
    }

    /// Appends a section behind its length: compressed, if that makes it shorter.
    fn append(&mut self, section: &[u8]) {
        let sample = &section[..section.len().min(SAMPLE_BYTES)];
        let pays = self.compressed(sample).is_some_and(|len| {
            self.coded.truncate(self.coded.len() - len);
            len as f64 <= (1.0 - GAIN_MIN) * sample.len() as f64
        });
        let start = self.coded.len();
        self.coded.extend([0; LENGTH_BYTES]);
        let len = if pays { self.compressed(section) } else { None }.unwrap_or_else(|| {
            self.coded.extend_from_slice(section);
            section.len()
        });
        self.coded[start..start + LENGTH_BYTES].copy_from_slice(&(len as u32).to_le_bytes());
    }

    /// Appends what a section is compressed to, if that is shorter. How many bytes that is.
    fn compressed(&mut self, section: &[u8]) -> Option<usize> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(LEVEL).ok()?),
        };
        let start = self.coded.len();
        self.coded.resize(start + section.len().saturating_sub(1), 0);
        // Fails where there is not enough room.
        let len = compressor.compress_to_buffer(section, &mut self.coded[start..]).ok();
        self.coded.truncate(start + len.unwrap_or(0));
        len
    }

    fn decode(
        &mut self,
        width: usize,
        coded: &[u8],
        base: Option<&[u8]>,
        frame: &mut [u8],
    ) -> Result<(), CodingError> {
        let values = frame.len() / width;
        let (mut rest, mut bitmap) = (coded, std::mem::take(&mut self.bitmap));
        let taken = self.take(&mut rest, values.div_ceil(8), &mut bitmap);
        self.bitmap = bitmap;
        taken?;
        let behind =
            self.bitmap.last().map_or(0, |last| u32::from(*last) >> (1 + (values + 7) % 8));
        if behind != 0 {
            return Err(CodingError("values behind the last"));
        }
        let count = self.bitmap.iter().map(|bits| bits.count_ones() as usize).sum();
        self.words.clear();
        self.words.resize(count, 0);
        let mut section = std::mem::take(&mut self.section);
        let taken = (0..width).try_for_each(|_| {
            self.take(&mut rest, count, &mut section)?;
            for (word, byte) in self.words.iter_mut().zip(&section) {
                *word = *word << 8 | u32::from(*byte);
            }
            Ok(())
        });
        self.section = section;
        taken?;
        if !rest.is_empty() {
            return Err(CodingError("bytes behind the last"));
        }
        match width {
            WIDTH_BF16 => {
                self.scatter(base, frame, |word| (word as u16).rotate_right(1).to_le_bytes());
            }
            _ => self.scatter(base, frame, |word| word.rotate_right(1).to_le_bytes()),
        }
        Ok(())
    }

    /// Takes the next section of so many bytes off the rest.
    fn take(
        &mut self,
        rest: &mut &[u8],
        len: usize,
        section: &mut Vec<u8>,
    ) -> Result<(), CodingError> {
        const CUT_SHORT: CodingError = CodingError("they are cut short");
        let (length, behind) = rest.split_first_chunk().ok_or(CUT_SHORT)?;
        let coded_len = u32::from_le_bytes(*length) as usize;
        let (coded, behind) = behind.split_at_checked(coded_len).ok_or(CUT_SHORT)?;
        *rest = behind;
        section.clear();
        if coded_len == len {
            section.extend_from_slice(coded);
            return Ok(());
        }
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(Decompressor::new().map_err(|_| CodingError("no memory"))?),
        };
        section.resize(len, 0);
        match decompressor.decompress_to_buffer(coded, &mut section[..]) {
            Ok(found) if found == len => Ok(()),
            _ => Err(CodingError("a section that is not what zstd makes of as many bytes")),
        }
    }

    /// Puts the values that are not zero back where they were.
    fn scatter<const WIDTH: usize>(
        &self,
        base: Option<&[u8]>,
        frame: &mut [u8],
        back: impl Fn(u32) -> [u8; WIDTH],
    ) {
        let base = base.map(|base| base.as_chunks().0);
        let mut words = self.words.iter();
        for (group, (values, bits)) in
            frame.as_chunks_mut().0.chunks_mut(8).zip(&self.bitmap).enumerate()
        {
            for (place, value) in values.iter_mut().enumerate() {
                let is_there = bits >> place & 1 == 1;
                let word = if is_there { words.next().copied().unwrap_or(0) } else { 0 };
                let changed = back(word);
                *value = base.map_or(changed, |base| changes(changed, base[8 * group + place]));
            }
        }
    }
}

/// What changed from one value to another; and, from the one or the other, the other.
#[inline(always)]
fn changes<const WIDTH: usize>(one: [u8; WIDTH], other: [u8; WIDTH]) -> [u8; WIDTH] {
    std::array::from_fn(|byte| one[byte] ^ other[byte])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Random};

    /// Values as in a gradient: a share of zeros, magnitudes over a few powers of two, any sign.
    fn values(count: usize, zeros: f64, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed, Purpose::Chaos, 0, 0);
        let mut value = || match random.unit_f64() < zeros {
            true => 0.0,
            false => ((random.unit_f64() - 0.5) * (-8.0 * random.unit_f64()).exp2()) as f32,
        };
        (0..count).map(|_| value()).collect()
    }

    fn round_trip(precision: Precision, frame: &[u8], base: Option<&[u8]>) -> Option<usize> {
        let coded = code(precision, frame, base)?;
        let mut found = vec![7; frame.len()];
        decode(precision, &coded, base, &mut found).unwrap();
        assert!(found == frame, "{precision:?}");
        Some(coded.len())
    }

    #[test]
    fn every_bit_comes_back() {
        let odd = [0.0, -0.0, f32::NAN, -f32::NAN, f32::INFINITY, 1e-40, -1e-40, f32::MAX];
        for precision in [Precision::F32, Precision::Bf16] {
            for count in [1024, 1025, 1031, 65_536] {
                for zeros in [0.0, 0.3, 1.0] {
                    let mut values = values(count, zeros, 1);
                    values[..8].copy_from_slice(&odd);
                    values[count - 8..].copy_from_slice(&odd);
                    let frame = precision.encode(&values);
                    let coded = round_trip(precision, &frame, None);
                    assert!(zeros == 0.0 || coded.is_some(), "{count} {zeros}");
                    let moved: Vec<f32> = values.iter().map(|value| value * 1.001).collect();
                    let moved = precision.encode(&moved);
                    round_trip(precision, &moved, Some(&frame)).unwrap();
                    assert!(round_trip(precision, &frame, Some(&frame)).unwrap() < 200);
                }
            }
        }
    }

    #[test]
    fn gradients_and_changes_become_shorter() {
        let (gradient, weights) = (values(65_536, 0.25, 2), values(65_536, 0.0, 3));
        let moved: Vec<f32> = weights.iter().map(|value| value + 0.001 * value.signum()).collect();
        for (precision, of_gradient, of_weights) in
            [(Precision::F32, 0.72, 0.76), (Precision::Bf16, 0.62, 0.55)]
        {
            let frame = precision.encode(&gradient);
            let [from, to] = [&weights, &moved].map(|values| precision.encode(values));
            let share = |coded: usize| coded as f64 / frame.len() as f64;
            let gradient = share(round_trip(precision, &frame, None).unwrap());
            let weights = share(round_trip(precision, &to, Some(&from)).unwrap());
            assert!(gradient < of_gradient && weights < of_weights, "{gradient} {weights}");
        }
    }

    #[test]
    fn what_would_not_be_shorter_stays() {
        let mut random = Random::new(1, Purpose::Chaos, 0, 0);
        let noise: Vec<u8> = (0..4096).map(|_| (256.0 * random.unit_f64()) as u8).collect();
        assert_eq!(code(Precision::F32, &noise, None), None);
        for few in [0, 1, 4] {
            assert_eq!(code(Precision::F32, &noise[..4 * few], None), None);
        }
    }

    #[test]
    fn altered_frames_decode_to_the_right_length_or_not_at_all() {
        let precision = Precision::F32;
        let mut values = values(2000, 0.2, 4);
        // A zero more or less at the end would be no difference.
        values[1999] = 1.0;
        let frame = precision.encode(&values);
        let coded = code(precision, &frame, None).unwrap();
        let decode = |coded: &[u8], len: usize| decoded(precision, coded, len);
        assert_eq!(decode(&coded, frame.len()).unwrap(), frame);
        for len in [0, 4, frame.len() - 4, frame.len() + 4, 10 * frame.len()] {
            assert!(decode(&coded, len).is_err(), "{len}");
        }
        for end in 0..coded.len() {
            assert!(decode(&coded[..end], frame.len()).is_err(), "{end}");
        }
        let longer = [&coded[..], &[0]].concat();
        assert_eq!(decode(&longer, frame.len()), Err(CodingError("bytes behind the last")));
        let mut altered = coded.to_vec();
        for at in 0..coded.len() {
            altered[at] ^= 0xff;
            if let Ok(found) = decode(&altered, frame.len()) {
                assert_eq!(found.len(), frame.len());
            }
            altered[at] ^= 0xff;
        }
        // A section that says it is as long as it is not: nothing is made of it before it is known how long it has to be.
        let bomb = zstd::bulk::compress(&vec![0; 1 << 20], LEVEL).unwrap();
        let bomb = [&(bomb.len() as u32).to_le_bytes(), &bomb[..]].concat();
        assert!(decode(&bomb, frame.len()).is_err());
        let other = vec![0; frame.len() + 4];
        assert!(super::decode(precision, &coded, Some(&other), &mut frame.to_vec()).is_err());
    }
}
