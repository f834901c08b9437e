//! Bytes of an index node (specs/drives.md, 4.2 and 4.3). One node has exactly one encoding; the decoder refuses all others.
//!
//! ```text
//! node     format u8 = 1, seal u8 = 0, level u8, body; numbers are varints, signed ones zigzag
//! leaf     count of writers, their prefixes (8 each, ascending, all used); count of entries, entries
//! entry    bytes shared with the key before it, rest of the key; count of versions, versions
//! version  index of writer, counter, flags u8; unless flag 3: kind u8, mode, size, hash (32);
//!          mtime minus that of the version before it in the leaf (wrapping), hlc;
//!          if flag 0: inline; if flag 1: xattr hash (32); if flag 2: cipher root (32)
//! interior count of children, children
//! child    bytes shared with the key before it, rest of the key; address (32), entries, bytes
//! ```
//! Flag 3 is set wherever kind, mode, size and hash equal those of the version before it in the leaf, entries notwithstanding.

use bytes::Bytes;
use p2p_identity::{ByteReader, ByteWriter, ContentId};

use super::{
    MAX_LEVELS, MAX_NODE_BYTES, MAX_NOMINAL_BYTES,
    boundary::child_nominal_bytes,
    node::{Child, Node, NodeError},
};
use crate::{
    entry::{Dot, Entry, Inline, Kind, MAX_INLINE_BYTES, MAX_VERSIONS, Version, nominal_bytes},
    key::{MAX_KEY_BYTES, PathKey},
};

const FORMAT: u8 = 1;
const SEAL_PLAIN: u8 = 0;

const FLAG_INLINE: u8 = 1;
const FLAG_XATTR: u8 = 1 << 1;
const FLAG_CIPHER: u8 = 1 << 2;
const FLAG_SAME: u8 = 1 << 3;
const KNOWN_FLAGS: u8 = FLAG_INLINE | FLAG_XATTR | FLAG_CIPHER | FLAG_SAME;

/// Most versions that fit a node: each takes 64 nominal bytes.
const MAX_VERSIONS_PER_NODE: usize = MAX_NOMINAL_BYTES / 64;
/// Most children that fit a node, nominally 48 bytes and a key of at least one.
const MAX_CHILDREN: usize = MAX_NOMINAL_BYTES / 49;

pub(super) fn encode_leaf(entries: &[Entry]) -> Bytes {
    let mut writers: Vec<_> = entries.iter().flat_map(Entry::versions).map(|version| version.dot.writer).collect();
    writers.sort_unstable();
    writers.dedup();
    let mut out = start(0);
    out.count(writers.len());
    for writer in &writers {
        out.raw(writer);
    }
    out.count(entries.len());
    let mut last_key: &[u8] = &[];
    let mut last: Option<&Version> = None;
    for entry in entries {
        write_key(&mut out, last_key, entry.key());
        last_key = entry.key().as_bytes();
        out.count(entry.versions().len());
        for version in entry.versions() {
            let writer = writers.binary_search(&version.dot.writer).expect("the table holds every writer of the leaf");
            write_version(&mut out, writer, version, last);
            last = Some(version);
        }
    }
    out.into_bytes().into()
}

