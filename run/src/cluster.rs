//! Clusters of a process that is a program of its own. One inside it: the coordinator on a runtime of its own, each worker on a
//! thread of its own, over loopback. One that others join: `open`.

mod open;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use lockstep_coordinator::Stop;
use lockstep_net::{Secret, Target};
use lockstep_proto::panics;
use lockstep_worker::{Ended, PeerOptions, WorkerConfig, WorkerError};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::error::{Error, Result};
pub use open::{OpenCluster, work};

/// How long a worker looks for a coordinator that is in its own process.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

type Worker = JoinHandle<std::result::Result<Ended, WorkerError>>;

/// Starts the workers, once it is known where they find the coordinator.
pub(crate) type Start = Box<dyn FnOnce(SocketAddr)>;

/// Ready when a worker has failed: the run cannot go on without it, and ends at once.
pub(crate) type Failed = Pin<Box<dyn Future<Output = Stop> + Send>>;

/// Leads a run with workers of this process, which are let in by a token that only they know. What `lead` does ends when the run has ended; workers that failed are told
/// before what it says.
pub fn run<T, F>(
    workers: usize,
    threads: usize,
    lead: impl FnOnce(Secret, Start, Failed) -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let runtime = coordinator_runtime()?;
    // One message at most from each worker: that it failed.
    let (failed_tx, mut failed) = mpsc::channel(workers.max(1));
    let (started_tx, started) = sync_channel::<Worker>(workers.max(1));
    // Nobody else on this machine has any business here.
    let token = Secret::random().map_err(|error| Error::Internal(error.to_string()))?;
    let told = token.clone();
    let start = Box::new(move |address: SocketAddr| {
        for _ in 0..workers {
            let target = Target::loopback(address.to_string(), Some(told.clone()));
            // There is room for every worker.
            let _ = started_tx.try_send(start(target, threads, failed_tx.clone()));
        }
    });
    let failed = Box::pin(async move {
        if failed.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        Stop::Now
    });
    let result = blocked_on(&runtime, lead(token, start, failed));
    drop(runtime);
    let ends: Vec<_> = started.into_iter().filter_map(failure).collect();
    match result {
        Err(stopped @ Error::Stopped(_)) => {
            // The one that failed first ended the run; the others' failures follow from that.
            let cause = ends.into_iter().min_by_key(|&(follows, _)| follows);
            Err(cause.map_or(stopped, |(_, error)| error))
        }
        result => result,
    }
}

/// What a coordinator of this process runs on.
fn coordinator_runtime() -> Result<Runtime> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.map_err(|error| Error::Internal(format!("cannot start threads: {error}")))
}

/// What the work ends with; a panic is its error. Whatever happens here, it is the caller's process.
fn blocked_on<T>(runtime: &Runtime, work: impl Future<Output = Result<T>>) -> Result<T> {
    panics::guard(|| runtime.block_on(work)).unwrap_or_else(|said| Err(Error::Internal(said)))
}

/// How to be a worker in this process.
fn worker_config(coordinator: Target, threads: usize, connect_wait: Duration) -> WorkerConfig {
    WorkerConfig {
        coordinator: Arc::new(coordinator),
        threads: threads.max(1),
        run_id: None,
        connect_wait,
        host: crate::host_name(),
        share: true,
        peers: PeerOptions::default(),
    }
}

/// Why a worker failed, if it did, and whether that may only follow from the run's end.
fn failure(worker: Worker) -> Option<(bool, Error)> {
    match worker.join() {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => {
            let follows =
                matches!(error, WorkerError::RunFailed(_) | WorkerError::NoCoordinator { .. });
            Some((follows, error.into()))
        }
        Err(panic) => Some((false, Error::Internal(panics::text(&*panic)))),
    }
}

/// Stops the run when a worker's thread ends in any way but well, a panic included.
struct Alarm {
    failed: mpsc::Sender<()>,
    armed: bool,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if self.armed {
            // Full only if another worker has failed before, and then the run is stopping.
            let _ = self.failed.try_send(());
        }
    }
}

fn start(target: Target, threads: usize, failed: mpsc::Sender<()>) -> Worker {
    std::thread::spawn(move || {
        let config = worker_config(target, threads, CONNECT_WAIT);
        let mut alarm = Alarm { failed, armed: true };
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| WorkerError::Threads(error.to_string()))?;
        let never = std::future::pending();
        let ended = runtime.block_on(lockstep_worker::run(config, never, &mut |_| {}))?;
        alarm.armed = false;
        Ok(ended)
    })
}
