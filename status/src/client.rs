//! Asking a page for the status, as a terminal does.

use std::time::Duration;

use data_encoding::HEXLOWER;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use lockstep_net::{Connector, HandshakeError, Watched};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::Status;
use crate::address::{PageAddress, Proof};

/// Longest wait for an answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);

/// Longest status that is read.
const STATUS_BYTES_MAX: usize = 16 << 20;

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answers there.
    #[error("no page answers at {0}: {1}")]
    NoAnswer(String, String),
    /// The key is missing or another.
    #[error("the page at {0} wants its key: name its whole address, with what comes after the #")]
    Locked(String),
    /// What answers is no page of this program.
    #[error("what answers at {0} is no status page of lockstep: {1}")]
    Foreign(String, String),
}

/// Asks once.
///
/// # Errors
/// See [`AskError`].
pub async fn ask(page: &PageAddress, proof: &Proof) -> Result<Status, AskError> {
    let late = || {
        let waited = format!("nothing came for {} s", ANSWER_WAIT_MAX.as_secs());
        AskError::NoAnswer(page.shown(), waited)
    };
    tokio::time::timeout(ANSWER_WAIT_MAX, get(page, proof)).await.unwrap_or_else(|_| Err(late()))
}

async fn get(page: &PageAddress, proof: &Proof) -> Result<Status, AskError> {
    let failed = |error: String| AskError::NoAnswer(page.shown(), error);
    let stream = TcpStream::connect(&page.host).await;
    let stream = stream.map_err(|error| failed(error.to_string()))?;
    let body = match (page.is_encrypted, proof) {
        (false, _) => request(page, stream).await?,
        (true, Proof::None) => {
            let why = "its certificate is this run's own: ask on the coordinator's machine, by the run folder";
            return Err(failed(why.to_string()));
        }
        (true, Proof::Pin(pin)) => {
            let connector = Connector::to_page(*pin).map_err(failed)?;
            let stream = connector.connect(Watched::new(stream), "").await;
            let explained = |error| match error {
                HandshakeError::WrongKey => failed("it has another key than the run".to_string()),
                other => failed(format!("it is not encrypted as it should be ({other:?})")),
            };
            request(page, stream.map_err(explained)?).await?
        }
    };
    let foreign = |error: serde_json::Error| AskError::Foreign(page.shown(), error.to_string());
    serde_json::from_slice(&body).map_err(foreign)
}

async fn request<S>(page: &PageAddress, stream: S) -> Result<Bytes, AskError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| AskError::NoAnswer(page.shown(), error.to_string());
    let foreign = |error: String| AskError::Foreign(page.shown(), error);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let mut request = Request::get("/status.json").header(HOST, &page.host);
    if let Some(key) = &page.key {
        let key = format!("Bearer {}", HEXLOWER.encode(key.expose()));
        request = request.header(AUTHORIZATION, key);
    }
    let request =
        request.body(Empty::<Bytes>::new()).map_err(|error| foreign(error.to_string()))?;
    let asked = async {
        let answer = sender.send_request(request).await.map_err(failed)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(AskError::Locked(page.shown())),
            other => return Err(foreign(format!("it says {other}"))),
        }
        let body = Limited::new(answer.into_body(), STATUS_BYTES_MAX).collect().await;
        Ok(body.map_err(|error| foreign(error.to_string()))?.to_bytes())
    };
    tokio::pin!(asked);
    // The connection is driven here, and ends with the question.
    let connection = async {
        let _ = connection.await;
        std::future::pending::<()>().await
    };
    tokio::select! {
        answer = &mut asked => answer,
        () = connection => unreachable!("it is pending for ever"),
    }
}
