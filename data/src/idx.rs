//! IDX files, plain or in gzip: one array of numbers with its dimensions, whole in memory as it stands in the file.
//! Believes no header: what it says is held against the file's length before memory is taken. Knows no images or labels.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::{DataError, count};

/// Most dimensions of an array.
const DIMENSIONS_MAX: usize = 8;

/// No deflate stream is longer when unpacked than this many times its length.
const DEFLATE_RATIO_MAX: u64 = 1032;

/// Bytes asked for at first.
const READ_LEN: usize = 1 << 20;

/// What is wrong with an array of these dimensions, if anything is.
type Check<'a> = &'a dyn Fn(&[usize]) -> Result<(), String>;

/// How an IDX file, and a gzip file, begins.
const MAGIC: [u8; 2] = [0, 0];
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Type of the elements; big-endian in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    U8,
    I8,
    I16,
    I32,
    F32,
    F64,
}

impl Element {
    fn from_code(code: u8) -> Option<Element> {
        Some(match code {
            0x08 => Element::U8,
            0x09 => Element::I8,
            0x0b => Element::I16,
            0x0c => Element::I32,
            0x0d => Element::F32,
            0x0e => Element::F64,
            _ => return None,
        })
    }

    fn size(self) -> usize {
        match self {
            Element::U8 | Element::I8 => 1,
            Element::I16 => 2,
            Element::I32 | Element::F32 => 4,
            Element::F64 => 8,
        }
    }
}

/// An array; its first dimension counts items. No dimension is 0.
#[derive(Debug)]
pub(crate) struct Array {
    path: PathBuf,
    element: Element,
    dimensions: Vec<usize>,
    bytes: Vec<u8>,
}

/// Whether the file begins as an IDX file or a gzip file does, which no CSV file can.
pub(crate) fn begins_like_idx(start: &[u8]) -> bool {
    start.starts_with(&MAGIC) || start.starts_with(&GZIP_MAGIC)
}

impl Array {
    /// Reads a file whose dimensions `check` takes: it is asked before anything behind the header is read.
    pub(crate) fn read(path: &Path, check: Check<'_>) -> Result<Array, DataError> {
        let unreadable = |cause| DataError::Read { path: path.to_owned(), cause };
        let mut file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut start = Vec::new();
        (&mut file).take(2).read_to_end(&mut start).map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        if start != GZIP_MAGIC {
            return Array::read_from(path, &mut file, length, check)
                .map_err(|fault| fault.plain(path));
        }
        let mut unpacked = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file));
        let length_max = length.saturating_mul(DEFLATE_RATIO_MAX);
        Array::read_from(path, &mut unpacked, length_max, check).map_err(|fault| fault.gzip(path))
    }

    /// `length_max` is the most bytes that can come.
    fn read_from(
        path: &Path,
        from: &mut dyn Read,
        length_max: u64,
        check: Check<'_>,
    ) -> Result<Array, Fault> {
        let start = up_to(from, 4)?;
        let [0, 0, code, dimensions] = start[..] else {
            let found =
                start.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            return Err(Fault::Problem(format!(
                "found {} at its beginning, wanted an IDX file, which begins with 00 00 (00 00 08 03 for images, \
                 00 00 08 01 for labels); give a CSV file by its path alone",
                if found.is_empty() { "nothing".to_owned() } else { found },
            )));
        };
        let element = Element::from_code(code).ok_or_else(|| {
            Fault::Problem(format!(
                "found element type 0x{code:02x}, wanted 0x08 (u8), 0x09 (i8), 0x0b (i16), 0x0c (i32), 0x0d (f32) or \
                 0x0e (f64)"
            ))
        })?;
        let dimensions = usize::from(dimensions);
        if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
            let problem = format!("found {dimensions} dimensions, wanted 1 to {DIMENSIONS_MAX}");
            return Err(Fault::Problem(problem));
        }
        let header = up_to(from, 4 * dimensions)?;
        if header.len() < 4 * dimensions {
            return Err(Fault::Problem("the file ends in its header; fetch it again".to_owned()));
        }
        let dimensions: Vec<usize> = header
            .chunks_exact(4)
            .map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
            .collect();
        let said =
            format!("{} of {} each", shape(&dimensions), count(element.size() as u64, "byte"));
        if dimensions.contains(&0) {
            return Err(Fault::Problem(format!("the header says {said}: there is nothing in it")));
        }
        let header = 4 + header.len() as u64;
        let wanted = dimensions.iter().try_fold(element.size() as u64, |product, &dimension| {
            product.checked_mul(dimension as u64)
        });
        let wanted = wanted.filter(|wanted| header.saturating_add(*wanted) <= length_max);
        let cut = |found: u64| {
            format!(
                "the header says {said}, but there are only {} for that: the file is cut short; fetch it again",
                count(found, "byte")
            )
        };
        let Some(wanted) = wanted else {
            return Err(Fault::Problem(cut(length_max.saturating_sub(header))));
        };
        check(&dimensions).map_err(Fault::Problem)?;
        let bytes = read_up_to(from, wanted, &said)?;
        if (bytes.len() as u64) < wanted {
            return Err(Fault::Problem(cut(bytes.len() as u64)));
        }
        // Reading on to the end also checks gzip's checksum.
        if !up_to(from, 1)?.is_empty() {
            return Err(Fault::Problem(format!(
                "the header says {said}, but the file goes on after that"
            )));
        }
        Ok(Array { path: path.to_owned(), element, dimensions, bytes })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn items(&self) -> usize {
        self.dimensions[0]
    }

    /// The dimensions of one item; none for a number.
    pub(crate) fn item_shape(&self) -> &[usize] {
        &self.dimensions[1..]
    }

    /// Numbers of one item.
    pub(crate) fn item_len(&self) -> usize {
        self.item_shape().iter().product()
    }

    /// The numbers at one place of these items.
    pub(crate) fn column(&self, items: &[u32], place: usize) -> impl Iterator<Item = f64> {
        let (element, len) = (self.element, self.item_len() * self.element.size());
        let number =
            move |&item: &u32| number(element, &self.bytes[item as usize * len..][..len], place);
        items.iter().map(number)
    }

    /// Whether every number is an `f32` as it is.
    pub(crate) fn is_narrow(&self) -> bool {
        !matches!(self.element, Element::I32 | Element::F64)
    }

    /// One number of an item.
    pub(crate) fn number(&self, item: usize, place: usize) -> f64 {
        number(self.element, self.item(item), place)
    }

    /// Item and place of the first number that is not finite as `f32`.
    pub(crate) fn first_not_finite(&self) -> Option<(usize, usize)> {
        if !matches!(self.element, Element::F32 | Element::F64) {
            return None;
        }
        let len = self.item_len();
        let places = (0..self.items()).flat_map(|item| (0..len).map(move |place| (item, place)));
        places.into_iter().find(|&(item, place)| !(self.number(item, place) as f32).is_finite())
    }

    fn item(&self, item: usize) -> &[u8] {
        let len = self.item_len() * self.element.size();
        &self.bytes[item * len..][..len]
    }
}

