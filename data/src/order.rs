//! Which row is where: the arithmetic of batches, shards and their orders. Holds no rows and reads no file.
//!
//! Position `p` of an epoch belongs to shard `p mod S`, at local place `p div S`; batch `k` is the positions
//! `[kB, min((k + 1)B, N))`. [`Batches`] does that arithmetic, for the coordinator too. With `shuffle` the table is
//! permuted once before it is dealt to shards, and each shard's places are permuted afresh every epoch. Nothing here
//! depends on the number of workers.

use lockstep_proto::batches::Batches;
use lockstep_proto::random::{Purpose, Random};

/// The order of one table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowOrder {
    /// Rows, shards and batches.
    pub batches: Batches,
    /// Whether rows are permuted at all.
    pub shuffle: bool,
    /// Seed of the job.
    pub seed: u64,
}

impl RowOrder {
    /// The order of a table that is measured, not learned from: file order, all rows in one batch.
    pub fn whole(rows: u64, shards: u32) -> RowOrder {
        RowOrder { batches: Batches::whole(rows, shards), shuffle: false, seed: 0 }
    }

    /// The position of a shard's local place among all rows as they are dealt: `place * S + shard`.
    /// Without `shuffle` this is the row of the table; with it, look it up in [`RowOrder::table_order`].
    ///
    /// # Panics
    /// If the shard has no such place.
    pub fn position_of(&self, shard: u32, place: u64) -> u64 {
        assert!(place < self.batches.shard_rows(shard), "shard {shard} has no place {place}");
        place * u64::from(self.batches.shards) + u64::from(shard)
    }

    /// The one permutation of the table before it is dealt: entry `p` is the row at position `p`.
    /// `None` without `shuffle`, where it is the identity.
    pub fn table_order(&self) -> Option<Vec<u32>> {
        self.shuffle.then(|| {
            let mut order = identity(self.batches.rows);
            Random::new(self.seed, Purpose::TableOrder, 0, 0).shuffle(&mut order);
            order
        })
    }

    /// The order in which `shard` visits its rows in `epoch` (from 1): entry `i` is the local place of the row that
    /// comes `i`-th. A microbatch is a range of `i`.
    pub fn shard_order(&self, epoch: u32, shard: u32) -> Vec<u32> {
        let mut order = identity(self.batches.shard_rows(shard));
        if self.shuffle {
            Random::new(self.seed, Purpose::ShardOrder, epoch.into(), shard.into())
                .shuffle(&mut order);
        }
        order
    }
}

fn identity(rows: u64) -> Vec<u32> {
    (0..u32::try_from(rows).expect("tables hold fewer than 2^31 rows")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every small order there is, and some of awkward sizes.
    fn orders() -> impl Iterator<Item = RowOrder> {
        let rows = [1, 2, 3, 7, 16, 17, 31, 100];
        let shards = [1, 2, 3, 5, 16, 40];
        let batch_sizes = [1, 2, 3, 10, 16, 64, 1000];
        rows.into_iter().flat_map(move |rows| {
            shards.into_iter().flat_map(move |shards| {
                let fits = move |batch_size: &u64| *batch_size <= rows;
                batch_sizes.into_iter().filter(fits).flat_map(move |batch_size| {
                    let seed = rows * 31 + u64::from(shards);
                    let batches = Batches { rows, shards, batch_size };
                    [false, true].map(|shuffle| RowOrder { batches, shuffle, seed })
                })
            })
        })
    }

    /// Rows of the table in `batch` of `epoch`, shard by shard.
    fn batch(order: &RowOrder, epoch: u32, batch: u64) -> Vec<u64> {
        let table = order.table_order();
        let mut rows = Vec::new();
        for shard in 0..order.batches.shards {
            let places = order.shard_order(epoch, shard);
            for i in order.batches.microbatch(batch, shard) {
                let position = order.position_of(shard, places[i as usize].into());
                rows.push(table.as_ref().map_or(position, |table| table[position as usize].into()));
            }
        }
        rows
    }

    #[test]
    fn every_epoch_has_every_row_exactly_once() {
        for order in orders() {
            for epoch in [1, 2] {
                let mut rows: Vec<u64> =
                    (0..order.batches.count()).flat_map(|k| batch(&order, epoch, k)).collect();
                rows.sort_unstable();
                assert_eq!(rows, (0..order.batches.rows).collect::<Vec<_>>(), "{order:?}");
            }
        }
    }

    #[test]
    fn a_batch_has_its_rows_and_in_file_order_they_are_neighbours() {
        for order in orders() {
            for k in 0..order.batches.count() {
                let mut rows = batch(&order, 1, k);
                assert_eq!(rows.len() as u64, order.batches.batch_rows(k), "{order:?}");
                if !order.shuffle {
                    rows.sort_unstable();
                    let end = ((k + 1) * order.batches.batch_size).min(order.batches.rows);
                    assert_eq!(
                        rows,
                        (k * order.batches.batch_size..end).collect::<Vec<_>>(),
                        "{order:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn microbatches_tile_the_shard() {
        for order in orders() {
            for shard in 0..order.batches.shards {
                let mut at = 0;
                for k in 0..order.batches.count() {
                    let places = order.batches.microbatch(k, shard);
                    assert_eq!(places.start, at, "{order:?}");
                    at = places.end;
                }
                assert_eq!(at, order.batches.shard_rows(shard), "{order:?}");
            }
            let total: u64 =
                (0..order.batches.shards).map(|shard| order.batches.shard_rows(shard)).sum();
            assert_eq!(total, order.batches.rows);
        }
    }

    #[test]
    fn shuffled_orders_differ_by_epoch_and_shard_only() {
        let order = shuffled(1000, 4, 10);
        assert_eq!(order.shard_order(1, 0), order.shard_order(1, 0));
        assert_ne!(order.shard_order(1, 0), order.shard_order(2, 0));
        assert_ne!(order.shard_order(1, 0), order.shard_order(1, 1));
        assert_ne!(order.table_order(), RowOrder { seed: 43, ..order }.table_order());
        let other = shuffled(1000, 4, 7);
        assert_eq!(order.table_order(), other.table_order());
        assert_eq!(order.shard_order(3, 2), other.shard_order(3, 2));
    }

    #[test]
    fn shuffled_orders_are_fixed_for_all_time() {
        let order = shuffled(10, 2, 4);
        assert_eq!(order.table_order().unwrap(), FROZEN_TABLE);
        assert_eq!(order.shard_order(1, 0), FROZEN_SHARD);
    }

    fn shuffled(rows: u64, shards: u32, batch_size: u64) -> RowOrder {
        RowOrder { batches: Batches { rows, shards, batch_size }, shuffle: true, seed: 42 }
    }

    const FROZEN_TABLE: [u32; 10] = [0, 1, 3, 5, 9, 6, 2, 7, 4, 8];
    const FROZEN_SHARD: [u32; 5] = [1, 3, 4, 2, 0];
}
