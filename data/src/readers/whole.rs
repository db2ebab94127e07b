//! Batches of a table that is in memory as it stands in its file, for the formats that are read whole. Knows no format.

use std::collections::HashMap;
use std::sync::Arc;

use super::open_table::{Batch, Batches, Contents, Load, OpenTable, Stored, Wanted};
use crate::block::{Builder, MISSING_LABEL};
use crate::error::DataError;

/// The batches of such a table, all of whose cells are checked at once.
pub(super) fn batches(
    table: Arc<dyn OpenTable>,
    wanted: Arc<Wanted>,
) -> Result<Box<dyn Batches>, DataError> {
    let Contents { rows, stored, label_names, noted: _ } = table.read(&wanted.selection)?;
    let Stored::Open { labels, may_miss: _ } = stored else {
        unreachable!("rows of such tables are not kept as blocks")
    };
    let labels = Arc::new(Labels { ids: labels, names: label_names });
    let numbers = wanted.selection.number_columns().into();
    Ok(Box::new(Rows { table, wanted, numbers, labels, rows, next: 0 }))
}

/// The labels of all rows.
struct Labels {
    /// The label id of each row, column of texts by column of texts.
    ids: Vec<Vec<u32>>,
    names: Vec<Vec<String>>,
}

struct Rows {
    table: Arc<dyn OpenTable>,
    wanted: Arc<Wanted>,
    /// File columns of the numbers of a row.
    numbers: Arc<[usize]>,
    labels: Arc<Labels>,
    rows: usize,
    /// The first row of the next batch.
    next: usize,
}

impl Batches for Rows {
    fn next(&mut self) -> Result<Option<Load>, DataError> {
        if self.next >= self.rows {
            return Ok(None);
        }
        let rows = self.next..self.rows.min(self.next + self.wanted.rows_max);
        self.next = rows.end;
        let (table, wanted) = (Arc::clone(&self.table), Arc::clone(&self.wanted));
        let (numbers, labels) = (Arc::clone(&self.numbers), Arc::clone(&self.labels));
        Ok(Some(Box::new(move || {
            let range = rows.start as u32..rows.end as u32;
            let all: Vec<u32> = range.clone().collect();
            let found = table.block(&all, &numbers);
            let mut block = Builder::default();
            block.begin(rows.len(), numbers.len(), labels.ids.len());
            let mut column = Vec::with_capacity(rows.len());
            for place in 0..numbers.len() {
                let cells = found.number(place);
                column.clear();
                column.extend((0..rows.len()).map(|row| cells.get(row)));
                block.set_numbers(place, &column);
            }
            let mut label_names = Vec::with_capacity(labels.ids.len());
            for (place, (ids, names)) in labels.ids.iter().zip(&labels.names).enumerate() {
                let (own, used) = of_batch(&ids[rows.clone()], names);
                block.set_labels(place, &own);
                label_names.push(used);
            }
            block.end_rows(rows.len());
            let kept = wanted.kept.iter().map(|&column| table.kept(range.clone(), column));
            let kept = kept.collect::<Result<_, _>>()?;
            let (selection, block) = (Arc::clone(&wanted.selection), block.block());
            Ok(Batch { table, selection, first: range.start, block, label_names, kept })
        })))
    }
}

/// The label ids of some rows as places among the labels that these rows have.
fn of_batch(ids: &[u32], names: &[String]) -> (Vec<u32>, Vec<String>) {
    let mut places: HashMap<u32, u32> = HashMap::new();
    let mut used = Vec::new();
    let place = |&id: &u32| match id {
        MISSING_LABEL => MISSING_LABEL,
        id => *places.entry(id).or_insert_with(|| {
            used.push(names[id as usize].clone());
            used.len() as u32 - 1
        }),
    };
    (ids.iter().map(place).collect(), used)
}
