//! `/p2pnode/drives/1`: two nodes exchange a drive (specs/drives.md, section 16).
//!
//! One *control* stream per peer and drive, then one stream per request. Everything but bulk travels in frames: length
//! (u32, big-endian), then a message. The opener says `Hello`, the acceptor answers `Nonce` with its proof that it may
//! read the drive, the opener answers `Prove` with its own and up to four requests, the acceptor `Accept` or `Refused`.
//! Then both say `Have` and `HeadAnnounce` as things change, and `Bye`.
//!
//! A request stream carries one frame `Request{session, body}`; the answer is one status frame and what belongs to the
//! request: item frames, or raw bytes. Both sides then close.
//!
//! A message is its number (u8) and a postcard body; numbers are never used again. Unknown control messages are
//! ignored; unknown requests get status 5 and the stream closes; an unknown item or status ends the stream, because what
//! follows it cannot be told apart. Trailing bytes behind a known message are refused.

mod answers;

use std::time::Duration;

use p2p_identity::{ContentId, WriterKey};
use serde::{Deserialize, Deserializer, Serialize};

use super::bounded::{Bounded, BoundedBytes};
pub use answers::{ChangeOp, ChangeRecord, Item, Presence, Status};

pub use crate::blob::MAX_WIRE_RUNS;
use crate::blob::{Grain, GroupRanges, SizeProof};
use crate::head::MAX_HEAD_BYTES;
pub use crate::head::MAX_WRITERS;
/// Most heads in one answer to `Log`.
pub const MAX_LOG_HEADS: u32 = 64;
use crate::key::MAX_KEY_BYTES;
pub use crate::tree::MAX_NODE_BYTES;

/// Name of the protocol, as streams are opened with it.
pub const PROTOCOL: &str = "/p2pnode/drives/1";

/// Largest frame we read or write, in bytes without its length prefix. A bigger prefix closes the stream.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;
/// Largest head envelope, in bytes.
pub const MAX_ENVELOPE_BYTES: usize = MAX_HEAD_BYTES;
/// Most streams one peer may have open with us.
pub const MAX_STREAMS_PER_PEER: usize = 256;
/// Most bulk streams in flight to one peer, beside control.
pub const MAX_BULK_STREAMS_PER_PEER: usize = 4;
/// Most bytes that may be asked of, or owed to, one peer at a time.
pub const MAX_OUTSTANDING_BYTES_PER_PEER: u64 = 64 * 1024 * 1024;
/// Most bytes of memory for the buffers of this service, all peers together.
pub const MAX_BUFFER_BYTES: usize = 64 * 1024 * 1024;
/// Most control streams of one connection that have not proven anything.
pub const MAX_UNPROVEN_STREAMS_PER_CONNECTION: usize = 4;
/// Most unproven control streams of one connection per minute.
pub const MAX_UNPROVEN_STREAMS_PER_MINUTE: usize = 30;
/// Most requests in `Prove`.
pub const MAX_EARLY_REQUESTS: usize = 4;
/// Longest path, as an index key, in bytes (section 4.1).
pub const MAX_PATH_BYTES: usize = MAX_KEY_BYTES;
/// Most hashes in one `Nodes`.
pub const MAX_NODES_PER_REQUEST: usize = 64;
/// Most files in one `GetMany`.
pub const MAX_FILES_PER_REQUEST: usize = 512;
/// Most bytes that the files of one `GetMany` hold together.
pub const MAX_FILE_BYTES_PER_REQUEST: u64 = 1024 * 1024;
/// Most bytes of content that `Open` may bring along.
pub const MAX_PREFETCH_BYTES: u32 = 1024 * 1024;
/// How long a request may take to its first byte.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a body may stand still, at least; see [`IDLE_ROUND_TRIPS`].
pub const MIN_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How many round trips a body may stand still where they take longer than [`MIN_IDLE_TIMEOUT`].
pub const IDLE_ROUND_TRIPS: u32 = 4;
/// How long a session lives without a control stream.
pub const SESSION_LINGER: Duration = Duration::from_secs(60);

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 16;
/// A number used once, from the system's randomness.
pub type Nonce = [u8; NONCE_BYTES];
/// A topic, a proof of capability (section 8.6).
pub type Mac = [u8; 32];
/// A signed head as received (section 5.1).
pub type Envelope = BoundedBytes<MAX_ENVELOPE_BYTES>;
/// A path as an index key (section 4.1); whether it is a good one is for the reader to check.
pub type Path = BoundedBytes<MAX_PATH_BYTES>;

