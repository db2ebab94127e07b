//! Tools of the system that some tests need. Where one is missing its tests skip themselves and say so, but fail where
//! everything was promised to be there, as in `.ci/run`.

use std::io::Write as _;

/// Set where a missing tool is a failure.
const REQUIRED: &str = "LOCKSTEP_TOOLS_REQUIRED";

/// Says that a test is skipped for want of this.
///
/// # Panics
/// Where tools are required.
#[allow(clippy::disallowed_methods)] // Nothing of a peer's is in there.
pub(crate) fn skip(wanted: &str) {
    assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, but wanted {wanted}");
    // Not `eprintln!`: that is shown only when a test fails.
    let _ = writeln!(std::io::stderr(), "skipped: wanted {wanted}");
}
