//! Where peers were met, by local network: rows in the ledger, all of them in memory.
//!
//! Key: the network's id (16 bytes) and the peer (32). Value: JSON, so that a later version can add to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use p2p_drives::{Batch, Ledger, LedgerError, LedgerTable};
use p2p_identity::PeerId;
use p2p_transport::NetworkId;
use serde::{Deserialize, Serialize};

const TABLE: LedgerTable = LedgerTable::Neighbours;
/// Rows read at a time.
const PAGE: usize = 1_000;
/// Addresses of a peer in one network; the one met longest ago leaves first.
pub(super) const MAX_ADDRESSES: usize = 8;
/// Longest address kept, in characters.
const MAX_ADDRESS_CHARS: usize = 128;
/// Peers remembered in one network; strangers leave before friends, then who was met longest ago.
const MAX_PEERS: usize = 64;
/// Networks remembered; the one that was used longest ago leaves first.
const MAX_NETWORKS: usize = 32;
/// A row is not written again for a newer time alone before this has passed, in milliseconds.
const WRITE_EVERY_MS: u64 = 24 * 3_600 * 1_000;
/// Who was not met for so long is forgotten, in milliseconds: half a year.
const FORGET_AFTER_MS: u64 = 183 * 24 * 3_600 * 1_000;

/// Where a peer was met in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NearRow {
    /// Multiaddrs without the peer, the newest last.
    pub(super) addresses: Vec<String>,
    /// When it was last met there, in milliseconds since 1970.
    pub(super) met: u64,
    /// It had a drive to give or to take; otherwise it is remembered as a friend, and only as long as it is one.
    #[serde(default)]
    pub(super) of_drives: bool,
}

/// A peer that was met.
pub(super) struct Met<'a> {
    pub(super) network: NetworkId,
    pub(super) peer: PeerId,
    pub(super) addresses: &'a [String],
    pub(super) of_drives: bool,
}

type Key = (NetworkId, PeerId);

/// All rows, and the ledger behind them: what is changed is written first.
pub(super) struct NearRows {
    ledger: Arc<dyn Ledger>,
    rows: BTreeMap<Key, NearRow>,
}

impl NearRows {
    /// Reads them, and forgets who was not met for long. Blocks on the disk.
    pub(super) fn open(ledger: Arc<dyn Ledger>, now: u64) -> Result<Self, LedgerError> {
        let mut rows = BTreeMap::new();
        let (mut after, mut gone) = (None, Batch::new());
        loop {
            let page = ledger.scan(TABLE, &[], after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, value) in page {
                let row = serde_json::from_slice::<NearRow>(&value).ok();
                match key_of(&key).zip(row.filter(|row| now.saturating_sub(row.met) < FORGET_AFTER_MS)) {
                    Some((key, row)) => drop(rows.insert(key, row)),
                    None => drop(gone.delete(TABLE, key)),
                }
            }
        }
        if !gone.is_empty() {
            ledger.commit(&gone)?;
        }
        Ok(Self { ledger, rows })
    }

    /// Peers that were met in a network.
    pub(super) fn of(&self, network: NetworkId) -> impl Iterator<Item = (PeerId, &NearRow)> {
        let all = (network, PeerId::from([0; 32]))..=(network, PeerId::from([u8::MAX; 32]));
        self.rows.range(all).map(|((_, peer), row)| (*peer, row))
    }

