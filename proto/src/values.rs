//! `f32` slices to little-endian frames and back, and how precise the values of gradients and weights are on their
//! way. The only place that knows the byte order.

use bytes::Bytes;

use crate::bf16;
use crate::buffer::Buffer;

/// How precise gradient sums and weights are on the wire. Part of what determines the numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As they are computed.
    #[default]
    F32,
    /// Rounded to bfloat16: the sum at every node of the tree, leaves included, and the weights that workers see.
    Bf16,
}

impl Precision {
    /// As in a job.
    pub const NAMES: &'static [&'static str] = &["f32", "bf16"];

    /// By its name in a job.
    pub fn from_name(name: &str) -> Option<Precision> {
        [Precision::F32, Precision::Bf16].into_iter().find(|precision| precision.name() == name)
    }

    /// Its name in a job.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }

    /// Bytes of one value in a frame.
    pub const fn width(self) -> usize {
        match self {
            Precision::F32 => size_of::<f32>(),
            Precision::Bf16 => size_of::<u16>(),
        }
    }

    /// Whether a frame holds exactly `len` values.
    pub fn holds(self, frame: &[u8], len: usize) -> bool {
        frame.len() == len * self.width()
    }

    /// The values as a frame, rounded.
    pub fn encode(self, values: &[f32]) -> Bytes {
        let mut frame = Buffer::new(values.len() * self.width());
        self.encode_into(values, &mut frame);
        frame.into_bytes()
    }

    /// [`encode`](Self::encode) into memory of exactly the frame's length.
    ///
    /// # Panics
    /// If it is of another length.
    #[inline(always)]
    pub fn encode_into(self, values: &[f32], frame: &mut [u8]) {
        assert!(
            self.holds(frame, values.len()),
            "{} values for {} bytes",
            values.len(),
            frame.len()
        );
        match self {
            Precision::F32 => write(values, frame, f32::to_le_bytes),
            Precision::Bf16 => write(values, frame, |value| bf16::from_f32(value).to_le_bytes()),
        }
    }

    /// The values, and others behind them, as one frame, rounded.
    pub fn encode_joined(self, values: [&[f32]; 2]) -> Bytes {
        let mut frame = Buffer::new(values.map(<[f32]>::len).iter().sum::<usize>() * self.width());
        self.encode_joined_into(values, &mut frame);
        frame.into_bytes()
    }

    /// Writes values, and others behind them, rounded, as a frame.
    ///
    /// # Panics
    /// If it is of another length.
    pub fn encode_joined_into(self, [first, second]: [&[f32]; 2], frame: &mut [u8]) {
        let (before, behind) = frame.split_at_mut(first.len() * self.width());
        self.encode_into(first, before);
        self.encode_into(second, behind);
    }

    /// Copies a frame of exactly `into.len()` values.
    ///
    /// # Panics
    /// If the lengths differ; frames are checked when they arrive.
    #[inline(always)]
    pub fn copy(self, frame: &[u8], into: &mut [f32]) {
        match self {
            Precision::F32 => read(frame, into, f32::from_le_bytes, |_, value| value),
            Precision::Bf16 => read(frame, into, bf16_from_bytes, |_, value| value),
        }
    }

    /// The bytes of values, if those of a frame are the same.
    pub fn bytes_of(self, values: &mut [f32]) -> Option<&mut [u8]> {
        let is_alike = self == Precision::F32 && cfg!(target_endian = "little");
        is_alike.then(|| bytemuck::cast_slice_mut(values))
    }

    /// Merges two children of a node, one of them a frame of exactly `sums.len()` values: adds and rounds.
    ///
    /// # Panics
    /// If the lengths differ; frames are checked when they arrive.
    #[inline(always)]
    pub fn merge_frame(self, frame: &[u8], sums: &mut [f32]) {
        match self {
            Precision::F32 => read(frame, sums, f32::from_le_bytes, |sum, value| sum + value),
            Precision::Bf16 => {
                read(frame, sums, bf16_from_bytes, |sum, value| bf16::round(sum + value));
            }
        }
    }

    /// Merges two children of a node: adds and rounds.
    #[inline(always)]
    pub fn merge(self, values: &[f32], sums: &mut [f32]) {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
        self.round(sums);
    }

    /// Rounds each value to one that a frame can hold.
    #[inline(always)]
    pub fn round(self, values: &mut [f32]) {
        match self {
            Precision::F32 => {}
            Precision::Bf16 => values.iter_mut().for_each(|value| *value = bf16::round(*value)),
        }
    }

    /// Whether a frame of whole values holds none that is infinite or not a number.
    pub fn frame_is_finite(self, frame: &[u8]) -> bool {
        match self {
            Precision::F32 => {
                finite(frame.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)))
            }
            Precision::Bf16 => {
                let bits = frame.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
                bits.fold(0, |carries, bits| carries | ((bits & 0x7f80) + 0x0080)) < 0x8000
            }
        }
    }

    /// Whether a frame of whole values holds none with a minus.
    pub fn frame_has_no_sign(self, frame: &[u8]) -> bool {
        let signs = match self {
            Precision::F32 => frame.as_chunks::<4>().0.iter().fold(0, |or, bytes| or | bytes[3]),
            Precision::Bf16 => frame.as_chunks::<2>().0.iter().fold(0, |or, bytes| or | bytes[1]),
        };
        signs & 0x80 == 0
    }

    /// Whether no value is infinite or not a number, or becomes so by rounding.
    #[inline(always)]
    pub fn can_hold(self, values: &[f32]) -> bool {
        match self {
            Precision::F32 => all_finite(values),
            Precision::Bf16 => finite(values.iter().map(|value| bf16::round(*value).to_bits())),
        }
    }
}

