//! Resolution (RFC 9498, section 7): from a name to a record set, over whatever stores blocks.
//!
//! The decisions are plain functions in `filter`, `decide` and `start`; `walk` carries them out. The resolver has no
//! clock and no network of its own: time is an argument, blocks and DNS come through the traits in `sources`.

mod cache;
mod decide;
mod fetch;
mod filter;
mod sources;
mod start;
mod walk;

use std::{sync::Arc, time::Duration};

use thiserror::Error;

pub use cache::RecordCache;
pub use sources::{BlockStore, Candidate, DnsClient, DnsError, LocalZones, MAX_DNS_SERVERS, StoreError, Whose};
pub use start::SuffixMap;

use crate::{Label, Name, NameError, Record, RecordType, Timestamp, ZoneError, ZoneKey};

/// Most record sets that one resolution looks at, counted over all its turns through REDIRECT, GNS2DNS and delegations.
pub const MAX_STEPS: usize = 128;
/// Memory for the cache of decrypted record sets, in bytes.
pub const DEFAULT_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Deepest nesting of names that servers of GNS2DNS records have; deeper means a loop.
const MAX_DEPTH: usize = 8;

/// Turns names into record sets.
#[derive(Clone)]
pub struct Resolver {
    store: Arc<dyn BlockStore>,
    local: Arc<dyn LocalZones>,
    dns: Option<Arc<dyn DnsClient>>,
    cache: Arc<RecordCache>,
}

/// Whether answers may come from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freshness {
    /// From the cache if it is there.
    #[default]
    Cached,
    /// From the store, past the cache; what is found is cached.
    Fresh,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The whole name, ending in a zTLD or a local suffix.
    pub name: Name,
    /// The type the application wants. It steers the last step; the answer is not filtered by it. `None`: any.
    pub wanted: Option<RecordType>,
    /// See [`Freshness`].
    pub freshness: Freshness,
}

impl Query {
    /// Any records of a name.
    pub fn any(name: Name) -> Self {
        Self { name, wanted: None, freshness: Freshness::Cached }
    }
}

/// Where a record set came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A zone of this node, straight from its namestore.
    Local,
    /// The cache; the record set came from there before.
    Cache {
        /// As [`Candidate::source`].
        origin: String,
    },
    /// The block store.
    Store {
        /// As [`Candidate::source`].
        origin: String,
    },
    /// DNS, through GNS2DNS or a REDIRECT that leaves GNS.
    Dns,
}

/// One record set that was looked at on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The zone.
    pub zone: ZoneKey,
    /// The label in it.
    pub label: Label,
    /// Where the record set came from.
    pub source: Source,
    /// How long ago it came from the network; zero for local ones.
    pub age: Duration,
}

/// A record set that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The records that count now, of all types, in the order of the set; SHADOW is cleared where it took effect.
    pub records: Vec<Record>,
    /// Where they came from.
    pub source: Source,
    /// How long ago they came from the network.
    pub age: Duration,
    /// The way, last one last. Empty when the answer is DNS from the beginning.
    pub hops: Vec<Hop>,
    /// A cached set on the way is past half of its life: ask again with [`Freshness::Fresh`] in the background.
    pub refresh_due: bool,
}

impl Resolution {
    /// The records of one type.
    pub fn of_type(&self, record_type: RecordType) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.record_type == record_type)
    }
}

/// Why there is nothing under a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NothingFound {
    /// The store has no block for it.
    #[error("no block is stored for it")]
    NoBlock,
    /// The store has blocks, but none that verifies, decrypts and has not expired.
    #[error("the stored blocks are expired, forged or damaged")]
    NoGoodBlock,
    /// The record set is empty: deleted, or all records have expired.
    #[error("it has no records, or all have expired")]
    NoRecords,
    /// There are records, but none leads to the labels that are left.
    #[error("its records lead no further")]
    NoWay,
}

