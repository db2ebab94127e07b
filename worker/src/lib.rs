//! The worker: joins a coordinator, keeps shards, computes the nodes of the spans it is dealt.
//!
//! Refuses to decide: which spans, which weights and when to end are the coordinator's. What it sends depends on the
//! deal, the weights and the rows alone, never on its threads, its speed or its name.

mod ahead;
mod compute;
mod pace;
mod parts;
mod session;
mod shards;
mod sharing;
mod weights;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_model::NUMERIC_PROFILE;
use lockstep_proto::frame::{FrameError, Join, Welcome};
use lockstep_proto::ids::{Span, WorkerId};
use lockstep_proto::{PROTOCOL, VERSION};
use tonic::transport::Endpoint;

pub use session::Ended;
use session::Session;

/// First and longest pause between two tries to connect.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Longest wait for one connection to open.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Longest wait for a coordinator to connect and answer a join.
const JOIN_WAIT_MAX: Duration = Duration::from_secs(10);

/// A coordinator that answers no HTTP/2 ping for this long is gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(1500);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes in flight to this worker before the coordinator has to wait.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;

/// How to be a worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// `host:port`.
    pub coordinator: String,
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
}

/// Something worth telling.
#[derive(Debug)]
pub enum WorkerEvent<'a> {
    /// A try to connect failed; there will be another.
    Retrying {
        /// Why it failed.
        error: &'a str,
        /// Until the next try.
        pause: Duration,
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
        error: &'a str,
    },
}

/// Why a worker ended early.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Nobody answered.
    #[error("no coordinator at {address} for {waited:.0?}: {last}")]
    NoCoordinator {
        /// Where it looked.
        address: String,
        /// For how long.
        waited: Duration,
        /// What the last try said.
        last: String,
    },
    /// The address cannot be one.
    #[error("{0:?} is not an address: wanted HOST:PORT")]
    Address(String),
    /// The coordinator will not have this worker.
    #[error("the coordinator refused this worker: {0}")]
    Refused(String),
    /// The run ended with an error.
    #[error("the run failed: {0}")]
    RunFailed(String),
    /// The other side does not keep the contract.
    #[error("the coordinator broke the protocol: {0}")]
    Protocol(String),
    /// The system gives no threads.
    #[error("cannot start compute threads: {0}")]
    Threads(String),
    /// This worker's own mistake.
    #[error("computing failed: {0}")]
    Panicked(String),
    /// The connection broke.
    #[error("the connection was lost: {0}")]
    Lost(String),
}

impl WorkerError {
    fn lost(when: &str) -> WorkerError {
        WorkerError::Lost(when.to_string())
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
            Code::InvalidArgument | Code::NotFound | Code::Unimplemented | Code::OutOfRange => {
                WorkerError::Protocol(message)
            }
            _ => WorkerError::Lost(message),
        }
    }
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
    let endpoint = endpoint(&config.coordinator)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(config.threads.max(1))
        .thread_name(|i| format!("compute-{i}"))
        .build()
        .map_err(|error| WorkerError::Threads(error.to_string()))?;
    let pool = Arc::new(pool);
    let mut join = Join {
        protocol: PROTOCOL,
        version: VERSION.to_string(),
        numeric_profile: numeric_profile(&pool).to_string(),
        run_id: config.run_id.clone(),
        host: config.host.clone(),
        pid: std::process::id(),
        threads: config.threads as u32,
    };
    tokio::pin!(stop);
    loop {
        let (session, welcome) = tokio::select! {
            joined = find(&endpoint, &config, &join, &pool, tell) => joined?,
            () = &mut stop => return Ok(Ended::Stopped),
        };
        tell(WorkerEvent::Joined { run_id: &welcome.run_id, worker: welcome.worker });
        join.run_id = Some(welcome.run_id);
        match session.serve(&mut stop, tell).await {
            Err(WorkerError::Lost(error)) => {
                tell(WorkerEvent::Lost { error: &error });
                tokio::time::sleep(jittered(RETRY_PAUSE_MIN, random())).await;
            }
            ended => return ended,
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

fn endpoint(address: &str) -> Result<Endpoint, WorkerError> {
    let wrong = || WorkerError::Address(address.to_string());
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    if host.is_empty() || host.contains(['/', '@', ' ']) || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| wrong())?;
    Ok(endpoint
        .connect_timeout(CONNECT_WAIT_MAX)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(4 * STREAM_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT))
}

/// Tries to connect and join until it works, a coordinator refuses, or `connect_wait` is over; pauses double, with jitter.
async fn find(
    endpoint: &Endpoint,
    config: &WorkerConfig,
    join: &Join,
    pool: &Arc<rayon::ThreadPool>,
    tell: &mut dyn FnMut(WorkerEvent<'_>),
) -> Result<(Session, Welcome), WorkerError> {
    let started = Instant::now();
    let mut pause = RETRY_PAUSE_MIN;
    loop {
        let attempt = async {
            let channel = endpoint.connect().await;
            let channel = channel.map_err(|error| WorkerError::Lost(root_cause(&error)))?;
            Session::join(channel, join.clone(), config.share, pool.clone()).await
        };
        let error = match tokio::time::timeout(JOIN_WAIT_MAX, attempt).await {
            Ok(Err(WorkerError::Lost(error))) => error,
            Ok(answer) => return answer,
            Err(_) => format!("no answer within {} s", JOIN_WAIT_MAX.as_secs()),
        };
        let left = config.connect_wait.saturating_sub(started.elapsed());
        if left.is_zero() {
            let address = config.coordinator.clone();
            return Err(WorkerError::NoCoordinator {
                address,
                waited: started.elapsed(),
                last: error,
            });
        }
        let shown = jittered(pause, random()).min(left);
        tell(WorkerEvent::Retrying { error: &error, pause: shown, left });
        tokio::time::sleep(shown).await;
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    }
}

/// Half of a pause to all of it, evenly: workers that lost one coordinator together do not all come back together.
fn jittered(pause: Duration, random: u64) -> Duration {
    let share = 0.5 + 0.5 * (random as f64 / u64::MAX as f64);
    pause.mul_f64(share)
}

/// A number that differs from call to call and from process to process. Nothing but pauses may depend on it.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_half_to_all_of_what_they_may_be() {
        let pause = Duration::from_millis(800);
        assert_eq!(jittered(pause, 0), pause / 2);
        assert_eq!(jittered(pause, u64::MAX), pause);
        assert_eq!(jittered(pause, u64::MAX / 2).as_millis(), 600);
        let pauses: Vec<_> = (0..1000).map(|_| jittered(pause, random())).collect();
        assert!(pauses.iter().all(|found| (pause / 2..=pause).contains(found)));
        // All quarters of the range are met.
        for quarter in 0..4 {
            let from = pause / 2 + pause / 8 * quarter;
            assert!(pauses.iter().any(|found| (from..from + pause / 8).contains(found)));
        }
    }
}
