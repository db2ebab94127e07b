//! From a coordinator to all workers on its machine: the newest two versions of the weights, written once for all of
//! them.
//!
//! A version takes the place of the one before the one before it, read or not. Each chunk has its version written
//! behind its values, and voided before they change; a reader that finds another version than it was told of, before or after
//! it has read, knows that it came too late: newer weights are on their way to it.

use std::io::Result;
use std::sync::atomic::{AtomicBool, Ordering};

use super::file::HEADER_BYTES;
use super::{SHARED_BYTES_MIN, SharedFile, Ticket};
use crate::buffer::Buffer;
use crate::ids::{Chunk, Step};
use crate::layout::Layout;
use crate::values::Precision;
use crate::wire::{self, coordinator_message::Kind};

const VERSIONS: u64 = 2;

/// Bytes of a chunk's version.
const MARK_BYTES: u64 = 8;

/// No version: what a new file is full of. A version's mark is the number after its step's.
const VOID: [u8; 8] = [0; 8];

/// Where each chunk's values are.
#[derive(Debug)]
struct Places {
    /// By chunk: the place of its mark in the first version, and the bytes of its values.
    chunks: Vec<(u64, usize)>,
    version_bytes: u64,
}

impl Places {
    fn new(layout: &Layout, precision: Precision) -> Places {
        let mut at = HEADER_BYTES;
        let chunks = layout.chunks().iter().map(|chunk| {
            let bytes = chunk.range.len() * precision.width();
            let place = at;
            at += MARK_BYTES + bytes as u64;
            (place, bytes)
        });
        let chunks = chunks.collect();
        Places { chunks, version_bytes: at - HEADER_BYTES }
    }

    fn of(&self, step: Step, chunk: Chunk) -> (u64, usize) {
        let (place, bytes) = self.chunks[chunk.0 as usize];
        (place + step.0 % VERSIONS * self.version_bytes, bytes)
    }
}

/// The coordinator's end.
#[derive(Debug)]
pub struct WeightsWriter {
    file: SharedFile,
    ticket: Ticket,
    places: Places,
    is_read: AtomicBool,
}

impl WeightsWriter {
    /// A file for weights of this layout and precision.
    ///
    /// # Errors
    /// If the system has no such files.
    pub fn new(layout: &Layout, precision: Precision) -> Result<WeightsWriter> {
        let places = Places::new(layout, precision);
        let (file, ticket) = SharedFile::with_room(VERSIONS * places.version_bytes)?;
        Ok(WeightsWriter { file, ticket, places, is_read: AtomicBool::new(false) })
    }

    /// How a worker opens it.
    pub fn ticket(&self) -> Ticket {
        self.ticket.clone()
    }

    /// From now on there is somebody to write for.
    pub fn begin(&self) {
        self.is_read.store(true, Ordering::Relaxed);
    }

    /// Writes a chunk; false if nobody reads, or it cannot be written.
    pub fn write(&self, step: Step, chunk: Chunk, values: &[u8]) -> bool {
        let (place, bytes) = self.places.of(step, chunk);
        debug_assert_eq!(values.len(), bytes);
        values.len() >= SHARED_BYTES_MIN
            && self.is_read.load(Ordering::Relaxed)
            && self.file.write(place, &VOID).is_ok()
            && self.file.write(place + MARK_BYTES, values).is_ok()
            && self.file.write(place, &mark(step)).is_ok()
    }
}

fn mark(step: Step) -> [u8; 8] {
    step.0.wrapping_add(1).to_le_bytes()
}

/// The word that a chunk is in the coordinator's file.
pub fn named(step: Step, chunk: Chunk) -> wire::CoordinatorMessage {
    let values = bytes::Bytes::new();
    let weights = wire::Weights { step: step.0, chunk: chunk.0, values, shared: true };
    wire::CoordinatorMessage { kind: Some(Kind::Weights(weights)) }
}

/// A worker's end.
#[derive(Debug)]
pub struct WeightsReader {
    file: SharedFile,
    places: Places,
}

impl WeightsReader {
    /// Opens a coordinator's file.
    ///
    /// # Errors
    /// If there is none here, or it is for another layout or precision.
    pub fn open(ticket: &Ticket, layout: &Layout, precision: Precision) -> Result<WeightsReader> {
        let (file, places) = (SharedFile::open(ticket)?, Places::new(layout, precision));
        if file.bytes() != HEADER_BYTES + VERSIONS * places.version_bytes {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        Ok(WeightsReader { file, places })
    }

    /// Fills in a message's weights. False if it came too late: they are overwritten by newer ones.
    pub fn fill(&self, message: &mut wire::CoordinatorMessage) -> bool {
        let Some(Kind::Weights(weights)) = &mut message.kind else { return true };
        if !weights.shared {
            return true;
        }
        let (step, chunk) = (Step(weights.step), Chunk(weights.chunk));
        if chunk.0 as usize >= self.places.chunks.len() {
            // The frame's check says what is wrong with it.
            return true;
        }
        let (place, bytes) = self.places.of(step, chunk);
        let is_there = || {
            let mut found = VOID;
            self.file.read(place, &mut found).is_ok() && found == mark(step)
        };
        let mut values = Buffer::new(bytes);
        let read =
            is_there() && self.file.read(place + MARK_BYTES, &mut values).is_ok() && is_there();
        weights.values = values.into_bytes();
        read
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::layout::DenseShape;
    use crate::values;

    fn layout() -> Layout {
        let shape = |inputs, units| DenseShape { inputs, units, bias: false };
        let layout = Layout::new(&[shape(200, 100), shape(100, 1)]);
        assert_eq!(layout.chunks().len(), 2);
        layout
    }

    fn told(reader: &WeightsReader, step: u64, chunk: u32) -> Option<Vec<f32>> {
        let weights = wire::Weights { step, chunk, shared: true, ..Default::default() };
        let mut message = wire::CoordinatorMessage { kind: Some(Kind::Weights(weights)) };
        reader.fill(&mut message).then(|| match message.kind {
            Some(Kind::Weights(weights)) => values::decode(&weights.values).expect("whole values"),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_newest_two_versions_can_be_had() {
        let writer = WeightsWriter::new(&layout(), Precision::F32).unwrap();
        let frame = |value: f32| values::encode(&[value; 100]);
        assert!(!writer.write(Step(0), Chunk(1), &frame(9.0)), "nobody reads");
        let reader = WeightsReader::open(&writer.ticket(), &layout(), Precision::F32).unwrap();
        writer.begin();
        assert_eq!(told(&reader, 0, 1), None, "it was not written");
        for step in 1..=3 {
            assert!(writer.write(Step(step), Chunk(1), &frame(step as f32)));
        }
        assert_eq!(told(&reader, 1, 1), None, "3 took its place");
        assert_eq!(told(&reader, 2, 1), Some(vec![2.0; 100]));
        assert_eq!(told(&reader, 3, 1), Some(vec![3.0; 100]));
        assert_eq!(told(&reader, 3, 0), None);
        assert_eq!(told(&reader, 4, 1), None);
    }

    #[test]
    fn another_layout_or_precision_is_refused() {
        let writer = WeightsWriter::new(&layout(), Precision::F32).unwrap();
        let open =
            |layout: &Layout, precision| WeightsReader::open(&writer.ticket(), layout, precision);
        assert!(open(&layout(), Precision::F32).is_ok());
        let other = Layout::new(&[DenseShape { inputs: 2, units: 2, bias: true }]);
        assert!(open(&other, Precision::F32).is_err());
        assert!(open(&layout(), Precision::Bf16).is_err());
    }
}
