//! The worker: joins a coordinator, keeps shards, computes the nodes of the spans it is dealt.
//!
//! Refuses to decide: which spans, which weights and when to end are the coordinator's. What it sends depends on the
//! deal, the weights and the rows alone, never on its threads, its speed or its name.

mod ahead;
mod arrivals;
mod compute;
pub mod core;
mod dial;
mod fetch;
mod guide;
mod health;
mod home;
mod lost;
mod memory;
mod outbox;
mod outlet;
mod pace;
mod parts;
mod peers;
mod pool;
mod search;
mod session;
mod shards;
mod sharing;
mod weights;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_model::NUMERIC_PROFILE;
use lockstep_net::{CertificateProblem, without_code};
use lockstep_proto::frame::{FrameError, Join, Welcome};
use lockstep_proto::ids::{Span, WorkerId};
use lockstep_proto::{PROTOCOL, VERSION};

pub use core::Ended;
use dial::{Dialed, Dialer};
pub use guide::{Guide, GuideError};
pub use health::health;
pub use lost::{Foreign, Lost};
pub use peers::{ADDRESSES_MAX, PeerOptions};
use search::{Search, random, telling};
use session::{Line, Means, Session};

/// Longest wait for a coordinator to answer a join.
const JOIN_WAIT_MAX: Duration = Duration::from_secs(10);

/// A coordinator that answers no HTTP/2 ping for this long is gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(1500);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// How to be a worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Knows where the coordinator is, and how to convince it.
    pub coordinator: Arc<dyn Guide>,
    /// Compute threads.
    pub threads: usize,
    /// The only run to take part in; `None` for whichever is there.
    pub run_id: Option<String>,
    /// How long to look for a coordinator, at the start and after a lost connection.
    pub connect_wait: Duration,
    /// This host's name, for people.
    pub host: String,
    /// Share memory with a coordinator on this machine.
    pub share: bool,
    /// How other workers reach this one.
    pub peers: PeerOptions,
}

/// Something worth telling.
#[derive(Debug)]
pub enum WorkerEvent<'a> {
    /// A try to connect or to join has no answer yet; told every few seconds while it lasts.
    StillTrying {
        /// How long it has looked by now.
        waited: Duration,
        /// Until the worker gives up.
        left: Duration,
    },
    /// A try to connect failed; there will be another.
    Retrying {
        /// Why it failed.
        error: &'a Lost,
        /// Until the next try.
        pause: Duration,
        /// How long it has looked by now.
        waited: Duration,
        /// Until the worker gives up.
        left: Duration,
    },
    /// The coordinator let the worker in.
    Joined {
        /// The run.
        run_id: &'a str,
        /// The worker's name in it.
        worker: WorkerId,
    },
    /// The shards of a span are here.
    Prepared {
        /// The span.
        span: Span,
        /// Rows kept now, of all tables.
        rows: u64,
    },
    /// Shards were let go, as the coordinator said.
    Forgot {
        /// Their spans.
        spans: &'a [Span],
        /// Rows kept now, of all tables.
        rows: u64,
    },
    /// The connection broke; the worker will look for the coordinator again.
    Lost {
        /// How.
        error: &'a Lost,
    },
}

