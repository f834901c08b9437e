//! The zones of this node: their records, and when which block of them has to be published (specs/names.md, 12.3 and 12.4).
//!
//! Nothing here has a clock or a network. A change is durable before a function returns; the last expiration of a label
//! outlives its records, so that a block can always be replaced.

mod entry;
mod publish;
mod queue;
pub(crate) mod rules;
mod storage;

use thiserror::Error;

pub use entry::{EntryError, LabelEntry, Lifetime, StoredRecord, ZoneEntry};
pub use publish::{MAX_LIFETIME, PublicationState, Publish, REPUBLISH_INTERVAL, TOMBSTONE_LIFETIME};
pub use queue::PublishQueue;
pub use rules::{MAX_LABEL_DATA_BYTES, MAX_LABEL_RECORDS, MAX_PUBLISHED_RDATA_BYTES, RuleError};
pub use storage::{MemoryNamestore, NamestoreStorage, StorageError};

use crate::{
    Block, BlockError, ExportOptions, Flags, Label, RdataError, Record, RecordType, Timestamp, ZoneKey, ZoneSecret,
    export_zone_file,
};

/// How many labels are read from the storage at once.
const PAGE_LABELS: usize = 1000;

/// Why a change was not made, or a block not built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NamestoreError {
    /// The records would break a rule of their types.
    #[error("these records cannot stand under {label}")]
    Rule {
        /// The label.
        label: Label,
        /// The rule.
        source: RuleError,
    },
    /// A zone of this name exists.
    #[error("there is a zone {0} already")]
    ZoneExists(Label),
    /// No such zone here.
    #[error("zone {0} is not one of this node")]
    UnknownZone(ZoneKey),
    /// The secret is that of another zone.
    #[error("the secret key belongs to another zone")]
    WrongSecret,
    /// A former block of this label never expires, so none can replace it.
    #[error("the last block of {0} never expires: it cannot be replaced")]
    Exhausted(Label),
    /// The block cannot be built.
    #[error("no block can be made of the records")]
    Block(#[source] BlockError),
    /// The records do not fit a block.
    #[error("the records do not fit a block")]
    Rdata(#[source] RdataError),
    /// Reading or writing failed.
    #[error("the namestore could not be read or written")]
    Storage(#[source] StorageError),
}

/// The zones and records of this node, over some storage.
#[derive(Debug)]
pub struct Namestore<S> {
    storage: S,
}

impl<S: NamestoreStorage> Namestore<S> {
    /// Over a storage, which may hold zones already.
    pub fn new(storage: S) -> Self {
        Self { storage }
    }

    /// All zones, in the order of their names.
    pub fn zones(&self) -> Result<Vec<ZoneEntry>, NamestoreError> {
        self.storage.zones().map_err(NamestoreError::Storage)
    }

    /// The zone of a local name.
    pub fn zone_named(&self, name: &Label) -> Result<Option<ZoneKey>, NamestoreError> {
        Ok(self.zones()?.into_iter().find(|entry| entry.name == *name).map(|entry| entry.zone))
    }

    /// Adds a zone. Its name is local and never leaves the node.
    pub fn create_zone(&mut self, name: Label, zone: ZoneKey) -> Result<(), NamestoreError> {
        if self.zones()?.iter().any(|entry| entry.name == name || entry.zone == zone) {
            return Err(NamestoreError::ZoneExists(name));
        }
        self.storage.put_zone(&ZoneEntry { name, zone }).map_err(NamestoreError::Storage)
    }

    /// Forgets a zone and its records; published blocks live on until they expire.
    pub fn remove_zone(&mut self, zone: &ZoneKey) -> Result<(), NamestoreError> {
        self.storage.remove_zone(zone).map_err(NamestoreError::Storage)
    }

    /// What is stored under a label; `None` if nothing ever was.
    pub fn entry(&self, zone: &ZoneKey, label: &Label) -> Result<Option<LabelEntry>, NamestoreError> {
        self.storage.label(zone, label).map_err(NamestoreError::Storage)
    }

    /// A page of at most `limit` labels behind `after`, in order, also those that only remember their expiration.
    pub fn page(
        &self,
        zone: &ZoneKey,
        after: Option<&Label>,
        limit: usize,
    ) -> Result<Vec<(Label, LabelEntry)>, NamestoreError> {
        self.storage.labels(zone, after, limit).map_err(NamestoreError::Storage)
    }

    /// Calls `each` for every label of a zone, in order.
    pub fn for_each_label(
        &self,
        zone: &ZoneKey,
        mut each: impl FnMut(&Label, &LabelEntry),
    ) -> Result<(), NamestoreError> {
        let mut after = None;
        loop {
            let page = self.page(zone, after.as_ref(), PAGE_LABELS)?;
            page.iter().for_each(|(label, entry)| each(label, entry));
            match page.into_iter().next_back() {
                Some((last, _)) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// Replaces the records of each type in `records` (shadow records apart from the others) and keeps all other types.
    /// CRITICAL is set where the type demands it.
    pub fn set(
        &mut self,
        zone: &ZoneKey,
        label: &Label,
        records: Vec<StoredRecord>,
    ) -> Result<LabelEntry, NamestoreError> {
        let class = |record: &StoredRecord| (record.record_type, record.flags.contains(Flags::SHADOW));
        let replaced: Vec<_> = records.iter().map(class).collect();
        self.change(zone, label, move |kept| {
            kept.retain(|record| !replaced.contains(&class(record)));
            kept.extend(records);
        })
    }

    /// Adds records beside what is there; one that is there already only gets the new lifetime and flags.
    pub fn add(
        &mut self,
        zone: &ZoneKey,
        label: &Label,
        records: Vec<StoredRecord>,
    ) -> Result<LabelEntry, NamestoreError> {
        self.change(zone, label, move |kept| {
            kept.retain(|old| !records.iter().any(|new| new.record_type == old.record_type && new.data == old.data));
            kept.extend(records);
        })
    }

    /// Replaces everything under a label.
    pub fn replace(
        &mut self,
        zone: &ZoneKey,
        label: &Label,
        records: Vec<StoredRecord>,
    ) -> Result<LabelEntry, NamestoreError> {
        self.change(zone, label, move |kept| *kept = records)
    }

    /// Replaces everything under many labels, as a zone file brings them. Labels that are not named stay as they are.
    /// Written in pages, so a crash leaves whole labels, perhaps not all of them.
    pub fn import(
        &mut self,
        zone: &ZoneKey,
        labels: impl IntoIterator<Item = (Label, Vec<StoredRecord>)>,
    ) -> Result<usize, NamestoreError> {
        self.known(zone)?;
        let (mut page, mut count) = (Vec::new(), 0);
        for (label, mut records) in labels {
            // The apex may change the NICK, which concerns all others: it takes the usual way.
            if label.is_apex() {
                self.replace(zone, &label, records)?;
                count += 1;
                continue;
            }
            rules::complete(&mut records);
            rules::check(&label, &records).map_err(|source| NamestoreError::Rule { label: label.clone(), source })?;
            let entry = self.entry(zone, &label)?.unwrap_or_default();
            if entry.records != records {
                page.push((label, LabelEntry { records, rebuild_at: Timestamp::ZERO, ..entry }));
            }
            count += 1;
            if page.len() >= PAGE_LABELS {
                self.storage.put_labels(zone, &page).map_err(NamestoreError::Storage)?;
                page.clear();
            }
        }
        self.storage.put_labels(zone, &page).map_err(NamestoreError::Storage)?;
        Ok(count)
    }

    /// Removes the records of one type, or all.
    pub fn remove(
        &mut self,
        zone: &ZoneKey,
        label: &Label,
        record_type: Option<RecordType>,
    ) -> Result<LabelEntry, NamestoreError> {
        self.change(zone, label, |kept| {
            kept.retain(|record| record_type.is_some_and(|removed| record.record_type != removed));
        })
    }

    /// The public records of a zone as a zone file; see [`export_zone_file`].
    pub fn to_zone_file(&self, zone: &ZoneKey, now: Timestamp) -> Result<String, NamestoreError> {
        self.known(zone)?;
        let mut labels = Vec::new();
        self.for_each_label(zone, |label, entry| labels.push((label.clone(), entry.records.clone())))?;
        let lines = labels.iter().map(|(label, records)| (label, records.as_slice()));
        Ok(export_zone_file(&ExportOptions { zone: *zone, now }, lines))
    }

    /// The records under a label as the owner's own resolver sees them: private ones too, expirations absolute, expired
    /// ones left out. `None` if the zone is not one of this node.
    pub fn local_records(
        &self,
        zone: &ZoneKey,
        label: &Label,
        now: Timestamp,
    ) -> Result<Option<Vec<Record>>, NamestoreError> {
        if !self.zones()?.iter().any(|entry| entry.zone == *zone) {
            return Ok(None);
        }
        let entry = self.entry(zone, label)?.unwrap_or_default();
        Ok(Some(entry.records.iter().map(|record| record.at(now)).filter(|record| !record.is_expired(now)).collect()))
    }

    /// Builds the next block of a label and remembers it before it is returned, so that its expiration is never used
    /// twice, not even after a crash. `None` if there is nothing to publish: only private records, or none ever.
    pub fn build(
        &mut self,
        secret: &ZoneSecret,
        label: &Label,
        now: Timestamp,
    ) -> Result<Option<Block>, NamestoreError> {
        let zone = secret.public();
        self.known(zone)?;
        let mut entry = self.entry(zone, label)?.unwrap_or_default();
        let nick = self.nick(zone, label, now)?;
        let block = publish::build(&mut entry, secret, label, nick.as_ref(), now)?;
        self.store(zone, label, &entry)?;
        Ok(block)
    }

    /// Remembers that the current block was stored by other nodes, unless a newer one was built since.
    pub fn published(
        &mut self,
        zone: &ZoneKey,
        label: &Label,
        block: &Block,
        now: Timestamp,
    ) -> Result<(), NamestoreError> {
        let Some(mut entry) = self.entry(zone, label)? else {
            return Ok(());
        };
        if publish::published(&mut entry, label, block.expiration(), now) {
            self.store(zone, label, &entry)?;
        }
        Ok(())
    }

    /// Continues from a block that the zone's key published elsewhere: the next one will expire later.
    pub fn continue_from(
        &mut self,
        zone: &ZoneKey,
        label: &Label,
        expiration: Timestamp,
    ) -> Result<(), NamestoreError> {
        self.known(zone)?;
        let mut entry = self.entry(zone, label)?.unwrap_or_default();
        if entry.last_expiration < expiration {
            entry.last_expiration = expiration;
            entry.rebuild_at = Timestamp::ZERO;
            self.store(zone, label, &entry)?;
        }
        Ok(())
    }

    /// The storage, for what is not part of this contract.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    fn known(&self, zone: &ZoneKey) -> Result<(), NamestoreError> {
        let known = self.zones()?.iter().any(|entry| entry.zone == *zone);
        if known { Ok(()) } else { Err(NamestoreError::UnknownZone(*zone)) }
    }

    fn store(&mut self, zone: &ZoneKey, label: &Label, entry: &LabelEntry) -> Result<(), NamestoreError> {
        self.storage.put_labels(zone, &[(label.clone(), entry.clone())]).map_err(NamestoreError::Storage)
    }

    fn change(
        &mut self,
        zone: &ZoneKey,
        label: &Label,
        edit: impl FnOnce(&mut Vec<StoredRecord>),
    ) -> Result<LabelEntry, NamestoreError> {
        self.known(zone)?;
        let mut entry = self.entry(zone, label)?.unwrap_or_default();
        let before = entry.records.clone();
        edit(&mut entry.records);
        rules::complete(&mut entry.records);
        rules::check(label, &entry.records).map_err(|source| NamestoreError::Rule { label: label.clone(), source })?;
        if entry.records == before {
            return Ok(entry);
        }
        entry.rebuild_at = Timestamp::ZERO;
        let mut changed = vec![(label.clone(), entry.clone())];
        if label.is_apex() && public_nick(&before) != public_nick(&entry.records) {
            changed.extend(self.labels_with_nick(zone)?);
        }
        self.storage.put_labels(zone, &changed).map_err(NamestoreError::Storage)?;
        Ok(entry)
    }

    /// All other labels with records: each carries the zone's NICK, so they have to be built anew when it changes.
    fn labels_with_nick(&self, zone: &ZoneKey) -> Result<Vec<(Label, LabelEntry)>, NamestoreError> {
        let mut found = Vec::new();
        self.for_each_label(zone, |label, entry| {
            if !label.is_apex() && !entry.records.is_empty() {
                found.push((label.clone(), LabelEntry { rebuild_at: Timestamp::ZERO, ..entry.clone() }));
            }
        })?;
        Ok(found)
    }

    /// The zone's NICK as it is added to the sets of other labels.
    fn nick(&self, zone: &ZoneKey, label: &Label, now: Timestamp) -> Result<Option<StoredRecord>, NamestoreError> {
        if label.is_apex() {
            return Ok(None);
        }
        let apex = self.entry(zone, &Label::apex())?.unwrap_or_default();
        let nick = public_nick(&apex.records).filter(|nick| !nick.at(now).is_expired(now)).cloned();
        Ok(nick.map(|nick| StoredRecord { flags: nick.flags.with(Flags::SUPPLEMENTAL), ..nick }))
    }
}

fn public_nick(records: &[StoredRecord]) -> Option<&StoredRecord> {
    records.iter().find(|record| {
        record.record_type == RecordType::NICK
            && !record.flags.contains(Flags::PRIVATE)
            && !record.flags.contains(Flags::SHADOW)
    })
}

#[cfg(test)]
mod tests;
