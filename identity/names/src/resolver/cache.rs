//! Verified and decrypted record sets by zone and label: a name found here costs no key derivation (specs/names.md, 12.6).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hashlink::LinkedHashMap;

use crate::{Label, Record, StorageKey, Timestamp, ZoneKey};

/// How long "nothing there" is remembered.
const NOT_FOUND_LIFETIME: Duration = Duration::from_secs(30);
/// How soon a refresh that was asked for is asked for again.
const REFRESH_AGAIN: Duration = Duration::from_secs(30);
/// Counted for each entry beside its data: both keys, list, allocations.
const ENTRY_OVERHEAD_BYTES: usize = 480;
/// Counted for each record beside its data.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// A bounded cache; the least recently used entries go first. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct RecordCache {
    max_bytes: usize,
    refresh_after: Option<Duration>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: LinkedHashMap<(ZoneKey, Label), Entry>,
    /// Where the set of a block lies.
    places: HashMap<StorageKey, (ZoneKey, Label)>,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    set: CachedSet,
    key: StorageKey,
    /// When somebody who used it was last told to refresh it; at first when it came.
    checked: Timestamp,
    bytes: usize,
}

/// What is known about a label.
#[derive(Debug, Clone)]
pub(super) struct CachedSet {
    /// `None`: nothing was found.
    pub(super) records: Option<Arc<[Record]>>,
    /// When it came from the network.
    pub(super) fetched: Timestamp,
    /// End of the block, or of the memory that there is none.
    pub(super) until: Timestamp,
    /// Who gave it.
    pub(super) origin: Arc<str>,
}

impl CachedSet {
    pub(super) fn not_found(now: Timestamp) -> Self {
        Self { records: None, fetched: now, until: now.after(NOT_FOUND_LIFETIME), origin: "".into() }
    }

    /// A label that was deleted may be used again at any time: "empty" is believed no longer than "not there".
    pub(super) fn shortened_if_empty(mut self, now: Timestamp) -> Self {
        if self.records.as_ref().is_some_and(|records| records.is_empty()) {
            self.until = self.until.min(now.after(NOT_FOUND_LIFETIME));
        }
        self
    }

    fn bytes(&self) -> usize {
        let records = self.records.iter().flat_map(|records| records.iter());
        ENTRY_OVERHEAD_BYTES + records.map(|record| RECORD_OVERHEAD_BYTES + record.data.len()).sum::<usize>()
    }
}

