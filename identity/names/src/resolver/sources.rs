//! What the resolver needs of the rest of the program; the node implements these.

use std::{net::IpAddr, time::Duration};

use async_trait::async_trait;
use thiserror::Error;

use crate::{Block, Label, Name, Record, RecordType, StorageKey, Timestamp, ZoneKey};

/// Most servers that one GNS2DNS set leads to; further ones are not looked for.
pub const MAX_DNS_SERVERS: usize = 8;

/// Why the store gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nobody answered in time.
    #[error("nobody answered in time")]
    Timeout,
    /// There is nobody to ask, or a disk failed.
    #[error("the store cannot be reached: {0}")]
    Unreachable(String),
}

/// A block that a store found. It may be forged: the resolver checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The block.
    pub block: Vec<u8>,
    /// Who gave it, for people: `dht`, `cache`, a peer id.
    pub source: String,
    /// How long ago it came from the network; zero if just now.
    pub age: Duration,
}

/// Where blocks lie: on the DHT, or in memory for tests.
#[async_trait]
pub trait BlockStore: Send + Sync {
    /// Every block found under `key`, in any order. Several answers are waited for, as far as there are, so that an old
    /// or forged one does not hide the newest. None is `Ok` of an empty list.
    async fn get(&self, key: &StorageKey) -> Result<Vec<Candidate>, StoreError>;

    /// Stores a block; how many other nodes have it now.
    async fn put(&self, key: &StorageKey, block: &Block) -> Result<usize, StoreError>;
}

/// What this node knows by itself.
pub trait LocalZones: Send + Sync {
    /// The zone for exactly this suffix of one or more labels: configured ones first, then local zone names.
    fn zone_of_suffix(&self, suffix: &Name) -> Option<ZoneKey>;

    /// The records under a label of a zone that this node owns, private ones too, with absolute expirations;
    /// `None` if the zone is not ours.
    fn records(&self, zone: &ZoneKey, label: &Label, now: Timestamp) -> Result<Option<Vec<Record>>, StoreError>;

    /// Whether the zone is revoked.
    fn is_revoked(&self, zone: &ZoneKey, now: Timestamp) -> bool;
}

/// Why DNS gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DnsError {
    /// The name does not exist there.
    #[error("no such name in DNS")]
    NotFound,
    /// Nobody answered in time.
    #[error("no DNS server answered in time")]
    Timeout,
    /// DNS is switched off by the user.
    #[error("DNS is switched off")]
    Disabled,
    /// None of the servers that the zone names has an address.
    #[error("no DNS server with an address is named")]
    NoServer,
    /// Only one's own zones may lead to servers on this computer or in its local network: a stranger's zone must not make
    /// this node knock there.
    #[error("the DNS servers that are named are on this computer or in the local network, and the zone is not ours")]
    LocalServer,
    /// The servers answered with a failure.
    #[error("DNS failed: {0}")]
    Failed(String),
}

/// Whose zone leads into DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// One of this node's own.
    Own,
    /// That of somebody else.
    Stranger,
}

/// Asks DNS. Records come back with data in the form GNS uses: names uncompressed, TXT as one text without length bytes.
#[async_trait]
pub trait DnsClient: Send + Sync {
    /// Asks these servers, at most [`MAX_DNS_SERVERS`], each until one answers, and follows DNS from there. `wanted` `None`:
    /// A and AAAA at least. Whether `whose` zone may name such servers is for the client to judge.
    async fn query(
        &self,
        servers: &[IpAddr],
        whose: Whose,
        name: &str,
        wanted: Option<RecordType>,
        now: Timestamp,
    ) -> Result<Vec<Record>, DnsError>;

    /// Asks the system's resolver.
    async fn lookup(&self, name: &str, wanted: Option<RecordType>, now: Timestamp) -> Result<Vec<Record>, DnsError>;
}
