//! The header of an NPY file (numpy.lib.format, versions 1.0, 2.0 and 3.0): shape, order and dtype of its one array. What
//! it says is held against the rest of the file elsewhere.

use super::element::Element;
use super::literal::{self, Literal};
use crate::bytes::stream::{Stream, StreamError, hex};
use crate::error::quote;

/// How an NPY file begins.
pub(super) const MAGIC: [u8; 6] = *b"\x93NUMPY";

/// How a zip file begins, and so an NPZ file.
pub(super) const ZIP_MAGIC: [u8; 4] = *b"PK\x03\x04";

/// Longest header. One that names as many columns as a table may have takes less.
const HEADER_LEN_MAX: usize = 16 << 20;

/// Most dimensions of an array, as numpy has it.
const DIMENSIONS_MAX: usize = 64;

/// What a header says.
#[derive(Debug)]
pub(super) struct Header {
    /// As written, rows first.
    pub(super) shape: Vec<usize>,
    /// Whether the first index varies fastest, not the last one.
    pub(super) is_fortran: bool,
    pub(super) dtype: Dtype,
}

/// What stands at each place of an array.
#[derive(Debug)]
pub(super) enum Dtype {
    Plain(Element),
    /// A record: so many bytes, and its fields in order.
    Record(usize, Vec<Field>),
}

/// A field of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) element: Element,
    /// Bytes of the record before it.
    pub(super) offset: usize,
    /// Why it has no value, if it has none.
    pub(super) problem: Option<String>,
}

impl Dtype {
    /// Bytes of one element or record.
    pub(super) fn size(&self) -> usize {
        match self {
            Dtype::Plain(element) => element.size,
            Dtype::Record(size, _) => *size,
        }
    }
}

/// Reads a file up to the end of its header.
pub(super) fn read(from: &mut Stream<'_>) -> Result<Header, StreamError> {
    let start = from.up_to(MAGIC.len() + 2)?;
    if start.starts_with(&ZIP_MAGIC) {
        return Err(StreamError::Problem(
            "found a zip file, as numpy.savez writes it, wanted an NPY file; give it a name that ends in .npz".to_owned(),
        ));
    }
    if !start.starts_with(&MAGIC) {
        return Err(StreamError::Problem(format!(
            "found {} at its beginning, wanted an NPY file, as numpy.save writes it, which begins with {}; give a file of \
             another format another name",
            hex(&start[..start.len().min(MAGIC.len())]),
            hex(&MAGIC)
        )));
    }
    let [_, _, _, _, _, _, major, minor] = start[..] else { return Err(ends()) };
    let length = match (major, minor) {
        (1, 0) => from.up_to(2)?.try_into().map(|bytes| u16::from_le_bytes(bytes).into()),
        (2 | 3, 0) => from.up_to(4)?.try_into().map(u32::from_le_bytes),
        _ => {
            return Err(StreamError::Problem(format!(
                "found version {major}.{minor} of the format, wanted 1.0, 2.0 or 3.0; save it again with numpy.save"
            )));
        }
    };
    let length = length.map_err(|_| ends())? as usize;
    if length > HEADER_LEN_MAX {
        let problem = format!("found a header of {length} bytes, wanted at most {HEADER_LEN_MAX}");
        return Err(StreamError::Problem(problem));
    }
    let header = from.up_to(length)?;
    if header.len() < length {
        return Err(ends());
    }
    // Before 3.0 it is Latin-1, whose codes are those of the characters.
    let text = match major {
        3 => String::from_utf8(header).map_err(|_| damaged("found bytes that are no UTF-8"))?,
        _ => header.into_iter().map(char::from).collect(),
    };
    let literal = literal::parse(&text).map_err(|problem| damaged(&problem))?;
    Ok(header_of(literal)?)
}

fn ends() -> StreamError {
    StreamError::Problem("the file ends in its header; save or fetch it again".to_owned())
}

fn damaged(problem: &str) -> StreamError {
    StreamError::Problem(damage(problem))
}

fn damage(problem: &str) -> String {
    format!("its header is damaged: {problem}; save or fetch it again")
}