pub(super) fn encode_interior(level: u8, children: &[Child]) -> Bytes {
    let mut out = start(level);
    out.count(children.len());
    let mut last_key: &[u8] = &[];
    for child in children {
        write_key(&mut out, last_key, &child.last_key);
        last_key = child.last_key.as_bytes();
        out.raw(child.id.as_bytes());
        out.u64(child.entries);
        out.u64(child.bytes);
    }
    out.into_bytes().into()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Node, NodeError> {
    if bytes.len() > MAX_NODE_BYTES {
        return Err(NodeError::TooLarge(bytes.len()));
    }
    let mut reader = ByteReader::new(bytes);
    let format = reader.byte()?;
    if format != FORMAT {
        return Err(NodeError::UnknownFormat(format));
    }
    let seal = reader.byte()?;
    if seal != SEAL_PLAIN {
        return Err(NodeError::Sealed(seal));
    }
    let level = reader.byte()?;
    let node = match level {
        0 => Node::Leaf(read_leaf(&mut reader)?),
        1..MAX_LEVELS => Node::Interior { level, children: read_children(&mut reader)? },
        _ => return Err(NodeError::TooDeep(level)),
    };
    reader.finish()?;
    if node.sums().is_none() {
        return Err(NodeError::SumOverflow);
    }
    Ok(node)
}

fn start(level: u8) -> ByteWriter {
    let mut out = ByteWriter::with_capacity(16 * 1024);
    out.raw(&[FORMAT, SEAL_PLAIN, level]);
    out
}

fn write_key(out: &mut ByteWriter, before: &[u8], key: &PathKey) {
    let key = key.as_bytes();
    let shared = shared_len(before, key);
    out.count(shared);
    out.bytes(key.get(shared..).unwrap_or_default());
}

fn read_key(reader: &mut ByteReader<'_>, before: &[u8]) -> Result<PathKey, NodeError> {
    let shared = reader.count("shared bytes of a key", before.len())?;
    let rest = reader.bytes("rest of a key", MAX_KEY_BYTES)?;
    let key = [before.get(..shared).unwrap_or_default(), rest].concat();
    if key.as_slice() <= before {
        return Err(NodeError::Unsorted);
    }
    if shared_len(before, &key) != shared {
        return Err(NodeError::NotCanonical("a key"));
    }
    Ok(PathKey::from_bytes(&key)?)
}

fn shared_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn read_leaf(reader: &mut ByteReader<'_>) -> Result<Vec<Entry>, NodeError> {
    let writer_count = reader.count("writers", MAX_VERSIONS_PER_NODE)?;
    let mut writers = Vec::with_capacity(writer_count);
    for _ in 0..writer_count {
        writers.push((reader.array::<8>()?, false));
    }
    if !writers.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(NodeError::NotCanonical("the table of writers"));
    }
    let count = reader.count("entries", MAX_VERSIONS_PER_NODE)?;
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    let mut nominal = 0usize;
    let mut last: Option<Version> = None;
    for _ in 0..count {
        let key = read_key(reader, entries.last().map_or(&[], |entry| entry.key().as_bytes()))?;
        let version_count = reader.count("versions", MAX_VERSIONS)?;
        nominal += nominal_bytes(key.as_bytes().len(), version_count);
        if nominal > MAX_NOMINAL_BYTES {
            return Err(NodeError::TooFull);
        }
        let mut versions: Vec<Version> = Vec::with_capacity(version_count);
        for _ in 0..version_count {
            let version = read_version(reader, &mut writers, versions.last().or(last.as_ref()))?;
            if versions.last().is_some_and(|before| version.dot <= before.dot) {
                return Err(NodeError::NotCanonical("the order of versions"));
            }
            versions.push(version);
        }
        last = versions.last().cloned();
        entries.push(Entry::new(key, versions)?);
    }
    if writers.iter().any(|(_, used)| !used) {
        return Err(NodeError::NotCanonical("the table of writers"));
    }
    Ok(entries)
}

fn read_children(reader: &mut ByteReader<'_>) -> Result<Vec<Child>, NodeError> {
    let count = reader.count("children", MAX_CHILDREN)?;
    if count == 0 {
        return Err(NodeError::NoChildren);
    }
    let mut children: Vec<Child> = Vec::with_capacity(count);
    let mut nominal = 0usize;
    for _ in 0..count {
        let last_key = read_key(reader, children.last().map_or(&[], |child| child.last_key.as_bytes()))?;
        nominal += child_nominal_bytes(last_key.as_bytes().len());
        if nominal > MAX_NOMINAL_BYTES {
            return Err(NodeError::TooFull);
        }
        let id = reader.array::<32>()?.into();
        children.push(Child { last_key, id, entries: reader.u64()?, bytes: reader.u64()? });
    }
    Ok(children)
}

