//! Notes how a connection went, for whoever has to explain its end: the first bytes that came, when the last ones did,
//! and how it broke. Every byte passes unchanged, until a limit is met of a peer that has not joined, is a member no more, or takes
//! nothing of what is said to it. Explains nothing itself.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

use crate::handshake::Alert;

/// How many of the first bytes are kept: enough to tell one protocol from another.
const FIRST_BYTES_MAX: usize = 64;

/// How a connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The other side closed it: its process ended, or did so on purpose.
    Closed,
    /// The other side, or something between, says that there is no such connection.
    Reset,
    /// The system found out that nothing arrives there any more.
    Unreachable,
}

impl Break {
    fn of(error: &Error) -> Break {
        match error.kind() {
            ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                Break::Unreachable
            }
            _ => Break::Reset,
        }
    }
}

/// What was noted of a connection.
#[derive(Debug)]
pub struct Watch {
    began_at: Instant,
    /// When the last bytes came, in nanoseconds after that. Noted at every read, so no lock is taken for it.
    heard_after: AtomicU64,
    /// All that is kept of the first bytes is there.
    has_first: AtomicBool,
    /// Whether what passes is encrypted.
    is_encrypted: AtomicBool,
    // A std mutex: held to copy a few bytes, never across a wait.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    first: Vec<u8>,
    broke: Option<Break>,
    /// Why the other side gave up the handshake after this one had.
    alert: Option<Alert>,
    /// How many memberships the peer has by this connection.
    memberships: usize,
    /// Whether a peer that has not joined has to make room for others.
    is_dismissed: bool,
    /// Of the task that has the connection, where limits are kept.
    task: Option<Waker>,
}

