//! The data of records, between bytes and the text people type.
//!
//! A value that cannot be shown in the form of its type, or a type that is not known, is shown as `\# length hex`
//! (RFC 3597), so that no byte is ever lost: reading the text of any data gives the same data again, but for the old
//! encodings that GNUnet wrote (specs/names.md, 8.1), which come back in the RFC's, and P2PPUSH, whose text hides a key.

mod boxed;
mod dns_name;
mod drive;
mod gns;
mod identity;
mod multiaddr;
mod peer;
mod push;
mod revoke;
mod schema;
mod svcb;
mod tagged;
mod text;

use thiserror::Error;

pub use boxed::{BoxData, ServiceName};
pub use drive::{DriveRecord, DriveVersion};
pub use gns::{Gns2Dns, RedirectTarget, redirect_data};
pub use identity::IdentityRecord;
pub use peer::PeerRecord;
pub use push::{Mailbox, PushRecord};
pub use revoke::RevokeRecord;
pub(crate) use schema::seconds;
pub(crate) use text::{Token, escape_word};

use crate::{
    RecordType,
    data::text::{Style, tokens},
};

/// Longest data of one record, in bytes: its length is a 16-bit number.
pub const MAX_DATA_BYTES: usize = 65_535;
/// Longest text of one value, in bytes: all data as four-character escapes.
pub const MAX_VALUE_BYTES: usize = 4 * MAX_DATA_BYTES;

/// A text is not a value of its record type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Something in the text is wrong.
    #[error("not a value of type {record_type}: {reason}; expected {expected}")]
    Invalid {
        /// The type it should be of.
        record_type: RecordType,
        /// What is wrong.
        reason: &'static str,
        /// What such values look like.
        expected: &'static str,
    },
    /// Longer than a record can carry.
    #[error("the value has {0} bytes, at most {MAX_DATA_BYTES}")]
    TooLong(usize),
}

/// The text of a record's data, as `p2p name set` takes it. Never fails: see the RFC 3597 form above.
pub fn data_to_text(record_type: RecordType, data: &[u8]) -> String {
    to_text(record_type, data, Style::Value)
}

/// The text of a record's data, as it stands in a master file: names end with a dot, texts are quoted.
pub(crate) fn data_to_master_text(record_type: RecordType, data: &[u8]) -> String {
    to_text(record_type, data, Style::Master)
}

fn to_text(record_type: RecordType, data: &[u8], style: Style) -> String {
    typed_text(record_type, data, style).unwrap_or_else(|| text::generic(data))
}

fn typed_text(record_type: RecordType, data: &[u8], style: Style) -> Option<String> {
    match record_type {
        RecordType::TXT | RecordType::SPF => Some(text::free_text(data, style)),
        RecordType::NICK | RecordType::LEHO | RecordType::REDIRECT | RecordType::GNS2DNS => {
            gns::to_text(record_type, data).map(|value| text::styled(&value, style))
        }
        RecordType::PKEY | RecordType::EDKEY => gns::zone_text(record_type, data),
        RecordType::BOX => boxed::to_text(data, style),
        RecordType::SVCB | RecordType::HTTPS => svcb::to_text(data, style),
        RecordType::P2PPEER => PeerRecord::from_data(data)?.to_text().map(|value| text::styled(&value, style)),
        RecordType::P2PDRIVE => DriveRecord::from_data(data)?.to_text().map(|value| text::styled(&value, style)),
        // The text leaves the topic key out: it is for eyes, not for files.
        RecordType::P2PPUSH if style == Style::Value => PushRecord::from_data(data)?.to_text(),
        RecordType::P2PIDENTITY => IdentityRecord::from_data(data).map(|record| text::styled(&record.to_text(), style)),
        RecordType::P2PREVOKE => RevokeRecord::from_data(data).map(|record| text::styled(&record.to_text(), style)),
        _ => schema::to_text(record_type, data, style),
    }
}

/// Reads a value as `p2p name set` takes it. TXT, NICK, LEHO and REDIRECT take the text as it is, unless it begins with a
/// quotation mark; all types take the RFC 3597 form.
pub fn data_from_text(record_type: RecordType, value: &str) -> Result<Vec<u8>, ValueError> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(ValueError::TooLong(value.len()));
    }
    let trimmed = value.trim();
    let data = if trimmed.starts_with("\\#") || trimmed.starts_with('"') {
        let tokens = tokens(trimmed).map_err(|reason| invalid(record_type, reason))?;
        data_from_tokens(record_type, &tokens)?
    } else {
        match record_type {
            RecordType::TXT | RecordType::SPF => value.as_bytes().to_vec(),
            _ if takes_plain_text(record_type) => typed_value(record_type, trimmed)?,
            _ => {
                let tokens = tokens(trimmed).map_err(|reason| invalid(record_type, reason))?;
                data_from_tokens(record_type, &tokens)?
            }
        }
    };
    checked(data)
}

