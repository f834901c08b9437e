//! Which values the DHT stores: every value proves itself (overlay.md 6, rule 8).

use std::time::SystemTime;

/// Largest value of a record, in bytes: one block of the name system.
pub const MAX_VALUE_BYTES: usize = 8_320;

/// One kind of self-certifying record. The DHT knows nothing of what it means.
pub trait RecordKind: Send + 'static {
    /// Its name in logs and counters.
    fn name(&self) -> &'static str;
    /// Whether keys of this shape belong to this kind.
    fn matches(&self, key: &[u8]) -> bool;
    /// Checks that `value` belongs under `key`, cheapest first: shape, expiry, that it is newer than the other value
    /// `stored` under this key, and last the signature. Must be quick: it runs in the swarm loop.
    fn check(&self, key: &[u8], value: &[u8], stored: Option<&[u8]>, now: SystemTime) -> Result<Checked, Reject>;
}

/// A value that proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// When it expires.
    pub expires: SystemTime,
    /// The greater one replaces the smaller one under the same key.
    pub order: u64,
}

/// Why a value is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// No kind of record has keys like this.
    #[error("no kind of record has such a key")]
    UnknownKind,
    /// Too many bytes.
    #[error("value is {0} bytes, at most {MAX_VALUE_BYTES}")]
    TooLarge(usize),
    /// The bytes are not a record of this kind.
    #[error("not a record of this kind")]
    Malformed,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    BadSignature,
    /// It is no longer valid.
    #[error("expired")]
    Expired,
    /// A newer one is stored already.
    #[error("a newer record is stored")]
    Older,
    /// The sender has stored as much as it may for now.
    #[error("the sender has stored as many bytes as it may within an hour")]
    OverQuota,
    /// This node stores more values than it may send to others for now.
    #[error("too many values are on their way to other nodes")]
    Busy,
    /// The store is full of records that lie nearer to this node.
    #[error("the store is full of nearer records")]
    Full,
}
