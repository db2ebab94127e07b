//! Buffers for frames that are used again: fresh memory of a megabyte has to be cleared by the system each time, which
//! takes longer than filling it.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Shorter ones are not kept: the allocator is quick with them.
const KEPT_BYTES_MIN: usize = 1 << 14;

/// Longer ones are not kept, either: parts of shards, which are not sent again and again.
const KEPT_BYTES_MAX: usize = 1 << 18;

/// Most buffers that are kept.
const KEPT_MAX: usize = 256;

// A std mutex: held for a push or a pop.
static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Bytes to be filled and handed on as [`Bytes`]; the memory comes back when the last of these is dropped.
#[derive(Debug)]
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// A buffer of that length. Its content is of no meaning: it is not cleared when it is used again.
    pub fn new(len: usize) -> Buffer {
        if len < KEPT_BYTES_MIN {
            return Buffer(vec![0; len]);
        }
        let kept = {
            let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = kept.iter().rposition(|buffer| buffer.capacity() >= len);
            fits.map(|place| kept.swap_remove(place))
        };
        let mut buffer = kept.unwrap_or_default();
        buffer.resize(len, 0);
        Buffer(buffer)
    }

    /// As shared, immutable bytes.
    pub fn into_bytes(self) -> Bytes {
        if self.0.len() < KEPT_BYTES_MIN {
            let mut this = self;
            return Bytes::from(std::mem::take(&mut this.0));
        }
        Bytes::from_owner(self)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        if buffer.capacity() < KEPT_BYTES_MIN || buffer.capacity() > KEPT_BYTES_MAX {
            return;
        }
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(buffer);
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_can_be_had_again_and_again() {
        for len in [0, 1, KEPT_BYTES_MIN, 1 << 20, KEPT_BYTES_MIN + 1, 1 << 20] {
            let mut buffer = Buffer::new(len);
            assert_eq!(buffer.len(), len);
            buffer.fill(7);
            let bytes = buffer.into_bytes();
            let half = bytes.slice(len / 2..);
            drop(bytes);
            assert!(half.iter().all(|&byte| byte == 7));
        }
    }
}