/// Messages on a control stream (section 16.2). The numbers are [`Control::number`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// 1: opener's first word.
    Hello(Hello),
    /// 2: acceptor's answer and proof.
    Nonce(NonceProof),
    /// 3: opener's proof, what it has and its first requests.
    Prove(Prove),
    /// 4: the session is open.
    Accept(Accept),
    /// 5: it is not. Says no reason: probing must not tell who holds what.
    Refused,
    /// 6: what the sender holds of the drive has changed.
    Have(Have),
    /// 7: a new head.
    HeadAnnounce(HeadAnnounce),
    /// 8: the session ends.
    Bye(ByeReason),
    /// A message of a later version; ignored.
    Unknown(u8),
}

impl Control {
    /// The message's number on the wire.
    pub fn number(&self) -> u8 {
        match self {
            Self::Hello(_) => 1,
            Self::Nonce(_) => 2,
            Self::Prove(_) => 3,
            Self::Accept(_) => 4,
            Self::Refused => 5,
            Self::Have(_) => 6,
            Self::HeadAnnounce(_) => 7,
            Self::Bye(_) => 8,
            Self::Unknown(number) => *number,
        }
    }
}

/// What the opener gives away before the acceptor has proven itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Topic of the drive, today's or of a neighbouring day.
    pub topic: Mac,
    /// The opener's nonce.
    pub nonce: Nonce,
}

/// The acceptor's nonce and proof; for an unknown topic the proof is random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NonceProof {
    /// The acceptor's nonce.
    pub nonce: Nonce,
    /// proof(1) of section 8.6.
    pub proof: Mac,
}

/// The opener's proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prove {
    /// proof(0) of section 8.6.
    pub proof: Mac,
    /// What the opener holds.
    pub summary: Summary,
    /// Answered as if sent on streams of their own right after `Accept`.
    pub requests: Bounded<Request, MAX_EARLY_REQUESTS>,
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// Names the session in requests, on any connection of this peer.
    pub session: u32,
    /// What the acceptor holds.
    pub summary: Summary,
}

/// What a node holds of a drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Root of the merged state (section 5.2).
    pub root: ContentId,
    /// The newest head of each writer.
    pub vector: VectorList,
    /// Whether it holds everything below `root`.
    pub complete: bool,
}

/// A version vector on the wire: writers strictly ascending, counters from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VectorList(Bounded<VectorEntry, MAX_WRITERS>);

/// The newest counter of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorEntry {
    /// The writer.
    pub writer: WriterKey,
    /// Counter of its newest head, from 1.
    pub counter: u64,
}

impl VectorList {
    /// A vector of these entries; `None` if they are too many, not strictly ascending, or a counter is 0.
    pub fn new(entries: Vec<VectorEntry>) -> Option<Self> {
        Self::checked(entries.try_into().ok()?)
    }

    /// The entries, by writer.
    pub fn entries(&self) -> &[VectorEntry] {
        &self.0
    }

    fn checked(entries: Bounded<VectorEntry, MAX_WRITERS>) -> Option<Self> {
        let ascending = entries.is_sorted_by(|a, b| a.writer < b.writer);
        (ascending && entries.iter().all(|entry| entry.counter > 0)).then_some(Self(entries))
    }
}

impl<'de> Deserialize<'de> for VectorList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Bounded::deserialize(deserializer)?;
        Self::checked(entries).ok_or_else(|| serde::de::Error::custom("version vector out of order"))
    }
}

/// A change of what the sender holds. Several follow each other where the runs are too many for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// The root whose pieces are counted, in index order.
    pub root: ContentId,
    /// Numbers of pieces (not groups) that came to what was said before of this root; coded alike.
    pub added: GroupRanges,
    /// Whether the sender now holds everything below `root`.
    pub complete: bool,
}

/// A head that the receiver may not have, after the heads it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadAnnounce {
    /// The head as received.
    pub envelope: Envelope,
}

/// Why a session ends. A number of a later version counts as `DONE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByeReason(pub u8);

