//! A shared file as memory: all of the unsafe code, and why it is sound.
//!
//! A process's own file can be written by that process alone: once it is mapped it is sealed against all other writing, so
//! that whoever opens it can only read. A [`Region`] is the only way to its bytes, and no two of them overlap: each mapping
//! keeps a list of those that live. So references into it are as good as those into any other memory.
//!
//! Another process's file can change at any time: a reader of weights is overtaken by version t + 2, and a peer may be
//! broken. So nothing refers into it. Its bytes are copied out, once, and only the copy is looked at: it may be a mixture
//! of old and new bytes, but it does not change any more between a check and what the check was for. No length or
//! place is taken from this memory. Readers find out that they were overtaken by marks, which are atomic.
//!
//! The file cannot get shorter under the mapping, which would end the process: it is sealed against that, and one that is
//! not so sealed is not mapped.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::ops::{Deref, DerefMut, Range};
use std::sync::atomic::{AtomicU64, Ordering, fence};
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
    file: File,
    marks: Range<usize>,
    is_writable: bool,
    /// Regions that live. A std mutex: held for a look through a short list.
    taken: Mutex<Vec<Range<usize>>>,
}

impl Mapping {
    /// This process's own file, the whole of its `len` bytes, with marks in that range of it. Nobody else can write it from
    /// now on, and nobody can make it shorter or longer.
    pub(super) fn of_own(file: File, len: usize, marks: Range<usize>) -> Result<Arc<Mapping>> {
        seal(&file, Seal::Size)?;
        let mapping = Mapping::new(file, len, marks, true)?;
        seal(&mapping.file, Seal::Writing)?;
        Ok(mapping)
    }

    /// Another process's file, which has to be sealed, of exactly so many bytes.
    pub(super) fn of_other(file: File, len: usize, marks: Range<usize>) -> Result<Arc<Mapping>> {
        Mapping::new(file, len, marks, false)
    }

    fn new(file: File, len: usize, marks: Range<usize>, is_writable: bool) -> Result<Arc<Mapping>> {
        if !is_sealed(&file)? || file.metadata()?.len() != len as u64 || marks.end > len {
            return Err(ErrorKind::InvalidInput.into());
        }
        let mut options = MmapOptions::new();
        options.len(len).populate();
        let memory =
            if is_writable { options.map_raw(&file) } else { options.map_raw_read_only(&file) }?;
        Ok(Arc::new(Mapping { memory, file, marks, is_writable, taken: Mutex::default() }))
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

    /// Copies bytes out of another process's file, from this place on. False if they do not lie among its values.
    pub(super) fn copy_out(&self, place: usize, into: &mut [u8]) -> bool {
        let end = place.checked_add(into.len());
        if self.is_writable || !end.is_some_and(|end| self.holds(&(place..end))) {
            return false;
        }
        // SAFETY: the places were checked to lie in the mapping, which lives as long as `self` does; `into` is memory of this
        // process alone. No reference into the mapping is made: the other process may write it meanwhile, and then the
        // copy is some mixture of bytes.
        unsafe {
            let from = self.memory.as_ptr().add(place);
            std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len());
        }
        // What is read from the copy is not read from the mapping again.
        fence(Ordering::Acquire);
        true
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
        // SAFETY: the range was checked to lie in the mapping, which `self` keeps alive. No other region overlaps, this one is
        // borrowed, and no other process can write the file.
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

/// What a file is sealed against, for good.
#[derive(Clone, Copy)]
enum Seal {
    /// Getting shorter or longer.
    Size,
    /// Being written other than through the mappings that there are, and being sealed again.
    Writing,
}

#[cfg(target_os = "linux")]
fn seal(file: &File, against: Seal) -> Result<()> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    let seals = match against {
        Seal::Size => SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW,
        Seal::Writing => SealFlag::F_SEAL_FUTURE_WRITE | SealFlag::F_SEAL_SEAL,
    };
    fcntl(file, FcntlArg::F_ADD_SEALS(seals)).map(drop).map_err(Error::from)
}

#[cfg(not(target_os = "linux"))]
fn seal(_file: &File, _against: Seal) -> Result<()> {
    Err(Error::from(ErrorKind::Unsupported))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};

    fn file(len: u64) -> File {
        let file = File::from(memfd_create("test", MFdFlags::MFD_ALLOW_SEALING).unwrap());
        file.set_len(len).unwrap();
        file
    }

    /// A file as its owner and as another process have it.
    fn both(len: usize, marks: Range<usize>) -> [Arc<Mapping>; 2] {
        let file = file(len as u64);
        let again = file.try_clone().unwrap();
        let ours = Mapping::of_own(file, len, marks.clone()).unwrap();
        [ours, Mapping::of_other(again, len, marks).unwrap()]
    }

    #[test]
    fn regions_do_not_overlap_and_what_is_written_can_be_copied_out() {
        let [ours, theirs] = both(4096, 0..128);
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
        let mut copy = [0; 128];
        assert!(theirs.region(128..256).is_none() && !ours.copy_out(128, &mut copy));
        assert!(theirs.copy_out(128, &mut copy));
        assert_eq!(copy, [7; 128]);
        for outside in [127, 4000, 4096, usize::MAX] {
            assert!(!theirs.copy_out(outside, &mut copy), "{outside}");
        }
    }

    #[test]
    fn marks_are_seen_by_both() {
        use std::sync::atomic::Ordering::Relaxed;
        let [ours, theirs] = both(4096, 64..80);
        ours.mark(1).unwrap().store(5, Relaxed);
        assert_eq!(theirs.mark(1).unwrap().load(Relaxed), 5);
        assert_eq!(theirs.mark(0).unwrap().load(Relaxed), 0);
        assert!(ours.mark(2).is_none());
    }

    #[test]
    fn what_could_change_its_size_or_has_another_is_not_mapped() {
        assert!(Mapping::of_other(file(4096), 4096, 0..0).is_err());
        let sealed = file(4096);
        seal(&sealed, Seal::Size).unwrap();
        assert!(sealed.set_len(100).is_err());
        for other in [4095, 4097, 8192] {
            let file = sealed.try_clone().unwrap();
            assert!(Mapping::of_other(file, other, 0..0).is_err(), "{other}");
        }
        assert!(Mapping::of_other(sealed, 4096, 0..0).is_ok());
    }

    /// Whoever opens it can read it, and that is all.
    #[test]
    fn nobody_else_can_write_a_file() {
        use std::io::Write as _;
        use std::os::fd::AsRawFd as _;

        use nix::fcntl::{FallocateFlags, fallocate};
        let owned = file(4096);
        let path = format!("/proc/self/fd/{}", owned.as_raw_fd());
        let ours = Mapping::of_own(owned, 4096, 0..0).unwrap();
        let mut region = ours.region(64..128).unwrap();
        region.fill(7);
        let mut theirs = File::options().read(true).write(true).open(path).unwrap();
        assert!(theirs.write_all(&[1; 4096]).is_err());
        assert!(theirs.set_len(0).is_err() && theirs.set_len(8192).is_err());
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        assert!(fallocate(&theirs, hole, 0, 4096).is_err());
        assert!(MmapOptions::new().len(4096).map_raw(&theirs).is_err());
        assert_eq!(*region, [7; 64]);
    }
}
