//! An input's parts: a line of choices, then the bytes of one file or of two.
//!
//! The line keeps seeds readable, and lets the fuzzer vary settings as it varies the file. Every line is valid.

use std::iter::Copied;
use std::slice::Iter;

/// What stands between two files.
pub(crate) const SEPARATOR: &[u8] = b"\n----\n";

/// Settings, one byte each: `0` is the first of those to choose from, and so is what is not there.
pub(crate) struct Choices<'a>(Copied<Iter<'a, u8>>);

impl Choices<'_> {
    /// The next choice.
    pub(crate) fn of<T: Copy>(&mut self, from: &[T]) -> T {
        let byte = self.0.next().unwrap_or(b'0').wrapping_sub(b'0');
        from[usize::from(byte) % from.len()]
    }
}

/// The choices of the first line, and what is below it.
pub(crate) fn split(data: &[u8]) -> (Choices<'_>, &[u8]) {
    let (line, rest) = match data.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (&[][..], data),
    };
    (Choices(line.iter().copied()), rest)
}

/// Two files; the second is empty where nothing separates them.
pub(crate) fn two_files(data: &[u8]) -> (&[u8], &[u8]) {
    let is_separator = |window: &[u8]| window == SEPARATOR;
    match data.windows(SEPARATOR.len()).position(is_separator) {
        Some(at) => (&data[..at], &data[at + SEPARATOR.len()..]),
        None => (data, &[]),
    }
}

/// The bytes as gzip packs them.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).expect("memory is writable");
    packed.finish().expect("memory is writable")
}
