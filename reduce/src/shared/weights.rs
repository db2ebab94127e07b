//! From a coordinator to all workers on its machine: the newest two versions of the weights, written once for all of
//! them. Where there is no such memory, the versions are kept all the same, and sent.
//!
//! A version takes the place of the one before the one before it, read or not. Each chunk has a mark that says which version
//! it is, voided before its values change; a reader that finds another version than it was told of, before or after it has
//! read, knows that it came too late: newer weights are on their way to it.

use std::io::Result;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use lockstep_proto::ids::{Chunk, Step};
use lockstep_proto::layout::{ChunkRange, Layout};
use lockstep_proto::ticket::Ticket;
use lockstep_proto::values::Precision;

use super::mapping::{ALIGNMENT, Mapping, Region};
use super::{SHARED_BYTES_MIN, SharedFile};

const VERSIONS: usize = 2;

/// Values that are decoded are copied out in blocks of so many bytes.
const BLOCK_BYTES: usize = 1 << 12;

/// No version: what a new file is full of. A version's mark is the number after its step's.
const VOID: u64 = 0;

fn mark(step: Step) -> u64 {
    step.0.wrapping_add(1)
}

/// Which of the versions' places is the step's.
fn place(step: Step) -> usize {
    (step.0 % VERSIONS as u64) as usize
}

/// The number of a mark in the file.
fn mark_number(step: Step, chunk: usize) -> usize {
    chunk * VERSIONS + place(step)
}

/// Where each chunk's values are, behind the marks.
#[derive(Debug)]
struct Places {
    /// By chunk, in the first version.
    chunks: Vec<Range<usize>>,
    version_bytes: usize,
}

impl Places {
    fn new(layout: &Layout, precision: Precision) -> Places {
        let mut version_bytes = 0;
        let chunks = layout.chunks().iter().map(|chunk| {
            let start = version_bytes;
            let end = start + chunk.range.len() * precision.width();
            version_bytes = end.next_multiple_of(ALIGNMENT);
            start..end
        });
        let chunks = chunks.collect();
        Places { chunks, version_bytes }
    }

    fn marks(&self) -> usize {
        self.chunks.len() * VERSIONS
    }

    /// Bytes of values in a file.
    fn bytes(&self) -> u64 {
        (VERSIONS * self.version_bytes) as u64
    }

    /// In a file whose values begin at `start`.
    fn of(&self, start: u64, version: usize, chunk: usize) -> Range<usize> {
        let offset = start as usize + version * self.version_bytes;
        let Range { start, end } = self.chunks[chunk];
        offset + start..offset + end
    }
}

/// The newest two versions of one chunk, as workers see them.
#[derive(Debug)]
pub struct ChunkVersions {
    values: [Memory; VERSIONS],
    steps: [Option<Step>; VERSIONS],
}

#[derive(Debug)]
enum Memory {
    Shared { region: Region, mapping: Arc<Mapping>, mark: usize },
    Own(Vec<u8>),
}

impl Memory {
    fn values(&self) -> &[u8] {
        match self {
            Memory::Shared { region, .. } => region,
            Memory::Own(values) => values,
        }
    }

    /// Fills it with the values of a step; nobody can take it for another version meanwhile.
    fn write<T>(&mut self, step: Step, fill: impl FnOnce(&mut [u8]) -> T) -> T {
        match self {
            Memory::Shared { region, mapping, mark: number } => {
                let version = mapping.mark(*number);
                void(version);
                let result = fill(region);
                if let Some(version) = version {
                    version.store(mark(step), Ordering::Release);
                }
                result
            }
            Memory::Own(values) => fill(values),
        }
    }
}

/// Room for the versions of all chunks, and how workers on this machine find it, if they can.
pub fn versions(layout: &Layout, precision: Precision) -> (Vec<ChunkVersions>, Option<Ticket>) {
    shared_versions(layout, precision).unwrap_or_else(|_| {
        let own = |chunk: &ChunkRange| ChunkVersions::own(chunk.range.len() * precision.width());
        (layout.chunks().iter().map(own).collect(), None)
    })
}

