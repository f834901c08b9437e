//! A server at a socket of its own, and raw bytes to and from it.

use std::path::PathBuf;
use std::sync::Arc;

use p2p_api::{App, Node};
use p2p_client::Client;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{Access, SocketGuard, bind, serve};

pub(super) struct Scene {
    _folder: TempDir,
    guard: SocketGuard,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

impl Scene {
    pub(super) fn new(node: Node, apps: Vec<Arc<dyn App>>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (listener, guard) = bind(&folder.path().join("api.sock")).expect("bind");
        let stop = CancellationToken::new();
        let server =
            tokio::spawn(serve(listener, node, apps, Access::in_memory(folder.path()), stop.clone().cancelled_owned()));
        Self { _folder: folder, guard, stop, server }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.guard.path().to_owned()
    }

    pub(super) async fn client(&self) -> Client {
        Client::connect(self.guard.path()).await.expect("a server answers")
    }

    /// Sends bytes as they are and reads until the server closes.
    pub(super) async fn by_hand(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).await.expect("connect");
        // A server that has enough may close before it has read all.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).expect("a text")
    }

    /// A request with `Connection: close`.
    pub(super) async fn ask(&self, request_line: &str, headers: &[&str], body: &str) -> Answer {
        let mut request = format!("{request_line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        if !body.is_empty() {
            request.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        Answer::new(&self.by_hand(request.as_bytes()).await)
    }

    /// Stops the server; it ends by itself.
    pub(super) async fn end(self) {
        self.stop.cancel();
        self.server.await.expect("no panic").expect("no error");
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    raw_head: String,
    head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn new(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let (raw_head, head) = (head.to_owned(), head.to_ascii_lowercase());
        let body = if head.contains("transfer-encoding: chunked") { joined(body) } else { body.to_owned() };
        Self { status, raw_head, head, body }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    }

    /// The value as it came; the name as the server writes it.
    pub(super) fn raw_header(&self, name: &str) -> Option<&str> {
        let line = self.raw_head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    }

    /// The body as a problem document: its `code`.
    pub(super) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        assert_eq!(problem["status"], self.status, "the document tells the status again");
        problem["code"].as_str().expect("a code").to_owned()
    }
}

/// The pieces of a chunked body.
fn joined(mut chunked: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = chunked.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        body.push_str(rest.get(..size).expect("a whole chunk"));
        chunked = rest.get(size + 2..).expect("a chunk's end");
    }
    body
}
