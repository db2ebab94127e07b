//! From an address to a connection that is watched. Knows nothing of joining.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lockstep_proto::connection::{Watch, Watched};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::codegen::{Service, http::Uri};
use tonic::transport::{Channel, Endpoint};

use crate::loss::{Loss, without_code};
use crate::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, WorkerError};

/// Longest wait for a host's name to be resolved, and for one connection to open.
const RESOLVE_WAIT_MAX: Duration = Duration::from_secs(5);
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Most addresses of one host that are tried in turn.
const ADDRESSES_MAX: usize = 4;

/// Bytes in flight to this worker before the coordinator has to wait.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;

/// Where a coordinator is looked for.
pub(crate) struct Dialer {
    address: String,
    endpoint: Endpoint,
}

impl Dialer {
    /// For a `host:port`.
    pub(crate) fn new(address: &str) -> Result<Dialer, WorkerError> {
        let wrong = || WorkerError::Address(address.to_string());
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        if host.is_empty() || host.contains(['/', '@', ' ']) || port.parse::<u16>().is_err() {
            return Err(wrong());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| wrong())?;
        let endpoint = endpoint
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(4 * STREAM_WINDOW_BYTES)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        Ok(Dialer { address: address.to_string(), endpoint })
    }

    /// A channel of one connection: when that breaks, so does the channel.
    pub(crate) async fn dial(&self) -> Result<(Channel, Arc<Watch>), Loss> {
        let stream = Watched::new(self.connect().await?);
        let watch = stream.watch();
        let channel = self.endpoint.connect_with_connector(Once(Some(stream))).await;
        match channel {
            Ok(channel) => Ok((channel, watch)),
            Err(error) => Err(Loss::Broken(root_cause(&error)).explained(&watch)),
        }
    }

    async fn connect(&self) -> Result<TcpStream, Loss> {
        let resolving = timeout(RESOLVE_WAIT_MAX, tokio::net::lookup_host(&self.address)).await;
        let addresses: Vec<SocketAddr> = match resolving {
            Ok(Ok(addresses)) => addresses.take(ADDRESSES_MAX).collect(),
            Ok(Err(error)) => return Err(Loss::Unresolved(without_code(&error))),
            Err(_) => {
                let why = format!("no answer within {} s", RESOLVE_WAIT_MAX.as_secs());
                return Err(Loss::Unresolved(why));
            }
        };
        let mut loss = Loss::Unresolved("it has no address".to_string());
        for address in addresses {
            match timeout(CONNECT_WAIT_MAX, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).map_err(|e| Loss::Broken(without_code(&e)))?;
                    return Ok(stream);
                }
                Ok(Err(error)) => loss = Loss::of_connecting(&error, CONNECT_WAIT_MAX),
                Err(_) => loss = Loss::NoAnswer(CONNECT_WAIT_MAX),
            }
        }
        Err(loss)
    }
}

/// Gives a connection away, once.
struct Once(Option<Watched<TcpStream>>);

impl Service<Uri> for Once {
    type Response = TokioIo<Watched<TcpStream>>;
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