fn shared_versions(
    layout: &Layout,
    precision: Precision,
) -> Result<(Vec<ChunkVersions>, Option<Ticket>)> {
    let places = Places::new(layout, precision);
    let (file, ticket) = SharedFile::with_room(places.marks(), places.bytes())?;
    let (mapping, start) = (file.mapping(), file.values().start);
    let chunks = (0..layout.chunks().len()).map(|chunk| {
        let memory = |version| -> Result<Memory> {
            let region = mapping.region(places.of(start, version, chunk));
            let region = region.ok_or(std::io::ErrorKind::InvalidInput)?;
            let mark = chunk * VERSIONS + version;
            Ok(Memory::Shared { region, mapping: mapping.clone(), mark })
        };
        Ok(ChunkVersions { values: [memory(0)?, memory(1)?], steps: [None; VERSIONS] })
    });
    Ok((chunks.collect::<Result<_>>()?, Some(ticket)))
}

impl ChunkVersions {
    /// In this process alone, for values of so many bytes.
    pub fn own(bytes: usize) -> ChunkVersions {
        let values = [(); VERSIONS].map(|()| Memory::Own(vec![0; bytes]));
        ChunkVersions { values, steps: [None; VERSIONS] }
    }

    /// Whether workers on this machine can read it: there is memory for it, and it is long enough to be worth it.
    pub fn is_shared(&self) -> bool {
        let [Memory::Shared { region, .. }, _] = &self.values else { return false };
        region.len() >= SHARED_BYTES_MIN
    }

    /// Makes a version, in the place of the one before the one before it.
    pub fn write<T>(&mut self, step: Step, fill: impl FnOnce(&mut [u8]) -> T) -> T {
        let place = place(step);
        self.steps[place] = Some(step);
        self.values[place].write(step, fill)
    }

    /// [`write`](Self::write) with the newest version, which has to be the one before, beside it.
    pub fn follow<T>(&mut self, step: Step, fill: impl FnOnce(&[u8], &mut [u8]) -> T) -> T {
        self.steps[place(step)] = Some(step);
        let [even, odd] = &mut self.values;
        let (before, next) = if place(step) == 0 { (odd, even) } else { (even, odd) };
        next.write(step, |next| fill(before.values(), next))
    }

    /// A version, if it is one of the newest two.
    pub fn read(&self, step: Step) -> Option<&[u8]> {
        let place = place(step);
        (self.steps[place] == Some(step)).then(|| self.values[place].values())
    }

    /// The newest version; if there is none, no values that mean anything.
    pub fn newest(&self) -> &[u8] {
        let [even, odd] = self.steps;
        self.values[usize::from(odd > even)].values()
    }
}

/// Says that values are about to change, before any of them does.
fn void(version: Option<&AtomicU64>) {
    if let Some(version) = version {
        version.store(VOID, Ordering::Relaxed);
    }
    fence(Ordering::Release);
}

/// A worker's end.
#[derive(Debug)]
pub struct WeightsReader {
    file: SharedFile,
    places: Places,
    precision: Precision,
}

impl WeightsReader {
    /// Opens the coordinator's file. Takes as long as reading through it: not for a thread that others wait for.
    ///
    /// # Errors
    /// If there is none here, or it is not for weights of this layout and precision.
    pub fn open(ticket: &Ticket, layout: &Layout, precision: Precision) -> Result<WeightsReader> {
        let places = Places::new(layout, precision);
        let file = SharedFile::open(ticket, places.marks(), places.bytes())?;
        Ok(WeightsReader { file, places, precision })
    }

    /// Copies a chunk's values. False if it is too late: they are overwritten by newer ones, and what was copied is of no
    /// meaning.
    ///
    /// # Panics
    /// If the layout has no such chunk, or it is of another length.
    pub fn copy(&self, step: Step, chunk: Chunk, into: &mut [f32]) -> bool {
        let chunk = chunk.0 as usize;
        let (start, version) = (self.file.values().start, place(step));
        let mapping = self.file.mapping();
        let Range { start: place, end } = self.places.of(start, version, chunk);
        assert_eq!(end - place, into.len() * self.precision.width(), "bytes of a chunk");
        let Some(version) = mapping.mark(mark_number(step, chunk)) else { return false };
        let is_there = || version.load(Ordering::Acquire) == mark(step);
        // Copied out before they are decoded, in blocks that stay in the nearest cache; nothing is copied twice where
        // that changes nothing.
        let copied = match self.precision.bytes_of(into) {
            Some(bytes) => is_there() && mapping.copy_out(place, bytes),
            None => is_there() && self.copy_blocks(place, into),
        };
        fence(Ordering::Acquire);
        copied && version.load(Ordering::Relaxed) == mark(step)
    }

