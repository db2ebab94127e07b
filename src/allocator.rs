//! What is asked of the system's allocator: that a large block goes back to the system as soon as it is freed.
//!
//! Left to itself, glibc keeps a large block once it has seen one freed, for others of its size. What only the start
//! needs (weights and moments to begin with) and what comes and goes (copies of the weights for the journal and for
//! checkpoints) then stays for the whole run. Allocates nothing itself. All of this crate's unsafe code.

#![allow(unsafe_code)]

/// Blocks of so many bytes and more. A chunk is smaller: frames come and go in every step, and are kept.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BYTES: std::ffi::c_int = 1 << 20;

/// What smaller blocks leave free at the end of the heap is kept up to here. With less, memory for a step's frames is
/// asked for and given back in every step, which makes steps on a network a tenth longer.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: std::ffi::c_int = 64 << 20;

/// Asks for it. Does nothing where the allocator is another.
pub(crate) fn return_large_blocks() {
    // SAFETY: sets numbers of the allocator's under its own lock, at any time; it reads and writes no memory of ours.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        // Each says whether its number was taken. If not, all works as before.
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
    }
}
