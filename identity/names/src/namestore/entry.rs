//! What is stored per zone and per label, and its bytes.

use std::time::Duration;

use p2p_identity::{ByteReader, ByteWriter, CodecError};
use thiserror::Error;

use super::rules::MAX_LABEL_RECORDS;
use crate::{
    Flags, Label, MAX_BLOCK_BYTES, MAX_DATA_BYTES, MAX_LABEL_BYTES, Record, RecordType, Timestamp, ZoneKey,
    time::micros, zone::ZONE_ID_BYTES,
};

/// First byte of a stored entry; raised when the layout changes.
const ENTRY_FORMAT: u8 = 1;

/// How long a record lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lifetime {
    /// From each publication on: such records never lapse while the owner is online.
    For(Duration),
    /// Until a point in time. [`Timestamp::NEVER`] is renewed like [`Lifetime::For`].
    Until(Timestamp),
}

impl Lifetime {
    /// Seven days from each publication on: what a record gets if nothing is said.
    pub const DEFAULT: Self = Self::For(Duration::from_secs(7 * 86_400));
}

/// A record in the namestore.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StoredRecord {
    /// What it is.
    pub record_type: RecordType,
    /// The wire form of its data.
    pub data: Vec<u8>,
    /// CRITICAL, SHADOW, SUPPLEMENTAL and PRIVATE count here.
    pub flags: Flags,
    /// How long it lives.
    pub lifetime: Lifetime,
}

impl StoredRecord {
    /// A public record with the default lifetime.
    pub fn new(record_type: RecordType, data: Vec<u8>) -> Self {
        Self { record_type, data, flags: Flags::NONE, lifetime: Lifetime::DEFAULT }
    }

    /// The same with more flags.
    #[must_use]
    pub fn with_flags(mut self, flags: Flags) -> Self {
        self.flags = self.flags.with(flags);
        self
    }

    /// The same with another lifetime.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Whether it must not leave the machine.
    pub fn is_private(&self) -> bool {
        self.flags.contains(Flags::PRIVATE)
    }

    /// The record with its expiration counted from `now`.
    pub fn at(&self, now: Timestamp) -> Record {
        let expiration = match self.lifetime {
            Lifetime::For(duration) => now.after(duration),
            Lifetime::Until(end) => end,
        };
        Record { expiration, flags: self.flags, record_type: self.record_type, data: self.data.clone() }
    }
}

impl std::fmt::Debug for StoredRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = crate::data_to_text(self.record_type, &self.data);
        write!(f, "StoredRecord({} {value} {} {:?})", self.record_type, self.flags, self.lifetime)
    }
}

/// A zone of this node. The secret key lies in the keystore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneEntry {
    /// Its local name, the start zone for names that end in it.
    pub name: Label,
    /// The zone.
    pub zone: ZoneKey,
}

/// Everything about one label of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelEntry {
    /// The records, private ones too.
    pub records: Vec<StoredRecord>,
    /// Expiration of the last block that was ever made; zero if none was. Never goes back.
    pub last_expiration: Timestamp,
    /// The last block that was made, to be published as it is until it is built anew.
    pub block: Option<Vec<u8>>,
    /// When that block was made.
    pub made: Timestamp,
    /// Whether that block is the empty set that replaces deleted records.
    pub is_tombstone: bool,
    /// When the block has to be built anew; zero: at once.
    pub rebuild_at: Timestamp,
    /// When the block has to be published again; zero: it has not been published yet.
    pub republish_at: Timestamp,
}

/// Why stored bytes are not an entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Written by another version.
    #[error("the entry has format {0}")]
    Format(u8),
    /// Damaged.
    #[error("the entry is damaged")]
    Damaged(#[source] CodecError),
    /// A name or zone in it is none.
    #[error("the entry names no zone or label")]
    BadName,
}

impl From<CodecError> for EntryError {
    fn from(error: CodecError) -> Self {
        Self::Damaged(error)
    }
}

impl ZoneEntry {
    /// The bytes for a storage.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = ByteWriter::new();
        out.byte(ENTRY_FORMAT);
        out.raw(&self.zone.to_bytes());
        out.bytes(self.name.as_bytes());
        out.into_bytes()
    }

    /// Reads what [`ZoneEntry::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EntryError> {
        let mut reader = begin(bytes)?;
        let zone = reader.array::<ZONE_ID_BYTES>()?;
        let name = reader.text("zone name", MAX_LABEL_BYTES)?.parse().map_err(|_| EntryError::BadName)?;
        reader.finish()?;
        Ok(Self { name, zone: ZoneKey::from_bytes(&zone).map_err(|_| EntryError::BadName)? })
    }
}

impl LabelEntry {
    /// The bytes for a storage.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = ByteWriter::new();
        out.byte(ENTRY_FORMAT);
        out.count(self.records.len());
        for record in &self.records {
            write_record(&mut out, record);
        }
        for time in [self.last_expiration, self.made, self.rebuild_at, self.republish_at] {
            out.u64(time.as_micros());
        }
        out.byte(u8::from(self.is_tombstone));
        out.bytes(self.block.as_deref().unwrap_or_default());
        out.into_bytes()
    }

    /// Reads what [`LabelEntry::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EntryError> {
        let mut reader = begin(bytes)?;
        let count = reader.count("records", MAX_LABEL_RECORDS)?;
        let records = (0..count).map(|_| read_record(&mut reader)).collect::<Result<_, _>>()?;
        let mut time = || reader.u64().map(Timestamp::from_micros);
        let (last_expiration, made, rebuild_at, republish_at) = (time()?, time()?, time()?, time()?);
        let is_tombstone = reader.byte()? != 0;
        let block = Some(reader.bytes("block", MAX_BLOCK_BYTES)?.to_vec()).filter(|block| !block.is_empty());
        reader.finish()?;
        Ok(Self { records, last_expiration, block, made, is_tombstone, rebuild_at, republish_at })
    }
}

fn begin(bytes: &[u8]) -> Result<ByteReader<'_>, EntryError> {
    let mut reader = ByteReader::new(bytes);
    match reader.byte()? {
        ENTRY_FORMAT => Ok(reader),
        other => Err(EntryError::Format(other)),
    }
}

fn write_record(out: &mut ByteWriter, record: &StoredRecord) {
    out.u64(u64::from(record.record_type.number()));
    // Relative or not is a flag, as in GNUnet's namestore.
    let (flags, time) = match record.lifetime {
        Lifetime::For(duration) => (record.flags.with(Flags::RELATIVE_EXPIRATION), micros(duration)),
        Lifetime::Until(end) => (record.flags.without(Flags::RELATIVE_EXPIRATION), end.as_micros()),
    };
    out.u64(u64::from(flags.bits()));
    out.u64(time);
    out.bytes(&record.data);
}

fn read_record(reader: &mut ByteReader<'_>) -> Result<StoredRecord, EntryError> {
    let record_type = RecordType::new(reader.u32()?);
    let flags = Flags::from_bits(reader.u16()?);
    let time = reader.u64()?;
    let lifetime = if flags.contains(Flags::RELATIVE_EXPIRATION) {
        Lifetime::For(Duration::from_micros(time))
    } else {
        Lifetime::Until(Timestamp::from_micros(time))
    };
    let data = reader.bytes("record", MAX_DATA_BYTES)?.to_vec();
    Ok(StoredRecord { record_type, data, flags: flags.without(Flags::RELATIVE_EXPIRATION), lifetime })
}
