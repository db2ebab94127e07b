//! Where a worker listens for others, and what they are told of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lockstep_net::Pin;
use lockstep_proto::frame::Listens;
use tokio::net::TcpListener;

use crate::WorkerError;

/// Most addresses that others are told.
pub const ADDRESSES_MAX: usize = 8;

/// How other workers reach this one, where a run has workers talk to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerOptions {
    /// `HOST:PORT` to listen at. `None`: a free port, on loopback if the coordinator is there, on all interfaces otherwise.
    pub listen: Option<String>,
    /// `HOST` or `HOST:PORT` at which others are to look for it, [`ADDRESSES_MAX`] at most. Empty: where the coordinator sees its
    /// connection come from.
    pub advertise: Vec<String>,
}

impl PeerOptions {
    /// Listens; `own` is this side of the connection to the coordinator. `None` if the system does not let it, and no address was
    /// asked for: others are dialed then.
    pub(super) async fn bind(&self, own: IpAddr) -> Result<Option<TcpListener>, WorkerError> {
        match &self.listen {
            Some(address) => match TcpListener::bind(address).await {
                Ok(listener) => Ok(Some(listener)),
                Err(source) => Err(WorkerError::Listen { address: address.clone(), source }),
            },
            None => Ok(TcpListener::bind(default_address(own)).await.ok()),
        }
    }

    /// What the coordinator is told.
    pub(super) fn listens(&self, key: Pin, listener: Option<&TcpListener>) -> Listens {
        let bound = listener.and_then(|listener| listener.local_addr().ok());
        Listens {
            key: key.0,
            port: bound.map_or(0, |bound| bound.port()),
            addresses: bound.map_or_else(Vec::new, |bound| self.addresses(bound)),
        }
    }

    fn addresses(&self, bound: SocketAddr) -> Vec<String> {
        // Whoever listens at one address alone is found there, wherever its connection comes from.
        if self.advertise.is_empty() && !bound.ip().is_unspecified() {
            return vec![bound.to_string()];
        }
        let port = bound.port();
        self.advertise.iter().take(ADDRESSES_MAX).map(|address| with_port(address, port)).collect()
    }
}

fn default_address(own: IpAddr) -> SocketAddr {
    let ip = match own.to_canonical() {
        own if own.is_loopback() => own,
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(ip, 0)
}

/// `HOST:PORT` of either form.
fn with_port(address: &str, port: u16) -> String {
    if let Ok(IpAddr::V6(ip)) = address.parse() {
        return format!("[{ip}]:{port}");
    }
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match has_port {
        true => address.to_string(),
        false => format!("{address}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_were_given_or_the_one_that_is_listened_at() {
        let bound = |text: &str| text.parse::<SocketAddr>().unwrap();
        let told = |advertise: &[&str], at: &str| {
            let advertise = advertise.iter().map(|address| address.to_string()).collect();
            PeerOptions { listen: None, advertise }.addresses(bound(at))
        };
        assert_eq!(told(&[], "0.0.0.0:7"), Vec::<String>::new());
        assert_eq!(told(&[], "[::]:7"), Vec::<String>::new());
        assert_eq!(told(&[], "10.0.0.1:7"), ["10.0.0.1:7"]);
        assert_eq!(
            told(&["a.example", "b.example:9", "fe80::1", "[fe80::1]:9", "[fe80::2]"], "0.0.0.0:7"),
            ["a.example:7", "b.example:9", "[fe80::1]:7", "[fe80::1]:9", "[fe80::2]:7"]
        );
    }

    #[test]
    fn without_a_word_it_listens_as_far_as_the_coordinator_is() {
        let at = |own: &str| default_address(own.parse().unwrap()).to_string();
        assert_eq!(at("127.0.0.1"), "127.0.0.1:0");
        assert_eq!(at("::1"), "[::1]:0");
        assert_eq!(at("10.0.0.3"), "0.0.0.0:0");
        assert_eq!(at("::ffff:10.0.0.3"), "0.0.0.0:0");
        assert_eq!(at("fd00::3"), "[::]:0");
    }

    #[tokio::test]
    async fn what_was_asked_for_and_cannot_be_had_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let options = PeerOptions { listen: Some(address.clone()), advertise: Vec::new() };
        let error = options.bind([127, 0, 0, 1].into()).await.unwrap_err().to_string();
        assert!(error.contains(&address), "{error}");
    }
}
