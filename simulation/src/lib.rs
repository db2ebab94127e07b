//! The shipped core of the coordinator and those of the workers in one simulated cluster, on tiny real networks: a seed stands
//! for a job and a cluster that comes and goes. Network, disk, threads and clocks are played, and fail as a seed says; nothing
//! here waits, and a seed always runs the same way.
//!
//! For tests alone: refuses to decide anything that a coordinator or a worker decides.

mod book;
mod case;
mod checkpoint;
mod coordinator;
mod draw;
mod job;
mod lies;
mod lone;
mod memory;
mod network;
mod results;
mod worker;

pub use book::Seen;
pub use case::Case;
pub use coordinator::Outcome;
pub use lone::{Fate, serve_a_liar};
pub use network::run;
