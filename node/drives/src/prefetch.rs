//! What a peer that opens a drive gets unasked: the file it is about to read, and what the publisher says is needed with
//! it (specs/drives.md, 13.4). So a small site is on the screen one round trip after the proof.

use bytes::Bytes;
use p2p_identity::ContentId;
use serde::Deserialize;

use crate::DriveError;
use crate::content::{Located, WHOLE_FILE_BYTES, read_whole};
use crate::engine::Shared;
use crate::entry::{Entry, Kind};
use crate::key::PathKey;
use crate::registry::Drive;
use crate::tree::{Expected, NodeId, NodeSource, Tree};

/// Where a publisher says what its site needs.
const MANIFEST: &str = ".p2p/site.json";
/// Largest such file that is read, in bytes.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024;
/// Most paths of it that are looked at.
const MAX_PATHS: usize = 64;
/// What a folder shows.
const INDEX: &str = "index.html";

/// What goes along with the head.
#[derive(Default)]
pub(crate) struct Along {
    /// Index nodes, each after its parent.
    pub(crate) nodes: Vec<(NodeId, Bytes)>,
    pub(crate) blobs: Vec<(ContentId, Vec<u8>)>,
}

/// The part of a manifest that matters here; the rest belongs to who shows the site.
#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    prefetch: Vec<String>,
}

/// The nodes on the way to `path`, and content up to `budget` bytes in all. What cannot be read is left out: the peer
/// asks for it when it needs it. Blocks.
pub(crate) fn along(
    shared: &Shared,
    drive: &Drive,
    root: NodeId,
    path: Option<&[u8]>,
    budget: u32,
) -> Result<Along, DriveError> {
    let mut gift = Gift { shared, drive, root, left: u64::from(budget), along: Along::default() };
    gift.add_nodes(path)?;
    if budget == 0 {
        return Ok(gift.along);
    }
    let wanted = path.and_then(|path| PathKey::from_bytes(path).ok());
    let shown = match &wanted {
        None => gift.find(INDEX)?,
        Some(path) => match gift.entry(path)? {
            Some(entry) if entry.shown().kind == Kind::Directory => {
                gift.find(&format!("{}/{INDEX}", path.to_path()))?
            }
            other => other,
        },
    };
    if let Some(entry) = shown {
        gift.add_content(&entry)?;
    }
    if let Some(manifest) = gift.manifest()? {
        for path in manifest.prefetch.iter().take(MAX_PATHS) {
            if let Some(entry) = gift.find(path)? {
                gift.add_content(&entry)?;
            }
        }
    }
    Ok(gift.along)
}

struct Gift<'a> {
    shared: &'a Shared,
    drive: &'a Drive,
    root: NodeId,
    /// Bytes of content that still fit.
    left: u64,
    along: Along,
}

impl Gift<'_> {
    /// The nodes from the root to a path, as far as they are here; only the root without a path.
    fn add_nodes(&mut self, path: Option<&[u8]>) -> Result<(), DriveError> {
        let mut expected = Expected::root(self.root);
        while let Some(bytes) = self.shared.nodes.node(&expected.id)? {
            let Ok(node) = expected.decode(&bytes) else { break };
            if !self.along.nodes.iter().any(|(known, _)| *known == expected.id) {
                self.along.nodes.push((expected.id, bytes));
            }
            let Some(path) = path else { break };
            let child = node.child_index_for(path).and_then(|i| node.expected_child(i, expected.after.as_ref()));
            let Some(child) = child else { break };
            expected = child;
        }
        Ok(())
    }

    fn find(&mut self, path: &str) -> Result<Option<Entry>, DriveError> {
        match PathKey::from_path(path.trim_matches('/')) {
            Ok(key) => self.entry(&key),
            Err(_) => Ok(None),
        }
    }

    /// An entry, with the nodes that lead to it.
    fn entry(&mut self, path: &PathKey) -> Result<Option<Entry>, DriveError> {
        self.add_nodes(Some(path.as_bytes()))?;
        let found = Tree::new(&*self.shared.nodes, Expected::root(self.root)).lookup(path);
        // A part of the index that is not here is no failure: then there is less to give.
        Ok(found.ok().flatten())
    }

    fn add_content(&mut self, entry: &Entry) -> Result<(), DriveError> {
        let version = entry.shown();
        let is_small = version.size <= self.left && version.size <= WHOLE_FILE_BYTES;
        let is_there = self.along.blobs.iter().any(|(known, _)| *known == version.hash);
        if version.kind != Kind::File || version.inline.is_some() || !is_small || is_there {
            return Ok(());
        }
        if let Some(bytes) = self.read(entry)? {
            self.left -= version.size;
            self.along.blobs.push((version.hash, bytes));
        }
        Ok(())
    }

    fn manifest(&mut self) -> Result<Option<Manifest>, DriveError> {
        let Some(entry) = self.find(MANIFEST)? else { return Ok(None) };
        if entry.shown().kind != Kind::File || entry.shown().size > MAX_MANIFEST_BYTES {
            return Ok(None);
        }
        // Who shows the site reads it too.
        self.add_content(&entry)?;
        let bytes = match &entry.shown().inline {
            Some(inline) => Some(inline.as_bytes().to_vec()),
            None => self.read(&entry)?,
        };
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// The checked content of a small file; `None` if it was changed meanwhile.
    fn read(&self, entry: &Entry) -> Result<Option<Vec<u8>>, DriveError> {
        let version = entry.shown();
        let at = Located { path: entry.key().to_path(), kind: version.kind, size: version.size, inline: None };
        let folder = self.shared.folder_of(self.drive)?;
        Ok(read_whole(&folder, &at, &version.hash).ok())
    }
}
