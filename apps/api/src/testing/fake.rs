//! A node in memory: drives over real folders, events, peers that tests invent. No network.

mod contents;
mod exchange;
mod journal;
mod names;
mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use p2p_identity::{ContentId, DriveId, Link, PeerId, Target};
use serde_json::json;

use self::contents::Contents;
use self::exchange::Exchange;
use self::journal::Journal;
use crate::{
    ApiError, AppStream, Bound, BoundUnit, BrowsedState, BrowsedUsage, Change, ClockCheck, Content, Contract, DhtMode,
    DialStream, Dialed, DriveInfo, DriveRole, DriveUsage, ErrorKind, EventQuery, EventStream, Follow, Freed, Health,
    Import, ImportEvent, NamesContract, NewDrive, Node, NodeInfo, Open, PathKind, PeerInfo, Ping, Progress, Provider,
    PublishedMessage, PutValue, Reachability, ReadRange, Removed, RepairEvent, Repaired, Result, Sign, Signature,
    SignedValue, StorageUsage, StoredValue, Stream, TopicMessage, Traffic, TransferEvent, TreeEntry, TreeQuery,
};

/// A node for tests of apps. Clones are the same node.
#[derive(Clone)]
pub struct FakeNode {
    inner: Arc<Inner>,
}

struct Inner {
    started: Instant,
    me: PeerId,
    journal: Journal,
    state: Mutex<State>,
    zones: Mutex<Vec<names::Zone>>,
    resolving_fails: Mutex<Option<ApiError>>,
    exchange: Mutex<Exchange>,
    people: Mutex<people::People>,
}

#[derive(Default)]
struct State {
    peers: BTreeMap<PeerId, PeerInfo>,
    provided: BTreeSet<[u8; 32]>,
    drives: BTreeMap<DriveId, Drive>,
    is_stopped: bool,
}

struct Drive {
    path: PathBuf,
    title: String,
    version: u64,
    contents: Arc<Contents>,
}

impl Default for FakeNode {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeNode {
    /// A node that knows nobody and has no drives.
    pub fn new() -> Self {
        let inner = Inner {
            started: Instant::now(),
            me: PeerId::from(*ContentId::of(b"the fake node").as_bytes()),
            journal: Journal::new(),
            state: Mutex::default(),
            zones: Mutex::default(),
            resolving_fails: Mutex::default(),
            exchange: Mutex::default(),
            people: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The handle that apps get.
    pub fn node(&self) -> Node {
        Node::new(Arc::new(self.clone()))
    }

    /// Lets a peer be connected from now on, with the event for it.
    pub fn connect(&self, peer: PeerId, kind: PathKind) {
        let info = PeerInfo {
            peer,
            address: format!("/memory/1/p2p/{peer}"),
            kind,
            transport: "memory".to_owned(),
            rtt_ms: Some(1.5),
            agent: Some("fake/1".to_owned()),
            outbound: false,
            connections: 1,
            path: Some(kind.into()),
            relay: (kind == PathKind::Relayed).then(|| PeerId::from([9; 32])),
            nat: None,
            why_relayed: None,
        };
        self.state().peers.insert(peer, info);
        self.inner.journal.write("network", "peer.connected", json!({ "peer": peer }));
    }

    /// Lets a peer be gone, with the event for it.
    pub fn disconnect(&self, peer: PeerId) {
        if self.state().peers.remove(&peer).is_some() {
            self.inner.journal.write("network", "peer.disconnected", json!({ "peer": peer }));
        }
    }

    /// Whether [`Node::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.inner.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn contents(&self, drive: DriveId) -> Result<Arc<Contents>> {
        Ok(self.state().drive(drive)?.contents.clone())
    }

    /// Sets the contents of a drive; a version is made only where they differ.
    fn publish(&self, drive: DriveId, contents: Contents) -> Result<ImportEvent> {
        let mut state = self.state();
        let found = state.drives.get_mut(&drive).ok_or_else(|| unknown(drive))?;
        let changed = found.version == 0 || found.contents.entries() != contents.entries();
        found.version += u64::from(changed);
        found.contents = Arc::new(contents);
        let event = ImportEvent::Published {
            version: found.version,
            files: found.contents.files(),
            bytes: found.contents.bytes(),
            changed,
            skipped: Vec::new(),
        };
        if changed {
            let data = json!({ "drive": drive, "version": found.version });
            self.inner.journal.write("drives", "drive.head", data);
        }
        Ok(event)
    }
}

impl State {
    fn drive(&self, id: DriveId) -> Result<&Drive> {
        self.drives.get(&id).ok_or_else(|| unknown(id))
    }

