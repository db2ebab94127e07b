//! The tables of a run as its coordinator asks for them: dealt to shards, and copied from place to place.

use std::ops::Range;

use lockstep_coordinator::ShardSource;
use lockstep_data::Sharded;
use lockstep_proto::ids::{Shard, Table};

/// The tables of a run, dealt to shards.
pub struct Tables {
    /// What the weights learn from.
    pub train: Sharded,
    /// Measured after every epoch.
    pub validation: Option<Sharded>,
    /// Measured at the end.
    pub test: Option<Sharded>,
}

impl Tables {
    fn table(&self, table: Table) -> Option<&Sharded> {
        match table {
            Table::Train => Some(&self.train),
            Table::Validation => self.validation.as_ref(),
            Table::Test => self.test.as_ref(),
        }
    }
}

impl ShardSource for Tables {
    fn width(&self, table: Table) -> usize {
        self.table(table).map_or(1, |table| table.rows().width())
    }

    fn rows(&self, table: Table, shard: Shard) -> Option<u64> {
        Some(self.table(table)?.rows_in(shard.0))
    }

    fn copy(&self, table: Table, shard: Shard, places: Range<u64>, out: &mut Vec<f32>) {
        if let Some(table) = self.table(table) {
            table.copy(shard.0, places, out);
        }
    }
}
