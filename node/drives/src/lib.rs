//! Verified, versioned directories.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod ahead;
mod blob;
mod browse;
mod browsed;
mod bulk;
mod changes;
mod content;
mod engine;
mod entry;
mod error;
mod exchange;
mod folder;
mod gather;
mod gc;
mod head;
mod header;
mod heads;
mod history;
#[cfg(test)]
mod hostile_tests;
mod incoming;
mod index;
mod items;
mod kept;
mod key;
mod local_names;
mod lock;
mod loopback;
mod merge;
mod mirror;
mod network;
mod nodes;
mod own_head;
mod prefetch;
mod publish;
mod registry;
mod repair;
mod resolve;
mod rights;
mod serve;
mod session;
mod signed;
mod sources;
mod store;
mod sync;
mod topic;
mod traffic;
mod tree;
mod viewer;
mod withheld;
mod writers;

pub use blob::{
    Decoder, Encoder, GROUP_BYTES, Grain, GrainError, GroupRanges, IMPORT_SUBTREE_BYTES, ImportError, MAX_GROUPS,
    MAX_WIRE_RUNS, OutboardSink, PARENT_BYTES, Parent, Plan, ProofError, RangesError, ReadAt, SIZE_PREFIX_BYTES,
    SendError, SizeProof, Step, Subtree, Unit, group_count, hash_bytes, hash_file, hash_file_into, outboard_len,
    valid_groups,
};
pub use browse::{Content, Listing};
pub use browsed::{BrowseCounters, BrowseQuota, BrowseQuotaError, BrowseState, BrowseUsage};
pub use engine::{DriveEvent, DriveStatus, Drives, DrivesConfig, Following};
pub use entry::{Dot, Entry, EntryError, Inline, Kind, MAX_INLINE_BYTES, MAX_VERSIONS, MODE_MASK, Version};
pub use error::DriveError;
pub use exchange::{bounded, codec, frame, wire};
pub use gc::{Collected, HeldByDrive, StoreUsage};
pub use head::{Head, HeadEnvelope, MAX_HEAD_BYTES, MAX_MESSAGE_BYTES, MAX_PREV, MAX_WRITERS, VersionVector};
pub use header::{Header, MAX_HEADER_BYTES, MAX_TITLE_BYTES, Visibility};
pub use history::{At, Logged, MAX_TAG_BYTES, Restored, Retained, Undo, Undone, dropped, is_tag};
pub use key::{MAX_COMPONENT_BYTES, MAX_KEY_BYTES, PathKey, PathKeyError};
pub use local_names::MappedName;
pub use merge::{Judge, Source, merge};
pub use mirror::{Copied, CopyProgress, ExternalLinks};
pub use network::{DialError, Dialer, Duplex, PeerStream, Providers};
pub use publish::{Extent, ImportProgress, LeftOut, LocalPath, MAX_PART_PATHS, Named, Published};
pub use registry::Role;
pub use repair::{Loss, Lost, RepairProgress, Repaired};
pub use resolve::WrittenOut;
pub use rights::{NewWriter, Rights, WriterRight};
pub use serve::ServeCounters;
pub use signed::{Body, Ext, MAX_EXT_ITEMS, Signed, SignedError};
pub use store::{
    Batch, Cache, CacheError, CacheOpened, CacheTable, DEFAULT_CACHE_BYTES, KeyValue, Ledger, LedgerError, LedgerTable,
    MAX_BATCH_OPERATIONS, MAX_BITMAP_BYTES, MAX_PACK_ITEM_BYTES, MAX_ROW_BYTES, MAX_SMALL_VALUE_BYTES, MemoryCache,
    MemoryLedger, PACK_BYTES, PackError, PackItem, PackLocation, PackRecovery, Packs, RedbLedger, SledCache,
};
pub use sync::{Conflict, Synced};
pub use topic::{Proof, ReadKey, Session, Side, Topic, day_of};
pub use traffic::Flow;
pub use tree::{
    BuildError, BuiltNode, Change, Child, Diff, Expected, Listed, MAX_LEVELS, MAX_NODE_BYTES, Node, NodeError, NodeId,
    NodeSource, Range, Root, Sum, Tree, TreeBuilder, UpdateError, WalkError, update,
};
pub use withheld::Withheld;
pub use writers::{Certificate, MAX_CERTIFICATE_BYTES, MAX_PREFIX_BYTES, MAX_REVOKED, MAX_WRITER_SET_BYTES, WriterSet};
