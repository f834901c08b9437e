//! Which values of the name system the DHT stores (specs/names.md, 12.2): blocks under their storage key, and
//! revocations under the zone.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p2p_dht::{Checked, RecordKind, Reject};
use p2p_names::{
    Block, BlockError, RecordCache, Revocation, StorageKey, StoreRefusal, Timestamp, ZoneKey, check_store,
};

/// What every key of a revocation begins with; the zone's 36 bytes follow.
const REVOCATION_PREFIX: &[u8; 4] = b"grv1";
/// A revocation may be dated this far ahead (specs/names.md, 11.3).
const MAX_FUTURE: Duration = Duration::from_secs(86_400);

/// The kinds of the name system. The cache hears of every good block that comes by.
pub(crate) fn record_kinds(cache: Arc<RecordCache>) -> Vec<Box<dyn RecordKind>> {
    vec![Box::new(Blocks { cache }), Box::new(ZoneRevocations)]
}

/// Where the revocation of a zone lies.
pub(super) fn revocation_key(zone: &ZoneKey) -> Vec<u8> {
    [REVOCATION_PREFIX.as_slice(), &zone.to_bytes()].concat()
}

/// The time now, as names count it.
pub(super) fn timestamp(now: SystemTime) -> Timestamp {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

fn system_time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(at.as_micros())
}

struct Blocks {
    cache: Arc<RecordCache>,
}

impl RecordKind for Blocks {
    fn name(&self) -> &'static str {
        "name block"
    }

    fn matches(&self, key: &[u8]) -> bool {
        key.len() == 64
    }

    fn check(&self, key: &[u8], value: &[u8], stored: Option<&[u8]>, now: SystemTime) -> Result<Checked, Reject> {
        let key = <[u8; 64]>::try_from(key).map_err(|_| Reject::UnknownKind)?;
        let key = StorageKey::from(key);
        check_store(&key, value, stored, timestamp(now)).map_err(|refusal| match refusal {
            StoreRefusal::Block(BlockError::BadSignature) => Reject::BadSignature,
            StoreRefusal::Block(BlockError::Expired(_)) => Reject::Expired,
            StoreRefusal::Older { .. } | StoreRefusal::SameExpiration => Reject::Older,
            _ => Reject::Malformed,
        })?;
        let expiration = Block::parse(value).map_err(|_| Reject::Malformed)?.expiration();
        self.cache.on_block(&key, expiration);
        Ok(Checked { expires: system_time(expiration), order: expiration.as_micros() })
    }
}

/// Signed by the zone itself, so nobody else can fill the store with them. The proofs of work cost too much to be
/// verified in the swarm loop; who believes a revocation verifies them.
struct ZoneRevocations;

impl RecordKind for ZoneRevocations {
    fn name(&self) -> &'static str {
        "zone revocation"
    }

    fn matches(&self, key: &[u8]) -> bool {
        key.len() == REVOCATION_PREFIX.len() + p2p_names::ZONE_ID_BYTES && key.starts_with(REVOCATION_PREFIX)
    }

    fn check(&self, key: &[u8], value: &[u8], stored: Option<&[u8]>, now: SystemTime) -> Result<Checked, Reject> {
        let revocation = Revocation::from_bytes(value).map_err(|_| Reject::Malformed)?;
        let now = timestamp(now);
        let end = revocation.timestamp.after(Duration::from_micros(revocation.ttl_micros));
        let is_in_order = revocation.proofs.is_sorted_by(|a, b| a < b);
        if revocation_key(&revocation.zone) != key || revocation.timestamp > now.after(MAX_FUTURE) || !is_in_order {
            return Err(Reject::Malformed);
        }
        if end <= now {
            return Err(Reject::Expired);
        }
        let before = stored.and_then(|stored| Revocation::from_bytes(stored).ok());
        if before.is_some_and(|before| before.timestamp >= revocation.timestamp) {
            return Err(Reject::Older);
        }
        if !revocation.is_signature_valid() {
            return Err(Reject::BadSignature);
        }
        Ok(Checked { expires: system_time(end), order: revocation.timestamp.as_micros() })
    }
}

#[cfg(test)]
mod tests {
    use p2p_names::{Label, ZoneSecret, ZoneType};

    use super::*;
    use crate::names::record_cache;

    fn blocks() -> Blocks {
        Blocks { cache: record_cache() }
    }

