#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]
// Most of this crate reads what strangers wrote.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod base32gns;
mod block;
mod data;
mod derive;
mod ecdsa;
mod field;
mod label;
mod local_state;
mod memory;
mod namestore;
mod rdata;
mod record;
mod record_type;
mod resolver;
mod revocation;
mod secret;
mod stored;
mod time;
mod tooling;
mod zone;
mod zonefile;

pub use base32gns::{BadBase32Gns, base32gns_decode, base32gns_encode};
pub use block::{BLOCK_HEADER_BYTES, Block, BlockError, MAX_BLOCK_BYTES, MAX_STORED_BLOCK_BYTES};
pub use data::{
    BoxData, DriveRecord, DriveVersion, Gns2Dns, IdentityRecord, MAX_DATA_BYTES, MAX_VALUE_BYTES, Mailbox, PeerRecord,
    PushRecord, RedirectTarget, RevokeRecord, ServiceName, ValueError, data_from_text, data_to_text, redirect_data,
};
pub use derive::{LabelKeys, StorageKey};
pub use label::{Label, MAX_LABEL_BYTES, MAX_LABELS, MAX_NAME_BYTES, Name, NameError};
pub use local_state::LocalState;
pub use memory::MemoryBlockStore;
pub use namestore::{
    EntryError, LabelEntry, Lifetime, MAX_LABEL_DATA_BYTES, MAX_LABEL_RECORDS, MAX_LIFETIME, MAX_PUBLISHED_RDATA_BYTES,
    MemoryNamestore, Namestore, NamestoreError, NamestoreStorage, PublicationState, Publish, PublishQueue,
    REPUBLISH_INTERVAL, RuleError, StorageError, StoredRecord, TOMBSTONE_LIFETIME, ZoneEntry,
};
pub use rdata::{MAX_RDATA_BYTES, RdataError, decode_rdata, encode_rdata, rdata_len};
pub use record::{Flags, Record};
pub use record_type::{RecordType, UnknownRecordType};
pub use resolver::{
    BlockStore, Candidate, DEFAULT_CACHE_BYTES, DnsClient, DnsError, FailureKind, Freshness, Hop, LocalZones,
    MAX_DNS_SERVERS, MAX_STEPS, NothingFound, Query, RecordCache, Resolution, ResolveError, Resolver, Source,
    StoreError, SuffixMap, Whose,
};
pub use revocation::{
    DIFFICULTY, EPOCH, PROOFS, PowSearch, PowStateError, REVOCATION_BYTES, Revocation, RevocationError,
    RevocationVerdict, Revocations,
};
pub use secret::ZoneSecret;
pub use stored::{StoreRefusal, StoreVerdict, check_store, newest_valid};
pub use time::Timestamp;
pub use tooling::{
    CheckedRevocation, MadeBlock, OpenedBlock, OpenedRecord, ToolError, make_block, open_block, verify_revocation,
};
pub use zone::{ZONE_ID_BYTES, ZoneError, ZoneKey, ZoneType};
pub use zonefile::{
    ExportOptions, ImportOptions, ImportedLifetime, MAX_ZONE_FILE_BYTES, SkippedLine, ZoneFileError, ZoneImport,
    export_zone_file, import_zone_file,
};

pub(crate) use namestore::rules as namestore_rules;
