//! A network of pipes: whoever is entered can be dialled, whoever is shown is a neighbour.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use p2p_identity::{DriveId, Keystore, PeerAddr, PeerId, SecretKey, SecretKind};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    BrowseQuota, Cache, CacheOpened, DialError, Dialer, Drives, DrivesConfig, Extent, HeadEnvelope, ImportProgress,
    LocalPath, MemoryCache, MemoryLedger, Named, PathKey, PeerStream, Providers, Published, ReadKey,
};

/// Bytes that lie in a pipe before its writer has to wait.
pub(crate) const PIPE_BYTES: usize = 64 * 1024;

/// Serves a stream that a peer opened.
type Acceptor = Arc<dyn Fn(PeerId, DuplexStream) -> BoxFuture<'static, ()> + Send + Sync>;

/// All nodes of a test.
#[derive(Default)]
pub(crate) struct Net {
    acceptors: Mutex<HashMap<PeerId, Acceptor>>,
    hidden: Mutex<Vec<PeerId>>,
    shown: Mutex<Vec<PeerId>>,
    /// Whom a search in the DHT finds.
    providers: Mutex<Vec<PeerId>>,
    /// Lines of peers that are not as fast as memory.
    lines: Mutex<HashMap<PeerId, Arc<Mutex<Uplink>>>>,
}

impl Net {
    /// Enters a node that nobody sees yet.
    pub(crate) fn enter(&self, peer: PeerId, acceptor: Acceptor) {
        self.acceptors.lock().unwrap().insert(peer, acceptor);
    }

    /// A neighbour from now on.
    pub(crate) fn show(&self, peer: PeerId) {
        self.shown.lock().unwrap().push(peer);
    }

    /// From now on nobody is a neighbour of anybody.
    pub(crate) fn show_nobody(&self) {
        self.shown.lock().unwrap().clear();
    }

    /// Found in the DHT from now on.
    pub(crate) fn provide(&self, peer: PeerId) {
        self.providers.lock().unwrap().push(peer);
    }

    /// A neighbour as soon as [`Self::show_hidden`] is called.
    pub(crate) fn hide(&self, peer: PeerId) {
        self.hidden.lock().unwrap().push(peer);
    }

    /// The liar was met: now the others come.
    pub(crate) fn show_hidden(&self) {
        self.shown.lock().unwrap().append(&mut self.hidden.lock().unwrap());
    }

    /// What a node sends goes over this from now on.
    pub(crate) fn set_uplink(&self, peer: PeerId, uplink: Uplink) {
        self.lines.lock().unwrap().insert(peer, Arc::new(Mutex::new(uplink)));
    }

    /// Bytes that a node has sent over its uplink.
    pub(crate) fn sent(&self, peer: PeerId) -> u64 {
        self.lines.lock().unwrap().get(&peer).map_or(0, |line| line.lock().unwrap().sent)
    }

    /// A pipe from one node to another.
    pub(crate) fn open(&self, from: PeerId, to: PeerId) -> Result<DuplexStream, DialError> {
        let acceptor = self.acceptors.lock().unwrap().get(&to).cloned().ok_or(DialError("nobody there".into()))?;
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(acceptor(from, far));
        Ok(near)
    }
}

/// A line that many streams share.
pub(crate) struct Uplink {
    /// Bytes a second.
    pub(crate) rate: u64,
    /// From then on nothing comes.
    pub(crate) stalls_at: Option<Instant>,
    /// From so many bytes on they are wrong.
    pub(crate) lies_after: Option<u64>,
    /// When the line is free again.
    free_at: Option<Instant>,
    sent: u64,
}

impl Uplink {
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate, stalls_at: None, lies_after: None, free_at: None, sent: 0 }
    }
}

