//! One run at work: the shell around its [`Core`]. A single task carries what happens in and what is decided out: messages to
//! workers' streams, jobs to threads, the time. Decides nothing itself.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use lockstep_proto::arithmetic::deviation;
use lockstep_proto::frame::{Ending, Limits, ToWorker};
use lockstep_proto::ids::WorkerId;
use lockstep_proto::timeline::TARGET;
use lockstep_proto::tree::ShardTree;
use lockstep_reduce::shared::lane;
use lockstep_reduce::shared::weights::ChunkVersions;
use tokio::sync::mpsc;
use tonic::Status;
use tracing::trace_span;

use crate::core::{Core, INLINE_BYTES_MAX, Input, Output};
use crate::error::RunError;
use crate::inbound::{INBOX_MESSAGES_MAX, Readers, read};
use crate::observer::Observer;
use crate::outbox::Outbox;
use crate::pool::Pool;
use crate::server::{Admitted, Arrival};
use crate::sharing::Sharing;
use crate::spec::{Outcome, RunSpec, Stop};

/// Workers that were told of the end get this long to close their streams.
pub(crate) const FAREWELL_WAIT_MAX: Duration = Duration::from_secs(5);

/// What leads to a member.
struct Line {
    outbox: Arc<Outbox>,
    sharing: Arc<Sharing>,
}

pub(crate) struct Shell {
    core: Core,
    pool: Pool,
    lines: BTreeMap<WorkerId, Line>,
    /// What workers' messages are checked against.
    limits: Limits,
    readers: Readers,
    arrivals: mpsc::Receiver<Arrival>,
    inbox: mpsc::Receiver<Input>,
    inbox_tx: mpsc::Sender<Input>,
    /// How it ended, for workers that come too late.
    ending: Arc<OnceLock<Ending>>,
}

impl Shell {
    pub(crate) fn new(
        spec: &RunSpec,
        observer: Box<dyn Observer>,
        arrivals: mpsc::Receiver<Arrival>,
        published: Vec<ChunkVersions>,
        ending: Arc<OnceLock<Ending>>,
    ) -> Result<Shell, RunError> {
        let (inbox_tx, inbox) = mpsc::channel(INBOX_MESSAGES_MAX);
        Ok(Shell {
            core: Core::new(Instant::now(), spec, observer, published, INLINE_BYTES_MAX),
            pool: Pool::new(spec.threads)?,
            lines: BTreeMap::new(),
            limits: Limits {
                batches: spec.batches,
                tree: ShardTree::new(spec.batches.shards),
                layout: spec.layout.clone(),
                precision: spec.precision,
                sums_len: spec.step_sums,
                table_sums_len: spec.sum_bounds.len(),
            },
            readers: Readers::default(),
            arrivals,
            inbox,
            inbox_tx,
            ending,
        })
    }

    pub(crate) async fn run(
        mut self,
        stop: impl Future<Output = Stop> + Send,
    ) -> Result<Outcome, RunError> {
        let result = self.drive(stop).await;
        let ending = self.core.conclude(&result);
        let ending = self.ending.get_or_init(|| ending).clone();
        self.bid_farewell(&ending).await;
        result.map(|()| self.core.into_outcome())
    }

    async fn drive(&mut self, stop: impl Future<Output = Stop> + Send) -> Result<(), RunError> {
        tokio::pin!(stop);
        // Small frames are added on this thread.
        deviation().map_or(Ok(()), |deviation| Err(RunError::Arithmetic(deviation)))?;
        while !self.core.is_finished() {
            let timeout = self.core.poll_timeout();
            let waits = trace_span!(target: TARGET, "wait", track = "run");
            let input = tokio::select! {
                biased;
                how = &mut stop, if !self.core.is_stopping() => Input::Stop(how),
                finished = self.pool.next(), if self.pool.is_busy() => Input::Finished(finished),
                Some(arrival) = self.arrivals.recv() => match arrival {
                    Arrival::Admitted(admitted) => self.admit(*admitted),
                    Arrival::Refused { peer, reason } => Input::Refused(peer, reason),
                    Arrival::Trouble(what) => Input::Trouble(what),
                },
                Some(input) = self.inbox.recv(), if self.core.has_room() => input,
                () = tokio::time::sleep_until(timeout.into()) => Input::Timeout,
                Some((worker, panicked)) = self.readers.next() => match panicked {
                    Some(said) => Input::Broken(worker, format!("reading its messages failed: {said}")),
                    None => continue,
                },
            };
            drop(waits);
            let result = self.core.handle(Instant::now(), input);
            self.carry().and(result)?;
        }
        Ok(())
    }

    fn admit(&mut self, admitted: Admitted) -> Input {
        let Admitted { worker, peer, outbox, stream, watch } = admitted;
        let sharing = Arc::new(Sharing::new());
        self.lines.insert(worker, Line { outbox, sharing: sharing.clone() });
        let (limits, inbox) = (self.limits.clone(), self.inbox_tx.clone());
        self.readers.start(worker, read(worker, stream, watch, limits, sharing, inbox));
        Input::Joined(worker, peer)
    }

    /// Does all that the core wants.
    fn carry(&mut self) -> Result<(), RunError> {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Say(worker, message) => self.say(worker, message)?,
                Output::Weights(worker, weights) => {
                    if let Some(line) = self.lines.get(&worker) {
                        let (step, chunk) = (weights.step.0, weights.chunk.0);
                        let _span =
                            trace_span!(target: TARGET, "commit", step, chunk, worker = worker.0)
                                .entered();
                        line.outbox.send_weights(weights);
                    }
                }
                Output::Close(worker, fault) => {
                    if let Some(line) = self.lines.remove(&worker) {
                        line.outbox.close(fault.map(Status::invalid_argument));
                    }
                }
                Output::Start(job) => self.pool.start(job),
            }
        }
        Ok(())
    }

    fn say(&mut self, worker: WorkerId, message: ToWorker) -> Result<(), RunError> {
        let Some(Line { outbox, sharing }) = self.lines.get(&worker) else { return Ok(()) };
        let mut message = message.into_wire();
        lane::tell_read(&mut message, sharing.slices_read());
        if outbox.say(message) {
            return Ok(());
        }
        self.core.handle(Instant::now(), Input::Unread(worker))
    }

    /// Tells all workers how the run ended, and gives them time to hear it.
    async fn bid_farewell(&mut self, ending: &Ending) {
        let farewell = ToWorker::Finish(ending.clone()).into_wire();
        for line in self.lines.values() {
            // Whoever does not read its messages does not read this one.
            let _ = line.outbox.say(farewell.clone());
            line.outbox.close(None);
        }
        self.arrivals.close();
        while let Ok(arrival) = self.arrivals.try_recv() {
            if let Arrival::Admitted(admitted) = arrival {
                let _ = admitted.outbox.say(farewell.clone());
                admitted.outbox.close(None);
            }
        }
        let closed = async {
            while !self.readers.is_empty() {
                tokio::select! {
                    _ = self.readers.next() => {}
                    _ = self.inbox.recv() => {}
                }
            }
        };
        let _ = tokio::time::timeout(FAREWELL_WAIT_MAX, closed).await;
    }
}
