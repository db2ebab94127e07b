//! How a file may be compressed, by its name and by how it begins, and what goes wrong while it is unpacked. Every format
//! may be compressed, so no format is known here. Believes no length that a header claims: what is unpacked is what is read.

use std::ffi::OsStr;
use std::io::{self, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::error::DataError;

/// Bytes that tell how a file is compressed.
const MAGIC_LEN: usize = 4;

/// Bytes of the compressed file that are read at once.
const BUFFER_LEN: usize = 1 << 16;

/// Largest window of a zstd file, as a power of two: what `zstd -d` takes without being told otherwise. A header that
/// asks for more memory is refused.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// No deflate stream is longer when unpacked than this many times its length.
pub(crate) const DEFLATE_RATIO_MAX: u64 = 1032;

/// A way to compress a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
}

impl Packing {
    const ALL: [Packing; 2] = [Packing::Gzip, Packing::Zstd];

    fn ending(self) -> &'static str {
        match self {
            Packing::Gzip => "gz",
            Packing::Zstd => "zst",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
        }
    }

    /// How a file that begins so is compressed.
    fn of_start(start: &[u8]) -> Option<Packing> {
        match *start {
            [0x1f, 0x8b, ..] => Some(Packing::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
            // A frame to skip, as `pzstd` and `zstd --adapt` put one first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Packing::Zstd),
            _ => None,
        }
    }

    /// How a file of this name is compressed, if its name says so.
    pub(crate) fn of_name(path: &Path) -> Option<Packing> {
        let ending = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
        Packing::ALL.into_iter().find(|packing| ending.as_deref() == Some(packing.ending()))
    }

    /// These bytes compressed, whole: what follows them is compressed by itself.
    pub(crate) fn pack(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Packing::Gzip => {
                let mut packed = GzEncoder::new(Vec::new(), Compression::default());
                packed.write_all(bytes)?;
                packed.finish()
            }
            Packing::Zstd => zstd::encode_all(bytes, zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }

    /// Unpacks what comes.
    fn unpack<'a>(self, from: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
        let from = BufReader::with_capacity(BUFFER_LEN, from);
        Ok(match self {
            Packing::Gzip => Box::new(MultiGzDecoder::new(from)),
            Packing::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(from)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        })
    }
}

/// A file's name without the ending that says how it is compressed: what tells its format.
pub(crate) fn unpacked_name(path: &Path) -> PathBuf {
    if Packing::of_name(path).is_some() { path.with_extension("") } else { path.to_owned() }
}

/// An open file, unpacked if it is compressed.
pub(crate) struct Unpacked {
    from: Box<dyn Read + Send>,
    /// How the file is compressed; `None` if it is not.
    packing: Option<Packing>,
}

impl std::fmt::Debug for Unpacked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacked").field("packing", &self.packing).finish_non_exhaustive()
    }
}

impl Unpacked {
    /// From a file's first byte on.
    pub(crate) fn new(mut from: impl Read + Send + 'static) -> io::Result<Unpacked> {
        let mut start = Vec::with_capacity(MAGIC_LEN);
        (&mut from).take(MAGIC_LEN as u64).read_to_end(&mut start)?;
        let packing = Packing::of_start(&start);
        // Put back what was read: a pipe cannot be rewound.
        let whole = io::Cursor::new(start).chain(from);
        let from = match packing {
            Some(packing) => packing.unpack(whole)?,
            None => Box::new(whole),
        };
        Ok(Unpacked { from, packing })
    }

    /// The same behind what was taken from its beginning.
    pub(crate) fn behind(self, start: Vec<u8>) -> Unpacked {
        let Unpacked { from, packing } = self;
        Unpacked { from: Box::new(io::Cursor::new(start).chain(from)), packing }
    }

    pub(crate) fn is_packed(&self) -> bool {
        self.packing.is_some()
    }