impl ByeReason {
    /// Nothing more to do here.
    pub const DONE: Self = Self(0);
    /// The node stops.
    pub const STOPPING: Self = Self(1);
    /// The drive is not served any more.
    pub const NOT_SERVED: Self = Self(2);
    /// The peer broke the protocol or a limit.
    pub const MISBEHAVED: Self = Self(3);
}

/// A request frame: first thing on a request stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFrame {
    /// From `Accept`.
    pub session: u32,
    /// What is asked.
    pub request: Request,
}

/// What can be asked (section 16.3). The numbers are [`Request::number`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// 1: heads, the nodes on a path and what a site wants first. Answer: items `Head`, `Node`, `Blob`, `End`.
    Open(Open),
    /// 2: index nodes, drive header, writer set. Answer: per hash a length (u32, 0 = not held) and bytes.
    Nodes(Nodes),
    /// 3: what changed. Answer: items `Head`, `Change`, `End`.
    Changes(Changes),
    /// 4: part of a blob. Answer: u64 size, then the verified stream.
    Get(Get),
    /// 5: small files. Answer: presence bitmap, then the files, one after the other.
    GetMany(GetMany),
    /// 6: newest heads. Answer: items `Head`, `End`.
    Heads(Heads),
    /// 9: earlier versions that are still kept. Answer: items `Head`, `End`.
    Log(Log),
    /// 7 and 8 are reserved for range-based set reconciliation and cut lists; these and all higher ones get status 5.
    Unknown(u8),
}

impl Request {
    /// The request's number on the wire.
    pub fn number(&self) -> u8 {
        match self {
            Self::Open(_) => 1,
            Self::Nodes(_) => 2,
            Self::Changes(_) => 3,
            Self::Get(_) => 4,
            Self::GetMany(_) => 5,
            Self::Heads(_) => 6,
            Self::Log(_) => 9,
            Self::Unknown(number) => *number,
        }
    }
}

/// Everything for a first look at a drive, in one round trip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Hash of the head wanted; else the newest of each writer.
    pub head: Option<ContentId>,
    /// Path whose nodes are wanted.
    pub path: Option<Path>,
    /// Bytes of prefetched content that may come along, at most [`MAX_PREFETCH_BYTES`].
    pub prefetch_bytes: u32,
}

/// Objects of the index by hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nodes {
    /// Their hashes.
    pub hashes: Bounded<ContentId, MAX_NODES_PER_REQUEST>,
}

/// What a publisher's log says since a vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// What the asker has merged.
    pub since: VectorList,
    /// Go on behind this record.
    pub after: Option<ChangePlace>,
    /// Most records to send.
    pub max: u32,
}

/// The place of a record in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangePlace {
    /// Who changed.
    pub writer: WriterKey,
    /// With which head.
    pub counter: u64,
    /// The how-manieth change of that head.
    pub ordinal: u32,
}

/// Part of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// The blob.
    pub hash: ContentId,
    /// Groups wanted; widened to whole units.
    pub ranges: GroupRanges,
    /// Size of a unit.
    pub grain: Grain,
    /// Whether the last unit is wanted as well.
    #[serde(with = "size_proof")]
    pub size_proof: SizeProof,
}

/// Several small files, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetMany {
    /// The files; together at most [`MAX_FILE_BYTES_PER_REQUEST`].
    pub files: Bounded<FileRef, MAX_FILES_PER_REQUEST>,
}

/// A file as the index names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Hash of its content.
    pub hash: ContentId,
    /// Its size in bytes.
    pub size: u64,
}

/// Newest heads beyond a vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    /// What the asker has.
    pub after: VectorList,
}

/// Heads of earlier versions, newest first: whatever the asked still keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Only the owner's head with this counter; 0 for all heads.
    pub counter: u64,
    /// Only heads whose clock is below this.
    pub before_hlc: u64,
    /// Most heads to send, at most [`MAX_LOG_HEADS`].
    pub max: u32,
}

/// [`SizeProof`] as a postcard bool.
mod size_proof {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::blob::SizeProof;

    pub(super) fn serialize<S: Serializer>(proof: &SizeProof, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*proof == SizeProof::Yes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SizeProof, D::Error> {
        Ok(if bool::deserialize(deserializer)? { SizeProof::Yes } else { SizeProof::No })
    }
}
