//! All that a worker decides in one membership: input in, output out, time as an argument.
//!
//! A [`Core`] owns the weights, the shards, the deals and what computes: which deal is computed next and on which weights, which
//! is too late, what is run ahead and let go, what is fetched and forgotten, how a membership ends. It refuses to know sockets,
//! tasks, threads and clocks: the session carries what it says, puts threads to its jobs and tells it the time. The
//! simulation (a crate of its own) does the same with a network of its own; nothing else is to use this.

mod deals;
mod exchange;
mod incoming;
mod jobs;
mod leaving;
mod peers;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use lockstep_data::RowOrder;
use lockstep_model::{Network, NetworkSpec};
use lockstep_proto::frame::{
    Deal, Ending, FromWorker, Limits, PeerContent, SUMS_LEN_MAX, ToWorker, Welcome,
};
use lockstep_proto::ids::{Shard, Span, Table};
use lockstep_proto::tree::ShardTree;

use crate::ahead::{Ahead, Running};
use crate::arrivals::{Arrivals, Content};
use crate::compute::{Compute, SpanBatch};
use crate::home::Home;
use crate::lost::{Lost, shown};
use crate::outlet::Outlet;
pub use crate::outlet::Said;
pub use crate::pace::Pace;
use crate::parts::Frames;
use crate::shards::Shards;
use crate::weights::Weights;
use crate::{WorkerError, memory};
use deals::table_of;
pub use exchange::{Input, Output, Shared, SharedWeights};
pub use jobs::{Finished, Job};
pub use leaving::Ended;
use leaving::Leaving;
use peers::Peers;

/// Most deals that wait for their weights.
pub const DEALS_MAX: usize = 1024;

/// Two steps' weights are kept while those of the next come in.
const WEIGHTS_KEPT: u128 = 3;

/// Why a membership is over.
pub type End = Result<Ended, WorkerError>;

/// See the module's text.
#[derive(Debug)]
pub struct Core {
    limits: Limits,
    weights: Weights,
    arrivals: Arrivals,
    /// What it adds up for others.
    home: Home,
    outlet: Arc<Outlet>,
    peers: Peers,
    shards: Shards,
    /// What goes through shared memory, if the coordinator is on this machine.
    shared: Option<Shared>,
    /// The span whose shards the coordinator wants to be here.
    preparing: Option<Span>,
    deals: VecDeque<Deal>,
    /// `None` while it is at work.
    compute: Option<Box<Compute>>,
    /// What is run forward, or was, if that has not been dealt yet.
    ahead: Option<Ahead>,
    /// What ran ahead, was dealt and has to be gone on with.
    dealt_ahead: Option<Box<Running>>,
    /// What may be run forward when there is nothing else to do.
    next: Option<SpanBatch>,
    epochs_are_measured: bool,
    /// Steps of one update.
    steps_per_update: u64,
    /// Deals of fewer operations are computed on the spot.
    small_flops_max: u64,
    /// Shards were let go since anything was computed.
    has_forgotten: bool,
    /// It was dealt something whose weights came.
    has_worked: bool,
    leaving: Option<Leaving>,
    outputs: VecDeque<Output>,
}

/// The network of a run, as its coordinator describes it.
///
/// # Errors
/// If there is no such network, or this machine, which has so much memory, cannot hold it.
pub fn network(welcome: &Welcome, memory_bytes: Option<u64>) -> Result<Network, WorkerError> {
    // What is wrong may quote what was sent.
    let broken =
        |error: String| WorkerError::Protocol(format!("the run's network: {}", shown(&error)));
    let spec: NetworkSpec =
        serde_json::from_str(&welcome.network).map_err(|error| broken(error.to_string()))?;
    let network = Network::new(spec).map_err(|error| broken(error.to_string()))?;
    let network = network
        .in_chunks_of(welcome.chunk_values_max as usize)
        .with_row_squares(welcome.has_row_squares);
    let sums = network.table_sums_len();
    if sums > SUMS_LEN_MAX {
        return Err(broken(format!("{sums} sums, wanted {SUMS_LEN_MAX} at most")));
    }
    let parameters = network.layout().len();
    let what = format!("the run's network of {parameters} parameters");
    let bytes = WEIGHTS_KEPT * parameters as u128 * size_of::<f32>() as u128;
    memory::check(&what, bytes, memory_bytes)?;
    Ok(network)
}

