#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod app;
mod apps;
pub mod doctor;
mod drives;
mod error;
mod events;
pub mod files;
pub mod gateway;
mod health;
mod history;
mod identity;
mod keystore;
mod names;
mod nat;
mod network;
mod node;
mod openapi;
pub mod page;
mod people;
mod picks;
pub mod routes;
pub mod socket;
mod storage;
mod streams;
#[cfg(feature = "testing")]
pub mod testing;
mod topics;
mod values;
pub mod wire;
mod writers;

pub use app::{App, AppBody, AppRequest, AppResponse, MAX_APP_REQUEST_BYTES};
pub use apps::{AppInfo, AppManifest, AppState, DecideApp, MAX_APP_ID_BYTES, MAX_SCOPES, Scope, Whom, check_app_id};
pub use drives::{
    Change, Content, DriveInfo, DriveRole, EntryKind, Follow, Import, ImportEvent, LocalName, MAX_PART_LINES, Named,
    NewDrive, Open, Progress, ReadRange, Removed, Skipped, TransferEvent, TreeEntry, TreeQuery, WithheldVersion,
};
pub use error::{ApiError, ErrorKind, Problem, Result};
pub use events::{Event, EventQuery, EventStream};
pub use health::{Bound, BoundUnit, ClockCheck, Health};
pub use history::{
    DEFAULT_LOG, DiffEntry, DiffKind, History, HistoryContract, LogQuery, MAX_LOG, NewTag, Restore, Restored, Tag,
    VersionInfo,
};
pub use identity::{APP_SIGNATURE_DOMAIN, Identity, MAX_CONTEXT_BYTES, Sign, Signature, signed_message};
pub use keystore::{Keystore, KeystoreContract, KeystoreInfo, Lock, LockLevel, Passphrase, SetPassphrase};
pub use names::{
    ImportZoneFile, ImportedZoneFile, NameChange, NameRecord, Names, NamesContract, NewZone, Publication, Published,
    RemoveRecords, RemovedZone, ResolveName, Resolved, RevokeZone, Revoking, SetRecord, SkippedRecord, WhoAmI,
    ZoneFile, ZoneInfo, ZoneKind, ZoneRecord, ZoneRecords, ZoneSecretText, is_name,
};
pub use nat::{NatFiltering, NatInfo, NatMapping, NatTransport, Outlook};
pub use network::{
    DEFAULT_TIMEOUT, DhtMode, DialRequest, Dialed, LanInfo, NodeInfo, PathKind, PeerInfo, PeerPath, Ping, PortMapping,
    PortMappingState, Provider, Reachability,
};
pub use node::{Contract, Dht, Drives, Node, Peers, Stream};
pub use openapi::{openapi, openapi_json};
/// The ids and links that the contract speaks of, for apps, which depend on this crate alone.
pub use p2p_identity::{
    ContentId, DriveId, IdentityId, Link, LinkError, LinkParts, PeerId, Target, VersionRef, WriterKey,
};
pub use people::{
    AcceptInvite, Accepted, AskWriterKey, ContactInfo, CreatedIdentity, CreatedInvite, IdentityInfo, InviteInfo,
    InviteState, NewIdentity, NewInvite, People, PeopleContract, RenameContact, Verified, VerifyContact,
};
pub use picks::{
    AnswerPick, MAX_PICK_REASON_BYTES, MAX_PICKS, MAX_PICKS_PER_APP, PICK_LIFE_S, PickContact, PickInfo, PickState,
    PickedContact,
};
pub use storage::{
    BrowsedState, BrowsedUsage, DriveUsage, Flow, Freed, Loss, Lost, RepairEvent, Repaired, StorageUsage, Traffic,
};
pub use streams::{
    APP_PROTOCOL_PREFIX, AppStream, Datagrams, DialStream, Duplex, ListenStream, MAX_DATAGRAM_BYTES,
    MAX_PROTOCOL_BYTES, StreamPath, Streams, app_of_protocol,
};
pub use topics::{MAX_MESSAGE_BYTES, MAX_TOPIC_BYTES, PublishedMessage, TopicMessage, Topics, check_topic};
pub use values::{MAX_VALUE_BYTES, MAX_VALUE_NAME_BYTES, MAX_VALUE_SECONDS, PutValue, SignedValue, StoredValue};
pub use writers::{
    ConflictInfo, ConflictVersion, DriveWriters, NewWriter, OwnWriterKey, RevokedWriter, SyncEvent, WriterInfo,
    Writers, WritersContract, WrittenConflict,
};
