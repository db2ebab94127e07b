//! Memory that a coordinator and a worker on the same machine share, so that values need not go through the stream:
//! the stream says where they are. Same messages, same bits; whoever cannot share sends values as ever.
//!
//! Each side makes an anonymous file in memory and tells the other how to open it, with a secret by which the other can
//! tell that it found the right one: two machines, or two containers, do not. The files have no names and are gone with
//! their processes, however these end. Their size follows from the layout, so that each side knows it before it opens the
//! other's. Both map them: what one computes, the other copies from where it was written. Nobody but its owner can write a
//! file. What the owner does to it can spoil values, never memory safety (see `mapping`), and values are checked once they
//! are copied out.

mod file;
pub mod lane;
mod mapping;
pub mod weights;

/// Shorter values go through the stream: naming them would take as long.
const SHARED_BYTES_MIN: usize = if cfg!(test) { 4 } else { 1 << 14 };

pub use file::SharedFile;
