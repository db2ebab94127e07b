//! Pages of a Parquet file, held against what they can hold before memory is taken for what they claim: the `parquet` crate makes
//! room for as many bytes or values as a header says. Unpacks and decodes nothing.

use ::parquet::basic::Encoding;
use ::parquet::column::page::{Page, PageMetadata, PageReader};
use ::parquet::errors::{ParquetError, Result};

use super::thrift::{page_sizes, varint};

/// The greatest factor by which gzip unpacks. Others may do better, of what is nearly all the same.
const FACTOR_MAX: u64 = 1032;

/// Bytes of an unpacked page, or values of one, that are always taken.
const ALWAYS: u64 = 16 << 20;

/// Bytes that a header's sizes are among.
pub(super) const HEADER_LEN: u64 = 32;

/// Checks the sizes in a page's header, which these bytes are or begin with.
///
/// # Errors
/// If the page claims to be larger, unpacked, than so few bytes can be.
pub(super) fn check_header(header: &[u8]) -> Result<()> {
    match page_sizes(header) {
        Some((packed, unpacked)) if unpacked > most_of(packed) => Err(implausible(format!(
            "a page of {packed} bytes that claims to have {unpacked} when it is unpacked"
        ))),
        _ => Ok(()),
    }
}

fn most_of(len: u64) -> u64 {
    len.saturating_mul(FACTOR_MAX).max(ALWAYS)
}

fn implausible(what: String) -> ParquetError {
    ParquetError::General(format!(
        "found {what}, wanted at most {FACTOR_MAX} times as much, or 16 MiB"
    ))
}

/// The pages of a column without repeated values.
pub(super) struct Checked {
    pub(super) pages: Box<dyn PageReader>,
    pub(super) has_levels: bool,
}

impl Checked {
    fn check(&self, page: &Page) -> Result<()> {
        match page {
            // The least that a value of a dictionary takes is a byte.
            Page::DictionaryPage { buf, num_values, .. } if *num_values as usize > buf.len() => {
                Err(ParquetError::General(format!(
                    "found a dictionary of {} bytes that claims to have {num_values} values",
                    buf.len()
                )))
            }
            Page::DictionaryPage { .. } => Ok(()),
            Page::DataPage { buf, num_values, encoding, def_level_encoding, .. } => {
                let levels = match (self.has_levels, def_level_encoding) {
                    (false, _) => Some(0),
                    (true, Encoding::RLE) => {
                        let len = buf.first_chunk().map(|len| u32::from_le_bytes(*len) as usize);
                        len.and_then(|len| len.checked_add(4))
                    }
                    (true, _) => Some((*num_values as usize).div_ceil(8)),
                };
                check_values(levels.and_then(|levels| buf.get(levels..)), *encoding)
            }
            Page::DataPageV2 {
                buf, encoding, def_levels_byte_len, rep_levels_byte_len, ..
            } => {
                let levels = def_levels_byte_len.checked_add(*rep_levels_byte_len);
                check_values(levels.and_then(|levels| buf.get(levels as usize..)), *encoding)
            }
        }
    }
}

/// Checks how many lengths of texts a page claims to have. What is not understood, the crate tells.
fn check_values(values: Option<&[u8]>, encoding: Encoding) -> Result<()> {
    let Some(values) = values else { return Ok(()) };
    let check = |found: &Deltas| match found.count > most_of(values.len() as u64) {
        true => Err(implausible(format!(
            "a page of {} bytes that claims to have {} texts",
            values.len(),
            found.count
        ))),
        false => Ok(()),
    };
    match (encoding, Deltas::read(values)) {
        (Encoding::DELTA_LENGTH_BYTE_ARRAY, Some(lengths)) => check(&lengths),
        (Encoding::DELTA_BYTE_ARRAY, Some(prefixes)) => {
            check(&prefixes)?;
            // Lengths of what follows each prefix come after them.
            let behind = prefixes.len().and_then(|len| values.get(len..));
            behind.and_then(Deltas::read).map_or(Ok(()), |suffixes| check(&suffixes))
        }
        _ => Ok(()),
    }
}

