//! What a node knows by itself, put together for its resolver.

use std::sync::{Mutex, PoisonError};

use crate::{
    Label, LocalZones, Name, Namestore, NamestoreStorage, Record, Revocations, StoreError, SuffixMap, Timestamp,
    ZoneKey,
};

/// The zones of this node, the configured suffixes and the revocations it holds. A `Mutex` of it serves a resolver;
/// nothing waits while it is locked but the storage.
#[derive(Debug)]
pub struct LocalState<S> {
    /// Own zones and their records.
    pub namestore: Namestore<S>,
    /// Suffixes from the configuration, and contacts. They win over the names of own zones.
    pub suffixes: SuffixMap,
    /// Revoked zones.
    pub revocations: Revocations,
}

impl<S: NamestoreStorage> LocalState<S> {
    /// Over a storage of zones, with no suffixes and no revocations yet.
    pub fn new(storage: S) -> Self {
        Self { namestore: Namestore::new(storage), suffixes: SuffixMap::new(), revocations: Revocations::new() }
    }
}

impl<S: NamestoreStorage + Send> LocalZones for Mutex<LocalState<S>> {
    fn zone_of_suffix(&self, suffix: &Name) -> Option<ZoneKey> {
        let state = self.lock().unwrap_or_else(PoisonError::into_inner);
        state.suffixes.get(suffix).or_else(|| match suffix.labels() {
            // A storage that fails here fails again, and is reported, when the zone's records are read.
            [name] => state.namestore.zone_named(name).ok().flatten(),
            _ => None,
        })
    }

    fn records(&self, zone: &ZoneKey, label: &Label, now: Timestamp) -> Result<Option<Vec<Record>>, StoreError> {
        let state = self.lock().unwrap_or_else(PoisonError::into_inner);
        state.namestore.local_records(zone, label, now).map_err(|error| StoreError::Unreachable(error.to_string()))
    }

    fn is_revoked(&self, zone: &ZoneKey, now: Timestamp) -> bool {
        self.lock().unwrap_or_else(PoisonError::into_inner).revocations.is_revoked(zone, now)
    }
}
