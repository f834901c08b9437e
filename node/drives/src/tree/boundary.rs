//! Where nodes end (specs/drives.md, 4.3). Sizes are nominal: they depend on the entries, not on their encoding.

use super::{MAX_NOMINAL_BYTES, MIN_NOMINAL_BYTES};

const CONTEXT: &str = "p2p-drives boundary v1";
/// 0.75 x the target of 16 KiB.
const SPREAD_BYTES: u64 = 12_288;
/// Nominal size of an item of an interior node beside its key, in bytes.
const CHILD_NOMINAL_BYTES: usize = 48;

/// Nominal size of a child with a last key of `key_len` bytes.
pub(super) fn child_nominal_bytes(key_len: usize) -> usize {
    key_len + CHILD_NOMINAL_BYTES
}

/// Watches one level from left to right and says where its nodes end.
#[derive(Debug, Clone)]
pub(super) struct Chunker {
    level: u8,
    items: usize,
    nominal: usize,
    hasher: blake3::Hasher,
}

impl Chunker {
    pub(super) fn new(level: u8) -> Self {
        Self { level, items: 0, nominal: 0, hasher: blake3::Hasher::new_derive_key(CONTEXT) }
    }

    /// Rule 1: whether the open node must end before an item of this size.
    pub(super) fn closes_before(&self, item_nominal: usize) -> bool {
        self.items > 0 && self.nominal + item_nominal > MAX_NOMINAL_BYTES
    }

    /// Rules 2 and 3: takes the item into the open node; true when the node ends with it.
    pub(super) fn push(&mut self, key: &[u8], item_nominal: usize) -> bool {
        self.items += 1;
        self.nominal += item_nominal;
        let enough_items = self.level == 0 || self.items >= 2;
        enough_items && self.nominal >= MIN_NOMINAL_BYTES && self.key_closes(key, item_nominal)
    }

    /// A new node begins.
    pub(super) fn reset(&mut self) {
        self.items = 0;
        self.nominal = 0;
    }

    /// No item is in the open node.
    pub(super) fn is_empty(&self) -> bool {
        self.items == 0
    }

    fn key_closes(&mut self, key: &[u8], item_nominal: usize) -> bool {
        self.hasher.reset();
        self.hasher.update(&[self.level]).update(key);
        let hash = self.hasher.finalize();
        let [a, b, c, d, ..] = *hash.as_bytes();
        let limit = ((item_nominal as u64) << 32) / SPREAD_BYTES;
        u64::from(u32::from_be_bytes([a, b, c, d])) < limit.min(u64::from(u32::MAX))
    }
}
