//! The bytes of files, before anybody knows what they mean: read by position (`source`), or once from beginning to end
//! and perhaps unpacked (`stream`).

pub(crate) mod source;
pub(crate) mod stream;
