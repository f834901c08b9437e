//! Streams to peers: the connection becomes the stream (specs/overlay.md, 2.3).

use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use p2p_api::wire::{STREAM_PATH, STREAM_PEER, UPGRADE_DATAGRAMS, UPGRADE_STREAM, parse_line};
use p2p_api::{ApiError, AppStream, DialStream, ErrorKind, ListenStream, Result, Scope, app_of_protocol};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::body::{read_body, timeout};
use super::caller::Caller;
use super::gate::ended;
use super::metered::Metered;
use super::problem::Refusal;
use super::router::Server;
use crate::grants::StreamPlace;
use crate::local::path_word;

type Answer = Result<Response, Refusal>;

/// Buffer of each direction of a stream, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;
/// Datagrams that wait for a slow side; then the newest are dropped.
const DATAGRAM_QUEUE: usize = 16;
/// How long the client may take to take the connection over.
const UPGRADE_TIME: Duration = Duration::from_secs(10);

/// What the connection becomes.
#[derive(Clone, Copy)]
enum Kind {
    Bytes,
    Datagrams,
}

impl Kind {
    fn of(request: &Request) -> Result<Self> {
        let wanted = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match wanted {
            UPGRADE_STREAM => Ok(Self::Bytes),
            UPGRADE_DATAGRAMS => Ok(Self::Datagrams),
            _ => Err(ApiError::invalid("this call turns the connection into a stream").with_hint(format!(
                "send the headers Connection: upgrade and Upgrade: {UPGRADE_STREAM} (or {UPGRADE_DATAGRAMS})"
            ))),
        }
    }

    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Bytes => UPGRADE_STREAM,
            Self::Datagrams => UPGRADE_DATAGRAMS,
        })
    }
}

pub(super) async fn dial(State(server): State<Server>, caller: Caller, mut request: Request) -> Answer {
    let kind = Kind::of(&request)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let dial: DialStream = parse_line(&read_body(request.into_body()).await?)?;
    let limit = timeout(dial.timeout_s)?;
    caller.require_dial(&dial.protocol, server.access.is_contact(&dial.peer))?;
    let place = place(&caller)?;
    let _waiting =
        server.streams.waiting.clone().try_acquire_owned().map_err(|_| {
            ApiError::new(ErrorKind::Busy, "too many calls wait for streams").with_hint("close some first")
        })?;
    let streams = server.node.streams();
    let opening = streams.open(DialStream { timeout_s: Some(limit.as_secs_f64()), ..dial });
    let stream = unless_ended(&server, &caller, opening).await?;
    switch(&server, &caller, kind, upgrade, stream, place)
}

pub(super) async fn listen(State(server): State<Server>, caller: Caller, mut request: Request) -> Answer {
    let kind = Kind::of(&request)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let ListenStream { protocol } = parse_line(&read_body(request.into_body()).await?)?;
    let app = app_of_protocol(&protocol)?;
    if let Caller::App(grant) = &caller {
        if app != grant.id {
            let message = format!("{protocol} belongs to the app {app}, not to {}", grant.id);
            return Err(ApiError::new(ErrorKind::NotAllowed, message).into());
        }
        caller.require(
            &format!("stream.listen:{protocol}"),
            |scope| matches!(scope, Scope::StreamListen(granted) if *granted == protocol),
        )?;
    }
    let place = place(&caller)?;
    let _waiting =
        server.streams.waiting.clone().try_acquire_owned().map_err(|_| {
            ApiError::new(ErrorKind::Busy, "too many calls wait for streams").with_hint("close some first")
        })?;
    let streams = server.node.streams();
    let stream = unless_ended(&server, &caller, streams.accept(&protocol)).await?;
    switch(&server, &caller, kind, upgrade, stream, place)
}

fn place(caller: &Caller) -> Result<Option<StreamPlace>> {
    match caller {
        Caller::User => Ok(None),
        Caller::App(grant) => grant.live.stream().map(Some),
    }
}

