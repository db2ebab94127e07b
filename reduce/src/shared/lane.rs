//! From a worker to its coordinator: gradient slices, one behind the other, in a file of the worker's.
//!
//! A place is written again only when the coordinator has done with every slice that was ever put into the lane: with each
//! deal it tells how many that is. Where there is no room, a slice goes through the stream.

use std::io::{ErrorKind, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use lockstep_proto::MESSAGE_BYTES_MAX;
use lockstep_proto::buffer::Buffer;
use lockstep_proto::layout::Layout;
use lockstep_proto::ticket::Ticket;
use lockstep_proto::values::Precision;
use lockstep_proto::wire::{self, worker_message::Kind};

use super::mapping::{ALIGNMENT, Region};
use super::{SHARED_BYTES_MIN, SharedFile};

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
    /// A lane for gradients of this layout in this precision, and how the coordinator opens it. Takes as long as clearing so
    /// much memory.
    ///
    /// # Errors
    /// If the system has no such files, or not enough memory.
    pub fn new(layout: &Layout, precision: Precision) -> Result<(Lane, Ticket)> {
        let (file, ticket) = SharedFile::with_room(0, room_bytes(layout, precision))?;
        let put = Mutex::new(Put { next: file.values().start, slices: 0 });
        Ok((Lane { file, precision, put, read: AtomicU64::new(0) }, ticket))
    }

    /// The values, and others behind them, as one frame that lies in the lane if there is room, and anywhere else if not.
    pub fn encode_joined(&self, values: [&[f32]; 2]) -> Bytes {
        match self.reserve(values.map(<[f32]>::len).iter().sum()) {
            Some(mut region) => {
                self.precision.encode_joined_into(values, &mut region);
                Bytes::from_owner(region)
            }
            None => self.precision.encode_joined(values),
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

/// Bytes of values in a lane.
fn room_bytes(layout: &Layout, precision: Precision) -> u64 {
    let values = layout.sums_len() * precision.width() + layout.chunks().len() * ALIGNMENT;
    (GRADIENTS * values) as u64
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
    /// Slices that were copied out.
    read: AtomicU64,
}

impl LaneReader {
    /// Opens a worker's lane for gradients of this layout in this precision. Takes as long as clearing so much memory: not
    /// for a thread that others wait for.
    ///
    /// # Errors
    /// If the ticket is for a file of another size (`InvalidData`), or there is none here.
    pub fn open(ticket: &Ticket, layout: &Layout, precision: Precision) -> Result<LaneReader> {
        let file = SharedFile::open(ticket, 0, room_bytes(layout, precision))?;
        Ok(LaneReader { file, read: AtomicU64::new(0) })
    }

    /// Fills in a message's gradient values: they are copied out of the lane, once, and the worker can do nothing to
    /// them any more.
    ///
    /// # Errors
    /// If a slice's place is not in the lane, or the message names more than it could hold.
    pub fn fill(&self, message: &mut wire::WorkerMessage) -> Result<()> {
        let Some(Kind::Part(part)) = &mut message.kind else { return Ok(()) };
        let mut left = MESSAGE_BYTES_MAX;
        for slice in part.slices.iter_mut().filter(|slice| slice.shared_bytes > 0) {
            let bytes = slice.shared_bytes as usize;
            let invalid = || std::io::Error::from(ErrorKind::InvalidData);
            left = left.checked_sub(bytes).ok_or_else(invalid)?;
            let place = usize::try_from(slice.place).map_err(|_| invalid())?;
            let mut values = Buffer::new(bytes);
            if !self.file.mapping().copy_out(place, &mut values) {
                return Err(invalid());
            }
            slice.values = values.into_bytes();
            self.read.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    /// Slices done with so far: whatever is put in their place, they stay as they were.
    pub fn slices_read(&self) -> u64 {
        self.read.load(Ordering::Acquire)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use lockstep_proto::layout::TensorShape;
    use lockstep_proto::values;

    /// One chunk.
    fn layout(parameters: usize) -> Layout {
        Layout::new(&[[TensorShape::new("kernel", [parameters, 1])]])
    }

    fn lane(parameters: usize) -> (Lane, LaneReader) {
        let layout = layout(parameters);
        let (lane, ticket) = Lane::new(&layout, Precision::F32).unwrap();
        (lane, LaneReader::open(&ticket, &layout, Precision::F32).unwrap())
    }

    fn message(lane: &Lane, values: &[f32]) -> wire::WorkerMessage {
        let slice = wire::Slice { values: lane.encode_joined([values, &[]]), ..Default::default() };
        let mut message = part(vec![slice]);
        lane.name(&mut message);
        message
    }

    fn part(slices: Vec<wire::Slice>) -> wire::WorkerMessage {
        let part = wire::ResultPart { slices, ..Default::default() };
        wire::WorkerMessage { kind: Some(Kind::Part(part)) }
    }

    fn slice(message: &wire::WorkerMessage) -> &wire::Slice {
        let Some(Kind::Part(part)) = &message.kind else { panic!("{message:?}") };
        &part.slices[0]
    }

    #[test]
    fn values_come_out_as_they_went_in_and_places_are_used_again() {
        let (lane, reader) = lane(3);
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
    fn nothing_is_overwritten_before_it_is_read_and_what_was_read_stays() {
        let (lane, reader) = lane(2);
        let mut sent = [0, 1, 2].map(|at| message(&lane, &[at as f32, 1.0]));
        for message in &mut sent[..2] {
            reader.fill(message).unwrap();
        }
        lane.note_read(reader.slices_read());
        assert_eq!(slice(&message(&lane, &[7.0, 1.0])).values.len(), 8, "one is not read yet");
        reader.fill(&mut sent[2]).unwrap();
        lane.note_read(reader.slices_read());
        assert!(slice(&message(&lane, &[7.0, 1.0])).values.is_empty());
        for (at, message) in sent.iter().enumerate() {
            assert_eq!(values::decode(&slice(message).values).unwrap(), [at as f32, 1.0]);
        }
    }

    #[test]
    fn values_computed_in_place_can_be_cut_into_slices() {
        let (lane, reader) = lane(4);
        let mut room = lane.room(6).unwrap();
        room.values().copy_from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let frame = room.into_frame();
        let named = |values: Bytes| {
            let mut message = part(vec![wire::Slice { values, ..Default::default() }]);
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
        assert!(Lane::new(&layout(4), Precision::Bf16).unwrap().0.room(4).is_none());
    }

    #[test]
    fn places_that_are_none() {
        let (_lane, reader) = lane(2);
        for (place, shared_bytes) in [(64, 170), (u64::MAX, 4), (240, 4), (0, u32::MAX), (0, 4)] {
            let slice = wire::Slice { place, shared_bytes, ..Default::default() };
            assert!(reader.fill(&mut part(vec![slice])).is_err(), "{place} {shared_bytes}");
        }
    }

    /// Little is said, and much would have to be copied.
    #[test]
    fn a_message_names_no_more_than_it_could_hold() {
        const PARAMETERS: usize = 1 << 16;
        let (_lane, reader) = lane(PARAMETERS);
        let shared_bytes = (PARAMETERS * size_of::<f32>()) as u32;
        let slice = wire::Slice { place: 64, shared_bytes, ..Default::default() };
        let most = MESSAGE_BYTES_MAX / shared_bytes as usize;
        for (slices, is_filled) in [(most, true), (most + 1, false), (100_000, false)] {
            let filled = reader.fill(&mut part(vec![slice.clone(); slices]));
            assert_eq!(filled.is_ok(), is_filled, "{slices}");
        }
    }

    #[test]
    fn a_lane_of_another_layout_is_not_opened() {
        let (_lane, ticket) = Lane::new(&layout(1000), Precision::F32).unwrap();
        for (parameters, precision) in [(999, Precision::F32), (1000, Precision::Bf16)] {
            let error = LaneReader::open(&ticket, &layout(parameters), precision).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
        }
    }
}
