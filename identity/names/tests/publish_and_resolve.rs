//! A zone from its owner to a stranger: namestore, blocks in a store, resolver.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::executor::block_on;
use p2p_names::{
    Block, BlockStore, DIFFICULTY, Flags, Freshness, Label, LocalState, MemoryBlockStore, MemoryNamestore, PowSearch,
    Publish, PublishQueue, Query, RecordCache, RecordType, Resolution, ResolveError, Resolver, RevocationVerdict,
    Source, StoredRecord, Timestamp, ZoneSecret, ZoneType, data_from_text, decode_rdata,
};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const DAY: Duration = Duration::from_secs(86_400);

struct Node {
    state: Arc<Mutex<LocalState<MemoryNamestore>>>,
    resolver: Resolver,
    queue: PublishQueue,
}

impl Node {
    fn new(store: &Arc<MemoryBlockStore>) -> Self {
        let state = Arc::new(Mutex::new(LocalState::new(MemoryNamestore::new())));
        let resolver = Resolver::new(store.clone(), state.clone(), None)
            .with_cache(Arc::new(RecordCache::new(1 << 20).with_refresh_after(Duration::from_secs(60))));
        Self { state, resolver, queue: PublishQueue::new() }
    }

    fn set(
        &mut self,
        secret: &ZoneSecret,
        label: &str,
        record_type: RecordType,
        value: &str,
        flags: Flags,
        now: Timestamp,
    ) {
        let record = StoredRecord::new(record_type, data_from_text(record_type, value).unwrap()).with_flags(flags);
        let label: Label = label.parse().unwrap();
        let entry = self.state.lock().unwrap().namestore.set(secret.public(), &label, vec![record]).unwrap();
        self.queue.schedule(*secret.public(), label, entry.due(now));
    }

    fn remove(&mut self, secret: &ZoneSecret, label: &str, now: Timestamp) {
        let label: Label = label.parse().unwrap();
        let entry = self.state.lock().unwrap().namestore.remove(secret.public(), &label, None).unwrap();
        self.queue.schedule(*secret.public(), label, entry.due(now));
    }

    /// What a node does in the background; how many blocks were put.
    fn publish_due(&mut self, secrets: &[&ZoneSecret], store: &MemoryBlockStore, now: Timestamp) -> usize {
        let mut count = 0;
        while let Some((zone, label)) = self.queue.pop_due(now) {
            let secret = secrets.iter().find(|secret| *secret.public() == zone).unwrap();
            let mut state = self.state.lock().unwrap();
            let entry = state.namestore.entry(&zone, &label).unwrap().unwrap();
            let block = match entry.publish(now) {
                Publish::Rebuild { .. } => state.namestore.build(secret, &label, now).unwrap(),
                Publish::AsItIs(block) => Some(block),
                _ => None,
            };
            if let Some(block) = block {
                block_on(store.put(&block.storage_key(), &block)).unwrap();
                state.namestore.published(&zone, &label, &block, now).unwrap();
                count += 1;
            }
            let entry = state.namestore.entry(&zone, &label).unwrap().unwrap();
            self.queue.schedule(zone, label, entry.due(now));
        }
        count
    }

    fn resolve(&self, name: &str, now: Timestamp) -> Result<Resolution, ResolveError> {
        block_on(self.resolver.resolve(&Query::any(name.parse().unwrap()), now))
    }

    fn values(&self, name: &str, now: Timestamp) -> Vec<String> {
        self.resolve(name, now).unwrap().records.iter().map(|record| record.value()).collect()
    }
}

