//! The shards a worker keeps, and how it gets the ones it lacks. It keeps each until the coordinator says that it will
//! not be needed: the two agree on what is here, since what is dealt follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lockstep_proto::batches::Batches;
use lockstep_proto::frame::{ShardRequest, Welcome};
use lockstep_proto::ids::{Shard, Span, Table};
use lockstep_proto::wire::cluster_client::ClusterClient;
use lockstep_proto::{PART_VALUES_MAX, values};
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Channel;

use crate::loss::Loss;
use crate::{WorkerError, memory};

/// Longest wait for the next part of a shard: 1 MiB, on a link that is shared with other workers.
const PART_WAIT_MAX: Duration = Duration::from_secs(30);

/// Memory set aside for a shard before any of it is there: 16 MiB.
const FETCH_RESERVE_VALUES: usize = 1 << 22;

/// The rows of a shard in the shard's own order: features, then targets.
pub(crate) type Rows = Arc<Vec<f32>>;

pub(crate) struct Shards {
    client: ClusterClient<Channel>,
    run_id: String,
    /// Values in a row.
    width: usize,
    tables: Vec<(Table, Batches)>,
    kept: BTreeMap<(Table, Shard), Rows>,
}

impl Shards {
    pub(crate) fn new(client: ClusterClient<Channel>, welcome: &Welcome, width: usize) -> Shards {
        let whole = |rows| Batches::whole(rows, welcome.batches.shards);
        let mut tables = vec![
            (Table::Train, welcome.batches),
            (Table::Validation, whole(welcome.validation_rows)),
            (Table::Test, whole(welcome.test_rows)),
        ];
        tables.retain(|(_, batches)| batches.rows > 0);
        Shards { client, run_id: welcome.run_id.clone(), width, tables, kept: BTreeMap::new() }
    }

    /// Fetches what is missing of every table in a span. Returns how many rows are kept now.
    pub(crate) async fn prepare(&mut self, span: Span) -> Result<u64, WorkerError> {
        for (table, _) in self.tables.clone() {
            self.get(table, span).await?;
        }
        Ok(self.rows())
    }

    /// Lets go of what is kept of every table in a span. What is computed on at the moment stays until that is done.
    pub(crate) fn forget(&mut self, span: Span) {
        self.kept.retain(|&(_, shard), _| !(span.start..span.end).contains(&shard.0));
    }

    /// Rows that are kept, of all tables.
    pub(crate) fn rows(&self) -> u64 {
        let values: usize = self.kept.values().map(|rows| rows.len()).sum();
        (values / self.width) as u64
    }

    pub(crate) fn is_kept(&self, table: Table, shard: Shard) -> bool {
        self.kept.contains_key(&(table, shard))
    }

    /// One table's shards of a span that are all here; `None` if any would have to be fetched.
    pub(crate) fn here(&self, table: Table, span: Span) -> Option<Vec<(Shard, Rows)>> {
        let shards = self.with_rows(table, span).ok()?.into_iter();
        shards.map(|(shard, _)| Some((shard, self.kept.get(&(table, shard))?.clone()))).collect()
    }

    /// The shards of a span that have rows in a table, and how many.
    fn with_rows(&self, table: Table, span: Span) -> Result<Vec<(Shard, u64)>, WorkerError> {
        let known = self.tables.iter().find(|(known, _)| *known == table);
        let Some(&(_, batches)) = known else {
            return Err(WorkerError::Protocol(format!("this run has no {table} table")));
        };
        let rows = span.shards().map(|shard| (shard, batches.shard_rows(shard.0)));
        Ok(rows.filter(|&(_, rows)| rows > 0).collect())
    }

    /// One table's shards of a span, fetched where they are missing. Shards without rows are left out.
    pub(crate) async fn get(
        &mut self,
        table: Table,
        span: Span,
    ) -> Result<Vec<(Shard, Rows)>, WorkerError> {
        let mut shards = Vec::with_capacity(span.len() as usize);
        for (shard, rows) in self.with_rows(table, span)? {
            if !self.is_kept(table, shard) {
                let rows = self.fetch(table, shard, rows).await?;
                self.kept.insert((table, shard), Arc::new(rows));
            }
            shards.push((shard, self.kept[&(table, shard)].clone()));
        }
        Ok(shards)
    }

    async fn fetch(
        &mut self,
        table: Table,
        shard: Shard,
        rows: u64,
    ) -> Result<Vec<f32>, WorkerError> {
        let name = format!("{table} {shard}");
        let wanted = rows as usize * self.width;
        memory::check(&name, wanted as u128 * size_of::<f32>() as u128)?;
        let request = ShardRequest { run_id: self.run_id.clone(), table, shard };
        let late = |_| WorkerError::Lost(Loss::NoRows(name.clone(), PART_WAIT_MAX));
        let asked = timeout(PART_WAIT_MAX, self.client.fetch_shard(request.into_wire()));
        let mut parts = match asked.await.map_err(late)? {
            Ok(parts) => parts.into_inner(),
            Err(status) if status.code() == Code::NotFound => {
                return Err(WorkerError::Protocol(status.message().to_string()));
            }
            Err(status) => return Err(status.into()),
        };
        let mut fetched = Vec::with_capacity(wanted.min(FETCH_RESERVE_VALUES));
        let wrong = |what: String| {
            Err(WorkerError::Protocol(format!(
                "{what} of {name}, wanted {rows} rows of {}",
                self.width
            )))
        };
        for _ in 0..parts_max(wanted) {
            let Some(part) = timeout(PART_WAIT_MAX, parts.message()).await.map_err(late)?? else {
                return match fetched.len() == wanted {
                    true => Ok(fetched),
                    false => wrong(format!("only {} values", fetched.len())),
                };
            };
            match values::decode(&part.values) {
                Some(values) if fetched.len() + values.len() <= wanted => fetched.extend(values),
                Some(_) => return wrong("more values than there can be".to_string()),
                None => return wrong(format!("a part of {} bytes", part.values.len())),
            }
        }
        wrong("more parts than there can be".to_string())
    }
}

/// Most messages in which a shard comes: parts are at least half full on average, and the end is one more.
fn parts_max(values: usize) -> usize {
    2 * values.div_ceil(PART_VALUES_MAX) + 1
}
