//! Requests as `curl` or a mistaken program would send them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use hyper_util::service::TowerToHyperService;
use p2p_api::testing::FakeNode;
use p2p_api::{App, AppRequest, AppResponse, Change, Import, NewDrive, Node, PathKind, Result, routes};
use p2p_identity::PeerId;
use tokio_util::sync::CancellationToken;

use super::scene::Scene;
use crate::api::Access;
use crate::api::gate::Process;
use crate::api::router::{Server, StreamTasks, router};

/// Answers with what it was asked.
struct Echo;

#[async_trait]
impl App for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    async fn run(&self, _node: Node, stop: CancellationToken) -> Result<()> {
        stop.cancelled().await;
        Ok(())
    }

    async fn handle(&self, _node: &Node, request: AppRequest) -> AppResponse {
        let value = request.query_value("v");
        AppResponse::json(&(request.method.as_str(), &request.path, value, request.body.len()))
    }
}

fn scene() -> Scene {
    Scene::new(FakeNode::new().node(), vec![Arc::new(Echo)])
}

/// A drive with one file `ü 1.txt` of ten digits.
async fn digits(folder: &std::path::Path) -> (Scene, String) {
    fs::write(folder.join("ü 1.txt"), "0123456789").expect("write");
    let node = FakeNode::new().node();
    let new = NewDrive { path: Some(folder.to_owned()), title: String::new() };
    let drive = node.drives().create(new).await.expect("create").drive;
    let changes = stream::iter([Ok(Change { path: "ü 1.txt".to_owned(), ..Change::default() })]).boxed();
    let mut events = node.drives().import(drive, Import::default(), changes).await.expect("import");
    while let Some(event) = events.next().await {
        event.expect("no error");
    }
    (Scene::new(node, Vec::new()), format!("/v1/drives/{drive}/files/%C3%BC%201.txt"))
}

#[tokio::test]
async fn ping_tells_the_versions() {
    let scene = scene();
    let answer = scene.ask("GET /v1/_ping", &[], "").await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(answer.header("api-version"), Some(routes::API_VERSION));
    assert_eq!(answer.header("api-min-version"), Some(routes::API_MIN_VERSION));
    scene.end().await;
}

#[tokio::test]
async fn errors_are_problem_documents() {
    let scene = scene();
    for (request, body, status, code) in [
        ("GET /v1/nothing", "", 404, "not_found"),
        ("DELETE /v1/node", "", 405, "invalid_input"),
        ("GET /v1/drives/short", "", 400, "invalid_input"),
        ("GET /v1/dht/providers/12", "", 400, "invalid_input"),
        ("GET /v1/events?after=x", "", 400, "invalid_input"),
        ("GET /v1/apps/none/x", "", 404, "not_found"),
        ("POST /v1/peers/dial", "", 400, "invalid_input"),
        ("POST /v1/peers/dial", "{", 400, "invalid_input"),
        ("POST /v1/peers/dial", "{\"target\":\"x\",\"timeout_s\":-1}", 400, "invalid_input"),
        ("POST /v1/peers/dial", "{\"target\":\"x\",\"requires\":[\"magic\"]}", 501, "unsupported"),
        ("GET /v1/drives/%ff/tree", "", 400, "invalid_input"),
    ] {
        let answer = scene.ask(request, &[], body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{request} {body}");
    }
    scene.end().await;
}

#[tokio::test]
async fn deep_json_is_refused() {
    let scene = scene();
    let deep = format!("{{\"target\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = scene.ask("POST /v1/peers/dial", &[], &deep).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_input"));
    assert!(answer.body.contains("32 levels"), "{answer:?}");
    scene.end().await;
}

#[tokio::test]
async fn bodies_beyond_a_mebibyte_are_refused() {
    let scene = scene();
    let limit = 1024 * 1024;
    let fits = scene.ask("POST /v1/apps/echo/x", &[], &"x".repeat(limit)).await;
    assert_eq!((fits.status, fits.body), (200, format!("[\"POST\",\"x\",null,{limit}]")));

    let announced = format!(
        "POST /v1/apps/echo/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        limit + 1
    );
    assert!(scene.by_hand(announced.as_bytes()).await.starts_with("HTTP/1.1 413 "), "before a byte of it was sent");

    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let head = "POST /v1/apps/echo/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunked = format!("{head}{}1\r\nx\r\n0\r\n\r\n", chunk.repeat(16));
    assert!(scene.by_hand(chunked.as_bytes()).await.starts_with("HTTP/1.1 413 "));
    scene.end().await;
}

