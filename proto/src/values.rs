//! `f32` slices to little-endian frames and back. The only place that knows the byte order.

use bytes::Bytes;

use crate::buffer::Buffer;

/// Bytes of one value.
const WIDTH: usize = size_of::<f32>();

/// The values as a frame.
pub fn encode(values: &[f32]) -> Bytes {
    let mut buffer = Buffer::new(values.len() * WIDTH);
    let bytes: &mut [u8] = &mut buffer;
    for (bytes, value) in bytes.as_chunks_mut::<WIDTH>().0.iter_mut().zip(values) {
        *bytes = value.to_le_bytes();
    }
    buffer.into_bytes()
}

/// Copies a frame of exactly `into.len()` values.
///
/// # Panics
/// If the lengths differ; frames are checked when they arrive.
pub fn copy(bytes: &[u8], into: &mut [f32]) {
    let len = into.len();
    for (into, value) in into.iter_mut().zip(decode_exact(bytes, len)) {
        *into = value;
    }
}

/// Adds a frame of exactly `into.len()` values, value by value.
///
/// # Panics
/// If the lengths differ; frames are checked when they arrive.
pub fn add(bytes: &[u8], into: &mut [f32]) {
    let len = into.len();
    for (into, value) in into.iter_mut().zip(decode_exact(bytes, len)) {
        *into += value;
    }
}

/// The values of a frame, if it holds whole ones.
pub fn decode(bytes: &[u8]) -> Option<Vec<f32>> {
    bytes.len().is_multiple_of(WIDTH).then(|| decode_exact(bytes, bytes.len() / WIDTH).collect())
}

/// Whether a frame holds exactly `len` values.
pub fn holds(bytes: &[u8], len: usize) -> bool {
    bytes.len() == len * WIDTH
}

/// Whether no value is infinite or not a number.
pub fn all_finite(values: &[f32]) -> bool {
    finite(values.iter().map(|value| value.to_bits()))
}

/// Whether a frame of whole values holds none that is infinite or not a number.
pub fn frame_is_finite(bytes: &[u8]) -> bool {
    finite(bytes.as_chunks::<WIDTH>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)))
}

/// One integer maximum over the bits without their signs. No early exit: the loop vectorises.
fn finite(bits: impl Iterator<Item = u32>) -> bool {
    bits.fold(0, |largest, bits| largest.max(bits & 0x7fff_ffff)) < f32::INFINITY.to_bits()
}

fn decode_exact(bytes: &[u8], len: usize) -> impl Iterator<Item = f32> {
    assert!(holds(bytes, len), "a frame of {} bytes for {len} values", bytes.len());
    bytes.as_chunks::<WIDTH>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_every_bit() {
        let values = [0.0, -0.0, 1.5, f32::MIN_POSITIVE / 2.0, f32::INFINITY, -3.25e30];
        let bytes = encode(&values);
        assert_eq!(&bytes[8..12], &[0, 0, 0xc0, 0x3f]);
        let mut copied = [9.0; 6];
        copy(&bytes, &mut copied);
        assert_eq!(copied.map(f32::to_bits), values.map(f32::to_bits));
        add(&bytes, &mut copied);
        assert_eq!(copied[2], 3.0);
        assert_eq!(decode(&bytes).unwrap()[5], -3.25e30);
        assert!(decode(&bytes[..7]).is_none());
    }

    #[test]
    fn one_value_anywhere_is_found() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in 0..37 {
                let mut values = vec![-f32::MAX; 37];
                assert!(all_finite(&values) && frame_is_finite(&encode(&values)));
                values[at] = bad;
                assert!(
                    !all_finite(&values) && !frame_is_finite(&encode(&values)),
                    "{bad} at {at}"
                );
            }
        }
        assert!(all_finite(&[]) && frame_is_finite(&[]));
    }
}
