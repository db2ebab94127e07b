//! Memory that a coordinator and a worker on the same machine share, so that values need not go through the stream:
//! the stream says where they are. Same messages, same bits; whoever cannot share sends values as ever.
//!
//! Each side makes an anonymous file in memory and tells the other how to open it, with a secret by which the other can
//! tell that it found the right one: two machines, or two containers, do not. The files have no names and are gone with
//! their processes, however these end. Both map them: what one computes, the other reads where it was written. What the
//! other process does to them can spoil values, never memory safety (see `mapping`), and spoilt values are found out
//! (see [`weights`]) or cannot be (see [`lane`]).

mod file;
pub mod lane;
mod mapping;
pub mod weights;

/// Shorter values go through the stream: naming them would take as long.
const SHARED_BYTES_MIN: usize = if cfg!(test) { 4 } else { 1 << 14 };

pub use file::{SharedFile, Ticket};