#[test]
fn a_zone_lives_from_its_owner_to_a_stranger() {
    let store = Arc::new(MemoryBlockStore::new());
    let (mut owner, stranger) = (Node::new(&store), Node::new(&store));
    let secret = ZoneSecret::from_random(ZoneType::Edkey, &[1; 32]);
    let kid = ZoneSecret::from_random(ZoneType::Pkey, &[2; 32]);
    for (name, secret) in [("home", &secret), ("kid", &kid)] {
        owner.state.lock().unwrap().namestore.create_zone(name.parse().unwrap(), *secret.public()).unwrap();
    }
    owner.set(&secret, "www", RecordType::A, "192.0.2.7", Flags::NONE, NOW);
    owner.set(&secret, "diary", RecordType::TXT, "dear diary", Flags::PRIVATE, NOW);
    owner.set(&secret, "www", RecordType::TXT, "my password", Flags::PRIVATE, NOW);
    owner.set(&secret, "kid", RecordType::PKEY, &kid.public().to_string(), Flags::NONE, NOW);
    assert_eq!(owner.publish_due(&[&secret], &store, NOW), 2);
    owner.set(&kid, "@", RecordType::TXT, "hello", Flags::NONE, NOW);
    assert_eq!(owner.publish_due(&[&kid], &store, NOW), 1);

    let ztld = secret.public().to_string();
    let www = format!("www.{ztld}");
    assert_eq!(stranger.values(&www, NOW), ["192.0.2.7"]);
    assert_eq!(stranger.values(&format!("kid.{ztld}"), NOW), ["hello"]);
    assert!(stranger.resolve(&format!("diary.{ztld}"), NOW).is_err());
    assert_eq!(owner.values("diary.home", NOW), ["dear diary"]);
    assert_eq!(owner.resolve("www.home", NOW).unwrap().source, Source::Local);

    // The owner changes and deletes; the stranger believes what it knows, and is told to ask again.
    let later = NOW.after(Duration::from_secs(61));
    owner.set(&secret, "www", RecordType::A, "192.0.2.8", Flags::NONE, later);
    assert_eq!(owner.publish_due(&[&secret], &store, later), 1);
    let fresh = Query { freshness: Freshness::Fresh, ..Query::any(www.parse().unwrap()) };
    let known = stranger.resolve(&www, later).unwrap();
    assert!(known.refresh_due && known.records[0].value() == "192.0.2.7");
    block_on(stranger.resolver.resolve(&fresh, later)).unwrap();
    assert_eq!(stranger.values(&www, later), ["192.0.2.8"]);
    owner.remove(&secret, "www", later);
    assert_eq!(owner.publish_due(&[&secret], &store, later), 1);
    assert!(block_on(stranger.resolver.resolve(&fresh, later)).is_err());
    assert_eq!(owner.publish_due(&[&secret], &store, later.after(DAY / 4)), 0);

    // Online, nothing lapses: a year of background work.
    let mut now = later;
    for _ in 0..365 {
        now = now.after(DAY);
        owner.publish_due(&[&secret, &kid], &store, now);
    }
    assert_eq!(stranger.values(&kid.public().to_string(), now), ["hello"]);
    // Offline, names live as long as their records.
    assert!(stranger.resolve(&kid.public().to_string(), now.after(DAY * 7)).is_err());
}

#[test]
fn nothing_private_is_in_any_block_that_was_put() {
    let store = Arc::new(MemoryBlockStore::new());
    let mut owner = Node::new(&store);
    let secret = ZoneSecret::from_random(ZoneType::Pkey, &[3; 32]);
    let names = ["@", "www", "diary", "mixed"];
    owner.state.lock().unwrap().namestore.create_zone("home".parse().unwrap(), *secret.public()).unwrap();
    for (at, name) in names.iter().enumerate() {
        owner.set(&secret, name, RecordType::TXT, "PRIVATE", Flags::PRIVATE, NOW);
        if at % 2 == 1 {
            owner.set(&secret, name, RecordType::A, "192.0.2.1", Flags::NONE, NOW);
        }
    }
    owner.publish_due(&[&secret], &store, NOW);
    let blocks: Vec<Block> = store.blocks();
    assert_eq!(blocks.len(), 2);
    let keys = names.map(|name| p2p_names::LabelKeys::of(secret.public(), &name.parse().unwrap()));
    for block in blocks {
        let rdata = keys.iter().find_map(|keys| block.open(keys).ok()).unwrap();
        assert!(!String::from_utf8_lossy(&rdata).contains("PRIVATE"));
        assert!(decode_rdata(&rdata).unwrap().iter().all(|record| record.record_type == RecordType::A));
    }
}

#[test]
fn a_revoked_zone_resolves_nowhere() {
    let store = Arc::new(MemoryBlockStore::new());
    let (mut owner, stranger) = (Node::new(&store), Node::new(&store));
    let secret = ZoneSecret::from_random(ZoneType::Edkey, &[4; 32]);
    owner.state.lock().unwrap().namestore.create_zone("home".parse().unwrap(), *secret.public()).unwrap();
    owner.set(&secret, "www", RecordType::A, "192.0.2.7", Flags::NONE, NOW);
    owner.publish_due(&[&secret], &store, NOW);
    let www = format!("www.{}", secret.public());
    assert_eq!(stranger.values(&www, NOW), ["192.0.2.7"]);
    let revocation = PowSearch::new(&secret, NOW, 0, 1).step(100).unwrap().to_bytes();
    let state = &stranger.state;
    let too_easy = state.lock().unwrap().revocations.offer(&revocation, DIFFICULTY, NOW);
    assert!(matches!(too_easy, RevocationVerdict::Reject(_)));
    assert_eq!(stranger.values(&www, NOW), ["192.0.2.7"]);
    let accepted = state.lock().unwrap().revocations.offer(&revocation, 0, NOW);
    assert!(matches!(accepted, RevocationVerdict::Accept(_)));
    assert!(matches!(stranger.resolve(&www, NOW), Err(ResolveError::Revoked { .. })));
}
