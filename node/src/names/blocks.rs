//! Blocks of the name system in the DHT: what the resolver and the publisher see of it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use p2p_names::{Block, BlockStore, Candidate, StorageKey, StoreError};

use super::kinds::timestamp;
use crate::network::{FoundValue, Network, PutError};

/// How long a lookup may take.
const LOOKUP_TIME: Duration = Duration::from_secs(10);
/// How long more answers are waited for once a peer has given one, so that an old block does not hide a newer one.
const MORE_ANSWERS: Duration = Duration::from_millis(1_500);
/// Blocks remembered for times without network.
const MAX_REMEMBERED: usize = 2_048;

/// Blocks in the DHT.
pub(crate) struct DhtBlocks {
    network: Network,
    /// The newest block of each key that came from others, until it expires.
    remembered: Mutex<HashMap<[u8; 64], Remembered>>,
}

/// A block, and when it came.
type Remembered = (Vec<u8>, Instant);

/// What a lookup came to.
pub(super) struct Lookup {
    pub(super) found: Vec<FoundValue>,
    /// It did not come to its end.
    pub(super) timed_out: bool,
}

/// Every answer to a lookup: until there are no more, or a while after the first from another node.
pub(super) async fn look_up(network: &Network, key: Vec<u8>, limit: Duration) -> Result<Lookup, StoreError> {
    let stopping = |reason: String| StoreError::Unreachable(reason);
    let mut answers = network.get_values(key).await.map_err(stopping)?;
    let mut found: Vec<FoundValue> = Vec::new();
    let mut deadline = tokio::time::Instant::now() + limit;
    loop {
        match tokio::time::timeout_at(deadline, answers.recv()).await {
            Ok(Some(value)) => {
                if value.from.is_some() {
                    deadline = deadline.min(tokio::time::Instant::now() + MORE_ANSWERS);
                }
                found.push(value);
            }
            Ok(None) => return Ok(Lookup { found, timed_out: false }),
            Err(_) => return Ok(Lookup { timed_out: found.is_empty(), found }),
        }
    }
}

impl DhtBlocks {
    pub(super) fn new(network: Network) -> Self {
        Self { network, remembered: Mutex::default() }
    }

    fn remember(&self, key: &StorageKey, newest: &[u8]) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let key = *key.as_bytes();
        if remembered.len() >= MAX_REMEMBERED && !remembered.contains_key(&key) {
            let oldest = remembered.iter().min_by_key(|(_, (_, at))| *at).map(|(key, _)| *key);
            oldest.and_then(|oldest| remembered.remove(&oldest));
        }
        remembered.insert(key, (newest.to_vec(), Instant::now()));
    }

    fn recall(&self, key: &StorageKey) -> Option<Candidate> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let (block, at) = remembered.get(key.as_bytes())?;
        Some(Candidate { block: block.clone(), source: "an earlier answer".into(), age: at.elapsed() })
    }
}

#[async_trait]
impl BlockStore for DhtBlocks {
    async fn get(&self, key: &StorageKey) -> Result<Vec<Candidate>, StoreError> {
        let lookup = look_up(&self.network, key.as_bytes().to_vec(), LOOKUP_TIME).await?;
        let from_others = lookup.found.iter().filter(|found| found.from.is_some());
        let newest = from_others
            .map(|found| &found.value)
            .max_by_key(|value| Block::parse(value).map_or(0, |block| block.expiration().as_micros()));
        let mut candidates: Vec<Candidate> = Vec::new();
        match newest {
            Some(newest) => self.remember(key, newest),
            None => candidates.extend(self.recall(key)),
        }
        for FoundValue { from, value } in &lookup.found {
            if candidates.iter().all(|known| known.block != *value) {
                let source = from.map_or_else(|| "this node's part of the DHT".to_owned(), |peer| peer.to_string());
                candidates.push(Candidate { block: value.clone(), source, age: Duration::ZERO });
            }
        }
        let now = timestamp(SystemTime::now());
        candidates.retain(|found| Block::parse(&found.block).is_ok_and(|block| block.expiration() > now));
        if candidates.is_empty() {
            if !self.network.reaches_others() {
                return Err(StoreError::Unreachable("this node reaches no other".into()));
            }
            if lookup.timed_out {
                return Err(StoreError::Timeout);
            }
        }
        Ok(candidates)
    }

    async fn put(&self, key: &StorageKey, block: &Block) -> Result<usize, StoreError> {
        let stored = self.network.put_value(key.as_bytes().to_vec(), block.as_bytes().to_vec()).await;
        stored.map_err(|error| match error {
            PutError::Rejected(reason) => StoreError::Unreachable(format!("this node refuses the block: {reason}")),
            PutError::Stopping => StoreError::Unreachable(error.to_string()),
        })
    }
}
