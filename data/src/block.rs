//! Some rows of a table as they were read, column after column: numbers as `f64`, in half the memory where a column's are
//! all `f32` as they are, or whole numbers over one power of ten, as most of what people write is. No bit of an `f64` is
//! lost in any form. Knows no names and no file.

use std::ops::Range;

/// Label id of a missing cell. No table has as many rows, let alone labels.
pub(crate) const MISSING_LABEL: u32 = u32::MAX;

/// Whole rows that stand together in the file.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) rows: usize,
    /// How each column is kept, and where it begins.
    places: Vec<Place>,
    /// Bits of `f32` and of `i32`.
    narrow: Vec<u32>,
    wide: Vec<f64>,
    /// Label ids, column of texts by column of texts.
    labels: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Float(usize),
    Decimal(usize, f64),
    Wide(usize),
}

/// The numbers of one column of a block; NaN is a missing cell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column<'a> {
    /// Bits of `f32`.
    Float(&'a [u32]),
    /// Bits of `i32`, and what they are divided by.
    Decimal(&'a [u32], f64),
    Wide(&'a [f64]),
}

/// Powers of ten that whole numbers may be divided by. They are exact, and so a quotient is what its decimal is read as.
const POWERS: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Numbers that are looked at before all are.
const SAMPLE_LEN: usize = 64;

/// A missing cell among whole numbers.
const MISSING: i32 = i32::MIN;

fn float(bits: u32) -> f64 {
    f64::from(f32::from_bits(bits))
}

fn decimal(bits: u32, power: f64) -> f64 {
    match bits.cast_signed() {
        MISSING => f64::NAN,
        whole => f64::from(whole) / power,
    }
}

/// The whole number over this power that is exactly this number.
fn whole(value: f64, power: f64) -> Option<i32> {
    if value.is_nan() {
        return Some(MISSING);
    }
    // The nearest one; a cast keeps within its bounds.
    let whole = (value * power + 0.5_f64.copysign(value)) as i32;
    let is_same = (f64::from(whole) / power).to_bits() == value.to_bits() && whole != MISSING;
    is_same.then_some(whole)
}

/// Numbers over one power of ten, the least that all of them are whole over, and their bits.
fn decimals(values: &[f64], bits: &mut Vec<u32>) -> Option<f64> {
    let start = bits.len();
    let mut powers = POWERS.iter().copied();
    let mut power = powers.next()?;
    // The first few tell which power it is, mostly; any value may say otherwise.
    for &value in &values[..values.len().min(SAMPLE_LEN)] {
        while whole(value, power).is_none() {
            power = powers.next()?;
        }
    }
    loop {
        let all = values.iter().map_while(|&value| whole(value, power).map(i32::cast_unsigned));
        bits.extend(all);
        if bits.len() - start == values.len() {
            return Some(power);
        }
        bits.truncate(start);
        power = powers.next()?;
    }
}

impl Column<'_> {
    pub(crate) fn get(&self, row: usize) -> f64 {
        match self {
            Column::Float(bits) => float(bits[row]),
            Column::Decimal(bits, power) => decimal(bits[row], *power),
            Column::Wide(values) => values[row],
        }
    }
}

impl Block {
    pub(crate) fn number(&self, column: usize) -> Column<'_> {
        match self.places[column] {
            Place::Float(from) => Column::Float(&self.narrow[from..from + self.rows]),
            Place::Decimal(from, power) => {
                Column::Decimal(&self.narrow[from..from + self.rows], power)
            }
            Place::Wide(from) => Column::Wide(&self.wide[from..from + self.rows]),
        }
    }

    #[cfg(test)]
    pub(crate) fn numbers(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn labels(&self, column: usize) -> &[u32] {
        &self.labels[column * self.rows..(column + 1) * self.rows]
    }

    /// Whether none of these cells of a row is missing.
    pub(crate) fn is_complete(&self, row: usize, numbers: &[usize], labels: &[usize]) -> bool {
        let is_missing = |&column: &usize| self.number(column).get(row).is_nan();
        let has_label = |&column: &usize| self.labels(column)[row] != MISSING_LABEL;
        !numbers.iter().any(is_missing) && labels.iter().all(has_label)
    }

    pub(crate) fn labels_mut(&mut self, column: usize) -> &mut [u32] {
        &mut self.labels[column * self.rows..(column + 1) * self.rows]
    }
}

impl Block {
    /// A block of numbers, `[columns, rows]`; `are_narrow`: an `f32` holds each of them exactly.
    pub(crate) fn of_numbers(
        [columns, rows]: [usize; 2],
        are_narrow: bool,
        numbers: impl Iterator<Item = f64>,
    ) -> Block {
        let (mut narrow, mut wide) = (Vec::new(), Vec::new());
        if are_narrow {
            narrow = numbers.map(|number| (number as f32).to_bits()).collect();
        } else {
            wide = numbers.collect();
        }
        debug_assert_eq!(narrow.len() + wide.len(), rows * columns, "a number for each place");
        let place = if are_narrow { Place::Float } else { Place::Wide };
        let places = (0..columns).map(|column| place(column * rows)).collect();
        Block { rows, places, narrow, wide, labels: Vec::new() }
    }
}

/// A block being read. Its memory serves for one block after another.
#[derive(Default)]
pub(crate) struct Builder {
    rows_max: usize,
    rows: usize,
    numbers: Vec<f64>,
    labels: Vec<u32>,
}

impl Builder {
    /// Begins a block of so many rows at most.
    pub(crate) fn begin(&mut self, rows_max: usize, numbers: usize, labels: usize) {
        (self.rows_max, self.rows) = (rows_max, 0);
        self.numbers.resize(rows_max * numbers, 0.0);
        self.labels.resize(rows_max * labels, 0);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows == self.rows_max
    }

    /// Sets a number of the row in hand.
    #[inline]
    pub(crate) fn set_number(&mut self, column: usize, value: f64) {
        self.numbers[column * self.rows_max + self.rows] = value;
    }

    /// Sets a label id of the row in hand.
    #[inline]
    pub(crate) fn set_label(&mut self, column: usize, id: u32) {
        self.labels[column * self.rows_max + self.rows] = id;
    }

    /// Sets the numbers of a column, from the row in hand on.
    pub(crate) fn set_numbers(&mut self, column: usize, values: &[f64]) {
        let from = column * self.rows_max + self.rows;
        self.numbers[from..from + values.len()].copy_from_slice(values);
    }

    /// Sets the label ids of a target, from the row in hand on.
    pub(crate) fn set_labels(&mut self, target: usize, ids: &[u32]) {
        let from = target * self.rows_max + self.rows;
        self.labels[from..from + ids.len()].copy_from_slice(ids);
    }

    /// So many rows are whole.
    pub(crate) fn end_rows(&mut self, rows: usize) {
        self.rows += rows;
    }

    /// The row in hand is whole: the next one begins.
    pub(crate) fn end_row(&mut self) {
        self.rows += 1;
    }

    /// The rows so far.
    pub(crate) fn block(&self) -> Block {
        let (rows, length) = (self.rows, self.rows_max.max(1));
        let mut narrow = Vec::with_capacity(self.numbers.len() / length * rows);
        let mut wide = Vec::new();
        let mut places = Vec::new();
        for column in self.numbers.chunks_exact(length).map(|column| &column[..rows]) {
            let from = narrow.len();
            if column.iter().all(|&value| f64::from(value as f32) == value || value.is_nan()) {
                places.push(Place::Float(from));
                narrow.extend(column.iter().map(|&value| (value as f32).to_bits()));
            } else if let Some(power) = decimals(column, &mut narrow) {
                places.push(Place::Decimal(from, power));
            } else {
                places.push(Place::Wide(wide.len()));
                wide.extend_from_slice(column);
            }
        }
        narrow.shrink_to_fit();
        wide.shrink_to_fit();
        let columns = self.labels.chunks_exact(length);
        let labels = columns.flat_map(|column| &column[..rows]).copied().collect();
        Block { rows, places, narrow, wide, labels }
    }
}

/// Which rows of a block are meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    /// Rows of the table, in order.
    pub(crate) rows: &'a [u32],
    base: Base,
}