/// Reads the value of a master file, already split into tokens.
pub(crate) fn data_from_tokens(record_type: RecordType, tokens: &[Token<'_>]) -> Result<Vec<u8>, ValueError> {
    let fail = |reason| invalid(record_type, reason);
    if let Some(data) = text::read_generic(tokens).map_err(fail)? {
        return checked(data);
    }
    let data = match record_type {
        RecordType::TXT | RecordType::SPF => text::joined_text(tokens).map_err(fail)?,
        _ if takes_plain_text(record_type) => typed_value(record_type, &text::one_text(tokens).map_err(fail)?)?,
        RecordType::BOX => boxed::from_tokens(tokens)?,
        RecordType::SVCB | RecordType::HTTPS => svcb::from_tokens(tokens).map_err(fail)?,
        _ => schema::from_tokens(record_type, tokens).map_err(fail)?,
    };
    checked(data)
}

/// Whether the word at this place of a value is a DNS name, which may be relative in a master file.
pub(crate) fn is_name_at(record_type: RecordType, at: usize) -> bool {
    match record_type {
        RecordType::SVCB | RecordType::HTTPS => at == 1,
        _ => schema::is_name_at(record_type, at),
    }
}

/// The labels of data that is one DNS name: NS, CNAME and the like.
pub(crate) fn read_name(data: &[u8]) -> Option<Vec<String>> {
    let (labels, rest) = dns_name::read(data)?;
    let labels = labels.into_iter().map(|label| String::from_utf8(label.to_vec()).ok()).collect::<Option<_>>()?;
    Some(labels).filter(|_| rest.is_empty())
}

/// The byte that follows a backslash in a name or text.
pub(crate) fn escaped_byte(bytes: &mut std::str::Bytes<'_>) -> Result<u8, &'static str> {
    text::escaped_byte(bytes)
}

/// Types whose text is not made of quoted and escaped parts.
fn takes_plain_text(record_type: RecordType) -> bool {
    matches!(
        record_type,
        RecordType::NICK
            | RecordType::LEHO
            | RecordType::REDIRECT
            | RecordType::GNS2DNS
            | RecordType::PKEY
            | RecordType::EDKEY
            | RecordType::P2PPEER
            | RecordType::P2PDRIVE
            | RecordType::P2PREVOKE
            | RecordType::P2PIDENTITY
    )
}

fn typed_value(record_type: RecordType, value: &str) -> Result<Vec<u8>, ValueError> {
    match record_type {
        RecordType::P2PPEER => PeerRecord::from_text(value).map(|record| record.to_data()),
        RecordType::P2PDRIVE => DriveRecord::from_text(value).map(|record| record.to_data()),
        RecordType::P2PIDENTITY => IdentityRecord::from_text(value).map(|record| record.to_data()),
        RecordType::P2PREVOKE => RevokeRecord::from_text(value).map(|record| record.to_data()),
        _ => gns::from_text(record_type, value),
    }
    .map_err(|reason| invalid(record_type, reason))
}

fn checked(data: Vec<u8>) -> Result<Vec<u8>, ValueError> {
    if data.len() > MAX_DATA_BYTES { Err(ValueError::TooLong(data.len())) } else { Ok(data) }
}

fn invalid(record_type: RecordType, reason: &'static str) -> ValueError {
    ValueError::Invalid { record_type, reason, expected: expected(record_type) }
}

/// What the values of a type look like, for error messages.
fn expected(record_type: RecordType) -> &'static str {
    match record_type {
        RecordType::TXT | RecordType::SPF => "a text",
        RecordType::NICK => "a label",
        RecordType::LEHO => "a host name",
        RecordType::REDIRECT => "a name; one that ends in .+ stays in the zone",
        RecordType::GNS2DNS => "DNS-NAME@SERVER, the server an address or a name",
        RecordType::PKEY | RecordType::EDKEY => "the zTLD of a zone of this type",
        RecordType::BOX => "PROTOCOL PORT TYPE VALUE, such as 6 443 TLSA 3 1 1 …",
        RecordType::SVCB | RecordType::HTTPS => "PRIORITY TARGET [KEY=VALUE]…",
        RecordType::P2PPEER => "PEER-ID [device=…] [thing=…] [addr=…]…",
        RecordType::P2PDRIVE => "p2p://… [seed=PEER-ID]…",
        RecordType::P2PIDENTITY => "NUMBER:HASH GENESIS-LINK [CERTIFICATE]…, in base64url",
        RecordType::P2PREVOKE => "BASE64URL… [more=LABELS]",
        _ => schema::expected(record_type).unwrap_or("\\# LENGTH HEX"),
    }
}

#[cfg(test)]
mod tests;
