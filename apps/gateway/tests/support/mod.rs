//! A gateway over a fake node and a folder, on a real loopback socket.

#![allow(dead_code, reason = "each test file uses a part of it")]

mod faulty;
pub(crate) mod font;
mod past;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use p2p_api::testing::FakeNode;
use p2p_api::{App, Change, DriveId, Import, ImportEvent, NewDrive, Node};
use p2p_gateway::{Gateway, Settings};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[allow(unused_imports, reason = "each test file uses a part of it")]
pub(crate) use faulty::{Fault, Faulty};

/// Longest time anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Scene {
    pub(crate) fake: FakeNode,
    pub(crate) node: Faulty,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) drive: DriveId,
    stop: CancellationToken,
    running: JoinHandle<p2p_api::Result<()>>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// An error where the connection broke before the announced end.
    pub(crate) body: Result<Bytes, hyper::Error>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.body.as_ref().expect("a whole body")).expect("text")
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).to_str().expect("text")
    }
}

impl Scene {
    /// A gateway over a drive with these files.
    pub(crate) async fn with(files: &[(&str, &[u8])]) -> Self {
        Self::with_settings(files, Settings::default()).await
    }

    pub(crate) async fn with_settings(files: &[(&str, &[u8])], settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            write(folder.path(), path, content);
        }
        let fake = FakeNode::new();
        let drive = publish(&fake.node(), folder.path()).await;
        let node = Faulty::new(fake.clone());
        let settings = Settings { port: 0, ..settings };
        let gateway = Gateway::bind(settings).unwrap().with_files(Arc::new(NoFiles));
        let gateway = Arc::new(gateway);
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let (gateway, node, stop) = (gateway.clone(), node.node(), stop.clone());
            async move { gateway.run(node, stop).await }
        });
        Self { fake, node, gateway, folder, drive, stop, running }
    }

    pub(crate) fn port(&self) -> u16 {
        let address = self.gateway.address().expect("the gateway is open");
        address.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap()
    }

    pub(crate) fn host(&self) -> String {
        format!("{}.p2p.localhost:{}", self.drive, self.port())
    }

    pub(crate) fn dashboard(&self) -> String {
        format!("p2pnode.localhost:{}", self.port())
    }

    pub(crate) async fn publish(&self) {
        publish(&self.fake.node(), self.folder.path()).await;
    }

    pub(crate) fn write(&self, path: &str, content: &[u8]) {
        write(self.folder.path(), path, content);
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, path, headers).await
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask_host(&self.host(), method, path, headers, "").await
    }

    pub(crate) async fn ask_host(
        &self,
        host: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.try_ask_host(host, method, path, headers, body).await.expect("an answer")
    }

    /// An error where the connection broke before the answer's headers were read.
    pub(crate) async fn try_ask_host(
        &self,
        host: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, hyper::Error> {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header("host", host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        tokio::time::timeout(PATIENCE, exchange(self.connect().await, request)).await.expect("an answer in time")
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port())).await.unwrap()
    }

    /// Ends the gateway; everything of it has to end by itself.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.expect("it goes on").unwrap().unwrap();
    }
}

async fn exchange(stream: TcpStream, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driving = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map(|all| all.to_bytes());
    drop(sender);
    driving.abort();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

fn write(folder: &Path, path: &str, content: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Publishes all of a folder as it is.
pub(crate) async fn publish(node: &Node, folder: &Path) -> DriveId {
    let drive = node.drives().create(NewDrive { path: Some(folder.to_owned()), title: "A site".into() }).await.unwrap();
    let mut paths = BTreeMap::new();
    collect(folder, folder, &mut paths);
    let changes = paths.into_values().map(|path| Ok(Change { path, ..Change::default() }));
    let changes = stream::iter(changes.collect::<Vec<_>>()).boxed();
    let import = node.drives().import(drive.drive, Import::default(), changes).await.unwrap();
    let _: Vec<ImportEvent> = import.try_collect().await.unwrap();
    drive.drive
}

fn collect(root: &Path, folder: &Path, paths: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        paths.insert(name.replace('/', "\u{1}"), name);
        if path.is_dir() && !path.is_symlink() {
            collect(root, &path, paths);
        }
    }
}

/// Stands in for the app that shares folders: tells a link, then that it is done.
pub(crate) struct NoFiles;

#[async_trait::async_trait]
impl App for NoFiles {
    fn name(&self) -> &'static str {
        "files"
    }

    async fn run(&self, _node: Node, stop: CancellationToken) -> p2p_api::Result<()> {
        stop.cancelled().await;
        Ok(())
    }

    async fn handle(&self, node: &Node, request: p2p_api::AppRequest) -> p2p_api::AppResponse {
        let wanted: p2p_api::files::ShareRequest = match request.json() {
            Ok(wanted) => wanted,
            Err(error) => return p2p_api::AppResponse::problem(error),
        };
        if !wanted.path.is_dir() {
            let error = p2p_api::ApiError::not_found(format!("there is no folder {}", wanted.path.display()));
            return p2p_api::AppResponse::problem(error);
        }
        let drive = publish(node, &wanted.path).await;
        if wanted.path.ends_with("slow") {
            let now = p2p_api::Progress {
                files_done: 7,
                files_total: 12,
                bytes_done: 1_600_000_000,
                bytes_total: 2_147_483_648,
                bytes_per_second: 84_000_000.0,
                peers: 3,
            };
            let event = Ok(p2p_api::files::ShareEvent::Progress(now));
            return p2p_api::AppResponse::lines(stream::iter([event]).chain(stream::pending()).boxed());
        }
        let link = format!("p2p://{drive}/");
        let event = p2p_api::files::ShareEvent::Published {
            link: link.clone(),
            drive,
            browser: None,
            version: 1,
            files: 1,
            bytes: 1,
            seconds: 0.1,
            skipped: Vec::new(),
        };
        let events = [Ok(p2p_api::files::ShareEvent::Link { link, drive }), Ok(event)];
        p2p_api::AppResponse::lines(stream::iter(events).boxed())
    }
}
