//! From gradients to results: which memory they are computed in, and cutting them into chunks and messages. Knows no rows
//! and no weights.

use std::sync::Arc;

use bytes::Bytes;
use lockstep_model::{Network, Sink};
use lockstep_proto::frame::{Done, FromWorker, NodeSums, ResultPart, Slice};
use lockstep_proto::ids::{Chunk, Pass};
use lockstep_proto::layout::ChunkRange;
use lockstep_proto::tree::Node;
use lockstep_proto::values::Precision;
use lockstep_reduce::shared::lane::{Lane, Room};

/// Results are sent when this many bytes of gradient are together: on the network early, so that the way back begins early;
/// through shared memory, where only places are sent, less often.
const PART_BYTES: usize = 1 << 17;
const SHARED_PART_BYTES: usize = 1 << 19;

/// Sums are sent when so many bytes of them are together. There may be megabytes: a node has some for every output, and a table
/// that is measured has nodes for thousands of shards.
const SUMS_BYTES: usize = 1 << 19;

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
        let mut parts = SumParts::new(self.pass);
        for sums in sums {
            parts.push(sums, self.send);
        }
        self.flush(parts.sums, Some(done));
    }

    fn flush(&mut self, sums: Vec<NodeSums>, done: Option<Done>) {
        self.bytes = 0;
        let slices = std::mem::take(&mut self.slices);
        (self.send)(FromWorker::Part(ResultPart { pass: self.pass, slices, sums, done }));
    }
}

/// Gathers loss and metric sums into messages.
pub(crate) struct SumParts {
    pass: Pass,
    sums: Vec<NodeSums>,
    bytes: usize,
}

impl SumParts {
    pub(crate) fn new(pass: Pass) -> SumParts {
        SumParts { pass, sums: Vec::new(), bytes: 0 }
    }

    /// Takes a node's sums; sends those before it when there are enough.
    pub(crate) fn push(&mut self, sums: NodeSums, send: &mut dyn FnMut(FromWorker)) {
        let bytes = size_of_val(&sums.values[..]);
        if self.bytes + bytes > SUMS_BYTES && !self.sums.is_empty() {
            self.bytes = 0;
            self.send(None, send);
        }
        self.bytes += bytes;
        self.sums.push(sums);
    }

    pub(crate) fn finish(mut self, done: Done, send: &mut dyn FnMut(FromWorker)) {
        self.send(Some(done), send);
    }

    fn send(&mut self, done: Option<Done>, send: &mut dyn FnMut(FromWorker)) {
        let (sums, slices) = (std::mem::take(&mut self.sums), Vec::new());
        send(FromWorker::Part(ResultPart { pass: self.pass, slices, sums, done }));
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

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_proto::MESSAGE_BYTES_MAX;
    use lockstep_proto::frame::SUMS_LEN_MAX;
    use lockstep_proto::ids::Span;
    use prost::Message as _;
    use std::time::Duration;

    /// The sizes of the messages that sums of so many shards make.
    fn message_bytes(shards: u32, len: usize) -> Vec<usize> {
        let mut sizes = Vec::new();
        let mut nodes = Vec::new();
        let mut send = |message: FromWorker| {
            let FromWorker::Part(part) = &message else { panic!("{message:?}") };
            nodes.extend(part.sums.iter().map(|sums| sums.node));
            sizes.push(message.into_wire().encoded_len());
        };
        let mut parts = SumParts::new(Pass(u64::MAX));
        for shard in 0..shards {
            let sums = NodeSums { node: Node::leaf(shard), rows: u64::MAX, values: vec![0.1; len] };
            parts.push(sums, &mut send);
        }
        parts.finish(Done { span: Span { start: 0, end: shards }, busy: Duration::MAX }, &mut send);
        assert!(nodes.into_iter().eq((0..shards).map(Node::leaf)));
        sizes
    }

    #[test]
    fn no_message_of_sums_is_too_long() {
        for (shards, len) in [(4096, 301), (4096, 2), (3, SUMS_LEN_MAX), (1, 1)] {
            let sizes = message_bytes(shards, len);
            // In training, gradients of half a MiB may go with the last ones.
            let too_long = |&bytes: &usize| bytes > MESSAGE_BYTES_MAX - (1 << 20);
            assert!(!sizes.iter().any(too_long), "{shards} shards, {len} sums: {sizes:?}");
        }
        assert_eq!(message_bytes(16, 3).len(), 1, "what fits goes in one");
    }
}
