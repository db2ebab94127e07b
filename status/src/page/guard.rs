//! Who may see a status. On loopback whoever is on this machine, as long as the browser was not led there by another site's
//! name; elsewhere whoever says the page's key, in a header or in the cookie that a login sets.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE, HOST};
use data_encoding::HEXLOWER;
use lockstep_net::Secret;

/// See the file's text.
#[derive(Clone, Debug)]
pub enum Guard {
    /// Whoever is on this machine.
    Loopback,
    /// Whoever reaches it: somebody has decided so.
    Open,
    /// Whoever says this.
    Key(Arc<Key>),
}

/// The key of a page that others than this machine reach.
#[derive(Debug)]
pub struct Key {
    secret: Secret,
    cookie: String,
}

impl Guard {
    /// Of a page on this port that has a key.
    pub fn key(secret: Secret, port: u16) -> Guard {
        // Cookies are not told apart by ports.
        Guard::Key(Arc::new(Key { secret, cookie: format!("lockstep-{port}") }))
    }

    /// Whether a request asks for a name that the page may have.
    pub(super) fn knows_host(&self, headers: &HeaderMap) -> bool {
        if !matches!(self, Guard::Loopback) {
            return true;
        }
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
    }

    /// Whether a request may see the status.
    pub(super) fn lets_in(&self, headers: &HeaderMap) -> bool {
        let Guard::Key(key) = self else { return true };
        let of = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let bearer = of(AUTHORIZATION).filter_map(|value| value.strip_prefix("Bearer "));
        let cookies = of(COOKIE).flat_map(|value| value.split(';'));
        let cookie = cookies.filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == key.cookie).then_some(value)
        });
        bearer.chain(cookie).any(|said| key.is(said))
    }

    /// The cookie of whoever says the key, as a header's value.
    pub(super) fn login(&self, said: &str) -> Option<String> {
        let Guard::Key(key) = self else { return None };
        let secret = HEXLOWER.encode(key.secret.expose());
        let cookie = &key.cookie;
        key.is(said.trim())
            .then(|| format!("{cookie}={secret}; Path=/; HttpOnly; Secure; SameSite=Strict"))
    }
}

impl Key {
    fn is(&self, said: &str) -> bool {
        HEXLOWER.decode(said.as_bytes()).is_ok_and(|bytes| self.secret.is(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &str)| {
            (axum::http::HeaderName::from_static(name), value.parse().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_key_is_said_in_a_header_or_a_cookie() {
        let secret = Secret::random().unwrap();
        let key = HEXLOWER.encode(secret.expose());
        let guard = Guard::key(secret, 8080);
        for (name, value, wanted) in [
            ("authorization", format!("Bearer {key}"), true),
            ("cookie", format!("other=1; lockstep-8080={key}"), true),
            ("cookie", format!("lockstep-8081={key}"), false),
            ("authorization", key.clone(), false),
            ("authorization", format!("Bearer {}", &key[1..]), false),
            ("authorization", "Bearer ".to_string(), false),
            ("cookie", "lockstep-8080=; lockstep-8080".to_string(), false),
        ] {
            assert_eq!(guard.lets_in(&headers(&[(name, &value)])), wanted, "{name}: {value}");
        }
        assert!(!guard.lets_in(&HeaderMap::new()));
        assert!(guard.login("00").is_none() && Guard::Open.login(&key).is_none());
        let cookie = guard.login(&format!("{key}\n")).unwrap();
        let (pair, rest) = cookie.split_once(';').unwrap();
        assert!(guard.lets_in(&headers(&[("cookie", pair)])), "{cookie}");
        assert!(rest.contains("HttpOnly; Secure; SameSite=Strict"), "{cookie}");
    }

    /// Else a page elsewhere could have its own name lead to this machine, and read what is there.
    #[test]
    fn on_loopback_only_addresses_are_known() {
        for (host, wanted) in [
            ("127.0.0.1:8080", true),
            ("localhost:8080", true),
            ("LOCALHOST", true),
            ("[::1]:8080", true),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(Guard::Loopback.knows_host(&headers(&[("host", host)])), wanted, "{host}");
        }
        assert!(!Guard::Loopback.knows_host(&HeaderMap::new()));
        assert!(Guard::Open.knows_host(&headers(&[("host", "node1:80")])));
    }
}
