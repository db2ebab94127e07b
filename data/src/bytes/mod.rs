//! The bytes of files, before anybody knows what they mean: how they may be compressed (`packing`), read by position
//! (`source`), or once from beginning to end (`stream`); and what is behind a header, read in either way when it is needed
//! (`stretch`).

pub(crate) mod packing;
pub(crate) mod source;
pub(crate) mod stream;
pub(crate) mod stretch;
