//! Memory follows what is read: a limit on what one reading may hold at a time, by the length of its input.
//!
//! Counts what this thread allocates. Work that the program would spread over threads is done on this one, which also
//! makes every run of an input take the same path.

use std::sync::Once;

/// What one reading may hold at a time.
pub(crate) struct Budget {
    /// Bytes of any reading: buffers of the readers.
    pub(crate) fixed: usize,
    /// Bytes for each byte of the input.
    pub(crate) per_byte: usize,
}

impl Budget {
    /// Runs a reading of `len` bytes.
    ///
    /// # Panics
    /// If it holds more at a time than it may.
    pub(crate) fn hold<T>(&self, len: usize, read: impl FnOnce() -> T) -> T {
        on_one_thread();
        let mut found = None;
        let held = allocation_counter::measure(|| found = Some(read())).bytes_max;
        let most = self.fixed + self.per_byte * len;
        assert!(
            held <= most as u64,
            "{len} bytes took {held} bytes of memory, wanted at most {most}"
        );
        found.expect("a reading ends or panics")
    }
}

fn on_one_thread() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
        pool.build_global().expect("nobody has made a pool before");
    });
}
