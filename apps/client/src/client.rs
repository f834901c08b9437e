//! A running node, found at its socket.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderValue, Method, Request, header};
use p2p_api::wire::{BYTES, JSON, NDJSON, encode_component};
use p2p_api::{ApiError, ErrorKind, Node, Result, routes};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connection;
use crate::response::Response;
use crate::upload::RequestBody;

/// Hosts mean nothing on a unix socket, but HTTP/1.1 wants one.
const HOST: HeaderValue = HeaderValue::from_static("localhost");

/// Why there is no node to talk to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody answers at the socket. Start a node, or retry when one runs.
    #[error("no node answers at {}", path.display())]
    NoNode {
        /// The socket.
        path: PathBuf,
    },
    /// The node there runs as another user.
    #[error("the node at {} does not serve this user", path.display())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
    },
    /// The node there speaks another version of the API.
    #[error("the node at {} speaks version {found} of the API, this program {}", path.display(), routes::API_VERSION)]
    OtherVersion {
        /// The socket.
        path: PathBuf,
        /// What the node says.
        found: String,
    },
    /// Something answers there, but not as a node does.
    #[error("cannot talk to a node at {}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// The API of a node at a socket. Cheap to clone; holds no connection open.
#[derive(Clone, Debug)]
pub struct Client {
    socket: Arc<Path>,
    token: Option<Token>,
}

/// Goes into a header and is shown nowhere.
#[derive(Clone)]
struct Token(HeaderValue);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Client {
    /// Checks that a node answers at `socket` and speaks our version. Cancel safe.
    pub async fn connect(socket: impl AsRef<Path>) -> Result<Self, ConnectError> {
        let client = Self { socket: socket.as_ref().into(), token: None };
        client.check().await?;
        Ok(client)
    }

    /// The same node, seen as the app with this token: it may do what the user granted to that app.
    ///
    /// # Errors
    /// The text is no token.
    pub fn with_token(&self, token: &str) -> Result<Self> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| ApiError::invalid("a token is a line of letters and digits"))?;
        value.set_sensitive(true);
        Ok(Self { token: Some(Token(value)), ..self.clone() })
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The handle that apps use.
    pub fn node(&self) -> Node {
        Node::new(Arc::new(self.clone()))
    }

    /// A raw call. Any status is an answer: see [`Response::ok`]. `path` is percent-encoded and may have a query.
    pub async fn request(&self, method: Method, path: &str, body: RequestBody) -> Result<Response> {
        let request = Request::builder().method(method).uri(path).body(body);
        self.send(request.map_err(|error| ApiError::invalid(format!("{path:?} is not a path of the API: {error}")))?)
            .await
    }

    /// A raw call with headers.
    pub async fn send(&self, request: Request<RequestBody>) -> Result<Response> {
        let request = self.prepared(request);
        let stream = connection::open(&self.socket).await.map_err(|error| stopped(&self.socket, &error))?;
        connection::send(stream, request).await
    }

    /// A request with the headers that every one has.
    pub(crate) fn prepared(&self, mut request: Request<RequestBody>) -> Request<RequestBody> {
        let media = match request.body() {
            RequestBody::Empty => None,
            RequestBody::Json(_) => Some(JSON),
            RequestBody::Bytes(_) => Some(BYTES),
            RequestBody::Lines(_) => Some(NDJSON),
        };
        let headers = request.headers_mut();
        headers.entry(header::HOST).or_insert(HOST);
        if let Some(media) = media {
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static(media));
        }
        if let Some(Token(token)) = &self.token {
            headers.entry(header::AUTHORIZATION).or_insert(token.clone());
        }
        request
    }

    /// A call with a JSON body that answers with success.
    pub async fn post<T: Serialize + Sync>(&self, path: &str, value: &T) -> Result<Response> {
        self.request(Method::POST, path, RequestBody::json(value)?).await?.ok().await
    }

    /// As [`Client::post`], to put something in a place.
    pub async fn put<T: Serialize + Sync>(&self, path: &str, value: &T) -> Result<Response> {
        self.request(Method::PUT, path, RequestBody::json(value)?).await?.ok().await
    }

    /// A whole list, in pages of at most a thousand items. A list that changes meanwhile loses and repeats nothing that was
    /// there all the time. `path` may have a query.
    pub async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>> {
        let first = format!("{path}{}limit={}", if path.contains('?') { '&' } else { '?' }, routes::MAX_PAGE);
        let mut all = Vec::new();
        let mut next = first.clone();
        loop {
            let answer = self.get(&next).await?;
            let cursor = answer.headers().get(routes::NEXT_CURSOR).and_then(|cursor| cursor.to_str().ok());
            let cursor = cursor.map(encode_component);
            let page: Vec<T> = answer.json().await?;
            // A page without items would go on for ever.
            let is_last = page.is_empty();
            all.extend(page);
            match cursor {
                Some(cursor) if !is_last => next = format!("{first}&cursor={cursor}"),
                _ => return Ok(all),
            }
        }
    }

    /// A call without a body that answers with success.
    pub async fn get(&self, path: &str) -> Result<Response> {
        self.request(Method::GET, path, RequestBody::Empty).await?.ok().await
    }

    async fn check(&self) -> Result<(), ConnectError> {
        let path = || self.socket.to_path_buf();
        let stream = match connection::open(&self.socket).await {
            Ok(stream) => stream,
            Err(error) => {
                return Err(match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ConnectError::NoNode { path: path() },
                    io::ErrorKind::PermissionDenied => ConnectError::NotAllowed { path: path() },
                    _ => ConnectError::Io { path: path(), source: error },
                });
            }
        };
        let ping = Request::get(routes::PING).header(header::HOST, HOST).body(RequestBody::Empty);
        let ping = ping.expect("a constant path is a path");
        let answer = connection::send(stream, ping).await;
        let answer = answer.map_err(|error| ConnectError::Io { path: path(), source: io::Error::other(error) })?;
        if answer.status() == http::StatusCode::FORBIDDEN {
            return Err(ConnectError::NotAllowed { path: path() });
        }
        let version = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match major(version(routes::MIN_VERSION_HEADER)) {
            Some(oldest) if Some(oldest) <= major(routes::API_VERSION) => Ok(()),
            _ => Err(ConnectError::OtherVersion { path: path(), found: version(routes::VERSION_HEADER).to_owned() }),
        }
    }
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

