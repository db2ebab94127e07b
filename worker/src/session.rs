//! One membership: the shell around its [`Core`]. A single task carries what happens in and what is decided out: messages to
//! the coordinator's stream, requests for rows, jobs to a thread, the time. Decides nothing itself.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_model::PARALLEL_FLOPS_MIN;
use lockstep_net::{CREDENTIAL_KEY, SECRET_KEY, Secret, Watch};
use lockstep_proto::frame::{FromWorker, Join, PeerMessage, ShardRequest, ToWorker, Welcome};
use lockstep_proto::ids::WorkerId;
use lockstep_proto::ticket::Ticket;
use lockstep_proto::timeline::TARGET;
use lockstep_proto::wire::cluster_client::ClusterClient;
use lockstep_proto::{MESSAGE_BYTES_MAX, wire};
use lockstep_reduce::shared::lane::Lane;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::BinaryMetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tracing::{Span, debug, trace, trace_span};

use crate::core::{Core, End, Ended, Input, Job, Output, Said, ended, network};
use crate::fetch::Fetch;
use crate::lost::Lost;
use crate::outbox::{Paced, Paces};
use crate::peers::{Event, PeerOptions, Peers};
use crate::pool::Pool;
use crate::{WorkerError, WorkerEvent, memory, sharing};

/// Most messages that wait for the link; whoever computes waits when there are more.
const OUTBOX_MESSAGES_MAX: usize = 16;

/// Longest wait for the reason of a membership's end.
const LAST_WORDS_WAIT_MAX: Duration = Duration::from_secs(2);

/// A connection, and what is said on it first.
pub(crate) struct Line {
    pub(crate) channel: Channel,
    pub(crate) watch: Arc<Watch>,
    pub(crate) secret: Option<Secret>,
    /// This side's address on it.
    pub(crate) own: IpAddr,
}

/// What a worker takes part with, whatever the run.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) threads: Arc<rayon::ThreadPool>,
    /// Whether memory is shared with a coordinator on this machine.
    pub(crate) share: bool,
    pub(crate) peers: PeerOptions,
}

pub(crate) struct Session {
    core: Core,
    run_id: String,
    client: ClusterClient<Channel>,
    /// What later calls say.
    credential: BinaryMetadataValue,
    /// Where the coordinator's memory is, until this worker has tried to open it.
    ticket: Option<Ticket>,
    /// Where gradients are put, if that is shared.
    lane: Option<Arc<Lane>>,
    pool: Pool,
    fetch: Fetch,
    out: mpsc::Sender<wire::WorkerMessage>,
    /// What did not fit into the outbox: while there is any, nothing more is decided.
    unsent: VecDeque<wire::WorkerMessage>,
    /// Of what is sent.
    paces: Arc<Paces>,
    inbound: Streaming<wire::CoordinatorMessage>,
    /// Where other workers are to reach this one, until it listens; `None` where workers do not talk to each other.
    to_listen: Option<(PeerOptions, IpAddr)>,
    peers: Option<Peers>,
    worker: WorkerId,
    watch: Arc<Watch>,
}

impl Session {
    /// Joins the run that the channel leads to.
    pub(crate) async fn join(
        line: Line,
        join: Join,
        means: Means,
    ) -> Result<(Session, Welcome), WorkerError> {
        let Line { channel, watch, secret, own } = line;
        let Means { threads, share, peers } = means;
        let mut client = ClusterClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (out, outgoing) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        let paces = Arc::new(Paces::default());
        let outgoing = Paced::new(ReceiverStream::new(outgoing), paces.clone());
        out.send(join.into_wire()).await.map_err(|_| WorkerError::lost("before the join"))?;
        let mut request = Request::new(outgoing);
        if let Some(secret) = &secret {
            let secret = BinaryMetadataValue::from_bytes(secret.expose());
            request.metadata_mut().insert_bin(SECRET_KEY, secret);
        }
        let response = client.train(request).await?;
        let credential = response.metadata().get_bin(CREDENTIAL_KEY).cloned();
        let credential = credential
            .ok_or_else(|| WorkerError::Protocol("a welcome without a credential".to_string()))?;
        let mut inbound = response.into_inner();
        let first = inbound.message().await?;
        let first = first.ok_or(WorkerError::Lost(Lost::Dismissed))?;
        let welcome = Welcome::from_wire(first)?;
        let memory_bytes = memory::total_bytes();
        let network = network(&welcome, memory_bytes)?;
        paces.of_chunks(welcome.chunk_values_max as usize);
        let session = Session {
            core: Core::new(&welcome, network, memory_bytes, PARALLEL_FLOPS_MIN),
            run_id: welcome.run_id.clone(),
            client,
            credential,
            ticket: welcome.weights.clone().filter(|_| share),
            lane: None,
            pool: Pool::new(threads, out.clone()),
            fetch: Fetch::Idle,
            out,
            unsent: VecDeque::new(),
            paces,
            inbound,
            to_listen: welcome.peers.then_some((peers, own)),
            peers: None,
            worker: welcome.worker,
            watch,
        };
        Ok((session, welcome))
    }

