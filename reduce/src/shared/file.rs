//! An anonymous file in memory, and opening another process's.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::ops::Range;
use std::sync::Arc;

use lockstep_proto::ticket::{SECRET_BYTES, Ticket};

use super::mapping::{ALIGNMENT, Mapping};

/// Bytes before the marks: the secret.
const HEADER_BYTES: u64 = 64;

/// How to map a file of one's own or of another process: of so many bytes, with marks in that range of it.
#[cfg(target_os = "linux")]
type Map = fn(File, usize, Range<usize>) -> Result<Arc<Mapping>>;

/// A file in memory that one process writes and another reads.
#[derive(Clone, Debug)]
pub struct SharedFile {
    mapping: Arc<Mapping>,
    values: Range<u64>,
}

impl SharedFile {
    /// A file of this process with so many marks and room for so many bytes of values.
    #[cfg(target_os = "linux")]
    pub(super) fn with_room(marks: usize, bytes: u64) -> Result<(SharedFile, Ticket)> {
        use std::io::Write as _;
        use std::os::fd::AsRawFd as _;

        use nix::fcntl::{FallocateFlags, fallocate};
        use nix::sys::memfd::{MFdFlags, memfd_create};
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut file = File::from(memfd_create("lockstep", flags)?);
        let len = values_start(marks) + bytes;
        // All of its memory now: where there is not enough, nothing is shared.
        fallocate(&file, FallocateFlags::empty(), 0, len.try_into().map_err(Error::other)?)?;
        let mut secret = [0; SECRET_BYTES];
        std::io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut secret)?;
        file.write_all(&secret)?;
        let descriptor = u32::try_from(file.as_raw_fd()).map_err(Error::other)?;
        let ticket = Ticket { pid: std::process::id(), descriptor, secret, bytes: len };
        Ok((SharedFile::map(Mapping::of_own, file, marks, len)?, ticket))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn with_room(_marks: usize, _bytes: u64) -> Result<(SharedFile, Ticket)> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Opens another process's file, which begins with so many marks and has room for so many bytes of values. What a ticket
    /// leads to is taken for nothing until the secret is found in it. Takes as long as clearing so much memory: not for a
    /// thread that others wait for.
    ///
    /// # Errors
    /// If the ticket is for a file of another size (`InvalidData`), there is no such file here, or it is another.
    #[cfg(target_os = "linux")]
    pub(super) fn open(ticket: &Ticket, marks: usize, bytes: u64) -> Result<SharedFile> {
        use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
        let len = values_start(marks) + bytes;
        if ticket.bytes != len {
            let problem = format!("a file of {} bytes, wanted {len}", ticket.bytes);
            return Err(Error::new(ErrorKind::InvalidData, problem));
        }
        let path = format!("/proc/{}/fd/{}", ticket.pid, ticket.descriptor);
        let fits = |about: std::fs::Metadata| about.is_file() && about.len() == len;
        // Opening alone can do something to a device, and wait for a pipe.
        if !fits(std::fs::metadata(&path)?) {
            return Err(ErrorKind::NotFound.into());
        }
        let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let mut found = [0; SECRET_BYTES];
        if fits(file.metadata()?) {
            file.read_exact_at(&mut found, 0)?;
        }
        if found == ticket.secret && found != [0; SECRET_BYTES] {
            SharedFile::map(Mapping::of_other, file, marks, len)
        } else {
            Err(ErrorKind::NotFound.into())
        }
    }

    /// Nothing is shared on this system.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn open(_ticket: &Ticket, _marks: usize, _bytes: u64) -> Result<SharedFile> {
        Err(ErrorKind::Unsupported.into())
    }

    #[cfg(target_os = "linux")]
    fn map(map: Map, file: File, marks: usize, len: u64) -> Result<SharedFile> {
        let header = HEADER_BYTES as usize;
        let start = values_start(marks);
        let bytes = usize::try_from(len).map_err(Error::other)?;
        let marks = header..header + marks * size_of::<u64>();
        Ok(SharedFile { mapping: map(file, bytes, marks)?, values: start..len })
    }

    /// Where values may lie.
    pub(super) fn values(&self) -> Range<u64> {
        self.values.clone()
    }

    /// The memory.
    pub(super) fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }
}

/// Where values begin behind so many marks.
fn values_start(marks: usize) -> u64 {
    let marks = (marks * size_of::<u64>()) as u64;
    HEADER_BYTES + marks.next_multiple_of(ALIGNMENT as u64)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn what_one_writes_the_other_reads() {
        let (ours, ticket) = SharedFile::with_room(3, 100).unwrap();
        let theirs = SharedFile::open(&ticket, 3, 100).unwrap();
        assert_eq!((ours.values(), theirs.values()), (128..228, 128..228));
        ours.mapping().region(128..131).unwrap().copy_from_slice(&[1, 2, 3]);
        let mut copy = [9; 3];
        assert!(!theirs.mapping().copy_out(87, &mut copy));
        assert!(theirs.mapping().copy_out(129, &mut copy));
        assert_eq!(copy, [2, 3, 0]);
    }

    #[test]
    fn tickets_that_lead_nowhere() {
        let (_ours, ticket) = SharedFile::with_room(0, 100).unwrap();
        let nothing = std::fs::File::open("/dev/null").unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&nothing) as u32;
        for wrong in [
            Ticket { secret: [7; SECRET_BYTES], ..ticket.clone() },
            Ticket { secret: [0; SECRET_BYTES], ..ticket.clone() },
            Ticket { bytes: ticket.bytes - 1, ..ticket.clone() },
            Ticket { bytes: u64::MAX, ..ticket.clone() },
            Ticket { descriptor: 100_000, ..ticket.clone() },
            Ticket { descriptor, ..ticket.clone() },
            Ticket { pid: u32::MAX, ..ticket.clone() },
        ] {
            assert!(SharedFile::open(&wrong, 0, 100).is_err(), "{wrong:?}");
        }
        // Whatever the file's size is, another is wanted.
        for other in [0, 99, 101, 1 << 40] {
            let error = SharedFile::open(&ticket, 0, other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{other}");
        }
        assert!(SharedFile::open(&ticket, 0, 100).is_ok());
    }
}
