//! What a run is asked and how it can end, and its server: from a bound address to the final weights.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use lockstep_proto::MESSAGE_BYTES_MAX;
use lockstep_proto::arithmetic::Deviation;
use lockstep_proto::batches::Batches;
use lockstep_proto::connection::Watched;
use lockstep_proto::frame::Welcome;
use lockstep_proto::ids::{Pass, Shard, Step, Table, WorkerId};
use lockstep_proto::layout::Layout;
use lockstep_proto::shared::Ticket;
use lockstep_proto::shared::weights::versions;
use lockstep_proto::values::Precision;
use lockstep_proto::wire::cluster_server::ClusterServer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;

use crate::driver::Driver;
use crate::inbound::panic_text;
use crate::observer::Observer;
use crate::optimizer::Optimizer;
use crate::policy::LearningRate;
use crate::server::{Service, ShardSource};
use crate::snapshot::Snapshot;

/// Most messages of workers that wait for the run's task; each is at most 4 MiB, usually 1.
pub(crate) const INBOX_MESSAGES_MAX: usize = 16;

/// Workers that were told of the end get this long to close their streams.
pub(crate) const FAREWELL_WAIT_MAX: Duration = Duration::from_secs(5);

/// A peer that answers no HTTP/2 ping for this long is gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(1500);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes in flight from one worker before it has to wait: enough for 1 Gbit/s over 100 ms.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;

/// All that a coordinator has to know of a job: flat vectors and counts.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// Names the run to workers.
    pub run_id: String,
    /// The network as JSON, for the workers.
    pub network: String,
    /// What every worker's CPU has to compute like.
    pub numeric_profile: String,
    /// The flat vector.
    pub layout: Arc<Layout>,
    /// What each loss and metric sum can be.
    pub sum_bounds: Vec<SumBounds>,
    /// Where to start: the beginning, or where an earlier execution was.
    pub start: Snapshot,
    /// The training table's rows, shards and batches.
    pub batches: Batches,
    /// Rows of the validation table, if there is one.
    pub validation_rows: Option<u64>,
    /// Rows of the test table, if there is one.
    pub test_rows: Option<u64>,
    /// Times through the training table.
    pub epochs: u32,
    /// Whether rows are permuted.
    pub shuffle: bool,
    /// Key of all randomness.
    pub seed: u64,
    /// How gradients become weights.
    pub optimizer: Optimizer,
    /// How far they move them, step by step.
    pub learning_rate: LearningRate,
    /// Largest global norm of a gradient.
    pub clip_norm: Option<f32>,
    /// Of gradient sums and of the weights that workers see.
    pub precision: Precision,
    /// The run waits while it has fewer workers.
    pub workers_min: usize,
    /// Share of all spans that a second worker computes as well, to compare.
    pub audit_fraction: f64,
    /// The first step waits for this many.
    pub workers_start: usize,
    /// Threads that add and update chunks.
    pub threads: usize,
}

/// What a loss or metric sum can be, a row. A worker that sends another has computed nonsense, or lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SumBounds {
    /// The least that a row can add.
    pub low: f64,
    /// The most that a row can add.
    pub high: f64,
    /// Whether rows add whole numbers.
    pub is_whole: bool,
}

/// What a finished run leaves.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The final weights.
    pub weights: Vec<f32>,
    /// Loss and metric sums over the test table, if there is one.
    pub test_sums: Option<Vec<f64>>,
}

/// How a run is to end before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After the pass in hand, for as long as workers are at it, to be gone on with later. Workers are told that the
    /// coordinator may come back.
    AfterPass,
    /// Now: nobody wants what it makes. Workers are told that it is over.
    Now,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {}; wanted HOST:PORT of this machine that is free", without_code(.source))]
    Listen {
        /// As it was given.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A loss or gradient stopped being a finite number.
    #[error("{}", non_finite_text(*.step, *.shard, *.layer, .what))]
    NonFinite {
        /// The update that was being made, from 1.
        step: u64,
        /// The shard whose rows made it; `None` if only the sum over shards did.
        shard: Option<Shard>,
        /// The layer, if one could be named.
        layer: Option<usize>,
        /// "loss" or "gradient" or "weights".
        what: &'static str,
    },
    /// The loss of a table that is measured stopped being a finite number.
    #[error(
        "the loss of the {table} table is not finite on {} with the weights of {step}: \
             look for extreme values there, or lower train.optimizer's learning_rate",
        shard_text(*.shard)
    )]
    Unmeasurable {
        /// The table.
        table: Table,
        /// The shard of it; `None` if only the sum over shards is not.
        shard: Option<Shard>,
        /// The weights.
        step: Step,
    },
    /// What went up the tree was not every row of the batch, once.
    #[error(
        "{counted} rows were counted in {pass}, which has {wanted}: an error of lockstep's own, please report it; \
             the last checkpoint is good"
    )]
    Miscounted {
        /// The pass.
        pass: Pass,
        /// Rows that were really added.
        counted: u64,
        /// Rows of the pass.
        wanted: u64,
    },
    /// Sums would be other ones in this process.
    #[error(
        "this process computes with {0}, which would change the model: something in it has set that, such as a library \
             built with -ffast-math; run without it"
    )]
    Arithmetic(Deviation),
    /// The system gives no threads.
    #[error("cannot start threads that add: {0}")]
    Threads(String),
    /// The run was told to stop.
    #[error("stopped before the end")]
    Stopped,
    /// A mistake of the coordinator's own.
    #[error("{0}")]
    Panicked(String),
    /// The gRPC server failed.
    #[error("the server failed: {0}")]
    Server(String),
}

