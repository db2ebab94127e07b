//! From gradient sums to new weights: what is kept of each chunk, and the rules by which it is updated. Knows no workers and
//! no network; sums come up the tree in `lockstep_reduce`.

mod chunk;
mod optimizer;
mod tensor_rules;

pub(crate) use chunk::{ChunkState, Folded, Rule, Update, clip_scale};
pub use optimizer::Optimizer;
pub(crate) use optimizer::sum_of_squares;
pub(crate) use tensor_rules::TensorRules;
