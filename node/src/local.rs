//! The contract of an app, served by the engine in this process.

mod convert;
mod exchange;
mod health;
mod history;
mod lan;
mod metrics;
mod names;
mod people;
mod ping;
mod reported;
mod storage;
mod writers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use futures::{StreamExt, TryStreamExt};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use p2p_api::{
    ApiError, AppStream, Change, Content, Contract, DhtMode, DialStream, Dialed, DriveInfo, ErrorKind, EventQuery,
    EventStream, Follow, Freed, Health, HistoryContract, Import, ImportEvent, LocalName, NamesContract, NewDrive,
    NodeInfo, Open, PeerInfo, Ping, Progress, Provider, PublishedMessage, PutValue, Reachability, ReadRange, Removed,
    RepairEvent, Result, Sign, Signature, SignedValue, StorageUsage, StoredValue, Stream, TopicMessage, Traffic,
    TransferEvent, TreeEntry, TreeQuery, WritersContract,
};
use p2p_drives::{
    At, Copied, CopyProgress, DriveError, Drives, Extent, ExternalLinks, Following, ImportProgress, Listing, LocalPath,
    Named, PathKey,
};
use p2p_identity::{DriveId, Link, PeerId};
use p2p_transport::{libp2p_peer_id, our_peer_id};
use tokio_util::sync::CancellationToken;

use self::convert::{api_error, drive_info, left_out, parse_link, tree_entry};
pub(crate) use self::exchange::{path_kind, path_word};
use self::reported::{Rate, reported};
use crate::app_keys::AppKeys;
use crate::events::EventLog;
use crate::keys::Keys;
use crate::names::Names;
use crate::network::Network;
use crate::people::People;
use crate::streams::AppStreams;
use crate::topics::Topics;

/// How long the question for the node's condition waits for what is just being measured about the router.
const MEASURE_TIME: Duration = Duration::from_secs(3);

/// The engine as an app sees it.
#[derive(Clone)]
pub(crate) struct LocalNode {
    pub(crate) me: PeerId,
    /// Holds keys: never shared.
    pub(crate) home: PathBuf,
    pub(crate) network_name: String,
    pub(crate) gateway: Option<String>,
    pub(crate) network: Network,
    pub(crate) drives: Drives,
    pub(crate) names: Names,
    pub(crate) streams: AppStreams,
    pub(crate) topics: Topics,
    pub(crate) app_keys: AppKeys,
    pub(crate) keys: Keys,
    pub(crate) people: People,
    pub(crate) events: EventLog,
    pub(crate) started: Instant,
    pub(crate) notices: Vec<String>,
    pub(crate) stop_requested: CancellationToken,
}

/// What the user is told of values that others do not find.
fn hidden(values: usize) -> Option<String> {
    (values > 0).then(|| {
        format!(
            "{values} of the names and values that this node published are found by nobody else, again and again: someone may be \
             hiding them. They go to more nodes meanwhile"
        )
    })
}

#[async_trait]
impl Contract for LocalNode {
    async fn info(&self) -> Result<NodeInfo> {
        let snapshot = self.network.snapshot();
        Ok(NodeInfo {
            peer_id: self.me,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            network: self.network_name.clone(),
            uptime_s: self.started.elapsed().as_secs(),
            listen: snapshot.listen.iter().map(ToString::to_string).collect(),
            external: snapshot.external.iter().map(ToString::to_string).collect(),
            reachability: snapshot.reachability.unwrap_or(Reachability::Unknown),
            peers: self.peer_list().len() as u32,
            dht_peers: snapshot.dht_peers as u32,
            dht_mode: if snapshot.is_server { DhtMode::Server } else { DhtMode::Client },
            relays: snapshot.relays.iter().map(ToString::to_string).collect(),
            port_mapping: snapshot.port_mapping.clone(),
            nat: Some(snapshot.nat),
            rss_bytes: metrics::resident_bytes(),
            drives: self.drives.list().len() as u32,
            gateway: self.gateway.clone(),
            locked: self.keys.is_locked(),
            notices: self.notices.iter().cloned().chain(hidden(snapshot.hidden_values)).collect(),
            lan: Some(lan::info(&self.network, &snapshot)),
        })
    }

    async fn stop(&self) -> Result<()> {
        self.stop_requested.cancel();
        Ok(())
    }

    async fn events(&self, query: EventQuery) -> Result<EventStream> {
        Ok(self.events.stream(query))
    }

