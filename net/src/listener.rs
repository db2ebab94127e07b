//! Connections as they come in, made safe and handed on. Never waits for one of them before it takes the next, and holds no
//! more of those who have not joined than [`Strangers`] allows.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use tokio_stream::Stream as Items;

use crate::connection::Watched;
use crate::strangers::Strangers;
use crate::tls::{Acceptor, HandshakeError, Stream};

/// Most handshakes at once.
const HANDSHAKES_MAX: usize = 256;

/// From one trouble that is told of to the next.
const TROUBLE_PAUSE: Duration = Duration::from_secs(10);

/// How long nobody is taken in after the system could not give a connection, for lack of descriptors for instance.
const PAUSE: Duration = Duration::from_millis(200);

/// A listener's connections, each with a peer that keeps the limits.
pub struct Incoming {
    listener: TcpListener,
    acceptor: Option<Acceptor>,
    strangers: Strangers,
    handshakes: JoinSet<Result<Stream, HandshakeError>>,
    pause: Option<Pin<Box<Sleep>>>,
    told: Option<Instant>,
    /// Told why the system could not give a connection.
    troubled: Box<dyn FnMut(&io::Error) + Send>,
}

impl Incoming {
    /// Encrypted ones, if there is an acceptor. `troubled` is told why the system gave none, every ten seconds at
    /// most.
    pub fn new(
        listener: TcpListener,
        acceptor: Option<Acceptor>,
        troubled: impl FnMut(&io::Error) + Send + 'static,
    ) -> Incoming {
        Incoming {
            listener,
            acceptor,
            strangers: Strangers::default(),
            handshakes: JoinSet::new(),
            pause: None,
            told: None,
            troubled: Box::new(troubled),
        }
    }

    /// The next connection that the system gives.
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<Watched<TcpStream>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            match std::task::ready!(self.listener.poll_accept(context)) {
                Ok((stream, peer)) => {
                    // It is of no use where it cannot be set; whoever connected finds it closed.
                    if stream.set_nodelay(true).is_ok() {
                        return Poll::Ready(self.strangers.watch(stream, peer.ip()));
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if self.told.is_none_or(|told| told.elapsed() >= TROUBLE_PAUSE) {
                        self.told = Some(Instant::now());
                        (self.troubled)(&error);
                    }
                    self.pause = Some(Box::pin(sleep(PAUSE)));
                }
            }
        }
    }
}

/// Whether another connection may be had at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

impl Items for Incoming {
    type Item = io::Result<Stream>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match this.handshakes.poll_join_next(context) {
                Poll::Ready(Some(Ok(Ok(stream)))) => return Poll::Ready(Some(Ok(stream))),
                // Somebody who speaks something else, or gave up.
                Poll::Ready(Some(_)) => continue,
                Poll::Ready(None) | Poll::Pending => {}
            }
            if this.handshakes.len() >= HANDSHAKES_MAX {
                return Poll::Pending;
            }
            let stream = std::task::ready!(this.poll_accept(context));
            match this.acceptor.clone() {
                None => return Poll::Ready(Some(Ok(Stream::Plain(stream)))),
                Some(acceptor) => {
                    this.handshakes.spawn(async move { acceptor.accept(stream).await });
                }
            }
        }
    }
}
