//! Where a page is, as people and programs are told: `http://127.0.0.1:8080/`, or `https://10.0.0.7:8080/#KEY`.

use std::fmt;
use std::net::SocketAddr;

use data_encoding::HEXLOWER;
use lockstep_net::{Pin, Secret};

/// See the file's text.
#[derive(Clone, Debug)]
pub struct PageAddress {
    /// `HOST:PORT`.
    pub host: String,
    /// Whether it is encrypted.
    pub is_encrypted: bool,
    /// What whoever looks has to say.
    pub key: Option<Secret>,
}

/// An address cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("found {0:?}, wanted HOST:PORT or the address that the coordinator printed")]
pub struct AddressError(String);

impl PageAddress {
    /// Of a page that listens here, for whoever is on this machine.
    pub fn of(address: SocketAddr, is_encrypted: bool, key: Option<Secret>) -> PageAddress {
        let mut shown = address;
        if address.ip().is_unspecified() {
            shown.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        PageAddress { host: shown.to_string(), is_encrypted, key }
    }

    /// What somebody has typed.
    ///
    /// # Errors
    /// If it is no address.
    pub fn parse(text: &str) -> Result<PageAddress, AddressError> {
        let wrong = || AddressError(without_key(text));
        let (address, key) = match text.split_once('#') {
            Some((address, key)) => (address, Some(key)),
            None => (text, None),
        };
        let (is_encrypted, rest) = match address.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(wrong()),
            None => (false, address),
        };
        let host = rest.trim_end_matches('/');
        let has_port = host.rsplit_once(':').is_some_and(|(name, port)| {
            !name.is_empty() && port.parse::<u16>().is_ok() && !name.contains('/')
        });
        let key = match key.filter(|key| !key.is_empty()) {
            None => None,
            Some(key) => {
                let bytes = HEXLOWER.decode(key.as_bytes()).map_err(|_| wrong())?;
                Some(Secret::from_bytes(&bytes).ok_or_else(wrong)?)
            }
        };
        if !has_port || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(wrong());
        }
        Ok(PageAddress { host: host.to_string(), is_encrypted, key })
    }

    /// The same without its key, for logs.
    pub fn shown(&self) -> String {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        format!("{scheme}://{}/", self.host)
    }
}

fn without_key(text: &str) -> String {
    text.split('#').next().unwrap_or_default().to_string()
}

impl fmt::Display for PageAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())?;
        match &self.key {
            Some(key) => write!(f, "#{}", HEXLOWER.encode(key.expose())),
            None => Ok(()),
        }
    }
}

/// How whoever asks knows that it is the right page.
#[derive(Clone, Debug)]
pub enum Proof {
    /// By the key of its certificate.
    Pin(Pin),
    /// Not at all: it is on this machine, or somebody has decided so.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        let secret = Secret::random().unwrap();
        for (address, is_encrypted, key) in
            [("127.0.0.1:80", false, None), ("[::1]:80", true, Some(secret))]
        {
            let address = PageAddress::of(address.parse().unwrap(), is_encrypted, key);
            let again = PageAddress::parse(&address.to_string()).unwrap();
            assert_eq!(again.to_string(), address.to_string());
        }
        assert_eq!(PageAddress::parse("node1:80").unwrap().shown(), "http://node1:80/");
        let anywhere = PageAddress::of("0.0.0.0:80".parse().unwrap(), false, None);
        assert_eq!(anywhere.shown(), "http://127.0.0.1:80/");
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_key() {
        for text in [
            "",
            "node1",
            "ftp://node1:80",
            "a b:80",
            "node1:80/x",
            "node1:99999",
            ":80",
            "node1:80#zz",
            "node1:80#00ff",
        ] {
            let error = PageAddress::parse(text).unwrap_err().to_string();
            assert!(!error.contains("#"), "{error}");
        }
    }
}
