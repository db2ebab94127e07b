//! A run and its server: from a bound address to the final weights.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use lockstep_net::{Access, Incoming, Trouble, without_code};
use lockstep_proto::MESSAGE_BYTES_MAX;
use lockstep_proto::frame::Welcome;
use lockstep_proto::ids::WorkerId;
use lockstep_proto::ticket::Ticket;
use lockstep_proto::wire::cluster_server::ClusterServer;
use lockstep_reduce::shared::weights::versions;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::departure::KEEPALIVE_TIMEOUT;

use crate::core::may_have_homes;
use crate::credentials::Credentials;
use crate::error::RunError;
use crate::inbound::{INBOX_MESSAGES_MAX, panic_text};
use crate::observer::Observer;
use crate::server::{Arrival, Service, ShardSource};
use crate::services::Services;
use crate::shell::{FAREWELL_WAIT_MAX, Shell};
use crate::spec::{Outcome, RunSpec, Stop};

/// How often a peer is asked by HTTP/2 ping whether it is there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(1500);

/// Bytes in flight from one worker before it has to wait: enough for 1 Gbit/s over 100 ms.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;

/// Most calls of one connection at once: a worker has its stream and one for rows.
const STREAMS_MAX: u32 = 16;

/// Most bytes of a call's headers.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// A bound coordinator, ready to run.
pub struct Coordinator {
    listener: TcpListener,
    address: SocketAddr,
}

impl Coordinator {
    /// Listens on `address` (`host:port`; port 0 takes a free one).
    ///
    /// # Errors
    /// [`RunError::Listen`] if the address is taken, or none of this machine's.
    pub async fn bind(address: &str) -> Result<Coordinator, RunError> {
        let failed = |source| RunError::Listen { address: address.to_string(), source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Coordinator { listener, address })
    }

    /// The same on a socket that listens already. Needs a runtime.
    ///
    /// # Errors
    /// [`RunError::Listen`] if it cannot be used.
    pub fn on(listener: std::net::TcpListener) -> Result<Coordinator, RunError> {
        let failed = |source| RunError::Listen { address: "the open socket".to_string(), source };
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Coordinator { listener, address })
    }

    /// Where workers find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs the job to its end, or until `stop` is ready and the run has ended as that says: see [`Stop`].
    ///
    /// # Errors
    /// See [`RunError`]. Workers are told of the end in every case.
    pub async fn run(
        self,
        spec: RunSpec,
        source: Arc<dyn ShardSource>,
        observer: Box<dyn Observer>,
        access: Access,
        stop: impl Future<Output = Stop> + Send + 'static,
    ) -> Result<Outcome, RunError> {
        let acceptor = access.acceptor().map_err(RunError::Server)?;
        let (arrivals_tx, arrivals) = mpsc::channel(INBOX_MESSAGES_MAX);
        let (published, ticket) = versions(&spec.layout, spec.precision);
        let ending = Arc::new(OnceLock::new());
        let shell = Shell::new(&spec, observer, arrivals, published, ending.clone())?;
        let trouble_tx = arrivals_tx.clone();
        let service = Service {
            welcome: welcome(&spec, ticket),
            numeric_profile: spec.numeric_profile,
            secret: access.secret().cloned(),
            credentials: Credentials::default(),
            stranger_told: Mutex::default(),
            source,
            chunks: spec.layout.trained().count(),
            next_worker: AtomicU64::new(1),
            known: Mutex::default(),
            arrivals: arrivals_tx,
            ending,
        };
        let cluster = ClusterServer::new(service)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let services = Services::new(cluster, self.address.ip().is_loopback()).await;
        let services = services.map_err(RunError::Server)?;
        // Nobody waits for room: the next trouble says the same.
        let troubled = move |trouble: Trouble<'_>| {
            let _ = trouble_tx.try_send(Arrival::Trouble(trouble_text(trouble)));
        };
        let incoming = Incoming::new(self.listener, acceptor, troubled);
        let (over_tx, over) = tokio::sync::oneshot::channel::<()>();
        let server = tonic::transport::Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(4 * STREAM_WINDOW_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(Some(STREAMS_MAX))
            .http2_max_pending_accept_reset_streams(Some(STREAMS_MAX as usize))
            .http2_max_header_list_size(Some(HEADER_BYTES_MAX))
            .serve_with_incoming_shutdown(services, incoming, async {
                let _ = over.await;
            });
        // Tasks on the runtime's own threads hand over to each other without waking a thread.
        let mut server = tokio::spawn(server);
        let mut shell = tokio::spawn(shell.run(stop));
        let result = tokio::select! {
            result = &mut shell => result.unwrap_or_else(|error| Err(RunError::Panicked(panic_text(error)))),
            ended = &mut server => {
                shell.abort();
                let reason = match ended {
                    Ok(Err(error)) => error.to_string(),
                    _ => "it ended by itself".to_string(),
                };
                return Err(RunError::Server(reason));
            }
        };
        let _ = over_tx.send(());
        if tokio::time::timeout(FAREWELL_WAIT_MAX, &mut server).await.is_err() {
            server.abort();
        }
        result
    }
}

fn trouble_text(trouble: Trouble<'_>) -> String {
    match trouble {
        Trouble::System(error) => format!(
            "cannot take connections in ({}): whoever is connected works on",
            without_code(error)
        ),
        Trouble::Certificate(ip, problem) => {
            format!("refused a worker ({}): its certificate {problem}", ip.to_canonical())
        }
    }
}

fn welcome(spec: &RunSpec, weights: Option<Ticket>) -> Welcome {
    Welcome {
        run_id: spec.run_id.clone(),
        worker: WorkerId(0),
        network: spec.network.clone(),
        batches: spec.batches,
        shuffle: spec.shuffle,
        seed: spec.seed,
        validation_rows: spec.validation_rows.unwrap_or(0),
        test_rows: spec.test_rows.unwrap_or(0),
        precision: spec.precision,
        clips: spec.clip_norm.is_some(),
        is_weighted: spec.is_weighted,
        has_row_squares: spec.layout.has_row_squares(),
        steps_per_update: spec.steps_per_update,
        chunk_values_max: spec.layout.chunk_values_max() as u32,
        weights,
        peers: may_have_homes(spec.homes, spec.audit_fraction, &spec.layout, spec.precision),
        execution: RandomState::new().build_hasher().finish(),
    }
}
