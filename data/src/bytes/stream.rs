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
    let length = file.metadata().map_err(|cause| unreadable(path, cause))?.len();
    let mut unpacked = Unpacked::new(file).map_err(|cause| unreadable(path, cause))?;
    let left_max = unpacked.length_max(length);
    parse(&mut Stream { from: &mut unpacked, left_max }).map_err(|fault| fault.of(path))
}

impl<'a> Stream<'a> {
    /// What comes from here, at most so many bytes.
    pub(crate) fn new(from: &'a mut dyn Read, left_max: u64) -> Stream<'a> {
        Stream { from, left_max }
    }

    /// The next so many bytes, or fewer at the end.
    pub(crate) fn up_to(&mut self, wanted: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.from.take(wanted as u64).read_to_end(&mut bytes)?;
        self.left_max = self.left_max.saturating_sub(bytes.len() as u64);
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
            let problem = format!("the header says {said}, but the file goes on after that");
            return Err(StreamError::Problem(problem));
        }
        Ok(bytes)
    }
}

fn cut_short(said: &str, found: u64) -> StreamError {
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
