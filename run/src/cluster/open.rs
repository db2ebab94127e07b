//! A cluster that workers of other machines join: a socket that is open for all its runs, and an identity by which it is known.
//! Everything is encrypted, and both sides are known, as with the program's own coordinator; nothing of it is in a file.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use lockstep_coordinator::RunError;
use lockstep_net::{Identity, JoinLine, Target};
use tokio::runtime::Builder;
use zeroize::Zeroizing;

use super::{blocked_on, coordinator_runtime, worker_config};
use crate::advertised::advertised_addresses;
use crate::error::{Error, Result};
use crate::train::{Admission, Listen};
use lockstep_worker::{Ended, WorkerError};

/// Where workers come to, and what they join with.
#[derive(Clone)]
pub struct OpenCluster {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    identity: Identity,
    line: Zeroizing<String>,
}

impl OpenCluster {
    /// Listens at `host:port` (port 0 takes a free one) with a new identity. Workers are told to come to the `given` addresses, or
    /// else to the one that is listened on; of all addresses, to those of this machine that others may reach.
    ///
    /// # Errors
    /// If the address cannot be used.
    pub fn listen(address: &str, given: &[String]) -> Result<OpenCluster> {
        let failed = |source| RunError::Listen { address: address.to_string(), source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let identity = Identity::generate().map_err(|error| Error::Internal(error.to_string()))?;
        let (pin, secret) = (identity.pin(), identity.secret().clone());
        let line =
            JoinLine { addresses: advertised_addresses(bound, given), pin, secret }.to_line();
        Ok(OpenCluster { listener: Arc::new(listener), address: bound, identity, line })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What workers join with: whoever has it can join, and read the training table.
    pub fn join_line(&self) -> &str {
        &self.line
    }

    /// Leads a run with the workers that come.
    ///
    /// # Errors
    /// Those of `lead`.
    pub fn run<T, F>(&self, lead: impl FnOnce(Listen, Admission) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let listen = Listen::On(self.listener.clone());
        let admission = Admission::ByIdentity(self.identity.clone());
        blocked_on(&coordinator_runtime()?, lead(listen, admission))
    }
}

/// Works for the coordinator of a join line until its run ends, looking for it so long at first and after a lost connection.
///
/// # Errors
/// If the line is none, nobody is there, or the coordinator refuses or expels this worker, or its run fails.
pub fn work(line: &str, threads: usize, wait: Duration) -> Result<()> {
    let line = JoinLine::parse(line);
    let line = line.map_err(|error| Error::Arguments(format!("the join line: {error}")))?;
    let config = worker_config(Target::from(line), threads, wait);
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| WorkerError::Threads(error.to_string()))?;
    let ended = blocked_on(&runtime, async {
        Ok(lockstep_worker::run(config, std::future::pending(), &mut |_| {}).await?)
    })?;
    match ended {
        Ended::Finished | Ended::SaidGoodbye | Ended::Stopped => Ok(()),
    }
}
