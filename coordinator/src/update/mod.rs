//! From gradient sums to new weights: what is kept of each chunk, and the rules by which it is updated. Knows no workers and
//! no network; sums come up the tree in `lockstep_reduce`.

mod accumulation;
mod averaging;
mod chunk;
mod gradient;
mod measured;
mod moving_average;
mod norm;
mod optimizer;
mod tensor_rules;

pub use averaging::Averaging;
pub(crate) use chunk::{ChunkState, Folded, Rule, State, Update};
pub(crate) use measured::Measured;
pub(crate) use norm::{clip_scale, sum_of_squares};
pub use optimizer::Optimizer;
pub(crate) use tensor_rules::TensorRules;
