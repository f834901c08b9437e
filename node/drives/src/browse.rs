//! Looking at a drive without copying it: open, list, read a range. Nodes and bytes come from here where they are here,
//! else from peers.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use p2p_identity::{ContentId, DriveId, Hints, Link};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::DriveError;
use crate::ahead::{AheadFiles, LOOK_AHEAD_FROM_BYTES, look_ahead};
use crate::blob::{Decoder, GROUP_BYTES, Grain, GroupRanges, PARENT_BYTES, SizeProof, Step};
use crate::browsed::{Piece, SMALL_BLOB_BYTES};
use crate::bulk::fetch_rest;
use crate::content::{ContentError, cut, read_here};
use crate::engine::{DriveStatus, Drives, Shared, drive_of};
use crate::entry::{Entry, Kind, Version};
use crate::gc::Held;
use crate::head::HeadEnvelope;
use crate::heads::Snapshot;
use crate::history::At;
use crate::index::{Keep, fetch_node};
use crate::key::PathKey;
use crate::mirror::DEFAULT_PATIENCE;
use crate::nodes::{Layered, NodeStore};
use crate::registry::{Drive, Role};
use crate::session::{FetchError, Session, read_exact};
use crate::tree::{Expected, Listed, Tree, WalkError};
use crate::viewer::Viewer;
use crate::wire::{Get, Request};

/// Entries handed on at a time.
const PAGE: usize = 512;
/// First piece of a file that is read, in bytes, and every piece where the budget is used up.
const SHORT_PIECE_BYTES: u64 = 64 * 1024;
/// Further pieces.
pub(crate) const PIECE_BYTES: u64 = 512 * 1024;
/// Such pieces held by all readers together: 32 MiB.
pub(crate) const MAX_LARGE_PIECES: usize = 64;
/// Pieces fetched at a time: 15 MiB a second at 100 ms.
const PIECES_AHEAD: usize = 3;

/// How often it is looked whether a piece that peers do not send has come to the disk in another way.
const KEPT_MEANWHILE: Duration = Duration::from_millis(500);

/// What to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// This path and what is below it; `None` for everything.
    pub prefix: Option<PathKey>,
    /// Levels below the prefix; `None` for all.
    pub depth: Option<u32>,
}

/// Verified bytes of a file.
pub struct Content {
    /// The entry that is read.
    pub entry: Entry,
    /// First byte.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
    /// The bytes.
    pub stream: BoxStream<'static, Result<Bytes, DriveError>>,
}

/// A drive as it is looked at: a version, and perhaps a peer for what is not here.
#[derive(Clone)]
pub(crate) struct View {
    shared: Arc<Shared>,
    drive: Arc<Drive>,
    at: Snapshot,
    /// Who has what is not here; `None` for a drive that is held.
    there: Option<Arc<Viewer>>,
    /// Whether it is an earlier version: its content may be here, there, or nowhere any more.
    is_past: bool,
    /// Keeps an earlier version while it is looked at.
    _held: Option<Arc<Held>>,
}

impl Drives {
    /// Finds a drive and its newest version; a drive that is held here answers at once.
    ///
    /// # Errors
    /// Nobody was found that has it.
    pub async fn open_link(&self, link: &Link, patience: Option<Duration>) -> Result<DriveStatus, DriveError> {
        let id = drive_of(link)?;
        if let Some(drive) = self.shared().registry.active(&id).filter(|drive| is_here(drive)) {
            return Ok(self.status_of(&drive));
        }
        let drive = self.shared().registry.reader(id);
        let path = link.path.trim_matches('/');
        let path = PathKey::from_path(path).ok().map(|key| key.as_bytes().to_vec());
        let viewer = Viewer::of(self.shared(), &drive, &link.hints, path);
        viewer.head(self.shared(), patience.unwrap_or(DEFAULT_PATIENCE)).await?;
        Ok(self.status_of(&drive))
    }

