//! The status over HTTP: the page, its value as JSON (`status.json`) and as it changes (`events`), and metrics for Prometheus.
//!
//! Answers questions and takes no orders: nothing that comes in reaches the run. Who may ask is decided by [`Guard`]; whoever was not
//! let in yet costs no more than a worker that has not joined ([`Incoming`]).

mod assets;
mod guard;
mod routes;
mod visitor;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use lockstep_net::{Acceptor, Incoming, Stream, Trouble, without_code};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;

use crate::Status;
pub use assets::{
    APP, COMPARISON, COMPARISON_PAGE, EVALUATION, PAGE, PARTS, STYLE, UPLOT, UPLOT_STYLE,
};
pub use guard::Guard;

/// Time for a request's headers, and for what a closed page still gets.
const HEADER_WAIT_MAX: Duration = Duration::from_secs(10);
const FAREWELL_WAIT_MAX: Duration = Duration::from_secs(1);

/// Most bytes of a request's headers.
const HEADER_BYTES_MAX: usize = 16 << 10;

/// A bound page, ready to be served.
#[derive(Debug)]
pub struct Page {
    listener: TcpListener,
    address: SocketAddr,
}

impl Page {
    /// Listens on `address` (`host:port`; port 0 takes a free one).
    ///
    /// # Errors
    /// If the address is taken, or none of this machine's.
    pub async fn bind(address: &str) -> io::Result<Page> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Page { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shows what `status` has, encrypted if there is an acceptor, until `over` is ready. Whoever watches then is shown the
    /// last of it. `warn` is told why nobody could come.
    pub async fn serve(
        self,
        acceptor: Option<Acceptor>,
        guard: Guard,
        status: watch::Receiver<Arc<Status>>,
        warn: impl Fn(String) + Send + 'static,
        over: impl Future<Output = ()>,
    ) {
        let (closing_tx, closing) = watch::channel(false);
        let routes = routes::routes(guard, status, closing);
        let room = visitor::Room::default();
        let mut incoming = Incoming::new(self.listener, acceptor, move |trouble| {
            // Certificates are asked of nobody.
            if let Trouble::System(error) = trouble {
                let error = without_code(error);
                warn(format!(
                    "the status page cannot take connections in ({error}): whoever looks at it goes on"
                ));
            }
        });
        let mut connections = JoinSet::new();
        tokio::pin!(over);
        loop {
            let stream = tokio::select! {
                () = &mut over => break,
                Some(_) = connections.join_next() => continue,
                stream = incoming.next() => stream,
            };
            let Some(Ok(stream)) = stream else { continue };
            let visitor = room.visitor(stream.watch());
            connections.spawn(connection(stream, routes.clone().layer(Extension(visitor))));
        }
        drop(incoming);
        // Streams of events say the last that there is, and end.
        closing_tx.send_replace(true);
        let ended = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FAREWELL_WAIT_MAX, ended).await;
    }
}

async fn connection(stream: Stream, routes: axum::Router) {
    let service = TowerToHyperService::new(routes);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    // A connection that breaks is of no interest to anybody.
    drop(http.serve_connection(TokioIo::new(stream), service).await);
}
