//! Places at which tests make this program die, or a write fail: between any two steps that a run folder's safety
//! rests on.
//!
//! Only the build of the tests has them (feature `failpoints`, which nothing but the tests turns on): `FAILPOINTS` in the
//! environment names a place and what happens there. In any other build every function here is empty.

use std::io::Result;
use std::path::Path;

/// Reads what is to happen where; to be kept for as long as it is to happen.
#[cfg(feature = "failpoints")]
pub fn set_up() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}

/// A place in the writing of a file: `FILE:PLACE`, where every checkpoint is the file `checkpoint`.
#[cfg(feature = "failpoints")]
pub(crate) fn in_file(file: &Path, place: &str) -> Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let name = if name.starts_with("step-") { "checkpoint" } else { &name };
    reach(&format!("{name}:{place}"))
}

/// A place: `return(die)` ends the process there as a power cut would, `return(full)` is a disk without room.
#[cfg(feature = "failpoints")]
pub(crate) fn reach(place: &str) -> Result<()> {
    fail::fail_point!(place, |how| match how.as_deref() {
        Some("die") => {
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
            std::process::abort()
        }
        _ => Err(nix::errno::Errno::ENOSPC.into()),
    });
    Ok(())
}

/// Nothing happens anywhere.
#[cfg(not(feature = "failpoints"))]
pub const fn set_up() {}

#[cfg(not(feature = "failpoints"))]
pub(crate) const fn in_file(_file: &Path, _place: &str) -> Result<()> {
    Ok(())
}

#[cfg(not(feature = "failpoints"))]
pub(crate) const fn reach(_place: &str) -> Result<()> {
    Ok(())
}