    /// The entry of a path; `None` if there is none.
    ///
    /// # Errors
    /// The drive is not known (open it first), or nobody was found that has it.
    pub async fn entry(&self, id: &DriveId, path: &PathKey) -> Result<Option<Entry>, DriveError> {
        self.view(id, Some(path)).await?.lookup(path).await
    }

    /// As [`Drives::entry`], of an earlier version.
    ///
    /// # Errors
    /// As there, and nobody who was asked keeps the version.
    pub async fn entry_at(&self, id: &DriveId, path: &PathKey, at: &At) -> Result<Option<Entry>, DriveError> {
        self.past_view(id, at).await?.lookup(path).await
    }

    /// Entries in path order.
    ///
    /// # Errors
    /// The drive is not known (open it first), or the prefix does not exist.
    pub async fn list_entries(
        &self,
        id: &DriveId,
        listing: Listing,
    ) -> Result<BoxStream<'static, Result<Entry, DriveError>>, DriveError> {
        self.view(id, listing.prefix.as_ref()).await?.list_checked(listing).await
    }

    /// As [`Drives::list_entries`], of an earlier version.
    ///
    /// # Errors
    /// As there, and nobody who was asked keeps the version.
    pub async fn list_entries_at(
        &self,
        id: &DriveId,
        listing: Listing,
        at: &At,
    ) -> Result<BoxStream<'static, Result<Entry, DriveError>>, DriveError> {
        self.past_view(id, at).await?.list_checked(listing).await
    }

    /// Bytes `start..end` of a file; `end` is cut to its size.
    ///
    /// # Errors
    /// The drive or path is not known, it is no file, or `start` lies beyond its end.
    pub async fn read_file(
        &self,
        id: &DriveId,
        path: &PathKey,
        start: u64,
        end: Option<u64>,
    ) -> Result<Content, DriveError> {
        self.view(id, Some(path)).await?.read(path, start, end).await
    }

    /// As [`Drives::read_file`], of an earlier version.
    ///
    /// # Errors
    /// As there, and nobody who was asked keeps the version or its content.
    pub async fn read_file_at(
        &self,
        id: &DriveId,
        path: &PathKey,
        start: u64,
        end: Option<u64>,
        at: &At,
    ) -> Result<Content, DriveError> {
        self.past_view(id, at).await?.read(path, start, end).await
    }

    pub(crate) async fn view(&self, id: &DriveId, path: Option<&PathKey>) -> Result<View, DriveError> {
        let drive = self.shared().registry.active(id);
        let drive = drive.ok_or(DriveError::UnknownDrive(*id))?;
        let shared = self.shared().clone();
        if is_here(&drive)
            && let Some(at) = drive.snapshot()
        {
            return Ok(View { shared, drive, at, there: None, is_past: false, _held: None });
        }
        let path = path.map(|path| path.as_bytes().to_vec());
        let viewer = Viewer::of(&shared, &drive, &Hints::default(), path);
        let at = viewer.snapshot(&shared, DEFAULT_PATIENCE).await?;
        Ok(View { shared, drive, at, there: Some(viewer), is_past: false, _held: None })
    }
}

/// Whether a drive is read from this node's own disk.
fn is_here(drive: &Drive) -> bool {
    let state = drive.state();
    state.row.role != Role::Reader && state.at.is_some()
}

