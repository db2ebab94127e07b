//! Batches of a table whose rows can be read by position: each is a window, some rows that stand together, read as a small
//! table of its own. What is in memory does not grow with the rows. Knows no format.

use std::ops::Range;
use std::sync::Arc;

use super::open_table::{Batch, Batches, Contents, Load, OpenTable, Stored, Wanted};
use crate::block::Builder;
use crate::error::DataError;

/// Bytes of a window, at most, unless a row has more.
const WINDOW_LEN_MAX: usize = 8 << 20;

/// An open table whose rows are where they are in its file.
pub(super) trait Windowed: Send + Sync {
    /// Rows of the table.
    fn rows(&self) -> usize;

    /// Bytes that a row takes in the file.
    fn row_len(&self) -> usize;

    /// These rows as a table in memory that keeps its rows as they stand: its first row is the first of these, and the
    /// places that its errors name are those in the whole table.
    ///
    /// # Errors
    /// If they cannot be read.
    fn window(&self, rows: Range<usize>) -> Result<Arc<dyn OpenTable>, DataError>;
}

/// The batches of such a table.
pub(super) fn batches(from: impl Windowed + 'static, wanted: Arc<Wanted>) -> Box<dyn Batches> {
    let rows_max = wanted.rows_max.min(WINDOW_LEN_MAX / from.row_len().max(1)).max(1);
    Box::new(InOrder { from: Arc::new(from), wanted, rows_max, next: 0 })
}

struct InOrder<F> {
    from: Arc<F>,
    wanted: Arc<Wanted>,
    rows_max: usize,
    /// The first row of the next batch.
    next: usize,
}

impl<F: Windowed + 'static> Batches for InOrder<F> {
    fn next(&mut self) -> Result<Option<Load>, DataError> {
        if self.next >= self.from.rows() {
            return Ok(None);
        }
        let rows = self.next..self.from.rows().min(self.next + self.rows_max);
        self.next = rows.end;
        let (from, wanted) = (Arc::clone(&self.from), Arc::clone(&self.wanted));
        Ok(Some(Box::new(move || batch(from.window(rows)?, &wanted))))
    }
}

/// All rows of a window.
fn batch(window: Arc<dyn OpenTable>, wanted: &Wanted) -> Result<Batch, DataError> {
    let Wanted { selection, kept, rows_max: _ } = wanted;
    let Contents { rows, stored, label_names, noted: _ } = window.read(selection)?;
    let Stored::Open { labels, may_miss: _ } = stored else {
        unreachable!("rows of such tables are not kept as blocks")
    };
    let numbers = selection.number_columns();
    let all: Vec<u32> = (0..rows as u32).collect();
    let found = window.block(&all, &numbers);
    let mut block = Builder::default();
    block.begin(rows, numbers.len(), labels.len());
    let mut column = Vec::with_capacity(rows);
    for place in 0..numbers.len() {
        let cells = found.number(place);
        column.clear();
        column.extend((0..rows).map(|row| cells.get(row)));
        block.set_numbers(place, &column);
    }
    labels.iter().enumerate().for_each(|(place, ids)| block.set_labels(place, ids));
    block.end_rows(rows);
    let kept = kept.iter().map(|&column| window.kept(0..rows as u32, column));
    let kept = kept.collect::<Result<_, _>>()?;
    let (selection, block) = (Arc::clone(selection), block.block());
    Ok(Batch { table: window, selection, first: 0, block, label_names, kept })
}
