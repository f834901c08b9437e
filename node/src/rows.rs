//! The engine's own rows in the cache: what the DHT stores for others, and peers remembered for the next start.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use p2p_dht::Persist;
use p2p_drives::{Batch, Cache, CacheTable, MAX_BATCH_OPERATIONS};

/// Writes waiting for the disk; beyond that they are dropped, and announced again by their owners.
const QUEUE: usize = 4_096;
/// How long rows may wait for more to be written together.
const LINGER: Duration = Duration::from_secs(1);
/// Rows read at a time.
const PAGE: usize = 1_024;
/// Peers remembered.
pub(crate) const MAX_REMEMBERED: usize = 128;

/// The DHT's rows: reads at the start, writes from a thread of its own, never in the swarm loop.
pub(crate) struct DhtRows {
    cache: Arc<dyn Cache>,
    writes: SyncSender<(Vec<u8>, Option<Vec<u8>>)>,
}

impl DhtRows {
    pub(crate) fn new(cache: Arc<dyn Cache>) -> std::io::Result<Self> {
        let (writes, receiver) = sync_channel(QUEUE);
        let writer = cache.clone();
        std::thread::Builder::new().name("dht-rows".into()).spawn(move || write_all(&*writer, &receiver))?;
        Ok(Self { cache, writes })
    }
}

impl Persist for DhtRows {
    fn load(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        scan(&*self.cache, CacheTable::Dht)
    }

    fn put(&self, key: Vec<u8>, value: Vec<u8>) {
        let _ = self.writes.try_send((key, Some(value)));
    }

    fn delete(&self, key: Vec<u8>) {
        let _ = self.writes.try_send((key, None));
    }
}

/// Ends when the DHT is dropped.
fn write_all(cache: &dyn Cache, writes: &Receiver<(Vec<u8>, Option<Vec<u8>>)>) {
    let mut batch = Batch::new();
    loop {
        let wait = if batch.is_empty() { Duration::from_secs(3_600) } else { LINGER };
        let ended = match writes.recv_timeout(wait) {
            Ok((key, Some(value))) => {
                batch.put(CacheTable::Dht, key, value);
                false
            }
            Ok((key, None)) => {
                batch.delete(CacheTable::Dht, key);
                false
            }
            Err(RecvTimeoutError::Timeout) => {
                write(cache, &mut batch);
                false
            }
            Err(RecvTimeoutError::Disconnected) => true,
        };
        if ended || batch.len() >= MAX_BATCH_OPERATIONS {
            write(cache, &mut batch);
        }
        if ended {
            return;
        }
    }
}

fn write(cache: &dyn Cache, batch: &mut Batch<CacheTable>) {
    if batch.is_empty() {
        return;
    }
    if let Err(error) = cache.apply(&std::mem::take(batch)).and_then(|()| cache.flush()) {
        tracing::warn!(%error, "what the DHT stores was not written");
    }
}

fn scan(cache: &dyn Cache, table: CacheTable) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        let after = rows.last().map(|(key, _)| key.clone());
        match cache.scan(table, &[], after.as_deref(), PAGE) {
            Ok(page) if page.is_empty() => return rows,
            Ok(page) => rows.extend(page),
            Err(error) => {
                tracing::warn!(%error, "rows of the cache cannot be read");
                return rows;
            }
        }
    }
}

/// Peers remembered from last time.
pub(crate) fn load_peers(cache: &dyn Cache) -> Vec<(PeerId, Vec<Multiaddr>)> {
    let rows = scan(cache, CacheTable::Peer);
    rows.into_iter()
        .filter_map(|(key, value)| {
            let peer = PeerId::from_bytes(&key).ok()?;
            let addresses: Vec<Vec<u8>> = postcard::from_bytes(&value).ok()?;
            Some((peer, addresses.into_iter().filter_map(|bytes| Multiaddr::try_from(bytes).ok()).collect()))
        })
        .take(MAX_REMEMBERED)
        .collect()
}

/// Remembers these peers and no others. Blocks.
pub(crate) fn save_peers(cache: &dyn Cache, peers: &[(PeerId, Vec<Multiaddr>)]) {
    let mut batch = Batch::new();
    for (key, _) in scan(cache, CacheTable::Peer) {
        batch.delete(CacheTable::Peer, key);
    }
    for (peer, addresses) in peers.iter().take(MAX_REMEMBERED) {
        let addresses: Vec<Vec<u8>> = addresses.iter().take(4).map(Multiaddr::to_vec).collect();
        if let Ok(value) = postcard::to_stdvec(&addresses) {
            batch.put(CacheTable::Peer, peer.to_bytes(), value);
        }
    }
    if let Err(error) = cache.apply(&batch).and_then(|()| cache.flush()) {
        tracing::warn!(%error, "peers were not remembered");
    }
}
