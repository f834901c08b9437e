//! The handle an app holds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use p2p_identity::{DriveId, PeerId};

use bytes::Bytes;

use crate::history::{History, HistoryContract, NoHistory};
use crate::keystore::{Keystore, KeystoreContract, NoKeystore};
use crate::names::{Names, NamesContract, NoNames};
use crate::people::{NoPeople, People, PeopleContract};
use crate::writers::{DriveWriters, OneWriter, WritersContract};
use crate::{
    ApiError, AppStream, Change, Content, DialStream, Dialed, DriveInfo, ErrorKind, EventQuery, EventStream, Follow,
    Freed, Health, Identity, Import, ImportEvent, LocalName, NewDrive, NodeInfo, Open, PeerInfo, Ping, Provider,
    PublishedMessage, PutValue, ReadRange, Removed, RepairEvent, Result, Sign, Signature, SignedValue, StorageUsage,
    StoredValue, Streams, TopicMessage, Topics, Traffic, TransferEvent, TreeEntry, TreeQuery,
};

/// Values as they come; the first error ends it. Dropping it stops the work behind it.
pub type Stream<T> = BoxStream<'static, Result<T>>;

/// What stands behind a [`Node`]: the engine itself, a client of the socket, or a fake for tests.
///
/// Apps use [`Node`]; this trait is for those who implement the contract. Each call is cancel safe: dropped midway
/// it leaves nothing half done that the same call would not complete.
#[async_trait]
pub trait Contract: Send + Sync + 'static {
    /// Who and how this node is.
    async fn info(&self) -> Result<NodeInfo>;
    /// Asks the node to stop; it says goodbye and ends by itself.
    async fn stop(&self) -> Result<()>;
    /// What happens from now on, or from an earlier event that is still remembered.
    async fn events(&self, query: EventQuery) -> Result<EventStream>;
    /// Counters in OpenMetrics text form.
    async fn metrics(&self) -> Result<String>;

    /// Its clock beside those of its peers, which are asked now, and how full everything is that others can make grow.
    async fn health(&self) -> Result<Health> {
        Err(unsupported())
    }

    /// Connected peers.
    async fn peers(&self) -> Result<Vec<PeerInfo>>;
    /// Connects to a multiaddr, or to a peer id that is found through LAN and DHT.
    async fn dial(&self, target: &str, timeout: Duration) -> Result<Dialed>;
    /// Measures the round trip to a peer, connecting first if need be.
    async fn ping(&self, peer: PeerId, timeout: Duration) -> Result<Ping>;

    /// Peers that say they provide `key`; none is an empty list, also where no other peer can be asked.
    async fn find_providers(&self, key: [u8; 32], timeout: Duration) -> Result<Vec<Provider>>;
    /// Says that this node provides `key`, and again before that expires.
    async fn provide(&self, key: [u8; 32]) -> Result<()>;
    /// Stops saying so.
    async fn stop_providing(&self, key: [u8; 32]) -> Result<()>;

    // The next seven a node may be without.

    /// Stores a signed value here and at the nodes nearest to its key. [`crate::ErrorKind::InvalidInput`] if a limit of
    /// [`PutValue`] is not kept.
    async fn put_value(&self, _put: PutValue) -> Result<StoredValue> {
        Err(unsupported())
    }
    /// The newest value under a key. [`crate::ErrorKind::NotFound`] if nobody who was reached has one.
    async fn get_value(&self, _key: [u8; 32], _timeout: Duration) -> Result<SignedValue> {
        Err(unsupported())
    }

    /// Opens a stream to an app of another node, or of this one. [`crate::ErrorKind::NotFound`] if the peer is not reached,
    /// [`crate::ErrorKind::Unsupported`] if nobody accepts the protocol there.
    async fn dial_stream(&self, _dial: DialStream) -> Result<AppStream> {
        Err(unsupported())
    }
    /// Waits for the next stream that a peer opens with this protocol.
    async fn accept_stream(&self, _protocol: &str) -> Result<AppStream> {
        Err(unsupported())
    }

    /// Sends a message to everybody who subscribed.
    async fn publish_message(&self, _topic: &str, _data: Bytes) -> Result<PublishedMessage> {
        Err(unsupported())
    }
    /// Messages from now on.
    async fn subscribe(&self, _topic: &str) -> Result<Stream<TopicMessage>> {
        Err(unsupported())
    }

    /// Signs in an app's own context, with the app's own key.
    async fn sign(&self, _sign: Sign) -> Result<Signature> {
        Err(unsupported())
    }

    /// Drives known here.
    async fn drives(&self) -> Result<Vec<DriveInfo>>;
    /// Makes a drive, or returns the one that this folder has already.
    async fn create_drive(&self, new: NewDrive) -> Result<DriveInfo>;
    /// One drive that is known here.
    async fn drive(&self, drive: DriveId) -> Result<DriveInfo>;
    /// Finds a drive's peers and its newest version.
    async fn open_drive(&self, open: Open) -> Result<DriveInfo>;
    /// Stops sharing, mirroring or remembering a drive. Files in folders stay.
    async fn remove_drive(&self, drive: DriveId) -> Result<Removed>;
    /// Takes the drive's folder into a new version: all that `changes` name, in path order. An error among them fails the
    /// import and leaves the drive as it was. The last value is [`ImportEvent::Published`].
    async fn import(&self, drive: DriveId, how: Import, changes: Stream<Change>) -> Result<Stream<ImportEvent>>;
    /// Entries in path order: the entry of the prefix itself, then what is below it. A prefix that is not there gives none.
    async fn tree(&self, drive: DriveId, query: TreeQuery) -> Result<Stream<TreeEntry>>;
    /// Verified bytes of a file, fetched as far as they are not here; of a symlink, its target.
    ///
    /// The end of `range` is cut to the file's end. A start after the file's end, an end before the start, or a folder
    /// are an invalid input; a path that is not there is not found.
    async fn read(&self, drive: DriveId, path: &str, range: ReadRange) -> Result<Content>;
    /// Copies a drive into a folder. The last value is [`TransferEvent::Done`]; one that stays goes on with the next
    /// version, until it is dropped.
    async fn follow(&self, follow: Follow) -> Result<Stream<TransferEvent>>;

    /// What is stored here, and for which drive.
    async fn usage(&self) -> Result<StorageUsage> {
        Err(ApiError::new(ErrorKind::Unsupported, "this node does not tell what it stores"))
    }
    /// Frees what looking at drives has left, of one or of all; of all, also what no version of any drive needs any more.
    /// What is shared, copied or pinned stays.
    async fn free(&self, drive: Option<DriveId>) -> Result<Freed> {
        let _ = drive;
        Err(ApiError::new(ErrorKind::Unsupported, "this node has nothing that could be freed"))
    }
    /// Rebuilds all metadata of drives from what is on the disk. The last value is [`RepairEvent::Done`]. Dropped midway,
    /// what was rebuilt stays.
    async fn repair(&self) -> Result<Stream<RepairEvent>> {
        Err(ApiError::new(ErrorKind::Unsupported, "this node has nothing that could be repaired"))
    }

    /// Names that lie otherwise in a drive's folder than they are called, by path.
    async fn local_names(&self, drive: DriveId) -> Result<Vec<LocalName>> {
        let _ = drive;
        Ok(Vec::new())
    }
    /// What has travelled for drives since the node started.
    async fn traffic(&self) -> Result<Traffic> {
        Err(ApiError::new(ErrorKind::Unsupported, "this node does not count what travels"))
    }

    /// Earlier versions of drives; a node may keep none.
    fn history(&self) -> &dyn HistoryContract {
        &NoHistory
    }

    /// Several writers of drives; a node may know only one each.
    fn writers(&self) -> &dyn WritersContract {
        &OneWriter
    }

    /// The name system; a node may have none.
    fn names(&self) -> &dyn NamesContract {
        &NoNames
    }

    /// The keys and whether they are locked; a node may have none that could be.
    fn keystore(&self) -> &dyn KeystoreContract {
        &NoKeystore
    }

    /// The user's identity and contacts; a node may know nobody.
    fn people(&self) -> &dyn PeopleContract {
        &NoPeople
    }
}