impl Core {
    /// A member of the run that it was welcomed to, on a machine with so much memory, if that is known. Deals of at least
    /// `small_flops_max` floating-point operations are not small.
    pub fn new(
        welcome: &Welcome,
        network: Network,
        memory_bytes: Option<u64>,
        small_flops_max: u64,
    ) -> Core {
        let (batches, precision) = (welcome.batches, welcome.precision);
        let tree = ShardTree::new(batches.shards);
        let layout = Arc::new(network.layout().clone());
        let network = Arc::new(network);
        let order = RowOrder { batches, shuffle: welcome.shuffle, seed: welcome.seed };
        let (sums_len, table_sums_len) = (network.sums_len(), network.table_sums_len());
        let frames = Frames { precision, lane: None };
        let layout_of = layout.clone();
        let is_unanswered = welcome.clips || welcome.steps_per_update > 1;
        let limits =
            Limits { batches, tree, layout: layout_of, precision, sums_len, table_sums_len };
        let (own, execution) = (welcome.worker, welcome.execution);
        Core {
            home: Home::new(own, &limits),
            outlet: Arc::new(Outlet::new(own, execution)),
            peers: Peers::new(welcome),
            limits,
            weights: Weights::new(layout),
            arrivals: Arrivals::default(),
            shards: Shards::new(welcome, network.clone(), memory_bytes),
            shared: None,
            preparing: None,
            deals: VecDeque::new(),
            compute: Some(Box::new(Compute::new(
                network,
                tree,
                order,
                frames,
                welcome.is_weighted,
            ))),
            ahead: None,
            dealt_ahead: None,
            next: None,
            epochs_are_measured: welcome.validation_rows > 0,
            steps_per_update: welcome.steps_per_update.max(1),
            small_flops_max,
            has_forgotten: false,
            has_worked: false,
            leaving: None,
            // Where gradients are clipped, no answer comes before all are sent, and none at all in a step without an update.
            outputs: is_unanswered.then_some(Output::Unpaced).into_iter().collect(),
        }
    }

    /// What the coordinator's messages are to be checked against.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether the coordinator's next message is wanted: not while rows are fetched, which later ones may need.
    pub fn reads(&self) -> bool {
        self.leaving.is_some() || (!self.shards.is_coming() && self.preparing.is_none())
    }

    /// Whether it was dealt something whose weights came.
    pub fn has_worked(&self) -> bool {
        self.has_worked
    }

    /// Whether it was told to leave.
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// The shards of which rows are kept; one for each table.
    pub fn kept(&self) -> impl Iterator<Item = Shard> {
        self.shards.kept()
    }

    /// Values in memory: of rows and of weights.
    pub fn values(&self) -> usize {
        let waiting = self.arrivals.bytes() / self.limits.precision.width();
        self.shards.values() + self.weights.values() + waiting
    }

    /// Takes in what happened. It breaks when the membership is over: nothing more is wanted then.
    pub fn handle(&mut self, now: Instant, input: Input) -> ControlFlow<End> {
        if self.leaving.is_some() {
            return self.leave(now, input);
        }
        let result = match input {
            Input::Stop => return self.begin_leaving(now),
            Input::Finished(Finished(Ok(returned))) => {
                self.returned(returned.compute, returned.waits);
                Ok(())
            }
            Input::Finished(Finished(Err(said))) => Err(WorkerError::Panicked(said)),
            Input::Shares(shared) => {
                self.share(shared);
                Ok(())
            }
            Input::Message(ToWorker::Finish(ending)) => return ControlFlow::Break(ended(ending)),
            Input::Message(message) => self.message(now, message),
            Input::Broken(reason) => Err(WorkerError::Protocol(reason)),
            Input::Ended(error) | Input::NoRows(error) => Err(error),
            Input::Unsaid => Err(WorkerError::lost("in mid-run")),
            Input::Rows(part) => self.shards.part(now, part.as_deref()),
            Input::Timeout => {
                self.arrivals.handle_timeout(now);
                self.ask();
                self.shards.handle_timeout(now)
            }
            Input::Peer(sender, message) => self.peer(now, sender, message),
            Input::PeerUp(peer) => {
                self.peer_up(peer);
                Ok(())
            }
            Input::PeerDown(peer, _) | Input::PeerBroken(peer, _) => {
                self.peer_down(peer);
                Ok(())
            }
        };
        result.map_or_else(|error| ControlFlow::Break(Err(error)), ControlFlow::Continue)
    }

