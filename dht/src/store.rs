//! Records and providers: bounded in memory, kept across restarts, what lies farthest from this node leaves first.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libp2p::kad::store::{Error, RecordStore, Result};
use libp2p::kad::{KBucketDistance, KBucketKey, ProviderRecord, Record, RecordKey};
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use crate::config::PROVIDER_TTL;
use crate::records::MAX_VALUE_BYTES;
use crate::{Checked, Persist, RecordKind, Reject};

/// Most values stored.
pub const MAX_RECORDS: usize = 16_384;
/// Most bytes of all values together.
pub const MAX_RECORD_BYTES: usize = 64 * 1024 * 1024;
/// How long a value is kept without being put again (overlay.md 6, rule 8).
const MAX_VALUE_AGE: Duration = Duration::from_secs(72 * 3600);
/// Most keys with providers.
pub const MAX_KEYS: usize = 65_536;
/// Most providers of one key.
pub const MAX_PROVIDERS_PER_KEY: usize = 20;
/// Most addresses kept of one provider (overlay.md 6, note b).
pub(crate) const MAX_ADDRESSES: usize = 8;
/// Longest key, in bytes.
const MAX_KEY_BYTES: usize = 64;

/// First byte of a stored row: which kind it is.
const ROW_PROVIDER: u8 = b'p';
const ROW_RECORD: u8 = b'r';

/// The store behind Kademlia.
pub struct Store {
    local: KBucketKey<PeerId>,
    me: PeerId,
    kinds: Vec<Box<dyn RecordKind>>,
    persist: Box<dyn Persist>,
    records: HashMap<RecordKey, Stored>,
    records_by_distance: BTreeMap<KBucketDistance, RecordKey>,
    record_bytes: usize,
    providers: HashMap<RecordKey, Vec<ProviderRecord>>,
    keys_by_distance: BTreeMap<KBucketDistance, RecordKey>,
    provided: HashSet<RecordKey>,
}

struct Stored {
    record: Record,
    order: u64,
    /// When the value itself expires.
    valid_until: SystemTime,
}

/// A provider as it lies on disk.
#[derive(Serialize, Deserialize)]
struct ProviderRow {
    key: Vec<u8>,
    provider: Vec<u8>,
    expires_s: u64,
    addresses: Vec<Vec<u8>>,
}

/// A value as it lies on disk; checked again when it is read.
#[derive(Serialize, Deserialize)]
struct RecordRow {
    key: Vec<u8>,
    value: Vec<u8>,
    /// Until when it is kept without being put again.
    expires_s: u64,
}

impl Store {
    /// A store for node `me` that takes records of these kinds. Rows that cannot be read or no longer pass the check
    /// are deleted.
    pub fn open(me: PeerId, kinds: Vec<Box<dyn RecordKind>>, persist: Box<dyn Persist>) -> Self {
        let rows = persist.load();
        let mut store = Self {
            local: KBucketKey::from(me),
            me,
            kinds,
            persist,
            records: HashMap::new(),
            records_by_distance: BTreeMap::new(),
            record_bytes: 0,
            providers: HashMap::new(),
            keys_by_distance: BTreeMap::new(),
            provided: HashSet::new(),
        };
        let (now, wall) = (Instant::now(), SystemTime::now());
        for (key, value) in rows {
            if !store.load_row(&key, &value, now, wall) {
                store.persist.delete(key);
            }
        }
        store
    }

    /// Takes a value from a peer, or from this node, after its kind has checked it. The same value again counts as put
    /// again.
    pub fn put_checked(
        &mut self,
        mut record: Record,
        now: Instant,
        wall: SystemTime,
    ) -> std::result::Result<(), Reject> {
        let known = self.records.get(&record.key).filter(|known| !known.record.is_expired(now));
        let (order, valid_until) = match known {
            Some(known) if known.record.value == record.value => (known.order, known.valid_until),
            known => {
                let stored = known.map(|known| known.record.value.as_slice());
                let checked = self.check(&record.key.to_vec(), &record.value, stored, wall)?;
                if known.is_some_and(|known| known.order >= checked.order) {
                    return Err(Reject::Older);
                }
                (checked.order, checked.expires)
            }
        };
        let left = valid_until.duration_since(wall).map_err(|_| Reject::Expired)?.min(MAX_VALUE_AGE);
        record.expires = Some(now + left);
        // Republishing is the business of whoever signed it, and nobody is to learn who that was.
        record.publisher = None;
        let expires_s = (wall + left).duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let row = RecordRow { key: record.key.to_vec(), value: record.value.clone(), expires_s };
        if !self.insert_record(Stored { record, order, valid_until }) {
            return Err(Reject::Full);
        }
        if let Ok(bytes) = postcard::to_stdvec(&row) {
            self.persist.put(row_key(ROW_RECORD, &row.key, None), bytes);
        }
        Ok(())
    }

