//! The shards a worker keeps, and which it lacks. It keeps each until the coordinator says that it will not be needed: the
//! two agree on what is here, since what is dealt follows from it. What comes of a shard is checked and put together here.
//! Asks nobody for anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_model::Network;
use lockstep_proto::batches::Batches;
use lockstep_proto::frame::Welcome;
use lockstep_proto::ids::{Shard, Span, Table};
use lockstep_proto::{PART_VALUES_MAX, values};

use crate::lost::{Lost, shown};
use crate::{WorkerError, memory};

/// Longest wait for the next part of a shard: 1 MiB, on a link that is shared with other workers.
const PART_WAIT_MAX: Duration = Duration::from_secs(30);

/// Memory set aside for a shard before any of it is there: 16 MiB.
const FETCH_RESERVE_VALUES: usize = 1 << 22;

/// The rows of a shard in the shard's own order: features, then targets, then, of the training table where the run is
/// weighted, the weight.
pub(crate) type Rows = Arc<Vec<f32>>;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Shards {
    /// Which rows there can be.
    network: Arc<Network>,
    /// Values in a row, its weight not among them.
    width: usize,
    /// Whether rows of the training table have weights.
    is_weighted: bool,
    tables: Vec<(Table, Batches)>,
    kept: BTreeMap<(Table, Shard), Rows>,
    /// All memory of this machine, if that is known.
    memory_bytes: Option<u64>,
    coming: Option<Coming>,
}

/// A shard that is being fetched.
#[derive(Debug)]
struct Coming {
    table: Table,
    shard: Shard,
    rows: u64,
    /// What is here of it.
    values: Vec<f32>,
    /// How many values it has.
    wanted: usize,
    /// In how many more parts it may come.
    parts_left: usize,
    part_until: Instant,
}

impl Shards {
    pub(crate) fn new(
        welcome: &Welcome,
        network: Arc<Network>,
        memory_bytes: Option<u64>,
    ) -> Shards {
        let whole = |rows| Batches::whole(rows, welcome.batches.shards);
        let mut tables = vec![
            (Table::Train, welcome.batches),
            (Table::Validation, whole(welcome.validation_rows)),
            (Table::Test, whole(welcome.test_rows)),
        ];
        tables.retain(|(_, batches)| batches.rows > 0);
        let width = network.inputs() + network.target_width();
        let (is_weighted, kept) = (welcome.is_weighted, BTreeMap::new());
        Shards { network, width, is_weighted, tables, kept, memory_bytes, coming: None }
    }

    /// Values in a row of a table.
    fn width_of(&self, table: Table) -> usize {
        self.width + usize::from(self.is_weighted && table == Table::Train)
    }

    /// Lets go of what is kept of every table in a span. What is computed on at the moment stays until that is done.
    pub(crate) fn forget(&mut self, span: Span) {
        self.kept.retain(|&(_, shard), _| !(span.start..span.end).contains(&shard.0));
    }

    /// Rows that are kept, of all tables.
    pub(crate) fn rows(&self) -> u64 {
        let rows =
            |(&(table, _), rows): (&(Table, Shard), &Rows)| rows.len() / self.width_of(table);
        self.kept.iter().map(rows).sum::<usize>() as u64
    }

    /// Values in memory, those of a shard that is coming among them.
    pub(crate) fn values(&self) -> usize {
        let kept: usize = self.kept.values().map(|rows| rows.len()).sum();
        kept + self.coming.as_ref().map_or(0, |coming| coming.values.len())
    }

    pub(crate) fn is_kept(&self, table: Table, shard: Shard) -> bool {
        self.kept.contains_key(&(table, shard))
    }

    /// Which shards are kept, of any table.
    pub(crate) fn kept(&self) -> impl Iterator<Item = Shard> {
        self.kept.keys().map(|&(_, shard)| shard)
    }

    /// One table's shards of a span that are all here; `None` if any would have to be fetched. Shards without rows are
    /// left out.
    pub(crate) fn here(&self, table: Table, span: Span) -> Option<Vec<(Shard, Rows)>> {
        let shards = self.with_rows(table, span);
        shards.map(|(shard, _)| Some((shard, self.kept.get(&(table, shard))?.clone()))).collect()
    }

    /// The first shard that is missing of every table in a span.
    pub(crate) fn missing(&self, span: Span) -> Option<(Table, Shard)> {
        self.tables.iter().find_map(|&(table, _)| self.missing_of(table, span))
    }

    /// The first shard that is missing of a table in a span.
    pub(crate) fn missing_of(&self, table: Table, span: Span) -> Option<(Table, Shard)> {
        let mut shards = self.with_rows(table, span).map(|(shard, _)| (table, shard));
        shards.find(|&(table, shard)| !self.is_kept(table, shard))
    }

    /// The shards of a span that have rows in a table, and how many.
    fn with_rows(&self, table: Table, span: Span) -> impl Iterator<Item = (Shard, u64)> {
        let batches = self.tables.iter().find(|(known, _)| *known == table);
        let rows = batches.into_iter().flat_map(move |(_, batches)| {
            span.shards().map(|shard| (shard, batches.shard_rows(shard.0)))
        });
        rows.filter(|&(_, rows)| rows > 0)
    }

