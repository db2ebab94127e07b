//! From a worker to its coordinator: gradient slices, one behind the other, in a file of the worker's.
//!
//! A place is written again only when the coordinator has done with every slice that was ever put into the lane: with each
//! deal it tells how many that is. Where there is no room, a slice goes through the stream.

use std::io::Result;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::mapping::{ALIGNMENT, Region, View};
use super::{SHARED_BYTES_MIN, SharedFile, Ticket};
use crate::values::Precision;
use crate::wire::{self, worker_message::Kind};

/// Room for as many gradients: a worker's span is seldom more nodes.
const GRADIENTS: usize = 2;

/// The worker's end.
#[derive(Debug)]
pub struct Lane {
    file: SharedFile,
    precision: Precision,
    // A std mutex: held for an addition, never across a wait.
    put: Mutex<Put>,
    /// Slices that the coordinator has done with.
    read: AtomicU64,
}

#[derive(Debug)]
struct Put {
    next: u64,
    /// That the coordinator was told of.
    slices: u64,
}

/// Values that are computed where the coordinator will read them.
#[derive(Debug)]
pub struct Room(Region);

impl Room {
    /// The values; of no meaning at first.
    pub fn values(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }

    /// As a frame.
    pub fn into_frame(self) -> Bytes {
        Bytes::from_owner(self.0)
    }
}

impl Lane {
    /// A lane for gradients of so many parameters, in this many chunks and in this precision, and how the coordinator opens
    /// it.
    ///
    /// # Errors
    /// If the system has no such files, or not enough memory.
    pub fn new(parameters: usize, chunks: usize, precision: Precision) -> Result<(Lane, Ticket)> {
        let bytes = GRADIENTS * (parameters * precision.width() + chunks * ALIGNMENT);
        let (file, ticket) = SharedFile::with_room(0, bytes as u64)?;
        let put = Mutex::new(Put { next: file.values().start, slices: 0 });
        Ok((Lane { file, precision, put, read: AtomicU64::new(0) }, ticket))
    }

    /// The values as a frame that lies in the lane if there is room, and anywhere else if not.
    pub fn encode(&self, values: &[f32]) -> Bytes {
        match self.reserve(values.len()) {
            Some(mut region) => {
                self.precision.encode_into(values, &mut region);
                Bytes::from_owner(region)
            }
            None => self.precision.encode(values),
        }
    }

    /// Room in the lane to compute so many values in. `None` if there is none, or frames hold other bits than values.
    pub fn room(&self, len: usize) -> Option<Room> {
        let is_alike = self.precision == Precision::F32 && cfg!(target_endian = "little");
        is_alike.then(|| self.reserve(len)).flatten().map(Room)
    }

    fn reserve(&self, len: usize) -> Option<Region> {
        let bytes = (len * self.precision.width()) as u64;
        if bytes < SHARED_BYTES_MIN as u64 {
            return None;
        }
        let (room, mapping) = (self.file.values(), self.file.mapping());
        let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        if put.slices == self.read.load(Ordering::Acquire) && mapping.is_free() {
            put.next = room.start;
        }
        let place = put.next;
        let end = place.checked_add(bytes).filter(|&end| end <= room.end)?;
        let region = mapping.region(place as usize..end as usize)?;
        put.next = end.next_multiple_of(ALIGNMENT as u64);
        Some(region)
    }

    /// Names gradient values that lie in the lane instead of sending them.
    pub fn name(&self, message: &mut wire::WorkerMessage) {
        let Some(Kind::Part(part)) = &mut message.kind else { return };
        for slice in &mut part.slices {
            if let Some(place) = self.file.mapping().place_of(&slice.values) {
                slice.place = place as u64;
                slice.shared_bytes = slice.values.len() as u32;
                slice.values = Bytes::new();
                self.put.lock().unwrap_or_else(PoisonError::into_inner).slices += 1;
            }
        }
    }

    /// The word of the worker that its gradients will be here.
    pub fn announcement(ticket: Ticket) -> wire::WorkerMessage {
        wire::WorkerMessage { kind: Some(Kind::Share(ticket.into_wire())) }
    }

    /// Takes from a deal how many slices the coordinator has done with.
    pub fn hear(&self, message: &wire::CoordinatorMessage) {
        if let Some(wire::coordinator_message::Kind::Deal(deal)) = &message.kind {
            self.note_read(deal.slices_read);
        }
    }

    fn note_read(&self, slices: u64) {
        self.read.fetch_max(slices, Ordering::Release);
    }
}

/// Puts into a deal's message how many slices are done with; nothing into any other.
pub fn tell_read(message: &mut wire::CoordinatorMessage, slices: u64) {
    if let Some(wire::coordinator_message::Kind::Deal(deal)) = &mut message.kind {
        deal.slices_read = slices;
    }
}

/// The coordinator's end.
#[derive(Debug)]
pub struct LaneReader {
    file: SharedFile,
    read: Arc<AtomicU64>,
}

/// A slice in the lane; counted when it is let go.
struct Counted {
    values: View,
    read: Arc<AtomicU64>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.values
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.read.fetch_add(1, Ordering::Release);
    }
}

impl LaneReader {
    /// Opens a worker's lane.
    ///
    /// # Errors
    /// If there is none here.
    pub fn open(ticket: &Ticket) -> Result<LaneReader> {
        Ok(LaneReader { file: SharedFile::open(ticket, 0)?, read: Arc::default() })
    }