/// `60000 x 28 x 28`.
pub(crate) fn shape(dimensions: &[usize]) -> String {
    dimensions.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ")
}

fn number(element: Element, bytes: &[u8], place: usize) -> f64 {
    let at = place * element.size();
    match (element, &bytes[at..at + element.size()]) {
        (Element::U8, &[a]) => f64::from(a),
        (Element::I8, &[a]) => f64::from(a.cast_signed()),
        (Element::I16, &[a, b]) => f64::from(i16::from_be_bytes([a, b])),
        (Element::I32, &[a, b, c, d]) => f64::from(i32::from_be_bytes([a, b, c, d])),
        (Element::F32, &[a, b, c, d]) => f64::from(f32::from_be_bytes([a, b, c, d])),
        (Element::F64, &[a, b, c, d, e, f, g, h]) => f64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => unreachable!("the slice has the element's size"),
    }
}

/// So many bytes, or fewer at the end. Takes memory for what comes, not for what the header says.
fn read_up_to(from: &mut dyn Read, wanted: u64, said: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < wanted {
        let step = (wanted - bytes.len() as u64).min(bytes.len().max(READ_LEN) as u64);
        let room = usize::try_from(step).ok().and_then(|step| bytes.try_reserve_exact(step).ok());
        if room.is_none() {
            return Err(Fault::Problem(format!(
                "the header says {said}: more than this machine's memory"
            )));
        }
        if (from.take(step).read_to_end(&mut bytes)? as u64) < step {
            break;
        }
    }
    Ok(bytes)
}

/// So many bytes, or fewer at the end.
fn up_to(from: &mut dyn Read, wanted: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::with_capacity(wanted);
    from.take(wanted as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What went wrong, before it is known whether the file was packed.
enum Fault {
    Problem(String),
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(cause: io::Error) -> Fault {
        Fault::Io(cause)
    }
}

impl Fault {
    fn plain(self, path: &Path) -> DataError {
        match self {
            Fault::Problem(problem) => DataError::table(path, problem),
            Fault::Io(cause) => DataError::Read { path: path.to_owned(), cause },
        }
    }

    fn gzip(self, path: &Path) -> DataError {
        match self {
            Fault::Io(cause) if cause.raw_os_error().is_none() => {
                let problem =
                    format!("its gzip data are damaged or cut short ({cause}); fetch it again");
                DataError::table(path, problem)
            }
            fault => fault.plain(path),
        }
    }
}
