//! A cluster inside this process: the coordinator on a runtime of its own, each worker on a thread of its own, over
//! loopback.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use lockstep_worker::{Ended, WorkerConfig, WorkerError};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use super::Fit;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::report::{LogFormat, Reporter};
use crate::train::{self, Lead, Trained};

/// How long a worker looks for a coordinator that is in its own process.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

type Worker = JoinHandle<std::result::Result<Ended, WorkerError>>;

pub(super) fn train(plan: Arc<Plan>, fit: &Fit) -> Result<Trained> {
    let reporter =
        if fit.verbose { Reporter::new(LogFormat::Text, false) } else { Reporter::silent() };
    let lead = Lead {
        listen: "127.0.0.1:0".to_string(),
        out: None,
        resume: false,
        workers_start: fit.workers.max(1),
        checkpoint_seconds: None,
        threads: fit.threads.max(1),
    };
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Error::Internal(format!("cannot start threads: {error}")))?;
    // One message at most from each worker: that it failed, and the run cannot go on without it.
    let (failed_tx, mut failed) = mpsc::channel(fit.workers.max(1));
    let mut workers: Vec<Worker> = Vec::new();
    let start_workers = |address: SocketAddr| {
        workers.extend(
            (0..lead.workers_start).map(|_| start(address, fit.threads, failed_tx.clone())),
        );
    };
    let stop = async move {
        if failed.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    };
    let reporter = Arc::new(Mutex::new(reporter));
    let trained = runtime.block_on(train::lead(plan, lead.clone(), reporter, stop, start_workers));
    drop(runtime);
    for worker in workers {
        match worker.join() {
            Ok(Err(error)) if matches!(trained, Err(Error::Stopped(_))) => return Err(error.into()),
            Ok(_) => {}
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    trained
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

fn start(address: SocketAddr, threads: usize, failed: mpsc::Sender<()>) -> Worker {
    std::thread::spawn(move || {
        let config = WorkerConfig {
            coordinator: address.to_string(),
            threads: threads.max(1),
            run_id: None,
            connect_wait: CONNECT_WAIT,
            host: "this process".to_string(),
        };
        let mut alarm = Alarm { failed, armed: true };
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| WorkerError::Threads(error.to_string()))?;
        let never = std::future::pending();
        let ended = runtime.block_on(lockstep_worker::run(config, never, &mut |_| {}))?;
        alarm.armed = false;
        Ok(ended)
    })
}
