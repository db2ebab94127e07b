//! A worker's part in shared memory with a coordinator on the same machine.

use std::sync::Arc;

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
    pub(crate) fn begin(
        weights: &Ticket,
        layout: &Layout,
        precision: Precision,
    ) -> Option<(Sharing, wire::WorkerMessage)> {
        let weights = WeightsReader::open(weights, layout, precision).ok()?;
        let (lane, ticket) = Lane::new(layout.len(), precision).ok()?;
        Some((Sharing { lane: Arc::new(lane), weights }, Lane::announcement(ticket)))
    }

    /// Where gradients are put.
    pub(crate) fn lane(&self) -> Arc<Lane> {
        self.lane.clone()
    }

    /// Reads what a message says only where to find. False if it is no longer there.
    pub(crate) fn take(&self, message: &mut wire::CoordinatorMessage) -> bool {
        self.lane.hear(message);
        self.weights.fill(message)
    }
}
