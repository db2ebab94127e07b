//! A worker's part in shared memory with a coordinator on the same machine.

use std::sync::Arc;

use lockstep_proto::ids::{Chunk, Step};
use lockstep_proto::layout::Layout;
use lockstep_proto::shared::Ticket;
use lockstep_proto::shared::lane::Lane;
use lockstep_proto::shared::weights::WeightsReader;
use lockstep_proto::values::Precision;
use lockstep_proto::wire;

pub(crate) struct Sharing {
    lane: Arc<Lane>,
    weights: WeightsReader,
}

impl Sharing {
    /// Opens the coordinator's file and makes one for gradients, which the message announces. `None` on another machine.
    pub(crate) async fn begin(
        weights: Ticket,
        layout: Arc<Layout>,
        precision: Precision,
    ) -> Option<(Sharing, wire::WorkerMessage)> {
        // On another thread, since a coordinator that is not answered meanwhile gives this worker up.
        let begun = tokio::task::spawn_blocking(move || {
            let weights = WeightsReader::open(&weights, &layout, precision).ok()?;
            let (lane, ticket) = Lane::new(&layout, precision).ok()?;
            Some((Sharing { lane: Arc::new(lane), weights }, Lane::announcement(ticket)))
        });
        begun.await.ok().flatten()
    }

    /// Where gradients are put.
    pub(crate) fn lane(&self) -> Arc<Lane> {
        self.lane.clone()
    }

    /// Takes from a message what the coordinator has done with.
    pub(crate) fn hear(&self, message: &wire::CoordinatorMessage) {
        self.lane.hear(message);
    }

    /// Copies a chunk of the weights. False if it is too late.
    pub(crate) fn copy(&self, step: Step, chunk: Chunk, into: &mut [f32]) -> bool {
        self.weights.copy(step, chunk, into)
    }
}
