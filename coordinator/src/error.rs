//! Why a run can end early, in facts and what to do.

use lockstep_proto::arithmetic::Deviation;
use lockstep_proto::ids::{Pass, Shard, Step, Table};

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {}; wanted HOST:PORT of this machine that is free", without_code(.source))]
    Listen {
        /// As it was given.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A loss or gradient stopped being a finite number.
    #[error("{}", non_finite_text(*.step, *.shard, *.layer, .what))]
    NonFinite {
        /// The update that was being made, from 1.
        step: u64,
        /// The shard whose rows made it; `None` if only the sum over shards did.
        shard: Option<Shard>,
        /// The layer, if one could be named.
        layer: Option<usize>,
        /// "loss" or "gradient" or "weights".
        what: &'static str,
    },
    /// The loss of a table that is measured stopped being a finite number.
    #[error(
        "the loss of the {table} table is not finite on {} with the weights of {step}: \
             look for extreme values there, or lower train.optimizer's learning_rate",
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
    #[error(
        "{counted} rows were counted in {pass}, which has {wanted}: an error of lockstep's own, please report it; \
             the last checkpoint is good"
    )]
    Miscounted {
        /// The pass.
        pass: Pass,
        /// Rows that were really added.
        counted: u64,
        /// Rows of the pass.
        wanted: u64,
    },
    /// Sums would be other ones in this process.
    #[error(
        "this process computes with {0}, which would change the model: something in it has set that, such as a library \
             built with -ffast-math; run without it"
    )]
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

/// What the system said, without its number.
fn without_code(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_string()
}

fn non_finite_text(step: u64, shard: Option<Shard>, layer: Option<usize>, what: &str) -> String {
    let shard = shard_text(shard);
    let layer = layer.map_or("the loss itself".to_string(), |layer| format!("layer {layer}"));
    format!(
        "the {what} is not finite at step {step} ({shard}, {layer}): lower train.optimizer's \
         learning_rate, set train.gradient_clip_norm, or scale the data"
    )
}

fn shard_text(shard: Option<Shard>) -> String {
    shard.map_or("the sum over all shards".to_string(), |shard| shard.to_string())
}
