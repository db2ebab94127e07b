//! The gRPC side: lets workers in or refuses them with a reason, and streams shards out.
//!
//! Decides nothing about work: a worker that is let in is handed to the run with its two streams.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use lockstep_net::{CREDENTIAL_KEY, SECRET_KEY, Secret, Watch};
use lockstep_proto::frame::{Ending, Join, ShardRequest, ToWorker, Welcome};
use lockstep_proto::ids::{Shard, Table, WorkerId};
use lockstep_proto::timeline::CLOCK_KEY;
use lockstep_proto::wire::cluster_server::Cluster;
use lockstep_proto::{PART_VALUES_MAX, PROTOCOL, VERSION, values, wire};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::transport::server::TcpConnectInfo;
use tonic::{Request, Response, Status, Streaming};

use crate::credentials::{Credentials, Membership};
use crate::outbox::{Outbox, OutboxStream};
use crate::peer::{Known, Peer};

/// Longest wait for the first message of a stream.
const JOIN_WAIT_MAX: Duration = Duration::from_secs(10);

/// From one that does not know the secret to the next that is told of.
const STRANGER_PAUSE: Duration = Duration::from_secs(5);

/// Where the rows of a run come from. Rows are features, then targets, then, where a run is weighted, in the training table
/// the row's weight.
pub trait ShardSource: Send + Sync + 'static {
    /// Values in a row of a table.
    fn width(&self, table: Table) -> usize;
    /// Rows of a shard; `None` if the job has no such table.
    fn rows(&self, table: Table, shard: Shard) -> Option<u64>;
    /// Appends rows `places` of a shard, in its own order.
    fn copy(&self, table: Table, shard: Shard, places: std::ops::Range<u64>, out: &mut Vec<f32>);
}

/// A worker that said who it is.
pub(crate) enum Arrival {
    /// It was let in.
    Admitted(Box<Admitted>),
    /// It was not.
    Refused {
        /// Who it is.
        peer: Peer,
        /// Why not.
        reason: String,
    },
    /// Nobody could arrive, in words.
    Trouble(String),
}

/// A worker that was let in.
pub(crate) struct Admitted {
    pub(crate) worker: WorkerId,
    pub(crate) peer: Peer,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) stream: Streaming<wire::WorkerMessage>,
    /// What is noted of its connection.
    pub(crate) watch: Arc<Watch>,
}

pub(crate) struct Service {
    /// What every worker is told; `worker` is set for each.
    pub(crate) welcome: Welcome,
    pub(crate) numeric_profile: String,
    /// What whoever wants to join has to say first, if anything.
    pub(crate) secret: Option<Secret>,
    pub(crate) credentials: Credentials,
    /// When somebody without the secret was last told of.
    pub(crate) stranger_told: Mutex<Option<Instant>>,
    pub(crate) source: Arc<dyn ShardSource>,
    /// Of the weights.
    pub(crate) chunks: usize,
    pub(crate) next_worker: AtomicU64,
    // A std mutex: held to look one name up, never across a wait.
    pub(crate) known: Mutex<Known>,
    pub(crate) arrivals: mpsc::Sender<Arrival>,
    /// How the run ended; set before it takes in nobody any more.
    pub(crate) ending: Arc<OnceLock<Ending>>,
}

impl Service {
    /// Why a worker may not take part, if so.
    fn refusal(&self, join: &Join) -> Option<String> {
        let run = &self.welcome.run_id;
        if join.protocol != PROTOCOL || join.version != VERSION {
            return Some(format!(
                "this run is led by lockstep {VERSION} (protocol {PROTOCOL}), the worker is lockstep {} \
                 (protocol {}): install the same version on both",
                join.version, join.protocol
            ));
        }
        if join.run_id.as_ref().is_some_and(|wanted| wanted != run) {
            let wanted = join.run_id.as_deref().unwrap_or_default();
            return Some(format!(
                "this is run {run}, the worker is for run {wanted}: check the address or --run-id"
            ));
        }
        if join.numeric_profile != self.numeric_profile {
            return Some(format!(
                "the worker's machine computes with profile {}, this run needs {}: it rounds differently and \
                 would change the model",
                join.numeric_profile, self.numeric_profile
            ));
        }
        None
    }

    /// Whether a request says the secret; judged before anything else is read of it.
    fn check_secret(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let Some(secret) = &self.secret else { return Ok(()) };
        match metadata.get_bin(SECRET_KEY).and_then(|said| said.to_bytes().ok()) {
            Some(said) if secret.is(&said) => Ok(()),
            Some(_) => Err(Status::unauthenticated(
                "the join line's secret is not this run's, or not any more: take the line that the coordinator wrote last",
            )),
            None => Err(Status::unauthenticated(
                "nobody joins this run without its join line: take the one that the coordinator wrote to `join` in its run \
                 folder",
            )),
        }
    }

    /// Whether somebody without the secret is told of: not each of thousands.
    fn tells_of_strangers(&self) -> bool {
        let mut told = self.stranger_told.lock().unwrap_or_else(PoisonError::into_inner);
        let tells = told.is_none_or(|told| told.elapsed() >= STRANGER_PAUSE);
        if tells {
            *told = Some(Instant::now());
        }
        tells
    }