fn header_of(literal: Literal) -> Result<Header, String> {
    let wanted = || damage("wanted 'descr', 'fortran_order' and 'shape', each once");
    let Literal::Dictionary(items) = literal else { return Err(wanted()) };
    let (mut dtype, mut is_fortran, mut shape) = (None, None, None);
    for (key, value) in items {
        let Literal::Text(key) = key else { return Err(wanted()) };
        let is_new = match (&key[..], value) {
            ("descr", value) => dtype.replace(dtype_of(value)?).is_none(),
            ("fortran_order", Literal::Truth(value)) => is_fortran.replace(value).is_none(),
            ("shape", Literal::Sequence(value)) => shape.replace(shape_of(&value)?).is_none(),
            _ => return Err(wanted()),
        };
        if !is_new {
            return Err(wanted());
        }
    }
    match (shape, is_fortran, dtype) {
        (Some(shape), Some(is_fortran), Some(dtype)) => Ok(Header { shape, is_fortran, dtype }),
        _ => Err(wanted()),
    }
}

fn shape_of(found: &[Literal]) -> Result<Vec<usize>, String> {
    if found.len() > DIMENSIONS_MAX {
        let found = found.len();
        return Err(format!("found {found} dimensions, wanted at most {DIMENSIONS_MAX}"));
    }
    let dimension = |found: &Literal| match found {
        Literal::Whole(number) => usize::try_from(*number).ok(),
        _ => None,
    };
    let dimensions: Option<Vec<usize>> = found.iter().map(dimension).collect();
    dimensions.ok_or_else(|| damage("found a dimension that is no whole number"))
}

fn dtype_of(found: Literal) -> Result<Dtype, String> {
    let fields = match found {
        Literal::Text(dtype) => {
            let element = Element::parse(&dtype)?;
            return element.problem(&dtype).map_or(Ok(Dtype::Plain(element)), Err);
        }
        Literal::Sequence(fields) => fields,
        _ => return Err(damage("found a dtype that is neither a text nor a list")),
    };
    let mut offset: usize = 0;
    let mut found = Vec::new();
    for field in fields {
        let field = field_of(field, offset)?;
        let next = offset.checked_add(field.element.size);
        offset = next.ok_or_else(|| damage("found records longer than any file"))?;
        // What has no name is there for alignment.
        if !(field.name.is_empty() && field.problem.is_some()) {
            found.push(field);
        }
    }
    Ok(Dtype::Record(offset, found))
}

