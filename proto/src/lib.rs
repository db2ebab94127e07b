//! The contract between coordinator and workers: domain ids, the shard tree, the parameter layout, keyed
//! randomness, and the wire format.
//!
//! Wire types become checked domain types here and nowhere else. Holds no sockets, no tasks and no decisions.

pub mod ids;
pub mod layout;
pub mod random;
pub mod tree;
