//! `manifest.json`: what is accepted is the same when it is written again, with a seal or without, and nothing of it can be
//! altered below a seal.

use lockstep_run::run_folder::Manifest;

use crate::budget::Budget;
use crate::scratch;

/// Read whole, as JSON, and written to be hashed.
const BUDGET: Budget = Budget { fixed: 64 << 10, per_byte: 128 };

/// Reads a manifest.
pub fn check(data: &[u8]) {
    let Ok(found) = BUDGET.hold(data.len(), || read(data)) else { return };
    let unsealed = Manifest { manifest_blake3: None, ..found };
    assert_eq!(read(text(&unsealed).as_bytes()).expect("what was written"), unsealed);
    let seal = blake3::hash(text(&unsealed).as_bytes()).to_hex().to_string();
    let sealed = Manifest { manifest_blake3: Some(seal), ..unsealed };
    assert_eq!(read(text(&sealed).as_bytes()).expect("what was written"), sealed);
    let altered = Manifest { train_rows: sealed.train_rows ^ 1, ..sealed };
    assert!(read(text(&altered).as_bytes()).is_err());
}

fn read(text: &[u8]) -> lockstep_run::Result<Manifest> {
    scratch::write("manifest.json", text);
    Manifest::read(&scratch::run())
}

/// As the program writes it.
fn text(manifest: &Manifest) -> String {
    serde_json::to_string_pretty(manifest).expect("a manifest is JSON") + "\n"
}
