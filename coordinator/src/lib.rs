//! The coordinator: deals spans of shards to workers, adds their gradient sums up the fixed tree, updates the
//! weights and broadcasts them.
//!
//! Knows flat vectors, a layout and counts of rows. Refuses to know networks, files and terminals: the job's
//! network passes through as text, rows come from a [`ShardSource`], and what happens is told to an [`Observer`].

mod account;
mod audit;
mod backlog;
pub mod core;
mod credentials;
mod departure;
pub mod engine;
mod error;
mod inbound;
mod observer;
mod outbox;
mod peer;
pub mod policy;
mod pool;
mod roster;
mod run;
mod server;
mod services;
mod sharing;
mod shell;
mod snapshot;
mod spec;
mod update;

pub use self::core::{may_have_homes, who_may_add};
pub use departure::Departure;
pub use error::RunError;
pub use observer::{Judged, Observer, PassShare, RunEvent, WeightFrames};
pub use peer::Peer;
pub use run::Coordinator;
pub use server::ShardSource;
pub use snapshot::Snapshot;
pub use spec::{Coding, CrewRule, Homes, Outcome, RunSpec, Stop, SumBounds, ends_with_averages};
pub use update::{Averaging, Optimizer};
