//! Nodes with a folder each, which are scanned and published as by whoever watches them.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use p2p_identity::{DriveId, Link, Target, WriterKey, is_cut_name, stored_name};

use super::network::{Net, Stores, TestNode};
use crate::tree::NodeId;
use crate::{
    BrowseQuota, CacheOpened, DriveError, Extent, ExternalLinks, Ledger, LocalPath, MemoryCache, MemoryLedger, Named,
    NewWriter, PathKey, Published,
};

/// How long something is waited for, by the paused clock.
const PATIENCE: Duration = Duration::from_secs(300);

/// A node and its folder of the drive.
pub(crate) struct Member {
    pub(crate) node: TestNode,
    pub(crate) id: DriveId,
    pub(crate) folder: PathBuf,
    pub(crate) ledger: Arc<MemoryLedger>,
    cache: Arc<MemoryCache>,
}

impl Member {
    /// A node with a drive of its own that has these files.
    pub(crate) async fn owner(net: &Arc<Net>, files: &[(&str, &str)]) -> Self {
        let mut owner = Self::start(net, 1, DriveId::from([0; 32]), None);
        std::fs::create_dir_all(&owner.folder).unwrap();
        for (path, text) in files {
            owner.write(path, text);
        }
        owner.id = owner.node.drives.create(Some(&owner.folder), "t").unwrap().id;
        net.show(owner.node.peer);
        owner.publish().await.unwrap();
        owner
    }

    /// A node that the owner lets in and whose folder, by default in its home, is in step.
    pub(crate) async fn writer(net: &Arc<Net>, number: u8, owner: &Self, folder: Option<&Path>) -> Self {
        let writer = Self::start(net, number, owner.id, folder);
        net.show(writer.node.peer);
        let key = writer.key();
        let new = NewWriter { writer: key, prefix: None, not_after_ms: None, max_counter: None };
        owner.node.drives.add_writer(&owner.id, new).await.unwrap();
        writer
    }

    fn start(net: &Arc<Net>, number: u8, id: DriveId, folder: Option<&Path>) -> Self {
        let (ledger, cache) = (Arc::new(MemoryLedger::default()), Arc::new(MemoryCache::default()));
        let home = tempfile::tempdir().unwrap();
        let stores = Stores { ledger: ledger.clone(), cache: cache.clone(), cache_opened: CacheOpened::Kept };
        let (node, _) = TestNode::start_with(net, number, home, stores, BrowseQuota::Auto);
        let folder = folder.map_or_else(|| node.home.path().join("folder"), Path::to_owned);
        Self { node, id, folder, ledger, cache }
    }

    /// The same home and folder, and another ledger if wanted: as after a restart.
    pub(crate) fn restarted(self, net: &Arc<Net>, number: u8, ledger: Option<Arc<MemoryLedger>>) -> Self {
        let Self { node, id, folder, ledger: before, cache } = self;
        node.drives.stop();
        let TestNode { home, drives, keystore, .. } = node;
        drop((drives, keystore));
        let ledger = ledger.unwrap_or(before);
        let stores = Stores { ledger: ledger.clone(), cache: cache.clone(), cache_opened: CacheOpened::Kept };
        let (node, _) = TestNode::start_with(net, number, home, stores, BrowseQuota::Auto);
        Self { node, id, folder, ledger, cache }
    }

    pub(crate) fn key(&self) -> WriterKey {
        self.node.drives.writer_key(&self.id).unwrap()
    }

    /// Brings the folder in step.
    pub(crate) async fn sync(&self) {
        let link = Link::to(Target::Drive(self.id));
        let patience = Some(Duration::from_secs(60));
        let synced =
            self.node.drives.sync(&link, &self.folder, ExternalLinks::LeaveOut, patience, Arc::default()).await;
        synced.unwrap();
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(path)).ok()
    }

    pub(crate) fn remove(&self, path: &str) {
        std::fs::remove_file(self.folder.join(path)).unwrap();
    }

    /// Imports what is in the folder.
    pub(crate) async fn publish(&self) -> Result<Published, DriveError> {
        let names = self.node.drives.local_names(&self.id)?;
        let cut = names.into_iter().map(|name| (name.local, name.path)).collect();
        let mut paths = Vec::new();
        scan(&self.folder, "", "", &cut, &mut paths);
        paths.sort_by(|a, b| a.key.cmp(&b.key));
        let paths = stream::iter(paths.into_iter().map(Ok)).boxed();
        self.node.drives.import(&self.id, paths, Extent::Everything, String::new(), Arc::default()).await
    }

    pub(crate) fn root(&self) -> NodeId {
        self.node.drives.known(&self.id).unwrap().snapshot().unwrap().root
    }

    /// Waits until a condition holds that a new state of this member makes true.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let mut heads = self.node.drives.known(&self.id).unwrap().head_count.subscribe();
        let seen = async {
            while !holds(self) {
                heads.changed().await.unwrap();
            }
        };
        let is_seen = tokio::time::timeout(PATIENCE, seen).await.is_ok();
        let heads = || self.node.drives.known(&self.id).ok()?.snapshot().map(|at| at.counters());
        assert!(is_seen, "waited in vain for {what}; heads: {:?}", heads());
    }

    pub(crate) async fn until_text(&self, path: &str, text: Option<&str>) {
        let what = format!("{path} to be {text:?}");
        self.until(&what, |member| member.read(path).as_deref() == text).await;
    }

    /// A copy of the ledger as it is now.
    pub(crate) fn saved_ledger(&self) -> Arc<MemoryLedger> {
        saved(&self.ledger, |_| true)
    }

    /// A copy of the ledger without the names.
    pub(crate) fn ledger_without_names(&self) -> Arc<MemoryLedger> {
        saved(&self.ledger, |table| table != crate::LedgerTable::Names)
    }
}

fn saved(ledger: &MemoryLedger, keep: impl Fn(crate::LedgerTable) -> bool) -> Arc<MemoryLedger> {
    let copy = MemoryLedger::default();
    let mut batch = crate::Batch::new();
    for table in
        [crate::LedgerTable::Drive, crate::LedgerTable::Head, crate::LedgerTable::Names, crate::LedgerTable::Tag]
    {
        for (key, value) in ledger.scan(table, &[], None, usize::MAX).unwrap().into_iter().filter(|_| keep(table)) {
            batch.put(table, key, value);
        }
    }
    copy.commit(&batch).unwrap();
    Arc::new(copy)
}

fn scan(root: &Path, at: &str, path: &str, cut: &HashMap<String, String>, found: &mut Vec<LocalPath>) {
    for entry in std::fs::read_dir(root.join(at)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name.as_bytes().ends_with(b".p2ptmp") {
            continue;
        }
        let join =
            |folder: &str, name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let local = join(at, name.to_str().expect("UTF-8"));
        let known = cut.get(&local).filter(|_| is_cut_name(name.to_str().unwrap()));
        let stored = known.map_or_else(|| join(path, &stored_name(name.as_bytes())), Clone::clone);
        found.push(LocalPath {
            key: PathKey::from_path(&stored).unwrap(),
            at: (local != stored).then(|| local.clone()),
            named: Named::Entry,
        });
        if entry.file_type().unwrap().is_dir() {
            scan(root, &local, &stored, cut, found);
        }
    }
}
