//! The thread that does a worker's jobs which are not small, on a pool that others may share. Decides nothing.

use std::sync::Arc;
use std::time::Instant;

use lockstep_proto::timeline::TARGET;
use lockstep_proto::wire;
use lockstep_reduce::shared::lane::Lane;
use tokio::sync::mpsc;
use tracing::trace_span;

use crate::core::{Finished, Job, Said};
use crate::peers::Post;

pub(crate) struct Pool {
    threads: Arc<rayon::ThreadPool>,
    /// Where results go.
    out: mpsc::Sender<wire::WorkerMessage>,
    finished_tx: mpsc::Sender<Finished>,
    finished: mpsc::Receiver<Finished>,
    is_busy: bool,
}

impl Pool {
    pub(crate) fn new(
        threads: Arc<rayon::ThreadPool>,
        out: mpsc::Sender<wire::WorkerMessage>,
    ) -> Pool {
        let (finished_tx, finished) = mpsc::channel(1);
        Pool { threads, out, finished_tx, finished, is_busy: false }
    }

    /// Has a thread do a job. It waits where results for the coordinator are not taken.
    pub(crate) fn start(&mut self, job: Job, lane: Option<Arc<Lane>>, post: Option<Post>) {
        self.is_busy = true;
        let (out, finished) = (self.out.clone(), self.finished_tx.clone());
        self.threads.spawn(move || {
            let done = job.run(&Instant::now, &mut |said| {
                let _span = trace_span!(target: TARGET, "send").entered();
                let result = match said {
                    Said::Coordinator(result) => result,
                    Said::Peer(worker, message) => {
                        if let Some(post) = &post {
                            post.put(worker, message);
                        }
                        return;
                    }
                };
                let mut message = result.into_wire();
                if let Some(lane) = &lane {
                    lane.name(&mut message);
                }
                // Fails only when the stream is gone; the session finds that out by itself.
                drop(out.blocking_send(message));
            });
            // There is a place for the only one. Nobody wants to know once the membership is over.
            drop(finished.blocking_send(done));
        });
    }

    /// Whether it is at work.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// What became of the job; never, if there is none.
    pub(crate) async fn next(&mut self) -> Finished {
        match self.finished.recv().await {
            Some(finished) => {
                self.is_busy = false;
                finished
            }
            // This pool holds a sender itself.
            None => std::future::pending().await,
        }
    }
}