#[derive(Clone, Copy, Debug)]
enum Base {
    /// The table's row that is the block's first.
    First(u32),
    /// The block holds the meant rows alone, and the first of these ones stands here.
    Alone(usize),
}

impl<'a> Places<'a> {
    /// Of a block that begins with row `first` of the table.
    pub(crate) fn of(rows: &'a [u32], first: u32) -> Places<'a> {
        Places { rows, base: Base::First(first) }
    }

    /// Of a block that holds these rows alone.
    pub(crate) fn all(rows: &'a [u32]) -> Places<'a> {
        Places { rows, base: Base::Alone(0) }
    }

    /// The same rows, so many at once.
    pub(crate) fn chunks(self, len: usize) -> impl Iterator<Item = Places<'a>> {
        self.rows.chunks(len).enumerate().map(move |(chunk, rows)| {
            let base = match self.base {
                Base::First(first) => Base::First(first),
                Base::Alone(offset) => Base::Alone(offset + chunk * len),
            };
            Places { rows, base }
        })
    }

    /// Rows of the block, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        let base = self.base;
        let place = move |(place, row): (usize, &u32)| match base {
            Base::First(first) => (row - first) as usize,
            Base::Alone(offset) => offset + place,
        };
        self.rows.iter().enumerate().map(place)
    }