    async fn metrics(&self) -> Result<String> {
        let mut snapshot = self.network.snapshot();
        snapshot.counters.extend(self.names.counters());
        metrics::encode(&snapshot, &self.drives, self.started.elapsed())
    }

    async fn health(&self) -> Result<Health> {
        let connected: Vec<PeerId> = self.peer_list().iter().map(|peer| peer.peer).collect();
        let measuring = self.network.measure_router(MEASURE_TIME);
        let (clock, ()) = tokio::join!(crate::clock::check(&self.network, &connected), measuring);
        self.ask_routers().await;
        Ok(Health { clock, bounds: health::bounds(&self.network.snapshot(), &self.drives, &self.events) })
    }

    async fn peers(&self) -> Result<Vec<PeerInfo>> {
        Ok(self.peer_list())
    }

    async fn dial(&self, target: &str, timeout: Duration) -> Result<Dialed> {
        use crate::network::DialTarget;
        let target_of = || {
            if let Ok(peer) = target.parse::<PeerId>() {
                return libp2p_peer_id(&peer).map(DialTarget::Peer);
            }
            let address: Multiaddr = target.parse().ok()?;
            match address.iter().next()? {
                Protocol::P2p(peer) if address.iter().count() == 1 => Some(DialTarget::Peer(peer)),
                Protocol::Dnsaddr(_) | Protocol::Memory(_) => Some(DialTarget::Address(address)),
                // Without a port there is nothing to dial.
                _ => {
                    let is_port = |part| matches!(part, Protocol::Tcp(_) | Protocol::Udp(_));
                    address.iter().any(is_port).then_some(DialTarget::Address(address))
                }
            }
        };
        let wanted = target_of().ok_or_else(|| {
            ApiError::invalid(format!("{target:?} is neither a multiaddr with a port nor a peer id"))
                .with_hint("a multiaddr looks like /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo…, a peer id like 12D3Koo…")
        })?;
        let is_by_id = matches!(wanted, DialTarget::Peer(_));
        if matches!(wanted, DialTarget::Peer(peer) if our_peer_id(&peer) == Some(self.me)) {
            return Err(ApiError::invalid(format!("{} is this node itself", self.me))
                .with_hint("name another node: p2pnode status there prints its id, p2p peers here who is connected"));
        }
        match tokio::time::timeout(timeout, self.network.dial(wanted)).await {
            Ok(Ok((peer, address))) => {
                let peer = our_peer_id(&peer).ok_or_else(|| ApiError::invalid("the peer has no Ed25519 key"))?;
                Ok(Dialed { peer, address: address.to_string() })
            }
            Ok(Err(reason)) => Err(ApiError::new(ErrorKind::NotFound, format!("cannot reach {target}: {reason}"))
                .with_hint(if is_by_id {
                    "a node that others cannot dial is not found by its id: give its address, or a link of a drive that it shares"
                } else {
                    "check that the other node runs and that the address is right"
                })),
            Err(_) => Err(ApiError::new(ErrorKind::TimedOut, format!("{target} did not answer within {:.1} s", timeout.as_secs_f64()))),
        }
    }

    async fn ping(&self, peer: PeerId, timeout: Duration) -> Result<Ping> {
        self.measured(peer, timeout).await
    }

    async fn find_providers(&self, key: [u8; 32], timeout: Duration) -> Result<Vec<Provider>> {
        let mut found = self.network.find_with_addresses(key);
        let mut providers: Vec<Provider> = Vec::new();
        let deadline = tokio::time::Instant::now() + timeout;
        while let Ok(Some((peer, addresses))) = tokio::time::timeout_at(deadline, found.next()).await {
            let Some(peer) = our_peer_id(&peer) else { continue };
            if !providers.iter().any(|known| known.peer == peer) {
                providers.push(Provider { peer, addresses: addresses.iter().map(ToString::to_string).collect() });
            }
        }
        Ok(providers)
    }

    async fn provide(&self, key: [u8; 32]) -> Result<()> {
        self.network.provide(key).await.map_err(|_| ApiError::stopped())
    }

    async fn stop_providing(&self, key: [u8; 32]) -> Result<()> {
        self.network.stop_providing(key).await.map_err(|_| ApiError::stopped())
    }

    async fn put_value(&self, put: PutValue) -> Result<StoredValue> {
        self.put(put).await
    }

    async fn get_value(&self, key: [u8; 32], timeout: Duration) -> Result<SignedValue> {
        self.get(key, timeout).await
    }