#[tokio::test]
async fn headers_beyond_16_kibibytes_are_refused() {
    let scene = scene();
    let answer = scene.ask("GET /v1/_ping", &[&format!("x: {}", "x".repeat(15 * 1024))], "").await;
    assert_eq!(answer.status, 204);
    let answer = scene.ask("GET /v1/_ping", &[&format!("x: {}", "x".repeat(17 * 1024))], "").await;
    assert_eq!(answer.status, 431);
    scene.end().await;
}

#[tokio::test]
async fn lines_beyond_64_kibibytes_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (scene, path) = digits(folder.path()).await;
    let import = path.replace("/files/%C3%BC%201.txt", "/import");
    let line = format!("{{\"path\":\"{}\"}}\n", "x".repeat(64 * 1024));
    let answer = scene.ask(&format!("POST {import}"), &[], &line).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains(r#"{"error":{"status":400,"code":"invalid_input","#), "{answer:?}");
    scene.end().await;
}

#[tokio::test]
async fn apps_get_method_path_query_and_body() {
    let scene = scene();
    let answer = scene.ask("DELETE /v1/apps/echo/a/b%20c?v=%C3%BC+1&x", &[], "body").await;
    assert_eq!(answer.body, r#"["DELETE","a/b c","ü 1",4]"#);
    scene.end().await;
}

#[tokio::test]
async fn a_file_is_read_whole_or_in_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let (scene, path) = digits(folder.path()).await;
    let get = format!("GET {path}");
    let whole = scene.ask(&get, &[], "").await;
    assert_eq!((whole.status, whole.body.as_str()), (200, "0123456789"));
    let tag = whole.header("etag").expect("an ETag").to_owned();
    let mtime = fs::metadata(folder.path().join("ü 1.txt")).expect("it exists").mtime_nsec().to_string();
    assert!(whole.header("p2p-entry-mtime").expect("a time").ends_with(mtime.trim_start_matches('0')));

    for (range, status, content_range, body) in [
        ("bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("bytes=8-", 206, Some("bytes 8-9/10"), "89"),
        ("bytes=-3", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=5-100", 206, Some("bytes 5-9/10"), "56789"),
        ("bytes=1-2,4-5", 200, None, "0123456789"),
        ("lines=1-2", 200, None, "0123456789"),
    ] {
        let answer = scene.ask(&get, &[&format!("range: {range}")], "").await;
        let found = (answer.status, answer.header("content-range"), answer.body.as_str());
        assert_eq!(found, (status, content_range, body), "{range}");
    }
    let outside = scene.ask(&get, &["range: bytes=10-"], "").await;
    assert_eq!((outside.status, outside.header("content-range")), (416, Some("bytes */10")));
    assert_eq!(outside.code(), "invalid_input");

    let head = scene.ask(&format!("HEAD {path}"), &[], "").await;
    assert_eq!((head.status, head.body.as_str(), head.header("content-length")), (200, "", Some("10")));
    assert_eq!(head.header("etag"), Some(tag.as_str()));
    scene.end().await;
}

#[tokio::test]
async fn conditions_compare_the_content() {
    let folder = tempfile::tempdir().expect("a folder");
    let (scene, path) = digits(folder.path()).await;
    let get = format!("GET {path}");
    let tag = scene.ask(&get, &[], "").await.header("etag").expect("an ETag").to_owned();
    let fresh = scene.ask(&get, &[&format!("if-none-match: \"0\", {tag}")], "").await;
    assert_eq!((fresh.status, fresh.body.as_str()), (304, ""));
    assert_eq!(scene.ask(&get, &["if-none-match: \"0\""], "").await.status, 200);
    let same = scene.ask(&get, &["range: bytes=0-0", &format!("if-range: {tag}")], "").await;
    assert_eq!((same.status, same.body.as_str()), (206, "0"));
    let other = scene.ask(&get, &["range: bytes=0-0", "if-range: \"0\""], "").await;
    assert_eq!((other.status, other.body.as_str()), (200, "0123456789"));
    scene.end().await;
}

#[tokio::test]
async fn events_come_as_lines_or_as_server_sent_events() {
    let fake = FakeNode::new();
    for at in 1..=3 {
        fake.connect(PeerId::from([at; 32]), PathKind::Lan);
    }
    // A stopped node ends its streams, so that the answers have an end.
    fake.node().stop().await.expect("stop");
    let scene = Scene::new(fake.node(), Vec::new());
    let lines = scene.ask("GET /v1/events?after=0", &[], "").await;
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(lines.body.matches("peer.connected").count(), 3);

    let accept = "accept: text/event-stream";
    let sent = scene.ask("GET /v1/events?after=0", &[accept, "last-event-id: 2"], "").await;
    assert_eq!(sent.header("content-type"), Some("text/event-stream"));
    assert!(sent.body.contains("id: 3\ndata: {\"id\":3,"), "{sent:?}");
    assert!(!sent.body.contains("id: 2\n"), "the header is newer than the address: {sent:?}");
    let other = scene.ask("GET /v1/events?after=0&topics=drives", &[], "").await;
    assert_eq!(other.body.matches("peer.connected").count(), 0);
    scene.end().await;
}

#[tokio::test]
async fn the_api_describes_itself() {
    let scene = scene();
    let document: serde_json::Value =
        scene.client().await.get(routes::OPENAPI).await.expect("a document").json().await.expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    scene.end().await;
}

#[tokio::test]
async fn another_user_gets_403_without_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let access = Access::in_memory(folder.path());
    let grants = access.grants.clone();
    let server = Server { node: FakeNode::new().node(), apps: Arc::default(), access, streams: StreamTasks::default() };
    let foreign = router(server).layer(axum::Extension(Process::Foreign));
    let ask = async |method: &str, path: &str, token: Option<&str>, body: &'static str| {
        let mut request = http::Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(axum::body::Body::from(body)).expect("a request");
        let service = TowerToHyperService::new(foreign.clone());
        let answer = hyper::service::Service::call(&service, request).await.expect("an answer");
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    };
    for (method, path) in [("GET", "/v1/node"), ("POST", "/v1/node/stop"), ("GET", "/v1/nothing"), ("GET", "/v1/apps")]
    {
        let (status, body) = ask(method, path, None, "").await;
        assert_eq!(status, 403, "{method} {path}");
        assert!(body.contains("\"code\":\"not_allowed\""), "{body}");
    }
    assert_eq!(ask("GET", "/v1/_ping", None, "").await.0, 204);
    let manifest = r#"{"id": "chat", "name": "Chat", "scopes": ["node.read"]}"#;
    assert_eq!(ask("POST", "/v1/apps", None, manifest).await.0, 200, "anybody may ask");
    let info = grants.decide("chat", p2p_api::AppState::Approved).expect("approved");
    let token = fs::read_to_string(info.token_file.expect("a file")).expect("the token");
    assert_eq!(ask("GET", "/v1/node", Some(token.trim()), "").await.0, 200);
    assert_eq!(ask("POST", "/v1/node/stop", Some(token.trim()), "").await.0, 403);
}