impl View {
    /// An earlier version.
    pub(crate) fn past(shared: Arc<Shared>, drive: Arc<Drive>, head: HeadEnvelope, there: Option<Arc<Viewer>>) -> Self {
        let held = Some(Arc::new(shared.holds.reading(head.body().root)));
        Self { shared, drive, at: head.into(), there, is_past: true, _held: held }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn drive(&self) -> DriveId {
        self.drive.id
    }

    pub(crate) fn nodes(&self) -> &NodeStore {
        &self.shared.nodes
    }

    pub(crate) fn peers(&self) -> Option<&Arc<Viewer>> {
        self.there.as_ref()
    }

    pub(crate) fn into_head(self) -> HeadEnvelope {
        self.at.head
    }

    /// The number of the version; 0 where the owner did not make it.
    pub(crate) fn version(&self) -> u64 {
        if self.at.head.body().is_by_owner() { self.at.version() } else { 0 }
    }

    pub(crate) fn root(&self) -> Expected {
        self.at.expected()
    }

    /// Whether every index node is here, among those of browsed drives too.
    pub(crate) async fn has_index(&self) -> Result<bool, DriveError> {
        let (shared, root) = (self.shared.clone(), self.root());
        let drive = self.there.as_ref().map(|_| self.drive.id);
        tokio::task::spawn_blocking(move || {
            let browsed = drive.map(|drive| (&shared.browsed, drive));
            let nodes = Layered { nodes: &shared.nodes, browsed };
            for entry in Tree::new(&nodes, root).range(&[]) {
                match entry {
                    Ok(_) => {}
                    Err(WalkError::Missing(_)) => return Ok(false),
                    Err(error) => return Err(crate::content::walk_error(error)),
                }
            }
            Ok(true)
        })
        .await?
    }

    /// Bytes of all files of the version.
    pub(crate) fn root_bytes(&self) -> u64 {
        self.at.bytes
    }

    /// So many bytes were fetched because somebody reads. Where that makes much of the drive, the rest follows.
    fn on_touched(&self, bytes: u64) {
        if let Some(viewer) = self.there.as_ref().filter(|_| !self.is_past)
            && viewer.touched.add(bytes, self.at.bytes)
        {
            tokio::spawn(fetch_rest(self.clone(), viewer.clone()));
        }
    }

    /// The reader of the file that an entry shows.
    pub(crate) fn reader(self, entry: &Entry) -> Arc<Reader> {
        let (path, version) = (entry.key().to_path(), entry.shown().clone());
        Arc::new(Reader { view: self, path, version })
    }

    async fn list_checked(self, listing: Listing) -> Result<BoxStream<'static, Result<Entry, DriveError>>, DriveError> {
        if let Some(prefix) = &listing.prefix {
            let entry = self.lookup(prefix).await?;
            let entry = entry.ok_or_else(|| DriveError::NoSuchPath(prefix.to_path()))?;
            if entry.shown().kind != Kind::Directory {
                return Ok(stream::iter([Ok(entry)]).boxed());
            }
        }
        Ok(self.entries(listing))
    }

