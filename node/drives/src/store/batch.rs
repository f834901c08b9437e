//! Changes that take effect together, and the tables in memory that tests run on.

use std::collections::BTreeMap;
use std::ops::Bound;

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// Puts and deletes that take effect together or not at all, in order: the last change of a key counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<Table> {
    operations: Vec<(Table, Vec<u8>, Option<Vec<u8>>)>,
}

impl<Table> Default for Batch<Table> {
    fn default() -> Self {
        Self { operations: Vec::new() }
    }
}

impl<Table: Copy> Batch<Table> {
    /// Nothing to do yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a value, in place of one that is there.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Self {
        self.operations.push((table, key.into(), Some(value.into())));
        self
    }

    /// Removes a key; nothing happens if it is not there.
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) -> &mut Self {
        self.operations.push((table, key.into(), None));
        self
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Table, key and new value (`None`: delete) of each operation, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Table, &[u8], Option<&[u8]>)> {
        self.operations.iter().map(|(table, key, value)| (*table, key.as_slice(), value.as_deref()))
    }
}

/// Where a scan of the keys that begin with `prefix` starts, when it goes on behind `after`.
pub(super) fn scan_start<'a>(prefix: &'a [u8], after: Option<&'a [u8]>) -> Bound<&'a [u8]> {
    match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    }
}

/// Tables in memory.
#[derive(Debug)]
pub(super) struct MemoryTables<Table>(BTreeMap<(Table, Vec<u8>), Vec<u8>>);

impl<Table> Default for MemoryTables<Table> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<Table: Copy + Ord> MemoryTables<Table> {
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(&(table, key.to_vec())).cloned()
    }

    pub(super) fn apply(&mut self, batch: &Batch<Table>) {
        for (table, key, value) in batch.iter() {
            let key = (table, key.to_vec());
            match value {
                Some(value) => self.0.insert(key, value.to_vec()),
                None => self.0.remove(&key),
            };
        }
    }

    pub(super) fn scan(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<KeyValue> {
        let start = scan_start(prefix, after).map(|key| (table, key.to_vec()));
        self.0
            .range((start, Bound::Unbounded))
            .take_while(|((at, key), _)| *at == table && key.starts_with(prefix))
            .take(limit)
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }
}
