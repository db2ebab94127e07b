//! Memory that a simulated coordinator shares with a worker: the newest two versions of each chunk, as where it is shipped.
//! Whoever reads too late reads something else, and is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lockstep_proto::ids::{Chunk, Step};
use lockstep_proto::values::Precision;
use lockstep_worker::core::SharedWeights;

#[derive(Clone, Debug)]
pub(crate) struct Memory {
    precision: Precision,
    chunks: Arc<Mutex<BTreeMap<(Chunk, Step), Bytes>>>,
}

impl Memory {
    pub(crate) fn new(precision: Precision) -> Memory {
        Memory { precision, chunks: Arc::default() }
    }

    /// The coordinator writes a version.
    pub(crate) fn write(&self, step: Step, chunk: Chunk, values: Bytes) {
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.insert((chunk, step), values);
        chunks.retain(|&(of, version), _| of != chunk || version.0 + 1 >= step.0);
    }

    /// Whether a version is there.
    pub(crate) fn holds(&self, step: Step, chunk: Chunk) -> bool {
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.contains_key(&(chunk, step))
    }
}

impl SharedWeights for Memory {
    fn copy(&self, step: Step, chunk: Chunk, into: &mut [f32]) -> bool {
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        match chunks.get(&(chunk, step)) {
            Some(values) => self.precision.copy(values, into),
            None => into.fill(f32::NAN),
        }
        chunks.contains_key(&(chunk, step))
    }
}