/// Why a worker ended early.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Nobody answered, or nobody who had anything to do.
    #[error("{}", no_coordinator_text(.address, *.waited, *.fruitless, .loss))]
    NoCoordinator {
        /// Where it looked.
        address: String,
        /// For how long.
        waited: Duration,
        /// How often it was let in by a coordinator that ended before it gave any work.
        fruitless: u32,
        /// What the last try met.
        loss: Lost,
    },
    /// Whoever asks whether a coordinator is there is told no.
    #[error("no coordinator answers at {address}: {why}")]
    NoAnswer {
        /// Where it was asked.
        address: String,
        /// What was met.
        why: String,
    },
    /// The address cannot be one.
    #[error("{0:?} is not an address: wanted HOST:PORT")]
    Address(String),
    /// There is no coordinator to look for any more.
    #[error("the run is finished")]
    Over,
    /// What says where the coordinator is is wrong.
    #[error("{0}")]
    Guide(String),
    /// Somebody else than the coordinator of the join line is there.
    #[error(
        "another key than the join line's is at {0}: another run's coordinator listens there, or somebody between; take the \
         line that this run's coordinator wrote last"
    )]
    WrongKey(String),
    /// What is there shows a certificate that is not accepted.
    #[error("the coordinator at {0} is not trusted: its certificate {1}")]
    Untrusted(String, CertificateProblem),
    /// What is there proves itself in another way than this worker asks for.
    #[error("{}", other_proof_text(.address, *.is_certified))]
    OtherProof {
        /// Where.
        address: String,
        /// Whether this worker asks for a certificate; or for the join line's key.
        is_certified: bool,
    },
    /// Without encryption nothing is sent to other machines.
    #[error("{0} is another machine, and nothing is sent there without encryption")]
    NotLoopback(String),
    /// The coordinator will not have this worker.
    #[error("the coordinator refused this worker: {0}")]
    Refused(String),
    /// The coordinator found that this worker breaks the contract.
    #[error("the coordinator expelled this worker: {0}")]
    Expelled(String),
    /// What the run needs does not fit into this machine.
    #[error(
        "{what} takes {} of memory, this machine has {}: use a larger machine, or check the address",
        gib(*.wanted_bytes), gib((*.has_bytes).into())
    )]
    Memory {
        /// What does not fit.
        what: String,
        /// How much it takes.
        wanted_bytes: u128,
        /// How much there is, in use or not.
        has_bytes: u64,
    },
    /// The run ended with an error.
    #[error("the run failed: {0}")]
    RunFailed(String),
    /// The other side does not keep the contract.
    #[error("the coordinator broke the protocol: {0}")]
    Protocol(String),
    /// Other workers were to be listened for there, and cannot be.
    #[error("cannot listen for other workers at {address}: {}", without_code(.source))]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The system gives no threads.
    #[error("cannot start compute threads: {0}")]
    Threads(String),
    /// This worker's own mistake.
    #[error("computing failed: {0}")]
    Panicked(String),
    /// There is no connection any more.
    #[error("lost the coordinator: {0}")]
    Lost(Lost),
}

impl WorkerError {
    fn lost(when: &str) -> WorkerError {
        WorkerError::Lost(Lost::Broken(when.to_string()))
    }
}

impl From<FrameError> for WorkerError {
    fn from(error: FrameError) -> WorkerError {
        WorkerError::Protocol(error.to_string())
    }
}

impl From<tonic::Status> for WorkerError {
    fn from(status: tonic::Status) -> WorkerError {
        use tonic::Code;
        let message = status.message().to_string();
        match status.code() {
            Code::FailedPrecondition => WorkerError::Refused(message),
            Code::Unauthenticated => WorkerError::Refused(lost::shown(&message)),
            Code::InvalidArgument => WorkerError::Expelled(message),
            // A message that is too long, or cannot be read. A connection's error has a source.
            Code::OutOfRange => WorkerError::Protocol(message),
            Code::Internal if std::error::Error::source(&status).is_none() => {
                WorkerError::Protocol(message)
            }
            _ => WorkerError::Lost(Lost::of_status(&status)),
        }
    }
}

fn no_coordinator_text(address: &str, waited: Duration, fruitless: u32, loss: &Lost) -> String {
    let waited = waited.as_secs_f64();
    if fruitless == 0 {
        return format!("no coordinator at {address} for {waited:.1} s: {loss}");
    }
    let times = if fruitless == 1 { "once" } else { "again and again" };
    format!(
        "the coordinator at {address} let this worker in {times} ({fruitless} in all) and ended before it gave any work; \
         looked for one that does for {waited:.1} s; the last time: {loss}"
    )
}

fn other_proof_text(address: &str, is_certified: bool) -> String {
    match is_certified {
        true => format!(
            "what listens at {address} has no certificate: a coordinator that was started without --tls-cert is joined by its \
             line alone, without --tls-ca"
        ),
        false => format!(
            "what listens at {address} shows a certificate instead of the join line's key: if that is a coordinator, it was \
             started with --tls-cert, and workers need --tls-ca with the certificate of its authority"
        ),
    }
}

fn gib(bytes: u128) -> String {
    format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64)
}