    fn info(&self, id: DriveId) -> Result<DriveInfo> {
        let drive = self.drive(id)?;
        Ok(DriveInfo {
            drive: id,
            link: Link::to(Target::Drive(id)).to_string(),
            path: Some(drive.path.clone()),
            role: DriveRole::Owner,
            version: drive.version,
            head: (drive.version > 0).then(|| ContentId::of(format!("{id} {}", drive.version).as_bytes())),
            files: drive.contents.files(),
            bytes: drive.contents.bytes(),
            peers: u32::try_from(self.peers.len()).unwrap_or(u32::MAX),
            complete: true,
            title: drive.title.clone(),
            syncs: false,
            withheld: Vec::new(),
        })
    }

    fn check_peer(&self, peer: PeerId) -> Result<&PeerInfo> {
        let hint = "a fake node connects to nobody by itself";
        self.peers.get(&peer).ok_or_else(|| ApiError::not_found(format!("no way to {peer} was found")).with_hint(hint))
    }
}

fn unknown(drive: DriveId) -> ApiError {
    ApiError::not_found(format!("the drive {drive} is not known here"))
}

fn drive_of_link(link: &str) -> Result<DriveId> {
    let link: Link = link.parse().map_err(|error| ApiError::invalid(format!("{error}")))?;
    match link.target {
        Target::Drive(drive) => Ok(drive),
        _ => Err(ApiError::invalid("this link is not one of a drive")),
    }
}

#[async_trait]
impl Contract for FakeNode {
    async fn info(&self) -> Result<NodeInfo> {
        let state = self.state();
        Ok(NodeInfo {
            peer_id: self.inner.me,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            network: "fake".to_owned(),
            uptime_s: self.inner.started.elapsed().as_secs(),
            listen: vec!["/memory/1".to_owned()],
            external: Vec::new(),
            reachability: Reachability::Unknown,
            peers: u32::try_from(state.peers.len()).unwrap_or(u32::MAX),
            dht_peers: 0,
            dht_mode: DhtMode::Client,
            relays: Vec::new(),
            port_mapping: None,
            nat: None,
            rss_bytes: 0,
            drives: u32::try_from(state.drives.len()).unwrap_or(u32::MAX),
            gateway: None,
            locked: self.is_locked(),
            notices: Vec::new(),
            lan: None,
        })
    }

    async fn stop(&self) -> Result<()> {
        self.state().is_stopped = true;
        self.inner.journal.close();
        Ok(())
    }

    async fn events(&self, query: EventQuery) -> Result<EventStream> {
        Ok(self.inner.journal.read(query))
    }

    async fn metrics(&self) -> Result<String> {
        let peers = self.state().peers.len();
        Ok(format!("# TYPE p2p_peers gauge\np2p_peers {peers}\n# EOF\n"))
    }

    async fn health(&self) -> Result<Health> {
        let used = self.state().peers.len() as u64;
        let peers = Bound { name: "connections".into(), unit: BoundUnit::Count, used, most: 384 };
        Ok(Health { clock: ClockCheck::default(), bounds: vec![peers] })
    }

    async fn peers(&self) -> Result<Vec<PeerInfo>> {
        Ok(self.state().peers.values().cloned().collect())
    }

    async fn dial(&self, target: &str, _timeout: Duration) -> Result<Dialed> {
        let peer = match target.rsplit_once("/p2p/") {
            Some((address, peer)) if address.starts_with('/') => peer,
            _ => target,
        };
        let peer =
            peer.parse().map_err(|_| ApiError::invalid(format!("{target:?} is neither a multiaddr nor a peer id")))?;
        let address = self.state().check_peer(peer)?.address.clone();
        Ok(Dialed { peer, address })
    }

