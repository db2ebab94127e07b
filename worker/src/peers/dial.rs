//! From another worker's addresses to a connection with it, and with nobody else. Decides nothing.

use std::net::SocketAddr;
use std::time::Duration;

use lockstep_net::{Connector, HandshakeError, Stream, Watched, without_code};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::link;

/// Longest wait for a name to be resolved, and for one connection to open: what drops packets silently is found by that.
const RESOLVE_WAIT_MAX: Duration = Duration::from_secs(2);
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(2);

/// Longest wait for a connection, at whatever address.
const DIAL_WAIT_MAX: Duration = Duration::from_secs(15);

/// Most addresses that one name is tried at.
const RESOLVED_MAX: usize = 4;

/// The first address at which the other worker is wins; if it is at none, why not at the last.
pub(super) async fn dial(addresses: &[String], connector: &Connector) -> Result<Stream, String> {
    let dialed = timeout(DIAL_WAIT_MAX, try_each(addresses, connector)).await;
    dialed.unwrap_or_else(|_| Err(format!("not there within {} s", DIAL_WAIT_MAX.as_secs())))
}

async fn try_each(addresses: &[String], connector: &Connector) -> Result<Stream, String> {
    let mut met = "it has no address".to_string();
    for address in addresses {
        match dial_one(address, connector).await {
            Ok(stream) => return Ok(stream),
            Err(why) => met = format!("{address}: {why}"),
        }
    }
    Err(met)
}

async fn dial_one(address: &str, connector: &Connector) -> Result<Stream, String> {
    let stream = Watched::new(connect(address).await?);
    let connected = connector.connect(stream, "").await;
    let mut stream = connected.map_err(|error| handshake_text(&error))?;
    stream.keep_unsent_small().map_err(|error| without_code(&error))?;
    link::meet(&mut stream).await?;
    Ok(stream)
}

async fn connect(address: &str) -> Result<TcpStream, String> {
    let resolved = timeout(RESOLVE_WAIT_MAX, tokio::net::lookup_host(address)).await;
    let resolved: Vec<SocketAddr> = resolved
        .map_err(|_| format!("not resolved within {} s", RESOLVE_WAIT_MAX.as_secs()))?
        .map_err(|error| without_code(&error))?
        .take(RESOLVED_MAX)
        .collect();
    let mut met = "it has no address".to_string();
    for address in resolved {
        match timeout(CONNECT_WAIT_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let set = stream.set_nodelay(true);
                return set.map(|()| stream).map_err(|error| without_code(&error));
            }
            Ok(Err(error)) => met = without_code(&error),
            Err(_) => met = format!("no answer within {} s", CONNECT_WAIT_MAX.as_secs()),
        }
    }
    Err(met)
}

fn handshake_text(error: &HandshakeError) -> String {
    match error {
        HandshakeError::WrongKey => "somebody with another key is there".to_string(),
        HandshakeError::Certificate(_) | HandshakeError::OtherProof | HandshakeError::NotTls => {
            "what is there is no worker".to_string()
        }
        HandshakeError::Closed => "it closed the connection during the handshake".to_string(),
        HandshakeError::TimedOut(wait) => {
            format!("no handshake within {} s", wait.as_secs())
        }
        HandshakeError::Failed(what) => what.clone(),
    }
}
