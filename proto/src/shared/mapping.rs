//! A shared file as memory: all of the unsafe code, and why it is sound.
//!
//! Written by a process's own hand, a [`Region`] is the only way to bytes of its own file, and no two of them overlap: each
//! mapping keeps a list of those that live. Another process's file is mapped to be read only. So inside a process nothing
//! is changed while something else refers to it.
//!
//! The other process, though, could change what this one reads: a reader of weights is overtaken by the next but one
//! version, and a peer may be broken. Values can then come out as a mixture of old and new bytes. They are only ever
//! numbers: every pattern of bits is one, no length or place is taken from this memory, and nothing is decided by a value
//! that is read a second time. Readers find out that they were overtaken by marks, which are atomic.
//!
//! The file cannot get shorter under the mapping, which would end the process: it is sealed against that, and one that is
//! not so sealed is not mapped.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::ops::{Deref, DerefMut, Range};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{MmapOptions, MmapRaw};

/// Regions begin here, where vectors and atomic words may.
pub(super) const ALIGNMENT: usize = 64;

/// Bytes of a mark.
const MARK_BYTES: usize = size_of::<AtomicU64>();

/// The memory of a file: marks first, then values.
#[derive(Debug)]
pub(super) struct Mapping {
    memory: MmapRaw,
    /// Open as long as others may want to open it.
    _file: File,
    marks: Range<usize>,
    is_writable: bool,
    /// Regions that live. A std mutex: held for a look through a short list.
    taken: Mutex<Vec<Range<usize>>>,
}

impl Mapping {
    /// The whole of a file of so many bytes that cannot get shorter, with marks in that range of it.
    pub(super) fn new(
        file: File,
        len: usize,
        marks: Range<usize>,
        is_writable: bool,
    ) -> Result<Arc<Mapping>> {
        if !is_sealed(&file)? || file.metadata()?.len() < len as u64 || marks.end > len {
            return Err(ErrorKind::InvalidInput.into());
        }
        let mut options = MmapOptions::new();
        options.len(len).populate();
        let memory =
            if is_writable { options.map_raw(&file) } else { options.map_raw_read_only(&file) }?;
        Ok(Arc::new(Mapping { memory, _file: file, marks, is_writable, taken: Mutex::default() }))
    }

    /// Whether these bytes lie in the mapping, and where.
    pub(super) fn place_of(&self, bytes: &[u8]) -> Option<usize> {
        let place = (bytes.as_ptr() as usize).checked_sub(self.memory.as_ptr() as usize)?;
        (place < self.memory.len()).then_some(place)
    }

    /// A mark, by its number.
    pub(super) fn mark(&self, number: usize) -> Option<&AtomicU64> {
        let place = self.marks.start + number * MARK_BYTES;
        if !place.is_multiple_of(MARK_BYTES) || place + MARK_BYTES > self.marks.end {
            return None;
        }
        // SAFETY: the place is in the mapping, which lives as long as the reference; mappings begin on a page, so the
        // place is aligned; marks are used as atomic words alone, by this process and by others.
        Some(unsafe { AtomicU64::from_ptr(self.memory.as_mut_ptr().add(place).cast()) })
    }

    /// Values of another process's file.
    pub(super) fn view(self: &Arc<Self>, range: Range<usize>) -> Option<View> {
        let fits = self.holds(&range) && !self.is_writable;
        fits.then(|| View { mapping: self.clone(), range })
    }

    /// Values of this process's file; `None` if any of them belong to a region that lives.
    pub(super) fn region(self: &Arc<Self>, range: Range<usize>) -> Option<Region> {
        if !self.holds(&range) || !self.is_writable {
            return None;
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.iter().any(|other| other.start < range.end && range.start < other.end) {
            return None;
        }
        taken.push(range.clone());
        Some(Region { mapping: self.clone(), range })
    }

    /// Whether no region lives.
    pub(super) fn is_free(&self) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn holds(&self, range: &Range<usize>) -> bool {
        self.marks.end <= range.start && range.start < range.end && range.end <= self.memory.len()
    }
}

/// Some bytes of another process's file.
#[derive(Debug)]
pub(super) struct View {
    mapping: Arc<Mapping>,
    range: Range<usize>,
}

impl Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Range { start, end } = self.range;
        // SAFETY: the range was checked to lie in the mapping, which `self` keeps alive. This process only reads it; for
        // what others do see above.
        unsafe { std::slice::from_raw_parts(self.mapping.memory.as_ptr().add(start), end - start) }
    }
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Some bytes of this process's file, which nothing else here refers to.
#[derive(Debug)]
pub(super) struct Region {
    mapping: Arc<Mapping>,
    range: Range<usize>,
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Range { start, end } = self.range;
        // SAFETY: as for a view; no other region overlaps, and this one is borrowed.
        unsafe { std::slice::from_raw_parts(self.mapping.memory.as_ptr().add(start), end - start) }
    }
}

