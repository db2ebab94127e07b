//! Messages of workers to each other.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockstep_fuzz::frames::from_peer(data));
