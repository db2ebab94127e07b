//! A table dealt to its shards: the rows, in the order in which shards hold them. Sends nothing anywhere.

use std::ops::Range;

use crate::order::RowOrder;
use crate::rows::Rows;

/// Rows with their order.
#[derive(Clone, Debug)]
pub struct Sharded {
    rows: Rows,
    order: RowOrder,
    table: Option<Vec<u32>>,
}

impl Sharded {
    /// # Panics
    /// If the order is for another number of rows.
    pub fn new(rows: Rows, order: RowOrder) -> Sharded {
        assert_eq!(order.batches.rows, rows.len() as u64, "the order is for another table");
        Sharded { table: order.table_order(), rows, order }
    }

    /// The table as it was before it was dealt.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The order of the rows.
    pub fn order(&self) -> &RowOrder {
        &self.order
    }

    /// Number of rows of `shard`.
    pub fn rows_in(&self, shard: u32) -> u64 {
        self.order.batches.shard_rows(shard)
    }

    /// The row of the table at a shard's local place.
    ///
    /// # Panics
    /// If the shard or the place does not exist.
    pub fn row_of(&self, shard: u32, place: u64) -> u64 {
        let position = self.order.position_of(shard, place);
        self.table.as_ref().map_or(position, |table| table[position as usize].into())
    }

    /// Appends the rows at these local places, whole and in order, to `out`.
    ///
    /// # Panics
    /// If the shard or a place does not exist.
    pub fn copy(&self, shard: u32, places: Range<u64>, out: &mut Vec<f32>) {
        let count = places.end.saturating_sub(places.start) as usize;
        out.reserve(count.min(self.rows.len()) * self.rows.width());
        for place in places {
            out.extend_from_slice(self.rows.row(self.row_of(shard, place) as usize));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_proto::batches::Batches;

    #[test]
    fn shards_hold_every_row_once() {
        let rows = Rows::new(1, 1, (0..22).map(|value| value as f32).collect());
        for shuffle in [false, true] {
            let batches = Batches { rows: 11, shards: 3, batch_size: 4 };
            let order = RowOrder { batches, shuffle, seed: 5 };
            let sharded = Sharded::new(rows.clone(), order);
            let mut values = Vec::new();
            for shard in 0..3 {
                let end = sharded.rows_in(shard);
                sharded.copy(shard, 0..2, &mut values);
                sharded.copy(shard, 2..end, &mut values);
                sharded.copy(shard, end..end, &mut values);
            }
            let mut seen: Vec<f32> = values.chunks(2).map(|row| row[0] / 2.0).collect();
            assert!(values.chunks(2).all(|row| row[1] == row[0] + 1.0));
            if !shuffle {
                assert_eq!(seen, [0.0, 3.0, 6.0, 9.0, 1.0, 4.0, 7.0, 10.0, 2.0, 5.0, 8.0]);
            }
            seen.sort_by(f32::total_cmp);
            assert_eq!(seen, (0..11).map(|row| row as f32).collect::<Vec<_>>());
        }
    }

    #[test]
    #[should_panic(expected = "shard 1 has no place 2")]
    fn a_place_outside_the_shard_is_refused() {
        let rows = Rows::new(1, 0, vec![0.0; 4]);
        Sharded::new(rows, RowOrder::whole(4, 2)).copy(1, 1..3, &mut Vec::new());
    }
}