    async fn ping(&self, peer: PeerId, _timeout: Duration) -> Result<Ping> {
        let known = self.state().check_peer(peer)?.clone();
        Ok(Ping {
            peer,
            rtt_ms: 1.5,
            kind: known.kind,
            path: known.path,
            relay: known.relay,
            address: Some(known.address),
            transport: Some(known.transport),
            round_trips_ms: vec![2.0, 1.0, 1.5],
            nat: known.nat,
            why_relayed: known.why_relayed,
        })
    }

    async fn find_providers(&self, key: [u8; 32], _timeout: Duration) -> Result<Vec<Provider>> {
        let is_ours = self.state().provided.contains(&key);
        let ours = Provider { peer: self.inner.me, addresses: Vec::new() };
        Ok(is_ours.then_some(ours).into_iter().collect())
    }

    async fn provide(&self, key: [u8; 32]) -> Result<()> {
        self.state().provided.insert(key);
        Ok(())
    }

    async fn stop_providing(&self, key: [u8; 32]) -> Result<()> {
        self.state().provided.remove(&key);
        Ok(())
    }

    async fn put_value(&self, put: PutValue) -> Result<StoredValue> {
        self.exchange().put(put)
    }

    async fn get_value(&self, key: [u8; 32], _timeout: Duration) -> Result<SignedValue> {
        self.exchange().get(key)
    }

    async fn dial_stream(&self, dial: DialStream) -> Result<AppStream> {
        self.exchange().dial(self.inner.me, &dial)
    }

    async fn accept_stream(&self, protocol: &str) -> Result<AppStream> {
        let queue = self.exchange().listen(protocol)?;
        let mut queue = queue.lock().await;
        queue.recv().await.ok_or_else(ApiError::stopped)
    }

    async fn publish_message(&self, topic: &str, data: Bytes) -> Result<PublishedMessage> {
        self.exchange().publish(self.inner.me, topic, data)
    }

    async fn subscribe(&self, topic: &str) -> Result<Stream<TopicMessage>> {
        self.exchange().subscribe(topic)
    }

    async fn sign(&self, sign: Sign) -> Result<Signature> {
        exchange::sign(&sign)
    }

    async fn drives(&self) -> Result<Vec<DriveInfo>> {
        let state = self.state();
        state.drives.keys().map(|drive| state.info(*drive)).collect()
    }

    async fn create_drive(&self, new: NewDrive) -> Result<DriveInfo> {
        let path = new.path.ok_or_else(|| ApiError::invalid("a fake drive needs a folder"))?;
        if !path.is_absolute() {
            return Err(ApiError::invalid(format!("{} is not absolute", path.display())));
        }
        let path = fs::canonicalize(&path)
            .map_err(|error| ApiError::not_found(format!("cannot open {}: {error}", path.display())))?;
        if !path.is_dir() {
            return Err(ApiError::invalid(format!("{} is not a folder", path.display())));
        }
        let id = DriveId::from(*ContentId::of(path.as_os_str().as_encoded_bytes()).as_bytes());
        let mut state = self.state();
        state.drives.entry(id).or_insert_with(|| Drive {
            path,
            title: new.title,
            version: 0,
            contents: Arc::default(),
        });
        state.info(id)
    }

    async fn drive(&self, drive: DriveId) -> Result<DriveInfo> {
        self.state().info(drive)
    }

    async fn open_drive(&self, open: Open) -> Result<DriveInfo> {
        let drive = drive_of_link(&self.node().names().link(&open.link, open.timeout).await?)?;
        self.state().info(drive).map_err(|_| {
            ApiError::not_found(format!("nobody who was reached has the drive {drive}"))
                .with_hint("a fake node reaches nobody")
        })
    }

    async fn remove_drive(&self, drive: DriveId) -> Result<Removed> {
        let removed = self.state().drives.remove(&drive).ok_or_else(|| unknown(drive))?;
        self.inner.journal.write("drives", "drive.removed", json!({ "drive": drive }));
        Ok(Removed { drive, path: Some(removed.path) })
    }

