//! IDX files as tables: images, and their labels in a second file.

mod array;
mod images;

use std::sync::Arc;

use super::format::{Beginning, Format, Pair};
use crate::error::quote;
use images::{Images, LABEL};

/// IDX: two files in a job; images alone to predict for.
pub(super) static FORMAT: Format = Format {
    name: "IDX",
    endings: &[],
    beginnings: &[Beginning {
        bytes: &array::MAGIC,
        found: "an IDX file",
        advice: "give IDX files as `{ images = \"...\", labels = \"...\" }`",
        is_read: true,
    }],
    pair: Some(Pair { keys: ["images", "labels"], target: LABEL, target_problem }),
    open: |request| Ok(Arc::new(Images::open(request.path, request.targets)?)),
};

fn target_problem(found: &str) -> Option<String> {
    let problem = format!(
        "found {}, wanted \"{LABEL}\", the only one that tables in IDX files have; leave it out",
        quote(found.as_bytes())
    );
    (found != LABEL).then_some(problem)
}
