//! Every request comes through here first: who calls, and may that caller call this?
//!
//! What an app may do is decided here where the path tells enough, and by the handler where the body does. What is not
//! named here is for the user alone.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;
use http::{HeaderMap, Method, StatusCode, header};
use p2p_api::{ApiError, ErrorKind, Result, Scope, routes};
use p2p_identity::DriveId;

use super::access::Access;
use super::caller::Caller;
use super::problem::Refusal;
use super::router::Server;
use crate::grants::Grant;
use crate::keys::Keys;

/// Whose process is at the other end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    /// The user's this node runs as.
    Own,
    /// Another user's.
    Foreign,
    /// Anybody's on this computer, over TCP at this port: a web page too.
    Tcp(u16),
}

/// What an app needs for a call.
enum Need {
    /// Nothing: also who has no token may call this.
    Nothing,
    /// A scope, by its text and what fits.
    Scope(&'static str, fn(&Scope) -> bool),
    /// To read this drive.
    ReadDrive,
    /// To change this drive.
    WriteDrive,
    /// The handler looks at more than the path.
    Handler,
    /// To be the user.
    User,
}

fn need(method: &Method, path: &str) -> Need {
    let node_read = Need::Scope("node.read", |scope| matches!(scope, Scope::NodeRead));
    let dht_get = Need::Scope("dht.get", |scope| matches!(scope, Scope::DhtGet));
    let dht_put = Need::Scope("dht.put:PREFIX", |scope| matches!(scope, Scope::DhtPut(_)));
    let resolve = Need::Scope("names.resolve", |scope| matches!(scope, Scope::NamesResolve));
    match (method.as_str(), path) {
        ("GET" | "HEAD", routes::PING | routes::OPENAPI) | ("POST", routes::APP_LIST) => Need::Nothing,
        ("GET" | "HEAD", routes::NODE | routes::METRICS | routes::HEALTH | routes::PEERS) => node_read,
        ("GET", routes::PROVIDERS | routes::VALUE) => dht_get,
        ("PUT" | "DELETE", routes::PROVIDERS) => dht_put,
        ("POST", routes::RESOLVE) => resolve,
        ("POST", routes::CONTACT_PICK) | ("GET", routes::PICK) => {
            Need::Scope("contacts.pick", |scope| matches!(scope, Scope::ContactsPick))
        }
        ("GET", routes::CONTACTS) => Need::Scope("contacts.read", |scope| matches!(scope, Scope::ContactsRead)),
        (
            "GET" | "HEAD",
            routes::DRIVE
            | routes::TREE
            | routes::FILE
            | routes::LOG
            | routes::DIFF
            | routes::TAGS
            | routes::CONFLICTS
            | routes::LOCAL_NAMES
            | routes::WRITERS,
        ) => Need::ReadDrive,
        ("DELETE", routes::DRIVE) | ("POST", routes::IMPORT | routes::RESTORE) => Need::WriteDrive,
        ("POST" | "DELETE", routes::TAGS) => Need::WriteDrive,
        ("GET", routes::EVENTS | routes::DRIVES | routes::RECORDS | routes::TOPIC | routes::APP)
        | (
            "POST",
            routes::VALUES
            | routes::TOPIC
            | routes::STREAM_DIAL
            | routes::STREAM_LISTEN
            | routes::SIGN
            | routes::DRIVES
            | routes::OPEN
            | routes::FOLLOW
            | routes::RECORDS
            | routes::RECORDS_REMOVE
            | routes::NAMES_PUBLISH,
        ) => Need::Handler,
        // A zone is its owner's alone to remove.
        ("DELETE", routes::ZONE) => Need::User,
        _ => Need::User,
    }
}

pub(super) async fn gate(State(server): State<Server>, mut request: Request, next: Next) -> Result<Response, Refusal> {
    let process = request.extensions().get::<Process>().copied().unwrap_or(Process::Foreign);
    if let Process::Tcp(port) = process {
        if request.uri().authority().is_some() {
            return Err(ApiError::invalid("the target of a request is a path").into());
        }
        check_origin(request.headers(), port)?;
    }
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let need = need(request.method(), &route);
    let caller = match token(request.headers())? {
        Some(token) => {
            let grants = &server.access.grants;
            let grant = grants.by_token(&token).ok_or_else(|| {
                ApiError::new(ErrorKind::NotAllowed, "this token is not known, or was taken back")
                    .with_hint("the app asks again with POST /v1/apps; the user approves it with p2p app approve")
            })?;
            if let Err(error) = grant.live.admit(Instant::now()) {
                grant.live.on_refused();
                return Err(error.into());
            }
            if server.access.keys.as_ref().is_some_and(Keys::is_locked) {
                return Err(ApiError::locked().into());
            }
            Caller::App(grant)
        }
        None if process == Process::Own => {
            server.access.keys.iter().for_each(Keys::touch);
            Caller::User
        }
        // Who is nobody yet may ask.
        None if process == Process::Foreign && matches!(need, Need::Nothing) => Caller::User,
        None => {
            return Err(ApiError::new(
                ErrorKind::NotAllowed,
                "this node serves only the user it runs as, and apps with a token",
            )
            .with_hint("run the command as that user, or start a node of your own; an app asks with POST /v1/apps")
            .into());
        }
    };
    let call = format!("{} {}", request.method(), request.uri().path());
    let allowed = match need {
        Need::Nothing | Need::Handler => Ok(()),
        Need::Scope(wanted, fits) => caller.require(wanted, fits),
        Need::ReadDrive => caller.require_drive_read(drive_of(request.uri().path())),
        Need::WriteDrive => caller.require_drive_write(drive_of(request.uri().path())),
        Need::User => caller.require_user(),
    };
    if let Err(error) = allowed {
        refused(&server, &caller, &call, &error.message);
        return Err(error.into());
    }
    request.extensions_mut().insert(caller.clone());
    let answer = next.run(request).await;
    let Caller::App(grant) = &caller else { return Ok(answer) };
    match answer.status() {
        StatusCode::FORBIDDEN => refused(&server, &caller, &call, "refused by the call itself"),
        StatusCode::TOO_MANY_REQUESTS => grant.live.on_refused(),
        StatusCode::SWITCHING_PROTOCOLS => return Ok(answer),
        _ => {}
    }
    // What runs ends with the token: an answer that goes on is cut.
    let ended = ended(grant, &server.access);
    Ok(answer.map(|body| Body::from_stream(body.into_data_stream().take_until(ended))))
}

/// Resolves when what an app does has to end: its token was taken back, or the keys are locked.
pub(super) fn ended(grant: &Grant, access: &Access) -> impl Future<Output = ()> + Send + 'static {
    let (revoked, locked) = (grant.live.revoked.clone().cancelled_owned(), access.locked());
    async move {
        tokio::select! {
            () = revoked => {}
            () = locked => {}
        }
    }
}

