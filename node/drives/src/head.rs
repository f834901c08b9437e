//! Heads: signed versions of a drive (specs/drives.md, 5.1).

use bytes::Bytes;
use p2p_identity::{ByteReader, ByteWriter, ContentId, DriveId, WriterKey};

use crate::{
    signed::{Body, Ext, Signed, SignedError, read_optional_hash, sealed::Sealed, write_optional_hash},
    tree::NodeId,
};

/// Largest head, signature included, in bytes.
pub const MAX_HEAD_BYTES: usize = 8 * 1024;
/// Most writers in a version vector.
pub const MAX_WRITERS: usize = 128;
/// Most heads that a head names as those it was made from.
pub const MAX_PREV: usize = 16;
/// Longest message of a head, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1024;

/// Of each writer the counter of its newest head that is merged in (specs/drives.md, 5, rule 2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionVector(Vec<(WriterKey, u64)>);

/// A version of a drive, to be signed by its writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Which drive.
    pub drive: DriveId,
    /// Who made it; signs it.
    pub writer: WriterKey,
    /// The writer's counter, from 1. The owner's is the version that people see.
    pub counter: u64,
    /// What it has merged, itself included.
    pub vv: VersionVector,
    /// Root of its index.
    pub root: NodeId,
    /// Hash of the drive's signed header.
    pub header: ContentId,
    /// Hash of the drive's signed writer set; `None` while the owner alone writes, and then the epoch is 0.
    pub writer_set: Option<ContentId>,
    /// Epoch of that writer set.
    pub epoch: u64,
    /// Entries in the index.
    pub files: u64,
    /// Bytes of all files, as they are shown.
    pub bytes: u64,
    /// Hashes of the heads it was made from; for history only.
    pub prev: Vec<ContentId>,
    /// Hash of the list of changes, if there is one.
    pub change_list: Option<ContentId>,
    /// Hybrid logical clock: 48 bits of milliseconds, 16 of counter.
    pub hlc: u64,
    /// A message of at most [`MAX_MESSAGE_BYTES`]; may be empty.
    pub message: String,
    /// Room for later.
    pub ext: Ext,
}

/// A head with its signature: what is stored and sent.
pub type HeadEnvelope = Signed<Head>;

impl VersionVector {
    /// Sorts by writer. An error for more than [`MAX_WRITERS`], a counter of 0, or two writers with one 8-byte prefix.
    pub fn new(mut counters: Vec<(WriterKey, u64)>) -> Result<Self, SignedError> {
        counters.sort_by_key(|(writer, _)| *writer);
        Self::from_sorted(counters)
    }

    /// The counter of a writer; 0 when nothing of it is merged in.
    pub fn counter(&self, writer: &WriterKey) -> u64 {
        let found = self.0.binary_search_by_key(writer, |(writer, _)| *writer).ok();
        found.and_then(|index| self.0.get(index)).map_or(0, |(_, counter)| *counter)
    }

    /// All writers and counters, by writer.
    pub fn counters(&self) -> &[(WriterKey, u64)] {
        &self.0
    }

    /// Of each writer the larger counter (specs/drives.md, 5, rule 3). An error as for [`Self::new`].
    pub fn merged_with(&self, other: &Self) -> Result<Self, SignedError> {
        let mut merged = self.0.clone();
        for (writer, counter) in &other.0 {
            match merged.binary_search_by_key(writer, |(writer, _)| *writer) {
                Ok(index) => {
                    if let Some((_, mine)) = merged.get_mut(index) {
                        *mine = (*mine).max(*counter);
                    }
                }
                Err(index) => merged.insert(index, (*writer, *counter)),
            }
        }
        Self::from_sorted(merged)
    }

    /// Whether it has everything that `other` has.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|(writer, counter)| self.counter(writer) >= *counter)
    }

    fn from_sorted(counters: Vec<(WriterKey, u64)>) -> Result<Self, SignedError> {
        if counters.len() > MAX_WRITERS {
            return Err(SignedError::Invalid("a version vector has more than 128 writers"));
        }
        if counters.iter().any(|(_, counter)| *counter == 0) {
            return Err(SignedError::Invalid("a version vector has a counter of 0"));
        }
        // Sorted keys with one prefix are neighbours.
        if !counters.is_sorted_by(|a, b| a.0.prefix() < b.0.prefix()) {
            return Err(SignedError::Invalid("two writers in a version vector share 8 bytes, or it is not in order"));
        }
        Ok(Self(counters))
    }

    /// Layout: count, then writer (32) and counter of each.
    pub(crate) fn write(&self, out: &mut ByteWriter) {
        out.count(self.0.len());
        for (writer, counter) in &self.0 {
            out.raw(writer.as_bytes());
            out.u64(*counter);
        }
    }

    /// Reads what [`Self::write`] wrote.
    pub(crate) fn read(reader: &mut ByteReader<'_>) -> Result<Self, SignedError> {
        let count = reader.count("writers of a version vector", MAX_WRITERS)?;
        let mut counters = Vec::with_capacity(count);
        for _ in 0..count {
            counters.push((WriterKey::from(reader.array::<32>()?), reader.u64()?));
        }
        Self::from_sorted(counters)
    }
}

