//! BOX (RFC 9498, 5.3.3): u16 protocol, u16 service, u32 type, and the data of a record for that service.

use std::str::FromStr;

use super::{
    MAX_DATA_BYTES, ValueError, data_from_tokens, invalid,
    text::{Style, Token},
    to_text as value_text,
};
use crate::{Label, RecordType};

/// Protocols by name.
const PROTOCOLS: [(&str, u16); 5] = [("tcp", 6), ("udp", 17), ("sctp", 132), ("dccp", 33), ("icmp", 1)];
/// IP protocols are numbers of one byte.
const MAX_PROTOCOL: u16 = 255;
/// Services that people write by name in `_service._protocol`.
const SERVICES: [(&str, u16); 26] = [
    ("ftp", 21),
    ("ssh", 22),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("kerberos", 88),
    ("pop3", 110),
    ("ntp", 123),
    ("imap", 143),
    ("ldap", 389),
    ("https", 443),
    ("submissions", 465),
    ("submission", 587),
    ("ldaps", 636),
    ("domain-s", 853),
    ("imaps", 993),
    ("pop3s", 995),
    ("mqtt", 1883),
    ("sip", 5060),
    ("sips", 5061),
    ("xmpp-client", 5222),
    ("xmpp-server", 5269),
    ("coap", 5683),
    ("coaps", 5684),
    ("secure-mqtt", 8883),
    ("matrix-fed", 8448),
];

/// A service of a host, written `_443._tcp` in names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// IP protocol number: 6 TCP, 17 UDP.
    pub protocol: u16,
    /// Port.
    pub service: u16,
}

impl ServiceName {
    /// Of two labels such as `_443` and `_tcp`, or `_https` and `_tcp`; `None` if they are something else.
    pub fn from_labels(service: &Label, protocol: &Label) -> Option<Self> {
        let protocol = number_or_name(protocol.as_str().strip_prefix('_')?, &PROTOCOLS)?;
        let service = number_or_name(service.as_str().strip_prefix('_')?, &SERVICES)?;
        Some(Self { protocol, service })
    }
}

fn number_or_name(text: &str, names: &[(&str, u16)]) -> Option<u16> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| *number)
}

/// The parts of a BOX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoxData {
    /// Whose record it is.
    pub service: ServiceName,
    /// The type of the record inside.
    pub record_type: RecordType,
    /// Its data.
    pub data: Vec<u8>,
}

impl BoxData {
    /// Reads the data of a BOX; `None` when it is shorter than its header.
    pub fn from_data(bytes: &[u8]) -> Option<Self> {
        let (protocol, rest) = bytes.split_first_chunk::<2>()?;
        let (service, rest) = rest.split_first_chunk::<2>()?;
        let (record_type, data) = rest.split_first_chunk::<4>()?;
        let service = ServiceName { protocol: u16::from_be_bytes(*protocol), service: u16::from_be_bytes(*service) };
        Some(Self { service, record_type: RecordType::new(u32::from_be_bytes(*record_type)), data: data.to_vec() })
    }

    /// The data of the BOX.
    pub fn to_data(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.data.len().min(MAX_DATA_BYTES));
        out.extend(self.service.protocol.to_be_bytes());
        out.extend(self.service.service.to_be_bytes());
        out.extend(self.record_type.number().to_be_bytes());
        out.extend_from_slice(&self.data);
        out
    }
}

pub(super) fn to_text(data: &[u8], style: Style) -> Option<String> {
    let boxed = BoxData::from_data(data)?;
    // A box in a box means nothing, and would let a stranger choose how deep we recurse.
    if boxed.record_type == RecordType::BOX || boxed.service.protocol > MAX_PROTOCOL {
        return None;
    }
    // Texts keep their quotes inside a box, so that the words around them stay apart.
    let inner_style =
        if boxed.record_type.is_dns() && !is_free_text(boxed.record_type) { style } else { Style::Master };
    let ServiceName { protocol, service } = boxed.service;
    let value = value_text(boxed.record_type, &boxed.data, inner_style);
    Some(format!("{protocol} {service} {} {value}", boxed.record_type))
}

fn is_free_text(record_type: RecordType) -> bool {
    matches!(record_type, RecordType::TXT | RecordType::SPF)
}

pub(super) fn from_tokens(tokens: &[Token<'_>]) -> Result<Vec<u8>, ValueError> {
    let fail = |reason| invalid(RecordType::BOX, reason);
    let [protocol, service, record_type, value @ ..] = tokens else {
        return Err(fail("a part is missing"));
    };
    let service = ServiceName {
        protocol: number_or_name(protocol.raw, &PROTOCOLS)
            .filter(|number| *number <= MAX_PROTOCOL)
            .ok_or_else(|| fail("not a protocol"))?,
        service: number_or_name(service.raw, &SERVICES).ok_or_else(|| fail("not a port or service"))?,
    };
    let record_type = RecordType::from_str(record_type.raw).map_err(|_| fail("not a record type"))?;
    if record_type == RecordType::BOX {
        return Err(fail("a box cannot hold a box"));
    }
    let data = data_from_tokens(record_type, value)?;
    Ok(BoxData { service, record_type, data }.to_data())
}