impl Watch {
    fn new() -> Watch {
        Watch {
            began_at: Instant::now(),
            heard_after: AtomicU64::new(0),
            has_first: AtomicBool::new(false),
            is_encrypted: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// The first bytes that came.
    pub fn first(&self) -> Vec<u8> {
        self.lock().first.clone()
    }

    /// For how long nothing has come.
    pub fn silence(&self) -> Duration {
        let heard_after = Duration::from_nanos(self.heard_after.load(Ordering::Relaxed));
        self.began_at.elapsed().saturating_sub(heard_after)
    }

    /// How it broke, if the system knows that it did.
    pub fn broke(&self) -> Option<Break> {
        self.lock().broke
    }

    /// Why the other side would not go on after the handshake, if it said so.
    pub fn alert(&self) -> Option<Alert> {
        self.lock().alert.clone()
    }

    pub(crate) fn note_alert(&self, alert: Alert) {
        self.lock().alert.get_or_insert(alert);
    }

    /// Whether what passes is encrypted, by a handshake that succeeded.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted.load(Ordering::Relaxed)
    }

    pub(crate) fn note_encryption(&self) {
        self.is_encrypted.store(true, Ordering::Relaxed);
    }

    /// The peer has joined: limits on strangers are none of its, until it is [parted](Watch::part) from.
    pub fn know(&self) {
        self.lock().memberships += 1;
    }

    /// What the peer had joined is over for it: unless it has joined otherwise or joins again, it has as long to go as a
    /// stranger has to join.
    pub fn part(&self) {
        let mut state = self.lock();
        state.memberships = state.memberships.saturating_sub(1);
        state.wake();
    }

    /// Ends the connection, unless the peer has joined meanwhile.
    pub(crate) fn dismiss(&self) {
        let mut state = self.lock();
        state.is_dismissed = true;
        state.wake();
    }

    fn hear(&self, bytes: &[u8]) {
        // 2^64 ns are 584 years.
        let heard_after = self.began_at.elapsed().as_nanos() as u64;
        self.heard_after.store(heard_after, Ordering::Relaxed);
        if self.has_first.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.lock();
        let room = FIRST_BYTES_MAX - state.first.len();
        state.first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.has_first.store(state.first.len() == FIRST_BYTES_MAX, Ordering::Relaxed);
    }

    fn note(&self, broke: Break) {
        self.lock().broke.get_or_insert(broke);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

/// A connection that is watched.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
    /// Where somebody else has made it.
    limits: Option<Limits>,
}

/// What is left to the other side.
#[derive(Debug)]
struct Limits {
    /// To join, and to go when that is over; and to take something of what is said.
    wait: Duration,
    /// As long as it is no member.
    time: Option<Pin<Box<Sleep>>>,
    /// Before it has joined.
    bytes: usize,
    place: Option<Place>,
    /// While it takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// What is given up when the peer has joined or gone.
pub(crate) type Place = Box<dyn std::fmt::Debug + Send + Sync>;

impl Limits {
    /// Ready when it has to go.
    fn poll_gone(&mut self, watch: &Watch, context: &mut Context<'_>) -> Poll<()> {
        let is_member = {
            let mut state = watch.lock();
            let is_member = state.memberships > 0;
            if is_member {
                state.is_dismissed = false;
            } else if state.is_dismissed || self.bytes == 0 {
                return Poll::Ready(());
            }
            if state.task.as_ref().is_none_or(|task| !task.will_wake(context.waker())) {
                state.task = Some(context.waker().clone());
            }
            is_member
        };
        if is_member {
            // What it still says when that is over may have been on its way.
            (self.time, self.bytes, self.place) = (None, usize::MAX, None);
            return Poll::Pending;
        }
        let wait = self.wait;
        self.time.get_or_insert_with(|| Box::pin(sleep(wait))).as_mut().poll(context)
    }

    /// Ready when nothing was taken for too long; `takes` says whether something has just been.
    fn poll_stalled(&mut self, takes: bool, context: &mut Context<'_>) -> Poll<()> {
        if takes {
            self.stalled = None;
            return Poll::Pending;
        }
        let wait = self.wait;
        self.stalled.get_or_insert_with(|| Box::pin(sleep(wait))).as_mut().poll(context)
    }
}

impl<S> Watched<S> {
    /// Watches a connection that has just been made.
    pub fn new(stream: S) -> Watched<S> {
        Watched { stream, watch: Arc::new(Watch::new()), limits: None }
    }

    /// The same of one that somebody else has made, who has to join before limits are met.
    pub(crate) fn of_stranger(stream: S, wait: Duration, bytes: usize, place: Place) -> Watched<S> {
        let time = Some(Box::pin(sleep(wait)));
        let limits = Limits { wait, time, bytes, place: Some(place), stalled: None };
        Watched { limits: Some(limits), ..Watched::new(stream) }
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn get_ref(&self) -> &S {
        &self.stream
    }

    /// What is noted of it, now and later.
    pub fn watch(&self) -> Arc<Watch> {
        self.watch.clone()
    }

    /// Whether the other side has to go.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let limits = self.limits.as_mut();
        limits.is_some_and(|limits| limits.poll_gone(&self.watch, context).is_ready())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = &mut *self;
        if this.is_over(context) {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        match &result {
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                let heard = &buffer.filled()[before..];
                self.watch.hear(heard);
                if let Some(limits) = &mut self.limits {
                    limits.bytes = limits.bytes.saturating_sub(heard.len());
                }
            }
            Poll::Ready(Ok(())) if room > 0 => self.watch.note(Break::Closed),
            Poll::Ready(Err(error)) => self.watch.note(Break::of(error)),
            _ => {}
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    /// What a call comes to, if the other side may still be there for it.
    fn poll_within<T>(
        &mut self,
        context: &mut Context<'_>,
        call: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<Result<T>>,
    ) -> Poll<Result<T>> {
        if self.is_over(context) {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        let result = call(Pin::new(&mut self.stream), context);
        if let Poll::Ready(Err(error)) = &result {
            self.watch.note(Break::of(error));
        }
        result
    }

    /// The same of a call that writes: it is not waited for without end.
    fn poll_written(
        &mut self,
        context: &mut Context<'_>,
        call: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<Result<usize>>,
    ) -> Poll<Result<usize>> {
        let result = self.poll_within(context, call);
        if let Some(limits) = &mut self.limits
            && limits.poll_stalled(result.is_ready(), context).is_ready()
        {
            self.watch.note(Break::Unreachable);
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        self.poll_written(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.poll_written(context, |stream, context| stream.poll_write_vectored(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_within(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_within(context, |stream, context| stream.poll_shutdown(context))
    }
}

impl<S: Connected> Connected for Watched<S> {
    type ConnectInfo = (S::ConnectInfo, Arc<Watch>);

    fn connect_info(&self) -> Self::ConnectInfo {
        (self.stream.connect_info(), self.watch())
    }
}