    async fn usage(&self) -> Result<StorageUsage> {
        let drives = self.drives().await?.into_iter().map(|info| DriveUsage {
            drive: info.drive,
            title: info.title,
            role: info.role,
            path: info.path,
            files: info.files,
            bytes: info.bytes,
            cached_bytes: 0,
            looked_at: None,
            stopped: false,
            versions: 0,
            index_bytes: 0,
        });
        let browsed = BrowsedUsage { quota_bytes: 0, used_bytes: 0, state: BrowsedState::Off };
        let drives = drives.collect();
        Ok(StorageUsage { drives, browsed, index_bytes: 0, free_bytes: 0, history_bytes: 0, freeable_bytes: 0 })
    }

    async fn free(&self, _drive: Option<DriveId>) -> Result<Freed> {
        Ok(Freed::default())
    }

    async fn repair(&self) -> Result<Stream<RepairEvent>> {
        let done = RepairEvent::Done(Repaired::default());
        Ok(stream::iter([Ok(done)]).boxed())
    }

    async fn traffic(&self) -> Result<Traffic> {
        Ok(Traffic::default())
    }

    async fn import(&self, drive: DriveId, _how: Import, changes: Stream<Change>) -> Result<Stream<ImportEvent>> {
        let folder = self.state().drive(drive)?.path.clone();
        let node = self.clone();
        let work = async move {
            let contents = Contents::import(&folder, changes).await?;
            node.publish(drive, contents)
        };
        Ok(stream::iter([Ok(ImportEvent::Progress(Progress::default()))]).chain(stream::once(work)).boxed())
    }

    async fn tree(&self, drive: DriveId, query: TreeQuery) -> Result<Stream<TreeEntry>> {
        let entries = self.contents(drive)?.list(&query);
        Ok(stream::iter(entries.into_iter().map(Ok)).boxed())
    }

    async fn read(&self, drive: DriveId, path: &str, range: ReadRange) -> Result<Content> {
        self.contents(drive)?.read(path, range)
    }

    async fn follow(&self, follow: Follow) -> Result<Stream<TransferEvent>> {
        let drive = drive_of_link(&self.node().names().link(&follow.link, follow.timeout).await?)?;
        let (contents, version) = {
            let state = self.state();
            let found = state.drive(drive)?;
            (found.contents.clone(), found.version)
        };
        if !follow.target.is_absolute() {
            return Err(ApiError::invalid(format!("{} is not absolute", follow.target.display())));
        }
        let work = async move {
            contents.copy_to(&follow.target)?;
            Ok(TransferEvent::Done {
                drive,
                version,
                files: contents.files(),
                bytes: contents.bytes(),
                bytes_fetched: 0,
                peers: 0,
                skipped: Vec::new(),
            })
        };
        Ok(stream::iter([Ok(TransferEvent::Progress(Progress::default()))]).chain(stream::once(work)).boxed())
    }

    fn names(&self) -> &dyn NamesContract {
        self
    }

    fn keystore(&self) -> &dyn crate::KeystoreContract {
        self
    }

    fn people(&self) -> &dyn crate::PeopleContract {
        self
    }
}

fn disk(what: &str, path: &Path, error: &std::io::Error) -> ApiError {
    ApiError::new(ErrorKind::Io, format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::conformance;

    #[tokio::test]
    async fn the_fake_conforms() {
        let scratch = tempfile::tempdir().unwrap();
        conformance::run(FakeNode::new().node(), scratch.path()).await;
    }

    #[tokio::test]
    async fn the_fake_stops() {
        conformance::stop(FakeNode::new().node()).await;
    }

    #[tokio::test]
    async fn invented_peers_are_listed_and_announced() {
        let fake = FakeNode::new();
        let node = fake.node();
        let mut events = node.events(EventQuery::default()).await.unwrap();
        let peer = PeerId::from([7; 32]);
        fake.connect(peer, PathKind::Lan);
        assert_eq!(node.peers().list().await.unwrap()[0].peer, peer);
        assert_eq!(node.peers().ping(peer, Duration::ZERO).await.unwrap().kind, PathKind::Lan);
        fake.disconnect(peer);
        assert!(node.peers().list().await.unwrap().is_empty());
        assert_eq!(events.next().await.unwrap().unwrap().name, "peer.connected");
        assert_eq!(events.next().await.unwrap().unwrap().name, "peer.disconnected");
    }
}