    /// What is noted of the connection.
    pub(crate) fn watch(&self) -> Arc<Watch> {
        self.watch.clone()
    }

    /// Whether it was given work so far.
    pub(crate) fn has_worked(&self) -> bool {
        self.core.has_worked()
    }

    /// Works until the run ends, the stream breaks, or `stop` is ready.
    pub(crate) async fn serve(
        &mut self,
        mut stop: impl Future<Output = ()> + Unpin,
        tell: &mut dyn FnMut(WorkerEvent<'_>),
    ) -> Result<Ended, WorkerError> {
        self.listen().await?;
        let mut input = self.share(&mut stop).await;
        loop {
            let handled = match input {
                Some(input) => self.core.handle(Instant::now(), input),
                None => ControlFlow::Continue(()),
            };
            if let ControlFlow::Break(end) = handled {
                return match end {
                    Err(WorkerError::Lost(Lost::Dismissed)) => self.last_words().await,
                    end => end,
                };
            }
            if let ControlFlow::Break(end) = self.carry(tell) {
                return end;
            }
            input = self.next(&mut stop).await;
        }
    }

    /// Why this membership is over, when something else told that it is: what the coordinator says last.
    async fn last_words(&mut self) -> Result<Ended, WorkerError> {
        let dismissed = || Err(WorkerError::Lost(Lost::Dismissed));
        let heard = tokio::time::timeout(LAST_WORDS_WAIT_MAX, async {
            loop {
                match take_in(&self.core, None, self.inbound.message().await) {
                    Input::Message(ToWorker::Finish(ending)) => return ended(ending),
                    Input::Ended(error) => return Err(error),
                    _ => {}
                }
            }
        });
        heard.await.unwrap_or_else(|_| dismissed())
    }

    /// Listens for other workers and says so, where workers talk to each other. It is said before anything is computed.
    async fn listen(&mut self) -> Result<(), WorkerError> {
        let Some((options, own)) = self.to_listen.take() else { return Ok(()) };
        let limits = self.core.limits().clone();
        let (peers, listens) = Peers::begin(self.worker, limits, &options, own).await?;
        self.peers = Some(peers);
        // Nothing else was said but the request to join.
        self.out
            .try_send(FromWorker::Listens(listens).into_wire())
            .map_err(|_| WorkerError::lost("after the welcome"))
    }

    /// Shares memory with a coordinator on this machine, as far as that can be had. It is asked before anything is computed.
    async fn share(&mut self, mut stop: impl Future<Output = ()> + Unpin) -> Option<Input> {
        let ticket = self.ticket.take()?;
        let (layout, precision) = (self.core.limits().layout.clone(), self.core.limits().precision);
        let begun = tokio::select! {
            begun = sharing::begin(ticket, layout, precision) => begun,
            () = &mut stop => return Some(Input::Stop),
        };
        let (lane, shared, announcement) = begun?;
        self.lane = Some(lane);
        debug!("shares memory with the coordinator");
        // Little else was said so far.
        Some(match self.out.try_send(announcement) {
            Ok(()) => Input::Shares(shared),
            Err(_) => Input::Unsaid,
        })
    }

    /// The next thing that happens; `None` if that is only that something was sent.
    async fn next(&mut self, mut stop: impl Future<Output = ()> + Unpin) -> Option<Input> {
        let Session { core, lane, pool, fetch, out, unsent, inbound, peers, .. } = self;
        let reads = core.reads() && unsent.is_empty();
        let timeout = core.poll_timeout();
        // While a job runs, nobody waits but this task.
        let _waits = match pool.is_busy() {
            true => Span::none(),
            false => trace_span!(target: TARGET, "wait", track = "session"),
        };
        let input = tokio::select! {
            biased;
            finished = pool.next(), if pool.is_busy() => Input::Finished(finished),
            () = &mut stop, if !core.is_leaving() => Input::Stop,
            // In no order: neither the coordinator nor the other workers wait for the others' silence.
            input = async { tokio::select! {
                message = inbound.message(), if reads => take_in(core, lane.as_deref(), message),
                event = next_of(peers) => of_peers(event),
            } }, if reads || peers.is_some() => input,
            rows = fetch.next(), if fetch.is_begun() => rows,
            permit = out.reserve(), if !unsent.is_empty() => match (permit, unsent.pop_front()) {
                (Ok(permit), Some(message)) => {
                    permit.send(message);
                    return None;
                }
                _ => Input::Unsaid,
            },
            () = sleep_until(timeout), if timeout.is_some() => Input::Timeout,
        };
        Some(input)
    }

    /// Does all that the core wants, as far as the link takes what it says.
    fn carry(&mut self, tell: &mut dyn FnMut(WorkerEvent<'_>)) -> ControlFlow<End> {
        while self.unsent.is_empty()
            && let Some(output) = self.core.poll(Instant::now())?
        {
            match output {
                Output::Say(message) => self.say(message)?,
                Output::Fetch(table, shard) => {
                    trace!(%table, shard = shard.0, "asks for rows");
                    let request = ShardRequest { run_id: self.run_id.clone(), table, shard };
                    let mut call = Request::new(request.into_wire());
                    call.metadata_mut().insert_bin(CREDENTIAL_KEY, self.credential.clone());
                    self.fetch = Fetch::begin(self.client.clone(), call);
                }
                Output::Start(job) if job.is_small() => self.compute(job)?,
                Output::Start(job) => {
                    let post = self.peers.as_ref().map(Peers::post);
                    self.pool.start(job, self.lane.clone(), post);
                }
                Output::Answered(chunk) => self.paces.answer(Instant::now(), chunk),
                Output::Unpaced => self.paces.lift(),
                Output::Code(precision) => {
                    debug!(coded = precision.is_some(), "how frames go on links has changed");
                    self.paces.code(precision);
                    if let Some(peers) = &self.peers {
                        peers.code(precision.is_some());
                    }
                }
                Output::Roster(members) => {
                    debug!(workers = members.len(), "told who else is there");
                    if let Some(peers) = &mut self.peers {
                        peers.set_roster(members);
                    }
                }
                Output::Tell(worker, message) => self.tell_peer(worker, message),
                Output::Prepared(span, rows) => tell(WorkerEvent::Prepared { span, rows }),
                Output::Forgot(spans, rows) => tell(WorkerEvent::Forgot { spans: &spans, rows }),
            }
        }
        ControlFlow::Continue(())
    }

    /// Does a small job on the spot: handing it to another thread would take longer than it does.
    fn compute(&mut self, job: Job) -> ControlFlow<End> {
        let mut results = Vec::new();
        let finished = job.run(&Instant::now, &mut |said| results.push(said));
        for said in results {
            match said {
                Said::Coordinator(said) => self.say(said)?,
                Said::Peer(worker, message) => self.tell_peer(worker, message),
            }
        }
        self.core.handle(Instant::now(), Input::Finished(finished))
    }

    fn tell_peer(&self, worker: WorkerId, message: PeerMessage) {
        if let Some(peers) = &self.peers {
            peers.post().put(worker, message);
        }
    }

    fn say(&mut self, message: FromWorker) -> ControlFlow<End> {
        let _span = trace_span!(target: TARGET, "send").entered();
        let message = message.into_wire();
        if !self.unsent.is_empty() {
            self.unsent.push_back(message);
            return ControlFlow::Continue(());
        }
        match self.out.try_send(message) {
            Ok(()) => return ControlFlow::Continue(()),
            Err(TrySendError::Full(message)) => self.unsent.push_back(message),
            Err(TrySendError::Closed(_)) => {
                return self.core.handle(Instant::now(), Input::Unsaid);
            }
        }
        ControlFlow::Continue(())
    }
}

/// What a message of the coordinator, or the end of its stream, is to the core.
fn take_in(
    core: &Core,
    lane: Option<&Lane>,
    message: Result<Option<wire::CoordinatorMessage>, Status>,
) -> Input {
    match message {
        Ok(Some(message)) => {
            if let Some(lane) = lane {
                lane.hear(&message);
            }
            let checked = core.limits().to_worker(message);
            if let Ok(ToWorker::Deal(deal)) = &checked {
                trace!(step = deal.step.0 + 1, span = %deal.span, "was dealt");
            }
            checked.map_or_else(|error| Input::Broken(error.to_string()), Input::Message)
        }
        Ok(None) => Input::Ended(WorkerError::Lost(Lost::Dismissed)),
        Err(status) => Input::Ended(status.into()),
    }
}

/// What happens between this worker and others; nothing where they do not talk to each other.
async fn next_of(peers: &mut Option<Peers>) -> Event {
    match peers {
        Some(peers) => peers.next().await,
        None => std::future::pending().await,
    }
}

fn of_peers(event: Event) -> Input {
    match event {
        Event::Up(worker) => {
            debug!(other = worker.0, "connected to another worker");
            Input::PeerUp(worker)
        }
        Event::Down(worker, why) => {
            debug!(other = worker.0, ?why, "no connection to another worker");
            Input::PeerDown(worker, why)
        }
        Event::Said(worker, message) => Input::Peer(worker, message),
        Event::Broken(worker, what) => Input::PeerBroken(worker, what),
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
