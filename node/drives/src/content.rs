//! Where the content of a drive lies: from a hash to a file in the folder, checked before it is handed out
//! (specs/drives.md, 14.1).

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use p2p_identity::ContentId;

use crate::DriveError;
use crate::blob::{
    Encoder, GROUP_BYTES, Grain, GroupRanges, PARENT_BYTES, ReadAt, SendError, SizeProof, Step, hash_bytes,
    hash_file_into, outboard_len,
};
use crate::engine::Shared;
use crate::entry::{Entry, Kind, Version};
use crate::folder::{Folder, Found};
use crate::kept::KeptContent;
use crate::nodes::NodeStore;
use crate::registry::Drive;
use crate::tree::{Expected, Node, NodeId, NodeSource};

/// Files up to this size are read, hashed and sent whole; above, an outboard is kept. One unit of the largest grain,
/// because up to there hashing the file again costs less than keeping anything (0.3 ms).
pub(crate) const WHOLE_FILE_BYTES: u64 = 1024 * 1024;

/// All content of one version, sorted by hash: 12 bytes per file. Belongs to the root it was made of.
#[derive(Clone)]
pub(crate) struct ContentIndex {
    root: NodeId,
    leaves: Vec<NodeId>,
    /// First bytes of a hash, and the number of the leaf it stands in, big-endian: as bytes they need no padding.
    files: Vec<([u8; 8], [u8; 4])>,
}

/// A piece of content, and the file it lies in.
pub(crate) struct Located {
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) inline: Option<Vec<u8>>,
}

/// Why content cannot be handed out.
#[derive(Debug)]
pub(crate) enum ContentError {
    /// This version has no such content, or it is not here.
    NotFound,
    /// It was changed or removed since this version was made.
    Stale,
    /// The disk failed.
    Failed(DriveError),
}

impl From<DriveError> for ContentError {
    fn from(error: DriveError) -> Self {
        Self::Failed(error)
    }
}

impl ContentIndex {
    /// The index of a drive's newest version, made now if need be. Blocks.
    pub(crate) fn of(drive: &Drive, nodes: &NodeStore) -> Result<Arc<Self>, DriveError> {
        let root = drive.snapshot().ok_or(DriveError::UnknownDrive(drive.id))?.root;
        let mut content = drive.content.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*content
            && known.root == root
        {
            return Ok(known.clone());
        }
        let before = content.take().map(Arc::unwrap_or_clone);
        let made = Arc::new(Self::make(root, before, nodes)?);
        *content = Some(made.clone());
        Ok(made)
    }

    /// The index of the version under a root. Of the one before, what stands in leaves that both have is taken over.
    /// Blocks.
    pub(crate) fn make(root: NodeId, before: Option<Self>, nodes: &NodeStore) -> Result<Self, DriveError> {
        let Self { leaves: old, files, .. } = before.unwrap_or(Self { root, leaves: Vec::new(), files: Vec::new() });
        let mut making = Making {
            index: Self { root, leaves: Vec::new(), files: Vec::new() },
            old: old.iter().copied().zip(0..).collect(),
            numbers: vec![None; old.len()],
        };
        making.add(&Expected::root(root), nodes)?;
        let Making { index: Self { leaves, files: mut new, .. }, numbers, .. } = making;
        let mut files = files;
        files.retain_mut(|(_, number)| {
            let now = numbers.get(u32::from_be_bytes(*number) as usize).copied().flatten();
            *number = now.unwrap_or_default().to_be_bytes();
            now.is_some()
        });
        files.append(&mut new);
        // Runs that are in order already, but for what is new.
        files.sort();
        files.shrink_to_fit();
        Ok(Self { root, leaves, files })
    }

