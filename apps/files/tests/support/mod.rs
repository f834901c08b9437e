//! A node that only remembers: enough of the contract for the app to be tested without a network.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use p2p_api::*;
use p2p_identity::{DriveId, PeerId, SecretKey};

/// What the fake remembers. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    pub(crate) state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) drives: Vec<DriveInfo>,
    /// Paths of each import, in order.
    pub(crate) imports: Vec<Vec<String>>,
    /// What was asked to be followed.
    pub(crate) followed: Vec<Follow>,
    /// Returned by the next `follow`.
    pub(crate) follow_fails: Option<ApiError>,
    /// Returned by the next `import`, after the folder got a file more.
    pub(crate) import_fails: Option<(ApiError, PathBuf)>,
}

impl Fake {
    pub(crate) fn node(&self) -> Node {
        Node::new(Arc::new(self.clone()))
    }

    /// A drive that is in the registry already.
    pub(crate) fn with_drive(self, role: DriveRole, path: Option<PathBuf>) -> Self {
        self.add(role, path, String::new());
        self
    }

    pub(crate) fn drives(&self) -> Vec<DriveInfo> {
        self.state.lock().unwrap().drives.clone()
    }

    pub(crate) fn imports(&self) -> Vec<Vec<String>> {
        self.state.lock().unwrap().imports.clone()
    }

    fn add(&self, role: DriveRole, path: Option<PathBuf>, title: String) -> DriveInfo {
        let mut state = self.state.lock().unwrap();
        let number = u8::try_from(state.drives.len()).expect("a test has few drives");
        let drive = DriveId::from(SecretKey::from_seed(&[number + 1; 32]).public());
        let link = format!("p2p://{drive}/");
        let info = DriveInfo {
            drive,
            link,
            path,
            role,
            version: 0,
            head: None,
            files: 0,
            bytes: 0,
            peers: 0,
            complete: true,
            title,
            syncs: false,
            withheld: Vec::new(),
        };
        state.drives.push(info.clone());
        info
    }
}

fn unused<T>() -> Result<T> {
    Err(ApiError::new(ErrorKind::Unsupported, "the fake cannot do this"))
}

#[async_trait]
impl Contract for Fake {
    async fn info(&self) -> Result<NodeInfo> {
        unused()
    }
    async fn stop(&self) -> Result<()> {
        unused()
    }
    async fn events(&self, _query: EventQuery) -> Result<EventStream> {
        unused()
    }
    async fn metrics(&self) -> Result<String> {
        unused()
    }
    async fn peers(&self) -> Result<Vec<PeerInfo>> {
        unused()
    }
    async fn dial(&self, _target: &str, _timeout: Duration) -> Result<Dialed> {
        unused()
    }
    async fn ping(&self, _peer: PeerId, _timeout: Duration) -> Result<Ping> {
        unused()
    }
    async fn find_providers(&self, _key: [u8; 32], _timeout: Duration) -> Result<Vec<Provider>> {
        unused()
    }
    async fn provide(&self, _key: [u8; 32]) -> Result<()> {
        unused()
    }
    async fn stop_providing(&self, _key: [u8; 32]) -> Result<()> {
        unused()
    }

    async fn drives(&self) -> Result<Vec<DriveInfo>> {
        Ok(Self::drives(self))
    }

    async fn create_drive(&self, new: NewDrive) -> Result<DriveInfo> {
        if let Some(known) = Self::drives(self).into_iter().find(|drive| drive.path == new.path) {
            return Ok(known);
        }
        Ok(self.add(DriveRole::Owner, new.path, new.title))
    }

    async fn drive(&self, drive: DriveId) -> Result<DriveInfo> {
        let found = Self::drives(self).into_iter().find(|known| known.drive == drive);
        let mut info = found.ok_or_else(|| ApiError::not_found("no such drive"))?;
        info.link.push_str("?at=hint");
        Ok(info)
    }

    async fn open_drive(&self, _open: Open) -> Result<DriveInfo> {
        unused()
    }

    async fn remove_drive(&self, drive: DriveId) -> Result<Removed> {
        let mut state = self.state.lock().unwrap();
        let index = state.drives.iter().position(|known| known.drive == drive);
        let index = index.ok_or_else(|| ApiError::not_found("no such drive"))?;
        let info = state.drives.remove(index);
        Ok(Removed { drive, path: info.path })
    }

    async fn import(&self, _drive: DriveId, _how: Import, changes: Stream<Change>) -> Result<Stream<ImportEvent>> {
        let state = self.state.clone();
        let published = async move {
            let paths: Vec<String> = changes.map_ok(|change| change.path).try_collect().await?;
            let files = paths.len() as u64;
            let mut state = state.lock().unwrap();
            state.imports.push(paths);
            if let Some((error, brought)) = state.import_fails.take() {
                std::fs::write(brought, "brought").unwrap();
                return Err(error);
            }
            let version = state.imports.len() as u64;
            let skipped = vec![Skipped { path: "unreadable".into(), reason: "from the engine".into() }];
            Ok(ImportEvent::Published { version, files, bytes: 0, changed: true, skipped })
        };
        let working = stream::iter([Ok(ImportEvent::Progress(Progress::default()))]);
        Ok(working.chain(published.into_stream()).boxed())
    }

    async fn tree(&self, _drive: DriveId, _query: TreeQuery) -> Result<Stream<TreeEntry>> {
        unused()
    }
    async fn read(&self, _drive: DriveId, _path: &str, _range: ReadRange) -> Result<Content> {
        unused()
    }

    async fn follow(&self, follow: Follow) -> Result<Stream<TransferEvent>> {
        let mut state = self.state.lock().unwrap();
        state.followed.push(follow);
        if let Some(error) = state.follow_fails.take() {
            return Err(error);
        }
        let drive = DriveId::from(SecretKey::from_seed(&[9; 32]).public());
        let done =
            TransferEvent::Done { drive, version: 3, files: 2, bytes: 10, bytes_fetched: 8, peers: 1, skipped: vec![] };
        Ok(stream::iter([Ok(TransferEvent::Progress(Progress::default())), Ok(done)]).boxed())
    }
}