fn unsupported() -> ApiError {
    ApiError::new(ErrorKind::Unsupported, "this node does not do this")
}

/// Everything an app can ask of its node. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    contract: Arc<dyn Contract>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Node")
    }
}

impl Node {
    /// A handle over an implementation of the contract.
    pub fn new(contract: Arc<dyn Contract>) -> Self {
        Self { contract }
    }

    /// What stands behind the handle, for who passes calls on as they came.
    pub fn contract(&self) -> &dyn Contract {
        &*self.contract
    }

    /// Who and how this node is.
    pub async fn info(&self) -> Result<NodeInfo> {
        self.contract.info().await
    }

    /// Asks the node to stop.
    pub async fn stop(&self) -> Result<()> {
        self.contract.stop().await
    }

    /// What happened, in order.
    pub async fn events(&self, query: EventQuery) -> Result<EventStream> {
        self.contract.events(query).await
    }

    /// Counters in OpenMetrics text form.
    pub async fn metrics(&self) -> Result<String> {
        self.contract.metrics().await
    }

    /// Its clock beside those of its peers, which are asked now, and how full everything is that others can make grow.
    pub async fn health(&self) -> Result<Health> {
        self.contract.health().await
    }

    /// Connections.
    pub fn peers(&self) -> Peers {
        Peers { contract: self.contract.clone() }
    }

    /// Streams between apps.
    pub fn streams(&self) -> Streams {
        Streams { contract: self.contract.clone() }
    }

    /// Messages by topic.
    pub fn topics(&self) -> Topics {
        Topics { contract: self.contract.clone() }
    }

    /// Signatures of apps.
    pub fn identity(&self) -> Identity {
        Identity { contract: self.contract.clone() }
    }

    /// Providers and values by key.
    pub fn dht(&self) -> Dht {
        Dht { contract: self.contract.clone() }
    }

    /// Folders with a stable link.
    pub fn drives(&self) -> Drives {
        Drives { contract: self.contract.clone() }
    }

