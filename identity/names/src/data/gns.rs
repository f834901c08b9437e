//! The record types of RFC 9498 itself: NICK, LEHO, REDIRECT, GNS2DNS and the two delegations.

use super::{dns_name, text::Style};
use crate::{Label, MAX_NAME_BYTES, Name, NameError, RecordType, ZoneKey};

/// Longest host name in a LEHO, in bytes.
const MAX_HOST_BYTES: usize = 255;

pub(super) fn to_text(record_type: RecordType, data: &[u8]) -> Option<String> {
    let text = match record_type {
        RecordType::REDIRECT => RedirectTarget::from_data(data)?.to_string(),
        RecordType::GNS2DNS => Gns2Dns::from_data(data)?.to_string(),
        _ => std::str::from_utf8(data).ok()?.to_owned(),
    };
    // Shown in this form only if it is read back: a NICK with a dot in it is no label.
    from_text(record_type, &text).ok().map(|_| text)
}

pub(super) fn from_text(record_type: RecordType, value: &str) -> Result<Vec<u8>, &'static str> {
    match record_type {
        RecordType::NICK => {
            let label: Label = value.parse().map_err(|_| "not a label")?;
            if label.as_str() != value.trim() || value.starts_with(['"', '\\']) {
                return Err("not a label in Unicode normal form C");
            }
            Ok(label.as_bytes().to_vec())
        }
        RecordType::LEHO => {
            let good = !value.is_empty()
                && value.len() <= MAX_HOST_BYTES
                && !value.chars().any(|c| c.is_whitespace() || c.is_control())
                && !value.starts_with(['"', '\\']);
            if good { Ok(value.as_bytes().to_vec()) } else { Err("not a host name") }
        }
        RecordType::REDIRECT => {
            let target: RedirectTarget = value.parse().map_err(|_| "not a name")?;
            Ok(redirect_data(&target))
        }
        RecordType::GNS2DNS => {
            let (name, server) = value.rsplit_once('@').ok_or("there is no @ between name and server")?;
            Gns2Dns::new(name, server).map(|record| record.to_data())
        }
        RecordType::PKEY | RecordType::EDKEY => {
            let zone: ZoneKey = value.parse().map_err(|_| "not a zTLD")?;
            if zone.zone_type().record_type() == record_type {
                Ok(zone.zkey().to_vec())
            } else {
                Err("the zone is of the other type")
            }
        }
        _ => Err("this type has no text form here"),
    }
}

/// The zTLD a delegation leads to.
pub(super) fn zone_text(record_type: RecordType, data: &[u8]) -> Option<String> {
    ZoneKey::new(record_type.zone_type()?, data.try_into().ok()?).ok().map(|zone| zone.to_string())
}

/// Where a REDIRECT leads (section 5.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectTarget {
    /// A name in the same zone; `+` alone is the apex.
    Relative(Name),
    /// A name that is resolved from the beginning, in GNS or DNS.
    Absolute(Name),
}

impl RedirectTarget {
    /// Reads the data of a REDIRECT, with the zero byte at the end that the RFC wants or without it as GNUnet writes it.
    pub fn from_data(data: &[u8]) -> Option<Self> {
        let data = data.strip_suffix(&[0]).unwrap_or(data);
        if data.is_empty() || data.len() > MAX_NAME_BYTES {
            return None;
        }
        std::str::from_utf8(data).ok()?.parse().ok()
    }
}

impl std::str::FromStr for RedirectTarget {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut name: Name = text.parse()?;
        if name.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if name.last().is_some_and(|label| label.as_str() == "+") {
            name.pop();
            return Ok(Self::Relative(name));
        }
        Ok(Self::Absolute(name))
    }
}

impl std::fmt::Display for RedirectTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Relative(name) if name.is_empty() => f.write_str("+"),
            Self::Relative(name) => write!(f, "{name}.+"),
            Self::Absolute(name) => write!(f, "{name}"),
        }
    }
}

/// The data of a REDIRECT, in the RFC's form.
pub fn redirect_data(target: &RedirectTarget) -> Vec<u8> {
    let mut data = target.to_string().into_bytes();
    data.push(0);
    data
}

/// A delegation to DNS: the name that stands for the label there, and one server to ask (section 5.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gns2Dns {
    name: String,
    server: String,
}

impl Gns2Dns {
    /// Of a DNS name and a server: an address, a DNS name, or a GNS name (zTLD or ending in `.+`).
    pub fn new(name: &str, server: &str) -> Result<Self, &'static str> {
        let good = |text: &str| {
            text.len() <= MAX_NAME_BYTES
                && !text.is_empty()
                && !text.chars().any(|c| c.is_whitespace() || c.is_control())
                && !text.starts_with(['"', '\\'])
        };
        if !good(name) || name.parse::<Name>().is_err() {
            return Err("the DNS name is not a name");
        }
        if !good(server) || server.contains('@') {
            return Err("the server is not a name or an address");
        }
        Ok(Self { name: name.to_owned(), server: server.to_owned() })
    }

    /// Reads the data: two zero-terminated texts, or the name in DNS wire form as GNUnet wrote it up to 0.24.3.
    pub fn from_data(data: &[u8]) -> Option<Self> {
        if let Some(record) = Self::from_wire_form(data) {
            return Some(record);
        }
        let (name, rest) = split_at_zero(data)?;
        let (server, rest) = split_at_zero(rest)?;
        if !rest.is_empty() {
            return None;
        }
        Self::new(std::str::from_utf8(name).ok()?, std::str::from_utf8(server).ok()?).ok()
    }

    /// A first byte above 63 cannot be the length of a DNS label, so it is text.
    fn from_wire_form(data: &[u8]) -> Option<Self> {
        if data.first().is_none_or(|len| *len == 0 || *len > 63) {
            return None;
        }
        let (labels, rest) = dns_name::read(data)?;
        let (server, rest) = split_at_zero(rest)?;
        if !rest.is_empty() {
            return None;
        }
        Self::new(&dns_name::to_text(&labels, Style::Value), std::str::from_utf8(server).ok()?).ok()
    }

    /// The data, in the RFC's form.
    pub fn to_data(&self) -> Vec<u8> {
        [self.name.as_bytes(), &[0], self.server.as_bytes(), &[0]].concat()
    }

    /// The DNS name that stands for the label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server: an IP address, a name in GNS, or a name in DNS.
    pub fn server(&self) -> &str {
        &self.server
    }
}

impl std::fmt::Display for Gns2Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name, self.server)
    }
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == 0)?;
    let (text, rest) = bytes.split_at_checked(at)?;
    Some((text, rest.get(1..)?))
}
