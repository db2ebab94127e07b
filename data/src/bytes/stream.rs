//! A file read once, from its beginning to its end, plain or compressed: what is read behind a header, and held against
//! what the header says. Believes no header: memory is taken for what comes, and nothing is read that cannot be there. Knows no
//! format.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::packing::{Unpacked, unreadable};
use crate::error::{DataError, count};

/// Bytes asked for at first.
const READ_LEN: usize = 1 << 20;

/// The rest of a file.
pub(crate) struct Stream<'a> {
    from: &'a mut dyn Read,
    /// The most bytes that can still come.
    left_max: u64,
    /// Bytes that came.
    at: u64,
    again: Again,
}

/// Whether the same bytes can be read once more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Not from a pipe.
    Never,
    /// From what is compressed, whose end is not known before it is read.
    Packed,
    /// From a plain file, in which exactly `left_max` bytes are left.
    Plain,
}

/// What went wrong.
pub(crate) enum StreamError {
    Problem(String),
    Io(io::Error),
}

impl From<io::Error> for StreamError {
    fn from(cause: io::Error) -> StreamError {
        StreamError::Io(cause)
    }
}

impl From<String> for StreamError {
    fn from(problem: String) -> StreamError {
        StreamError::Problem(problem)
    }
}

impl StreamError {
    /// The error, with the file in which it is.
    pub(crate) fn of(self, path: &Path) -> DataError {
        match self {
            StreamError::Problem(problem) => DataError::table(path, problem),
            StreamError::Io(cause) => unreadable(path, cause),
        }
    }
}

/// Reads a file with `parse`, from its first byte on, unpacked if it is packed.
pub(crate) fn read<T>(
    path: &Path,
    parse: impl FnOnce(&mut Stream<'_>) -> Result<T, StreamError>,
) -> Result<T, DataError> {
    let file = File::open(path).map_err(|cause| unreadable(path, cause))?;
    let metadata = file.metadata().map_err(|cause| unreadable(path, cause))?;
    let (length, is_regular) = (metadata.len(), metadata.is_file());
    let mut unpacked = Unpacked::new(file).map_err(|cause| unreadable(path, cause))?;
    let left_max = unpacked.length_max(length);
    let again = match unpacked.is_packed() {
        _ if !is_regular => Again::Never,
        true => Again::Packed,
        false => Again::Plain,
    };
    let mut stream = Stream { from: &mut unpacked, left_max, at: 0, again };
    parse(&mut stream).map_err(|fault| fault.of(path))
}

impl<'a> Stream<'a> {
    /// What comes from here, at most so many bytes: a part of a file that can be read again.
    pub(crate) fn new(from: &'a mut dyn Read, left_max: u64) -> Stream<'a> {
        Stream { from, left_max, at: 0, again: Again::Packed }
    }

    /// Bytes that were read.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Whether the same bytes can be read once more.
    pub(crate) fn can_be_read_again(&self) -> bool {
        self.again != Again::Never
    }

    /// Whether there are more bytes than these left, as far as that is known before they are read.
    ///
    /// # Errors
    /// If there are.
    pub(crate) fn ends_after(&self, wanted: u64, said: &str) -> Result<(), StreamError> {
        match self.again == Again::Plain && wanted < self.left_max {
            true => Err(goes_on(said)),
            false => Ok(()),
        }
    }

    /// The next so many bytes, or fewer at the end.
    pub(crate) fn up_to(&mut self, wanted: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.from.take(wanted as u64).read_to_end(&mut bytes)?;
        self.left_max = self.left_max.saturating_sub(bytes.len() as u64);
        self.at += bytes.len() as u64;
        Ok(bytes)
    }

    /// How many bytes an array takes whose elements have `size` bytes, and that in the header's words.
    ///
    /// # Errors
    /// If there is nothing in it, or not so many bytes can still come.
    pub(crate) fn array(
        &self,
        dimensions: &[usize],
        size: usize,
    ) -> Result<(u64, String), StreamError> {
        let said = format!("{} of {} each", shape(dimensions), count(size as u64, "byte"));
        if size == 0 || dimensions.contains(&0) {
            return Err(StreamError::Problem(format!(
                "the header says {said}: there is nothing in it"
            )));
        }
        let wanted = dimensions
            .iter()
            .try_fold(size as u64, |product, &dimension| product.checked_mul(dimension as u64));
        match wanted {
            Some(wanted) if wanted <= self.left_max => Ok((wanted, said)),
            _ => Err(cut_short(&said, self.left_max)),
        }
    }

    /// So many bytes, which have to be the last ones.
    pub(crate) fn rest(&mut self, wanted: u64, said: &str) -> Result<Vec<u8>, StreamError> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < wanted {
            let step = (wanted - bytes.len() as u64).min(bytes.len().max(READ_LEN) as u64);
            let room =
                usize::try_from(step).ok().and_then(|step| bytes.try_reserve_exact(step).ok());
            if room.is_none() {
                let problem = format!("the header says {said}: more than this machine's memory");
                return Err(StreamError::Problem(problem));
            }
            if (self.from.take(step).read_to_end(&mut bytes)? as u64) < step {
                return Err(cut_short(said, bytes.len() as u64));
            }
        }
        // Reading on to the end also checks the checksum of what was packed.
        if !self.up_to(1)?.is_empty() {
            return Err(goes_on(said));
        }
        self.at += wanted;
        Ok(bytes)
    }
}

pub(super) fn goes_on(said: &str) -> StreamError {
    StreamError::Problem(format!("the header says {said}, but the file goes on after that"))
}

pub(super) fn cut_short(said: &str, found: u64) -> StreamError {
    StreamError::Problem(format!(
        "the header says {said}, but there are only {} for that: the file is cut short; fetch it again",
        count(found, "byte")
    ))
}

/// `60000 x 28 x 28`.
pub(crate) fn shape(dimensions: &[usize]) -> String {
    dimensions.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}

/// Bytes for a message, in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    match bytes {
        [] => "nothing".to_owned(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
    }
}
