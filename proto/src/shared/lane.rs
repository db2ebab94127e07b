//! From a worker to its coordinator: gradient slices, one behind the other, in a file of the worker's.
//!
//! A place is written again only when the coordinator has read every slice that was ever put into the lane: with each
//! deal it tells how many that is. Where there is no room, a slice goes through the stream.

use std::io::Result;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::file::HEADER_BYTES;
use super::{SHARED_BYTES_MIN, SharedFile, Ticket};
use crate::buffer::Buffer;
use crate::values::Precision;
use crate::wire::{self, worker_message::Kind};

/// Room for as many gradients: a worker's span is seldom more nodes.
const GRADIENTS: u64 = 2;

/// The worker's end.
#[derive(Debug)]
pub struct Lane {
    file: SharedFile,
    // A std mutex: held for an addition, never across a wait.
    put: Mutex<Put>,
    /// Slices that the coordinator has read.
    read: AtomicU64,
}

#[derive(Debug)]
struct Put {
    next: u64,
    slices: u64,
}

impl Lane {
    /// A lane for gradients of so many parameters in this precision, and how the coordinator opens it.
    ///
    /// # Errors
    /// If the system has no such files.
    pub fn new(parameters: usize, precision: Precision) -> Result<(Lane, Ticket)> {
        let bytes = GRADIENTS * (parameters * precision.width()) as u64;
        let (file, ticket) = SharedFile::with_room(bytes)?;
        let put = Mutex::new(Put { next: HEADER_BYTES, slices: 0 });
        Ok((Lane { file, put, read: AtomicU64::new(0) }, ticket))
    }

    /// Moves a message's gradient values to the lane, as far as there is room.
    pub fn place(&self, message: &mut wire::WorkerMessage) {
        let Some(Kind::Part(part)) = &mut message.kind else { return };
        for slice in &mut part.slices {
            if slice.values.len() < SHARED_BYTES_MIN {
                continue;
            }
            if let Some(place) = self.put(&slice.values) {
                slice.place = place;
                slice.shared_bytes = slice.values.len() as u32;
                slice.values = bytes::Bytes::new();
            }
        }
    }

    /// The word of the worker that its gradients will be here.
    pub fn announcement(ticket: Ticket) -> wire::WorkerMessage {
        wire::WorkerMessage { kind: Some(Kind::Share(ticket.into_wire())) }
    }

    /// Takes from a deal how many slices the coordinator has read.
    pub fn hear(&self, message: &wire::CoordinatorMessage) {
        if let Some(wire::coordinator_message::Kind::Deal(deal)) = &message.kind {
            self.note_read(deal.slices_read);
        }
    }

    fn note_read(&self, slices: u64) {
        self.read.fetch_max(slices, Ordering::Relaxed);
    }

    fn put(&self, values: &[u8]) -> Option<u64> {
        let place = {
            let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
            if put.slices == self.read.load(Ordering::Relaxed) {
                put.next = HEADER_BYTES;
            }
            let end = put.next.checked_add(values.len() as u64)?;
            if values.is_empty() || end > self.file.bytes() {
                return None;
            }
            put.slices += 1;
            std::mem::replace(&mut put.next, end)
        };
        // A write that fails leaves a place that is never read; it is free again when the others are.
        match self.file.write(place, values) {
            Ok(()) => Some(place),
            Err(_) => {
                let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
                put.slices -= 1;
                None
            }
        }
    }
}

/// Puts into a deal's message how many slices were read; nothing into any other.
pub fn tell_read(message: &mut wire::CoordinatorMessage, slices: u64) {
    if let Some(wire::coordinator_message::Kind::Deal(deal)) = &mut message.kind {
        deal.slices_read = slices;
    }
}

/// The coordinator's end.
#[derive(Debug)]
pub struct LaneReader {
    file: SharedFile,
    read: AtomicU64,
}

