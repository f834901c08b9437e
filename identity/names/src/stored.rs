//! What a node that stores blocks for others checks before it keeps one (specs/names.md, 12.2).

use thiserror::Error;

use crate::{
    Block, BlockError, StorageKey, Timestamp, ZoneType,
    block::{MAX_STORED_BLOCK_BYTES, min_block_bytes},
};

/// What to do with a block that passed all checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreVerdict {
    /// Keep it instead of whatever is there.
    Store,
    /// The same bytes are there already: only the time of storage is new.
    Refresh,
}

/// Why a block is not stored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreRefusal {
    /// The block itself is no good. [`BlockError::BadSignature`] counts against the sender.
    #[error("the block is refused")]
    Block(#[source] BlockError),
    /// A block with a greater expiration is there.
    #[error("a newer block is stored: it expires at {stored}, this one at {offered}")]
    Older {
        /// Expiration of the stored block.
        stored: Timestamp,
        /// Expiration of the offered block.
        offered: Timestamp,
    },
    /// Other bytes under the same expiration.
    #[error("another block with the same expiration is stored")]
    SameExpiration,
}

/// Checks a block for `key`, cheapest first: shape, key, expiry, the stored block, and last the signature. `stored` is the
/// block kept now; bytes there that are no block count as none. Serves a PUT, and filters what a GET returns.
pub fn check_store(
    key: &StorageKey,
    bytes: &[u8],
    stored: Option<&[u8]>,
    now: Timestamp,
) -> Result<StoreVerdict, StoreRefusal> {
    let block = check_shape(key, bytes, now).map_err(StoreRefusal::Block)?;
    if let Some(stored) = stored {
        if stored == bytes {
            return Ok(StoreVerdict::Refresh);
        }
        if let Ok(stored) = Block::parse(stored) {
            let (stored, offered) = (stored.expiration(), block.expiration());
            if stored > offered {
                return Err(StoreRefusal::Older { stored, offered });
            }
            if stored == offered {
                return Err(StoreRefusal::SameExpiration);
            }
        }
    }
    block.verify().map_err(StoreRefusal::Block)?;
    Ok(StoreVerdict::Store)
}

fn check_shape(key: &StorageKey, bytes: &[u8], now: Timestamp) -> Result<Block, BlockError> {
    if bytes.len() > MAX_STORED_BLOCK_BYTES {
        let min = min_block_bytes(ZoneType::Pkey);
        return Err(BlockError::BadLength { len: bytes.len(), min, max: MAX_STORED_BLOCK_BYTES });
    }
    let block = Block::parse(bytes)?;
    if block.storage_key() != *key {
        return Err(BlockError::WrongKey);
    }
    if block.expiration() <= now {
        return Err(BlockError::Expired(block.expiration()));
    }
    Ok(block)
}

/// Of several blocks for one key the one that counts: valid, not expired, with the greatest expiration. The signature is
/// only checked where it matters, from the newest down.
pub fn newest_valid<'a>(
    key: &StorageKey,
    candidates: impl IntoIterator<Item = &'a [u8]>,
    now: Timestamp,
) -> Option<Block> {
    let mut blocks: Vec<_> = candidates.into_iter().filter_map(|bytes| check_shape(key, bytes, now).ok()).collect();
    blocks.sort_by_key(|block| std::cmp::Reverse(block.expiration()));
    blocks.into_iter().find(|block| block.verify().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Label, ZoneSecret};

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn block(seed: u8, expires_secs: u64, rdata: &[u8]) -> Block {
        let secret = ZoneSecret::from_random(ZoneType::Edkey, &[seed; 32]);
        Block::make(&secret, &"www".parse::<Label>().unwrap(), Timestamp::from_secs(expires_secs), rdata).unwrap()
    }

    fn check(block: &Block, stored: Option<&Block>) -> Result<StoreVerdict, StoreRefusal> {
        check_store(&block.storage_key(), block.as_bytes(), stored.map(Block::as_bytes), NOW)
    }

    #[test]
    fn a_newer_block_replaces_an_older_one_and_never_the_other_way() {
        let (old, new) = (block(1, 2_000, b"old"), block(1, 3_000, b"new"));
        assert_eq!(check(&old, None), Ok(StoreVerdict::Store));
        assert_eq!(check(&new, Some(&old)), Ok(StoreVerdict::Store));
        assert_eq!(check(&new, Some(&new)), Ok(StoreVerdict::Refresh));
        assert!(matches!(check(&old, Some(&new)), Err(StoreRefusal::Older { .. })));
        assert_eq!(check(&block(1, 3_000, b"x"), Some(&new)), Err(StoreRefusal::SameExpiration));
    }

    #[test]
    fn what_is_expired_too_long_or_for_another_key_is_refused() {
        let refused = |error| Err(StoreRefusal::Block(error));
        let expired = block(1, 1_000, b"");
        assert_eq!(check(&expired, None), refused(BlockError::Expired(NOW)));
        let long = block(1, 2_000, &[0; 8_193]);
        assert_eq!(check(&long, None), refused(BlockError::BadLength { len: 8_321, min: 112, max: 8_320 }));
        assert_eq!(check(&block(1, 2_000, &[0; 8_192]), None), Ok(StoreVerdict::Store));
        let other = block(2, 2_000, b"").storage_key();
        assert_eq!(check_store(&other, block(1, 2_000, b"").as_bytes(), None, NOW), refused(BlockError::WrongKey));
    }

    #[test]
    fn a_forged_newer_block_does_not_hide_a_good_one() {
        let good = block(1, 2_000, b"good");
        let mut forged = block(1, 3_000, b"newer").into_bytes();
        forged[120] ^= 1;
        let key = good.storage_key();
        assert!(check_store(&key, &forged, Some(good.as_bytes()), NOW).is_err());
        let found = newest_valid(&key, [&forged[..], b"junk", good.as_bytes()], NOW);
        assert_eq!(found, Some(good));
    }
}
