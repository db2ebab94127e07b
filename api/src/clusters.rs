//! Clusters: where a fit is computed. The model is the same, bit for bit, wherever that is.
//!
//! Unless it is told more, a fit trains on one worker inside this process; [`Fit::workers`](crate::training::Fit::workers) and
//! [`Fit::threads`](crate::training::Fit::threads) make it more.
//!
//! On several machines, one is the coordinator: it has the tables and calls `fit`. It listens, and tells the others a line with which
//! they join; these call [`Worker::run`], and need nothing else. Everything between them is encrypted (TLS 1.3); the line has the
//! digest of the coordinator's key, by which workers know it, and a secret, by which it knows them: whoever has it can join, and read the
//! training table. The program's own workers (`lockstep worker LINE`) may join as well, and a `Worker` may join the program's
//! coordinator.
//!
//! ```no_run
//! use lockstep::prelude::*;
//!
//! // On the machine with the table.
//! let cluster = Cluster::listen("0.0.0.0:7070")?.workers_start(2);
//! println!("{}", cluster.join_line());
//! let fit = Fit::new().epochs(20).cluster(&cluster);
//! // ... model.fit(x.view(), y.view(), &fit)?
//!
//! // On each of the others.
//! # let line = "";
//! Worker::new(line).threads(4).run()?;
//! # Ok::<(), lockstep::Error>(())
//! ```
//!
//! Workers may come and go while it trains. A worker works for one fit: for the next, which may be on the same cluster with the same
//! line, it is run again.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use lockstep_run::cluster::{self, OpenCluster};

use crate::error::{Error, Result};

/// How long a worker looks for its coordinator unless it is told.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(60);

/// A coordinator that workers of other machines join.
#[derive(Clone)]
pub struct Cluster {
    open: OpenCluster,
    workers_min: usize,
    workers_start: usize,
}

impl fmt::Debug for Cluster {
    /// Without the join line, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cluster { workers_min, workers_start, .. } = self;
        let address = self.address();
        f.debug_struct("Cluster")
            .field("address", &address)
            .field("workers_min", workers_min)
            .field("workers_start", workers_start)
            .finish()
    }
}

impl Cluster {
    /// Listens at `HOST:PORT`; port 0 takes a free one. `0.0.0.0` is every address of this machine; the join line then has those that
    /// others may reach.
    ///
    /// # Errors
    /// If the address is taken, or none of this machine's.
    pub fn listen(address: &str) -> Result<Cluster> {
        Cluster::listen_as(address, &[])
    }

    /// The same, where workers reach this machine at other addresses, such as behind a port that is forwarded; a port 0 in them is the
    /// one that is listened on.
    ///
    /// # Errors
    /// As [`Cluster::listen`].
    pub fn listen_as(address: &str, advertised: &[&str]) -> Result<Cluster> {
        let advertised: Vec<String> = advertised.iter().map(|text| text.to_string()).collect();
        let open = OpenCluster::listen(address, &advertised)?;
        Ok(Cluster { open, workers_min: 1, workers_start: 1 })
    }

    /// What workers join with. Whoever has it can join, and read the training table.
    pub fn join_line(&self) -> &str {
        self.open.join_line()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.open.address()
    }

    /// A fit waits while it has fewer workers; 1 unless it is told.
    pub fn workers_min(mut self, workers: usize) -> Cluster {
        self.workers_min = workers;
        self
    }

    /// The first step of a fit waits for this many; 1 unless it is told.
    pub fn workers_start(mut self, workers: usize) -> Cluster {
        self.workers_start = workers;
        self
    }

    /// Workers that a fit waits for, at any time and at its start.
    ///
    /// # Errors
    /// If it would wait for none.
    pub(crate) fn workers(&self) -> Result<(usize, usize)> {
        match (self.workers_min, self.workers_start) {
            (0, _) => Err(Error::arguments("workers_min is 0, wanted at least 1")),
            (_, 0) => Err(Error::arguments("workers_start is 0, wanted at least 1")),
            (min, start) => Ok((min, start)),
        }
    }

    pub(crate) fn open(&self) -> &OpenCluster {
        &self.open
    }
}

/// A worker for a coordinator on this machine or another.
#[derive(Clone)]
pub struct Worker {
    join_line: String,
    threads: usize,
    patience: Duration,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Worker { threads, patience, .. } = self;
        f.debug_struct("Worker").field("threads", threads).field("patience", patience).finish()
    }
}

impl Worker {
    /// For the coordinator that told this line.
    pub fn new(join_line: impl Into<String>) -> Worker {
        Worker { join_line: join_line.into(), threads: 1, patience: PATIENCE_DEFAULT }
    }

    /// Compute threads; 1 unless it is told.
    pub fn threads(mut self, threads: usize) -> Worker {
        self.threads = threads;
        self
    }

    /// How long it looks for the coordinator, at first and after a lost connection; a minute unless it is told.
    pub fn patience(mut self, patience: Duration) -> Worker {
        self.patience = patience;
        self
    }

    /// Works until the fit is over.
    ///
    /// # Errors
    /// If the line is damaged, the coordinator is not there, refuses or expels this worker, or its fit fails.
    pub fn run(&self) -> Result<()> {
        Ok(cluster::work(&self.join_line, self.threads, self.patience)?)
    }
}