    /// The most bytes that can come of a file that is so long.
    pub(crate) fn length_max(&self, length: u64) -> u64 {
        match self.packing {
            None => length,
            Some(Packing::Gzip) => length.saturating_mul(DEFLATE_RATIO_MAX),
            // A few bytes may stand for any number.
            Some(Packing::Zstd) => u64::MAX,
        }
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.from.read(buffer).map_err(|cause| match self.packing {
            // What the system says is not about the data.
            Some(packing) if cause.raw_os_error().is_none() => {
                io::Error::new(cause.kind(), Damaged { packing, cause: cause.to_string() })
            }
            _ => cause,
        })
    }
}

/// Compressed data that cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("its {} data are damaged or cut short ({cause}); fetch it again", packing.name())]
struct Damaged {
    packing: Packing,
    cause: String,
}

/// The error of a file that cannot be read.
pub(crate) fn unreadable(path: &Path, cause: io::Error) -> DataError {
    match cause.get_ref().is_some_and(|inner| inner.is::<Damaged>()) {
        true => DataError::table(path, cause.to_string()),
        false => DataError::Read { path: path.to_owned(), cause },
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut found = Vec::new();
        let mut unpacked = Unpacked::new(File::open(file.path()).unwrap()).unwrap();
        let read = unpacked.read_to_end(&mut found);
        read.map(|_| found).map_err(|cause| unreadable(Path::new("t"), cause).to_string())
    }

    #[test]
    fn any_number_of_parts_are_one_file() {
        for pack in [gzip, zstd] {
            assert_eq!(read(&pack(b"")).unwrap(), b"");
            assert_eq!(read(&[pack(b"ab"), pack(b""), pack(b"c")].concat()).unwrap(), b"abc");
        }
        assert_eq!(read(b"").unwrap(), b"");
        assert_eq!(read(b"\x1f").unwrap(), b"\x1f");
        // A frame to skip, of two bytes.
        let skipped = b"\x50\x2a\x4d\x18\x02\0\0\0xy".to_vec();
        assert_eq!(read(&[skipped, zstd(b"ab")].concat()).unwrap(), b"ab");
    }

    #[test]
    fn what_is_cut_short_altered_or_followed_by_something_else_is_told() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(|n| (n * n).to_le_bytes()).collect();
        for (pack, name) in [(gzip as fn(&[u8]) -> Vec<u8>, "gzip"), (zstd, "zstd")] {
            let whole = pack(&text);
            assert_eq!(read(&whole).unwrap(), text);
            let wanted = format!("t: its {name} data are damaged or cut short (");
            for end in [5, whole.len() / 2, whole.len() - 1] {
                let error = read(&whole[..end]).unwrap_err();
                assert!(error.starts_with(&wanted), "{end}: {error}");
                assert!(error.ends_with("; fetch it again"), "{end}: {error}");
            }
            let mut altered = whole.clone();
            altered[whole.len() / 2] ^= 0x55;
            let error = read(&[&whole[..], b"garbage"].concat()).unwrap_err();
            assert!(error.starts_with(&wanted), "{error}");
            // gzip has a checksum; a zstd frame may have none.
            if name == "gzip" {
                assert!(read(&altered).unwrap_err().starts_with(&wanted));
            }
        }
    }

    #[test]
    fn a_window_that_would_take_too_much_memory_is_refused() {
        // A frame of unknown length that asks for a window of 2^41 bytes.
        let error = read(b"\x28\xb5\x2f\xfd\x00\xf8\x01\0\0").unwrap_err();
        assert!(error.contains("zstd data"), "{error}");
    }

    #[test]
    fn a_name_tells_its_format_below_the_ending_of_its_packing() {
        for (name, wanted) in [
            ("a/t.csv.gz", "a/t.csv"),
            ("t.NPY.ZST", "t.NPY"),
            ("t.csv", "t.csv"),
            (".gz", ".gz"),
            ("t.gz", "t"),
        ] {
            assert_eq!(unpacked_name(Path::new(name)), Path::new(wanted), "{name}");
        }
    }
}
