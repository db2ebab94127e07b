//! The Rust API as a program uses it, in one process; what needs the command line is in the tests of the whole program.

#![cfg(test)] // So that clippy knows helpers for test code.

mod callbacks;
mod classes;
mod clusters;
mod fits;
mod messages;
mod saved;
mod tables;
mod targets;
mod watched;
