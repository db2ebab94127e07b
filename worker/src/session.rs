//! One membership: from the first message to the end of the stream.
//!
//! Small deals are computed on the spot, since handing them to another thread would take longer than they do; large
//! ones on the pool, while weights keep coming in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockstep_data::RowOrder;
use lockstep_model::{Network, NetworkSpec, PARALLEL_FLOPS_MIN};
use lockstep_proto::connection::Watch;
use lockstep_proto::frame::{
    Deal, Done, Ending, FromWorker, Join, Limits, Part, SUMS_LEN_MAX, ToWorker, Welcome,
};
use lockstep_proto::ids::{Chunk, Span, Step, Table, Task};
use lockstep_proto::panics;
use lockstep_proto::shared::Ticket;
use lockstep_proto::tree::ShardTree;
use lockstep_proto::wire::cluster_client::ClusterClient;
use lockstep_proto::{MESSAGE_BYTES_MAX, wire};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::ahead::{Ahead, ahead};
use crate::compute::{Compute, SpanBatch, Work};
use crate::loss::{Loss, shown};
use crate::memory;
use crate::pace::{Pace, Paced};
use crate::parts::Frames;
use crate::shards::Shards;
use crate::sharing::Sharing;
use crate::weights::{Found, Weights};
use crate::{WorkerError, WorkerEvent};

/// Most messages that wait for the link; the compute thread waits when there are more.
const OUTBOX_MESSAGES_MAX: usize = 16;

/// Most deals that wait for their weights.
const DEALS_MAX: usize = 1024;

/// Longest wait for the step in hand to be computed and the coordinator to hear a goodbye.
const FAREWELL_WAIT_MAX: Duration = Duration::from_secs(20);

/// Two steps' weights are kept while those of the next come in.
const WEIGHTS_KEPT: u128 = 3;

/// How a membership ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The run reached its end.
    Finished,
    /// The worker was told to stop, finished what it computed and said goodbye.
    SaidGoodbye,
    /// The worker was told to stop, and nobody was there to say goodbye to.
    Stopped,
}

pub(crate) struct Session {
    /// What goes through shared memory, if the coordinator is on this machine.
    sharing: Option<Arc<Sharing>>,
    /// Where the coordinator's is, until this worker has tried to open it.
    ticket: Option<Ticket>,
    limits: Limits,
    weights: Weights,
    shards: Shards,
    deals: VecDeque<Deal>,
    /// `None` while it is at work on the pool.
    compute: Option<Compute>,
    at_work: Option<oneshot::Receiver<Result<Compute, String>>>,
    /// What it runs forward there, if that has not been dealt yet.
    ahead: Option<Ahead>,
    /// What may be run forward when there is nothing else to do.
    next: Option<SpanBatch>,
    epochs_are_measured: bool,
    /// Shards were let go since anything was computed.
    has_forgotten: bool,
    pool: Arc<rayon::ThreadPool>,
    out: mpsc::Sender<wire::WorkerMessage>,
    /// Of what is sent.
    pace: Arc<Pace>,
    inbound: Streaming<wire::CoordinatorMessage>,
    watch: Arc<Watch>,
    /// It was dealt something whose weights came.
    worked: Arc<AtomicBool>,
}

