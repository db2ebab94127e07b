//! One run, from a bound address to the final weights: the shell around the engine.
//!
//! A single task owns the engine, the outboxes and the record of what is published; nothing here is shared but
//! the chunks themselves, which the reduction's threads lock one at a time.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use lockstep_proto::MESSAGE_BYTES_MAX;
use lockstep_proto::batches::Batches;
use lockstep_proto::fold::Fold;
use lockstep_proto::frame::{Fault, FromWorker, Limits, Part, ToWorker, Welcome};
use lockstep_proto::ids::{Shard, Step, Task, WorkerId};
use lockstep_proto::layout::Layout;
use lockstep_proto::tree::ShardTree;
use lockstep_proto::wire::cluster_server::ClusterServer;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Streaming;

use crate::engine::{Action, Engine, Event, Planned, Schedule, Track, Verdict};
use crate::observer::{Observer, RunEvent};
use crate::optimizer::Optimizer;
use crate::outbox::Outbox;
use crate::reducer::{Reduced, Reducer};
use crate::server::{Admitted, Peer, Service, ShardSource};

/// Most messages of workers that wait for the run's task; each is at most 4 MiB, usually 1.
const INBOX_MESSAGES_MAX: usize = 16;

/// Workers that were told of the end get this long to close their streams.
const FAREWELL_WAIT_MAX: Duration = Duration::from_secs(5);

/// A peer that answers no HTTP/2 ping for this long is gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

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
    /// Length of loss and metric sums.
    pub sums_len: usize,
    /// Initial weights.
    pub weights: Vec<f32>,
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
    /// Largest global norm of a gradient.
    pub clip_norm: Option<f32>,
    /// The run waits while it has fewer workers.
    pub workers_min: usize,
    /// The first step waits for this many.
    pub workers_start: usize,
    /// Threads that add and update chunks.
    pub threads: usize,
}

/// What a finished run leaves.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The final weights.
    pub weights: Vec<f32>,
    /// Loss and metric sums over the test table, if there is one.
    pub test_sums: Option<Vec<f64>>,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
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
    /// The run was told to stop.
    #[error("stopped before the end")]
    Stopped,
    /// The gRPC server failed.
    #[error("the server failed: {0}")]
    Server(String),
}