    /// The next thing to do, if any. What is not polled is not decided yet: whoever cannot say anything at the moment polls
    /// later. It breaks when the membership is over.
    pub fn poll(&mut self, now: Instant) -> ControlFlow<End, Option<Output>> {
        if let Some(output) = self.outputs.pop_front() {
            return ControlFlow::Continue(Some(output));
        }
        let next = match self.preparing {
            _ if self.leaving.is_some() => Ok(self.goodbye().map(Output::Say)),
            _ if self.shards.is_coming() => Ok(None),
            Some(span) => self.prepare(now, span).map(Some),
            None => self.work(now),
        };
        next.map_or_else(|error| ControlFlow::Break(Err(error)), ControlFlow::Continue)
    }

    /// When [`Input::Timeout`] is wanted, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.leaving {
            Some(leaving) => Some(leaving.until()),
            None => self.shards.part_until().into_iter().chain(self.arrivals.poll_timeout()).min(),
        }
    }

    fn share(&mut self, shared: Shared) {
        if let (Some(compute), Some(lane)) = (&mut self.compute, &shared.lane) {
            compute.share(lane.clone());
        }
        self.shared = Some(shared);
        // What goes to the coordinator goes through no link.
        self.outputs.push_back(Output::Unpaced);
    }

    fn message(&mut self, now: Instant, message: ToWorker) -> Result<(), WorkerError> {
        match message {
            ToWorker::Prepare(span) => self.preparing = Some(span),
            ToWorker::Forget(spans) => self.forget(spans),
            ToWorker::Deal(deal) => {
                if self.deals.len() == DEALS_MAX {
                    let problem = format!("more than {DEALS_MAX} deals at once");
                    return Err(WorkerError::Protocol(problem));
                }
                self.shards.check(table_of(&deal))?;
                if table_of(&deal) == Table::Train {
                    self.outlet.begin(deal.pass, deal.step);
                }
                self.deals.push_back(deal);
            }
            ToWorker::Weights { step, chunk, values, pass_on } => {
                let passed_on = PeerContent::Weights { step, chunk, values: values.clone() };
                self.pass_on(&passed_on, pass_on)?;
                self.came(now, step, chunk, Content::Values(values))?;
            }
            ToWorker::CodedWeights { step, chunk, coded, pass_on } => {
                // As it is: who lacks what it follows finds that out.
                let passed_on = PeerContent::CodedWeights { step, chunk, coded: coded.clone() };
                self.pass_on(&passed_on, pass_on)?;
                self.came(now, step, chunk, Content::Coded(coded, None))?;
            }
            ToWorker::NamedWeights(named) => self.named(now, named)?,
            ToWorker::Code(is_on) => {
                self.outputs.push_back(Output::Code(is_on.then_some(self.limits.precision)));
            }
            ToWorker::SharedWeights { step, chunk } => {
                if self.shared.is_none() {
                    let problem = "weights in shared memory that it does not share";
                    return Err(WorkerError::Protocol(problem.to_string()));
                }
                self.came(now, step, chunk, Content::Shared)?;
            }
            ToWorker::Roster(members) => self.roster(members)?,
            ToWorker::Route(route) => self.route(route)?,
            ToWorker::Dealt(dealt) => self.dealt(dealt)?,
            ToWorker::Finish(_) => unreachable!("it is the last message"),
        }
        Ok(())
    }

    /// Lets go of shards. They were not dealt since, or the deals are done.
    fn forget(&mut self, spans: Vec<Span>) {
        spans.iter().for_each(|&span| self.shards.forget(span));
        self.has_forgotten = true;
        self.outputs.push_back(Output::Forgot(spans, self.shards.rows()));
    }

    /// Fetches what is missing of a span in every table, or says that all is here.
    fn prepare(&mut self, now: Instant, span: Span) -> Result<Output, WorkerError> {
        if let Some((table, shard)) = self.shards.missing(span) {
            return self.fetch(now, table, shard);
        }
        self.preparing = None;
        self.outputs.push_back(Output::Say(FromWorker::Prepared(span)));
        Ok(Output::Prepared(span, self.shards.rows()))
    }

    fn fetch(&mut self, now: Instant, table: Table, shard: Shard) -> Result<Output, WorkerError> {
        self.shards.ask(now, table, shard)?;
        Ok(Output::Fetch(table, shard))
    }
}

/// What the end of a run is to a worker.
pub(crate) fn ended(ending: Ending) -> Result<Ended, WorkerError> {
    match ending {
        Ending::Finished => Ok(Ended::Finished),
        Ending::Failed(error) => Err(WorkerError::RunFailed(error)),
        Ending::Stopped => Err(WorkerError::Lost(Lost::Stopped)),
    }
}