    /// Earlier versions of drives.
    pub fn history(&self) -> History {
        History { contract: self.contract.clone() }
    }

    /// Several writers of drives.
    pub fn writers(&self) -> DriveWriters {
        DriveWriters { contract: self.contract.clone() }
    }

    /// Zones, records, resolution.
    pub fn names(&self) -> Names {
        Names { contract: self.contract.clone() }
    }

    /// The keys of this node, and whether they are locked.
    pub fn keystore(&self) -> Keystore {
        Keystore { contract: self.contract.clone() }
    }

    /// The user's identity, contacts and invites.
    pub fn people(&self) -> People {
        People { contract: self.contract.clone() }
    }
}

/// Connections to other peers.
#[derive(Clone)]
pub struct Peers {
    contract: Arc<dyn Contract>,
}

impl Peers {
    /// Connected peers.
    pub async fn list(&self) -> Result<Vec<PeerInfo>> {
        self.contract.peers().await
    }

    /// Connects to a multiaddr or a peer id.
    pub async fn dial(&self, target: &str, timeout: Duration) -> Result<Dialed> {
        self.contract.dial(target, timeout).await
    }

    /// Measures the round trip to a peer.
    pub async fn ping(&self, peer: PeerId, timeout: Duration) -> Result<Ping> {
        self.contract.ping(peer, timeout).await
    }
}

/// The distributed hash table.
#[derive(Clone)]
pub struct Dht {
    contract: Arc<dyn Contract>,
}

impl Dht {
    /// Peers that say they provide `key`.
    pub async fn find_providers(&self, key: [u8; 32], timeout: Duration) -> Result<Vec<Provider>> {
        self.contract.find_providers(key, timeout).await
    }

    /// Says that this node provides `key`.
    pub async fn provide(&self, key: [u8; 32]) -> Result<()> {
        self.contract.provide(key).await
    }

    /// Stops saying so.
    pub async fn stop_providing(&self, key: [u8; 32]) -> Result<()> {
        self.contract.stop_providing(key).await
    }

    /// Stores a signed value here and at the nodes nearest to its key. To change it put it again; it expires.
    pub async fn put(&self, put: PutValue) -> Result<StoredValue> {
        self.contract.put_value(put).await
    }

    /// The newest value under a key, its signature checked.
    pub async fn get(&self, key: [u8; 32], timeout: Duration) -> Result<SignedValue> {
        self.contract.get_value(key, timeout).await
    }
}

/// Drives.
#[derive(Clone)]
pub struct Drives {
    contract: Arc<dyn Contract>,
}

impl Drives {
    /// Drives known here.
    pub async fn list(&self) -> Result<Vec<DriveInfo>> {
        self.contract.drives().await
    }

    /// Makes a drive, or returns the one that this folder has already.
    pub async fn create(&self, new: NewDrive) -> Result<DriveInfo> {
        self.contract.create_drive(new).await
    }

    /// One drive that is known here.
    pub async fn get(&self, drive: DriveId) -> Result<DriveInfo> {
        self.contract.drive(drive).await
    }

    /// Finds a drive's peers and its newest version.
    pub async fn open(&self, open: Open) -> Result<DriveInfo> {
        self.contract.open_drive(open).await
    }

    /// Stops sharing, mirroring or remembering a drive.
    pub async fn remove(&self, drive: DriveId) -> Result<Removed> {
        self.contract.remove_drive(drive).await
    }

    /// Takes changes of the drive's folder into a new version.
    pub async fn import(&self, drive: DriveId, how: Import, changes: Stream<Change>) -> Result<Stream<ImportEvent>> {
        self.contract.import(drive, how, changes).await
    }

    /// Entries in path order.
    pub async fn tree(&self, drive: DriveId, query: TreeQuery) -> Result<Stream<TreeEntry>> {
        self.contract.tree(drive, query).await
    }

    /// Verified bytes of a file.
    pub async fn read(&self, drive: DriveId, path: &str, range: ReadRange) -> Result<Content> {
        self.contract.read(drive, path, range).await
    }

    /// What is stored here, and for which drive.
    pub async fn usage(&self) -> Result<StorageUsage> {
        self.contract.usage().await
    }

    /// Frees what looking at drives has left, of one or of all; of all, also what no version needs any more.
    pub async fn free(&self, drive: Option<DriveId>) -> Result<Freed> {
        self.contract.free(drive).await
    }

    /// Rebuilds all metadata of drives from what is on the disk.
    pub async fn repair(&self) -> Result<Stream<RepairEvent>> {
        self.contract.repair().await
    }

    /// Names that lie otherwise in a drive's folder than they are called, by path.
    pub async fn local_names(&self, drive: DriveId) -> Result<Vec<LocalName>> {
        self.contract.local_names(drive).await
    }

    /// What has travelled for drives since the node started.
    pub async fn traffic(&self) -> Result<Traffic> {
        self.contract.traffic().await
    }

    /// Copies a drive into a folder.
    pub async fn follow(&self, follow: Follow) -> Result<Stream<TransferEvent>> {
        self.contract.follow(follow).await
    }
}