/// A copy of a frame.
pub fn frame_of(bytes: &[u8]) -> Bytes {
    let mut frame = Buffer::new(bytes.len());
    frame.copy_from_slice(bytes);
    frame.into_bytes()
}

/// Values of rows and of files as a frame: always `f32`.
pub fn encode(values: &[f32]) -> Bytes {
    Precision::F32.encode(values)
}

/// Copies an `f32` frame of exactly `into.len()` values.
///
/// # Panics
/// If the lengths differ.
pub fn copy(frame: &[u8], into: &mut [f32]) {
    Precision::F32.copy(frame, into);
}

/// The values of an `f32` frame, if it holds whole ones.
pub fn decode(frame: &[u8]) -> Option<Vec<f32>> {
    let (values, rest) = frame.as_chunks();
    rest.is_empty().then(|| values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// Whether no value is infinite or not a number.
#[inline(always)]
pub fn all_finite(values: &[f32]) -> bool {
    finite(values.iter().map(|value| value.to_bits()))
}

/// An exponent of ones, and no other, carries into the sign's place. No early exit and nothing but and, add and or: the
/// loop vectorises anywhere.
#[inline(always)]
fn finite(bits: impl Iterator<Item = u32>) -> bool {
    bits.fold(0, |carries, bits| carries | ((bits & 0x7f80_0000) + 0x0080_0000)) < 0x8000_0000
}

#[inline(always)]
fn bf16_from_bytes(bytes: [u8; 2]) -> f32 {
    bf16::to_f32(u16::from_le_bytes(bytes))
}

#[inline(always)]
fn write<const WIDTH: usize>(
    values: &[f32],
    frame: &mut [u8],
    to_bytes: impl Fn(f32) -> [u8; WIDTH],
) {
    for (bytes, value) in frame.as_chunks_mut().0.iter_mut().zip(values) {
        *bytes = to_bytes(*value);
    }
}

/// Replaces each value by what comes of it and the frame's.
#[inline(always)]
fn read<const WIDTH: usize>(
    frame: &[u8],
    into: &mut [f32],
    from_bytes: impl Fn([u8; WIDTH]) -> f32,
    with: impl Fn(f32, f32) -> f32,
) {
    let (values, len) = (frame.as_chunks().0, into.len());
    assert!(frame.len() == len * WIDTH, "a frame of {} bytes for {len} values", frame.len());
    for (into, bytes) in into.iter_mut().zip(values) {
        *into = with(*into, from_bytes(*bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_frames_keep_every_bit() {
        let values = [0.0, -0.0, 1.5, f32::MIN_POSITIVE / 2.0, f32::INFINITY, -3.25e30];
        let frame = encode(&values);
        assert_eq!(&frame[8..12], &[0, 0, 0xc0, 0x3f]);
        let mut copied = [9.0; 6];
        copy(&frame, &mut copied);
        assert_eq!(copied.map(f32::to_bits), values.map(f32::to_bits));
        Precision::F32.merge_frame(&frame, &mut copied);
        assert_eq!(copied[2], 3.0);
        assert_eq!(decode(&frame).unwrap()[5], -3.25e30);
        assert!(decode(&frame[..7]).is_none());
    }

    #[test]
    fn bf16_frames_hold_what_was_rounded() {
        let precision = Precision::Bf16;
        let mut values: Vec<f32> = (-40..40).map(|i| i as f32 / 7.0).chain([-0.0, 1e-40]).collect();
        let frame = precision.encode(&values);
        assert_eq!(&precision.encode(&[1.5])[..], &[0xc0, 0x3f]);
        assert!(precision.holds(&frame, 82) && !precision.holds(&frame, 41));
        let mut copied = vec![9.0; 82];
        precision.copy(&frame, &mut copied);
        precision.round(&mut values);
        assert!(values.iter().zip(&copied).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert_eq!(precision.encode(&values), frame, "rounding again changes nothing");

        let other: Vec<f32> = values.iter().map(|value| bf16::round(value * 0.3 + 0.01)).collect();
        let wanted: Vec<u32> =
            values.iter().zip(&other).map(|(a, b)| bf16::round(a + b).to_bits()).collect();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let mut sums = other.clone();
        precision.merge_frame(&frame, &mut sums);
        assert_eq!(bits(&sums), wanted);
        precision.merge(&other, &mut values);
        assert_eq!(bits(&values), wanted);
    }

    #[test]
    #[should_panic(expected = "a frame of 8 bytes for 2 values")]
    fn a_frame_of_another_precision() {
        Precision::Bf16.copy(&encode(&[1.0, 2.0]), &mut [0.0; 2]);
    }

    #[test]
    fn one_value_anywhere_is_found() {
        let largest = bf16::to_f32(0x7f7f);
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for (precision, at) in [Precision::F32, Precision::Bf16]
                .into_iter()
                .flat_map(|p| (0..37).map(move |i| (p, i)))
            {
                let mut values = vec![-largest; 37];
                let is_finite = |values: &[f32]| {
                    let found = precision.frame_is_finite(&precision.encode(values));
                    assert_eq!(found, precision.can_hold(values));
                    assert_eq!(found, all_finite(values));
                    found
                };
                assert!(is_finite(&values));
                values[at] = bad;
                assert!(!is_finite(&values), "{bad} at {at}, {precision:?}");
            }
        }
        for precision in [Precision::F32, Precision::Bf16] {
            assert!(precision.can_hold(&[]) && precision.frame_is_finite(&[]));
        }
    }

    #[test]
    fn one_minus_anywhere_is_found() {
        for precision in [Precision::F32, Precision::Bf16] {
            assert!(precision.frame_has_no_sign(&[]));
            for at in 0..37 {
                let mut values = vec![f32::MAX / 2.0; 37];
                assert!(precision.frame_has_no_sign(&precision.encode(&values)));
                for minus in [-0.0, -1e-45, -1.0, f32::MIN / 2.0] {
                    values[at] = minus;
                    let frame = precision.encode_joined([&values[..20], &values[20..]]);
                    assert_eq!(frame, precision.encode(&values));
                    assert!(!precision.frame_has_no_sign(&frame), "{minus} at {at}");
                }
            }
        }
    }

    #[test]
    fn rounding_that_overflows_is_found() {
        let values = [1.0, f32::MAX];
        assert!(Precision::F32.can_hold(&values) && !Precision::Bf16.can_hold(&values));
        assert!(!Precision::Bf16.frame_is_finite(&Precision::Bf16.encode(&values)));
        // Two that can be held, and their sum in f32, but not rounded.
        let (most, least) = (bf16::to_f32(0x7f7f), bf16::to_f32(0x7b00));
        let mut sums = [most];
        assert!(all_finite(&[most + least]));
        Precision::Bf16.merge(&[least], &mut sums);
        assert_eq!(sums, [f32::INFINITY]);
    }

    #[test]
    fn names() {
        for &name in Precision::NAMES {
            assert_eq!(Precision::from_name(name).unwrap().name(), name);
        }
        assert_eq!(Precision::from_name("f16"), None);
        assert_eq!(Precision::default().name(), "f32");
    }
}