    async fn dial_stream(&self, dial: DialStream) -> Result<AppStream> {
        self.streams.dial(dial).await
    }

    async fn accept_stream(&self, protocol: &str) -> Result<AppStream> {
        self.streams.accept(protocol).await
    }

    async fn publish_message(&self, topic: &str, data: Bytes) -> Result<PublishedMessage> {
        self.topics.publish(topic, data).await
    }

    async fn subscribe(&self, topic: &str) -> Result<Stream<TopicMessage>> {
        self.topics.subscribe(topic).await
    }

    async fn sign(&self, sign: Sign) -> Result<Signature> {
        self.signature(sign).await
    }

    async fn drives(&self) -> Result<Vec<DriveInfo>> {
        Ok(self.drives.list().into_iter().map(drive_info).collect())
    }

    async fn create_drive(&self, new: NewDrive) -> Result<DriveInfo> {
        let drives = self.drives.clone();
        if let Some(path) = &new.path {
            check_folder(path)?;
            let is_of_an_app = path.starts_with(self.home.join("apps"));
            if self.home.starts_with(path) || (path.starts_with(&self.home) && !is_of_an_app) {
                let home = self.home.display();
                return Err(ApiError::invalid(format!("{} holds this node's keys ({home})", path.display()))
                    .with_hint("share a folder that does not contain the node's home, or move the home with --home"));
            }
        }
        let made = tokio::task::spawn_blocking(move || drives.create(new.path.as_deref(), &new.title));
        let made = made.await.map_err(|error| api_error(error.into()))?;
        made.map(drive_info).map_err(api_error)
    }

    async fn drive(&self, drive: DriveId) -> Result<DriveInfo> {
        self.drives.status(&drive).map(drive_info).map_err(api_error)
    }

    async fn open_drive(&self, open: Open) -> Result<DriveInfo> {
        let link = parse_link(&self.link_of(&open.link, open.timeout).await?)?;
        self.drives.open_link(&link, open.timeout).await.map(drive_info).map_err(api_error)
    }

    async fn remove_drive(&self, drive: DriveId) -> Result<Removed> {
        let drives = self.drives.clone();
        let removed = tokio::task::spawn_blocking(move || drives.remove(&drive)).await;
        let path = removed.map_err(|error| api_error(error.into()))?.map_err(api_error)?;
        Ok(Removed { drive, path })
    }

    async fn usage(&self) -> Result<StorageUsage> {
        let drives = self.drives.clone();
        let usage = tokio::task::spawn_blocking(move || storage::usage(&drives)).await;
        usage.map_err(|error| api_error(error.into()))?.map_err(api_error)
    }

    async fn free(&self, drive: Option<DriveId>) -> Result<Freed> {
        let (drives, bytes) = self.drives.free_browsed(drive).await;
        if drive.is_some() {
            return Ok(Freed { drives, bytes, ..Freed::default() });
        }
        let collected = self.drives.collect().await.map_err(api_error)?;
        Ok(Freed {
            drives,
            bytes: bytes + collected.bytes,
            nodes: collected.nodes,
            proofs: collected.proofs,
            contents: collected.contents,
            waiting_bytes: collected.waiting_bytes,
            damaged: collected.damaged,
        })
    }

    async fn repair(&self) -> Result<Stream<RepairEvent>> {
        Ok(storage::repair(self.drives.clone()))
    }

    async fn local_names(&self, drive: DriveId) -> Result<Vec<LocalName>> {
        let drives = self.drives.clone();
        let names = tokio::task::spawn_blocking(move || drives.local_names(&drive)).await;
        let names = names.map_err(|error| api_error(error.into()))?.map_err(api_error)?;
        Ok(names.into_iter().map(|name| LocalName { path: name.path, local: name.local }).collect())
    }

    async fn traffic(&self) -> Result<Traffic> {
        Ok(storage::traffic(&self.drives))
    }

