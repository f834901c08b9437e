//! Which block a label needs, and when (RFC 9498, section 6.2; specs/names.md, 7.4 and 12.4).

use std::{collections::BTreeMap, time::Duration};

use super::{LabelEntry, MAX_PUBLISHED_RDATA_BYTES, NamestoreError, StoredRecord, rules::is_renewable};
use crate::{Block, Flags, Label, Record, RecordType, Timestamp, ZoneSecret, encode_rdata, rdata_len};

/// "Never", and everything later than this, is published as this long from now and renewed.
pub const MAX_LIFETIME: Duration = Duration::from_secs(365 * 86_400);
/// How often a block is published again, plus or minus a tenth, so that a zone's blocks spread out.
pub const REPUBLISH_INTERVAL: Duration = Duration::from_secs(12 * 3600);
/// Least time between two builds of one label: records that live for seconds must not keep a processor busy.
const MIN_REBUILD_INTERVAL: Duration = Duration::from_secs(10);
/// How long the empty set of a deleted label lives at least: longer than the blocks it replaces are found by habit.
pub const TOMBSTONE_LIFETIME: Duration = Duration::from_secs(86_400);

/// What has to be done for a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publish {
    /// Nothing, until somebody changes it.
    Nothing,
    /// Nothing before this time.
    Later(Timestamp),
    /// Publish these bytes (again); the secret key is not needed.
    AsItIs(Block),
    /// Build a new block with [`super::Namestore::build`] and publish it. While the keystore is locked, the old one, if
    /// it still holds, may be published instead.
    Rebuild {
        /// The block that holds until then.
        meanwhile: Option<Block>,
    },
}

/// How far the publication of a label is, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicationState {
    /// Nothing public under it.
    NothingPublic,
    /// Changed since the last block was made.
    Changed,
    /// The block waits to be stored by another node.
    Waiting,
    /// Other nodes have it.
    Published,
}

impl LabelEntry {
    /// What has to be done at `now`.
    pub fn publish(&self, now: Timestamp) -> Publish {
        let block = || self.block.as_deref().and_then(|bytes| Block::parse(bytes).ok());
        // A block dated in the future was made while the clock was wrong; its records would live too long.
        if self.rebuild_at <= now || self.made > now {
            if self.block.is_none() && !self.has_public_records() {
                return Publish::Nothing;
            }
            return Publish::Rebuild { meanwhile: block().filter(|block| block.expiration() > now) };
        }
        let Some(block) = block() else {
            return later(self.rebuild_at);
        };
        // An empty set whose time is over has outlived every block that it was to replace.
        let is_alive = block.expiration() > now;
        if is_alive && self.republish_at <= now {
            return Publish::AsItIs(block);
        }
        later(if is_alive { self.rebuild_at.min(self.republish_at) } else { self.rebuild_at })
    }

    /// When something has to be done; [`Timestamp::ZERO`]: at once, [`Timestamp::NEVER`]: not at all.
    pub fn due(&self, now: Timestamp) -> Timestamp {
        match self.publish(now) {
            Publish::Nothing => Timestamp::NEVER,
            Publish::Later(due) => due,
            Publish::AsItIs(_) | Publish::Rebuild { .. } => Timestamp::ZERO,
        }
    }

    /// How far its publication is.
    pub fn state(&self) -> PublicationState {
        if self.block.is_none() && !self.has_public_records() {
            PublicationState::NothingPublic
        } else if self.rebuild_at == Timestamp::ZERO {
            PublicationState::Changed
        } else if self.republish_at == Timestamp::ZERO {
            PublicationState::Waiting
        } else {
            PublicationState::Published
        }
    }

    fn has_public_records(&self) -> bool {
        self.records.iter().any(|record| !record.is_private())
    }
}

fn later(due: Timestamp) -> Publish {
    if due == Timestamp::NEVER { Publish::Nothing } else { Publish::Later(due) }
}

/// Makes the block of the records at `now` and notes it in the entry; `None` if nothing is to be published.
pub(super) fn build(
    entry: &mut LabelEntry,
    secret: &ZoneSecret,
    label: &Label,
    nick: Option<&StoredRecord>,
    now: Timestamp,
) -> Result<Option<Block>, NamestoreError> {
    let is_public = |record: &&StoredRecord| !record.is_private() && !record.at(now).is_expired(now);
    let mut stored: Vec<&StoredRecord> = entry.records.iter().filter(is_public).collect();
    if stored.is_empty() {
        return build_tombstone(entry, secret, label, now);
    }
    let has_nick = stored.iter().any(|record| record.record_type == RecordType::NICK);
    let added_nick = nick.filter(|_| !has_nick);
    stored.extend(added_nick);
    let mut records: Vec<Record> = stored.iter().map(|record| publishable(record, now)).collect();
    // The zone's NICK is a courtesy: it stays out where it would not fit.
    if added_nick.is_some() && rdata_len(&records) > MAX_PUBLISHED_RDATA_BYTES {
        records.pop();
        stored.pop();
    }
    let expiration = next_expiration(entry, label, block_expiration(&records))?;
    let rdata = encode_rdata(&records).map_err(NamestoreError::Rdata)?;
    let block = Block::make(secret, label, expiration, &rdata).map_err(NamestoreError::Block)?;
    let rebuild_at = rebuild_at(&stored, now).min(expiration).max(now.after(MIN_REBUILD_INTERVAL));
    note(entry, &block, now, rebuild_at, false);
    Ok(Some(block))
}