    /// How many keys have providers, and how many values are stored.
    pub fn sizes(&self) -> (usize, usize) {
        (self.providers.len(), self.records.len())
    }

    /// Bytes of all values.
    pub(crate) fn record_bytes(&self) -> usize {
        self.record_bytes
    }

    /// Drops what has expired.
    pub fn remove_expired(&mut self, now: Instant) {
        let records: Vec<RecordKey> =
            self.records.iter().filter(|(_, s)| s.record.is_expired(now)).map(|(key, _)| key.clone()).collect();
        for key in records {
            RecordStore::remove(self, &key);
        }
        let providers: Vec<(RecordKey, PeerId)> = self
            .providers
            .values()
            .flatten()
            .filter(|record| record.is_expired(now))
            .map(|record| (record.key.clone(), record.provider))
            .collect();
        for (key, provider) in providers {
            self.remove_provider(&key, &provider);
        }
    }

    /// Checks a value by its kind, whether it came to be stored or as an answer.
    pub(crate) fn check(
        &self,
        key: &[u8],
        value: &[u8],
        stored: Option<&[u8]>,
        wall: SystemTime,
    ) -> std::result::Result<Checked, Reject> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(Reject::TooLarge(value.len()));
        }
        let kind = self.kinds.iter().find(|kind| kind.matches(key)).ok_or(Reject::UnknownKind)?;
        let checked = kind.check(key, value, stored, wall)?;
        if checked.expires <= wall { Err(Reject::Expired) } else { Ok(checked) }
    }

    fn load_row(&mut self, key: &[u8], value: &[u8], now: Instant, wall: SystemTime) -> bool {
        match key.first() {
            Some(&ROW_PROVIDER) => {
                let Ok(row) = postcard::from_bytes::<ProviderRow>(value) else { return false };
                let Ok(provider) = PeerId::from_bytes(&row.provider) else { return false };
                let expires_at = UNIX_EPOCH + Duration::from_secs(row.expires_s);
                let Ok(left) = expires_at.duration_since(wall) else { return false };
                let addresses = row.addresses.into_iter().filter_map(|bytes| Multiaddr::try_from(bytes).ok()).collect();
                let mut record = ProviderRecord::new(RecordKey::from(row.key), provider, addresses);
                record.expires = Some(now + left.min(PROVIDER_TTL));
                self.insert_provider(record)
            }
            Some(&ROW_RECORD) => {
                let Ok(row) = postcard::from_bytes::<RecordRow>(value) else { return false };
                let Ok(checked) = self.check(&row.key, &row.value, None, wall) else { return false };
                let kept_until = (UNIX_EPOCH + Duration::from_secs(row.expires_s)).min(checked.expires);
                // A row from the future was written while the clock was wrong.
                let Ok(left) = kept_until.duration_since(wall) else { return false };
                let mut record = Record::new(row.key, row.value);
                record.expires = Some(now + left.min(MAX_VALUE_AGE));
                self.insert_record(Stored { record, order: checked.order, valid_until: checked.expires })
            }
            _ => false,
        }
    }

    fn insert_record(&mut self, stored: Stored) -> bool {
        let key = stored.record.key.clone();
        let distance = self.distance(&key);
        let bytes = stored.record.value.len();
        let before = self.records.get(&key).map(|known| known.record.value.len());
        loop {
            let has_place = before.is_some() || self.records.len() < MAX_RECORDS;
            if has_place && self.record_bytes - before.unwrap_or(0) + bytes <= MAX_RECORD_BYTES {
                break;
            }
            if !self.evict_farther_record(distance) {
                return false;
            }
        }
        self.record_bytes = self.record_bytes - before.unwrap_or(0) + bytes;
        self.records_by_distance.insert(distance, key.clone());
        self.records.insert(key, stored);
        true
    }

    /// Makes room by dropping the farthest value, unless the new one would be the farthest.
    fn evict_farther_record(&mut self, distance: KBucketDistance) -> bool {
        match self.records_by_distance.last_key_value() {
            Some((farthest, key)) if *farthest > distance => {
                let key = key.clone();
                RecordStore::remove(self, &key);
                true
            }
            _ => false,
        }
    }

    fn insert_provider(&mut self, record: ProviderRecord) -> bool {
        let key = record.key.clone();
        if key.as_ref().len() > MAX_KEY_BYTES {
            return false;
        }
        if !self.providers.contains_key(&key) {
            let distance = self.distance(&key);
            if self.providers.len() >= MAX_KEYS && !self.evict_farther_key(distance) {
                return false;
            }
            self.keys_by_distance.insert(distance, key.clone());
        }
        if record.provider == self.me {
            self.provided.insert(key.clone());
        }
        let known = self.providers.entry(key).or_default();
        if let Some(old) = known.iter_mut().find(|old| old.provider == record.provider) {
            *old = record;
        } else if known.len() < MAX_PROVIDERS_PER_KEY {
            known.push(record);
        } else {
            return false;
        }
        true
    }

    fn evict_farther_key(&mut self, distance: KBucketDistance) -> bool {
        match self.keys_by_distance.last_key_value() {
            Some((farthest, key)) if *farthest > distance && !self.provided.contains(key) => {
                let key = key.clone();
                let providers: Vec<PeerId> = self.providers(&key).iter().map(|record| record.provider).collect();
                for provider in providers {
                    self.remove_provider(&key, &provider);
                }
                true
            }
            _ => false,
        }
    }

    fn distance(&self, key: &RecordKey) -> KBucketDistance {
        self.local.distance(&KBucketKey::new(key.clone()))
    }

    fn persist_provider(&self, record: &ProviderRecord) {
        let expires = SystemTime::now() + record.expires.map_or(PROVIDER_TTL, |at| at - Instant::now());
        let row = ProviderRow {
            key: record.key.to_vec(),
            provider: record.provider.to_bytes(),
            expires_s: expires.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
            addresses: record.addresses.iter().map(Multiaddr::to_vec).collect(),
        };
        if let Ok(bytes) = postcard::to_stdvec(&row) {
            self.persist.put(row_key(ROW_PROVIDER, &row.key, Some(&record.provider)), bytes);
        }
    }
}

