//! The bytes of files, before anybody knows what they mean: how they may be compressed (`packing`), read by position
//! (`source`), or once from beginning to end (`stream`).

pub(crate) mod packing;
pub(crate) mod source;
pub(crate) mod stream;