    async fn import(&self, drive: DriveId, how: Import, changes: Stream<Change>) -> Result<Stream<ImportEvent>> {
        self.drives.status(&drive).map_err(api_error)?;
        let progress = Arc::new(ImportProgress::default());
        let paths =
            changes.map(|change| local_path(change.map_err(|error| DriveError::Invalid(error.message))?)).boxed();
        let (drives, counted) = (self.drives.clone(), progress.clone());
        let job: BoxFuture<'static, Result<ImportEvent>> = Box::pin(async move {
            let extent = if how.part { Extent::Part } else { Extent::Everything };
            let published = drives.import(&drive, paths, extent, how.message, counted).await.map_err(api_error)?;
            Ok(ImportEvent::Published {
                version: published.version,
                files: published.files,
                bytes: published.bytes,
                changed: published.changed,
                skipped: left_out(published.left_out),
            })
        });
        Ok(reported(stream::once(job).boxed(), move |rate| {
            use std::sync::atomic::Ordering::Relaxed;
            let (files, bytes) = (progress.files.load(Relaxed), progress.bytes.load(Relaxed));
            Some(ImportEvent::Progress(Progress {
                files_done: files,
                files_total: files,
                bytes_done: bytes,
                bytes_total: bytes,
                bytes_per_second: rate.update(bytes),
                peers: 0,
            }))
        }))
    }

    async fn tree(&self, drive: DriveId, query: TreeQuery) -> Result<Stream<TreeEntry>> {
        let prefix = path_key(&query.prefix)?;
        let listing = Listing { prefix: prefix.clone(), depth: query.depth };
        let own = match &prefix {
            None => None,
            Some(prefix) => match self.drives.entry(&drive, prefix).await.map_err(api_error)? {
                None => return Ok(stream::empty().boxed()),
                Some(entry) if entry.shown().kind != p2p_drives::Kind::Directory => {
                    return Ok(stream::iter([Ok(tree_entry(&entry))]).boxed());
                }
                Some(entry) => Some(Ok(tree_entry(&entry))),
            },
        };
        let entries = self.drives.list_entries(&drive, listing).await.map_err(api_error)?;
        let below = entries.map(|entry| entry.map(|entry| tree_entry(&entry)).map_err(api_error));
        Ok(stream::iter(own).chain(below).boxed())
    }

    async fn read(&self, drive: DriveId, path: &str, range: ReadRange) -> Result<Content> {
        let key = path_key(path)?.ok_or_else(|| ApiError::invalid("the drive's root is a folder"))?;
        self.drives.read_file(&drive, &key, range.start, range.end).await.map(content).map_err(api_error)
    }

    async fn follow(&self, follow: Follow) -> Result<Stream<TransferEvent>> {
        let link = self.link_to_copy(&follow).await?;
        if let Some(version) = link.version {
            return self.copy_past(follow, At::Version(version)).await;
        }
        let links = external_links(&follow);
        let progress = Arc::new(CopyProgress::default());
        let (drives, counted) = (self.drives.clone(), progress.clone());
        let drive = drive_of(&link)?;
        let started = async move { drives.follow(&link, &follow.target, links, follow.timeout, counted).await };
        let copies = stream::once(started).map_err(api_error).map_ok(move |following| copies(following, drive));
        let copies = copies.try_flatten().take(if follow.stay { usize::MAX } else { 1 });
        Ok(told(copies.boxed(), progress, follow.stay))
    }

    fn history(&self) -> &dyn HistoryContract {
        self
    }

    fn writers(&self) -> &dyn WritersContract {
        self
    }

    fn keystore(&self) -> &dyn p2p_api::KeystoreContract {
        self
    }

    fn people(&self) -> &dyn p2p_api::PeopleContract {
        self
    }

    fn names(&self) -> &dyn NamesContract {
        self
    }
}

fn external_links(follow: &Follow) -> ExternalLinks {
    if follow.allow_external_links { ExternalLinks::Make } else { ExternalLinks::LeaveOut }
}

/// Events of a copy with its progress in between.
fn told(copies: Stream<TransferEvent>, progress: Arc<CopyProgress>, stays: bool) -> Stream<TransferEvent> {
    let mut told = None;
    reported(copies, move |rate| {
        let now = moving(&progress, rate);
        // A follower that waits for a version has nothing to tell.
        let moved = (now.files_done, now.bytes_done, now.peers);
        let is_news = told.replace(moved) != Some(moved);
        (is_news || !stays).then_some(TransferEvent::Progress(now))
    })
}

/// How far a copy is.
fn moving(progress: &CopyProgress, rate: &mut Rate) -> Progress {
    use std::sync::atomic::Ordering::Relaxed;
    let bytes = progress.bytes.load(Relaxed);
    Progress {
        files_done: progress.files.load(Relaxed),
        files_total: progress.files_total.load(Relaxed),
        bytes_done: bytes,
        bytes_total: progress.bytes_total.load(Relaxed),
        bytes_per_second: rate.update(bytes),
        peers: progress.peers.load(Relaxed) as u32,
    }
}

