use super::*;
use crate::MemoryPersist;

/// A kind whose values carry their order in the first byte and are good if the second is 1.
struct Toy;

impl RecordKind for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn matches(&self, key: &[u8]) -> bool {
        key.len() == 32
    }

    fn check(&self, _: &[u8], value: &[u8], _: Option<&[u8]>, now: SystemTime) -> std::result::Result<Checked, Reject> {
        match value {
            [order, 1, ..] => Ok(Checked { expires: now + Duration::from_secs(60), order: u64::from(*order) }),
            [_, _, ..] => Err(Reject::BadSignature),
            _ => Err(Reject::Malformed),
        }
    }
}

fn store(persist: &MemoryPersist) -> Store {
    let me = PeerId::from_bytes(&hex_peer(1)).expect("a peer id");
    Store::open(me, vec![Box::new(Toy)], Box::new(persist.clone()))
}

/// An identity multihash over an Ed25519 public key of that one byte.
fn hex_peer(byte: u8) -> Vec<u8> {
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend_from_slice(&[byte; 32]);
    bytes
}

fn put(store: &mut Store, key: u8, value: &[u8]) -> std::result::Result<(), Reject> {
    store.put_checked(Record::new(vec![key; 32], value.to_vec()), Instant::now(), SystemTime::now())
}

#[test]
fn only_values_that_prove_themselves_are_stored_and_the_newest_wins() {
    let mut store = store(&MemoryPersist::default());
    assert_eq!(put(&mut store, 1, &[5, 0]), Err(Reject::BadSignature));
    assert_eq!(put(&mut store, 1, &[5]), Err(Reject::Malformed));
    assert_eq!(put(&mut store, 1, &[5, 1]), Ok(()));
    assert_eq!(put(&mut store, 1, &[4, 1]), Err(Reject::Older));
    assert_eq!(put(&mut store, 1, &[5, 1]), Ok(()), "the same value again is as good as new");
    assert_eq!(put(&mut store, 1, &[5, 1, 9]), Err(Reject::Older), "another value of the same order is not");
    assert_eq!(put(&mut store, 1, &[6, 1]), Ok(()));
    assert_eq!(put(&mut store, 1, &vec![9; MAX_VALUE_BYTES + 1]), Err(Reject::TooLarge(MAX_VALUE_BYTES + 1)));
    let unknown = Record::new(vec![1; 5], vec![1, 1]);
    assert_eq!(store.put_checked(unknown, Instant::now(), SystemTime::now()), Err(Reject::UnknownKind));
    let key = RecordKey::from(vec![1; 32]);
    assert_eq!(store.get(&key).map(|record| record.value.clone()), Some(vec![6, 1]));
}

#[test]
fn records_and_providers_survive_a_restart() {
    let persist = MemoryPersist::default();
    let provider = PeerId::from_bytes(&hex_peer(2)).expect("a peer id");
    let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().expect("a multiaddr");
    {
        let mut store = store(&persist);
        put(&mut store, 1, &[5, 1]).expect("good value");
        let record = ProviderRecord::new(vec![7; 32], provider, vec![address.clone()]);
        store.add_provider(record).expect("room");
        let mine = ProviderRecord::new(vec![8; 32], store.me, vec![]);
        store.add_provider(mine).expect("room");
    }
    let store = store(&persist);
    assert_eq!(store.sizes(), (2, 1));
    let providers = store.providers(&RecordKey::from(vec![7; 32]));
    assert_eq!(providers.first().map(|p| (p.provider, p.addresses.clone())), Some((provider, vec![address])));
    assert_eq!(store.provided().count(), 1);
}

#[test]
fn damaged_rows_are_dropped_at_the_start() {
    let persist = MemoryPersist::default();
    persist.put(vec![ROW_PROVIDER, 1], vec![1, 2, 3]);
    persist.put(vec![ROW_RECORD, 1], vec![0xff; 40]);
    persist.put(vec![b'?'], vec![]);
    assert_eq!(store(&persist).sizes(), (0, 0));
    assert!(persist.load().is_empty());
}

#[test]
fn expired_providers_are_neither_told_nor_kept() {
    let persist = MemoryPersist::default();
    let mut store = store(&persist);
    let provider = PeerId::from_bytes(&hex_peer(3)).expect("a peer id");
    let mut record = ProviderRecord::new(vec![7; 32], provider, vec![]);
    record.expires = Some(Instant::now());
    store.insert_provider(record);
    assert!(store.providers(&RecordKey::from(vec![7; 32])).is_empty());
    store.remove_expired(Instant::now());
    assert_eq!(store.sizes(), (0, 0));
}

#[test]
fn a_key_has_at_most_twenty_providers() {
    let mut store = store(&MemoryPersist::default());
    for n in 0..30u8 {
        let provider = PeerId::from_bytes(&hex_peer(n)).expect("a peer id");
        let _ = store.add_provider(ProviderRecord::new(vec![7; 32], provider, vec![]));
    }
    assert_eq!(store.providers(&RecordKey::from(vec![7; 32])).len(), MAX_PROVIDERS_PER_KEY);
}