/// The opener's end of a stream whose other end sends over a line.
struct Shaped {
    stream: DuplexStream,
    uplink: Arc<Mutex<Uplink>>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Shaped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if let Some(pause) = &mut this.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            let mut uplink = this.uplink.lock().unwrap();
            let now = Instant::now();
            if uplink.stalls_at.is_some_and(|at| now >= at) {
                // Whoever reads is woken by its own clock.
                return Poll::Pending;
            }
            if let Some(free) = uplink.free_at.filter(|free| *free > now) {
                this.pause = Some(Box::pin(sleep_until(free)));
                continue;
            }
            let before = buf.filled().len();
            std::task::ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            let came = (buf.filled().len() - before) as u64;
            uplink.sent += came;
            if uplink.lies_after.is_some_and(|after| uplink.sent > after)
                && let Some(byte) = buf.filled_mut().get_mut(before)
                && came > 1_000
            {
                *byte ^= 1;
            }
            let took = Duration::from_secs_f64(came as f64 / uplink.rate as f64);
            // The clock goes in milliseconds: what it was late is made up for.
            let late = now.checked_sub(Duration::from_millis(5)).unwrap_or(now);
            uplink.free_at = Some(uplink.free_at.unwrap_or(now).max(late) + took);
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for Shaped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// One node's end of the network.
struct Line {
    /// Weak: the network holds its nodes, and their folders are removed with them.
    net: Weak<Net>,
    me: PeerId,
}

#[async_trait]
impl Dialer for Line {
    async fn open(&self, peer: PeerId) -> Result<PeerStream, DialError> {
        let net = self.net.upgrade().ok_or(DialError("the test is over".into()))?;
        let stream = net.open(self.me, peer)?;
        let uplink = net.lines.lock().unwrap().get(&peer).cloned();
        Ok(match uplink {
            Some(uplink) => Box::new(Shaped { stream, uplink, pause: None }),
            None => Box::new(stream),
        })
    }

    async fn remember(&self, _: PeerAddr) {}

    fn own_addresses(&self) -> Vec<PeerAddr> {
        Vec::new()
    }

    fn on_proven(&self, _: PeerId) {}
}

#[async_trait]
impl Providers for Line {
    fn find(&self, _: [u8; 32]) -> BoxStream<'static, PeerId> {
        let found = self.net.upgrade().map(|net| net.providers.lock().unwrap().clone());
        stream::iter(found.unwrap_or_default()).boxed()
    }

    async fn announce(&self, _: [u8; 32]) {}

    async fn withdraw(&self, _: [u8; 32]) {}

    fn neighbours(&self) -> Vec<PeerId> {
        self.net.upgrade().map(|net| net.shown.lock().unwrap().clone()).unwrap_or_default()
    }
}

/// A node, and where it lives.
pub(crate) struct TestNode {
    pub(crate) peer: PeerId,
    pub(crate) drives: Drives,
    pub(crate) home: TempDir,
    pub(crate) keystore: Arc<Mutex<Keystore>>,
}

/// What a node keeps outside of its home.
pub(crate) struct Stores {
    pub(crate) ledger: Arc<MemoryLedger>,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) cache_opened: CacheOpened,
}

impl TestNode {
    /// Imports these paths of a drive's folder, in any order.
    pub(crate) async fn import<S: AsRef<str>>(
        &self,
        id: &DriveId,
        names: impl IntoIterator<Item = S>,
        extent: Extent,
    ) -> Published {
        let mut keys: Vec<PathKey> = names.into_iter().map(|name| PathKey::from_path(name.as_ref()).unwrap()).collect();
        keys.sort();
        let path = |key| Ok(LocalPath { key, at: None, named: Named::Entry });
        let paths = stream::iter(keys.into_iter().map(path)).boxed();
        self.drives.import(id, paths, extent, String::new(), Arc::new(ImportProgress::default())).await.unwrap()
    }

    /// A node on `net` that serves what it has.
    pub(crate) fn start(net: &Arc<Net>, number: u8) -> Self {
        let cache = Arc::new(MemoryCache::default());
        Self::start_in(net, number, tempfile::tempdir().unwrap(), cache, BrowseQuota::Auto)
    }