    /// Whether a request is a member's.
    fn check_credential(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let said = metadata.get_bin(CREDENTIAL_KEY).and_then(|said| said.to_bytes().ok());
        match said.is_some_and(|said| self.credentials.are(&said)) {
            true => Ok(()),
            false => Err(Status::unauthenticated("only members of the run are sent rows")),
        }
    }

    /// How the run has ended that takes in nobody any more.
    fn ended(&self) -> Ending {
        // Without it the run's task has panicked.
        let unknown = || Ending::Failed("the coordinator failed".to_string());
        self.ending.get().cloned().unwrap_or_else(unknown)
    }

    async fn refuse(&self, peer: Peer, reason: String) {
        // Nobody has to be told of a refusal any more when the run is over.
        let _ = self.arrivals.send(Arrival::Refused { peer, reason }).await;
    }

    fn parts(&self, request: &ShardRequest) -> Result<PartStream, Status> {
        if request.run_id != self.welcome.run_id {
            return Err(Status::failed_precondition(format!(
                "this is run {}",
                self.welcome.run_id
            )));
        }
        let (table, shard) = (request.table, request.shard);
        let rows = (shard.0 < self.welcome.batches.shards)
            .then(|| self.source.rows(table, shard))
            .flatten()
            .ok_or_else(|| Status::not_found(format!("this run has no {table} {shard}")))?;
        let source = self.source.clone();
        let width = source.width(table);
        let step = (PART_VALUES_MAX / width).max(1);
        let parts = (0..rows).step_by(step).flat_map(move |first| {
            let places = first..rows.min(first + step as u64);
            let mut some = Vec::with_capacity((places.end - places.start) as usize * width);
            source.copy(table, shard, places, &mut some);
            // A row may be longer than a message.
            let parts = some.chunks(PART_VALUES_MAX).map(values::encode);
            parts.map(|values| Ok(wire::ShardPart { values })).collect::<Vec<_>>()
        });
        Ok(Box::pin(tokio_stream::iter(parts)))
    }
}

type PartStream = Pin<Box<dyn Stream<Item = Result<wire::ShardPart, Status>> + Send>>;

#[tonic::async_trait]
impl Cluster for Service {
    type TrainStream = OutboxStream;
    type FetchShardStream = PartStream;

    async fn train(
        &self,
        request: Request<Streaming<wire::WorkerMessage>>,
    ) -> Result<Response<OutboxStream>, Status> {
        let connection = request.extensions().get::<(TcpConnectInfo, Arc<Watch>)>().cloned();
        let (tcp, watch) = connection.ok_or_else(|| Status::internal("an unknown connection"))?;
        let address = tcp.remote_addr();
        if let Err(refusal) = self.check_secret(request.metadata()) {
            if self.tells_of_strangers() {
                let peer = Peer { address, ..Peer::default() };
                self.refuse(peer, "it does not know the join line's secret".to_string()).await;
            }
            return Err(refusal);
        }
        let mut stream = request.into_inner();
        let first = tokio::time::timeout(JOIN_WAIT_MAX, stream.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no join within 10 s"))??
            .ok_or_else(|| Status::invalid_argument("the stream ended before a join"))?;
        let join = match Join::from_wire(first) {
            Ok(join) => join,
            Err(error) => {
                let peer = Peer { address, ..Peer::default() };
                self.refuse(peer, error.to_string()).await;
                return Err(Status::invalid_argument(error.to_string()));
            }
        };
        let mut peer = Peer::new(address, &join);
        if let Some(reason) = self.refusal(&join) {
            self.refuse(peer, reason.clone()).await;
            return Err(Status::failed_precondition(reason));
        }
        let worker = WorkerId(self.next_worker.fetch_add(1, Ordering::Relaxed));
        let known = self.known.lock();
        peer.was = known.unwrap_or_else(PoisonError::into_inner).note(join.identity, worker);
        let credential = self.credentials.issue();
        let credential = credential.map_err(|error| Status::internal(error.to_string()))?;
        let told = BinaryMetadataValue::from_bytes(credential.expose());
        let outbox = Outbox::new(self.chunks, Membership::new(credential, watch.clone()));
        // The first message has room.
        let _ = outbox.say(Welcome { worker, ..self.welcome.clone() }.into_wire());
        let responses = outbox.stream();
        let admitted = Admitted { worker, peer, outbox: outbox.clone(), stream, watch };
        if self.arrivals.send(Arrival::Admitted(Box::new(admitted))).await.is_err() {
            match self.ended() {
                // As if it were not there any more: the worker goes on looking for it.
                Ending::Stopped => return Err(Status::unavailable("it is being stopped")),
                ending => drop(outbox.say(ToWorker::Finish(ending).into_wire())),
            }
            outbox.close(None);
        }
        let mut response = Response::new(responses);
        response.metadata_mut().insert_bin(CREDENTIAL_KEY, told);
        Ok(response)
    }

    async fn fetch_shard(
        &self,
        request: Request<wire::ShardRequest>,
    ) -> Result<Response<PartStream>, Status> {
        self.check_credential(request.metadata())?;
        let wants_clock = request.metadata().contains_key(CLOCK_KEY);
        let request = ShardRequest::from_wire(request.into_inner())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut response = Response::new(self.parts(&request)?);
        if wants_clock && let Some(nanos) = unix_nanos() {
            response.metadata_mut().insert(CLOCK_KEY, nanos.into());
        }
        Ok(response)
    }
}

/// What this machine's clock says, since 1970.
fn unix_nanos() -> Option<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}
