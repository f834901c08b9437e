//! Zones by their public key, and the zTLD that is its text (RFC 9498, sections 4 and 4.1).

use std::{fmt, str::FromStr};

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::{
    RecordType,
    base32gns::{base32gns_decode, base32gns_encode},
};

/// Bytes of a zone's identity: u32 zone type, then the 32-byte key.
pub const ZONE_ID_BYTES: usize = 36;
/// Symbols of a zTLD of the two zone types we know.
const ZTLD_SYMBOLS: usize = 58;
/// Characters that `fmt_short` and `Debug` show, from the end: the beginning of every zTLD is its type.
const SHORT_CHARS: usize = 10;

/// The two kinds of zone of RFC 9498.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ZoneType {
    /// ECDSA signatures, AES-256 in counter mode (section 5.1.1).
    Pkey,
    /// Ed25519 signatures, XSalsa20-Poly1305 (section 5.1.2).
    Edkey,
}

impl ZoneType {
    /// The number on the wire; also the type of the record that delegates to such a zone.
    pub const fn number(self) -> u32 {
        match self {
            Self::Pkey => 65_536,
            Self::Edkey => 65_556,
        }
    }

    /// The zone type of a number, `None` for others.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            65_536 => Some(Self::Pkey),
            65_556 => Some(Self::Edkey),
            _ => None,
        }
    }

    /// The type of the record that delegates to such a zone.
    pub const fn record_type(self) -> RecordType {
        RecordType::new(self.number())
    }
}

/// `pkey` and `edkey`, as the command line writes them.
impl fmt::Display for ZoneType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pkey => "pkey",
            Self::Edkey => "edkey",
        })
    }
}

impl FromStr for ZoneType {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        match text.to_ascii_lowercase().as_str() {
            "pkey" => Ok(Self::Pkey),
            "edkey" => Ok(Self::Edkey),
            _ => Err(ZoneError::UnknownTypeName),
        }
    }
}

/// Why something is not a zone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ZoneError {
    /// The text has symbols outside Base32GNS, or too few of them.
    #[error("not a zTLD: it is not Base32GNS text of a zone")]
    NotZtld,
    /// A zone type that this version does not know.
    #[error("zone type {0} is not known")]
    UnknownType(u32),
    /// A zone type by a wrong name.
    #[error("a zone type is pkey or edkey")]
    UnknownTypeName,
    /// The wrong number of bytes for the type.
    #[error("a zone key has 32 bytes, this one {0}")]
    BadLength(usize),
    /// The bytes encode no point of the curve.
    #[error("the zone key is not a point of the curve")]
    BadPoint,
    /// A secret that stands for no key.
    #[error("the secret key is zero modulo the group order")]
    BadSecret,
}

/// A zone: its type and its public key, which always encodes a point of the curve. Text form: the zTLD.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneKey {
    zone_type: ZoneType,
    zkey: [u8; 32],
}

impl ZoneKey {
    /// A zone of its two parts. An error when `zkey` encodes no point.
    pub fn new(zone_type: ZoneType, zkey: [u8; 32]) -> Result<Self, ZoneError> {
        CompressedEdwardsY(zkey).decompress().ok_or(ZoneError::BadPoint)?;
        Ok(Self { zone_type, zkey })
    }

    /// Of a point that is known to be one.
    pub(crate) fn of_point(zone_type: ZoneType, point: &EdwardsPoint) -> Self {
        Self { zone_type, zkey: point.compress().to_bytes() }
    }

    /// Of the 36 bytes u32 type and key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ZoneError> {
        let (number, zkey) = bytes.split_first_chunk::<4>().ok_or(ZoneError::NotZtld)?;
        let number = u32::from_be_bytes(*number);
        let zone_type = ZoneType::from_number(number).ok_or(ZoneError::UnknownType(number))?;
        let zkey = zkey.try_into().map_err(|_| ZoneError::BadLength(zkey.len()))?;
        Self::new(zone_type, zkey)
    }

    /// The 36 bytes u32 type and key.
    pub fn to_bytes(&self) -> [u8; ZONE_ID_BYTES] {
        let mut out = [0; ZONE_ID_BYTES];
        let (number, zkey) = out.split_at_mut(4);
        number.copy_from_slice(&self.zone_type.number().to_be_bytes());
        zkey.copy_from_slice(&self.zkey);
        out
    }

    /// PKEY or EDKEY.
    pub const fn zone_type(&self) -> ZoneType {
        self.zone_type
    }

    /// The public key alone, as delegation records carry it.
    pub const fn zkey(&self) -> &[u8; 32] {
        &self.zkey
    }

    /// The key as a point.
    pub(crate) fn point(&self) -> EdwardsPoint {
        CompressedEdwardsY(self.zkey).decompress().expect("a zone key is only made of points")
    }

    /// The last ten characters of the zTLD, for logs.
    pub fn fmt_short(&self) -> String {
        let mut text = self.to_string();
        text.split_off(text.len().saturating_sub(SHORT_CHARS))
    }
}

