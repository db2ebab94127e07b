//! As much of Thrift's compact protocol as tells, before the `parquet` crate reads on, which columns of a file are encrypted and
//! how large a page claims to be. What is not understood is left to that crate: nothing here is an error.

/// Types of values.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// Deepest structs in structs: none of Parquet are so deep.
const DEPTH_MAX: u8 = 64;

/// Fields, by their numbers in Parquet's definition.
mod field {
    /// Of the footer.
    pub(super) const ROW_GROUPS: i64 = 4;
    /// Of a row group.
    pub(super) const COLUMNS: i64 = 1;
    /// Of a column of it: there where the column is encrypted.
    pub(super) const CRYPTO_METADATA: i64 = 8;
    /// Of a page's header.
    pub(super) const UNCOMPRESSED_PAGE_SIZE: i64 = 2;
    pub(super) const COMPRESSED_PAGE_SIZE: i64 = 3;
}

/// The leaves that are encrypted in any row group, by their places in the schema, as a footer says; none where it is not
/// understood.
pub(super) fn encrypted_columns(footer: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut bytes = Compact { bytes: footer };
    let _ = bytes.fields(&mut |id, kind, bytes| {
        if id != field::ROW_GROUPS || kind != LIST {
            return Some(false);
        }
        bytes.each(&mut |_, group| {
            group.fields(&mut |id, kind, bytes| {
                if id != field::COLUMNS || kind != LIST {
                    return Some(false);
                }
                bytes.each(&mut |place, column| {
                    column.fields(&mut |id, _, _| {
                        if id == field::CRYPTO_METADATA {
                            found.push(place);
                        }
                        Some(false)
                    })
                })?;
                Some(true)
            })
        })?;
        Some(true)
    });
    found.sort_unstable();
    found.dedup();
    found
}

/// How many bytes a page has in the file and unpacked, as its header says, which these are or begin with.
pub(super) fn page_sizes(header: &[u8]) -> Option<(u64, u64)> {
    let (mut compressed, mut uncompressed) = (None, None);
    let mut bytes = Compact { bytes: header };
    // The end of the header may be missing.
    let _ = bytes.fields(&mut |id, _, bytes| {
        let size = match id {
            field::UNCOMPRESSED_PAGE_SIZE => &mut uncompressed,
            field::COMPRESSED_PAGE_SIZE => &mut compressed,
            _ => return Some(false),
        };
        *size = u64::try_from(bytes.integer()?).ok();
        Some(true)
    });
    Some((compressed?, uncompressed?))
}

struct Compact<'a> {
    bytes: &'a [u8],
}

/// Is shown the number and the type of a field. Whether it has taken the value, which is passed over otherwise.
type See<'a> = dyn FnMut(i64, u8, &mut Compact<'_>) -> Option<bool> + 'a;

impl Compact<'_> {
    fn take(&mut self, count: u64) -> Option<&[u8]> {
        let count = usize::try_from(count).ok()?;
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn varint(&mut self) -> Option<u64> {
        varint(&mut self.bytes)
    }

    fn integer(&mut self) -> Option<i64> {
        let coded = self.varint()?;
        Some((coded >> 1) as i64 ^ -((coded & 1) as i64))
    }

    /// Shows the fields of a struct.
    fn fields(&mut self, see: &mut See<'_>) -> Option<()> {
        self.fields_at(DEPTH_MAX, see)
    }

    fn fields_at(&mut self, depth: u8, see: &mut See<'_>) -> Option<()> {
        let mut id = 0;
        loop {
            let head = self.byte()?;
            let kind = head & 0xf;
            if kind == 0 {
                return Some(());
            }
            id = match head >> 4 {
                0 => self.integer()?,
                more => i64::checked_add(id, more.into())?,
            };
            if !see(id, kind, self)? {
                self.skip(kind, depth)?;
            }
        }
    }

    /// The type and the number of elements of a list.
    fn list(&mut self) -> Option<(u8, u64)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => count.into(),
        };
        Some((head & 0xf, count))
    }

    /// Shows the structs of a list with their places.
    fn each(&mut self, see: &mut dyn FnMut(usize, &mut Compact<'_>) -> Option<()>) -> Option<()> {
        let (kind, count) = self.list()?;
        if kind != STRUCT {
            return None;
        }
        (0..usize::try_from(count).ok()?).try_for_each(|place| see(place, self))
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            TRUE | FALSE => {}
            BYTE => drop(self.byte()?),
            I16..=I64 => drop(self.varint()?),
            DOUBLE => drop(self.take(8)?),
            UUID => drop(self.take(16)?),
            BINARY => {
                let count = self.varint()?;
                self.take(count)?;
            }
            LIST | SET => {
                let (kind, count) = self.list()?;
                (0..count).try_for_each(|_| self.skip_element(kind, depth))?;
            }
            MAP => {
                let count = self.varint()?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                (0..count).try_for_each(|_| {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 0xf, depth)
                })?;
            }
            STRUCT => self.fields_at(depth, &mut |_, _, _| Some(false))?,
            _ => return None,
        }
        Some(())
    }

    /// In a list, a truth value takes a byte.
    fn skip_element(&mut self, kind: u8, depth: u8) -> Option<()> {
        match kind {
            TRUE | FALSE => self.byte().map(drop),
            kind => self.skip(kind, depth),
        }
    }
}

/// A number in groups of seven bits, the lowest first, at the beginning of these bytes, which it is taken from.
pub(super) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_a_page() {
        // Type 0, 300 bytes of 1000, and a struct.
        let header = [0x15, 0, 0x15, 0xd0, 0x0f, 0x15, 0xd8, 0x04, 0x2c, 0x15, 2, 0, 0];
        assert_eq!(page_sizes(&header), Some((300, 1000)));
        assert_eq!(page_sizes(&header[..8]), Some((300, 1000)), "without its end");
        assert_eq!(page_sizes(&header[..7]), None);
        assert_eq!(page_sizes(&[0x15, 0, 0x15, 1, 0x15, 2, 0]), None, "below 0");
        assert_eq!(page_sizes(&[0xff; 40]), None);
    }

    #[test]
    fn columns_that_are_encrypted() {
        // Version 1; field 4 is a list of one group, whose field 1 is a list of two columns, the second with a field 8.
        let plain = [0x26, 0, 0];
        let encrypted = [0x26, 0, 0x6c, 0x1c, 0, 0, 0];
        let columns = [&[0x19, 0x2c][..], &plain, &encrypted, &[0]].concat();
        let footer = [&[0x15, 2, 0x39, 0x1c][..], &columns, &[0]].concat();
        assert_eq!(encrypted_columns(&footer), [1]);
        assert_eq!(encrypted_columns(&footer[..footer.len() - 3]), [1], "cut short");
        assert!(encrypted_columns(&[]).is_empty());
        for bytes in [[0x1c; 500].as_slice(), &[0x19; 500], &[0x1b; 500], &[0xff; 500]] {
            assert!(encrypted_columns(bytes).is_empty());
        }
    }

    #[test]
    fn numbers_in_groups_of_bits() {
        for (bytes, wanted) in [(&[5][..], Some(5)), (&[0x80, 1], Some(128)), (&[0x80], None)] {
            assert_eq!(varint(&mut &bytes[..]), wanted);
        }
        assert_eq!(varint(&mut &[0xff; 11][..]), None);
    }
}