pub(crate) fn stopped(socket: &Path, error: &io::Error) -> ApiError {
    ApiError::new(ErrorKind::NodeStopped, format!("no node answers at {}: {error}", socket.display()))
        .with_hint("start one with: p2pnode start")
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixListener;

    use super::*;

    async fn answered_with(answer: &'static str) -> Result<Client, ConnectError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream
        };
        tokio::join!(Client::connect(&path), serve).0
    }

    #[tokio::test]
    async fn no_node_is_an_error_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        assert!(matches!(Client::connect(&path).await, Err(ConnectError::NoNode { .. })));
        drop(UnixListener::bind(&path).unwrap());
        assert!(matches!(Client::connect(&path).await, Err(ConnectError::NoNode { .. })));
    }

    #[tokio::test]
    async fn a_node_of_our_version_is_connected_to() {
        let answer = "HTTP/1.1 204 No Content\r\napi-version: 1.7\r\napi-min-version: 1.0\r\n\r\n";
        assert!(answered_with(answer).await.is_ok());
    }

    #[tokio::test]
    async fn other_nodes_are_refused() {
        let newer = "HTTP/1.1 204 No Content\r\napi-version: 3.0\r\napi-min-version: 2.0\r\n\r\n";
        let Err(ConnectError::OtherVersion { found, .. }) = answered_with(newer).await else { panic!("version 3") };
        assert_eq!(found, "3.0");
        let stranger = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        assert!(matches!(answered_with(stranger).await, Err(ConnectError::OtherVersion { .. })));
        let refusing = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
        assert!(matches!(answered_with(refusing).await, Err(ConnectError::NotAllowed { .. })));
        assert!(matches!(answered_with("SSH-2.0-x\r\n\r\n").await, Err(ConnectError::Io { .. })));
    }

    #[tokio::test]
    async fn a_node_that_went_away_is_a_stopped_node() {
        let client = Client { socket: Path::new("/nonexistent/api.sock").into(), token: None };
        let error = client.get(routes::NODE).await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::NodeStopped);
        assert!(error.message.contains("/nonexistent/api.sock"));
    }
}
