//! Connections as they come in, made safe and handed on. Never waits for one of them before it takes the next, and holds no
//! more of those who have not joined than [`Strangers`] allows.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use tokio_stream::Stream as Items;

use crate::connection::Watched;
use crate::handshake::{CertificateProblem, HandshakeError};
use crate::strangers::Strangers;
use crate::stream::Stream;
use crate::tls::Acceptor;

/// From one trouble that is told of to the next.
const TROUBLE_PAUSE: Duration = Duration::from_secs(10);

/// How long the system waits for word that what was sent has arrived.
#[cfg(target_os = "linux")]
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(15);

/// How long nobody is taken in after the system could not give a connection, for lack of descriptors for instance.
const PAUSE: Duration = Duration::from_millis(200);

/// Why somebody could not come.
#[derive(Debug)]
pub enum Trouble<'a> {
    /// The system could not give a connection.
    System(&'a io::Error),
    /// Whoever has this address showed a certificate that is not accepted, or none.
    Certificate(IpAddr, &'a CertificateProblem),
}

/// A listener's connections, each with a peer that keeps the limits.
pub struct Incoming {
    listener: TcpListener,
    acceptor: Option<Acceptor>,
    strangers: Strangers,
    /// Of strangers all, who are no more than they may be.
    handshakes: JoinSet<Result<Stream, (IpAddr, HandshakeError)>>,
    pause: Option<Pin<Box<Sleep>>>,
    told: Told,
    /// Told why somebody could not come.
    troubled: Box<dyn FnMut(Trouble<'_>) + Send>,
}

/// When trouble of each kind was last told of: not each of thousands.
#[derive(Default)]
struct Told {
    system: Option<Instant>,
    certificate: Option<Instant>,
}

/// Whether it is time to tell of it again.
fn is_due(told: &mut Option<Instant>) -> bool {
    let is_due = told.is_none_or(|told| told.elapsed() >= TROUBLE_PAUSE);
    if is_due {
        *told = Some(Instant::now());
    }
    is_due
}

impl Incoming {
    /// Encrypted ones, if there is an acceptor. `troubled` is told why somebody could not come, every ten seconds at
    /// most of each kind.
    pub fn new(
        listener: TcpListener,
        acceptor: Option<Acceptor>,
        troubled: impl FnMut(Trouble<'_>) + Send + 'static,
    ) -> Incoming {
        Incoming {
            listener,
            acceptor,
            strangers: Strangers::default(),
            handshakes: JoinSet::new(),
            pause: None,
            told: Told::default(),
            troubled: Box::new(troubled),
        }
    }

    /// The next connection that the system gives.
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<(IpAddr, Watched<TcpStream>)> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            match std::task::ready!(self.listener.poll_accept(context)) {
                Ok((stream, peer)) => {
                    // It is of no use where that cannot be said of it; whoever connected finds it closed.
                    if set_up(&stream).is_ok() {
                        return Poll::Ready((peer.ip(), self.strangers.watch(stream, peer.ip())));
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if is_due(&mut self.told.system) {
                        (self.troubled)(Trouble::System(&error));
                    }
                    self.pause = Some(Box::pin(sleep(PAUSE)));
                }
            }
        }
    }
}

/// Has the system send what there is, and give up a connection on whose other side nobody has taken it for so long.
fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(ANSWER_WAIT_MAX))?;
    Ok(())
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
                Poll::Ready(Some(Ok(Err((ip, HandshakeError::Certificate(problem)))))) => {
                    if is_due(&mut this.told.certificate) {
                        (this.troubled)(Trouble::Certificate(ip, &problem));
                    }
                }
                // Somebody who speaks something else, or gave up.
                Poll::Ready(Some(_)) => continue,
                Poll::Ready(None) | Poll::Pending => {}
            }
            let (ip, stream) = std::task::ready!(this.poll_accept(context));
            match this.acceptor.clone() {
                None => return Poll::Ready(Some(Ok(Stream::Plain(stream)))),
                Some(acceptor) => {
                    let handshake =
                        async move { acceptor.accept(stream).await.map_err(|error| (ip, error)) };
                    this.handshakes.spawn(handshake);
                }
            }
        }
    }
}