impl DerefMut for Region {
    fn deref_mut(&mut self) -> &mut [u8] {
        let Range { start, end } = self.range;
        // SAFETY: as above; it is borrowed for this alone. The mapping is writable, or there would be no region.
        unsafe {
            std::slice::from_raw_parts_mut(self.mapping.memory.as_mut_ptr().add(start), end - start)
        }
    }
}

impl AsRef<[u8]> for Region {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let mut taken = self.mapping.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|range| *range != self.range);
    }
}

#[cfg(target_os = "linux")]
fn is_sealed(file: &File) -> Result<bool> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    let seals = fcntl(file, FcntlArg::F_GET_SEALS)?;
    Ok(SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_SHRINK))
}

#[cfg(not(target_os = "linux"))]
fn is_sealed(_file: &File) -> Result<bool> {
    Err(Error::from(ErrorKind::Unsupported))
}

/// Makes sure that a file gets no shorter.
#[cfg(target_os = "linux")]
pub(super) fn seal(file: &File) -> Result<()> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(file, FcntlArg::F_ADD_SEALS(seals)).map(drop).map_err(Error::from)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};

    fn sealed(len: u64) -> File {
        let file = File::from(memfd_create("test", MFdFlags::MFD_ALLOW_SEALING).unwrap());
        file.set_len(len).unwrap();
        seal(&file).unwrap();
        file
    }

    #[test]
    fn regions_do_not_overlap_and_views_see_what_was_written() {
        let file = sealed(4096);
        let ours = Mapping::new(file.try_clone().unwrap(), 4096, 0..128, true).unwrap();
        let theirs = Mapping::new(file, 4096, 0..128, false).unwrap();
        let mut region = ours.region(128..256).unwrap();
        region.fill(7);
        assert_eq!(ours.place_of(&region), Some(128));
        assert_eq!(ours.place_of(&[1, 2]), None);
        for overlapping in [128..256, 200..201, 0..4096, 255..300, 128..129, 127..128, 300..300] {
            assert!(ours.region(overlapping.clone()).is_none(), "{overlapping:?}");
        }
        assert!(ours.region(256..4096).is_some() && ours.region(4095..4097).is_none());
        drop(region);
        assert!(ours.region(200..201).is_some());
        assert!(theirs.region(128..256).is_none() && ours.view(128..256).is_none());
        assert!(theirs.view(128..256).unwrap().iter().all(|&byte| byte == 7));
        assert!(theirs.view(127..130).is_none() && theirs.view(4000..4097).is_none());
    }

    #[test]
    fn marks_are_seen_by_both() {
        use std::sync::atomic::Ordering::Relaxed;
        let file = sealed(4096);
        let map = |is_writable| {
            Mapping::new(file.try_clone().unwrap(), 4096, 64..80, is_writable).unwrap()
        };
        let [ours, theirs] = [true, false].map(map);
        ours.mark(1).unwrap().store(5, Relaxed);
        assert_eq!(theirs.mark(1).unwrap().load(Relaxed), 5);
        assert_eq!(theirs.mark(0).unwrap().load(Relaxed), 0);
        assert!(ours.mark(2).is_none());
    }

    #[test]
    fn what_could_get_shorter_is_not_mapped() {
        let file = File::from(memfd_create("test", MFdFlags::empty()).unwrap());
        file.set_len(4096).unwrap();
        assert!(Mapping::new(file, 4096, 0..0, false).is_err());
        assert!(sealed(4096).set_len(100).is_err());
        assert!(Mapping::new(sealed(100), 4096, 0..0, false).is_err());
    }
}