    /// Remembers peers; `is_friend` says who stays longest where there is no more room. Blocks on the disk where something
    /// is new.
    pub(super) fn remember(
        &mut self,
        met: &[Met<'_>],
        is_friend: impl Fn(&PeerId) -> bool,
        now: u64,
    ) -> Result<(), LedgerError> {
        let mut changed: BTreeMap<Key, Option<NearRow>> = BTreeMap::new();
        for Met { network, peer, addresses, of_drives } in met {
            let known = self.rows.get(&(*network, *peer));
            let row = merged(known, addresses, *of_drives, now);
            let is_news = known.is_none_or(|known| {
                known.addresses != row.addresses
                    || known.of_drives != row.of_drives
                    || now.saturating_sub(known.met) >= WRITE_EVERY_MS
            });
            if is_news && !row.addresses.is_empty() {
                changed.insert((*network, *peer), Some(row));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let mut after = self.rows.clone();
        after.extend(changed.iter().filter_map(|(key, row)| Some((*key, row.clone()?))));
        for key in beyond_limits(&after, is_friend) {
            after.remove(&key);
            changed.insert(key, None);
        }
        let mut batch = Batch::new();
        for ((network, peer), row) in &changed {
            let key = [network.as_slice(), peer.as_bytes()].concat();
            match row {
                Some(row) => batch.put(TABLE, key, serde_json::to_vec(row).expect("a row has string keys only")),
                None => batch.delete(TABLE, key),
            };
        }
        self.ledger.commit(&batch)?;
        self.rows = after;
        Ok(())
    }
}

fn key_of(bytes: &[u8]) -> Option<Key> {
    let (network, peer) = bytes.split_first_chunk::<16>()?;
    Some((*network, PeerId::from(<[u8; 32]>::try_from(peer).ok()?)))
}

/// The row with what is new at its end.
fn merged(known: Option<&NearRow>, addresses: &[String], of_drives: bool, now: u64) -> NearRow {
    let mut all: Vec<String> = known.map(|row| row.addresses.clone()).unwrap_or_default();
    for address in addresses.iter().filter(|address| address.len() <= MAX_ADDRESS_CHARS) {
        if !all.contains(address) {
            all.push(address.clone());
        }
    }
    all.drain(..all.len().saturating_sub(MAX_ADDRESSES));
    NearRow { addresses: all, met: now, of_drives: of_drives || known.is_some_and(|row| row.of_drives) }
}

/// Rows that have to go.
fn beyond_limits(rows: &BTreeMap<Key, NearRow>, is_friend: impl Fn(&PeerId) -> bool) -> Vec<Key> {
    let mut networks: BTreeMap<NetworkId, Vec<Key>> = BTreeMap::new();
    for key in rows.keys() {
        networks.entry(key.0).or_default().push(*key);
    }
    let met = |key: &Key| rows.get(key).map_or(0, |row| row.met);
    let mut gone = Vec::new();
    let mut by_use: Vec<(u64, Vec<Key>)> = networks
        .into_values()
        .map(|mut keys| {
            keys.sort_by_key(|key| (!is_friend(&key.1), std::cmp::Reverse(met(key))));
            gone.extend(keys.drain(MAX_PEERS.min(keys.len())..));
            (keys.iter().map(met).max().unwrap_or(0), keys)
        })
        .collect();
    by_use.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    gone.extend(by_use.into_iter().skip(MAX_NETWORKS).flat_map(|(_, keys)| keys));
    gone
}

#[cfg(test)]
mod tests {
    use p2p_drives::MemoryLedger;
    use proptest::prelude::*;

    use super::*;

    fn met(network: u8, peer: u8, addresses: &[String]) -> Met<'_> {
        Met { network: [network; 16], peer: PeerId::from([peer; 32]), addresses, of_drives: false }
    }

    fn address(port: usize) -> String {
        format!("/ip4/192.168.1.7/tcp/{port}")
    }

    #[test]
    fn the_last_eight_addresses_of_a_peer_are_there_after_a_restart() {
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
        let mut rows = NearRows::open(ledger.clone(), 1).expect("rows");
        for port in 0..12 {
            rows.remember(&[met(1, 1, &[address(port)])], |_| true, 1).expect("written");
        }
        rows.remember(&[met(2, 1, &[address(99), "/".repeat(MAX_ADDRESS_CHARS + 1)])], |_| true, 1).expect("written");
        let rows = NearRows::open(ledger.clone(), 2).expect("rows");
        let there: Vec<_> = rows.of([1; 16]).collect();
        let expected: Vec<String> = (4..12).map(address).collect();
        assert_eq!(there, [(PeerId::from([1; 32]), &NearRow { addresses: expected, met: 1, of_drives: false })]);
        assert_eq!(rows.of([2; 16]).next().expect("met there as well").1.addresses, [address(99)]);
        let later = NearRows::open(ledger.clone(), 1 + FORGET_AFTER_MS).expect("rows");
        assert_eq!(later.of([1; 16]).count(), 0);
        assert!(ledger.scan(TABLE, &[], None, PAGE).expect("read").is_empty(), "and they are gone from the disk");
    }

    #[test]
    fn friends_stay_where_there_is_no_more_room() {
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
        let mut rows = NearRows::open(ledger, 0).expect("rows");
        let is_friend = |peer: &PeerId| peer.as_bytes()[0] == 0;
        for peer in 0..=100_u8 {
            rows.remember(&[met(1, peer, &[address(1)])], is_friend, u64::from(peer)).expect("written");
        }
        assert_eq!(rows.of([1; 16]).count(), MAX_PEERS);
        assert!(rows.of([1; 16]).any(|(peer, _)| is_friend(&peer)), "the friend was met first of all");
        assert!(rows.of([1; 16]).all(|(peer, _)| is_friend(&peer) || peer.as_bytes()[0] > 100 - MAX_PEERS as u8));
        for network in 0..100_u8 {
            rows.remember(&[met(network, 7, &[address(1)])], is_friend, 1_000 + u64::from(network)).expect("written");
        }
        let networks = (0..100_u8).filter(|network| rows.of([*network; 16]).next().is_some()).count();
        assert_eq!(networks, MAX_NETWORKS);
    }

    #[test]
    fn what_is_known_already_is_not_written_again() {
        let ledger = Arc::new(MemoryLedger::default());
        let mut rows = NearRows::open(ledger.clone(), 0).expect("rows");
        rows.remember(&[met(1, 1, &[address(1)])], |_| true, 5).expect("written");
        rows.remember(&[met(1, 1, &[address(1)])], |_| true, 6).expect("nothing to do");
        assert_eq!(rows.of([1; 16]).next().expect("there").1.met, 5);
        rows.remember(&[met(1, 1, &[address(1)])], |_| true, 5 + WRITE_EVERY_MS).expect("written");
        assert_eq!(rows.of([1; 16]).next().expect("there").1.met, 5 + WRITE_EVERY_MS);
    }

    proptest! {
        #[test]
        fn rows_that_nobody_wrote_are_dropped(key in proptest::collection::vec(any::<u8>(), 0..60), value in "\\PC{0,60}") {
            let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
            ledger.commit(Batch::new().put(TABLE, key, value.into_bytes())).expect("written");
            let rows = NearRows::open(ledger, 0).expect("rows");
            prop_assert!(rows.rows.is_empty());
        }
    }
}