fn field_of(found: Literal, offset: usize) -> Result<Field, String> {
    let wanted = || damage("found a field that is not its name and its dtype");
    let Literal::Sequence(parts) = found else { return Err(wanted()) };
    let mut parts = parts.into_iter();
    let name = match parts.next() {
        Some(Literal::Text(name)) => name,
        // A title, and the name.
        Some(Literal::Sequence(names)) => match names.into_iter().nth(1) {
            Some(Literal::Text(name)) => name,
            _ => return Err(wanted()),
        },
        _ => return Err(wanted()),
    };
    let of_field = |problem: &str| format!("field {}: {problem}", quote(name.as_bytes()));
    match (parts.next(), parts.next()) {
        (Some(Literal::Text(dtype)), None) => {
            let element = Element::parse(&dtype).map_err(|problem| of_field(&problem))?;
            let problem = element.problem(&dtype);
            Ok(Field { name, element, offset, problem })
        }
        (Some(Literal::Text(_)), Some(_)) => {
            Err(of_field("found an array, wanted one value; save each of its values as a field"))
        }
        (Some(Literal::Sequence(_)), _) => {
            Err(of_field("found a record of its own, wanted one value; save its fields as fields"))
        }
        _ => Err(wanted()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, text: &str) -> Vec<u8> {
        let mut file = [&MAGIC[..], &[version, 0]].concat();
        match version {
            1 => file.extend((text.len() as u16).to_le_bytes()),
            _ => file.extend((text.len() as u32).to_le_bytes()),
        }
        file.extend(text.as_bytes());
        file
    }

    fn found(mut file: &[u8]) -> Result<Header, String> {
        let left = file.len() as u64;
        read(&mut Stream::new(&mut file, left)).map_err(|fault| match fault {
            StreamError::Problem(problem) => problem,
            StreamError::Io(error) => error.to_string(),
        })
    }

    #[test]
    fn every_version_is_read() {
        for version in 1..=3 {
            let text = "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }  \n";
            let header = found(&file(version, text)).unwrap();
            assert_eq!((header.shape, header.is_fortran), (vec![3, 2], true));
            assert_eq!(header.dtype.size(), 4);
        }
        let named = "{'descr': [('é', '<f4')], 'fortran_order': False, 'shape': (3,)}";
        let name = |version| match found(&file(version, named)).unwrap().dtype {
            Dtype::Record(4, fields) => fields[0].name.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!([1, 2, 3].map(name), ["Ã©", "Ã©", "é"]);
    }

    #[test]
    fn records_have_fields_and_gaps() {
        let text = "{'descr': [('a', '|i1'), ('', '|V3'), (('the time', 't'), '<m8[ns]'), ('c', '<U2')], \
                    'fortran_order': False, 'shape': (3,)}";
        let Dtype::Record(size, fields) = found(&file(1, text)).unwrap().dtype else {
            panic!("no record")
        };
        assert_eq!(size, 20);
        let fields: Vec<(&str, usize, bool)> = fields
            .iter()
            .map(|field| (&field.name[..], field.offset, field.problem.is_some()))
            .collect();
        assert_eq!(fields, [("a", 0, false), ("t", 4, true), ("c", 12, false)]);
    }

    #[test]
    fn headers_that_cannot_be_are_refused() {
        let with = |descr: &str, shape: &str| {
            format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}")
        };
        let damaged = "its header is damaged: ";
        let incomplete = "wanted 'descr', 'fortran_order' and 'shape', each once";
        for (text, wanted) in [
            (with("'|O'", "(3,)"), "found dtype \"|O\", objects of Python".to_owned()),
            (with("'<c8'", "(3,)"), "found dtype \"<c8\", wanted floats".to_owned()),
            (with("[('a', '|O')]", "(3,)"), "field \"a\": found dtype \"|O\", objects".to_owned()),
            (with("[('a', '<f8', (2,))]", "(3,)"), "field \"a\": found an array".to_owned()),
            (with("[('a', [('b', '<f8')])]", "(3,)"), "field \"a\": found a record".to_owned()),
            (with("[('a',)]", "(3,)"), format!("{damaged}found a field that is not its name")),
            (with("[('', 'a', 'b')]", "(3,)"), "field \"\": found an array".to_owned()),
            (with("None", "(3,)"), format!("{damaged}found a dtype that is neither")),
            (with("'<f8'", "(True,)"), format!("{damaged}found a dimension that is no whole")),
            (with("'<f8'", "3"), format!("{damaged}{incomplete}")),
            (with("'<f8'", &format!("({})", "1,".repeat(65))), "found 65 dimensions".to_owned()),
            ("{'descr': '<f8'}".to_owned(), format!("{damaged}{incomplete}")),
            ("[]".to_owned(), format!("{damaged}{incomplete}")),
            (with("'<f8'", "(3,), 'shape': (3,)"), format!("{damaged}{incomplete}")),
            ("{".to_owned(), format!("{damaged}found its end at byte 1, wanted a Python literal")),
        ] {
            let error = found(&file(1, &text)).unwrap_err();
            assert!(error.starts_with(&wanted), "{text}: {error}");
        }
        for (file, wanted) in [
            (&b"a,b\n1,2\n"[..], "found 61 2c 62 0a 31 2c at its beginning, wanted an NPY file"),
            (b"", "found nothing at its beginning"),
            (b"PK\x03\x04abcdef", "found a zip file, as numpy.savez writes it"),
            (b"\x93NUMPY\x01", "the file ends in its header"),
            (b"\x93NUMPY\x01\x00\x01", "the file ends in its header"),
            (b"\x93NUMPY\x02\x00\x01\x00\x00\x00", "the file ends in its header"),
            (b"\x93NUMPY\x04\x00\x01\x00", "found version 4.0 of the format"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "found a header of 4294967295 bytes"),
            (b"\x93NUMPY\x03\x00\x02\x00\x00\x00\xff\xff", "its header is damaged: found bytes"),
        ] {
            let error = found(file).unwrap_err();
            assert!(error.starts_with(wanted), "{file:?}: {error}");
        }
    }
}
