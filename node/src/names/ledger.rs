//! The rows of the name system in the ledger: what would be lost for ever.
//!
//! `z` and the zone: its local name. `l`, zone and label: the records and what was published of them. `r` and the zone:
//! its revocation. `s` and the zone: the search for one. `i` and the zone: its key was made elsewhere.

use std::sync::Arc;

use p2p_drives::{Batch, Ledger, LedgerError, LedgerTable};
use p2p_names::{Label, LabelEntry, NamestoreStorage, StorageError, ZoneEntry, ZoneKey};

const TABLE: LedgerTable = LedgerTable::NameSystem;
/// Rows read at a time.
const PAGE: usize = 1_000;

/// A row.
type KeyAndValue = (Vec<u8>, Vec<u8>);

/// What a row is about.
#[derive(Clone, Copy)]
pub(super) enum Row {
    Zone,
    Label,
    Revocation,
    Search,
    Imported,
}

impl Row {
    fn prefix(self) -> u8 {
        match self {
            Self::Zone => b'z',
            Self::Label => b'l',
            Self::Revocation => b'r',
            Self::Search => b's',
            Self::Imported => b'i',
        }
    }

    fn key(self, zone: &ZoneKey) -> Vec<u8> {
        [&[self.prefix()], zone.to_bytes().as_slice()].concat()
    }
}

/// The rows, and the zones among them in memory: they are asked for with every name.
pub(crate) struct NameRows {
    ledger: Arc<dyn Ledger>,
    zones: Vec<ZoneEntry>,
}

impl NameRows {
    pub(super) fn open(ledger: Arc<dyn Ledger>) -> Result<Self, StorageError> {
        let mut rows = Self { ledger, zones: Vec::new() };
        let prefix = [Row::Zone.prefix()];
        rows.zones = rows.scan(&prefix)?.iter().map(|(_, value)| zone_entry(value)).collect::<Result<_, _>>()?;
        rows.sort();
        Ok(rows)
    }

    pub(super) fn get(&self, row: Row, zone: &ZoneKey) -> Result<Option<Vec<u8>>, StorageError> {
        self.ledger.get(TABLE, &row.key(zone)).map_err(failed)
    }

    pub(super) fn put(&self, row: Row, zone: &ZoneKey, value: &[u8]) -> Result<(), StorageError> {
        self.commit(Batch::new().put(TABLE, row.key(zone), value))
    }

    pub(super) fn delete(&self, row: Row, zone: &ZoneKey) -> Result<(), StorageError> {
        self.commit(Batch::new().delete(TABLE, row.key(zone)))
    }

    /// All values of a kind.
    pub(super) fn all(&self, row: Row) -> Result<Vec<Vec<u8>>, StorageError> {
        Ok(self.scan(&[row.prefix()])?.into_iter().map(|(_, value)| value).collect())
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<KeyAndValue>, StorageError> {
        let mut rows: Vec<KeyAndValue> = Vec::new();
        loop {
            let after = rows.last().map(|(key, _)| key.clone());
            let page = self.ledger.scan(TABLE, prefix, after.as_deref(), PAGE).map_err(failed)?;
            if page.is_empty() {
                return Ok(rows);
            }
            rows.extend(page);
        }
    }

    fn commit(&self, batch: &Batch<LedgerTable>) -> Result<(), StorageError> {
        self.ledger.commit(batch).map_err(failed)
    }

    fn sort(&mut self) {
        self.zones.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

impl NamestoreStorage for NameRows {
    fn zones(&self) -> Result<Vec<ZoneEntry>, StorageError> {
        Ok(self.zones.clone())
    }

    fn put_zone(&mut self, zone: &ZoneEntry) -> Result<(), StorageError> {
        self.put(Row::Zone, &zone.zone, &zone.to_bytes())?;
        self.zones.retain(|known| known.zone != zone.zone);
        self.zones.push(zone.clone());
        self.sort();
        Ok(())
    }

    fn remove_zone(&mut self, zone: &ZoneKey) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        for (key, _) in self.scan(&Row::Label.key(zone))? {
            batch.delete(TABLE, key);
        }
        self.commit(batch.delete(TABLE, Row::Zone.key(zone)))?;
        self.zones.retain(|known| known.zone != *zone);
        Ok(())
    }

    fn label(&self, zone: &ZoneKey, label: &Label) -> Result<Option<LabelEntry>, StorageError> {
        let value = self.ledger.get(TABLE, &label_key(zone, label)).map_err(failed)?;
        value.map(|value| label_entry(&value)).transpose()
    }

    fn labels(
        &self,
        zone: &ZoneKey,
        after: Option<&Label>,
        limit: usize,
    ) -> Result<Vec<(Label, LabelEntry)>, StorageError> {
        let prefix = Row::Label.key(zone);
        let after = after.map(|label| label_key(zone, label));
        let page = self.ledger.scan(TABLE, &prefix, after.as_deref(), limit).map_err(failed)?;
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let label = key.get(prefix.len()..).and_then(|bytes| std::str::from_utf8(bytes).ok());
            let label = label.and_then(|text| text.parse().ok()).ok_or_else(|| damaged("a label is none"))?;
            Ok((label, label_entry(&value)?))
        };
        page.into_iter().map(read).collect()
    }

    fn put_labels(&mut self, zone: &ZoneKey, entries: &[(Label, LabelEntry)]) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        for (label, entry) in entries {
            batch.put(TABLE, label_key(zone, label), entry.to_bytes());
        }
        self.commit(&batch)
    }
}

