//! Tools of the system that some tests need, and ports for them. Where one is missing its tests skip themselves and say so, but fail where
//! everything was promised to be there, as in `.ci/run`.

use std::io::Write as _;
use std::process::Command;

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

/// A Python that has this module: the one that LOCKSTEP_PYTHON names, or the system's.
pub(crate) fn python(module: &str) -> Option<String> {
    let python = std::env::var("LOCKSTEP_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let found = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    found.is_ok_and(|found| found.status.success()).then_some(python)
}

/// Ports of this machine that nobody listens on, for servers that cannot take one themselves.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