impl Sealed for Head {}

impl Body for Head {
    const MAX_BYTES: usize = MAX_HEAD_BYTES;
    const NAME: &'static str = "head";
    const OBJECT: u8 = 1;

    fn signer(&self) -> [u8; 32] {
        self.writer.into()
    }

    fn write(&self, out: &mut ByteWriter) {
        out.raw(self.drive.as_bytes());
        out.raw(self.writer.as_bytes());
        out.u64(self.counter);
        self.vv.write(out);
        out.raw(self.root.as_bytes());
        out.raw(self.header.as_bytes());
        write_optional_hash(out, self.writer_set.as_ref());
        out.u64(self.epoch);
        out.u64(self.files);
        out.u64(self.bytes);
        out.count(self.prev.len());
        for hash in &self.prev {
            out.raw(hash.as_bytes());
        }
        write_optional_hash(out, self.change_list.as_ref());
        out.u64(self.hlc);
        out.bytes(self.message.as_bytes());
        self.ext.write(out);
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<Self, SignedError> {
        let drive = reader.array::<32>()?.into();
        let writer = reader.array::<32>()?.into();
        let counter = reader.u64()?;
        let vv = VersionVector::read(reader)?;
        let root = reader.array::<32>()?.into();
        let header = reader.array::<32>()?.into();
        let writer_set = read_optional_hash(reader)?;
        let epoch = reader.u64()?;
        let files = reader.u64()?;
        let bytes = reader.u64()?;
        let prev_count = reader.count("previous heads", MAX_PREV)?;
        let mut prev = Vec::with_capacity(prev_count);
        for _ in 0..prev_count {
            prev.push(reader.array::<32>()?.into());
        }
        let change_list = read_optional_hash(reader)?;
        let hlc = reader.u64()?;
        let message = reader.text("message", MAX_MESSAGE_BYTES)?.to_owned();
        let ext = Ext::read(reader)?;
        let head = Self {
            drive,
            writer,
            counter,
            vv,
            root,
            header,
            writer_set,
            epoch,
            files,
            bytes,
            prev,
            change_list,
            hlc,
            message,
            ext,
        };
        head.check()?;
        Ok(head)
    }
}

impl Head {
    /// Number in [`Ext`] under which a head says how many of its entries are files (u64, big-endian): `files` counts
    /// folders and links as well, as it must match the sums of the tree.
    const EXT_PLAIN_FILES: u32 = 32;

    /// The `ext` of a head with so many files, folders not counted.
    pub(crate) fn ext_of_files(files: u64) -> Ext {
        let count = Bytes::copy_from_slice(&files.to_be_bytes());
        Ext::new(vec![(Self::EXT_PLAIN_FILES, count)]).unwrap_or_default()
    }

    /// How many of the entries are files; the writer's word. All entries where it says nothing, or more than there are.
    pub fn plain_files(&self) -> u64 {
        let said = self.ext.value(Self::EXT_PLAIN_FILES).and_then(|bytes| bytes.as_ref().try_into().ok());
        said.map(u64::from_be_bytes).filter(|files| *files <= self.files).unwrap_or(self.files)
    }

    /// Whether the owner made it.
    pub fn is_by_owner(&self) -> bool {
        self.writer.as_bytes() == self.drive.as_bytes()
    }

    fn check(&self) -> Result<(), SignedError> {
        if self.counter == 0 {
            return Err(SignedError::Invalid("a head has counter 0"));
        }
        if self.vv.counter(&self.writer) != self.counter {
            return Err(SignedError::Invalid("the version vector of a head has another counter for its own writer"));
        }
        if self.writer_set.is_none() && self.epoch != 0 {
            return Err(SignedError::Invalid("a head has an epoch but no writer set"));
        }
        Ok(())
    }
}
