//! What a run folder says to whoever wants to see the run: where its page is while there is one (`http`), and what there was to
//! see when an execution ended (`status.json`). No other file depends on either.

use std::fs;
use std::path::Path;

use lockstep_status::Status as Shown;
use lockstep_status::address::PageAddress;

use crate::error::{Error, Result};
use crate::read_file;
use crate::whole_file::{write_private, write_whole};

/// Where the page is: with its key, so that only its owner may read it.
const PAGE: &str = "http";

/// What there was to see.
const STATUS: &str = "status.json";

/// Both.
pub(super) const FILES: [&str; 2] = [PAGE, STATUS];

const PAGE_BYTES_MAX: u64 = 4096;
const STATUS_BYTES_MAX: u64 = 16 << 20;

pub(super) fn write_page(folder: &Path, address: &PageAddress) -> Result<()> {
    write_private(&folder.join(PAGE), format!("{address}\n").as_bytes())
}

pub(super) fn remove_page(folder: &Path) {
    // At worst it leads nowhere.
    let _ = fs::remove_file(folder.join(PAGE));
}

pub(super) fn write_status(folder: &Path, status: &Shown) -> Result<()> {
    let path = folder.join(STATUS);
    let text = serde_json::to_string(status)
        .map_err(|error| Error::Internal(format!("cannot write {}: {error}", path.display())))?;
    write_whole(&path, format!("{text}\n").as_bytes())
}

/// Where the page of a run is, if its coordinator says so.
pub fn page(folder: &Path) -> Option<PageAddress> {
    let text = read_file::text(&folder.join(PAGE), PAGE_BYTES_MAX).ok()?;
    PageAddress::parse(text.trim()).ok()
}

/// What there was to see of a run when an execution of it last ended, if that was written down.
pub fn last_status(folder: &Path) -> Option<Shown> {
    let text = read_file::text(&folder.join(STATUS), STATUS_BYTES_MAX).ok()?;
    serde_json::from_str(&text).ok()
}
