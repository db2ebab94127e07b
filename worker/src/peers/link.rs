//! One connection to another worker: messages with their lengths before them, each way at the link's own speed. Where there is
//! nothing to say an empty frame is sent now and then, so that silence means that the other side is gone. Decides nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use lockstep_net::{Stream, Watch, without_code};
use lockstep_proto::frame::{Limits, PeerMessage, code_peer_gradients};
use lockstep_proto::ids::WorkerId;
use lockstep_proto::{MESSAGE_BYTES_MAX, wire};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use super::links::Link;
use super::outbox::Outbox;
use crate::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};

/// Bytes before a message that say its length.
const LENGTH_BYTES: usize = 4;

/// Longest time in which nothing comes of somebody who is there.
const SILENCE_MAX: Duration = KEEPALIVE_INTERVAL.saturating_add(KEEPALIVE_TIMEOUT);

/// Longest wait for the other side's first words.
const MEETING_WAIT_MAX: Duration = Duration::from_secs(5);

/// Something that a member said.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message that was checked.
    Message(PeerMessage),
    /// What cannot be said.
    Broken(String),
}

/// What becomes known of a connection.
pub(super) enum News {
    /// The other side said its first words.
    Met {
        /// On a connection that this side has made.
        is_dialed: bool,
    },
    /// A member said something.
    Said(WorkerId, Heard),
}

/// Where what is heard on a connection with a member goes.
pub(super) struct Ear {
    pub(super) link: Link,
    pub(super) worker: WorkerId,
    pub(super) news: mpsc::Sender<(Link, News)>,
}

impl Ear {
    async fn hear(&self, heard: Heard) {
        // Fails only when the membership is over.
        let _ = self.news.send((self.link, News::Said(self.worker, heard))).await;
    }
}

/// Whether what is sent is coded; shared by all links of a worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Codes(Arc<AtomicBool>);

impl Codes {
    pub(super) fn set(&self, is_on: bool) {
        self.0.store(is_on, Ordering::Relaxed);
    }

    fn are_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Says nothing, so that the other side knows that it was let in.
pub(super) async fn greet(stream: &mut Stream) -> Result<(), String> {
    let greeting = async {
        stream.write_all(&[0; LENGTH_BYTES]).await?;
        stream.flush().await
    };
    greeting.await.map_err(|error| broke(&error))
}

/// Waits for the other side's first words, which are none.
pub(super) async fn meet(stream: &mut Stream) -> Result<(), String> {
    let mut length = [1; LENGTH_BYTES];
    match timeout(MEETING_WAIT_MAX, stream.read_exact(&mut length)).await {
        Ok(Ok(_)) if length == [0; LENGTH_BYTES] => Ok(()),
        Ok(Ok(_)) => Err("it does not begin as a worker does".to_string()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err("it closed the connection before anything was said".to_string())
        }
        Ok(Err(error)) => Err(broke(&error)),
        Err(_) => Err(format!("it says nothing for {} s", MEETING_WAIT_MAX.as_secs())),
    }
}

/// Sends what is in the outbox and hands on what comes, until the connection ends; why it did.
pub(super) async fn serve(
    stream: Stream,
    outbox: &Outbox,
    codes: &Codes,
    limits: &Limits,
    ear: &Ear,
) -> String {
    let watch = stream.watch();
    let (reading, writing) = tokio::io::split(stream);
    let received = receive(reading, &watch, limits, ear);
    tokio::select! {
        why = received => why,
        error = send(writing, outbox, codes, limits) => broke(&error),
    }
}

async fn receive(
    reading: impl AsyncRead + Unpin,
    watch: &Watch,
    limits: &Limits,
    ear: &Ear,
) -> String {
    let codec = LengthDelimitedCodec::builder().max_frame_length(MESSAGE_BYTES_MAX).new_codec();
    let mut frames = FramedRead::new(reading, codec);
    loop {
        let silent_at = SILENCE_MAX.saturating_sub(watch.silence());
        let frame = match timeout(silent_at, frames.next()).await {
            Err(_) if watch.silence() < SILENCE_MAX => continue,
            Err(_) => return format!("it says nothing for {:.1} s", SILENCE_MAX.as_secs_f64()),
            Ok(None) => return "it closed the connection".to_string(),
            Ok(Some(Err(error))) if error.kind() == io::ErrorKind::InvalidData => {
                let limit = MESSAGE_BYTES_MAX;
                ear.hear(Heard::Broken(format!("a message of more than {limit} bytes"))).await;
                return std::future::pending().await;
            }
            Ok(Some(Err(error))) => return broke(&error),
            Ok(Some(Ok(frame))) => frame.freeze(),
        };
        if frame.is_empty() {
            continue;
        }
        match checked(frame, limits) {
            Ok(message) => ear.hear(Heard::Message(message)).await,
            Err(what) => {
                ear.hear(Heard::Broken(what)).await;
                // Whoever decides about it closes the connection.
                return std::future::pending().await;
            }
        }
    }
}

fn checked(frame: Bytes, limits: &Limits) -> Result<PeerMessage, String> {
    let message = wire::PeerMessage::decode(frame).map_err(|error| error.to_string())?;
    limits.from_peer(message).map_err(|error| error.to_string())
}

/// Ends with an error alone.
async fn send(
    mut writing: impl AsyncWrite + Unpin,
    outbox: &Outbox,
    codes: &Codes,
    limits: &Limits,
) -> io::Error {
    let sent: io::Result<std::convert::Infallible> = async {
        writing.write_all(&[0; LENGTH_BYTES]).await?;
        let mut frame = BytesMut::new();
        loop {
            let next = match outbox.try_next() {
                Some(next) => Some(next),
                // What was written goes out before anything is waited for.
                None => {
                    writing.flush().await?;
                    timeout(KEEPALIVE_INTERVAL, outbox.next()).await.ok()
                }
            };
            frame.clear();
            match next {
                None => frame.put_u32(0),
                Some(message) => {
                    let mut message = message.into_wire();
                    if codes.are_on() {
                        code_peer_gradients(&mut message, limits.precision);
                    }
                    // A message is at most a chunk with what goes around it.
                    frame.put_u32(message.encoded_len() as u32);
                    message.encode(&mut frame).map_err(io::Error::other)?;
                }
            }
            writing.write_all(&frame).await?;
        }
    }
    .await;
    match sent {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

/// How a connection broke, in words.
fn broke(error: &io::Error) -> String {
    without_code(error)
}
