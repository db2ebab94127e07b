//! Dense networks with bit-for-bit reproducible forward and backward passes.
//!
//! The same parameters and rows give the same bits on any number of threads, for any way of cutting the rows into
//! calls and the shards into spans, on every CPU that keeps [`profile::NUMERIC_PROFILE`]. No I/O, no async, no
//! clock, and no mathematical function of the system: see [`math`].
//!
//! [`NetworkSpec`] is the description that travels and is stored, [`Network`] the checked one that computes.

mod activation;
mod backward;
mod finite;
mod fold;
mod init;
mod lanes;
mod loss;
pub mod math;
mod metrics;
mod network;
mod pass;
mod product;
pub mod profile;
mod spec;
mod workspace;

pub use backward::{Microbatch, NodeGradient};
pub use finite::{NonFinite, NonFiniteKind};
pub use network::{Network, SpecError};
pub use product::PARALLEL_FLOPS_MIN;
pub use profile::{NUMERIC_PROFILE, numeric_profile};
pub use spec::{Activation, DenseSpec, Initializer, Loss, Metric, NetworkSpec};
pub use workspace::Workspace;
