#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod app;
mod drives;
mod error;
mod events;
pub mod files;
pub mod gateway;
mod history;
mod names;
mod network;
mod node;
mod openapi;
pub mod routes;
pub mod socket;
#[cfg(feature = "testing")]
pub mod testing;
pub mod wire;
mod writers;

pub use app::{App, AppBody, AppRequest, AppResponse, MAX_APP_REQUEST_BYTES};
pub use drives::{
    Change, Content, DriveInfo, DriveRole, EntryKind, Follow, Import, ImportEvent, NewDrive, Open, Progress, ReadRange,
    Removed, Skipped, TransferEvent, TreeEntry, TreeQuery,
};
pub use error::{ApiError, ErrorKind, Problem, Result};
pub use events::{Event, EventQuery, EventStream};
pub use history::{
    DiffEntry, DiffKind, History, HistoryContract, LogQuery, MAX_LOG, NewTag, Restore, Restored, Tag, VersionInfo,
};
pub use names::{
    ImportZoneFile, ImportedZoneFile, NameChange, NameRecord, Names, NamesContract, NewZone, Publication, Published,
    RemoveRecords, ResolveName, Resolved, RevokeZone, Revoking, SetRecord, SkippedRecord, WhoAmI, ZoneFile, ZoneInfo,
    ZoneKind, ZoneRecord, ZoneSecretText, is_name,
};
pub use network::{
    DEFAULT_TIMEOUT, DhtMode, DialRequest, Dialed, NodeInfo, PathKind, PeerInfo, Ping, Provider, Reachability,
};
pub use node::{Contract, Dht, Drives, Node, Peers, Stream};
pub use openapi::{openapi, openapi_json};
/// The ids and links that the contract speaks of, for apps, which depend on this crate alone.
pub use p2p_identity::{ContentId, DriveId, Link, LinkError, LinkParts, PeerId, Target, VersionRef, WriterKey};
pub use writers::{
    ConflictInfo, ConflictVersion, DriveWriters, NewWriter, OwnWriterKey, RevokedWriter, SyncEvent, WriterInfo,
    Writers, WritersContract, WrittenConflict,
};