    /// That a table is one of the run's.
    ///
    /// # Errors
    /// If it is not.
    pub(crate) fn check(&self, table: Table) -> Result<(), WorkerError> {
        match self.tables.iter().any(|(known, _)| *known == table) {
            true => Ok(()),
            false => Err(WorkerError::Protocol(format!("this run has no {table} table"))),
        }
    }

    /// A shard that is missing is asked for.
    ///
    /// # Errors
    /// If it does not fit into this machine.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        table: Table,
        shard: Shard,
    ) -> Result<(), WorkerError> {
        let batches = self.tables.iter().find(|(known, _)| *known == table);
        let rows = batches.map_or(0, |(_, batches)| batches.shard_rows(shard.0));
        let wanted = rows as usize * self.width_of(table);
        let bytes = wanted as u128 * size_of::<f32>() as u128;
        memory::check(&format!("{table} {shard}"), bytes, self.memory_bytes)?;
        self.coming = Some(Coming {
            table,
            shard,
            rows,
            values: Vec::with_capacity(wanted.min(FETCH_RESERVE_VALUES)),
            wanted,
            parts_left: parts_max(wanted),
            part_until: now + PART_WAIT_MAX,
        });
        Ok(())
    }

    /// Whether a shard was asked for and is not here yet.
    pub(crate) fn is_coming(&self) -> bool {
        self.coming.is_some()
    }

    /// Until when the next part of what was asked for is waited for.
    pub(crate) fn part_until(&self) -> Option<Instant> {
        self.coming.as_ref().map(|coming| coming.part_until)
    }

    /// Gives up waiting if it took too long.
    ///
    /// # Errors
    /// If it did.
    pub(crate) fn handle_timeout(&self, now: Instant) -> Result<(), WorkerError> {
        match &self.coming {
            Some(coming) if now >= coming.part_until => {
                let name = format!("{} {}", coming.table, coming.shard);
                Err(WorkerError::Lost(Lost::NoRows(name, PART_WAIT_MAX)))
            }
            _ => Ok(()),
        }
    }

    /// Takes in the next part of what was asked for, or, with `None`, its end.
    ///
    /// # Errors
    /// If that is not what it can be.
    pub(crate) fn part(&mut self, now: Instant, part: Option<&[u8]>) -> Result<(), WorkerError> {
        let Some(mut coming) = self.coming.take() else { return Ok(()) };
        let Some(part) = part else {
            if coming.values.len() < coming.wanted {
                let width = self.width_of(coming.table);
                return Err(coming.wrong(format!("only {} values", coming.values.len()), width));
            }
            if self.is_weighted && coming.table == Table::Train {
                self.check_weights(&coming)?;
            }
            let width = self.width_of(coming.table);
            self.network.check_rows(&coming.values, width).map_err(|bad| {
                let Coming { table, shard, .. } = coming;
                WorkerError::Protocol(format!("{table} {shard}: {}", shown(&bad.to_string())))
            })?;
            self.kept.insert((coming.table, coming.shard), Arc::new(coming.values));
            return Ok(());
        };
        let problem = match values::decode(part) {
            // The end counts as one.
            _ if coming.parts_left <= 1 => "more parts than there can be".to_string(),
            Some(values) if coming.values.len() + values.len() <= coming.wanted => {
                coming.values.extend(values);
                coming.parts_left -= 1;
                coming.part_until = now + PART_WAIT_MAX;
                self.coming = Some(coming);
                return Ok(());
            }
            Some(_) => "more values than there can be".to_string(),
            None => format!("a part of {} bytes", part.len()),
        };
        let width = self.width_of(coming.table);
        Err(coming.wrong(problem, width))
    }

    /// That each row of a shard ends with what can be a weight.
    fn check_weights(&self, coming: &Coming) -> Result<(), WorkerError> {
        let mut rows = coming.values.chunks_exact(self.width_of(coming.table));
        let is_bad = |row: &&[f32]| row.last().is_none_or(|w| !w.is_finite() || *w < 0.0);
        match rows.find(is_bad) {
            None => Ok(()),
            Some(row) => {
                let weight = row.last().copied().unwrap_or(f32::NAN);
                Err(WorkerError::Protocol(format!(
                    "a row of weight {weight} in {} {}, wanted a number of at least 0",
                    coming.table, coming.shard
                )))
            }
        }
    }
}

impl Coming {
    fn wrong(&self, what: String, width: usize) -> WorkerError {
        let Coming { table, shard, rows, .. } = self;
        WorkerError::Protocol(format!("{what} of {table} {shard}, wanted {rows} rows of {width}"))
    }
}

/// Most messages in which a shard comes: parts are at least half full on average, and the end is one more.
fn parts_max(values: usize) -> usize {
    2 * values.div_ceil(PART_VALUES_MAX) + 1
}
