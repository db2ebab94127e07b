//! Sums on their way up the shard tree: adding what comes in any order to the same bits, the values of a node, and memory
//! that two processes of a machine share so that values need not cross a socket.
//!
//! For whoever adds: today the coordinator alone. Knows no optimizer, no weights but as frames, no sockets and no tasks, and
//! decides nothing.

pub mod fold;
mod node_values;
pub mod shared;

pub use node_values::NodeValues;
