//! The threads that do a run's jobs. They round as they should, or there are none. Decides nothing.

use lockstep_proto::arithmetic::deviation;
use tokio::sync::mpsc;

use crate::core::{Finished, Job, jobs_max};
use crate::error::RunError;

#[derive(Debug)]
pub(crate) struct Pool {
    threads: rayon::ThreadPool,
    finished_tx: mpsc::Sender<Finished>,
    finished: mpsc::Receiver<Finished>,
    in_flight: usize,
}

impl Pool {
    /// # Errors
    /// If the system gives no threads, or rounds otherwise in them.
    pub(crate) fn new(threads: usize) -> Result<Pool, RunError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|i| format!("reduce-{i}"))
            .build()
            .map_err(|error| RunError::Threads(error.to_string()))?;
        if let Some(deviation) = pool.broadcast(|_| deviation()).into_iter().flatten().next() {
            return Err(RunError::Arithmetic(deviation));
        }
        let (finished_tx, finished) = mpsc::channel(jobs_max(threads));
        Ok(Pool { threads: pool, finished_tx, finished, in_flight: 0 })
    }

    /// Has a thread do a job.
    pub(crate) fn start(&mut self, job: Job) {
        let finished = self.finished_tx.clone();
        self.in_flight += 1;
        self.threads.spawn(move || {
            // There is a place for all that are ever in flight. Nobody wants to know once the run is over.
            let _ = finished.blocking_send(job.run());
        });
    }

    /// Whether threads are at work.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight > 0
    }

    /// What became of the next job; never, if there is none.
    pub(crate) async fn next(&mut self) -> Finished {
        match self.finished.recv().await {
            Some(finished) => {
                self.in_flight -= 1;
                finished
            }
            // This pool holds a sender itself.
            None => std::future::pending().await,
        }
    }
}