fn refused(server: &Server, caller: &Caller, call: &str, reason: &str) {
    if let Caller::App(grant) = caller {
        grant.live.on_refused();
        server.access.grants.audit.write(&grant.id, call, reason);
    }
}

/// A web page can have a browser call any port, also under a name of its own that leads here (DNS rebinding): only calls
/// that name this computer and come from no other origin are let in.
fn check_origin(headers: &HeaderMap, port: u16) -> Result<()> {
    let text = |name| headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap_or_default());
    let hosts = ["localhost", "127.0.0.1", "[::1]"].map(|host| format!("{host}:{port}"));
    let is_one = headers.get_all(header::HOST).iter().count() == 1;
    let is_here = is_one && text(header::HOST).is_some_and(|host| hosts.iter().any(|known| known == host));
    let is_own = text(header::ORIGIN)
        .is_none_or(|origin| hosts.iter().any(|known| origin.strip_prefix("http://") == Some(known.as_str())));
    if is_here && is_own {
        return Ok(());
    }
    Err(ApiError::new(ErrorKind::NotAllowed, "the API over TCP answers programs of this computer, not web pages")
        .with_hint(format!("call it as http://127.0.0.1:{port}")))
}

/// The bearer token of a request (RFC 6750, section 2.1).
fn token(headers: &HeaderMap) -> Result<Option<String>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::invalid("there are several headers Authorization"));
    }
    let text = value.to_str().unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim().to_owned())),
        _ => Err(ApiError::invalid("the header Authorization is not of the form: Bearer TOKEN")),
    }
}

/// `/v1/drives/{drive}/…`
fn drive_of(path: &str) -> Option<DriveId> {
    path.split('/').nth(3)?.parse().ok()
}