fn content(content: p2p_drives::Content) -> Content {
    Content {
        entry: tree_entry(&content.entry),
        start: content.start,
        len: content.len,
        stream: content.stream.map(|bytes| bytes.map_err(api_error)).boxed(),
    }
}

fn done(drive: DriveId, copied: Copied) -> TransferEvent {
    TransferEvent::Done {
        drive,
        version: copied.version,
        files: copied.files,
        bytes: copied.bytes,
        bytes_fetched: copied.bytes_fetched,
        peers: copied.peers as u32,
        skipped: left_out(copied.left_out),
    }
}

fn drive_of(link: &Link) -> Result<DriveId> {
    match link.target {
        p2p_identity::Target::Drive(drive) => Ok(drive),
        _ => Err(ApiError::new(ErrorKind::Unsupported, "only links to drives can be copied")),
    }
}

/// Version after version, as they are brought into the folder; an error is the last.
fn copies(following: Following, drive: DriveId) -> Stream<TransferEvent> {
    stream::unfold(Some(following), move |following| async move {
        let mut following = following?;
        match following.next().await {
            Err(error) => Some((Err(api_error(error)), None)),
            Ok(copied) => Some((Ok(done(drive, copied)), Some(following))),
        }
    })
    .boxed()
}

impl LocalNode {
    async fn link_to_copy(&self, follow: &Follow) -> Result<Link> {
        let link = parse_link(&self.link_of(&follow.link, follow.timeout).await?)?;
        if !follow.target.is_absolute() {
            return Err(ApiError::invalid(format!("{} is not an absolute path", follow.target.display())));
        }
        Ok(link)
    }

    /// Copies an earlier version; it comes once.
    async fn copy_past(&self, follow: Follow, at: At) -> Result<Stream<TransferEvent>> {
        let link = self.link_to_copy(&follow).await?;
        if follow.stay {
            return Err(ApiError::invalid("an earlier version does not change: it cannot be followed"));
        }
        let (links, drive) = (external_links(&follow), drive_of(&link)?);
        let progress = Arc::new(CopyProgress::default());
        let (drives, counted) = (self.drives.clone(), progress.clone());
        let copied = async move {
            let copied = drives.copy_at(&link, &follow.target, at, links, follow.timeout, counted).await;
            copied.map(|copied| done(drive, copied)).map_err(api_error)
        };
        Ok(told(stream::once(copied).boxed(), progress, false))
    }

    /// What stands where a link may: a link, or a name that leads to one.
    async fn link_of(&self, text: &str, timeout: Option<Duration>) -> Result<String> {
        if !p2p_api::is_name(text) {
            return Ok(text.to_owned());
        }
        let node = p2p_api::Node::new(Arc::new(self.clone()));
        node.names().link(text, timeout).await
    }
}

fn check_folder(path: &std::path::Path) -> Result<()> {
    if !path.is_absolute() {
        return Err(ApiError::invalid(format!("{} is not an absolute path", path.display())));
    }
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(ApiError::invalid(format!("{} is not a folder", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(ApiError::not_found(format!("there is no folder {}", path.display())))
        }
        Err(error) => Err(ApiError::new(ErrorKind::Io, format!("cannot look at {}: {error}", path.display()))),
    }
}

// What the contract promises is what the engine takes.
const _: () = assert!(p2p_api::MAX_PART_LINES == p2p_drives::MAX_PART_PATHS);

fn local_path(change: Change) -> std::result::Result<LocalPath, DriveError> {
    let key = PathKey::from_path(&change.path)
        .map_err(|error| DriveError::Invalid(format!("{:?} cannot be a path of a drive: {error}", change.path)))?;
    let at = change
        .at
        .map(|at| at.to_str().map(str::to_owned).ok_or_else(|| DriveError::Invalid("`at` is not UTF-8".into())));
    let named = match change.named {
        p2p_api::Named::Entry => Named::Entry,
        p2p_api::Named::Everything => Named::Everything,
        p2p_api::Named::Gone => Named::Gone,
    };
    Ok(LocalPath { key, at: at.transpose()?, named })
}

fn path_key(path: &str) -> Result<Option<PathKey>> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Ok(None);
    }
    let key = PathKey::from_path(path);
    key.map(Some).map_err(|error| ApiError::invalid(format!("{path:?} is not a path of a drive: {error}")))
}
