//! Tests of `lockstep_model` from outside: oracles for the numbers, and the promises about their bits.

#![cfg(test)] // So that clippy knows helpers for test code.

mod batch_norm;
mod bits;
mod common;
mod dropout;
mod embeddings;
mod frozen;
mod gradients;
mod images;
mod math;
mod memory;
mod non_finite;
mod weights;
