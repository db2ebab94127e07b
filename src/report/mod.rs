//! How reports are shown: what happens goes to standard error, the result to standard output. A child of a local cluster writes
//! JSON, all of it to standard error; the launcher reads it back and shows it its own way: there is one renderer.

mod render;
mod terminal;

use std::sync::{Arc, Mutex};

pub(crate) use render::{Console, LogFormat};
pub(crate) use terminal::data_output;

/// A console that several owners write to, one line at a time.
pub(crate) type SharedConsole = Arc<Mutex<Console>>;