impl RecordCache {
    /// Holds about `max_bytes` of record sets.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, refresh_after: None, inner: Mutex::default() }
    }

    /// Who uses a set older than this is told to refresh it in the background, once in so long; it is believed until its
    /// block expires all the same. That nothing is there is believed no longer than this. Without it a set is refreshed
    /// when half of its life is over.
    #[must_use]
    pub fn with_refresh_after(mut self, after: Duration) -> Self {
        self.refresh_after = Some(after);
        self
    }

    /// A good block was seen that lives until `expiration`: what is known from an older one is forgotten.
    pub fn on_block(&self, key: &StorageKey, expiration: Timestamp) {
        let mut inner = self.lock();
        let Some(place) = inner.places.get(key).cloned() else { return };
        let is_older = |entry: &Entry| entry.set.records.is_none() || entry.set.until < expiration;
        if inner.entries.get(&place).is_some_and(is_older) {
            inner.remove(&place);
        }
    }

    /// Forgets everything about a zone: it was revoked, or its records were changed here.
    pub fn forget_zone(&self, zone: &ZoneKey) {
        let mut inner = self.lock();
        inner.entries.retain(|(other, _), _| other != zone);
        inner.places.retain(|_, (other, _)| other != zone);
        inner.bytes = inner.entries.values().map(|entry| entry.bytes).sum();
    }

    /// About how much memory the entries take, in bytes.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// What is known, and whether whoever uses it is to refresh it.
    pub(super) fn get(&self, zone: &ZoneKey, label: &Label, now: Timestamp) -> Option<(CachedSet, bool)> {
        let key = (*zone, label.clone());
        let mut inner = self.lock();
        let entry = inner.entries.get(&key)?;
        // A clock that was set back must not keep an entry for longer than it was to live.
        if entry.set.until <= now || entry.set.fetched > now {
            inner.remove(&key);
            return None;
        }
        let entry = inner.entries.to_back(&key)?;
        let half = entry.set.until.since(entry.set.fetched) / 2;
        let after = self.refresh_after.map_or(half, |after| after.min(half));
        // Once in so long, however often it is used.
        let is_due = now.since(entry.set.fetched) >= after && now.since(entry.checked) >= after.min(REFRESH_AGAIN);
        if is_due {
            entry.checked = now;
        }
        Some((entry.set.clone(), is_due))
    }

    pub(super) fn put(&self, zone: &ZoneKey, label: &Label, key: StorageKey, mut set: CachedSet) {
        if let (Some(after), None) = (self.refresh_after, &set.records) {
            set.until = set.until.min(set.fetched.after(after));
        }
        let place = (*zone, label.clone());
        let bytes = set.bytes() + label.as_bytes().len();
        let mut inner = self.lock();
        inner.remove(&place);
        if bytes > self.max_bytes {
            return;
        }
        inner.bytes += bytes;
        inner.places.insert(key, place.clone());
        let checked = set.fetched;
        inner.entries.insert(place, Entry { set, key, checked, bytes });
        while inner.bytes > self.max_bytes {
            let Some((_, oldest)) = inner.entries.pop_front() else {
                break;
            };
            inner.places.remove(&oldest.key);
            inner.bytes -= oldest.bytes;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing here panics between two changes that belong together, so a poisoned cache is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove(&mut self, key: &(ZoneKey, Label)) {
        if let Some(entry) = self.entries.remove(key) {
            self.places.remove(&entry.key);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RecordType, ZoneSecret, ZoneType};

    const NOW: Timestamp = Timestamp::from_secs(100);

    fn set(bytes: usize) -> CachedSet {
        let record = Record::new(RecordType::TXT, vec![0; bytes], Timestamp::from_secs(200));
        CachedSet {
            records: Some(vec![record].into()),
            fetched: NOW,
            until: Timestamp::from_secs(200),
            origin: "dht".into(),
        }
    }

    fn key(name: &str) -> StorageKey {
        let mut key = [0; 64];
        key[..name.len()].copy_from_slice(name.as_bytes());
        key.into()
    }

    #[test]
    fn the_least_recently_used_entries_go_first() {
        let zone = *ZoneSecret::from_random(ZoneType::Edkey, &[1; 32]).public();
        let label = |text: &str| text.parse::<Label>().unwrap();
        let cache = RecordCache::new(3 * (ENTRY_OVERHEAD_BYTES + RECORD_OVERHEAD_BYTES + 101));
        let put = |name: &str, bytes| cache.put(&zone, &label(name), key(name), set(bytes));
        for name in ["a", "b", "c"] {
            put(name, 100);
        }
        assert!(cache.get(&zone, &label("a"), NOW).is_some());
        put("d", 100);
        assert!(cache.get(&zone, &label("a"), NOW).is_some());
        assert!(cache.get(&zone, &label("b"), NOW).is_none());
        put("e", 1_000_000);
        assert!(cache.get(&zone, &label("e"), NOW).is_none() && cache.get(&zone, &label("d"), NOW).is_some());
        cache.on_block(&key("d"), Timestamp::from_secs(200));
        assert!(cache.get(&zone, &label("d"), NOW).is_some(), "the same block again");
        cache.on_block(&key("d"), Timestamp::from_secs(201));
        assert!(cache.get(&zone, &label("d"), NOW).is_none() && cache.get(&zone, &label("a"), NOW).is_some());
        cache.on_block(&key("b"), Timestamp::from_secs(201));
        let lens = |inner: &Inner| (inner.places.len(), inner.entries.len());
        assert_eq!(lens(&cache.lock()), (2, 2));
        cache.forget_zone(&zone);
        assert_eq!((cache.bytes(), lens(&cache.lock())), (0, (0, 0)));
    }

    #[test]
    fn who_uses_an_old_entry_is_told_to_refresh_it_but_not_again_and_again() {
        let zone = *ZoneSecret::from_random(ZoneType::Edkey, &[1; 32]).public();
        let cache = RecordCache::new(1_000_000).with_refresh_after(Duration::from_secs(5));
        cache.put(&zone, &Label::apex(), key("@"), set(1));
        let due: Vec<bool> = [100, 104, 105, 106, 109, 110, 199]
            .map(|at| cache.get(&zone, &Label::apex(), Timestamp::from_secs(at)).is_some_and(|(_, due)| due))
            .into();
        assert_eq!(due, [false, false, true, false, false, true, true]);
        let nothing = CachedSet::not_found(NOW);
        cache.put(&zone, &Label::apex(), key("@"), nothing);
        assert!(cache.get(&zone, &Label::apex(), Timestamp::from_secs(104)).is_some());
        assert!(cache.get(&zone, &Label::apex(), Timestamp::from_secs(105)).is_none(), "it may be there by now");
    }

    #[test]
    fn entries_end_with_their_block_and_when_the_clock_goes_back() {
        let zone = *ZoneSecret::from_random(ZoneType::Edkey, &[1; 32]).public();
        let cache = RecordCache::new(1_000_000);
        cache.put(&zone, &Label::apex(), key("@"), set(1));
        assert!(cache.get(&zone, &Label::apex(), Timestamp::from_secs(149)).is_some_and(|(_, due)| !due));
        assert!(cache.get(&zone, &Label::apex(), Timestamp::from_secs(199)).is_some_and(|(_, due)| due));
        assert!(cache.get(&zone, &Label::apex(), Timestamp::from_secs(200)).is_none());
        assert_eq!(cache.bytes(), 0);
        cache.put(&zone, &Label::apex(), key("@"), set(1));
        assert!(cache.get(&zone, &Label::apex(), Timestamp::from_secs(99)).is_none());
    }
}