/// The empty set that makes older blocks lose, once. A label that never had a block needs none.
fn build_tombstone(
    entry: &mut LabelEntry,
    secret: &ZoneSecret,
    label: &Label,
    now: Timestamp,
) -> Result<Option<Block>, NamestoreError> {
    if entry.is_tombstone || entry.last_expiration == Timestamp::ZERO {
        entry.rebuild_at = Timestamp::NEVER;
        entry.made = now;
        // An empty set that was not published yet still has to be.
        return Ok(entry.block.as_deref().and_then(|bytes| Block::parse(bytes).ok()));
    }
    let expiration = next_expiration(entry, label, now.after(TOMBSTONE_LIFETIME))?;
    let block = Block::make(secret, label, expiration, &[]).map_err(NamestoreError::Block)?;
    note(entry, &block, now, Timestamp::NEVER, true);
    Ok(Some(block))
}

fn note(entry: &mut LabelEntry, block: &Block, now: Timestamp, rebuild_at: Timestamp, is_tombstone: bool) {
    entry.last_expiration = block.expiration();
    entry.block = Some(block.as_bytes().to_vec());
    entry.made = now;
    entry.is_tombstone = is_tombstone;
    entry.rebuild_at = rebuild_at;
    entry.republish_at = Timestamp::ZERO;
}

/// Notes that the block with this expiration was stored elsewhere; whether that changed anything.
pub(super) fn published(entry: &mut LabelEntry, label: &Label, expiration: Timestamp, now: Timestamp) -> bool {
    if entry.block.is_none() || entry.last_expiration != expiration {
        return false;
    }
    entry.republish_at = if entry.is_tombstone { Timestamp::NEVER } else { now.after(republish_interval(label, now)) };
    true
}

/// A record as it goes into a block: absolute, bounded, without the flags that stay at home.
fn publishable(record: &StoredRecord, now: Timestamp) -> Record {
    let known = Flags::CRITICAL.with(Flags::SHADOW).with(Flags::SUPPLEMENTAL);
    let mut record = record.at(now);
    record.expiration = record.expiration.min(now.after(MAX_LIFETIME));
    record.flags = Flags::from_bits(record.flags.bits() & known.bits());
    record
}

/// The least, over the types, of the greatest expiration of a type.
fn block_expiration(records: &[Record]) -> Timestamp {
    let mut latest = BTreeMap::<RecordType, Timestamp>::new();
    for record in records {
        let of_type = latest.entry(record.record_type).or_default();
        *of_type = record.expiration.max(*of_type);
    }
    latest.into_values().min().unwrap_or_default()
}

/// Strictly later than every block before: the expiration is part of the cipher's nonce, and the newest block wins.
fn next_expiration(entry: &LabelEntry, label: &Label, wanted: Timestamp) -> Result<Timestamp, NamestoreError> {
    let least = entry.last_expiration.next().ok_or_else(|| NamestoreError::Exhausted(label.clone()))?;
    Ok(wanted.max(least))
}

/// When half of the life of the shortest renewable record is over, or a record ends for good.
fn rebuild_at(records: &[&StoredRecord], now: Timestamp) -> Timestamp {
    let latest = now.after(MAX_LIFETIME);
    records
        .iter()
        .map(|record| {
            let expiration = record.at(now).expiration.min(latest);
            if is_renewable(record, latest) { now.after(expiration.since(now) / 2) } else { expiration }
        })
        .min()
        .unwrap_or(Timestamp::NEVER)
}

/// Twelve hours plus or minus a tenth, different for each label and round, but no dice: the same call gives the same.
fn republish_interval(label: &Label, now: Timestamp) -> Duration {
    let mut hasher = blake3::Hasher::new();
    hasher.update(label.as_bytes()).update(&now.as_micros().to_be_bytes());
    let [a, b, ..] = *hasher.finalize().as_bytes();
    let share = u32::from(u16::from_be_bytes([a, b]));
    REPUBLISH_INTERVAL * 9 / 10 + REPUBLISH_INTERVAL / 5 * share / u32::from(u16::MAX)
}
