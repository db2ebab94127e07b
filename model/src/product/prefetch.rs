//! Asking for memory before it is used: the result's places while a block's chains are computed, an operand's rows while
//! others are packed. Changes nothing but the time. All of the crate's unsafe code.

#![allow(unsafe_code)]

/// Asks for the cache line of the value at place `at`, which may lie behind the slice.
#[inline(always)]
pub(crate) fn prefetch(values: &[f32], at: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let place = values.as_ptr().wrapping_add(at);
        // SAFETY: a prefetch reads nothing that the program can see and never faults, whatever the address; SSE, which
        // it is a part of, belongs to every x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}
