//! IDX files, plain or compressed: one array of numbers with its dimensions, as it stands in the file. It is in memory once it
//! is loaded; some items of it are an array, too, which leaves the others where they are.
//! Believes no header: what it says is held against the file's length before memory is taken. Knows no images or labels.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::bytes::stream::{self, Stream, StreamError, hex};
use crate::bytes::stretch::{Located, Stretch};
use crate::error::{DataError, quote};

/// Most dimensions of an array.
const DIMENSIONS_MAX: usize = 8;

/// What is wrong with an array of these dimensions, if anything is.
type Check<'a> = &'a dyn Fn(&[usize]) -> Result<(), String>;

/// How an IDX file begins.
pub(super) const MAGIC: [u8; 2] = [0, 0];

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

/// An array, or some items of one; its first dimension counts items. No dimension is 0.
#[derive(Debug)]
pub(crate) struct Array {
    path: PathBuf,
    element: Element,
    dimensions: Vec<usize>,
    /// The item of the file that is the first.
    first: usize,
    stretch: Stretch,
}

impl Array {
    /// Opens a file whose dimensions `check` finds right: reads its header, and leaves the rest where it is.
    pub(crate) fn open(path: &Path, check: Check<'_>) -> Result<Array, DataError> {
        stream::read(path, |stream| Array::open_from(path, stream, check))
    }

    fn open_from(
        path: &Path,
        from: &mut Stream<'_>,
        check: Check<'_>,
    ) -> Result<Array, StreamError> {
        let start = from.up_to(4)?;
        let [0, 0, code, dimensions] = start[..] else {
            return Err(StreamError::Problem(format!(
                "found {} at its beginning, wanted an IDX file, which begins with 00 00 (00 00 08 03 for images, \
                 00 00 08 01 for labels); give a CSV file by its path alone",
                hex(&start),
            )));
        };
        let element = Element::from_code(code).ok_or_else(|| {
            StreamError::Problem(format!(
                "found element type 0x{code:02x}, wanted 0x08 (u8), 0x09 (i8), 0x0b (i16), 0x0c (i32), 0x0d (f32) or \
                 0x0e (f64)"
            ))
        })?;
        let dimensions = usize::from(dimensions);
        if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
            let problem = format!("found {dimensions} dimensions, wanted 1 to {DIMENSIONS_MAX}");
            return Err(StreamError::Problem(problem));
        }
        let header = from.up_to(4 * dimensions)?;
        if header.len() < 4 * dimensions {
            return Err(StreamError::Problem(
                "the file ends in its header; fetch it again".to_owned(),
            ));
        }
        let dimensions: Vec<usize> = header
            .chunks_exact(4)
            .map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
            .collect();
        let there = from.array(&dimensions, element.size())?;
        check(&dimensions)?;
        let stretch = Stretch::behind(from, there)?;
        Ok(Array { path: path.to_owned(), element, dimensions, first: 0, stretch })
    }

    /// Reads the array into memory, unless that is done, and looks at every number.
    pub(crate) fn load(&self) -> Result<(), DataError> {
        self.stretch.load(&self.path)?;
        self.finite()
    }

    /// Where the array is in its file.
    pub(crate) fn locate(&self) -> Result<Located, DataError> {
        self.stretch.locate(&self.path)
    }

    /// Some items, from where the array is in its file.
    pub(crate) fn window(&self, from: &Located, items: Range<usize>) -> Result<Array, DataError> {
        let len = self.item_bytes();
        let mut bytes = Vec::new();
        from.read(items.start * len..items.end * len, &mut bytes)?;
        let dimensions = [&[items.len()][..], self.item_shape()].concat();
        let (path, stretch) = (self.path.clone(), Stretch::of(bytes));
        Ok(Array { path, element: self.element, dimensions, first: items.start, stretch })
    }

    /// Whether every number is finite as `f32`.
    fn finite(&self) -> Result<(), DataError> {
        let Some((item, place)) = self.first_not_finite() else { return Ok(()) };
        let found = quote(self.number(item, place).to_string().as_bytes());
        let place = format!("item {}, number {place} (both from 0)", self.first + item);
        let problem = format!("found {found}, wanted a finite number up to {:e}", f32::MAX);
        Err(DataError::Item { path: self.path.clone(), place, problem })
    }

    /// The item of the file that is the first.
    pub(crate) fn first(&self) -> usize {
        self.first
    }

    /// Bytes of an item.
    pub(crate) fn item_bytes(&self) -> usize {
        self.item_len() * self.element.size()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its elements are whole numbers.
    pub(crate) fn is_whole(&self) -> bool {
        !matches!(self.element, Element::F32 | Element::F64)
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
        let (element, len, bytes) = (self.element, self.item_bytes(), self.stretch.bytes());
        let number =
            move |&item: &u32| number(element, &bytes[item as usize * len..][..len], place);
        items.iter().map(number)
    }

    /// Whether every number is an `f32` as it is.
    pub(crate) fn is_narrow(&self) -> bool {
        !matches!(self.element, Element::I32 | Element::F64)
    }

    /// One number of an item.
    fn number(&self, item: usize, place: usize) -> f64 {
        number(self.element, self.item(item), place)
    }

    /// Item and place of the first number that is not finite as `f32`.
    fn first_not_finite(&self) -> Option<(usize, usize)> {
        if !matches!(self.element, Element::F32 | Element::F64) {
            return None;
        }
        let len = self.item_len();
        let places = (0..self.items()).flat_map(|item| (0..len).map(move |place| (item, place)));
        places.into_iter().find(|&(item, place)| !(self.number(item, place) as f32).is_finite())
    }

    fn item(&self, item: usize) -> &[u8] {
        let len = self.item_bytes();
        &self.stretch.bytes()[item * len..][..len]
    }
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