async fn unless_ended(
    server: &Server,
    caller: &Caller,
    stream: impl Future<Output = Result<AppStream>>,
) -> Result<AppStream> {
    let Caller::App(grant) = caller else { return stream.await };
    tokio::select! {
        stream = stream => stream,
        () = grant.live.revoked.cancelled() => {
            Err(ApiError::new(ErrorKind::NotAllowed, "what the app was granted has just been taken back"))
        }
        () = server.access.locked() => Err(ApiError::locked()),
    }
}

/// Answers 101, and carries bytes from then on until one side ends, the app loses its token, the keys are locked, or the node
/// stops.
fn switch(
    server: &Server,
    caller: &Caller,
    kind: Kind,
    upgrade: OnUpgrade,
    stream: AppStream,
    place: Option<StreamPlace>,
) -> Answer {
    let text = |text: &str| HeaderValue::from_str(text).map_err(|error| ApiError::internal(error.to_string()));
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, kind.name())
        .header(STREAM_PEER, text(&stream.peer.to_string())?)
        .header(STREAM_PATH, path_word(stream.path))
        .body(Body::empty())
        .map_err(|error| ApiError::internal(error.to_string()))?;
    let app = match caller {
        Caller::User => None,
        Caller::App(grant) => Some(grant.live.clone()),
    };
    let ended = match caller {
        Caller::User => None,
        Caller::App(grant) => Some(ended(grant, &server.access)),
    };
    let stopping = server.streams.stopping.clone();
    server.streams.tasks.spawn(async move {
        let carried = async {
            let Ok(Ok(upgraded)) = tokio::time::timeout(UPGRADE_TIME, upgrade).await else { return };
            let local = Metered::new(TokioIo::new(upgraded), app);
            match kind {
                Kind::Bytes => carry_bytes(local, stream).await,
                Kind::Datagrams => carry_datagrams(local, stream).await,
            }
        };
        let taken_back = async {
            match ended {
                Some(ended) => ended.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = carried => {}
            () = taken_back => {}
            () = stopping.cancelled() => {}
        }
        drop(place);
    });
    Ok(response)
}

async fn carry_bytes(mut local: impl AsyncRead + AsyncWrite + Unpin, mut stream: AppStream) {
    // Whoever ends it, both sides see the end.
    let _ = tokio::io::copy_bidirectional_with_sizes(&mut local, &mut stream, BUFFER_BYTES, BUFFER_BYTES).await;
}

/// Whole datagrams, both ways; ends when either side does.
async fn carry_datagrams(local: impl AsyncRead + AsyncWrite + Unpin, stream: AppStream) {
    let (local_read, local_write) = tokio::io::split(local);
    let (peer_read, peer_write) = tokio::io::split(stream);
    tokio::select! {
        () = forward(local_read, peer_write) => {}
        () = forward(peer_read, local_write) => {}
    }
}

/// Reads as fast as they come; what the other side is too slow for is dropped.
async fn forward(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let (queue, mut waiting) = mpsc::channel::<Bytes>(DATAGRAM_QUEUE);
    let read = async move {
        while let Some(frame) = read_frame(&mut from).await {
            let _ = queue.try_send(frame);
        }
    };
    let write = async move {
        while let Some(frame) = waiting.recv().await {
            if to.write_all(&frame).await.is_err() || to.flush().await.is_err() {
                break;
            }
        }
    };
    // The writer ends when the reader has ended and everything is written.
    tokio::join!(read, write);
}

/// A datagram with its length before it; `None` at the end, also a broken one.
async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> Option<Bytes> {
    let length = from.read_u16().await.ok()?;
    let mut frame = BytesMut::zeroed(2 + usize::from(length));
    let (head, body) = frame.split_at_mut(2);
    head.copy_from_slice(&length.to_be_bytes());
    from.read_exact(body).await.ok()?;
    Some(frame.freeze())
}