impl Session {
    /// Joins the run that the channel leads to.
    pub(crate) async fn join(
        channel: Channel,
        watch: Arc<Watch>,
        join: Join,
        share: bool,
        pool: Arc<rayon::ThreadPool>,
    ) -> Result<(Session, Welcome), WorkerError> {
        let mut client = ClusterClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (out, outgoing) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        let pace = Arc::new(Pace::default());
        let outgoing = Paced::new(ReceiverStream::new(outgoing), pace.clone());
        out.send(join.into_wire()).await.map_err(|_| WorkerError::lost("before the join"))?;
        let mut inbound = client.train(outgoing).await?.into_inner();
        let first = inbound.message().await?;
        let first = first.ok_or(WorkerError::Lost(Loss::Dismissed))?;
        let welcome = Welcome::from_wire(first)?;
        let network = network(&welcome)?;
        let tree = ShardTree::new(welcome.batches.shards);
        let layout = Arc::new(network.layout().clone());
        let width = network.inputs() + network.target_width();
        let order =
            RowOrder { batches: welcome.batches, shuffle: welcome.shuffle, seed: welcome.seed };
        let precision = welcome.precision;
        if welcome.clips {
            pace.lift();
        }
        let session = Session {
            sharing: None,
            ticket: welcome.weights.clone().filter(|_| share),
            limits: Limits {
                batches: welcome.batches,
                tree,
                layout: layout.clone(),
                precision,
                sums_len: network.sums_len(),
            },
            weights: Weights::new(layout),
            shards: Shards::new(client, &welcome, width),
            deals: VecDeque::new(),
            compute: Some(Compute::new(network, tree, order, Frames { precision, lane: None })),
            at_work: None,
            ahead: None,
            next: None,
            epochs_are_measured: welcome.validation_rows > 0,
            has_forgotten: false,
            pool,
            out,
            pace,
            inbound,
            watch,
            worked: Arc::default(),
        };
        Ok((session, welcome))
    }

    /// Shares memory with a coordinator on this machine, as far as that can be had. It is asked before anything is computed.
    async fn share(&mut self) -> Result<(), WorkerError> {
        let Some(ticket) = self.ticket.take() else { return Ok(()) };
        let (layout, precision) = (self.limits.layout.clone(), self.limits.precision);
        let begun = Sharing::begin(ticket, layout, precision).await;
        if let Some((sharing, announcement)) = begun {
            self.out.send(announcement).await.map_err(|_| WorkerError::lost("at the join"))?;
            if let Some(compute) = &mut self.compute {
                compute.share(sharing.lane());
            }
            self.sharing = Some(Arc::new(sharing));
            // Nothing of weight goes through a link.
            self.pace.lift();
        }
        Ok(())
    }

    /// What is noted of the connection.
    pub(crate) fn watch(&self) -> Arc<Watch> {
        self.watch.clone()
    }

    /// Whether it was given work, now and later.
    pub(crate) fn worked(&self) -> Arc<AtomicBool> {
        self.worked.clone()
    }