    fn copy_blocks(&self, place: usize, into: &mut [f32]) -> bool {
        let (width, mut block) = (self.precision.width(), [0; BLOCK_BYTES]);
        into.chunks_mut(BLOCK_BYTES / width).enumerate().all(|(at, into)| {
            let block = &mut block[..into.len() * width];
            let is_there = self.file.mapping().copy_out(place + at * BLOCK_BYTES, block);
            self.precision.copy(block, into);
            is_there
        })
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use lockstep_proto::layout::TensorShape;
    use lockstep_proto::values;

    fn layout() -> Layout {
        let shape = |inputs: usize, units: usize| [TensorShape::new("kernel", [inputs, units])];
        let layout = Layout::new(&[shape(200, 100), shape(100, 1)]);
        assert_eq!(layout.chunks().len(), 2);
        layout
    }

    fn told(reader: &WeightsReader, step: u64) -> Option<[f32; 100]> {
        let mut values = [0.0; 100];
        reader.copy(Step(step), Chunk(1), &mut values).then_some(values)
    }

    #[test]
    fn the_newest_two_versions_can_be_had() {
        let (mut chunks, ticket) = versions(&layout(), Precision::F32);
        let reader = WeightsReader::open(&ticket.unwrap(), &layout(), Precision::F32).unwrap();
        let versions = &mut chunks[1];
        assert!(versions.is_shared() && versions.read(Step(0)).is_none());
        assert_eq!(told(&reader, 0), None, "it was not written");
        for step in 1..=3 {
            let frame = values::encode(&[step as f32; 100]);
            versions.write(Step(step), |values| values.copy_from_slice(&frame));
            assert_eq!(versions.read(Step(step)), Some(&frame[..]));
            assert_eq!(versions.newest(), &frame[..]);
        }
        assert_eq!(told(&reader, 1), None, "3 took its place");
        assert!(versions.read(Step(1)).is_none() && versions.read(Step(2)).is_some());
        assert_eq!(told(&reader, 2), Some([2.0; 100]));
        assert_eq!(told(&reader, 3), Some([3.0; 100]));
        assert_eq!(told(&reader, 4), None);
        assert!(!reader.copy(Step(3), Chunk(0), &mut vec![0.0; 20_000]));
    }

    #[test]
    fn a_version_can_be_made_from_the_one_before() {
        let (mut chunks, ticket) = versions(&layout(), Precision::F32);
        let reader = WeightsReader::open(&ticket.unwrap(), &layout(), Precision::F32).unwrap();
        chunks[1].write(Step(4), |values| values.copy_from_slice(&values::encode(&[4.0; 100])));
        for step in 5..=7 {
            chunks[1].follow(Step(step), |before, next| {
                let mut known = [0.0; 100];
                values::copy(before, &mut known);
                assert_eq!((told(&reader, step), known), (None, [step as f32 - 1.0; 100]));
                next.copy_from_slice(&values::encode(&[step as f32; 100]));
            });
            assert_eq!(told(&reader, step), Some([step as f32; 100]));
            assert_eq!(told(&reader, step - 1), Some([step as f32 - 1.0; 100]));
        }
    }

    #[test]
    fn values_that_change_meanwhile_are_not_taken() {
        let (mut chunks, ticket) = versions(&layout(), Precision::F32);
        let reader = WeightsReader::open(&ticket.unwrap(), &layout(), Precision::F32).unwrap();
        let fill = |values: &mut [u8]| values.fill(1);
        chunks[1].write(Step(1), fill);
        chunks[1].write(Step(3), |values| {
            fill(values);
            assert_eq!(told(&reader, 1), None);
            assert_eq!(told(&reader, 3), None);
        });
        assert!(told(&reader, 3).is_some());
    }

    #[test]
    fn another_layout_or_precision_is_refused() {
        let (_chunks, ticket) = versions(&layout(), Precision::F32);
        let ticket = ticket.unwrap();
        let open = |layout: &Layout, precision| WeightsReader::open(&ticket, layout, precision);
        assert!(open(&layout(), Precision::F32).is_ok());
        let other = Layout::new(&[[TensorShape::new("kernel", [3, 2])]]);
        assert!(open(&other, Precision::F32).is_err());
        assert!(open(&layout(), Precision::Bf16).is_err());
    }
}