    /// A node in a home that may have been lived in.
    pub(crate) fn start_in(
        net: &Arc<Net>,
        number: u8,
        home: TempDir,
        cache: Arc<dyn Cache>,
        browse_quota: BrowseQuota,
    ) -> Self {
        let stores = Stores { ledger: Arc::default(), cache, cache_opened: CacheOpened::Kept };
        Self::start_with(net, number, home, stores, browse_quota).0
    }

    /// As [`Self::start_in`], with stores of an earlier life; and what the start has to say.
    pub(crate) fn start_with(
        net: &Arc<Net>,
        number: u8,
        home: TempDir,
        stores: Stores,
        browse_quota: BrowseQuota,
    ) -> (Self, Vec<String>) {
        let peer = peer(number);
        let keystore = Arc::new(Mutex::new(Keystore::open_or_create(&home.path().join("keys")).unwrap()));
        let line = Arc::new(Line { net: Arc::downgrade(net), me: peer });
        let Stores { ledger, cache, cache_opened } = stores;
        let (drives, notices) = Drives::open(DrivesConfig {
            me: peer,
            directory: home.path().join("drives"),
            ledger,
            cache,
            cache_opened,
            browse_quota,
            keystore: keystore.clone(),
            locked: tokio::sync::watch::channel(false).1,
            dialer: line.clone(),
            providers: line,
            history_bytes: 1 << 30,
        })
        .unwrap();
        let server = drives.clone();
        net.enter(
            peer,
            Arc::new(move |from, stream| {
                let server = server.clone();
                Box::pin(async move { server.serve(from, Box::new(stream)).await })
            }),
        );
        (Self { peer, drives, home, keystore }, notices)
    }
}

/// The honest node: it shares a folder with all sorts of files.
pub(crate) struct Owner {
    pub(crate) node: TestNode,
    pub(crate) id: DriveId,
    pub(crate) key: SecretKey,
    pub(crate) read_key: ReadKey,
    pub(crate) head: HeadEnvelope,
    pub(crate) folder: PathBuf,
    /// Path and content of all files.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Set when a liar has told its lie.
    pub(crate) lie_was_told: AtomicBool,
}

/// Size of the one large file.
pub(crate) const LARGE_BYTES: usize = 3 * 1024 * 1024;

impl Owner {
    /// Shares a folder with an inline file, small ones and a large one.
    pub(crate) async fn start(net: &Arc<Net>) -> Arc<Self> {
        let node = TestNode::start(net, 1);
        let folder = node.home.path().join("shared");
        let files: BTreeMap<String, Vec<u8>> =
            [("a", 1_000), ("d/b", 50_000), ("d/e/c", 70), ("large", LARGE_BYTES), ("tiny", 10)]
                .map(|(path, len)| (path.to_owned(), content(path, len)))
                .into();
        for (path, bytes) in &files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let id = node.drives.create(Some(&folder), "shared").unwrap().id;
        let names = files.keys().map(String::as_str).chain(["d", "d/e"]);
        let published = node.import(&id, names, Extent::Everything).await;
        assert_eq!((published.files, published.left_out.len()), (5, 0));
        let key = node.keystore.lock().unwrap().get(SecretKind::DRIVE, id.as_bytes()).unwrap().unwrap();
        let head = node.drives.shared().registry.get(&id).unwrap().head().unwrap();
        let read_key = ReadKey::of_public(&id);
        Arc::new(Self { node, id, key, read_key, head, folder, files, lie_was_told: AtomicBool::new(false) })
    }

    pub(crate) fn lie_was_told(&self) -> bool {
        self.lie_was_told.load(Ordering::Relaxed)
    }
}

/// A peer's id, for tests.
pub(crate) fn peer(number: u8) -> PeerId {
    PeerId::from([number; 32])
}

/// Content that differs from path to path and from group to group.
fn content(path: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(path.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Files under a folder: path below it and content. Files that are still being written have names of their own.
pub(crate) fn files_under(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}
