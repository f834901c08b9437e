//! From labels of GNS to a zone file.

use std::fmt::Write;

use crate::{
    BoxData, Flags, Label, Lifetime, RecordType, StoredRecord, Timestamp, ZoneKey,
    data::{data_to_master_text, escape_word},
};

/// Longest TTL that DNS allows, in seconds (RFC 2181, section 8).
const MAX_TTL_SECS: u64 = (1 << 31) - 1;

/// What is written.
#[derive(Debug, Clone, Copy)]
pub struct ExportOptions {
    /// The zone, for `$ORIGIN`.
    pub zone: ZoneKey,
    /// Now, for TTLs of records that end at a fixed time.
    pub now: Timestamp,
}

/// Writes a zone file of public records. Private ones are left out, since the format cannot say that they are; shadow
/// records stand in comments, where reading the file back does not wake them. Reading it back gives the rest again.
pub fn export_zone_file<'a>(
    options: &ExportOptions,
    labels: impl IntoIterator<Item = (&'a Label, &'a [StoredRecord])>,
) -> String {
    let mut out = format!("$ORIGIN {}.\n", options.zone);
    for (label, records) in labels {
        for record in records.iter().filter(|record| !record.is_private()) {
            let Some(ttl) = ttl_secs(record, options.now) else {
                continue;
            };
            let comment = if record.flags.contains(Flags::SHADOW) { "; shadow: " } else { "" };
            let (owner, record_type, value) = line_of(label, record);
            let _ = writeln!(out, "{comment}{owner}\t{ttl}\tIN\t{record_type}\t{value}");
        }
    }
    out
}

/// `None` when the record has expired.
fn ttl_secs(record: &StoredRecord, now: Timestamp) -> Option<u64> {
    let secs = match record.lifetime {
        Lifetime::For(duration) => duration.as_secs(),
        Lifetime::Until(end) if end <= now => return None,
        Lifetime::Until(end) => end.since(now).as_secs(),
    };
    Some(secs.clamp(1, MAX_TTL_SECS))
}

/// Boxes of DNS records are written as DNS does, under `_port._protocol`.
fn line_of(label: &Label, record: &StoredRecord) -> (String, RecordType, String) {
    let owner = if label.is_apex() { "@".to_owned() } else { escape_word(label.as_str()) };
    if record.record_type == RecordType::BOX
        && let Some(boxed) = BoxData::from_data(&record.data)
        && boxed.record_type.is_dns()
        && let Some(protocol) = match boxed.service.protocol {
            6 => Some("tcp"),
            17 => Some("udp"),
            132 => Some("sctp"),
            _ => None,
        }
    {
        let port = boxed.service.service;
        let owner = if label.is_apex() { String::new() } else { format!(".{owner}") };
        let value = data_to_master_text(boxed.record_type, &boxed.data);
        return (format!("_{port}._{protocol}{owner}"), boxed.record_type, value);
    }
    (owner, record.record_type, data_to_master_text(record.record_type, &record.data))
}
