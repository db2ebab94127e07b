//! The page of a run that goes on: who may see it, and its life.

use std::net::SocketAddr;
use std::path::PathBuf;

use lockstep_net::{Acceptor, Access, Identity, Secret};
use lockstep_status::address::PageAddress;
use lockstep_status::page::{Guard, Page};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Watch;
use crate::error::{Error, Result};

/// A page that is being served.
#[derive(Debug)]
pub struct Served {
    address: PageAddress,
    over: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// What whoever looks at a page has to say, where workers say this secret: who may join may look, and not the other way round.
pub fn page_key(secret: &Secret) -> Secret {
    secret.derived("lockstep page 1")
}

impl Served {
    /// Serves a page that is bound. On loopback whoever is on this machine sees it, unencrypted; elsewhere whoever has the key
    /// of the page, encrypted with the coordinator's key or certificate, unless somebody has decided that whoever comes is let in
    /// (`lets_anybody`). `warn` is told why nobody could come.
    ///
    /// # Errors
    /// If the key cannot be used.
    pub(crate) fn start(
        page: Page,
        watch: &Watch,
        access: &Access,
        lets_anybody: bool,
        identity: impl FnOnce() -> Result<Identity>,
        names: Vec<String>,
        warn: impl Fn(String) + Send + 'static,
    ) -> Result<Option<Served>> {
        let Some(status) = watch.subscribe() else { return Ok(None) };
        let listens = page.address();
        let failed = |error: String| Error::Internal(format!("the page: {error}"));
        let (acceptor, guard, key) = match access {
            _ if listens.ip().is_loopback() => (None, Guard::Loopback, None),
            _ if lets_anybody => (None, Guard::Open, None),
            Access::Certificate(own, _) => {
                let key = page_key(identity()?.secret());
                let acceptor = Acceptor::of_page_certified(own).map_err(failed)?;
                (Some(acceptor), Guard::key(key.clone(), listens.port()), Some(key))
            }
            Access::Open | Access::Token(_) | Access::Tls(_) => {
                let identity = match access {
                    Access::Tls(own) => own.clone(),
                    _ => identity()?,
                };
                let key = page_key(identity.secret());
                let acceptor = Acceptor::of_page(&identity, names).map_err(failed)?;
                (Some(acceptor), Guard::key(key.clone(), listens.port()), Some(key))
            }
        };
        let address = PageAddress::of(listens, acceptor.is_some(), key);
        let (over, is_over) = oneshot::channel();
        let served = page.serve(acceptor, guard, status, warn, async {
            let _ = is_over.await;
        });
        Ok(Some(Served { address, over, task: tokio::spawn(served) }))
    }

    /// Where it is.
    pub(crate) fn address(&self) -> &PageAddress {
        &self.address
    }

    /// Ends it: whoever watches is shown the last there is.
    pub(crate) async fn end(self) {
        let _ = self.over.send(());
        let _ = self.task.await;
    }
}

/// Where a page is if nobody says where.
pub const PAGE_DEFAULT: &str = "127.0.0.1:0";

/// Binds a page. Where nobody has asked for it and the machine has no loopback, there is none, which is told to `warn`.
///
/// # Errors
/// If the address is taken, or none of this machine's.
pub(crate) async fn bind(address: &str, warn: impl FnOnce(String)) -> Result<Option<Page>> {
    let bound = Page::bind(address).await;
    if let Err(error) = &bound
        && address == PAGE_DEFAULT
    {
        warn(format!("no status page: cannot listen on {address} ({error})"));
        return Ok(None);
    }
    bound.map(Some).map_err(|error| Error::File {
        path: PathBuf::from(format!("--http {address}")),
        problem: format!("cannot listen there ({error}): name another address, or --http off"),
    })
}

/// The names and addresses that the page's certificate is for: those that it listens on, and those that workers are told.
pub(crate) fn names(listens: SocketAddr, told: &[String]) -> Vec<String> {
    let name = |address: &String| {
        let (host, _) = address.rsplit_once(':')?;
        Some(host.trim_matches(['[', ']']).to_string())
    };
    let mut names: Vec<String> = told.iter().filter_map(name).collect();
    names.push(listens.ip().to_canonical().to_string());
    names.push("localhost".to_string());
    names.dedup();
    names
}