/// Finds the coordinator, joins, works until the run ends or `stop` is ready. A lost connection is sought again.
///
/// Wants a current-thread runtime: small steps are computed between two messages, on its thread.
///
/// # Errors
/// See [`WorkerError`].
pub async fn run(
    config: WorkerConfig,
    stop: impl Future<Output = ()>,
    tell: &mut dyn FnMut(WorkerEvent<'_>),
) -> Result<Ended, WorkerError> {
    let address = config.coordinator.shown();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(config.threads.max(1))
        .thread_name(|i| format!("compute-{i}"))
        .build()
        .map_err(|error| WorkerError::Threads(error.to_string()))?;
    let means = Means { threads: Arc::new(pool), share: config.share, peers: config.peers.clone() };
    let mut join = Join {
        protocol: PROTOCOL,
        version: VERSION.to_string(),
        numeric_profile: numeric_profile(&means.threads).to_string(),
        run_id: config.run_id.clone(),
        host: config.host.clone(),
        pid: std::process::id(),
        threads: config.threads as u32,
        identity: Some(identity()),
    };
    let mut search = Search::new(config.connect_wait);
    tokio::pin!(stop);
    loop {
        let (mut session, welcome) = tokio::select! {
            joined = find(&mut search, &config, &join, &means, tell) => match joined {
                Err(WorkerError::Over) => return Ok(Ended::Finished),
                joined => joined?,
            },
            () = &mut stop => return Ok(Ended::Stopped),
        };
        tell(WorkerEvent::Joined { run_id: &welcome.run_id, worker: welcome.worker });
        join.run_id = Some(welcome.run_id);
        let joined_at = Instant::now();
        let ended = session.serve(&mut stop, tell).await;
        let (watch, worked) = (session.watch(), session.has_worked());
        drop(session);
        let loss = match ended {
            Err(WorkerError::Lost(loss)) => loss.explained(&watch),
            ended => return ended,
        };
        let pause = search.lost(&address, &loss, worked, joined_at.elapsed())?;
        tell(WorkerEvent::Lost { error: &loss });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = &mut stop => return Ok(Ended::Stopped),
        }
    }
}

/// The profile of every thread that computes; another than the usual one, if any has another.
fn numeric_profile(pool: &rayon::ThreadPool) -> &'static str {
    let here = lockstep_model::numeric_profile();
    let all = pool.broadcast(|_| lockstep_model::numeric_profile());
    let mut others = all.into_iter().filter(|&profile| profile != NUMERIC_PROFILE);
    if here == NUMERIC_PROFILE { others.next().unwrap_or(here) } else { here }
}

/// Tries to connect and join until it works, a coordinator refuses, or the search is over.
async fn find(
    search: &mut Search,
    config: &WorkerConfig,
    join: &Join,
    means: &Means,
    tell: &mut dyn FnMut(WorkerEvent<'_>),
) -> Result<(Session, Welcome), WorkerError> {
    search.begin();
    loop {
        let still = || {
            let (waited, left) = search.spent();
            tell(WorkerEvent::StillTrying { waited, left });
        };
        let loss = match telling(attempt(config, join, means), still).await {
            Err(WorkerError::Lost(loss)) => loss,
            Ok(joined) => {
                search.found();
                return Ok(joined);
            }
            Err(error) => return Err(error),
        };
        let (pause, left) = search.pause(&config.coordinator.shown(), &loss)?;
        let (waited, _) = search.spent();
        tell(WorkerEvent::Retrying { error: &loss, pause, waited, left });
        tokio::time::sleep(pause).await;
    }
}

async fn attempt(
    config: &WorkerConfig,
    join: &Join,
    means: &Means,
) -> Result<(Session, Welcome), WorkerError> {
    let target = config.coordinator.target().map_err(|error| match error {
        GuideError::NotYet(why) => WorkerError::Lost(Lost::Unknown(why)),
        GuideError::Wrong(why) => WorkerError::Guide(why),
        GuideError::Over => WorkerError::Over,
    })?;
    let Dialed { channel, watch, own } = Dialer::new(&target)?.dial().await?;
    let line = Line { channel, watch: watch.clone(), secret: target.secret().cloned(), own };
    let joining = Session::join(line, join.clone(), means.clone());
    let joined = tokio::time::timeout(JOIN_WAIT_MAX, joining).await;
    if let (Ok(Err(_)) | Err(_), Some(alert)) = (&joined, watch.alert()) {
        return Err(WorkerError::Refused(format!("it says that {alert}")));
    }
    match joined {
        Ok(Err(WorkerError::Lost(loss))) => Err(WorkerError::Lost(loss.explained(&watch))),
        Ok(answer) => answer,
        Err(_) => Err(WorkerError::Lost(Lost::NoWelcome(JOIN_WAIT_MAX).explained(&watch))),
    }
}

/// Tells this process from any other, so that it can be called what it was called before. Nothing else depends on it.
fn identity() -> [u8; 16] {
    (u128::from(random()) << 64 | u128::from(random())).to_le_bytes()
}
