//! A worker's part in shared memory with a coordinator on the same machine.

use std::sync::Arc;

use lockstep_proto::ids::{Chunk, Step};
use lockstep_proto::layout::Layout;
use lockstep_proto::ticket::Ticket;
use lockstep_proto::values::Precision;
use lockstep_proto::wire;
use lockstep_reduce::shared::lane::Lane;
use lockstep_reduce::shared::weights::WeightsReader;

use crate::core::{Shared, SharedWeights};

/// What the coordinator publishes.
struct Published(WeightsReader);

impl SharedWeights for Published {
    fn copy(&self, step: Step, chunk: Chunk, into: &mut [f32]) -> bool {
        self.0.copy(step, chunk, into)
    }
}

/// Where this worker's gradients are put, all that the core needs, and the message that tells the coordinator.
pub(crate) type Sharing = (Arc<Lane>, Shared, wire::WorkerMessage);

/// Opens the coordinator's file and makes one for gradients. `None` on another machine.
pub(crate) async fn begin(
    weights: Ticket,
    layout: Arc<Layout>,
    precision: Precision,
) -> Option<Sharing> {
    // On another thread, since a coordinator that is not answered meanwhile gives this worker up.
    let begun = tokio::task::spawn_blocking(move || {
        let weights = WeightsReader::open(&weights, &layout, precision).ok()?;
        let (lane, ticket) = Lane::new(&layout, precision).ok()?;
        let lane = Arc::new(lane);
        let shared = Shared { lane: Some(lane.clone()), weights: Box::new(Published(weights)) };
        Some((lane, shared, Lane::announcement(ticket)))
    });
    begun.await.ok().flatten()
}
