//! Forms on the socket that server and client share (overlay.md 2.2, 2.3): lines of JSON, byte ranges, limits.
//!
//! A stream is one JSON value a line (`application/x-ndjson`). When it fails midway its last line is an [`ErrorLine`].

pub(crate) mod base64;
mod lines;
mod nesting;
mod query;
mod range;

use serde::{Deserialize, Serialize};

pub use lines::{LineSplitter, LineTooLong, json_lines, lines, parse_line};
pub use nesting::is_nested_deeper;
pub use query::{encode_component, encode_path, query_value};
pub use range::ByteRange;

use crate::Problem;

/// Largest body of a request that is no stream, in bytes (overlay.md 2.2).
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Largest block of request line and headers, in bytes (overlay.md 2.2).
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Deepest JSON that is parsed, in levels of arrays and objects (overlay.md 2.2).
pub const MAX_JSON_DEPTH: usize = 32;
/// Longest line of a streamed request, in bytes. A path of 4,096 bytes, each escaped, takes less than half of it.
pub const MAX_LINE_BYTES: usize = 64 * 1024;
/// Longest line of a streamed answer that a client takes, in bytes: a list of skipped paths can be long.
pub const MAX_ANSWER_LINE_BYTES: usize = 16 * 1024 * 1024;

/// Media type of one JSON value.
pub const JSON: &str = "application/json";
/// Media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Media type of one JSON value a line.
pub const NDJSON: &str = "application/x-ndjson";
/// Media type of plain bytes.
pub const BYTES: &str = "application/octet-stream";
/// The `Upgrade` to a byte stream, full duplex (overlay.md 2.3).
pub const UPGRADE_STREAM: &str = "p2p-stream";
/// The `Upgrade` to datagrams: a u16 length (big-endian) and that many bytes each.
pub const UPGRADE_DATAGRAMS: &str = "p2p-dgram";
/// Header of a stream's answer: the peer at its other end.
pub const STREAM_PEER: &str = "p2p-peer";
/// Header of a stream's answer: the way it takes, `lan`, `direct` or `relayed`.
pub const STREAM_PATH: &str = "p2p-path";
/// A header that makes repeating a write harmless (overlay.md 2.2): the node answers a second call with the same key as
/// it answered the first, for 24 hours.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Media type of server-sent events.
pub const EVENT_STREAM: &str = "text/event-stream";

/// The last line of a stream that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorLine {
    /// What went wrong.
    pub error: Problem,
}
