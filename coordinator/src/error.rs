//! Why a run can end early: facts. What to do about them is for whoever knows where the user can set what.

use lockstep_net::without_code;
use lockstep_proto::arithmetic::Deviation;
use lockstep_proto::ids::{Pass, Shard, Step, Table};

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {}", without_code(.source))]
    Listen {
        /// As it was given.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A loss or gradient stopped being a finite number.
    #[error(
        "the {what} is not finite at step {step} ({}, {}, learning rate {learning_rate:?})",
        shard_text(*.shard),
        .layer.as_deref().unwrap_or("the loss itself")
    )]
    NonFinite {
        /// The update that was being made, from 1.
        step: u64,
        /// The shard whose rows made it; `None` if only the sum over shards did.
        shard: Option<Shard>,
        /// The layer, if one could be named, as the layout calls it.
        layer: Option<String>,
        /// "loss" or "gradient" or "weights".
        what: &'static str,
        /// The learning rate of the update.
        learning_rate: f32,
    },
    /// The loss of a table that is measured stopped being a finite number.
    #[error(
        "the loss of the {table} table is not finite on {} with the weights of {step}",
        shard_text(*.shard)
    )]
    Unmeasurable {
        /// The table.
        table: Table,
        /// The shard of it; `None` if only the sum over shards is not.
        shard: Option<Shard>,
        /// The weights.
        step: Step,
    },
    /// What went up the tree was not every row of the batch, once.
    #[error("{counted} rows were counted in {pass}, which has {wanted}")]
    Miscounted {
        /// The pass.
        pass: Pass,
        /// Rows that were really added.
        counted: u64,
        /// Rows of the pass.
        wanted: u64,
    },
    /// Sums would be other ones in this process.
    #[error("this process computes with {0}, which would change the model")]
    Arithmetic(Deviation),
    /// The system gives no threads.
    #[error("cannot start threads that add: {0}")]
    Threads(String),
    /// The run was told to stop.
    #[error("stopped before the end")]
    Stopped,
    /// A mistake of the coordinator's own.
    #[error("{0}")]
    Panicked(String),
    /// The gRPC server failed.
    #[error("the server failed: {0}")]
    Server(String),
}

fn shard_text(shard: Option<Shard>) -> String {
    shard.map_or("the sum over all shards".to_string(), |shard| shard.to_string())
}
