//! A home of its own, commands in this process, and what they printed.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use p2p_api::testing::FakeNode;
use p2p_api::{ApiError, ErrorKind as Kind};
use p2p_cli::{Environment, NodeEnvironment, NodeOptions, RunningNode, StartOptions, Streams};
use p2p_client::Client;
use p2p_node::{Access, bind, serve};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::files::Files;

const PATIENCE: Duration = Duration::from_secs(10);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) struct Scene {
    folder: TempDir,
    /// The node of the daemon and of every node inside a command.
    pub(crate) fake: FakeNode,
    started: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    /// What the last command has printed so far.
    out: Mutex<Buffer>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            fake: FakeNode::new(),
            started: Arc::default(),
            running: Arc::default(),
            out: Mutex::default(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn socket(&self) -> PathBuf {
        self.home().join("api.sock")
    }

    /// A folder with three files of 1,024 bytes together.
    pub(crate) fn site(&self) -> String {
        let site = self.folder.path().join("site");
        fs::create_dir_all(site.join("img")).unwrap();
        fs::write(site.join("index.html"), "<h1>site</h1>").unwrap();
        fs::write(site.join("img/a.txt"), "01234567890").unwrap();
        fs::write(site.join("img/b.bin"), [7; 1000]).unwrap();
        site.to_str().unwrap().to_owned()
    }

    pub(crate) async fn p2p(&self, args: &[&str]) -> Done {
        self.run(args, Buffer::default()).await
    }

    /// The lines of a command that succeeds with `--json`.
    pub(crate) async fn json(&self, args: &[&str]) -> Vec<Value> {
        let done = self.p2p(&[&["--json"], args].concat()).await;
        assert_eq!((done.status, done.err.as_str()), (0, ""), "{args:?}");
        done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) async fn p2p_into_broken_pipe(&self, args: &[&str]) -> Done {
        self.run(args, Buffer { is_broken: true, ..Buffer::default() }).await
    }

    async fn run(&self, args: &[&str], out: Buffer) -> Done {
        let err = Buffer::default();
        *self.out.lock().unwrap() = out.clone();
        let (fake, started, running) = (self.fake.clone(), self.started.clone(), self.running.clone());
        let environment = Environment::new(move |options: NodeOptions| {
            let (fake, started, running) = (fake.clone(), started.clone(), running.clone());
            async move {
                started.fetch_add(1, Ordering::SeqCst);
                running.fetch_add(1, Ordering::SeqCst);
                let server = Server::start(&options.socket, &fake);
                let shutdown = || {
                    async move {
                        server.stop().await;
                        running.fetch_sub(1, Ordering::SeqCst);
                    }
                    .boxed()
                };
                Ok(RunningNode { socket: options.socket, shutdown: Box::new(shutdown) })
            }
            .boxed()
        })
        .with_streams(streams(&out, &err));
        let status = p2p_cli::run(self.arguments("p2p", args), environment).await;
        Done { status, out: out.text(), err: err.text() }
    }

    /// `p2pnode` with a daemon that prints its network and cannot start.
    pub(crate) async fn p2pnode(&self, args: &[&str]) -> Done {
        let (out, err) = (Buffer::default(), Buffer::default());
        let start = |_: StartOptions| {
            let error = ApiError::new(Kind::NotAllowed, "the home is not yours");
            async { Err(anyhow::Error::new(error).context("cannot start")) }.boxed()
        };
        let config =
            |options: &StartOptions| Ok(format!("network = {:?}\n", options.network.as_deref().unwrap_or("main")));
        let environment = NodeEnvironment::new(start, config).with_streams(streams(&out, &err));
        let status = p2p_cli::run_node(self.arguments("p2pnode", args), environment).await;
        Done { status, out: out.text(), err: err.text() }
    }

    fn arguments(&self, program: &str, args: &[&str]) -> Vec<OsString> {
        let home = self.home().into_os_string();
        let socket = self.socket().into_os_string();
        let mut all: Vec<OsString> = vec![program.into(), "--home".into(), home, "--api".into(), socket];
        all.extend(args.iter().map(OsString::from));
        all
    }

    pub(crate) fn nodes_started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    pub(crate) fn nodes_running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// Waits until a node answers.
    pub(crate) async fn wait_for_node(&self) -> Client {
        let connected = async {
            loop {
                match Client::connect(self.socket()).await {
                    Ok(client) => return client,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, connected).await.expect("a node starts")
    }

    /// Waits until the last command has printed `text`.
    pub(crate) async fn wait_for_output(&self, text: &str) {
        let printed = async {
            loop {
                let out = self.out.lock().unwrap().text();
                if out.contains(text) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, printed).await;
        assert!(found.is_ok(), "{text:?} was not printed: {}", self.out.lock().unwrap().text());
    }
}

/// A server that goes on while commands come and go.
pub(crate) struct Daemon(Server);

impl Daemon {
    pub(crate) async fn start(scene: &Scene) -> Self {
        let server = Server::start(&scene.socket(), &scene.fake);
        scene.wait_for_node().await;
        Self(server)
    }

    pub(crate) async fn stop(self) {
        self.0.stop().await;
    }
}

struct Server {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    fn start(socket: &Path, fake: &FakeNode) -> Self {
        let (listener, guard) = bind(socket).unwrap();
        let stop = CancellationToken::new();
        let access = Access::in_memory(socket.parent().unwrap());
        let serving = serve(listener, fake.node(), vec![Arc::new(Files)], access, stop.clone().cancelled_owned());
        let task = tokio::spawn(async move {
            serving.await.unwrap();
            drop(guard);
        });
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[derive(Clone, Default)]
struct Buffer {
    bytes: Arc<Mutex<Vec<u8>>>,
    is_broken: bool,
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn streams(out: &Buffer, err: &Buffer) -> Streams {
    Streams { out: Box::new(out.clone()), err: Box::new(err.clone()), is_out_terminal: false, is_err_terminal: false }
}
