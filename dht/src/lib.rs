#![doc = include_str!("../README.md")]

mod admission;
mod announce;
mod behaviour;
mod check;
mod config;
mod group;
mod known;
mod mode;
mod pace;
mod paths;
mod persist;
mod point;
mod quota;
mod rate;
mod records;
mod region;
mod replacements;
mod size;
mod store;

pub use behaviour::{Dht, Event, IdentifiedPeer, QueryNumber};
pub use config::{Config, ModeSetting};
pub use mode::{ModeRule, Observed};
pub use persist::{MemoryPersist, Persist};
pub use rate::{Floods, Trusted};
pub use records::{Checked, MAX_VALUE_BYTES, RecordKind, Reject};
pub use store::{MAX_KEYS, MAX_PROVIDERS_PER_KEY, MAX_RECORD_BYTES, MAX_RECORDS, Store};

/// Whether a node answers queries.
pub use libp2p::kad::Mode;
