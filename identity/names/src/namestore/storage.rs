//! Where the namestore keeps its entries; the node implements it over its ledger.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use thiserror::Error;

use super::{LabelEntry, ZoneEntry};
use crate::{Label, ZoneKey};

/// Reading or writing failed; the text says what and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct StorageError(pub String);

/// Durable storage of zones and labels. Every `put` and `remove` is on disk, whole or not at all, before it returns.
pub trait NamestoreStorage {
    /// All zones, in the order of their names.
    fn zones(&self) -> Result<Vec<ZoneEntry>, StorageError>;

    /// Adds or replaces a zone.
    fn put_zone(&mut self, zone: &ZoneEntry) -> Result<(), StorageError>;

    /// Removes a zone and all its labels.
    fn remove_zone(&mut self, zone: &ZoneKey) -> Result<(), StorageError>;

    /// One label.
    fn label(&self, zone: &ZoneKey, label: &Label) -> Result<Option<LabelEntry>, StorageError>;

    /// At most `limit` labels behind `after`, in order.
    fn labels(
        &self,
        zone: &ZoneKey,
        after: Option<&Label>,
        limit: usize,
    ) -> Result<Vec<(Label, LabelEntry)>, StorageError>;

    /// Adds or replaces labels, all of them or none.
    fn put_labels(&mut self, zone: &ZoneKey, entries: &[(Label, LabelEntry)]) -> Result<(), StorageError>;
}

/// A storage in memory, for tests.
#[derive(Debug, Clone, Default)]
pub struct MemoryNamestore {
    zones: BTreeMap<Label, ZoneEntry>,
    labels: BTreeMap<ZoneKey, BTreeMap<Label, LabelEntry>>,
}

impl MemoryNamestore {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }
}

impl NamestoreStorage for MemoryNamestore {
    fn zones(&self) -> Result<Vec<ZoneEntry>, StorageError> {
        Ok(self.zones.values().cloned().collect())
    }

    fn put_zone(&mut self, zone: &ZoneEntry) -> Result<(), StorageError> {
        self.zones.insert(zone.name.clone(), zone.clone());
        Ok(())
    }

    fn remove_zone(&mut self, zone: &ZoneKey) -> Result<(), StorageError> {
        self.zones.retain(|_, entry| entry.zone != *zone);
        self.labels.remove(zone);
        Ok(())
    }

    fn label(&self, zone: &ZoneKey, label: &Label) -> Result<Option<LabelEntry>, StorageError> {
        Ok(self.labels.get(zone).and_then(|labels| labels.get(label)).cloned())
    }

    fn labels(
        &self,
        zone: &ZoneKey,
        after: Option<&Label>,
        limit: usize,
    ) -> Result<Vec<(Label, LabelEntry)>, StorageError> {
        let Some(labels) = self.labels.get(zone) else {
            return Ok(Vec::new());
        };
        let page = labels.range((after.map_or(Unbounded, Excluded), Unbounded)).take(limit);
        Ok(page.map(|(label, entry)| (label.clone(), entry.clone())).collect())
    }

    fn put_labels(&mut self, zone: &ZoneKey, entries: &[(Label, LabelEntry)]) -> Result<(), StorageError> {
        self.labels.entry(*zone).or_default().extend(entries.iter().cloned());
        Ok(())
    }
}
