//! From an address to a connection that is watched. Knows nothing of joining.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lockstep_net::{
    Connector, HandshakeError, Stream, Target, Trust, Watch, Watched, without_code,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::codegen::{Service, http::Uri};
use tonic::transport::{Channel, Endpoint};

use crate::lost::Lost;
use crate::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, WorkerError};

/// Longest wait for a host's name to be resolved, and for one connection to open.
const RESOLVE_WAIT_MAX: Duration = Duration::from_secs(5);
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Most addresses of one host that are tried in turn.
const ADDRESSES_MAX: usize = 4;

/// Bytes in flight to this worker before the coordinator has to wait.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;

/// A connection to a coordinator.
pub(crate) struct Dialed {
    pub(crate) channel: Channel,
    pub(crate) watch: Arc<Watch>,
    /// This side's address.
    pub(crate) own: IpAddr,
}

/// Where a coordinator is looked for.
pub(crate) struct Dialer {
    addresses: Vec<String>,
    /// Makes sure who is there; `None` where nothing is encrypted.
    connector: Option<Connector>,
    /// Whether only this machine's own addresses are spoken to.
    is_local: bool,
    /// Whether the coordinator is known by a certificate.
    is_certified: bool,
    endpoint: Endpoint,
}

impl Dialer {
    /// For one coordinator.
    pub(crate) fn new(target: &Target) -> Result<Dialer, WorkerError> {
        target.addresses.iter().try_for_each(|address| check(address))?;
        let connector = target.trust.connector().map_err(WorkerError::Threads)?;
        // Only a name: connections are made here.
        let endpoint = Endpoint::from_static("http://coordinator")
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(4 * STREAM_WINDOW_BYTES)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        let is_local = matches!(target.trust, Trust::Loopback(_));
        let is_certified = matches!(target.trust, Trust::Certified { .. });
        let addresses = target.addresses.clone();
        Ok(Dialer { addresses, connector, is_local, is_certified, endpoint })
    }

    /// A channel of one connection: when that breaks, so does the channel. The first address at which the coordinator is
    /// wins; if it is at none, what was met at each is told.
    pub(crate) async fn dial(&self) -> Result<Dialed, WorkerError> {
        let mut met = Vec::new();
        for address in &self.addresses {
            match self.dial_one(address).await {
                Ok(found) => return Ok(found),
                Err(error) => met.push((address, error)),
            }
        }
        // What may come right by itself is looked for again, whoever else is at another address.
        match met.iter().any(|(_, error)| matches!(error, WorkerError::Lost(_))) {
            true if met.len() > 1 => {
                let met = met.into_iter().map(|(address, error)| match error {
                    WorkerError::Lost(loss) => (address.clone(), loss.to_string()),
                    error => (address.clone(), error.to_string()),
                });
                Err(WorkerError::Lost(Lost::Everywhere(met.collect())))
            }
            _ => Err(met.pop().map_or_else(
                || WorkerError::Lost(Lost::Unresolved("it has no address".to_string())),
                |(_, error)| error,
            )),
        }
    }

    async fn dial_one(&self, address: &str) -> Result<Dialed, WorkerError> {
        let stream = self.connect(address).await?;
        let broken = |error| WorkerError::Lost(Lost::Broken(without_code(&error)));
        let own = stream.local_addr().map_err(broken)?.ip();
        let stream = Watched::new(stream);
        let watch = stream.watch();
        let stream = match &self.connector {
            None => Stream::Plain(stream),
            Some(connector) => {
                connector.connect(stream, host(address)).await.map_err(|error| match error {
                    HandshakeError::WrongKey => WorkerError::WrongKey(address.to_string()),
                    HandshakeError::Certificate(problem) => {
                        WorkerError::Untrusted(address.to_string(), problem)
                    }
                    HandshakeError::OtherProof => WorkerError::OtherProof {
                        address: address.to_string(),
                        is_certified: self.is_certified,
                    },
                    error => WorkerError::Lost(Lost::of_handshake(error, &watch)),
                })?
            }
        };
        match self.endpoint.connect_with_connector(Once(Some(stream))).await {
            Ok(channel) => Ok(Dialed { channel, watch, own }),
            Err(error) => {
                Err(WorkerError::Lost(Lost::Broken(root_cause(&error)).explained(&watch)))
            }
        }
    }

    async fn connect(&self, address: &str) -> Result<TcpStream, WorkerError> {
        let unresolved = |why: String| Err(WorkerError::Lost(Lost::Unresolved(why)));
        let resolving = timeout(RESOLVE_WAIT_MAX, tokio::net::lookup_host(address)).await;
        let resolved: Vec<SocketAddr> = match resolving {
            Ok(Ok(resolved)) => resolved.take(ADDRESSES_MAX).collect(),
            Ok(Err(error)) => return unresolved(without_code(&error)),
            Err(_) => {
                return unresolved(format!("no answer within {} s", RESOLVE_WAIT_MAX.as_secs()));
            }
        };
        if self.is_local && !resolved.iter().all(|address| address.ip().is_loopback()) {
            return Err(WorkerError::NotLoopback(address.to_string()));
        }
        let mut loss = Lost::Unresolved("it has no address".to_string());
        for address in resolved {
            match timeout(CONNECT_WAIT_MAX, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let broken = |error| WorkerError::Lost(Lost::Broken(without_code(&error)));
                    stream.set_nodelay(true).map_err(broken)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => loss = Lost::of_connecting(&error, CONNECT_WAIT_MAX),
                Err(_) => loss = Lost::NoAnswer(CONNECT_WAIT_MAX),
            }
        }
        Err(WorkerError::Lost(loss))
    }
}

/// The host of a `HOST:PORT`, without the brackets and the zone of an IPv6 address.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.split('%').next().unwrap_or(host),
        None => host,
    }
}

fn check(address: &str) -> Result<(), WorkerError> {
    let wrong = || WorkerError::Address(address.to_string());
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    if host.is_empty() || host.contains(['/', '@', ' ']) || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    // What is no part of an address in a URI is none here.
    Endpoint::from_shared(format!("http://{address}")).map(drop).map_err(|_| wrong())
}

/// Gives a connection away, once.
struct Once(Option<Stream>);

impl Service<Uri> for Once {
    type Response = TokioIo<Stream>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
        std::future::ready(self.0.take().map(TokioIo::new).ok_or_else(gone))
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