    /// Files with this content, as this version has them. Blocks.
    pub(crate) fn locate(
        &self,
        hash: &ContentId,
        nodes: &NodeStore,
        leaf: &mut LeafCache,
    ) -> Result<Vec<Located>, DriveError> {
        /// Copies of one content that are tried before giving up.
        const MAX_COPIES: usize = 4;
        let wanted = prefix(hash);
        let start = self.files.partition_point(|(known, _)| *known < wanted);
        let mut found = Vec::new();
        for (known, number) in self.files.get(start..).unwrap_or_default() {
            if *known != wanted || found.len() >= MAX_COPIES {
                break;
            }
            let Some(id) = self.leaves.get(u32::from_be_bytes(*number) as usize) else { continue };
            let entries = leaf.load(id, nodes)?;
            for entry in entries.iter().filter(|entry| entry.shown().hash == *hash) {
                if found.len() < MAX_COPIES && entry.shown().kind != Kind::Directory {
                    found.push(Located {
                        kind: entry.shown().kind,
                        path: entry.key().to_path(),
                        size: entry.shown().size,
                        inline: entry.shown().inline.as_ref().map(|inline| inline.as_bytes().to_vec()),
                    });
                }
            }
        }
        Ok(found)
    }
}

/// An index that is being made.
struct Making {
    index: ContentIndex,
    /// Leaves of the version before, and their numbers.
    old: HashMap<NodeId, u32>,
    /// Their numbers now, where this version has them as well.
    numbers: Vec<Option<u32>>,
}