fn label_key(zone: &ZoneKey, label: &Label) -> Vec<u8> {
    [Row::Label.key(zone).as_slice(), label.as_bytes()].concat()
}

fn label_entry(bytes: &[u8]) -> Result<LabelEntry, StorageError> {
    LabelEntry::from_bytes(bytes).map_err(|error| damaged(&error.to_string()))
}

fn zone_entry(bytes: &[u8]) -> Result<ZoneEntry, StorageError> {
    ZoneEntry::from_bytes(bytes).map_err(|error| damaged(&error.to_string()))
}

fn damaged(what: &str) -> StorageError {
    StorageError(format!("a row of the name system is damaged: {what}"))
}

#[allow(clippy::needless_pass_by_value, reason = "a shape for map_err")]
fn failed(error: LedgerError) -> StorageError {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    StorageError(format!("{error}{cause}"))
}

#[cfg(test)]
mod tests {
    use p2p_drives::MemoryLedger;
    use p2p_names::{MemoryNamestore, RecordType, StoredRecord, ZoneSecret, ZoneType};

    use super::*;

    #[test]
    fn the_ledger_keeps_what_the_storage_in_memory_keeps() {
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
        let mut rows = NameRows::open(ledger.clone()).expect("opened");
        let mut memory = MemoryNamestore::new();
        let zones = [1, 2].map(|seed| *ZoneSecret::from_random(ZoneType::Edkey, &[seed; 32]).public());
        for storage in [&mut rows as &mut dyn NamestoreStorage, &mut memory] {
            for (zone, name) in zones.into_iter().zip(["b", "a"]) {
                storage.put_zone(&ZoneEntry { name: name.parse().expect("a label"), zone }).expect("put");
                let entries: Vec<_> = ["x", "@", "äö", "www"]
                    .map(|label| {
                        let records = vec![StoredRecord::new(RecordType::TXT, label.into())];
                        (label.parse().expect("a label"), LabelEntry { records, ..LabelEntry::default() })
                    })
                    .into();
                storage.put_labels(&zone, &entries).expect("put");
            }
            storage.remove_zone(&zones[1]).expect("removed");
        }
        let again = NameRows::open(ledger).expect("opened again");
        assert_eq!(again.zones().expect("zones"), memory.zones().expect("zones"));
        for zone in &zones {
            let all = |storage: &dyn NamestoreStorage| storage.labels(zone, None, 99).expect("labels");
            assert_eq!(all(&again), all(&memory));
            let after = "@".parse().expect("a label");
            assert_eq!(again.labels(zone, Some(&after), 1), memory.labels(zone, Some(&after), 1));
        }
    }
}
