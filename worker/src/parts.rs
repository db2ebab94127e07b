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
    /// A chunk's gradients and row squares as a frame.
    fn encode(&self, sums: [&[f32]; 2]) -> Bytes {
        match &self.lane {
            Some(lane) => lane.encode_joined(sums),
            None => self.precision.encode_joined(sums),
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
    /// For layers whose sums lie as in frames. Those that share a chunk with another are gathered first, and of several chunks
    /// with row squares each has its own behind its gradients.
    fn room(&mut self, layer: usize, len: usize) -> Option<&mut [f32]> {
        let lane = self.frames.lane.as_ref()?;
        let (_, chunks) = self.chunks_of(layer);
        let is_alone = chunks.iter().all(|chunk| chunk.layers.len() == 1);
        let is_as_sent = is_alone && (chunks.len() == 1 || chunks[0].squared == 0);
        self.room = is_as_sent.then(|| lane.room(len)).flatten();
        self.room.as_mut().map(Room::values)
    }

    fn filled(&mut self, layer: usize) {
        let Some(room) = self.room.take() else { return };
        let (frame, (first, chunks)) = (room.into_frame(), self.chunks_of(layer));
        let layer_start = self.network.layout().layers()[layer].start;
        let len = chunks.iter().map(ChunkRange::sums_len).sum::<usize>();
        for (place, chunk) in chunks.iter().enumerate() {
            for node in 0..self.nodes.len() {
                let start = node * len + chunk.range.start - layer_start;
                let [start, end] =
                    [start, start + chunk.sums_len()].map(|value| value * size_of::<f32>());
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
                let (gradient, squares) = values.split_at(range.len());
                if chunk.layers.len() == 1 {
                    let start = chunk.range.start - range.start;
                    let gradient = &gradient[start..start + chunk.range.len()];
                    let squares = squares.get(start..start + chunk.squared).unwrap_or(&[]);
                    let frame = self.frames.encode([gradient, squares]);
                    self.push(first + place, node, frame);
                    continue;
                }
                let shared = &mut self.shared[node];
                shared.resize(chunk.range.len(), 0.0);
                let start = range.start - chunk.range.start;
                shared[start..start + range.len()].copy_from_slice(gradient);
                // The last to come is the first of the chunk: that of the inputs' tensors, if they are in it.
                if layer == chunk.layers.start {
                    let frame = self.frames.encode([shared, squares]);
                    self.push(first + place, node, frame);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_model::{Dense, Embedding, Loss, NetworkSpec};
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

    /// A table of so many vectors of two values, and a layer of 4 values.
    fn network(rows: usize) -> Network {
        let spec = NetworkSpec {
            inputs: 1,
            image: None,
            embeddings: vec![Embedding {
                column: "c".to_string(),
                rows,
                dimension: 2,
                trainable: None,
            }],
            layers: vec![Dense::new(1).into()],
            loss: Loss::Mse,
            metrics: Vec::new(),
            units: Vec::new(),
        };
        Network::new(spec).unwrap().with_row_squares(true)
    }

    /// What is handed over for two nodes, as it is sent.
    fn sent(network: &Network, lane: Option<Arc<Lane>>) -> Vec<Slice> {
        let frames = Frames { precision: Precision::F32, lane };
        let (nodes, mut slices) = ([Node::leaf(3), Node::leaf(4)], Vec::new());
        let mut send = |message: FromWorker| {
            let FromWorker::Part(part) = message else { panic!("{message:?}") };
            slices.extend(part.slices);
        };
        let mut parts = Parts::new(network, &frames, Pass(1), &nodes, &mut send);
        for layer in [1, 0] {
            let (layout, range) = (network.layout(), &network.layout().layers()[layer]);
            let squares = range.start..range.start + layout.squared_of(layer);
            let sums = |node| {
                let gradient = range.clone().map(move |place| value(node, place));
                gradient.chain(squares.clone().map(move |place| square(node, place)))
            };
            let values: Vec<f32> = (0..nodes.len()).flat_map(sums).collect();
            match parts.room(layer, values.len()) {
                Some(room) => {
                    room.copy_from_slice(&values);
                    parts.filled(layer);
                }
                None => parts.take(layer, values.len() / nodes.len(), &values),
            }
        }
        let span = Span { start: 3, end: 5 };
        parts.finish(Vec::new(), Done { span, busy: Duration::ZERO });
        slices
    }

    fn value(node: usize, place: usize) -> f32 {
        -((node * 100_000 + place) as f32)
    }

    fn square(node: usize, place: usize) -> f32 {
        0.5 - value(node, place)
    }

    /// Small tables and large ones, in one chunk or in many, with another layer in it or not, in shared memory or not.
    #[test]
    fn row_squares_are_behind_the_gradients_of_their_chunk() {
        let cases = [(2, Some(3)), (5, None), (5, Some(6)), (9_000, None), (40_000, None)];
        for (rows, cut) in cases {
            let network = network(rows);
            let network =
                cut.map_or(network.clone(), |values_max| network.in_chunks_of(values_max));
            let lane = Lane::new(network.layout(), Precision::F32).ok();
            for lane in [None, lane.map(|(lane, _)| Arc::new(lane))] {
                let mut slices = sent(&network, lane);
                slices.sort_by_key(|slice| (slice.chunk, slice.node));
                assert_eq!(slices.len(), 2 * network.layout().chunks().len());
                for (place, slice) in slices.iter().enumerate() {
                    let (chunk, node) = (&network.layout().chunks()[place / 2], place % 2);
                    let squares = chunk.range.start..chunk.range.start + chunk.squared;
                    let wanted: Vec<f32> = chunk
                        .range
                        .clone()
                        .map(|place| value(node, place))
                        .chain(squares.map(|place| square(node, place)))
                        .collect();
                    assert_eq!(
                        (slice.chunk, slice.node),
                        (Chunk(place as u32 / 2), Node::leaf(3 + node as u32))
                    );
                    let found = lockstep_proto::values::decode(&slice.values).unwrap();
                    assert!(found == wanted, "{rows} {cut:?}: {}", slice.chunk);
                }
            }
        }
    }
}