fn write_version(out: &mut ByteWriter, writer: usize, version: &Version, before: Option<&Version>) {
    let same = before.is_some_and(|before| same_content(version, before));
    let mut flags = 0;
    for (flag, is_set) in [
        (FLAG_INLINE, version.inline.is_some()),
        (FLAG_XATTR, version.xattr.is_some()),
        (FLAG_CIPHER, version.cipher_root.is_some()),
        (FLAG_SAME, same),
    ] {
        flags |= if is_set { flag } else { 0 };
    }
    out.count(writer);
    out.u64(version.dot.counter);
    out.byte(flags);
    if !same {
        out.byte(kind_number(version.kind));
        out.u64(u64::from(version.mode));
        out.u64(version.size);
        out.raw(version.hash.as_bytes());
    }
    out.i64(version.mtime_ns.wrapping_sub(before.map_or(0, |before| before.mtime_ns)));
    out.u64(version.hlc);
    if let Some(inline) = &version.inline {
        out.bytes(inline.as_bytes());
    }
    for hash in [&version.xattr, &version.cipher_root].into_iter().flatten() {
        out.raw(hash.as_bytes());
    }
}

fn read_version(
    reader: &mut ByteReader<'_>,
    writers: &mut [([u8; 8], bool)],
    before: Option<&Version>,
) -> Result<Version, NodeError> {
    let index = reader.count("index of a writer", writers.len())?;
    let (writer, used) = writers.get_mut(index).ok_or(NodeError::NotCanonical("the index of a writer"))?;
    *used = true;
    let dot = Dot { writer: *writer, counter: reader.u64()? };
    let flags = reader.byte()?;
    if flags & !KNOWN_FLAGS != 0 {
        return Err(NodeError::UnknownFlags(flags));
    }
    let same = flags & FLAG_SAME != 0;
    let (kind, mode, size, hash) = if same {
        let before = before.ok_or(NodeError::NotCanonical("the first version"))?;
        (before.kind, before.mode, before.size, before.hash)
    } else {
        (kind_of_number(reader.byte()?)?, reader.u16()?, reader.u64()?, reader.array::<32>()?.into())
    };
    let mtime_ns = before.map_or(0, |before| before.mtime_ns).wrapping_add(reader.i64()?);
    let hlc = reader.u64()?;
    let inline =
        if flags & FLAG_INLINE != 0 { Inline::new(reader.bytes("inline content", MAX_INLINE_BYTES)?) } else { None };
    let xattr = if flags & FLAG_XATTR != 0 { Some(read_hash(reader)?) } else { None };
    let cipher_root = if flags & FLAG_CIPHER != 0 { Some(read_hash(reader)?) } else { None };
    let version = Version { dot, kind, mode, mtime_ns, hlc, size, hash, inline, xattr, cipher_root };
    if !same && before.is_some_and(|before| same_content(&version, before)) {
        return Err(NodeError::NotCanonical("a version equal to the one before it"));
    }
    Ok(version)
}

fn read_hash(reader: &mut ByteReader<'_>) -> Result<ContentId, NodeError> {
    Ok(reader.array::<32>()?.into())
}

fn same_content(a: &Version, b: &Version) -> bool {
    (a.kind, a.mode, a.size, a.hash) == (b.kind, b.mode, b.size, b.hash)
}

fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::File => 0,
        Kind::Directory => 1,
        Kind::Symlink => 2,
    }
}

fn kind_of_number(number: u8) -> Result<Kind, NodeError> {
    match number {
        0 => Ok(Kind::File),
        1 => Ok(Kind::Directory),
        2 => Ok(Kind::Symlink),
        other => Err(NodeError::UnknownKind(other)),
    }
}
