//! Coded values in messages: put in just before they are sent, taken out where messages are checked.

use bytes::Bytes;

use super::Limits;
use super::check::{Checked, broken};
use crate::MESSAGE_BYTES_MAX;
use crate::coding;
use crate::ids::{Chunk, Step};
use crate::layout::ChunkRange;
use crate::values::Precision;
use crate::wire::{PeerMessage, Slice, WorkerMessage, peer_message, worker_message::Kind};

/// Codes the gradients and sums of a message that become shorter.
pub fn code_gradients(message: &mut WorkerMessage, precision: Precision) {
    match &mut message.kind {
        Some(Kind::Part(part)) => code(&mut part.slices, precision),
        Some(Kind::Sum(sum)) => code(sum.slice.as_mut_slice(), precision),
        _ => {}
    }
}

/// The same of what goes to another worker.
pub fn code_peer_gradients(message: &mut PeerMessage, precision: Precision) {
    let Some(peer_message::Kind::Slices(part)) = &mut message.kind else { return };
    code(&mut part.slices, precision);
}

fn code(slices: &mut [Slice], precision: Precision) {
    for slice in slices {
        if let Some(coded) = coding::code(precision, &slice.values, None) {
            (slice.values, slice.coded) = (Bytes::new(), coded);
        }
    }
}

impl Limits {
    /// Checks what changed in a chunk of the weights since the step before, as far as that can be done without that.
    pub(super) fn coded_weights(&self, step: Step, chunk: u32, coded: &[u8]) -> Checked<Chunk> {
        let (chunk, known) = self.chunk(chunk)?;
        let (found, len) = (coded.len(), known.range.len() * self.precision.width());
        if step == Step(0) || found >= len {
            return broken(format!("{found} bytes of coded weights of {step} for {len}"));
        }
        Ok(chunk)
    }
}

/// How many bytes may still come of what is coded in a message: no more than might have been sent as they are.
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new() -> Budget {
        Budget(MESSAGE_BYTES_MAX)
    }

    /// The values of a chunk: as they came, or decoded.
    pub(super) fn values(
        &mut self,
        limits: &Limits,
        chunk: &ChunkRange,
        values: Bytes,
        coded: &[u8],
    ) -> Checked<Bytes> {
        if coded.is_empty() {
            return Ok(values);
        }
        if !values.is_empty() {
            return broken("a chunk both coded and not");
        }
        let len = chunk.sums_len() * limits.precision.width();
        self.0 = match self.0.checked_sub(len) {
            Some(left) => left,
            None => return broken(format!("coded values for more than {MESSAGE_BYTES_MAX} bytes")),
        };
        coding::decoded(limits.precision, coded, len).or_else(|error| broken(error.to_string()))
    }
}
