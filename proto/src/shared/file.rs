//! An anonymous file in memory, and opening another process's.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};

use crate::wire;

/// Bytes before the values: the secret.
pub(super) const HEADER_BYTES: u64 = 64;

/// Bytes of the secret.
const SECRET_BYTES: usize = 16;

/// How to open a process's shared file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The process, on its machine.
    pub pid: u32,
    /// Its descriptor of the file.
    pub descriptor: u32,
    /// What the file begins with.
    pub secret: [u8; SECRET_BYTES],
    /// How long the file is.
    pub bytes: u64,
}

/// A file in memory that two processes read and write.
#[derive(Debug)]
pub struct SharedFile {
    file: File,
    bytes: u64,
}

impl Ticket {
    /// As part of a message.
    pub fn into_wire(self) -> wire::Ticket {
        let Ticket { pid, descriptor, secret, bytes } = self;
        wire::Ticket { pid, descriptor, secret: secret.to_vec().into(), bytes }
    }

    /// Checks a part of a message; `None` if it cannot be one.
    pub fn from_wire(ticket: &wire::Ticket) -> Option<Ticket> {
        let secret = ticket.secret.as_ref().try_into().ok()?;
        let wire::Ticket { pid, descriptor, bytes, .. } = *ticket;
        Some(Ticket { pid, descriptor, secret, bytes })
    }
}

impl SharedFile {
    /// Length of a file with room for so many bytes of values.
    pub(super) fn with_room(bytes: u64) -> Result<(SharedFile, Ticket)> {
        SharedFile::create(HEADER_BYTES + bytes)
    }

    #[cfg(target_os = "linux")]
    fn create(bytes: u64) -> Result<(SharedFile, Ticket)> {
        use std::os::fd::AsRawFd as _;

        use nix::sys::memfd::{MFdFlags, memfd_create};
        let file = File::from(memfd_create("lockstep", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(bytes)?;
        let mut secret = [0; SECRET_BYTES];
        std::io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut secret)?;
        let shared = SharedFile { file, bytes };
        shared.write(0, &secret)?;
        let descriptor = u32::try_from(shared.file.as_raw_fd()).map_err(Error::other)?;
        let ticket = Ticket { pid: std::process::id(), descriptor, secret, bytes };
        Ok((shared, ticket))
    }

    #[cfg(not(target_os = "linux"))]
    fn create(_bytes: u64) -> Result<(SharedFile, Ticket)> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Opens another process's file. What a ticket leads to is taken for nothing until the secret is found in it.
    ///
    /// # Errors
    /// If there is no such file here, or it is another.
    #[cfg(target_os = "linux")]
    pub fn open(ticket: &Ticket) -> Result<SharedFile> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = format!("/proc/{}/fd/{}", ticket.pid, ticket.descriptor);
        // A pipe or a device must not make this process wait.
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY)
            .open(path)?;
        let about = file.metadata()?;
        let shared = SharedFile { file, bytes: ticket.bytes };
        let mut found = [0; SECRET_BYTES];
        if about.is_file() && about.len() == ticket.bytes && ticket.bytes >= HEADER_BYTES {
            shared.read(0, &mut found)?;
        }
        if found == ticket.secret && found != [0; SECRET_BYTES] {
            Ok(shared)
        } else {
            Err(ErrorKind::NotFound.into())
        }
    }

    /// Nothing is shared on this system.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_os = "linux"))]
    pub fn open(_ticket: &Ticket) -> Result<SharedFile> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Length of the file, the secret included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    #[cfg(unix)]
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, at)
    }

    #[cfg(unix)]
    pub(super) fn read(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, bytes, at)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_one_writes_the_other_reads() {
        let (ours, ticket) = SharedFile::with_room(100).unwrap();
        assert_eq!(Ticket::from_wire(&ticket.clone().into_wire()), Some(ticket.clone()));
        let theirs = SharedFile::open(&ticket).unwrap();
        ours.write(HEADER_BYTES, &[1, 2, 3]).unwrap();
        let mut read = [0; 3];
        theirs.read(HEADER_BYTES, &mut read).unwrap();
        assert_eq!(read, [1, 2, 3]);
        assert!(theirs.read(HEADER_BYTES + 98, &mut read).is_err(), "past its end");
    }

    #[test]
    fn tickets_that_lead_nowhere() {
        let (ours, ticket) = SharedFile::with_room(100).unwrap();
        let nothing = std::fs::File::open("/dev/null").unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&nothing) as u32;
        for wrong in [
            Ticket { secret: [7; SECRET_BYTES], ..ticket.clone() },
            Ticket { secret: [0; SECRET_BYTES], ..ticket.clone() },
            Ticket { bytes: ours.bytes() - 1, ..ticket.clone() },
            Ticket { bytes: u64::MAX, ..ticket.clone() },
            Ticket { descriptor: 100_000, ..ticket.clone() },
            Ticket { descriptor, ..ticket.clone() },
            Ticket { pid: u32::MAX, ..ticket.clone() },
        ] {
            assert!(SharedFile::open(&wrong).is_err(), "{wrong:?}");
        }
        let short = wire::Ticket { secret: vec![1; 15].into(), ..ticket.into_wire() };
        assert_eq!(Ticket::from_wire(&short), None);
    }
}