impl Making {
    /// Recurses once per level, at most 8 deep. A leaf that was known before is not read.
    fn add(&mut self, expected: &Expected, nodes: &NodeStore) -> Result<(), DriveError> {
        let number = self.index.leaves.len() as u32;
        if let Some(old) = self.old.get(&expected.id)
            && let Some(now) = self.numbers.get_mut(*old as usize)
        {
            *now = Some(number);
            self.index.leaves.push(expected.id);
            return Ok(());
        }
        match load(nodes, expected)? {
            Node::Leaf(entries) => {
                self.index.leaves.push(expected.id);
                let files = entries.iter().filter(|entry| entry.shown().kind != Kind::Directory);
                let rows = files.map(|entry| (prefix(&entry.shown().hash), number.to_be_bytes()));
                self.index.files.extend(rows);
            }
            node @ Node::Interior { .. } => {
                for index in 0..node.item_count() {
                    if let Some(child) = node.expected_child(index, expected.after.as_ref()) {
                        self.add(&child, nodes)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The leaf used last: requests come in index order.
#[derive(Default)]
pub(crate) struct LeafCache(Option<(NodeId, Arc<Vec<Entry>>)>);

impl LeafCache {
    fn load(&mut self, id: &NodeId, nodes: &NodeStore) -> Result<Arc<Vec<Entry>>, DriveError> {
        if let Some((known, entries)) = &self.0
            && known == id
        {
            return Ok(entries.clone());
        }
        let entries = match load(nodes, &Expected::root(*id))? {
            Node::Leaf(entries) => Arc::new(entries),
            Node::Interior { .. } => Arc::default(),
        };
        self.0 = Some((*id, entries.clone()));
        Ok(entries)
    }
}

/// A node that must be here.
pub(crate) fn load(nodes: &NodeStore, expected: &Expected) -> Result<Node, DriveError> {
    let bytes = nodes.node(&expected.id)?.ok_or_else(|| {
        DriveError::Corrupt(format!("index node {} is missing; import the folder again", expected.id))
    })?;
    expected.decode(&bytes).map_err(|error| DriveError::Corrupt(format!("index node {}: {error}", expected.id)))
}

fn prefix(hash: &ContentId) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    [a, b, c, d, e, f, g, h]
}

/// A file that is not larger than [`WHOLE_FILE_BYTES`], whole and checked. Blocks.
pub(crate) fn read_whole(folder: &Folder, at: &Located, hash: &ContentId) -> Result<Vec<u8>, ContentError> {
    if let Some(inline) = &at.inline {
        return Ok(inline.clone());
    }
    let bytes = if at.kind == Kind::Symlink {
        folder.read_link(&at.path).map_err(|_| ContentError::Stale)?
    } else {
        let file = open_unchanged(folder, &at.path, at.size)?;
        let mut bytes = vec![0; at.size as usize];
        file.read_exact_at(&mut bytes, 0).map_err(|_| ContentError::Stale)?;
        bytes
    };
    if hash_bytes(&bytes).0 == *hash { Ok(bytes) } else { Err(ContentError::Stale) }
}

/// Opens a file of that size; anything else there means that the content is stale.
pub(crate) fn open_unchanged(folder: &Folder, path: &str, size: u64) -> Result<File, ContentError> {
    let (file, status) = folder.open_file(path).map_err(|_| ContentError::Stale)?;
    if status.found != Found::File || status.fingerprint.size != size {
        return Err(ContentError::Stale);
    }
    Ok(file)
}

/// Bytes `start..end` of a blob of `size` bytes, checked against its hash by way of its outboard. Blocks.
pub(crate) fn read_proven(
    data: &impl ReadAt,
    outboard: &impl ReadAt,
    hash: &ContentId,
    size: u64,
    start: u64,
    end: u64,
) -> Result<Bytes, ContentError> {
    let mut encoder = Encoder::new(hash, size, &GroupRanges::from_bytes_range(start..end), Grain::FINE, SizeProof::No);
    let first = start / GROUP_BYTES * GROUP_BYTES;
    let mut bytes = Vec::with_capacity((end - first) as usize + GROUP_BYTES as usize);
    while let Some(step) = encoder.step() {
        match step {
            Step::Parent(parent) => {
                let mut pair = [0; PARENT_BYTES as usize];
                outboard.read_exact_at(&mut pair, parent.outboard_offset).map_err(|_| ContentError::Stale)?;
                encoder.check_parent(&pair).map_err(|_| ContentError::Stale)?;
            }
            Step::Unit(unit) => {
                let from = bytes.len();
                bytes.resize(from + unit.len, 0);
                let part = bytes.get_mut(from..).unwrap_or_default();
                data.read_exact_at(part, unit.start_byte).map_err(|_| ContentError::Stale)?;
                encoder.check_unit(part).map_err(|_| ContentError::Stale)?;
            }
        }
    }
    cut(&bytes.into(), first, start, end).ok_or(ContentError::Stale)
}

/// Bytes `start..end` of `bytes`, which begin at `first`.
pub(crate) fn cut(bytes: &Bytes, first: u64, start: u64, end: u64) -> Option<Bytes> {
    let (from, to) = (start.checked_sub(first)? as usize, end.checked_sub(first)? as usize);
    (from <= to && to <= bytes.len()).then(|| bytes.slice(from..to))
}

/// Small content that was kept of an earlier version, whole and checked. Blocks.
pub(crate) fn read_kept(kept: &KeptContent, hash: &ContentId, size: u64) -> Option<Vec<u8>> {
    let file = kept.open(hash, size).filter(|_| size <= WHOLE_FILE_BYTES)?;
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, 0).ok()?;
    (hash_bytes(&bytes).0 == *hash).then_some(bytes)
}

/// Where to look for content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the folder, as the newest version has it.
    Folder,
    /// In the folder, as the version that is on its way will have it, or on its way.
    Incoming,
    /// Among what was kept of earlier versions.
    Kept,
}

/// Content ready to be handed out. Every part is checked as it is read.
pub(crate) enum Blob {
    /// Small: read whole and checked, with its outboard.
    Whole(Vec<u8>, Vec<u8>),
    /// A file with its outboard.
    File { file: File, outboard: File, size: u64 },
}

impl Blob {
    /// Finds content of a drive by its hash. Blocks.
    pub(crate) fn open(shared: &Shared, drive: &Drive, hash: &ContentId, place: Place) -> Result<Self, ContentError> {
        if place == Place::Kept {
            let (file, size) = shared.kept.find(hash).ok_or(ContentError::NotFound)?;
            return match size {
                0..=WHOLE_FILE_BYTES => {
                    read_kept(&shared.kept, hash, size).map(Self::whole).ok_or(ContentError::NotFound)
                }
                _ => Self::of_file(shared, file, hash, size),
            };
        }
        let index = match place {
            Place::Incoming => match drive.incoming.borrow().clone() {
                Some(incoming) => incoming.content(&shared.nodes)?,
                None => return Err(ContentError::NotFound),
            },
            _ if drive.snapshot().is_none() => return Err(ContentError::NotFound),
            _ => ContentIndex::of(drive, &shared.nodes)?,
        };
        let folder = shared.folder_of(drive)?;
        let mut result = Err(ContentError::NotFound);
        for at in index.locate(hash, &shared.nodes, &mut LeafCache::default())? {
            result = Self::open_at(shared, &folder, &at, hash);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Content that should lie at a path of the folder. Blocks.
    pub(crate) fn open_at(
        shared: &Shared,
        folder: &Folder,
        at: &Located,
        hash: &ContentId,
    ) -> Result<Self, ContentError> {
        if at.size <= WHOLE_FILE_BYTES {
            return read_whole(folder, at, hash).map(Self::whole);
        }
        let file = open_unchanged(folder, &at.path, at.size)?;
        Self::of_file(shared, file, hash, at.size)
    }

    fn whole(bytes: Vec<u8>) -> Self {
        let outboard = hash_bytes(&bytes).1.unwrap_or_default();
        Self::Whole(bytes, outboard)
    }

    fn of_file(shared: &Shared, file: File, hash: &ContentId, size: u64) -> Result<Self, ContentError> {
        let outboard = shared.outboards.open(hash, &file, size)?;
        Ok(Self::File { file, outboard, size })
    }

    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Whole(bytes, _) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    /// Appends the next unit with the parents before it, checked. Blocks.
    pub(crate) fn encode_unit(&self, encoder: &mut Encoder, out: &mut Vec<u8>) -> Result<(), SendError> {
        match self {
            Self::Whole(bytes, outboard) => encoder.encode_unit(bytes, outboard, out).map(drop),
            Self::File { file, outboard, .. } => encoder.encode_unit(file, outboard, out).map(drop),
        }
    }

    /// Bytes `start..end`, which lie within the content, checked. Blocks.
    pub(crate) fn read(&self, hash: &ContentId, start: u64, end: u64) -> Result<Bytes, ContentError> {
        match self {
            Self::Whole(bytes, _) => {
                let part = bytes.get(start as usize..end as usize);
                part.map(Bytes::copy_from_slice).ok_or(ContentError::Stale)
            }
            Self::File { file, outboard, size } => read_proven(file, outboard, hash, *size, start, end),
        }
    }
}

/// Bytes `start..end` of a file of any version of a drive: from where that version has it, else from wherever the same
/// content lies, else from what was kept. Blocks.
pub(crate) fn read_here(
    shared: &Shared,
    drive: &Drive,
    path: &str,
    version: &Version,
    start: u64,
    end: u64,
) -> Result<Bytes, ContentError> {
    if let Some(inline) = &version.inline {
        return Blob::whole(inline.as_bytes().to_vec()).read(&version.hash, start, end);
    }
    let at = Located { path: path.to_owned(), kind: version.kind, size: version.size, inline: None };
    let mut failure = ContentError::NotFound;
    let places: [&dyn Fn() -> Result<Blob, ContentError>; 3] = [
        &|| Blob::open_at(shared, &*shared.folder_of(drive)?, &at, &version.hash),
        &|| Blob::open(shared, drive, &version.hash, Place::Folder),
        &|| Blob::open(shared, drive, &version.hash, Place::Kept),
    ];
    for open in places {
        match open().and_then(|blob| blob.read(&version.hash, start, end)) {
            Ok(bytes) => return Ok(bytes),
            Err(ContentError::NotFound) => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// What a check of a proof found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// It is right.
    Right,
    /// It was missing or wrong, and was made again.
    MadeAgain,
    /// The file has other content, or cannot be read.
    WrongContent,
}

/// Outboards of files above [`WHOLE_FILE_BYTES`].
pub(crate) struct Outboards {
    directory: PathBuf,
}

impl Outboards {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(crate) fn path(&self, hash: &ContentId) -> PathBuf {
        let text = hash.to_string();
        self.directory.join(&text[..2]).join(&text[2..4]).join(text)
    }

    /// Hashes a file and keeps its outboard. Not synced: it can be made again. Blocks.
    pub(crate) fn make(&self, file: &File, size: u64, threads: usize) -> Result<ContentId, crate::ImportError> {
        let write = crate::ImportError::WriteOutboard;
        std::fs::create_dir_all(&self.directory).map_err(write)?;
        let unique = format!("new-{}-{:?}", std::process::id(), std::thread::current().id());
        let temporary = self.directory.join(unique);
        let outboard = File::create(&temporary).map_err(write)?;
        let result = hash_file_into(file, size, threads, &outboard).and_then(|hash| {
            self.adopt(&temporary, &hash).map_err(write)?;
            Ok(hash)
        });
        if result.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        result
    }

    /// Reads a whole file and compares what proves it with the outboard that is kept, byte by byte. Blocks.
    pub(crate) fn check(&self, file: &File, size: u64, hash: &ContentId) -> Proof {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let temporary = self.directory.join(format!("new-check-{}-{hash}", std::process::id()));
        let checked = std::fs::create_dir_all(&self.directory).and_then(|()| {
            let outboard = File::options().read(true).write(true).create(true).truncate(true).open(&temporary)?;
            let found = hash_file_into(file, size, threads, &outboard).map_err(io::Error::other)?;
            if found != *hash {
                return Ok(Proof::WrongContent);
            }
            if is_same(&outboard, &self.path(hash)) {
                return Ok(Proof::Right);
            }
            outboard.sync_data()?;
            self.adopt(&temporary, hash)?;
            Ok(Proof::MadeAgain)
        });
        if !matches!(checked, Ok(Proof::MadeAgain)) {
            let _ = std::fs::remove_file(&temporary);
        }
        checked.unwrap_or_else(|error| {
            tracing::debug!(%hash, %error, "a file cannot be checked");
            Proof::WrongContent
        })
    }

    /// Takes over a finished outboard by moving it.
    pub(crate) fn adopt(&self, from: &Path, hash: &ContentId) -> io::Result<()> {
        let to = self.path(hash);
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::rename(from, to)
    }

    /// The outboard of a file, made again if it is missing or of the wrong length. Blocks.
    pub(crate) fn open(&self, hash: &ContentId, file: &File, size: u64) -> Result<File, ContentError> {
        if let Ok(outboard) = File::open(self.path(hash))
            && outboard.metadata().is_ok_and(|meta| meta.len() == outboard_len(size))
        {
            return Ok(outboard);
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        match self.make(file, size, threads) {
            Ok(made) if made == *hash => File::open(self.path(hash)).map_err(|_| ContentError::Stale),
            _ => Err(ContentError::Stale),
        }
    }

    /// All files in the directory: outboards, and what an interrupted run has left. Blocks.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let below = |directory: PathBuf| std::fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path());
        below(self.directory.clone()).flat_map(below).flat_map(below).collect()
    }

    pub(crate) fn forget(&self, hash: &ContentId) {
        let _ = std::fs::remove_file(self.path(hash));
    }
}

/// Whether a file has the same bytes as the one at a path. Memory: two buffers.
fn is_same(file: &File, path: &Path) -> bool {
    const STEP: usize = 64 * 1024;
    let same = || -> io::Result<bool> {
        let other = File::open(path)?;
        let len = file.metadata()?.len();
        if other.metadata()?.len() != len {
            return Ok(false);
        }
        let (mut ours, mut theirs, mut at) = (vec![0; STEP], vec![0; STEP], 0);
        while at < len {
            let step = (len - at).min(STEP as u64) as usize;
            let (ours, theirs) = (ours.get_mut(..step).unwrap_or_default(), theirs.get_mut(..step).unwrap_or_default());
            file.read_exact_at(ours, at)?;
            other.read_exact_at(theirs, at)?;
            if ours != theirs {
                return Ok(false);
            }
            at += step as u64;
        }
        Ok(true)
    };
    same().unwrap_or(false)
}

/// A tree that could not be walked.
pub(crate) fn walk_error(error: crate::tree::WalkError<DriveError>) -> DriveError {
    match error {
        crate::tree::WalkError::Source(error) => error,
        other => DriveError::Corrupt(other.to_string()),
    }
}
