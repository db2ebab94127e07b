//! What every fuzz target asserts, one module each: a function of bytes that returns if all is well and panics if not.
//!
//! A target reads its bytes the way the program would, from a file or a message, and asserts more than that nothing
//! panics: memory follows what was read and not what it claims, what is accepted keeps its contract, and written again
//! and read again it is the same. Uses public functions of the program only, none of which knows that it is fuzzed.
//! Holds no generators: inputs come from the corpus and from libFuzzer.

mod budget;
pub mod checkpoint;
pub mod csv;
pub mod frames;
pub mod idx;
mod input;
pub mod job;
pub mod journal;
pub mod json;
pub mod manifest;
pub mod model;
pub mod npy;
pub mod npz;
pub mod parquet;
mod scratch;
mod seal;
mod tables;
pub mod weights;