    /// Fills in a message's gradient values, which stay where they are in the lane.
    ///
    /// # Errors
    /// If a slice's place is not in the lane, or longer than a chunk can be.
    pub fn fill(&self, message: &mut wire::WorkerMessage) -> Result<()> {
        let Some(Kind::Part(part)) = &mut message.kind else { return Ok(()) };
        for slice in part.slices.iter_mut().filter(|slice| slice.shared_bytes > 0) {
            let values = self.view(slice.place, slice.shared_bytes);
            let values = values.ok_or(std::io::ErrorKind::InvalidData)?;
            slice.values = Bytes::from_owner(Counted { values, read: self.read.clone() });
        }
        Ok(())
    }

    fn view(&self, place: u64, bytes: u32) -> Option<View> {
        let (start, bytes) = (usize::try_from(place).ok()?, bytes as usize);
        let end = start.checked_add(bytes).filter(|_| bytes <= crate::MESSAGE_BYTES_MAX)?;
        self.file.mapping().view(start..end)
    }

    /// Slices done with so far: nothing refers to them any more.
    pub fn slices_read(&self) -> u64 {
        self.read.load(Ordering::Acquire)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use crate::values;

    fn message(lane: &Lane, values: &[f32]) -> wire::WorkerMessage {
        let slice = wire::Slice { values: lane.encode(values), ..Default::default() };
        let part = wire::Part { slices: vec![slice], ..Default::default() };
        let mut message = wire::WorkerMessage { kind: Some(Kind::Part(part)) };
        lane.name(&mut message);
        message
    }

    fn slice(message: &wire::WorkerMessage) -> &wire::Slice {
        let Some(Kind::Part(part)) = &message.kind else { panic!("{message:?}") };
        &part.slices[0]
    }

    #[test]
    fn values_come_out_as_they_went_in_and_places_are_used_again() {
        let (lane, ticket) = Lane::new(3, 1, Precision::F32).unwrap();
        let reader = LaneReader::open(&ticket).unwrap();
        for round in 0..3 {
            let sent = (0..4).map(|at| message(&lane, &[at as f32, 0.5, -0.0]));
            let mut sent: Vec<_> = sent.collect();
            assert!(sent[..3].iter().all(|message| slice(message).values.is_empty()), "{round}");
            assert_eq!(slice(&sent[3]).values.len(), 12, "there is room for three");
            for (at, message) in sent.iter_mut().enumerate() {
                reader.fill(message).unwrap();
                let found = values::decode(&slice(message).values).unwrap();
                assert_eq!(found, [at as f32, 0.5, -0.0]);
            }
            drop(sent);
            lane.note_read(reader.slices_read());
        }
    }

    #[test]
    fn nothing_is_overwritten_before_it_is_let_go() {
        let (lane, ticket) = Lane::new(2, 1, Precision::F32).unwrap();
        let reader = LaneReader::open(&ticket).unwrap();
        let mut sent = [0, 1, 2].map(|at| message(&lane, &[at as f32, 1.0]));
        sent.iter_mut().for_each(|message| reader.fill(message).unwrap());
        let [first, second, third] = sent;
        drop((first, third));
        lane.note_read(reader.slices_read());
        assert_eq!(slice(&message(&lane, &[2.0, 1.0])).values.len(), 8, "one is still read");
        assert_eq!(values::decode(&slice(&second).values).unwrap(), [1.0, 1.0]);
        drop(second);
        lane.note_read(reader.slices_read());
        assert!(slice(&message(&lane, &[3.0, 1.0])).values.is_empty());
    }

    #[test]
    fn values_computed_in_place_can_be_cut_into_slices() {
        let (lane, ticket) = Lane::new(4, 1, Precision::F32).unwrap();
        let reader = LaneReader::open(&ticket).unwrap();
        let mut room = lane.room(6).unwrap();
        room.values().copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let frame = room.into_frame();
        let named = |values: Bytes| {
            let part = wire::Part {
                slices: vec![wire::Slice { values, ..Default::default() }],
                ..Default::default()
            };
            let mut message = wire::WorkerMessage { kind: Some(Kind::Part(part)) };
            lane.name(&mut message);
            message
        };
        let mut first = named(frame.slice(..8));
        // Not all of the room is told of: it is not free, whatever was read.
        reader.fill(&mut first).unwrap();
        drop(first);
        lane.note_read(reader.slices_read());
        let other = lane.room(4).unwrap();
        let mut second = named(frame.slice(8..));
        drop((frame, other));
        reader.fill(&mut second).unwrap();
        assert_eq!(values::decode(&slice(&second).values).unwrap(), [3.0, 4.0, 5.0, 6.0]);
        assert!(Lane::new(4, 1, Precision::Bf16).unwrap().0.room(4).is_none());
    }

    #[test]
    fn places_that_are_none() {
        let (_lane, ticket) = Lane::new(2, 1, Precision::F32).unwrap();
        let reader = LaneReader::open(&ticket).unwrap();
        for (place, shared_bytes) in [(64, 170), (u64::MAX, 4), (240, 4), (0, u32::MAX), (0, 4)] {
            let slice = wire::Slice { place, shared_bytes, ..Default::default() };
            let part = wire::Part { slices: vec![slice], ..Default::default() };
            let mut message = wire::WorkerMessage { kind: Some(Kind::Part(part)) };
            assert!(reader.fill(&mut message).is_err(), "{place} {shared_bytes}");
        }
    }
}
