//! What answers at the socket of a node that is closed: who knows the passphrase opens it, all else is told that it is
//! locked (specs/overlay.md, 3.2).

use std::future::Future;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::StatusCode;
use p2p_api::{ApiError, KeystoreInfo, Passphrase, routes};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::body::{JsonBody, json};
use super::gate::Process;
use super::network::ping_api;
use super::problem::Refusal;
use super::server::{Connections, own_or_foreign};
use crate::keys::Keys;

type Answer = Result<Response, Refusal>;

#[derive(Clone)]
struct Closed {
    keys: Keys,
    stop: CancellationToken,
    /// The passphrase was right: nobody is let in any more.
    opened: CancellationToken,
    /// From now on whoever connects waits for the node.
    left: CancellationToken,
}

/// Answers until `shutdown`, then finishes what it answers. Whoever calls afterwards waits for who answers next.
pub(crate) async fn serve_closed(
    listener: &UnixListener,
    keys: Keys,
    stop: CancellationToken,
    shutdown: impl Future<Output = ()>,
) {
    let (opened, left) = (CancellationToken::new(), CancellationToken::new());
    let router = router(Closed { keys, stop, opened: opened.clone(), left: left.clone() });
    let router_of = |process| router.clone().layer(Extension(process));
    let (own, foreign) = (router_of(Process::Own), router_of(Process::Foreign));
    let mut connections = Connections::default();
    let accept = connections.accept_at(listener, |stream| own_or_foreign(stream, &own, &foreign).clone());
    tokio::select! {
        () = accept => {}
        () = opened.cancelled() => {}
        () = shutdown => {}
    }
    left.cancel();
    connections.goodbye().await;
}

fn router(closed: Closed) -> Router {
    Router::new()
        .route(routes::PING, get(ping_api))
        .route(routes::KEYSTORE, get(info))
        .route(routes::LOCK, post(info))
        .route(routes::UNLOCK, post(unlock))
        .route(routes::STOP, post(stop))
        .fallback(locked)
        .method_not_allowed_fallback(locked)
        .layer(from_fn(own_only))
        .with_state(closed)
}

/// Other users' apps get what they get of every node whose keys are locked.
async fn own_only(request: Request, next: Next) -> Answer {
    let is_own = request.extensions().get::<Process>() == Some(&Process::Own);
    if is_own || request.uri().path() == routes::PING { Ok(next.run(request).await) } else { Err(locked().await) }
}

async fn locked() -> Refusal {
    ApiError::locked().into()
}

async fn info(State(closed): State<Closed>) -> Answer {
    json(&KeystoreInfo { closed: true, ..closed.keys.info() })
}

async fn unlock(State(closed): State<Closed>, JsonBody(passphrase): JsonBody<Passphrase>) -> Answer {
    let info = closed.keys.unlock(&passphrase).await?;
    // Who asks for something as soon as this is answered must not be told by us that all is locked.
    closed.opened.cancel();
    closed.left.cancelled().await;
    json(&info)
}

async fn stop(State(closed): State<Closed>) -> Answer {
    closed.stop.cancel();
    Ok(StatusCode::ACCEPTED.into_response())
}
