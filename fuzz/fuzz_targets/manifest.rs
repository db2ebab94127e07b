//! Manifests.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lockstep_fuzz::manifest::check(data));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    lockstep_fuzz::json::mutate(data, size, max_size, seed, libfuzzer_sys::fuzzer_mutate)
});
