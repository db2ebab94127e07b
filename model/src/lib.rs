//! Networks with bit-for-bit reproducible forward and backward passes.
//!
//! The same parameters and rows give the same bits on any number of threads, for any way of cutting the rows into
//! calls and the shards into spans, on every CPU that keeps [`profile::NUMERIC_PROFILE`]. No I/O, no async, no
//! clock, and no mathematical function of the system: see [`math`].
//!
//! [`NetworkSpec`] is the description that travels and is stored, [`Network`] the checked one that computes:
//!
//! ```
//! use lockstep_model::{Activation, Dense, Loss, Metric, Network, NetworkSpec, Workspace};
//! use ndarray::array;
//!
//! let network = Network::new(NetworkSpec {
//!     inputs: 2,
//!     image: None,
//!     embeddings: Vec::new(),
//!     layers: vec![Dense::new(3).activation(Activation::Relu).into(), Dense::new(1).into()],
//!     loss: Loss::Mse,
//!     metrics: vec![Metric::Mae],
//!     units: Vec::new(),
//! })?;
//! let parameters = network.initial_parameters(42);
//! let mut workspace = Workspace::new(&network);
//! let (x, y) = (array![[0.5, 1.0], [2.0, -1.0]], array![[1.0], [0.0]]);
//! let mut sums = vec![0.0; network.sums_len()];
//! network.evaluate(&parameters, x.view(), y.view(), &mut workspace, &mut sums)?;
//! assert_eq!(network.report(&sums, 2)[1].0, "mae");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activation;
mod backward;
mod blocks;
mod described;
mod embeddings;
mod error;
mod finite;
mod flattened;
mod fold;
mod init;
mod json;
mod kinds;
mod lanes;
mod layers;
mod leaves;
mod loss;
pub mod math;
mod measured;
mod metrics;
mod network;
mod parameters;
mod pass;
mod place;
mod product;
pub mod profile;
mod spec;
mod stages;
mod tile;
mod unit;
mod workspace;

pub use backward::{Batch, NodeGradient, Sink};
pub use embeddings::{BadPlace, Embedding};
pub use error::SpecError;
pub use finite::{NonFinite, NonFiniteKind};
pub use flattened::Flattened;
pub use kinds::{Activation, Initializer, Loss, Metric};
pub use layers::{
    AvgPool, BatchNorm, Conv2d, Dense, Dropout, FillMode, Flatten, FlipMode, GlobalAvgPool,
    GlobalMaxPool, LayerNorm, LayerSpec, MaxPool, Padding, RandomCrop, RandomFlip,
    RandomTranslation, Residual,
};
pub use leaves::{Microbatch, TrainingRows};
pub use metrics::{ClassTally, Counts, Group, Scores, Threshold, average_precision, roc_auc};
pub use network::{LayerSize, Network};
pub use parameters::Parameters;
pub use place::LayerPlace;
pub use product::{PARALLEL_FLOPS_MIN, multiply};
pub use profile::{NUMERIC_PROFILE, numeric_profile};
pub use spec::NetworkSpec;
pub use unit::Unit;
pub use workspace::Workspace;
