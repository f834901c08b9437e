//! Numbers and names of record types.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::ZoneType;

/// The type of a record: below 65,536 a DNS type, from there on the registry "GNS Record Types". Text form: its name, or
/// `TYPE` and the number (RFC 3597).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(u32);

/// A text is neither the name of a record type nor `TYPE` and a number.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a record type")]
pub struct UnknownRecordType(String);

/// Longest text that can name a type, in bytes; keeps error messages short.
const MAX_TYPE_TEXT_BYTES: usize = 32;

macro_rules! record_types {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        impl RecordType {
            $($(#[$doc])* pub const $name: Self = Self($number);)*
        }

        const NAMES: &[(&str, RecordType)] = &[$((stringify!($name), RecordType::$name),)*];
    };
}

record_types! {
    /// IPv4 address (RFC 1035).
    A = 1;
    /// Name server (RFC 1035).
    NS = 2;
    /// Alias of DNS (RFC 1035); in GNS REDIRECT does this.
    CNAME = 5;
    /// Start of authority (RFC 1035).
    SOA = 6;
    /// Pointer to a name (RFC 1035).
    PTR = 12;
    /// Kind of host (RFC 1035).
    HINFO = 13;
    /// Mail exchanger (RFC 1035).
    MX = 15;
    /// Text (RFC 1035); in GNS the bare text without length bytes.
    TXT = 16;
    /// Responsible person (RFC 1183).
    RP = 17;
    /// IPv6 address (RFC 3596).
    AAAA = 28;
    /// Where a service is (RFC 2782).
    SRV = 33;
    /// Rules that make URIs (RFC 3403).
    NAPTR = 35;
    /// Certificate (RFC 4398).
    CERT = 37;
    /// Alias of a subtree of DNS (RFC 6672).
    DNAME = 39;
    /// Delegation signer (RFC 4034).
    DS = 43;
    /// Fingerprint of an SSH host key (RFC 4255).
    SSHFP = 44;
    /// Key of DNSSEC (RFC 4034).
    DNSKEY = 48;
    /// Certificate of a TLS service (RFC 6698).
    TLSA = 52;
    /// Certificate for mail (RFC 8162).
    SMIMEA = 53;
    /// DS for the parent (RFC 7344).
    CDS = 59;
    /// DNSKEY for the parent (RFC 7344).
    CDNSKEY = 60;
    /// OpenPGP key (RFC 7929).
    OPENPGPKEY = 61;
    /// How to reach a service (RFC 9460).
    SVCB = 64;
    /// How to reach a web site (RFC 9460).
    HTTPS = 65;
    /// Sender policy, as TXT (RFC 7208).
    SPF = 99;
    /// URI (RFC 7553).
    URI = 256;
    /// Who may issue certificates (RFC 8659).
    CAA = 257;
    /// Delegation to a PKEY zone (RFC 9498, 5.1.1).
    PKEY = 65_536;
    /// What the owner calls the zone (RFC 9498, 5.3.2).
    NICK = 65_537;
    /// Host name for servers that ask for one (RFC 9498, 5.3.1).
    LEHO = 65_538;
    /// Delegation to DNS (RFC 9498, 5.2.2).
    GNS2DNS = 65_540;
    /// A record for a service of the label (RFC 9498, 5.3.3).
    BOX = 65_541;
    /// The name continues elsewhere (RFC 9498, 5.2.1).
    REDIRECT = 65_551;
    /// Delegation to an EDKEY zone (RFC 9498, 5.1.2).
    EDKEY = 65_556;
    /// A peer or a device on it (specs/names.md, 13.2).
    P2PPEER = 4_294_922_241;
    /// A drive (specs/names.md, 13.3).
    P2PDRIVE = 4_294_922_242;
    /// A push subscription (specs/names.md, 13.4).
    P2PPUSH = 4_294_922_243;
    /// Revocations of capabilities (specs/names.md, 13.5).
    P2PREVOKE = 4_294_922_244;
    /// Who speaks for the zone: the head of an identity's chain and its certificates.
    P2PIDENTITY = 4_294_922_245;
}

impl RecordType {
    /// Of its number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The kind of zone it delegates to, if it is PKEY or EDKEY.
    pub const fn zone_type(self) -> Option<ZoneType> {
        ZoneType::from_number(self.0)
    }

    /// Whether it delegates to another zone of GNS.
    pub const fn is_delegation(self) -> bool {
        self.zone_type().is_some()
    }

    /// Whether the rest of a name depends on it: PKEY, EDKEY, REDIRECT, GNS2DNS. Never under `@`, always CRITICAL.
    pub const fn steers_resolution(self) -> bool {
        self.is_delegation() || self.0 == Self::REDIRECT.0 || self.0 == Self::GNS2DNS.0
    }

    /// Whether it may stand beside GNS2DNS: it says how to trust the DNS zone (RFC 9498, 5.2.2).
    pub(crate) const fn may_accompany_gns2dns(self) -> bool {
        matches!(self, Self::DS | Self::CDS | Self::DNSKEY | Self::CDNSKEY)
    }

    /// Whether DNS has such a type.
    pub const fn is_dns(self) -> bool {
        self.0 < 65_536
    }

    /// Whether the type is known here: a CRITICAL record of another type ends resolution.
    pub fn is_supported(self) -> bool {
        self.name().is_some()
    }

    /// Its name, if it is known here.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(_, known)| *known == self).map(|(name, _)| *name)
    }

    /// All types known here, in the order of their numbers.
    pub fn known() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(_, known)| *known)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl fmt::Debug for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RecordType {
    type Err = UnknownRecordType;

    /// A name in either case, `TYPE65280`, or a bare number.
    fn from_str(text: &str) -> Result<Self, UnknownRecordType> {
        let unknown = || UnknownRecordType(text.chars().take(MAX_TYPE_TEXT_BYTES).collect());
        if let Some((_, known)) = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            return Ok(*known);
        }
        let digits = match text.get(..4) {
            Some(prefix) if prefix.eq_ignore_ascii_case("TYPE") => text.get(4..).unwrap_or_default(),
            _ => text,
        };
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(unknown());
        }
        digits.parse().map(Self).map_err(|_| unknown())
    }
}

impl Serialize for RecordType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RecordType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_by_its_name_and_number() {
        for known in RecordType::known() {
            assert_eq!(known.to_string().parse(), Ok(known));
            assert_eq!(known.to_string().to_lowercase().parse(), Ok(known));
            assert_eq!(format!("TYPE{}", known.number()).parse(), Ok(known));
        }
        let numbers: Vec<_> = RecordType::known().map(RecordType::number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn unknown_types_have_a_number() {
        assert_eq!(RecordType::new(65_280).to_string(), "TYPE65280");
        assert_eq!("type65280".parse(), Ok(RecordType::new(65_280)));
        assert_eq!("731".parse(), Ok(RecordType::new(731)));
        for bad in ["", "TYPE", "TYPE-1", "+5", "TYPE4294967296", "ACME", "é", "TYPÉ1"] {
            assert!(bad.parse::<RecordType>().is_err(), "{bad}");
        }
    }

    #[test]
    fn project_types_have_the_numbers_of_the_specification() {
        assert_eq!(RecordType::P2PPEER.number(), 0xFFFF_5001);
        assert_eq!(RecordType::P2PDRIVE.number(), 0xFFFF_5002);
        assert_eq!(RecordType::P2PPUSH.number(), 0xFFFF_5003);
        assert_eq!(RecordType::P2PREVOKE.number(), 0xFFFF_5004);
        assert_eq!(RecordType::P2PIDENTITY.number(), 0xFFFF_5005);
    }
}
