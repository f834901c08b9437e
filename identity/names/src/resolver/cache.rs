//! Verified and decrypted record sets by zone and label: a name found here costs no key derivation (specs/names.md, 12.6).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hashlink::LinkedHashMap;

use crate::{Label, Record, Timestamp, ZoneKey};

/// How long "nothing there" is remembered.
const NOT_FOUND_LIFETIME: Duration = Duration::from_secs(30);
/// Counted for each entry beside its data: key, list, allocations.
const ENTRY_OVERHEAD_BYTES: usize = 256;
/// Counted for each record beside its data.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// A bounded cache; the least recently used entries go first. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct RecordCache {
    max_bytes: usize,
    max_age: Option<Duration>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: LinkedHashMap<(ZoneKey, Label), Entry>,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    set: CachedSet,
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

    /// Whether more than half of its life is over.
    pub(super) fn is_past_half(&self, now: Timestamp) -> bool {
        now.since(self.fetched) > self.until.since(self.fetched) / 2
    }

    fn bytes(&self) -> usize {
        let records = self.records.iter().flat_map(|records| records.iter());
        ENTRY_OVERHEAD_BYTES + records.map(|record| RECORD_OVERHEAD_BYTES + record.data.len()).sum::<usize>()
    }
}

impl RecordCache {
    /// Holds about `max_bytes` of record sets.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, max_age: None, inner: Mutex::default() }
    }

    /// Believes no record set for longer than this, even if its block lives on: a change by the owner is then seen at
    /// the latest after `max_age`, for the price of more lookups. Without it a set is believed until its block expires.
    #[must_use]
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Forgets everything about a zone: it was revoked, or its records were changed here.
    pub fn forget_zone(&self, zone: &ZoneKey) {
        let mut inner = self.lock();
        inner.entries.retain(|(other, _), _| other != zone);
        inner.bytes = inner.entries.values().map(|entry| entry.bytes).sum();
    }

    /// About how much memory the entries take, in bytes.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    pub(super) fn get(&self, zone: &ZoneKey, label: &Label, now: Timestamp) -> Option<CachedSet> {
        let key = (*zone, label.clone());
        let mut inner = self.lock();
        let entry = inner.entries.get(&key)?;
        // A clock that was set back must not keep an entry for longer than it was to live.
        if entry.set.until <= now || entry.set.fetched > now {
            inner.remove(&key);
            return None;
        }
        inner.entries.to_back(&key).map(|entry| entry.set.clone())
    }

    pub(super) fn put(&self, zone: &ZoneKey, label: &Label, mut set: CachedSet) {
        if let Some(max_age) = self.max_age {
            set.until = set.until.min(set.fetched.after(max_age));
        }
        let key = (*zone, label.clone());
        let bytes = set.bytes() + label.as_bytes().len();
        let mut inner = self.lock();
        inner.remove(&key);
        if bytes > self.max_bytes {
            return;
        }
        inner.bytes += bytes;
        inner.entries.insert(key, Entry { set, bytes });
        while inner.bytes > self.max_bytes {
            let Some((_, oldest)) = inner.entries.pop_front() else {
                break;
            };
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

    #[test]
    fn the_least_recently_used_entries_go_first() {
        let zone = *ZoneSecret::from_random(ZoneType::Edkey, &[1; 32]).public();
        let label = |text: &str| text.parse::<Label>().unwrap();
        let cache = RecordCache::new(3 * (ENTRY_OVERHEAD_BYTES + RECORD_OVERHEAD_BYTES + 101));
        for name in ["a", "b", "c"] {
            cache.put(&zone, &label(name), set(100));
        }
        assert!(cache.get(&zone, &label("a"), NOW).is_some());
        cache.put(&zone, &label("d"), set(100));
        assert!(cache.get(&zone, &label("a"), NOW).is_some());
        assert!(cache.get(&zone, &label("b"), NOW).is_none());
        cache.put(&zone, &label("e"), set(1_000_000));
        assert!(cache.get(&zone, &label("e"), NOW).is_none() && cache.get(&zone, &label("d"), NOW).is_some());
        cache.forget_zone(&zone);
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn entries_end_with_their_block_and_when_the_clock_goes_back() {
        let zone = *ZoneSecret::from_random(ZoneType::Edkey, &[1; 32]).public();
        let cache = RecordCache::new(1_000_000);
        cache.put(&zone, &Label::apex(), set(1));
        assert!(
            cache
                .get(&zone, &Label::apex(), Timestamp::from_secs(199))
                .is_some_and(|set| set.is_past_half(Timestamp::from_secs(199)))
        );
        assert!(cache.get(&zone, &Label::apex(), Timestamp::from_secs(200)).is_none());
        assert_eq!(cache.bytes(), 0);
        cache.put(&zone, &Label::apex(), set(1));
        assert!(cache.get(&zone, &Label::apex(), Timestamp::from_secs(99)).is_none());
        let short = RecordCache::new(1_000_000).with_max_age(Duration::from_secs(5));
        short.put(&zone, &Label::apex(), set(1));
        assert!(short.get(&zone, &Label::apex(), Timestamp::from_secs(104)).is_some());
        assert!(short.get(&zone, &Label::apex(), Timestamp::from_secs(105)).is_none());
    }
}
