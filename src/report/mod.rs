//! How reports are shown: what happens goes to standard error, the result to standard output. A child of a local cluster writes
//! JSON, all of it to standard error; the launcher reads it back and shows it its own way: there is one renderer.
//!
//! A *report* is meant for whoever started the command: who joined and left, epochs, warnings, the result. The *log* is what the
//! program does in itself, at the levels debug and trace, for whoever looks into trouble: it says nothing that a report says.
//! Both are [`Report`](lockstep_run::report::Report)s here, at one of five levels.

mod collapse;
mod logs;
mod origin;
mod render;
mod terminal;

use std::sync::{Arc, Mutex};

pub(crate) use logs::subscribe;
pub(crate) use render::{Console, LogFormat};
pub(crate) use terminal::data_output;

/// A console that several owners write to, one line at a time.
pub(crate) type SharedConsole = Arc<Mutex<Console>>;
