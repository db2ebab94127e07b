//! A coordinator that follows a script.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockstep_net::{CREDENTIAL_KEY, SECRET_BYTES};
use lockstep_proto::wire::cluster_server::{Cluster, ClusterServer};
use lockstep_proto::wire::coordinator_message::Kind;
use lockstep_proto::wire::{CoordinatorMessage, ShardPart, ShardRequest, WorkerMessage};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::metadata::BinaryMetadataValue;
use tonic::{Request, Response, Status, Streaming};

/// What a coordinator says to each worker that joins.
#[derive(Clone)]
pub(crate) enum Act {
    Say(Kind),
    /// Something that is no message at all.
    SayNothing,
    End(Status),
    /// Says no more, and keeps the connection.
    Hold,
}

/// How it sends a shard, which has 4 rows of 3 values.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Rows {
    Good,
    /// Nothing, for ever.
    Never,
    None,
    Short,
    Long,
    Odd,
    /// Parts without values, for ever.
    Empty,
    /// A part that is longer than a message may be.
    Huge,
    /// Of no value but 7.
    Sevens,
    Refused,
    /// With a weight behind each row, which this is in the last one.
    Weighted(f32),
}

/// A coordinator that follows a script; gone when dropped.
pub(crate) struct Script {
    pub(crate) address: SocketAddr,
    pub(super) joins: Arc<AtomicUsize>,
    _runtime: Runtime,
}

struct Service {
    acts: Vec<Act>,
    rows: Rows,
    /// Whether only the first that comes is let in.
    once: bool,
    joins: Arc<AtomicUsize>,
}

impl Script {
    pub(crate) fn new(acts: Vec<Act>, rows: Rows) -> Script {
        Script::start(acts, rows, false)
    }

    /// The same, which is not there any more for whoever comes second.
    pub(crate) fn once(acts: Vec<Act>, rows: Rows) -> Script {
        Script::start(acts, rows, true)
    }

    fn start(acts: Vec<Act>, rows: Rows, once: bool) -> Script {
        let (runtime, joins) = (Runtime::new().unwrap(), Arc::new(AtomicUsize::new(0)));
        let service = ClusterServer::new(Service { acts, rows, once, joins: joins.clone() })
            .max_encoding_message_size(usize::MAX);
        let address = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = tonic::transport::Server::builder().serve_with_incoming_shutdown(
                service,
                TcpListenerStream::new(listener),
                std::future::pending(),
            );
            tokio::spawn(server);
            address
        });
        Script { address, joins, _runtime: runtime }
    }
}

#[tonic::async_trait]
impl Cluster for Service {
    type TrainStream = ReceiverStream<Result<CoordinatorMessage, Status>>;
    type FetchShardStream = ReceiverStream<Result<ShardPart, Status>>;

    async fn train(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::TrainStream>, Status> {
        if self.joins.fetch_add(1, Ordering::Relaxed) > 0 && self.once {
            return Err(Status::unavailable("gone"));
        }
        let (mut said, acts) = (request.into_inner(), self.acts.clone());
        let (say, hear) = mpsc::channel(16);
        tokio::spawn(async move {
            let script = async move {
                for act in acts {
                    let message = match act {
                        Act::Say(kind) => Ok(CoordinatorMessage { kind: Some(kind) }),
                        Act::SayNothing => Ok(CoordinatorMessage { kind: None }),
                        Act::End(status) => Err(status),
                        Act::Hold => return say.closed().await,
                    };
                    if say.send(message).await.is_err() {
                        return;
                    }
                }
            };
            let listen = async { while let Some(Ok(_)) = said.next().await {} };
            tokio::join!(script, listen);
        });
        let mut response = Response::new(ReceiverStream::new(hear));
        let credential = BinaryMetadataValue::from_bytes(&[7; SECRET_BYTES]);
        response.metadata_mut().insert_bin(CREDENTIAL_KEY, credential);
        Ok(response)
    }

    async fn fetch_shard(
        &self,
        _: Request<ShardRequest>,
    ) -> Result<Response<Self::FetchShardStream>, Status> {
        let (say, hear) = mpsc::channel(16);
        let part = |bytes: usize| ShardPart { values: vec![0; bytes].into() };
        let parts = match self.rows {
            Rows::Good => vec![part(48)],
            Rows::Short => vec![part(12), part(12)],
            Rows::Long => vec![part(48), part(4)],
            Rows::Odd => vec![part(47)],
            Rows::Huge => vec![part(5 << 20)],
            Rows::Sevens => vec![ShardPart { values: 7f32.to_le_bytes().repeat(12).into() }],
            Rows::Empty => vec![part(0)],
            Rows::Weighted(last) => {
                let values = [&[0.5f32; 15][..], &[last]].concat();
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                vec![ShardPart { values: bytes.into() }]
            }
            Rows::None | Rows::Never => Vec::new(),
            Rows::Refused => return Err(Status::not_found("there are no rows")),
        };
        let rows = self.rows;
        tokio::spawn(async move {
            while rows == Rows::Empty && say.send(Ok(part(0))).await.is_ok() {}
            for part in parts {
                let _ = say.send(Ok(part)).await;
            }
            if rows == Rows::Never {
                say.closed().await;
            }
        });
        Ok(Response::new(ReceiverStream::new(hear)))
    }
}