/// What begins with the header of whole numbers that are coded as differences (`DELTA_BINARY_PACKED`).
struct Deltas<'a> {
    values: &'a [u8],
    /// Bytes of its header.
    header: usize,
    block: u64,
    parts: u64,
    count: u64,
}

impl<'a> Deltas<'a> {
    fn read(values: &'a [u8]) -> Option<Deltas<'a>> {
        let mut rest = values;
        let (block, parts, count) = (varint(&mut rest)?, varint(&mut rest)?, varint(&mut rest)?);
        // The first number.
        varint(&mut rest)?;
        Some(Deltas { values, header: values.len() - rest.len(), block, parts, count })
    }

    /// Bytes that all of its numbers take.
    fn len(&self) -> Option<usize> {
        let of_part = self.block.checked_div(self.parts)?;
        if of_part == 0 {
            return None;
        }
        let (mut rest, mut left) = (&self.values[self.header..], self.count.saturating_sub(1));
        while left > 0 {
            // The least difference of the block.
            varint(&mut rest)?;
            let (widths, behind) = rest.split_at_checked(usize::try_from(self.parts).ok()?)?;
            rest = behind;
            for &width in widths {
                if left == 0 {
                    break;
                }
                let bytes = of_part.checked_mul(width.into())? / 8;
                rest = rest.get(usize::try_from(bytes).ok()?..)?;
                left = left.saturating_sub(of_part);
            }
        }
        Some(self.values.len() - rest.len())
    }
}

impl PageReader for Checked {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        page.as_ref().map_or(Ok(()), |page| self.check(page))?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}

impl Iterator for Checked {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number in groups of seven bits.
    fn coded(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    fn deltas(count: u64, width: u8) -> Vec<u8> {
        let mut bytes = [coded(128), coded(4), coded(count), coded(0)].concat();
        let mut left = count.saturating_sub(1);
        while left > 0 {
            bytes.extend([0, width, width, width, width]);
            let parts = left.div_ceil(32).min(4);
            bytes.extend(vec![0; parts as usize * 4 * usize::from(width)]);
            left = left.saturating_sub(128);
        }
        bytes
    }

    #[test]
    fn pages_that_claim_more_than_they_can_hold() {
        let header = |packed: u64, unpacked: u64| {
            let sizes = [vec![0x15, 0, 0x15], coded(2 * unpacked), vec![0x15], coded(2 * packed)];
            check_header(&sizes.concat()).map_err(|error| error.to_string())
        };
        assert_eq!(header(100, 16 << 20), Ok(()));
        assert_eq!(header(1 << 20, 1 << 30), Ok(()));
        let error = header(100, (1 << 31) - 1).unwrap_err();
        assert!(
            error.contains("found a page of 100 bytes that claims to have 2147483647 when it"),
            "{error}"
        );
        assert!(check_header(&[0xff; 32]).is_ok(), "what is not understood is told by the crate");
    }

    #[test]
    fn lengths_of_texts() {
        let check =
            |bytes: &[u8], encoding| check_values(Some(bytes), encoding).map_err(|e| e.to_string());
        let (lengths, both) = (Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY);
        for (count, width) in [(0, 0), (1, 0), (2, 3), (129, 1), (130, 7), (1000, 0)] {
            let good = deltas(count, width);
            assert_eq!(
                Deltas::read(&good).unwrap().len(),
                Some(good.len()),
                "{count} of {width} bits"
            );
            assert_eq!(check(&good, lengths), Ok(()));
            assert_eq!(check(&[good.clone(), good.clone()].concat(), both), Ok(()));
            let bad = [coded(128), coded(4), coded(1 << 33), coded(0)].concat();
            let wanted =
                format!("a page of {} bytes that claims to have 8589934592 texts", bad.len());
            assert!(check(&bad, lengths).unwrap_err().contains(&wanted));
            assert!(check(&[good, bad].concat(), both).unwrap_err().contains("8589934592 texts"));
        }
        assert_eq!(check(&[0; 9], both), Ok(()));
        assert_eq!(check(&[0xff; 90], lengths), Ok(()));
    }
}