    /// Works until the run ends, the stream breaks, or `stop` is ready.
    pub(crate) async fn serve(
        mut self,
        mut stop: impl Future<Output = ()> + Unpin,
        tell: &mut dyn FnMut(WorkerEvent<'_>),
    ) -> Result<Ended, WorkerError> {
        tokio::select! {
            shared = self.share() => shared?,
            () = &mut stop => return self.leave().await,
        }
        loop {
            tokio::select! {
                biased;
                started = self.start_work() => started?,
                () = &mut stop => return self.leave().await,
            }
            tokio::select! {
                biased;
                compute = returned(&mut self.at_work), if self.at_work.is_some() => {
                    (self.at_work, self.ahead) = (None, None);
                    self.compute = Some(compute?);
                }
                message = self.inbound.message() => {
                    let message = message?.ok_or(WorkerError::Lost(Loss::Dismissed))?;
                    if let Some(sharing) = &self.sharing {
                        sharing.hear(&message);
                    }
                    match self.limits.to_worker(message)? {
                        ToWorker::Prepare(span) => {
                            let rows = tokio::select! {
                                rows = self.shards.prepare(span) => rows?,
                                () = &mut stop => return self.leave().await,
                            };
                            tell(WorkerEvent::Prepared { span, rows });
                            self.say(FromWorker::Prepared(span)).await?;
                        }
                        ToWorker::Forget(spans) => self.forget(&spans, tell),
                        ToWorker::Deal(deal) => self.push(deal)?,
                        ToWorker::Weights { step, chunk, values } => {
                            let precision = self.limits.precision;
                            self.receive(step, chunk, |into| {
                                precision.copy(&values, into);
                                true
                            });
                        }
                        ToWorker::SharedWeights { step, chunk } => {
                            let Some(sharing) = self.sharing.clone() else {
                                let problem = "weights in shared memory that it does not share";
                                return Err(WorkerError::Protocol(problem.to_string()));
                            };
                            self.receive(step, chunk, |into| sharing.copy(step, chunk, into));
                        }
                        ToWorker::Finish(Ending::Finished) => return Ok(Ended::Finished),
                        ToWorker::Finish(Ending::Failed(error)) => {
                            return Err(WorkerError::RunFailed(error));
                        }
                        ToWorker::Finish(Ending::Stopped) => {
                            return Err(WorkerError::Lost(Loss::Stopped));
                        }
                    }
                }
                () = &mut stop => return self.leave().await,
            }
        }
    }

    fn receive(&mut self, step: Step, chunk: Chunk, fill: impl FnOnce(&mut [f32]) -> bool) {
        self.pace.answer(chunk.0);
        self.weights.receive(step, chunk, fill);
        if let Some(ahead) = &mut self.ahead {
            ahead.look();
        }
    }

    /// Finishes what is being computed, says goodbye, and waits until it has been heard: the coordinator ends the
    /// stream.
    async fn leave(mut self) -> Result<Ended, WorkerError> {
        self.ahead = None;
        let farewell = async {
            while self.at_work.is_some() {
                tokio::select! {
                    _ = returned(&mut self.at_work) => self.at_work = None,
                    message = self.inbound.message() => if !matches!(message, Ok(Some(_))) {
                        return Ended::Stopped;
                    },
                }
            }
            let said = self.say(FromWorker::Goodbye).await;
            while let Ok(Some(_)) = self.inbound.message().await {}
            if said.is_ok() { Ended::SaidGoodbye } else { Ended::Stopped }
        };
        let ended = tokio::time::timeout(FAREWELL_WAIT_MAX, farewell).await;
        Ok(ended.unwrap_or(Ended::Stopped))
    }

    /// Lets go of shards. They were not dealt since, or the deals are done.
    fn forget(&mut self, spans: &[Span], tell: &mut dyn FnMut(WorkerEvent<'_>)) {
        spans.iter().for_each(|&span| self.shards.forget(span));
        self.has_forgotten = true;
        tell(WorkerEvent::Forgot { spans, rows: self.shards.rows() });
    }

    fn push(&mut self, deal: Deal) -> Result<(), WorkerError> {
        if self.deals.len() == DEALS_MAX {
            return Err(WorkerError::Protocol(format!("more than {DEALS_MAX} deals at once")));
        }
        // A deal that was not guessed.
        let batch = SpanBatch::of(&deal);
        self.ahead.take_if(|ahead| !batch.is_some_and(|batch| ahead.is_for(batch)));
        self.deals.push_back(deal);
        Ok(())
    }

    /// Begins the deals whose weights are here. Deals that came too late are dropped: others have done them. Without any, the
    /// next batch is run forward.
    async fn start_work(&mut self) -> Result<(), WorkerError> {
        while self.compute.is_some() || self.ahead.is_some() {
            let Some(&deal) = self.deals.front() else { return self.run_ahead() };
            let weights = match self.weights.at(deal.step) {
                Found::Here(weights) => Some(weights),
                Found::Gone => None,
                Found::Coming => return Ok(()),
            };
            self.deals.pop_front();
            let Some(weights) = weights else {
                self.say(dropped(&deal)).await?;
                continue;
            };
            let table = match deal.task {
                Task::Train { .. } => Table::Train,
                Task::Evaluate { table } => table,
            };
            let shards = self.shards.get(table, deal.span).await?;
            self.start(Work { deal, weights, shards }).await?;
        }
        Ok(())
    }

    async fn start(&mut self, work: Work) -> Result<(), WorkerError> {
        self.worked.store(true, Ordering::Relaxed);
        let batch = SpanBatch::of(&work.deal);
        let guess = batch.and_then(|b| b.next(self.limits.batches, self.epochs_are_measured));
        if let Some(ahead) = self.ahead.take() {
            self.next = guess;
            ahead.deal(work);
            return Ok(());
        }
        let Some(mut compute) = self.take_compute() else { return Ok(()) };
        if compute.flops(&work.deal, &work.shards) < PARALLEL_FLOPS_MIN {
            let (started, mut results) = (Instant::now(), Vec::new());
            let run = || compute.run(&work, &mut |result| results.push(timed(result, started)));
            panics::guard(run).map_err(WorkerError::Panicked)?;
            self.compute = Some(compute);
            for result in results {
                self.say(result).await?;
            }
            return Ok(());
        }
        self.next = guess;
        self.compute_on_pool(compute, move |_| Some(work));
        Ok(())
    }

    /// Runs the batch that is likely to be dealt next forward, as its weights come in.
    fn run_ahead(&mut self) -> Result<(), WorkerError> {
        let Some(batch) = self.next.take_if(|_| self.compute.is_some()) else { return Ok(()) };
        let Some(weights) = self.weights.ahead(batch.step) else { return Ok(()) };
        // A guess is worth no rows: those that are not here were let go.
        let Some(shards) = self.shards.here(Table::Train, batch.span) else { return Ok(()) };
        let Some(compute) = self.take_compute() else { return Ok(()) };
        let (ahead, running) = ahead(batch, weights, shards);
        self.ahead = Some(ahead);
        self.compute_on_pool(compute, |compute| running.run(compute));
        Ok(())
    }

    /// What computes, if it is here. It knows orders of kept shards alone.
    fn take_compute(&mut self) -> Option<Compute> {
        let mut compute = self.compute.take()?;
        if std::mem::take(&mut self.has_forgotten) {
            compute.forget_orders(|shard| self.shards.is_kept(Table::Train, shard));
        }
        Some(compute)
    }

    /// Computes on the pool what `take` gives.
    fn compute_on_pool(
        &mut self,
        mut compute: Compute,
        take: impl FnOnce(&mut Compute) -> Option<Work> + Send + 'static,
    ) {
        let (back, at_work) = oneshot::channel();
        let (out, lane) = (self.out.clone(), self.sharing.as_ref().map(|sharing| sharing.lane()));
        let work = move || {
            if let Some(work) = take(&mut compute) {
                let started = Instant::now();
                // Sending fails only when the stream is gone; the session finds that out by itself.
                compute.run(&work, &mut |result| {
                    let mut message = timed(result, started).into_wire();
                    if let Some(lane) = &lane {
                        lane.name(&mut message);
                    }
                    drop(out.blocking_send(message));
                });
            }
            compute
        };
        // A panic that reached the pool would end the process, whoever else is in it.
        self.pool.spawn(move || drop(back.send(panics::guard(work))));
        self.at_work = Some(at_work);
    }

    async fn say(&self, message: FromWorker) -> Result<(), WorkerError> {
        self.out.send(message.into_wire()).await.map_err(|_| WorkerError::lost("in mid-run"))
    }
}

/// The answer to a deal whose weights are gone.
fn dropped(deal: &Deal) -> FromWorker {
    let done = Some(Done { span: deal.span, busy: Duration::ZERO });
    FromWorker::Part(Part { pass: deal.pass, slices: Vec::new(), sums: Vec::new(), done })
}

/// Adds how long a deal took, where a result says that it is done.
fn timed(mut result: FromWorker, started: Instant) -> FromWorker {
    if let FromWorker::Part(Part { done: Some(done), .. }) = &mut result {
        done.busy += started.elapsed();
    }
    result
}

async fn returned(
    at_work: &mut Option<oneshot::Receiver<Result<Compute, String>>>,
) -> Result<Compute, WorkerError> {
    let gone = || WorkerError::Panicked("its thread is gone".to_string());
    let at_work = at_work.as_mut().ok_or_else(gone)?;
    at_work.await.map_err(|_| gone())?.map_err(WorkerError::Panicked)
}

fn network(welcome: &Welcome) -> Result<Arc<Network>, WorkerError> {
    // What is wrong may quote what was sent.
    let broken =
        |error: String| WorkerError::Protocol(format!("the run's network: {}", shown(&error)));
    let spec: NetworkSpec =
        serde_json::from_str(&welcome.network).map_err(|error| broken(error.to_string()))?;
    let network = Network::new(spec).map_err(|error| broken(error.to_string()))?;
    if network.sums_len() > SUMS_LEN_MAX {
        return Err(broken(format!("{} sums, wanted {SUMS_LEN_MAX} at most", network.sums_len())));
    }
    let parameters = network.layout().len();
    let what = format!("the run's network of {parameters} parameters");
    memory::check(&what, WEIGHTS_KEPT * parameters as u128 * size_of::<f32>() as u128)?;
    Ok(Arc::new(network))
}
