//! From gradients to results: which memory they are computed in, and cutting them into chunks and messages. Knows no rows
//! and no weights.

use std::sync::Arc;

use bytes::Bytes;
use lockstep_model::{Network, Sink};
use lockstep_proto::frame::{Done, FromWorker, NodeSums, Part, Slice};
use lockstep_proto::ids::{Chunk, Pass};
use lockstep_proto::layout::ChunkRange;
use lockstep_proto::shared::lane::{Lane, Room};
use lockstep_proto::tree::Node;
use lockstep_proto::values::Precision;

/// Results are sent when this many bytes of gradient are together: on the network early, so that the way back begins early;
/// through shared memory, where only places are sent, less often.
const PART_BYTES: usize = 1 << 17;
const SHARED_PART_BYTES: usize = 1 << 19;

/// How and where gradients become frames.
pub(crate) struct Frames {
    pub(crate) precision: Precision,
    /// In memory that the coordinator reads, if it is on this machine.
    pub(crate) lane: Option<Arc<Lane>>,
}

impl Frames {
    fn encode(&self, values: &[f32]) -> Bytes {
        match &self.lane {
            Some(lane) => lane.encode(values),
            None => self.precision.encode(values),
        }
    }
}

/// Cuts layers' gradients into chunks and gathers small ones into one message.
pub(crate) struct Parts<'a> {
    network: &'a Network,
    frames: &'a Frames,
    pass: Pass,
    nodes: &'a [Node],
    /// In the lane, for the layer at hand.
    room: Option<Room>,
    /// By node: the layers of a shared chunk that are there so far. Only one shared chunk is open at a time, since
    /// layers come last to first.
    shared: Vec<Vec<f32>>,
    slices: Vec<Slice>,
    bytes: usize,
    send: &'a mut dyn FnMut(FromWorker),
}

impl<'a> Parts<'a> {
    pub(crate) fn new(
        network: &'a Network,
        frames: &'a Frames,
        pass: Pass,
        nodes: &'a [Node],
        send: &'a mut dyn FnMut(FromWorker),
    ) -> Parts<'a> {
        let shared = vec![Vec::new(); nodes.len()];
        let slices = Vec::new();
        Parts { network, frames, pass, nodes, room: None, shared, slices, bytes: 0, send }
    }

    /// The chunks that a layer touches, and the number of the first.
    fn chunks_of(&self, layer: usize) -> (usize, &'a [ChunkRange]) {
        let layout = self.network.layout();
        let places = layout.chunks_of(layer);
        (places.start, &layout.chunks()[places])
    }

    fn push(&mut self, chunk: usize, node: usize, values: Bytes) {
        self.bytes += values.len();
        self.slices.push(Slice { node: self.nodes[node], chunk: Chunk(chunk as u32), values });
        let enough = if self.frames.lane.is_some() { SHARED_PART_BYTES } else { PART_BYTES };
        if self.bytes >= enough {
            self.flush(Vec::new(), None);
        }
    }

    pub(crate) fn finish(mut self, sums: Vec<NodeSums>, done: Done) {
        self.flush(sums, Some(done));
    }

    fn flush(&mut self, sums: Vec<NodeSums>, done: Option<Done>) {
        self.bytes = 0;
        let slices = std::mem::take(&mut self.slices);
        (self.send)(FromWorker::Part(Part { pass: self.pass, slices, sums, done }));
    }
}

impl Sink for Parts<'_> {
    /// For layers that share no chunk with another: those that do are gathered first.
    fn room(&mut self, layer: usize, len: usize) -> Option<&mut [f32]> {
        let lane = self.frames.lane.as_ref()?;
        let is_alone = self.chunks_of(layer).1.iter().all(|chunk| chunk.layers.len() == 1);
        self.room = is_alone.then(|| lane.room(len)).flatten();
        self.room.as_mut().map(Room::values)
    }

    fn filled(&mut self, layer: usize) {
        let Some(room) = self.room.take() else { return };
        let (frame, (first, chunks)) = (room.into_frame(), self.chunks_of(layer));
        let layer = &self.network.layout().layers()[layer];
        for (place, chunk) in chunks.iter().enumerate() {
            for node in 0..self.nodes.len() {
                let start = node * layer.len() + chunk.range.start - layer.start;
                let [start, end] =
                    [start, start + chunk.range.len()].map(|value| value * size_of::<f32>());
                self.push(first + place, node, frame.slice(start..end));
            }
        }
    }

    /// Chunk by chunk, so that each is whole as early as it can be.
    fn take(&mut self, layer: usize, len: usize, values: &[f32]) {
        let (first, chunks) = self.chunks_of(layer);
        let range = &self.network.layout().layers()[layer];
        for (place, chunk) in chunks.iter().enumerate() {
            for (node, values) in values.chunks_exact(len).enumerate() {
                if chunk.layers.len() == 1 {
                    let part = chunk.range.start - range.start..chunk.range.end - range.start;
                    let frame = self.frames.encode(&values[part]);
                    self.push(first + place, node, frame);
                    continue;
                }
                let shared = &mut self.shared[node];
                shared.resize(chunk.range.len(), 0.0);
                let start = range.start - chunk.range.start;
                shared[start..start + len].copy_from_slice(values);
                if layer == chunk.layers.start {
                    let frame = self.frames.encode(shared);
                    self.push(first + place, node, frame);
                }
            }
        }
    }
}