impl LaneReader {
    /// Opens a worker's lane.
    ///
    /// # Errors
    /// If there is none here.
    pub fn open(ticket: &Ticket) -> Result<LaneReader> {
        Ok(LaneReader { file: SharedFile::open(ticket)?, read: AtomicU64::new(0) })
    }

    /// Fills in a message's gradient values from the lane.
    ///
    /// # Errors
    /// If a slice's place is not in the lane, or longer than a chunk can be.
    pub fn fill(&self, message: &mut wire::WorkerMessage) -> Result<()> {
        let Some(Kind::Part(part)) = &mut message.kind else { return Ok(()) };
        for slice in part.slices.iter_mut().filter(|slice| slice.shared_bytes > 0) {
            if slice.shared_bytes as usize > crate::MESSAGE_BYTES_MAX {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            let mut values = Buffer::new(slice.shared_bytes as usize);
            self.file.read(slice.place, &mut values)?;
            slice.values = values.into_bytes();
            self.read.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Slices read so far.
    pub fn slices_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::values;

    fn message(values: &[f32]) -> wire::WorkerMessage {
        let slice = wire::Slice { values: values::encode(values), ..Default::default() };
        let part = wire::Part { slices: vec![slice], ..Default::default() };
        wire::WorkerMessage { kind: Some(Kind::Part(part)) }
    }

    fn slice(message: &wire::WorkerMessage) -> &wire::Slice {
        let Some(Kind::Part(part)) = &message.kind else { panic!("{message:?}") };
        &part.slices[0]
    }

    #[test]
    fn values_come_out_as_they_went_in_and_places_are_used_again() {
        let (lane, ticket) = Lane::new(3, Precision::F32).unwrap();
        let reader = LaneReader::open(&ticket).unwrap();
        for round in 0..3 {
            let mut sent: Vec<_> = (0..3).map(|at| message(&[at as f32, 0.5, -0.0])).collect();
            sent.iter_mut().for_each(|message| lane.place(message));
            assert!(sent[..2].iter().all(|message| slice(message).values.is_empty()), "{round}");
            assert_eq!(slice(&sent[2]).values.len(), 12, "there is room for two");
            for (at, message) in sent.iter_mut().enumerate() {
                reader.fill(message).unwrap();
                let found = values::decode(&slice(message).values).unwrap();
                assert_eq!(found, [at as f32, 0.5, -0.0]);
            }
            lane.note_read(reader.slices_read());
        }
    }

    #[test]
    fn nothing_is_overwritten_before_it_is_read() {
        let (lane, ticket) = Lane::new(2, Precision::F32).unwrap();
        let reader = LaneReader::open(&ticket).unwrap();
        let mut sent: Vec<_> = (0..4).map(|at| message(&[at as f32, 1.0])).collect();
        lane.place(&mut sent[0]);
        lane.place(&mut sent[1]);
        reader.fill(&mut sent[0]).unwrap();
        lane.note_read(reader.slices_read());
        lane.place(&mut sent[2]);
        assert_eq!(slice(&sent[2]).values.len(), 8, "one is not read yet");
        reader.fill(&mut sent[1]).unwrap();
        lane.note_read(reader.slices_read());
        lane.place(&mut sent[3]);
        assert!(slice(&sent[3]).values.is_empty());
    }

    #[test]
    fn places_that_are_none() {
        let (_lane, ticket) = Lane::new(2, Precision::F32).unwrap();
        let reader = LaneReader::open(&ticket).unwrap();
        for (place, shared_bytes) in [(64, 17), (u64::MAX, 4), (80, 4), (0, u32::MAX)] {
            let slice = wire::Slice { place, shared_bytes, ..Default::default() };
            let part = wire::Part { slices: vec![slice], ..Default::default() };
            let mut message = wire::WorkerMessage { kind: Some(Kind::Part(part)) };
            assert!(reader.fill(&mut message).is_err(), "{place} {shared_bytes}");
        }
    }
}