    fn block(expires_s: u64, rdata: &[u8]) -> Block {
        let secret = ZoneSecret::from_random(ZoneType::Edkey, &[1; 32]);
        let label: Label = "www".parse().expect("a label");
        Block::make(&secret, &label, Timestamp::from_secs(expires_s), rdata).expect("a block")
    }

    #[test]
    fn forged_expired_older_and_foreign_blocks_are_refused() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let (old, new) = (block(2_000, b"old"), block(3_000, b"new"));
        let key: Vec<u8> = new.storage_key().as_bytes().to_vec();
        let check = |value: &[u8], stored: Option<&[u8]>| blocks().check(&key, value, stored, now);
        assert_eq!(check(new.as_bytes(), Some(old.as_bytes())).expect("newer").order, 3_000_000_000);
        assert_eq!(check(old.as_bytes(), Some(new.as_bytes())), Err(Reject::Older));
        assert_eq!(check(block(3_000, b"xyz").as_bytes(), Some(new.as_bytes())), Err(Reject::Older));
        assert_eq!(check(block(900, b"").as_bytes(), None), Err(Reject::Expired));
        let mut forged = new.as_bytes().to_vec();
        forged[115] ^= 1;
        assert_eq!(check(&forged, None), Err(Reject::BadSignature));
        assert_eq!(blocks().check(&[7; 64], new.as_bytes(), None, now), Err(Reject::Malformed));
        assert_eq!(check(b"junk", None), Err(Reject::Malformed));
    }

    #[tokio::test]
    async fn the_nodes_own_client_gets_no_negative_block_into_the_store() {
        let me = libp2p::PeerId::random();
        let (config, persist) = (p2p_dht::Config::default(), Box::<p2p_dht::MemoryPersist>::default());
        let mut dht = p2p_dht::Dht::new(
            me,
            "main",
            &config,
            Arc::new(|_| false),
            record_kinds(record_cache()),
            persist,
            |_, _| true,
        );
        let until = timestamp(SystemTime::now()).as_micros() / 1_000_000 + 1_000;
        let held = block(until, b"held");
        let key = held.storage_key();
        dht.put_value(key.as_bytes(), held.as_bytes().to_vec()).expect("a good one");
        dht.put_value(key.as_bytes(), held.as_bytes().to_vec()).expect("the same again");
        let good = block(until + 10, b"good").as_bytes().to_vec();
        let flipped = |at: usize| {
            let mut bad = good.clone();
            bad[at] ^= 1;
            bad
        };
        let longer = [good.as_slice(), &[0]].concat();
        let shorter = good[..good.len() - 1].to_vec();
        let mut bad: Vec<Vec<u8>> = [3, 4, 20, 60, 111, good.len() - 1].map(flipped).to_vec();
        bad.extend([longer, shorter, good[..100].to_vec(), Vec::new()]);
        bad.extend(
            [(until - 10, b"good"), (until, b"even"), (until - 2_000, b"good")]
                .map(|(expires, rdata)| block(expires, rdata).as_bytes().to_vec()),
        );
        for (at, value) in bad.into_iter().enumerate() {
            assert!(dht.put_value(key.as_bytes(), value).is_err(), "number {at}");
        }
        assert!(dht.put_value(&[7; 64], good.clone()).is_err(), "under the key of something else");
        dht.put_value(key.as_bytes(), good).expect("a newer one");
    }

    #[test]
    fn only_the_zone_itself_places_its_revocation() {
        let now = UNIX_EPOCH + Duration::from_secs(100_000);
        let secret = ZoneSecret::from_random(ZoneType::Edkey, &[1; 32]);
        let proofs = std::array::from_fn(|at| at as u64);
        let revocation = Revocation::sign(&secret, Timestamp::from_secs(50_000), 1 << 50, proofs);
        let key = revocation_key(secret.public());
        assert!(ZoneRevocations.matches(&key) && !blocks().matches(&key));
        assert!(ZoneRevocations.check(&key, &revocation.to_bytes(), None, now).is_ok());
        let mut forged = revocation.clone();
        forged.signature[3] ^= 1;
        assert_eq!(ZoneRevocations.check(&key, &forged.to_bytes(), None, now), Err(Reject::BadSignature));
        let stored = revocation.to_bytes();
        assert_eq!(ZoneRevocations.check(&key, &forged.to_bytes(), Some(&stored), now), Err(Reject::Older));
        let stale = Revocation { ttl_micros: 1, ..revocation };
        assert_eq!(ZoneRevocations.check(&key, &stale.to_bytes(), None, now), Err(Reject::Expired));
    }
}
