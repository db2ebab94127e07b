//! What is asked, and what is answered.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::WatchStream;

use super::assets::FILES;
use super::guard::Guard;
use super::visitor::Visitor;
use crate::{Status, metrics};

/// What the page may do: load what this program serves, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A key with some space around it is all that anybody has to say.
const BODY_BYTES_MAX: usize = 256;

/// Time to say it.
const BODY_WAIT_MAX: Duration = Duration::from_secs(10);

/// So often something is sent to whoever watches, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Clone)]
struct Shown {
    guard: Guard,
    status: watch::Receiver<Arc<Status>>,
    closing: watch::Receiver<bool>,
}

pub(super) fn routes(
    guard: Guard,
    status: watch::Receiver<Arc<Status>>,
    closing: watch::Receiver<bool>,
) -> Router {
    let shown = Shown { guard, status, closing };
    let inside = Router::new()
        .route("/status.json", get(status_json))
        .route("/events", get(events))
        .route("/metrics", get(prometheus))
        .route_layer(middleware::from_fn_with_state(shown.clone(), only_let_in));
    let files = FILES.into_iter().fold(Router::new(), |router, (path, kind, content)| {
        router.route(path, get(([(header::CONTENT_TYPE, kind)], content)))
    });
    files
        .route("/session", get(session))
        .route("/login", post(login))
        .merge(inside)
        .layer(middleware::from_fn_with_state(shown.clone(), safely))
        .with_state(shown)
}

/// Refuses requests under another site's name, and tells browsers what they may do with an answer.
async fn safely(State(shown): State<Shown>, request: Request, next: Next) -> Response {
    let mut answer = match shown.guard.knows_host(request.headers()) {
        true => next.run(request).await,
        false => {
            let why = "asked by another name than an address of this machine or localhost\n";
            (StatusCode::MISDIRECTED_REQUEST, why).into_response()
        }
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let policy = HeaderValue::from_static("same-origin");
    answer.headers_mut().insert("cross-origin-resource-policy", policy);
    answer
}

async fn only_let_in(
    State(shown): State<Shown>,
    Extension(visitor): Extension<Arc<Visitor>>,
    request: Request,
    next: Next,
) -> Response {
    match shown.guard.lets_in(request.headers()) {
        true if visitor.enter() => next.run(request).await,
        true => {
            let why = "as many as may look at this page do: close one that is not needed\n";
            (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
        }
        false => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            let why = "wanted the page's key: Authorization: Bearer KEY\n";
            (StatusCode::UNAUTHORIZED, challenge, why).into_response()
        }
    }
}

/// Whether the page would be let in; itself open to everybody, and says nothing of the run.
async fn session(State(shown): State<Shown>, headers: HeaderMap) -> &'static str {
    if shown.guard.lets_in(&headers) { "open" } else { "locked" }
}

async fn login(State(shown): State<Shown>, body: Body) -> Response {
    let body = tokio::time::timeout(BODY_WAIT_MAX, to_bytes(body, BODY_BYTES_MAX)).await;
    let body = match body {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let said = std::str::from_utf8(&body).unwrap_or_default();
    let cookie = shown.guard.login(said).and_then(|cookie| HeaderValue::try_from(cookie).ok());
    match cookie {
        Some(cookie) => ([(header::SET_COOKIE, cookie)], "open").into_response(),
        None => (StatusCode::UNAUTHORIZED, "not the page's key\n").into_response(),
    }
}

async fn status_json(State(shown): State<Shown>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], json(&shown.status.borrow())).into_response()
}

async fn prometheus(State(shown): State<Shown>) -> Response {
    let kind = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)];
    (kind, metrics::text(&shown.status.borrow())).into_response()
}

/// The status now and whenever it changes, until the run is over.
async fn events(State(shown): State<Shown>) -> Response {
    let Shown { status, closing, .. } = shown;
    let last = status.clone();
    let changes = WatchStream::new(status).map(Some);
    let closes = WatchStream::new(closing).filter(|&is_closing| is_closing).map(|_| None);
    // The end is said after the last that there is.
    let items = changes.merge(closes).take_while(Option::is_some).filter_map(|status| status);
    let items = items
        .map(|status| json(&status))
        .chain(tokio_stream::iter([()]).map(move |()| json(&last.borrow())));
    let items = items.map(|json| Ok::<_, Infallible>(Event::default().event("status").data(json)));
    Sse::new(items).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn json(status: &Status) -> String {
    // Numbers, names and lists of them can always be written.
    serde_json::to_string(status).unwrap_or_default()
}
