//! The coordinator's identity in its run folder, and the join line beside it: files that nobody else may read, so that a run
//! that is resumed is joined by the same line. Or both made ahead of a run, for those who have to be told before it begins.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use lockstep_net::{Identity, JoinLine, Pin};
use zeroize::Zeroizing;

use super::lock::Lock;
use crate::certificates::readable_by_others;
use crate::error::{Error, Result};
use crate::job::plain;
use crate::read_file;
use crate::whole_file::write_private;

/// The key and the secret.
const IDENTITY: &str = "identity";

/// The line to join with.
pub const JOIN: &str = "join";

/// Both.
pub(super) const FILES: [&str; 2] = [IDENTITY, JOIN];

const IDENTITY_BYTES_MAX: u64 = 1 << 16;

/// The identity of a run folder; a new one, if it has none. What is unsafe about an old one is told to `warn`.
pub(super) fn load_or_make(folder: &Path, warn: &mut dyn FnMut(String)) -> Result<Identity> {
    let path = folder.join(IDENTITY);
    if !path.exists() {
        let identity = Identity::generate().map_err(|error| Error::Internal(error.to_string()))?;
        write_private(&path, identity.to_text().as_bytes())?;
        return Ok(identity);
    }
    if let Some(mode) = readable_by_others(&path) {
        warn(format!(
            "{}: others on this machine can read it (mode {mode:03o}), and so join the run: chmod 600 it, and renew its secret \
             with `lockstep token`",
            path.display()
        ));
    }
    read(folder)
}

/// The identity of a run folder that has one.
fn read(folder: &Path) -> Result<Identity> {
    read_file_of(&folder.join(IDENTITY), "remove it, and workers join with a new line")
}

/// By which the coordinator of a run is known, if its folder has its identity.
pub fn pin(folder: &Path) -> Option<Pin> {
    read(folder).ok().map(|identity| identity.pin())
}

/// An identity that was made ahead of the run, wherever it is kept. Service managers hand out such files readable by a
/// group, or so that the mode looks like it: only one that everybody can read is told to `warn`.
pub(super) fn load(path: &Path, warn: &mut dyn FnMut(String)) -> Result<Identity> {
    if let Some(mode) = readable_by_others(path).filter(|mode| mode & 0o007 != 0) {
        warn(format!(
            "{}: others on this machine can read it (mode {mode:03o}), and so join the run: make another with \
             `lockstep token --new`, and keep it where they cannot",
            path.display()
        ));
    }
    read_file_of(path, "wanted the `identity` that `lockstep token --new` made")
}

fn read_file_of(path: &Path, advice: &str) -> Result<Identity> {
    let wrong = |problem: String| Error::File { path: path.to_path_buf(), problem };
    let text = read_file::text(path, IDENTITY_BYTES_MAX);
    let text = Zeroizing::new(text.map_err(|error| wrong(plain(&error)))?);
    Identity::from_text(&text).map_err(|error| wrong(format!("{error}: {advice}")))
}

/// Makes an identity, and the line that goes with it, in a folder that may not have either: ahead of a run whose
/// coordinator and workers are told of them by somebody else. The line leads to `addresses`.
///
/// # Errors
/// If an address is none, one of the files is there, or they cannot be written.
pub fn make_identity(folder: &Path, addresses: Vec<String>) -> Result<()> {
    let identity = Identity::generate().map_err(|error| Error::Internal(error.to_string()))?;
    let (pin, secret) = (identity.pin(), identity.secret().clone());
    let line = JoinLine { addresses, pin, secret };
    JoinLine::parse(&line.to_line()).map_err(|error| Error::Arguments(error.to_string()))?;
    fs::create_dir_all(folder).map_err(|error| Error::file(folder, "make the folder", &error))?;
    if let Some(there) = FILES.iter().map(|name| folder.join(name)).find(|path| path.exists()) {
        let problem = "it is there already, and whoever has the line that goes with it would not be let in any more: name \
                       another folder, or remove it";
        return Err(Error::File { path: there, problem: problem.to_string() });
    }
    write_private(&folder.join(IDENTITY), identity.to_text().as_bytes())?;
    write_line(folder, &line.to_line())
}

/// Gives the run's identity a new secret: join lines so far let nobody in any more.
///
/// # Errors
/// If it has none, a coordinator of it is running, or it cannot be written.
pub fn renew_secret(folder: &Path) -> Result<()> {
    let path = folder.join(IDENTITY);
    if !path.exists() {
        let problem = "the run has no identity yet: a coordinator makes one when it listens to other machines";
        return Err(Error::File { path: folder.to_path_buf(), problem: problem.to_string() });
    }
    let _lock = Lock::take(folder)?;
    let renewed = read(folder)?.with_new_secret();
    let renewed = renewed.map_err(|error| Error::Internal(error.to_string()))?;
    write_private(&path, renewed.to_text().as_bytes())?;
    match fs::remove_file(folder.join(JOIN)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::file(folder.join(JOIN), "remove it", &error))
        }
        _ => Ok(()),
    }
}

/// Writes the join line beside it.
pub(super) fn write_line(folder: &Path, line: &str) -> Result<()> {
    let text = Zeroizing::new(format!("{line}\n"));
    write_private(&folder.join(JOIN), text.as_bytes())
}