/// What the system said, without its number.
fn without_code(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_string()
}

fn non_finite_text(step: u64, shard: Option<Shard>, layer: Option<usize>, what: &str) -> String {
    let shard = shard_text(shard);
    let layer = layer.map_or("the loss itself".to_string(), |layer| format!("layer {layer}"));
    format!(
        "the {what} is not finite at step {step} ({shard}, {layer}): lower train.optimizer's \
         learning_rate, set train.gradient_clip_norm, or scale the data"
    )
}

fn shard_text(shard: Option<Shard>) -> String {
    shard.map_or("the sum over all shards".to_string(), |shard| shard.to_string())
}

/// A bound coordinator, ready to run.
pub struct Coordinator {
    listener: TcpListener,
    address: SocketAddr,
}

impl Coordinator {
    /// Listens on `address` (`host:port`; port 0 takes a free one).
    ///
    /// # Errors
    /// [`RunError::Listen`] if the address is taken, or none of this machine's.
    pub async fn bind(address: &str) -> Result<Coordinator, RunError> {
        let failed = |source| RunError::Listen { address: address.to_string(), source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Coordinator { listener, address })
    }

    /// Where workers find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs the job to its end, or until `stop` is ready and the run has ended as that says: see [`Stop`].
    ///
    /// # Errors
    /// See [`RunError`]. Workers are told of the end in every case.
    pub async fn run(
        self,
        spec: RunSpec,
        source: Arc<dyn ShardSource>,
        observer: Box<dyn Observer>,
        stop: impl Future<Output = Stop> + Send + 'static,
    ) -> Result<Outcome, RunError> {
        let (arrivals_tx, arrivals) = mpsc::channel(INBOX_MESSAGES_MAX);
        let (published, ticket) = versions(&spec.layout, spec.precision);
        let ending = Arc::new(OnceLock::new());
        let (welcome, numeric_profile) = (welcome(&spec, ticket), spec.numeric_profile.clone());
        let driver = Driver::new(spec, observer, arrivals, published, ending.clone())?;
        let service = Service {
            welcome,
            numeric_profile,
            source,
            next_worker: AtomicU64::new(1),
            known: Mutex::default(),
            arrivals: arrivals_tx,
            ending,
        };
        let service = ClusterServer::new(service)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (over_tx, over) = tokio::sync::oneshot::channel::<()>();
        let server = tonic::transport::Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(4 * STREAM_WINDOW_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .serve_with_incoming_shutdown(service, incoming(self.listener), async {
                let _ = over.await;
            });
        // Tasks on the runtime's own threads hand over to each other without waking a thread.
        let mut server = tokio::spawn(server);
        let mut driver = tokio::spawn(driver.run(stop));
        let result = tokio::select! {
            result = &mut driver => result.unwrap_or_else(|error| Err(RunError::Panicked(panic_text(error)))),
            ended = &mut server => {
                driver.abort();
                let reason = match ended {
                    Ok(Err(error)) => error.to_string(),
                    _ => "it ended by itself".to_string(),
                };
                return Err(RunError::Server(reason));
            }
        };
        let _ = over_tx.send(());
        if tokio::time::timeout(FAREWELL_WAIT_MAX, &mut server).await.is_err() {
            server.abort();
        }
        result
    }
}

fn incoming(
    listener: TcpListener,
) -> impl tokio_stream::Stream<Item = std::io::Result<Watched<TcpStream>>> {
    use tokio_stream::StreamExt;
    TcpListenerStream::new(listener).map(|stream| {
        let stream = stream?;
        stream.set_nodelay(true)?;
        Ok(Watched::new(stream))
    })
}

fn welcome(spec: &RunSpec, weights: Option<Ticket>) -> Welcome {
    Welcome {
        run_id: spec.run_id.clone(),
        worker: WorkerId(0),
        network: spec.network.clone(),
        batches: spec.batches,
        shuffle: spec.shuffle,
        seed: spec.seed,
        validation_rows: spec.validation_rows.unwrap_or(0),
        test_rows: spec.test_rows.unwrap_or(0),
        precision: spec.precision,
        clips: spec.clip_norm.is_some(),
        weights,
    }
}