/// Why a name has no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The name ends in no zTLD and in no suffix known here.
    #[error("{name} ends in no zTLD and in no local zone")]
    NoStartZone {
        /// The name.
        name: Name,
    },
    /// The rightmost label looks like a zTLD but is none.
    #[error("the zTLD is damaged")]
    BadZtld(#[source] ZoneError),
    /// A name on the way is too long.
    #[error("a name on the way cannot be used")]
    BadName(#[source] NameError),
    /// Nothing there.
    #[error("nothing found under {label} in zone {zone}: {why}")]
    NotFound {
        /// The zone in which the search ended.
        zone: ZoneKey,
        /// The label there.
        label: Label,
        /// What was found instead.
        why: NothingFound,
    },
    /// The owner has revoked a zone on the way.
    #[error("zone {zone} is revoked")]
    Revoked {
        /// That zone.
        zone: ZoneKey,
    },
    /// A record demands what is not supported here.
    #[error("{label} has a critical record of type {record_type}, which is not supported")]
    Critical {
        /// The label.
        label: Label,
        /// The type.
        record_type: RecordType,
    },
    /// A record that steers the way is unusable, or stands where it must not.
    #[error("{record_type} under {label}: {reason}")]
    BadRecord {
        /// The label.
        label: Label,
        /// The type.
        record_type: RecordType,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// See [`MAX_STEPS`].
    #[error("the name loops: it was not resolved in {MAX_STEPS} steps")]
    TooManySteps,
    /// The store failed.
    #[error("the block store gave no answer")]
    Store(#[source] StoreError),
    /// DNS failed, or is switched off.
    #[error("the name leads into DNS, which gave no answer")]
    Dns(#[source] DnsError),
}

/// What a caller should do about a [`ResolveError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The name does not exist now: say so.
    NotFound,
    /// The zone must not be trusted any more: say so, never fall back.
    Revoked,
    /// The zone's owner has to repair something, or this program is too old.
    Refused,
    /// The name was typed wrong.
    BadName,
    /// Try again.
    Timeout,
    /// No network, or no DNS: try again when there is.
    Unreachable,
}

impl ResolveError {
    /// Its kind.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::NotFound { .. } | Self::NoStartZone { .. } => FailureKind::NotFound,
            Self::BadZtld(_) | Self::BadName(_) => FailureKind::BadName,
            Self::Revoked { .. } => FailureKind::Revoked,
            Self::Critical { .. } | Self::BadRecord { .. } | Self::TooManySteps => FailureKind::Refused,
            Self::Store(StoreError::Timeout) | Self::Dns(DnsError::Timeout) => FailureKind::Timeout,
            // Switched off: an empty set (specs/names.md, 10.4).
            Self::Dns(DnsError::NotFound | DnsError::Disabled) => FailureKind::NotFound,
            Self::Dns(DnsError::LocalServer) => FailureKind::Refused,
            Self::Store(_) | Self::Dns(_) => FailureKind::Unreachable,
        }
    }
}

impl Resolver {
    /// Over a store of blocks and the zones of this node. `dns` is `None` when DNS is switched off.
    pub fn new(store: Arc<dyn BlockStore>, local: Arc<dyn LocalZones>, dns: Option<Arc<dyn DnsClient>>) -> Self {
        Self { store, local, dns, cache: Arc::new(RecordCache::new(DEFAULT_CACHE_BYTES)) }
    }

    /// With a cache of another size, or one that is shared.
    #[must_use]
    pub fn with_cache(mut self, cache: Arc<RecordCache>) -> Self {
        self.cache = cache;
        self
    }

    /// The cache, for instance to forget a zone that was revoked.
    pub fn cache(&self) -> &RecordCache {
        &self.cache
    }

    /// Resolves a name at `now`. Cancel safe: nothing but the cache is changed.
    pub async fn resolve(&self, query: &Query, now: Timestamp) -> Result<Resolution, ResolveError> {
        walk::Walk::new(self, query.freshness, now).run(&query.name, query.wanted).await
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("dns", &self.dns.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
