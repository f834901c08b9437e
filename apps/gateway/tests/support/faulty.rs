//! The fake node with a provider that misbehaves.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use p2p_api::testing::FakeNode;
use p2p_api::*;

use super::past::Past;

/// How reading goes wrong.
#[derive(Clone, Debug, Default)]
pub(crate) enum Fault {
    /// Not at all.
    #[default]
    None,
    /// An error after so many pieces.
    BreaksAfter(usize),
    /// The stream ends early, without an error.
    EndsAfter(usize),
    /// Nothing comes any more after so many pieces.
    StallsAfter(usize),
    /// Reading fails at once.
    Fails(ApiError),
    /// Nobody who has the drive is found.
    Unknown,
    /// Finding somebody takes so long, the first time.
    FoundAfter(Duration),
}

#[derive(Clone)]
pub(crate) struct Faulty {
    fake: FakeNode,
    state: Arc<Mutex<(Fault, usize)>>,
    role: Arc<Mutex<DriveRole>>,
    is_busy: Arc<AtomicBool>,
    /// How often it was asked what has travelled.
    looks: Arc<AtomicU64>,
    past: Past,
    has_past: Arc<AtomicBool>,
}

impl Faulty {
    pub(crate) fn new(fake: FakeNode) -> Self {
        Self {
            past: Past { fake: fake.clone() },
            has_past: Arc::default(),
            fake,
            state: Arc::default(),
            role: Arc::new(Mutex::new(DriveRole::Owner)),
            is_busy: Arc::default(),
            looks: Arc::default(),
        }
    }

    pub(crate) fn node(&self) -> Node {
        Node::new(Arc::new(self.clone()))
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.state.lock().unwrap().0 = fault;
    }

    /// From now on things travel, and drives were looked at.
    pub(crate) fn seem_busy(&self) {
        self.is_busy.store(true, Relaxed);
    }

    /// From now on drives have earlier versions, several writers and conflicts.
    pub(crate) fn seem_old(&self) {
        self.has_past.store(true, Relaxed);
    }

    /// What this node is to its drives.
    pub(crate) fn set_role(&self, role: DriveRole) {
        *self.role.lock().unwrap() = role;
    }

    /// How often a file was read.
    pub(crate) fn reads(&self) -> usize {
        self.state.lock().unwrap().1
    }

    fn fault(&self) -> Fault {
        self.state.lock().unwrap().0.clone()
    }

    fn unknown(&self) -> Result<()> {
        match self.fault() {
            Fault::Unknown => Err(ApiError::not_found("nobody who was reached has the drive")),
            _ => Ok(()),
        }
    }

    fn with_role(&self, info: DriveInfo) -> DriveInfo {
        let role = *self.role.lock().unwrap();
        // A mirror here is always one whose copy is under way.
        let version = if role == DriveRole::Mirror { 0 } else { info.version };
        DriveInfo { role, version, ..info }
    }
}

