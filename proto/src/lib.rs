//! The contract between coordinator and workers: domain ids, the shard tree, the parameter layout, keyed
//! randomness, and the wire format.
//!
//! Wire types become checked domain types here and nowhere else. Holds no sockets, no tasks and no decisions.

pub mod arithmetic;
pub mod batches;
pub mod bf16;
pub mod buffer;
pub mod coding;
pub mod frame;
pub mod ids;
pub mod layout;
pub mod panics;
pub mod penalties;
pub mod random;
pub mod ticket;
pub mod timeline;
pub mod tree;
pub mod values;
pub mod words;

/// The generated gRPC client, server and messages. Only [`frame`], [`ticket`] and shared memory look inside the messages.
pub mod wire {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("lockstep.v1");
}

/// What `lockstep.proto` says, as a `FileDescriptorSet`: for whoever asks by reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lockstep.bin"));

/// Version of the wire contract; a peer with another one is refused.
pub const PROTOCOL: u32 = 5;

/// Version of the program. The same bits are promised between equal builds only, so peers must match.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Largest message either side accepts: a part of a shard of 1 MiB, or a few chunks, with room for what goes around them.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Most values in one part of a shard: 1 MiB.
pub const PART_VALUES_MAX: usize = 1 << 18;