    /// The rows of the block where none is left out between the first and the last.
    fn range(&self) -> Option<Range<usize>> {
        let (&first_row, &last_row) = (self.rows.first()?, self.rows.last()?);
        let first = match self.base {
            Base::First(_) if (last_row - first_row) as usize + 1 != self.rows.len() => {
                return None;
            }
            Base::First(first) => (first_row - first) as usize,
            Base::Alone(offset) => offset,
        };
        Some(first..first + self.rows.len())
    }

    /// These numbers of a column, in order.
    #[inline]
    pub(crate) fn each(&self, column: Column<'_>, mut see: impl FnMut(f64)) {
        match (column, self.range()) {
            (Column::Float(bits), Some(range)) => {
                bits[range].iter().for_each(|&bits| see(float(bits)));
            }
            (Column::Decimal(bits, power), Some(range)) => {
                bits[range].iter().for_each(|&bits| see(decimal(bits, power)));
            }
            (Column::Wide(values), Some(range)) => {
                values[range].iter().for_each(|&value| see(value));
            }
            (column, None) => self.iter().for_each(|row| see(column.get(row))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_keep_every_bit_and_take_half_the_memory_where_they_can() {
        let columns = [
            ([1.0, -0.0, f64::NAN, 1e30_f32.into()], 'f'),
            ([0.1, f64::NAN, -2.75, 214748.3647], 'd'),
            ([1_700_000_001.0, 1.0, 2.0, -2_147_483_647.0], 'd'),
            ([0.001, 1e-9, 2.0, 0.3], 'd'),
            ([0.5, 2.0, 1e10, 0.1], 'w'),
            ([0.1, -0.0, 1.0, 2.0], 'w'),
            ([0.1, 2_147_483_648.0, 1.0, 2.0], 'w'),
            ([1.0 / 3.0, 1.0, 2.0, f64::NAN], 'w'),
            ([0.1 + 0.2, 1e300, -1e-300, f64::MIN_POSITIVE], 'w'),
            ([16_777_217.0, -2_147_483_648.0, 1.0, 2.0], 'w'),
        ];
        let mut builder = Builder::default();
        builder.begin(5, columns.len(), 1);
        for row in 0..4 {
            for (column, (values, _)) in columns.iter().enumerate() {
                builder.set_number(column, values[row]);
            }
            builder.set_label(0, row as u32 + 7);
            builder.end_row();
        }
        assert!(!builder.is_full());
        let block = builder.block();
        assert_eq!((block.rows, block.numbers()), (4, columns.len()));
        assert_eq!(block.labels(0), [7, 8, 9, 10]);
        for (column, (values, form)) in columns.into_iter().enumerate() {
            let found = match block.number(column) {
                Column::Float(_) => 'f',
                Column::Decimal(..) => 'd',
                Column::Wide(_) => 'w',
            };
            assert_eq!(found, form, "{values:?}");
            for (row, value) in values.into_iter().enumerate() {
                let found = block.number(column).get(row);
                let is_same =
                    found.to_bits() == value.to_bits() || found.is_nan() && value.is_nan();
                assert!(is_same, "{found} for {value}");
            }
        }
    }

    #[test]
    fn some_rows_of_a_block_are_seen_in_order() {
        let mut builder = Builder::default();
        builder.begin(4, 1, 0);
        for value in [1.0, 2.0, 3.0, 4.0] {
            builder.set_number(0, value);
            builder.end_row();
        }
        let block = builder.block();
        for (rows, wanted) in
            [(&[10, 11, 12, 13][..], &[1.0, 2.0, 3.0, 4.0][..]), (&[11, 13], &[2.0, 4.0])]
        {
            let mut seen = Vec::new();
            Places::of(rows, 10).each(block.number(0), |value| seen.push(value));
            assert_eq!(seen, wanted);
            for len in 1..5 {
                seen.clear();
                for places in Places::of(rows, 10).chunks(len) {
                    places.each(block.number(0), |value| seen.push(value));
                }
                assert_eq!(seen, wanted);
            }
        }
    }
}