#[async_trait]
impl Contract for Faulty {
    async fn info(&self) -> Result<NodeInfo> {
        self.fake.info().await
    }
    async fn stop(&self) -> Result<()> {
        self.fake.stop().await
    }
    async fn events(&self, query: EventQuery) -> Result<EventStream> {
        self.fake.events(query).await
    }
    async fn health(&self) -> Result<Health> {
        self.fake.health().await
    }
    async fn metrics(&self) -> Result<String> {
        self.fake.metrics().await
    }
    async fn peers(&self) -> Result<Vec<PeerInfo>> {
        self.fake.peers().await
    }
    async fn dial(&self, target: &str, timeout: Duration) -> Result<Dialed> {
        self.fake.dial(target, timeout).await
    }
    async fn ping(&self, peer: PeerId, timeout: Duration) -> Result<Ping> {
        self.fake.ping(peer, timeout).await
    }
    async fn find_providers(&self, key: [u8; 32], timeout: Duration) -> Result<Vec<Provider>> {
        self.fake.find_providers(key, timeout).await
    }
    async fn provide(&self, key: [u8; 32]) -> Result<()> {
        self.fake.provide(key).await
    }
    async fn stop_providing(&self, key: [u8; 32]) -> Result<()> {
        self.fake.stop_providing(key).await
    }
    async fn drives(&self) -> Result<Vec<DriveInfo>> {
        Ok(self.fake.drives().await?.into_iter().map(|info| self.with_role(info)).collect())
    }
    async fn create_drive(&self, new: NewDrive) -> Result<DriveInfo> {
        self.fake.create_drive(new).await
    }
    async fn drive(&self, drive: DriveId) -> Result<DriveInfo> {
        self.unknown()?;
        if matches!(self.fault(), Fault::FoundAfter(_)) {
            return Err(ApiError::not_found("not known yet"));
        }
        Ok(self.with_role(self.fake.drive(drive).await?))
    }
    async fn open_drive(&self, open: Open) -> Result<DriveInfo> {
        self.unknown()?;
        if let Fault::FoundAfter(time) = self.fault() {
            tokio::time::sleep(time).await;
            self.set(Fault::None);
        }
        Ok(self.with_role(self.fake.open_drive(open).await?))
    }
    async fn remove_drive(&self, drive: DriveId) -> Result<Removed> {
        self.fake.remove_drive(drive).await
    }
    async fn import(&self, drive: DriveId, how: Import, changes: Stream<Change>) -> Result<Stream<ImportEvent>> {
        self.fake.import(drive, how, changes).await
    }
    async fn usage(&self) -> Result<StorageUsage> {
        let mut usage = self.fake.usage().await?;
        if self.is_busy.load(Relaxed) {
            let seen = [(4, "A film archive", 912_000_000), (5, "", 3_400_000)];
            usage.drives.extend(seen.map(|(byte, title, cached_bytes)| DriveUsage {
                drive: DriveId::from([byte; 32]),
                title: title.to_owned(),
                role: DriveRole::Reader,
                path: None,
                files: 0,
                bytes: 0,
                cached_bytes,
                looked_at: Some(1_790_000_000),
                stopped: false,
                versions: 0,
                index_bytes: 0,
            }));
            usage.browsed =
                BrowsedUsage { quota_bytes: 10_000_000_000, used_bytes: 915_400_000, state: BrowsedState::Growing };
            (usage.index_bytes, usage.free_bytes) = (21_000_000, 184_000_000_000);
        }
        Ok(usage)
    }
    async fn free(&self, drive: Option<DriveId>) -> Result<Freed> {
        self.fake.free(drive).await
    }
    async fn repair(&self) -> Result<Stream<RepairEvent>> {
        self.fake.repair().await
    }
    async fn local_names(&self, drive: DriveId) -> Result<Vec<LocalName>> {
        self.fake.local_names(drive).await
    }
    async fn traffic(&self) -> Result<Traffic> {
        if !self.is_busy.load(Relaxed) {
            return self.fake.traffic().await;
        }
        let (peers, drives) = (self.fake.peers().await?, self.fake.drives().await?);
        let looks = self.looks.fetch_add(1, Relaxed) + 1;
        let flows = peers.iter().zip(drives.iter().cycle()).map(|(peer, drive)| Flow {
            peer: peer.peer,
            drive: drive.drive,
            sent_bytes: 40_000 * looks,
            received_bytes: 5_000_000 * looks,
        });
        Ok(Traffic { flows: flows.take(2).collect() })
    }
    fn history(&self) -> &dyn HistoryContract {
        if self.has_past.load(Relaxed) { &self.past } else { self.fake.history() }
    }
    fn writers(&self) -> &dyn WritersContract {
        if self.has_past.load(Relaxed) { &self.past } else { self.fake.writers() }
    }
    fn names(&self) -> &dyn NamesContract {
        self.fake.names()
    }
    fn keystore(&self) -> &dyn KeystoreContract {
        Contract::keystore(&self.fake)
    }
    fn people(&self) -> &dyn PeopleContract {
        Contract::people(&self.fake)
    }
    async fn tree(&self, drive: DriveId, query: TreeQuery) -> Result<Stream<TreeEntry>> {
        self.fake.tree(drive, query).await
    }

    async fn read(&self, drive: DriveId, path: &str, range: ReadRange) -> Result<Content> {
        self.state.lock().unwrap().1 += 1;
        let fault = self.fault();
        if let (Fault::Fails(error), false) = (&fault, path.starts_with(".p2p")) {
            return Err(error.clone());
        }
        let mut content = self.fake.read(drive, path, range).await?;
        if path.starts_with(".p2p") {
            return Ok(content);
        }
        content.stream = match fault {
            Fault::None | Fault::Fails(_) | Fault::Unknown | Fault::FoundAfter(_) => content.stream,
            Fault::EndsAfter(pieces) => content.stream.take(pieces).boxed(),
            Fault::StallsAfter(pieces) => content.stream.take(pieces).chain(stream::pending()).boxed(),
            Fault::BreaksAfter(pieces) => {
                let error = ApiError::new(ErrorKind::TimedOut, "the provider is gone");
                content.stream.take(pieces).chain(stream::iter([Err(error)])).boxed()
            }
        };
        Ok(content)
    }

    async fn follow(&self, follow: Follow) -> Result<Stream<TransferEvent>> {
        self.fake.follow(follow).await
    }
}