    /// What lies below the prefix of a listing.
    pub(crate) fn entries(self, listing: Listing) -> BoxStream<'static, Result<Entry, DriveError>> {
        let (tx, rx) = mpsc::channel(PAGE);
        tokio::spawn(async move {
            if let Err(error) = self.list(listing, &tx).await {
                let _ = tx.send(Err(error)).await;
            }
        });
        stream::unfold(rx, |mut rx| async { rx.recv().await.map(|item| (item, rx)) }).boxed()
    }

    async fn read(self, path: &PathKey, start: u64, end: Option<u64>) -> Result<Content, DriveError> {
        let entry = self.lookup(path).await?.ok_or_else(|| DriveError::NoSuchPath(path.to_path()))?;
        let version = entry.shown();
        match version.kind {
            // The content of a link is its target.
            Kind::File | Kind::Symlink => {}
            Kind::Directory => return Err(DriveError::WrongKind { path: path.to_path(), is: "a folder" }),
        }
        let end = end.unwrap_or(version.size).min(version.size);
        if start > version.size || start > end {
            let size = version.size;
            return Err(DriveError::Invalid(format!("the range begins at byte {start}, the file has {size}")));
        }
        let stream = self.content(&entry, start, end);
        Ok(Content { entry, start, len: end - start, stream })
    }

    /// Bytes `start..end` of the file that an entry shows.
    pub(crate) fn content(self, entry: &Entry, start: u64, end: u64) -> BoxStream<'static, Result<Bytes, DriveError>> {
        let budget = self.shared.read_ahead.clone();
        let reader = self.reader(entry);
        // Where many readers have used up the budget, each waits for its own pieces, or a thousand would hold 300 MiB.
        let has_room = budget.available_permits() > 0;
        let ahead = if reader.view.there.is_some() && has_room { PIECES_AHEAD } else { 1 };
        let of = reader.clone();
        let pieces = stream::iter(pieces(start, end, budget)).map(move |(piece, place)| {
            let reader = of.clone();
            async move { reader.read_for_user(piece).await.map(|bytes| held(bytes, place)) }
        });
        let bytes = pieces.buffered(ahead).boxed();
        if reader.view.there.is_some() && end - start >= LOOK_AHEAD_FROM_BYTES {
            return look_ahead(reader, start, end, bytes);
        }
        bytes
    }

    pub(crate) async fn lookup(&self, key: &PathKey) -> Result<Option<Entry>, DriveError> {
        let key = key.clone();
        self.with_nodes(move |nodes, root| Tree::new(nodes, root).lookup(&key)).await
    }

    async fn list(&self, listing: Listing, tx: &mpsc::Sender<Result<Entry, DriveError>>) -> Result<(), DriveError> {
        if listing.depth == Some(0) {
            return Ok(());
        }
        let prefix = listing.prefix.clone();
        if listing.depth == Some(1) {
            let found = self.with_nodes(move |nodes, root| {
                Tree::new(nodes, root).list_dir(prefix.as_ref()).collect::<Result<Vec<_>, _>>()
            });
            for listed in found.await? {
                if let Listed::Entry(entry) = listed
                    && tx.send(Ok(entry)).await.is_err()
                {
                    break;
                }
            }
            return Ok(());
        }
        let base = prefix.as_ref().map_or(0, |prefix| prefix.components().count());
        let mut from = prefix.as_ref().map(|prefix| prefix.as_bytes().to_vec()).unwrap_or_default();
        loop {
            let start = from.clone();
            let page = self.with_nodes(move |nodes, root| {
                Tree::new(nodes, root).range(&start).take(PAGE).collect::<Result<Vec<Entry>, _>>()
            });
            let page = page.await?;
            let is_last = page.len() < PAGE;
            for entry in page {
                from = [entry.key().as_bytes(), &[0]].concat();
                if let Some(prefix) = &prefix {
                    if entry.key() == prefix {
                        continue;
                    }
                    if !entry.key().is_under(prefix) {
                        return Ok(());
                    }
                }
                let depth = (entry.key().components().count() - base) as u32;
                if listing.depth.is_none_or(|most| depth <= most) && tx.send(Ok(entry)).await.is_err() {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Runs a walk, fetching the nodes it finds missing.
    async fn with_nodes<T: Send + 'static>(
        &self,
        walk: impl Fn(&Layered<'_>, Expected) -> Result<T, WalkError<DriveError>> + Clone + Send + 'static,
    ) -> Result<T, DriveError> {
        let root = self.root();
        loop {
            let (shared, walk, root) = (self.shared.clone(), walk.clone(), root.clone());
            let drive = self.there.as_ref().map(|_| self.drive.id);
            let result = tokio::task::spawn_blocking(move || {
                let browsed = drive.map(|drive| (&shared.browsed, drive));
                walk(&Layered { nodes: &shared.nodes, browsed }, root)
            });
            let result = result.await?;
            match (result, &self.there) {
                (Ok(found), _) => return Ok(found),
                (Err(WalkError::Missing(id)), Some(viewer)) => {
                    let (shared, keep) = (self.shared.clone(), Keep::Browsed(self.drive.id));
                    let fetch = move |session: Arc<Session>| {
                        let shared = shared.clone();
                        async move { fetch_node(&shared, &session, id, keep).await }
                    };
                    viewer.ask(DEFAULT_PATIENCE, fetch).await?;
                }
                (Err(error), _) => return Err(crate::content::walk_error(error)),
            }
        }
    }
}

/// The pieces in which bytes `start..end` are read, each with its place in the budget for large pieces, if it has one. The
/// first is short, so that it comes soon; so are all where many readers have used up the budget, or each slow reader
/// would hold as much as a fast one.
fn pieces(
    start: u64,
    end: u64,
    budget: Arc<Semaphore>,
) -> impl Iterator<Item = (Range<u64>, Option<OwnedSemaphorePermit>)> {
    let mut at = start;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let place = if at == start { None } else { budget.clone().try_acquire_owned().ok() };
        let len = if place.is_some() { PIECE_BYTES } else { SHORT_PIECE_BYTES };
        let next = end.min((at / len + 1) * len);
        let piece = at..next;
        at = next;
        Some((piece, place))
    })
}

/// Bytes that keep their place in the budget until nobody holds them any more.
fn held(bytes: Bytes, place: Option<OwnedSemaphorePermit>) -> Bytes {
    struct Held(Bytes, #[allow(dead_code, reason = "it is given back when this is dropped")] OwnedSemaphorePermit);
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    match place {
        Some(place) => Bytes::from_owner(Held(bytes, place)),
        None => bytes,
    }
}

/// Reads a file piece by piece.
pub(crate) struct Reader {
    view: View,
    path: String,
    version: Version,
}

impl Reader {
    /// What is read.
    pub(crate) fn file(&self) -> (DriveId, ContentId) {
        (self.view.drive.id, self.version.hash)
    }

    /// Whether what is read finds room on the disk.
    pub(crate) fn is_kept(&self) -> bool {
        self.view.shared.browsed.grows()
    }

    pub(crate) fn ahead_files(&self) -> &Arc<AheadFiles> {
        &self.view.shared.ahead
    }

    /// Bytes that somebody waits for: what of them had to travel counts as read of the drive.
    async fn read_for_user(self: Arc<Self>, piece: Range<u64>) -> Result<Bytes, DriveError> {
        let (bytes, is_from_peer) = self.clone().find(piece).await?;
        if is_from_peer {
            self.view.on_touched(bytes.len() as u64);
        }
        Ok(bytes)
    }

    /// Bytes of the file, from wherever they are.
    pub(crate) async fn read(self: Arc<Self>, piece: Range<u64>) -> Result<Bytes, DriveError> {
        Ok(self.find(piece).await?.0)
    }

    /// Bytes of the file, and whether a peer sent them for this call.
    async fn find(self: Arc<Self>, piece: Range<u64>) -> Result<(Bytes, bool), DriveError> {
        if let Some(inline) = &self.version.inline {
            let inline = Bytes::copy_from_slice(inline.as_bytes());
            return Ok((inline.slice(piece.start as usize..piece.end as usize), false));
        }
        let Some(viewer) = &self.view.there else { return Ok((self.read_here(piece).await?, false)) };
        if self.view.is_past
            && let Ok(bytes) = self.clone().read_here(piece.clone()).await
        {
            return Ok((bytes, false));
        }
        if let Some(bytes) = viewer.along(&self.version.hash).await {
            return Ok((bytes.slice(piece.start as usize..piece.end as usize), false));
        }
        if let Some(bytes) = self.clone().read_kept(piece.clone()).await? {
            return Ok((bytes, false));
        }
        let (this, wanted) = (self.clone(), piece.clone());
        let fetch = move |session: Arc<Session>| {
            let (this, piece) = (this.clone(), wanted.clone());
            async move { this.read_there(&session, piece).await }
        };
        let mut asked = pin!(viewer.ask(DEFAULT_PATIENCE, fetch));
        loop {
            match tokio::time::timeout(KEPT_MEANWHILE, &mut asked).await {
                Ok(Err(DriveError::Stalled(_))) if self.view.is_past => {
                    return Err(DriveError::ContentNotKept(self.path.clone()));
                }
                Ok(answer) => return Ok((answer?, true)),
                // Another reader, or who looks ahead, may have had more luck with it.
                Err(_) => {
                    if let Some(bytes) = self.clone().read_kept(piece.clone()).await? {
                        return Ok((bytes, false));
                    }
                }
            }
        }
    }

    async fn read_here(&self, piece: Range<u64>) -> Result<Bytes, DriveError> {
        let (shared, drive) = (self.view.shared.clone(), self.view.drive.clone());
        let (path, version) = (self.path.clone(), self.version.clone());
        let read =
            tokio::task::spawn_blocking(move || read_here(&shared, &drive, &path, &version, piece.start, piece.end));
        read.await?.map_err(|error| match error {
            // Not "there is no such file": the version has it.
            ContentError::Failed(DriveError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                DriveError::Corrupt(format!("the folder of this drive lacks {:?}, which its version has", self.path))
            }
            ContentError::Failed(error) => error,
            _ if self.view.is_past => DriveError::ContentNotKept(self.path.clone()),
            _ => DriveError::Corrupt(format!("{:?} was changed on disk since this version was made", self.path)),
        })
    }

    /// What an earlier look has left on our own disk.
    async fn read_kept(self: Arc<Self>, piece: Range<u64>) -> Result<Option<Bytes>, DriveError> {
        let found = tokio::task::spawn_blocking(move || {
            let (browsed, drive, version) = (&self.view.shared.browsed, &self.view.drive.id, &self.version);
            if version.size < SMALL_BLOB_BYTES {
                let whole = browsed.small(drive, &version.hash)?;
                return cut(&whole, 0, piece.start, piece.end);
            }
            browsed.range(drive, &version.hash, version.size, piece.start, piece.end)
        });
        Ok(found.await?)
    }

    /// Hands what was proven to the cache on disk, which takes it or not.
    fn keep(&self, piece: Piece) {
        let (browsed, drive) = (&self.view.shared.browsed, &self.view.drive.id);
        if piece.size >= SMALL_BLOB_BYTES {
            browsed.keep_piece(drive, piece);
        } else if piece.bytes.len() as u64 == piece.size {
            browsed.keep_small(drive, vec![(piece.hash, piece.bytes)]);
        }
    }

    async fn read_there(&self, session: &Session, piece: Range<u64>) -> Result<Bytes, FetchError> {
        let (size, hash) = (self.version.size, self.version.hash);
        let ranges = GroupRanges::from_bytes_range(piece.clone());
        let get = Get { hash, ranges: ranges.clone(), grain: Grain::FINE, size_proof: SizeProof::No };
        let mut stream = session.request(Request::Get(get)).await?;
        let mut prefix = [0; 8];
        read_exact(&mut stream, &mut prefix).await?;
        if u64::from_be_bytes(prefix) != size {
            return Err(FetchError::Lied("another size".into()));
        }
        let lied = |error: crate::ProofError| FetchError::Lied(error.to_string());
        let mut decoder = Decoder::new(&hash, size, &ranges, Grain::FINE, SizeProof::No);
        let first = piece.start / GROUP_BYTES * GROUP_BYTES;
        let mut bytes = Vec::with_capacity((piece.end - first) as usize + GROUP_BYTES as usize);
        let (mut unit_bytes, mut below, mut parents) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(step) = decoder.step() {
            match step {
                Step::Parent(_) => {
                    let mut pair = [0; PARENT_BYTES as usize];
                    read_exact(&mut stream, &mut pair).await?;
                    let parent = decoder.on_parent(&pair).map_err(lied)?;
                    parents.push((parent.outboard_offset, pair));
                }
                Step::Unit(unit) => {
                    unit_bytes.resize(unit.len, 0);
                    read_exact(&mut stream, &mut unit_bytes).await?;
                    decoder.on_unit(&unit_bytes, &mut below).map_err(lied)?;
                    bytes.extend_from_slice(&unit_bytes);
                }
            }
        }
        session.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let bytes = Bytes::from(bytes);
        self.keep(Piece { hash, size, first, bytes: bytes.clone(), parents });
        cut(&bytes, first, piece.start, piece.end).ok_or_else(|| FetchError::Lied("fewer bytes than asked for".into()))
    }
}