fn non_finite_text(step: u64, shard: Option<Shard>, layer: Option<usize>, what: &str) -> String {
    let shard = shard.map_or("the sum over all shards".to_string(), |shard| shard.to_string());
    let layer = layer.map_or("the loss itself".to_string(), |layer| format!("layer {layer}"));
    format!(
        "the {what} is not finite at step {step} ({shard}, {layer}): lower train.optimizer's \
         learning_rate, set train.gradient_clip_norm, or scale the data"
    )
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

    /// Runs the job to its end, or until `stop` is ready.
    ///
    /// # Errors
    /// See [`RunError`]. Workers are told of the end in every case.
    pub async fn run(
        self,
        spec: RunSpec,
        source: Arc<dyn ShardSource>,
        observer: Box<dyn Observer>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Outcome, RunError> {
        let (admitted_tx, admitted) = mpsc::channel(INBOX_MESSAGES_MAX);
        let service = Service {
            welcome: welcome(&spec),
            numeric_profile: spec.numeric_profile.clone(),
            source,
            next_worker: AtomicU64::new(1),
            admitted: admitted_tx,
        };
        let service = ClusterServer::new(service)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (over_tx, over) = tokio::sync::oneshot::channel::<()>();
        let server = tonic::transport::Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(STREAM_WINDOW_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .serve_with_incoming_shutdown(service, incoming(self.listener), async {
                let _ = over.await;
            });
        // Tasks on the runtime's own threads hand over to each other without waking a thread.
        let mut server = tokio::spawn(server);
        let driver = Driver::new(spec, observer, admitted);
        let mut driver = tokio::spawn(driver.run(stop));
        let result = tokio::select! {
            result = &mut driver => result.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())),
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
) -> impl tokio_stream::Stream<Item = std::io::Result<tokio::net::TcpStream>> {
    use tokio_stream::StreamExt;
    TcpListenerStream::new(listener).map(|stream| {
        let stream = stream?;
        stream.set_nodelay(true)?;
        Ok(stream)
    })
}

fn welcome(spec: &RunSpec) -> Welcome {
    Welcome {
        run_id: spec.run_id.clone(),
        worker: WorkerId(0),
        network: spec.network.clone(),
        batches: spec.batches,
        shuffle: spec.shuffle,
        seed: spec.seed,
        validation_rows: spec.validation_rows.unwrap_or(0),
        test_rows: spec.test_rows.unwrap_or(0),
    }
}

/// What reaches the run's task from a worker's stream.
enum Inbound {
    Frame(WorkerId, FromWorker),
    Ended(WorkerId, String),
}

struct Member {
    outbox: Arc<Outbox>,
    peer: Peer,
}

struct Driver {
    tree: ShardTree,
    limits: Limits,
    learning_rate: f32,
    engine: Engine,
    reducer: Reducer,
    sums: Option<Fold<Vec<f64>>>,
    root_sums: Vec<f64>,
    test_sums: Option<Vec<f64>>,
    schedule: Schedule,
    members: BTreeMap<WorkerId, Member>,
    readers: JoinSet<()>,
    admitted: mpsc::Receiver<Admitted>,
    inbox: mpsc::Receiver<Inbound>,
    inbox_tx: mpsc::Sender<Inbound>,
    observer: Box<dyn Observer>,
    first_step_at: Option<Instant>,
    finished: bool,
}

impl Driver {
    fn new(
        spec: RunSpec,
        observer: Box<dyn Observer>,
        admitted: mpsc::Receiver<Admitted>,
    ) -> Driver {
        let tree = ShardTree::new(spec.batches.shards);
        let schedule = Schedule {
            tree,
            train: spec.batches,
            validation_rows: spec.validation_rows,
            test_rows: spec.test_rows,
            epochs: spec.epochs,
        };
        let chunks = spec.layout.chunks().len();
        let (inbox_tx, inbox) = mpsc::channel(INBOX_MESSAGES_MAX);
        Driver {
            tree,
            limits: Limits { tree, layout: spec.layout.clone(), sums_len: spec.sums_len },
            learning_rate: spec.optimizer.learning_rate(),
            engine: Engine::new(Instant::now(), schedule, chunks, spec.workers_min)
                .starting_with(spec.workers_start),
            reducer: Reducer::new(&spec, tree),
            sums: None,
            root_sums: Vec::new(),
            test_sums: None,
            schedule,
            members: BTreeMap::new(),
            readers: JoinSet::new(),
            admitted,
            inbox,
            inbox_tx,
            observer,
            first_step_at: None,
            finished: false,
        }
    }

    async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<Outcome, RunError> {
        let result = self.drive(stop).await;
        let error = result.as_ref().err().map(ToString::to_string);
        for member in self.members.values() {
            member.outbox.say(ToWorker::Finish { error: error.clone() }.into_wire());
            member.outbox.close(None);
        }
        self.admitted.close();
        let farewell = async {
            while !self.readers.is_empty() {
                tokio::select! {
                    _ = self.readers.join_next() => {}
                    _ = self.inbox.recv() => {}
                }
            }
        };
        let _ = tokio::time::timeout(FAREWELL_WAIT_MAX, farewell).await;
        result.map(|()| Outcome { weights: self.reducer.weights(), test_sums: self.test_sums })
    }

    async fn drive(&mut self, stop: impl Future<Output = ()> + Send) -> Result<(), RunError> {
        tokio::pin!(stop);
        while !self.finished {
            let timeout = self.engine.poll_timeout().unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                () = &mut stop => return Err(RunError::Stopped),
                reduced = self.reducer.next(), if self.reducer.is_busy() => self.reduced(reduced)?,
                Some(admitted) = self.admitted.recv() => self.admit(admitted),
                Some(inbound) = self.inbox.recv(), if self.reducer.has_room() => match inbound {
                    Inbound::Frame(worker, frame) => self.frame(worker, frame)?,
                    Inbound::Ended(worker, reason) => self.leave(worker, &reason),
                },
                () = tokio::time::sleep_until(timeout.into()) => self.engine.handle_timeout(Instant::now()),
                Some(_) = self.readers.join_next() => {}
            }
            self.act()?;
        }
        Ok(())
    }

    fn admit(&mut self, admitted: Admitted) {
        let Admitted { worker, peer, outbox, stream } = admitted;
        self.observer.observe(RunEvent::Joined { worker, peer: &peer });
        for (step, chunk, values) in self.reducer.published() {
            outbox.send_weights(step, chunk, values);
        }
        self.members.insert(worker, Member { outbox, peer });
        self.readers.spawn(read(worker, stream, self.limits.clone(), self.inbox_tx.clone()));
        self.engine.handle(Instant::now(), Event::Joined(worker));
    }

    fn leave(&mut self, worker: WorkerId, reason: &str) {
        if let Some(member) = self.members.remove(&worker) {
            member.outbox.close(None);
            let workers = self.members.len();
            self.observer.observe(RunEvent::Left { worker, peer: &member.peer, reason, workers });
            self.engine.handle(Instant::now(), Event::Left(worker));
        }
    }

    /// Ends a membership because of what the worker said.
    fn expel(&mut self, worker: WorkerId, reason: &str) {
        if let Some(member) = self.members.get(&worker) {
            member.outbox.close(Some(tonic::Status::invalid_argument(reason)));
            self.leave(worker, reason);
        }
    }

    fn frame(&mut self, worker: WorkerId, frame: FromWorker) -> Result<(), RunError> {
        if !self.members.contains_key(&worker) {
            return Ok(());
        }
        match frame {
            FromWorker::Prepared(_) => self.engine.handle(Instant::now(), Event::Prepared(worker)),
            FromWorker::Part(part) => self.part(worker, part)?,
            FromWorker::Fault(fault) => return self.fault(fault),
            FromWorker::Goodbye => self.leave(worker, "it said goodbye"),
        }
        Ok(())
    }

    fn part(&mut self, worker: WorkerId, part: Part) -> Result<(), RunError> {
        let now = Instant::now();
        for sums in part.sums {
            match self.engine.accept(now, worker, part.pass, Track::Sums, sums.node) {
                Verdict::Fold => {
                    let root =
                        self.sums.as_mut().and_then(|fold| fold.insert(sums.node, sums.values));
                    if let Some(root) = root {
                        self.root_sums = root;
                        self.engine.handle(now, Event::Committed(Track::Sums));
                    }
                }
                Verdict::Drop => {}
                Verdict::Foreign => {
                    self.expel(worker, "it sent sums that it was not asked for");
                    return Ok(());
                }
            }
        }
        for slice in part.slices {
            match self.engine.accept(now, worker, part.pass, Track::Chunk(slice.chunk), slice.node)
            {
                Verdict::Fold => {
                    if let Some(reduced) = self.reducer.fold(slice) {
                        self.reduced(reduced)?;
                    }
                }
                Verdict::Drop => {}
                Verdict::Foreign => {
                    self.expel(worker, "it sent a gradient that it was not asked for");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn fault(&self, fault: Fault) -> Result<(), RunError> {
        let Some(planned) = self.schedule.planned(fault.pass) else { return Ok(()) };
        Err(RunError::NonFinite {
            step: planned.step.0 + 1,
            shard: Some(fault.shard),
            layer: fault.layer.map(|layer| layer as usize),
            what: if fault.in_gradient { "gradient" } else { "loss" },
        })
    }

    fn reduced(&mut self, reduced: Reduced) -> Result<(), RunError> {
        match reduced {
            Reduced::Pending => {}
            Reduced::Held => self.engine.handle(Instant::now(), Event::Held),
            Reduced::Published { step, chunk, values } => {
                for member in self.members.values() {
                    member.outbox.send_weights(step, chunk, values.clone());
                }
                self.engine.handle(Instant::now(), Event::Committed(Track::Chunk(chunk)));
            }
            Reduced::NonFinite { step, chunk, what } => {
                let layer = self.limits.layout.chunks()[chunk.0 as usize].layers.start;
                return Err(RunError::NonFinite {
                    step: step.0,
                    shard: None,
                    layer: Some(layer),
                    what,
                });
            }
        }
        Ok(())
    }

    fn act(&mut self) -> Result<(), RunError> {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Prepare(worker, span) => self.say(worker, ToWorker::Prepare(span)),
                Action::Deal(worker, deal) => self.say(worker, ToWorker::Deal(deal)),
                Action::BeginPass(planned) => self.begin(&planned),
                Action::Update => {
                    for reduced in self.reducer.update() {
                        self.reduced(reduced)?;
                    }
                }
                Action::EndPass(planned) => self.end(&planned),
                Action::Report(wait) => self.observer.observe(RunEvent::Waiting(&wait)),
                Action::Finish => self.finished = true,
            }
        }
        Ok(())
    }

    fn say(&self, worker: WorkerId, message: ToWorker) {
        if let Some(member) = self.members.get(&worker) {
            member.outbox.say(message.into_wire());
        }
    }

    fn begin(&mut self, planned: &Planned) {
        let leaves = self.schedule.leaves(planned);
        if let Task::Train { .. } = planned.task {
            self.first_step_at.get_or_insert_with(Instant::now);
            self.reducer.begin(&leaves, Step(planned.step.0 + 1), planned.rows);
        }
        self.sums = Some(Fold::new(self.tree, leaves));
    }

    fn end(&mut self, planned: &Planned) {
        let sums = std::mem::take(&mut self.root_sums);
        match planned.task {
            Task::Train { epoch, .. } => {
                self.reducer.end();
                let started = self.first_step_at.unwrap_or_else(Instant::now);
                self.observer.observe(RunEvent::Step {
                    epoch,
                    step: planned.step.0 + 1,
                    rows: planned.rows,
                    sums: &sums,
                    learning_rate: self.learning_rate,
                    seconds: started.elapsed().as_secs_f64(),
                });
            }
            Task::Evaluate { table } => {
                let rows = planned.rows;
                self.observer.observe(RunEvent::Evaluated { table, rows, sums: &sums });
                if table == lockstep_proto::ids::Table::Test {
                    self.test_sums = Some(sums);
                }
            }
        }
    }
}

/// Hands a worker's messages to the run until the stream ends, and why it ended.
async fn read(
    worker: WorkerId,
    mut stream: Streaming<lockstep_proto::wire::WorkerMessage>,
    limits: Limits,
    inbox: mpsc::Sender<Inbound>,
) {
    let reason = loop {
        match stream.message().await {
            Ok(Some(message)) => match limits.from_worker(message) {
                Ok(frame) => {
                    if inbox.send(Inbound::Frame(worker, frame)).await.is_err() {
                        return;
                    }
                }
                Err(error) => break error.to_string(),
            },
            Ok(None) => break "it closed its stream".to_string(),
            Err(status) => break format!("the connection was lost ({})", status.message()),
        }
    };
    let _ = inbox.send(Inbound::Ended(worker, reason)).await;
}