fn row_key(kind: u8, key: &[u8], provider: Option<&PeerId>) -> Vec<u8> {
    let mut row = vec![kind];
    row.extend_from_slice(key);
    if let Some(provider) = provider {
        row.extend_from_slice(&provider.to_bytes());
    }
    row
}

impl RecordStore for Store {
    type RecordsIter<'a> = Box<dyn Iterator<Item = Cow<'a, Record>> + 'a>;
    type ProvidedIter<'a> = Box<dyn Iterator<Item = Cow<'a, ProviderRecord>> + 'a>;

    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        self.records.get(key).map(|stored| Cow::Borrowed(&stored.record))
    }

    /// Checked like everything else, also where the library calls it for a value of our own.
    fn put(&mut self, record: Record) -> Result<()> {
        match self.put_checked(record, Instant::now(), SystemTime::now()) {
            Ok(()) | Err(Reject::Older) => Ok(()),
            Err(Reject::TooLarge(_)) => Err(Error::ValueTooLarge),
            Err(_) => Err(Error::MaxRecords),
        }
    }

    fn remove(&mut self, key: &RecordKey) {
        if let Some(removed) = self.records.remove(key) {
            self.record_bytes -= removed.record.value.len();
            let distance = self.distance(key);
            self.records_by_distance.remove(&distance);
            self.persist.delete(row_key(ROW_RECORD, key.as_ref(), None));
        }
    }

    fn records(&self) -> Self::RecordsIter<'_> {
        Box::new(self.records.values().map(|stored| Cow::Borrowed(&stored.record)))
    }

    fn add_provider(&mut self, mut record: ProviderRecord) -> Result<()> {
        record.addresses.truncate(MAX_ADDRESSES);
        if record.expires.is_none() {
            record.expires = Some(Instant::now() + PROVIDER_TTL);
        }
        if self.insert_provider(record.clone()) {
            self.persist_provider(&record);
            Ok(())
        } else {
            Err(Error::MaxProvidedKeys)
        }
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let now = Instant::now();
        self.providers
            .get(key)
            .map(|known| known.iter().filter(|record| !record.is_expired(now)).cloned().collect())
            .unwrap_or_default()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        Box::new(self.provided.iter().filter_map(|key| {
            let known = self.providers.get(key)?;
            known.iter().find(|record| record.provider == self.me).map(Cow::Borrowed)
        }))
    }

    fn remove_provider(&mut self, key: &RecordKey, provider: &PeerId) {
        let Some(known) = self.providers.get_mut(key) else { return };
        known.retain(|record| record.provider != *provider);
        if known.is_empty() {
            self.providers.remove(key);
            let distance = self.distance(key);
            self.keys_by_distance.remove(&distance);
        }
        if *provider == self.me {
            self.provided.remove(key);
        }
        self.persist.delete(row_key(ROW_PROVIDER, key.as_ref(), Some(provider)));
    }
}

#[cfg(test)]
mod tests;
