//! The rows of one shard as they come from the coordinator. Checks nothing and has no limits: what comes is the core's to
//! judge.

use std::pin::Pin;
use std::time::{Duration, Instant};

use lockstep_proto::timeline::{CLOCK_KEY, TARGET};
use lockstep_proto::wire::cluster_client::ClusterClient;
use lockstep_proto::wire::{self};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::Level;

use crate::WorkerError;
use crate::core::Input;
use crate::lost::Lost;

type Answer = Result<Response<Streaming<wire::ShardPart>>, Status>;

/// A request for a shard, and what comes of it.
pub(crate) enum Fetch {
    /// Nothing was asked for.
    Idle,
    /// It was asked for.
    Asked(Pin<Box<dyn Future<Output = Answer> + Send>>),
    /// It comes.
    Comes(Box<Streaming<wire::ShardPart>>),
}

impl Fetch {
    /// Asks for a shard.
    pub(crate) fn begin(
        mut client: ClusterClient<Channel>,
        mut request: Request<wire::ShardRequest>,
    ) -> Fetch {
        if !tracing::enabled!(target: TARGET, Level::TRACE) {
            return Fetch::Asked(Box::pin(async move { client.fetch_shard(request).await }));
        }
        request.metadata_mut().insert(CLOCK_KEY, MetadataValue::from_static("?"));
        let asked = async move {
            let begun = Instant::now();
            let answer = client.fetch_shard(request).await?;
            tell_clock(answer.metadata(), begun.elapsed());
            Ok::<_, Status>(answer)
        };
        Fetch::Asked(Box::pin(asked))
    }

    /// Whether anything is to come.
    pub(crate) fn is_begun(&self) -> bool {
        !matches!(self, Fetch::Idle)
    }

    /// The next part; never, if nothing was asked for. Nothing is lost if this is dropped before it is ready.
    pub(crate) async fn next(&mut self) -> Input {
        if let Fetch::Asked(answer) = self {
            match answer.await {
                Ok(parts) => *self = Fetch::Comes(Box::new(parts.into_inner())),
                Err(status) => {
                    *self = Fetch::Idle;
                    return Input::NoRows(match status.code() {
                        Code::NotFound => WorkerError::Protocol(status.message().to_string()),
                        // This membership is over: the stream of it says why.
                        Code::Unauthenticated => WorkerError::Lost(Lost::Dismissed),
                        _ => status.into(),
                    });
                }
            }
        }
        let Fetch::Comes(parts) = self else { return std::future::pending().await };
        let part = parts.message().await;
        if let Ok(Some(part)) = part {
            return Input::Rows(Some(part.values));
        }
        *self = Fetch::Idle;
        match part {
            Ok(_) => Input::Rows(None),
            Err(status) => Input::NoRows(status.into()),
        }
    }
}

/// Tells what the coordinator's clock said in the middle of a round trip, for a timeline.
fn tell_clock(answer: &MetadataMap, took: Duration) {
    let said = answer.get(CLOCK_KEY).and_then(|said| said.to_str().ok()?.parse::<u64>().ok());
    let Some((said, took)) = said.zip(u64::try_from(took.as_nanos()).ok()) else { return };
    tracing::trace!(target: TARGET, coordinator_unix_nanos = said, round_trip_nanos = took);
}