/// The zTLD: 58 symbols, one DNS label.
impl fmt::Display for ZoneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32gns_encode(&self.to_bytes()))
    }
}

impl fmt::Debug for ZoneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZoneKey(…{})", self.fmt_short())
    }
}

impl FromStr for ZoneKey {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        match read_ztld(text) {
            Ztld::Zone(zone) => Ok(zone),
            Ztld::Damaged(error) => Err(error),
            Ztld::NotOne => Err(ZoneError::NotZtld),
        }
    }
}

impl Serialize for ZoneKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ZoneKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What a rightmost label is (specs/names.md, 10.1).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ztld {
    /// A zone.
    Zone(ZoneKey),
    /// It begins like a zTLD of a known type, but the rest is wrong: an error, never an ordinary name.
    Damaged(ZoneError),
    /// An ordinary label.
    NotOne,
}

/// Reads a label as a zTLD. The two known types fit one label of 58 symbols, so no joining of labels is needed.
pub(crate) fn read_ztld(label: &str) -> Ztld {
    // Seven symbols hold the type; a label that short cannot be a key, and ordinary words stay ordinary words.
    let Ok(bytes) = base32gns_decode(label) else {
        return Ztld::NotOne;
    };
    let Some(number) = bytes.first_chunk::<4>().map(|number| u32::from_be_bytes(*number)) else {
        return Ztld::NotOne;
    };
    if ZoneType::from_number(number).is_none() {
        return Ztld::NotOne;
    }
    if label.len() != ZTLD_SYMBOLS {
        return Ztld::Damaged(ZoneError::BadLength(bytes.len().saturating_sub(4)));
    }
    match ZoneKey::from_bytes(&bytes) {
        Ok(zone) => Ztld::Zone(zone),
        Err(error) => Ztld::Damaged(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ZTLD: &str = "000G0037FH3QTBCK15Y8BCCNRVWPV17ZC7TSGB1C9ZG2TPGHZVFV1GMG3W";

    #[test]
    fn a_ztld_is_read_in_both_cases_and_with_lookalikes() {
        let zone: ZoneKey = ZTLD.parse().unwrap();
        assert_eq!(zone.zone_type(), ZoneType::Pkey);
        assert_eq!(ZTLD.to_lowercase().parse(), Ok(zone));
        assert_eq!(ZTLD.replace('0', "o").replace('1', "l").replace('V', "u").parse(), Ok(zone));
        assert_eq!(zone.to_string(), ZTLD);
        assert_eq!(format!("{zone:?}"), "ZoneKey(…VFV1GMG3W)".replace("VFV1GMG3W", zone.fmt_short().as_str()));
    }

    #[test]
    fn an_ordinary_word_is_no_ztld_and_a_cut_one_is_damaged() {
        assert_eq!(read_ztld("alice"), Ztld::NotOne);
        assert_eq!(read_ztld(""), Ztld::NotOne);
        assert_eq!(read_ztld("例え"), Ztld::NotOne);
        assert_eq!(read_ztld(&ZTLD[..40]), Ztld::Damaged(ZoneError::BadLength(21)));
        let no_point = (0..=u8::MAX).map(|byte| [byte; 32]).find(|zkey| ZoneKey::new(ZoneType::Pkey, *zkey).is_err());
        let bytes = [&[0, 1, 0, 0][..], &no_point.unwrap()].concat();
        assert_eq!(read_ztld(&base32gns_encode(&bytes)), Ztld::Damaged(ZoneError::BadPoint));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_zone_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..50), text in ".{0,70}") {
            let _ = ZoneKey::from_bytes(&bytes);
            let _ = text.parse::<ZoneKey>();
        }

        #[test]
        fn a_zone_survives_its_text_and_bytes(zkey: [u8; 32], edkey: bool) {
            let zone_type = if edkey { ZoneType::Edkey } else { ZoneType::Pkey };
            if let Ok(zone) = ZoneKey::new(zone_type, zkey) {
                prop_assert_eq!(zone.to_string().parse::<ZoneKey>().unwrap(), zone);
                prop_assert_eq!(ZoneKey::from_bytes(&zone.to_bytes()).unwrap(), zone);
            }
        }
    }
}