#[tokio::test]
async fn over_tcp_everybody_needs_a_token_and_web_pages_get_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let access = Access::in_memory(folder.path());
    let manifest = p2p_api::AppManifest {
        id: "chat".into(),
        name: "Chat".into(),
        version: String::new(),
        scopes: vec!["node.read".into()],
        protocols: Vec::new(),
        storage_quota: 0,
        background: false,
    };
    access.grants.request(manifest).expect("asked");
    let info = access.grants.decide("chat", p2p_api::AppState::Approved).expect("approved");
    let token = fs::read_to_string(info.token_file.expect("a file")).expect("the token");
    let (socket, _guard) = crate::api::bind(&folder.path().join("run/api.sock")).expect("bind");
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = tcp.local_addr().expect("an address").port();
    let stop = CancellationToken::new();
    let listeners = crate::api::Listeners { socket, tcp: Some(tcp) };
    let serving =
        crate::api::serve(listeners, FakeNode::new().node(), Vec::new(), access, stop.clone().cancelled_owned());
    let server = tokio::spawn(serving);
    let ask = async |host: &str, headers: &str| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("connect");
        let request = format!("GET /v1/node HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).expect("a status")
    };
    let bearer = format!("authorization: Bearer {}\r\n", token.trim());
    let here = format!("127.0.0.1:{port}");
    assert_eq!(ask(&here, &bearer).await, 200);
    assert_eq!(ask(&format!("localhost:{port}"), &bearer).await, 200);
    assert_eq!(ask(&here, "").await, 403, "the user too");
    assert_eq!(ask("evil.example", &bearer).await, 403, "DNS rebinding");
    assert_eq!(ask(&here, &format!("{bearer}origin: https://evil.example\r\n")).await, 403);
    assert_eq!(ask(&here, &format!("{bearer}origin: null\r\n")).await, 403);
    assert_eq!(ask(&here, &format!("{bearer}origin: http://{here}\r\n")).await, 200);
    stop.cancel();
    server.await.expect("no panic").expect("no error");
}
