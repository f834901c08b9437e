//! A network of pipes: whoever is entered can be dialled, whoever is shown is a neighbour.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use p2p_identity::{DriveId, Keystore, PeerAddr, PeerId, SecretKey, SecretKind};
use tempfile::TempDir;
use tokio::io::DuplexStream;

use crate::{
    BrowseQuota, Cache, CacheOpened, DialError, Dialer, Drives, DrivesConfig, HeadEnvelope, ImportProgress, Ledger,
    LocalPath, MemoryCache, MemoryLedger, PathKey, PeerStream, Providers, ReadKey,
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

    /// A neighbour as soon as [`Self::show_hidden`] is called.
    pub(crate) fn hide(&self, peer: PeerId) {
        self.hidden.lock().unwrap().push(peer);
    }

    /// The liar was met: now the others come.
    pub(crate) fn show_hidden(&self) {
        self.shown.lock().unwrap().append(&mut self.hidden.lock().unwrap());
    }

    /// A pipe from one node to another.
    pub(crate) fn open(&self, from: PeerId, to: PeerId) -> Result<DuplexStream, DialError> {
        let acceptor = self.acceptors.lock().unwrap().get(&to).cloned().ok_or(DialError("nobody there".into()))?;
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(acceptor(from, far));
        Ok(near)
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
        Ok(Box::new(net.open(self.me, peer)?))
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
        stream::empty().boxed()
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

impl TestNode {
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
        Self::start_with(net, number, home, cache, Arc::new(MemoryLedger::default()), browse_quota)
    }

    /// A node in a home that was lived in, with what its ledger says.
    pub(crate) fn start_with(
        net: &Arc<Net>,
        number: u8,
        home: TempDir,
        cache: Arc<dyn Cache>,
        ledger: Arc<dyn Ledger>,
        browse_quota: BrowseQuota,
    ) -> Self {
        let peer = peer(number);
        let keystore = Arc::new(Mutex::new(Keystore::open_or_create(&home.path().join("keys")).unwrap()));
        let line = Arc::new(Line { net: Arc::downgrade(net), me: peer });
        let (drives, _) = Drives::open(DrivesConfig {
            me: peer,
            directory: home.path().join("drives"),
            ledger,
            cache,
            cache_opened: CacheOpened::Kept,
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
        Self { peer, drives, home, keystore }
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
        let mut keys: Vec<PathKey> =
            files.keys().map(String::as_str).chain(["d", "d/e"]).map(|p| PathKey::from_path(p).unwrap()).collect();
        keys.sort();
        let paths = stream::iter(keys.into_iter().map(|key| Ok(LocalPath { key, at: None }))).boxed();
        let published =
            node.drives.import(&id, paths, String::new(), Arc::new(ImportProgress::default())).await.unwrap();
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
