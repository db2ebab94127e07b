//! A gRPC server between a worker and its coordinator that changes what the worker says, message by message: the
//! shortest way to a peer that knows the contract and breaks it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lockstep_proto::timeline::CLOCK_KEY;
use lockstep_proto::wire::cluster_client::ClusterClient;
use lockstep_proto::wire::cluster_server::{Cluster, ClusterServer};
use lockstep_proto::wire::{CoordinatorMessage, ShardPart, ShardRequest, WorkerMessage};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

/// What is said instead of a message.
pub(crate) type Change = dyn Fn(WorkerMessage) -> Vec<WorkerMessage> + Send + Sync;

/// Passes messages on; gone when dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Relay {
    pub(crate) fn new(coordinator: &str, change: Arc<Change>) -> Relay {
        Relay::start(coordinator, change, Duration::ZERO)
    }

    /// One that changes nothing but what the coordinator's clock says.
    pub(crate) fn with_clock_ahead(coordinator: &str, ahead: Duration) -> Relay {
        Relay::start(coordinator, Arc::new(|message| vec![message]), ahead)
    }

    fn start(coordinator: &str, change: Arc<Change>, clock_ahead: Duration) -> Relay {
        let runtime = Runtime::new().unwrap();
        let coordinator = format!("http://{coordinator}");
        let address = runtime.block_on(async {
            let upstream = ClusterClient::connect(coordinator).await.unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let service = ClusterServer::new(Service { upstream, change, clock_ahead });
            let server = tonic::transport::Server::builder();
            let server = server.serve_with_incoming_shutdown(
                service,
                TcpListenerStream::new(listener).map(|stream| {
                    let stream = stream?;
                    stream.set_nodelay(true)?;
                    Ok::<_, std::io::Error>(stream)
                }),
                std::future::pending(),
            );
            tokio::spawn(server);
            address
        });
        Relay { address, _runtime: runtime }
    }

    /// Where workers find it.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }
}

struct Service {
    upstream: ClusterClient<Channel>,
    change: Arc<Change>,
    clock_ahead: Duration,
}

#[tonic::async_trait]
impl Cluster for Service {
    type TrainStream = Streaming<CoordinatorMessage>;
    type FetchShardStream = Streaming<ShardPart>;

    async fn train(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::TrainStream>, Status> {
        let change = self.change.clone();
        let (metadata, extensions, mut said) = request.into_parts();
        let (to, heard) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok(Some(message)) = said.message().await {
                for message in change(message) {
                    if to.send(message).await.is_err() {
                        return;
                    }
                }
            }
        });
        let request = Request::from_parts(metadata, extensions, ReceiverStream::new(heard));
        self.upstream.clone().train(request).await
    }

    async fn fetch_shard(
        &self,
        request: Request<ShardRequest>,
    ) -> Result<Response<Self::FetchShardStream>, Status> {
        let mut answer = self.upstream.clone().fetch_shard(request).await?;
        if let Some(said) = answer.metadata().get(CLOCK_KEY) {
            let said: u64 = said.to_str().unwrap().parse().unwrap();
            let shifted = said + self.clock_ahead.as_nanos() as u64;
            answer.metadata_mut().insert(CLOCK_KEY, shifted.into());
        }
        Ok(answer)
    }
}
