//! A connection of either side, encrypted or not: bytes pass, and what the other side says of a handshake that it refuses is
//! noted for whoever has to explain the end.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::connection::{Watch, Watched};
use crate::handshake::Alert;
use crate::key::Pin as KeyPin;
use crate::pinned;

/// Most bytes that a system keeps for a connection and has not begun to send: whatever is more urgent overtakes all but those.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 128 << 10;

/// A connection, encrypted or not.
pub enum Stream {
    /// On loopback, or where somebody has said that it may be.
    Plain(Watched<TcpStream>),
    /// Encrypted; whoever was dialed is known.
    Tls(Box<TlsStream<Watched<TcpStream>>>),
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stream::Plain(_) => "Plain",
            Stream::Tls(_) => "Tls",
        })
    }
}

impl Stream {
    /// What is noted of it.
    pub fn watch(&self) -> Arc<Watch> {
        self.watched().watch()
    }

    /// Of the raw key that the other side has proved to have, if it was asked for one.
    pub fn pin(&self) -> Option<KeyPin> {
        let Stream::Tls(stream) = self else { return None };
        stream.get_ref().1.peer_certificates()?.first().map(pinned::pin)
    }

    /// Has the system keep little that it has not begun to send, where it can be told so: what waits does so where it is still
    /// ordered by urgency.
    ///
    /// # Errors
    /// If the connection is none any more.
    pub fn keep_unsent_small(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(self.watched().get_ref()).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
        Ok(())
    }

    fn watched(&self) -> &Watched<TcpStream> {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// Hands a call on to whichever stream there is.
macro_rules! on {
    ($self:ident, $call:ident($($argument:expr),*)) => {
        match $self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).$call($($argument),*),
            Stream::Tls(stream) => Pin::new(&mut **stream).$call($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let watch = self.watched().watch();
        let result = on!(self, poll_read(context, buffer));
        if let Poll::Ready(Err(error)) = &result
            && let Some(alert) = Alert::of(error)
        {
            watch.note_alert(alert);
        }
        result
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on!(self, poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on!(self, poll_write_vectored(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, poll_shutdown(context))
    }
}

impl Connected for Stream {
    type ConnectInfo = (TcpConnectInfo, Arc<Watch>);

    fn connect_info(&self) -> Self::ConnectInfo {
        self.watched().connect_info()
    }
}
