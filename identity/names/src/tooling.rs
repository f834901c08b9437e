//! What `p2p name block …` and `p2p name revocation …` do, without a node: other implementations are checked with them.
//!
//! Arguments are text as people paste it; results are plain structs that print as JSON. No clock is looked at: whether
//! something has expired is the caller's to judge.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    Block, BlockError, Label, LabelKeys, NameError, RdataError, Record, Revocation, Timestamp, ZoneError, ZoneKey,
    ZoneSecret, ZoneType, decode_rdata, revocation::PROOFS,
};

/// Why an argument of a tool is of no use.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ToolError {
    /// Not hexadecimal digits.
    #[error("{what} is not hexadecimal")]
    NotHex {
        /// Which argument.
        what: &'static str,
    },
    /// A key of the wrong length.
    #[error("a zone key has 32 bytes, this one {0}")]
    KeyLength(usize),
    /// A zone type or zTLD that is none.
    #[error("the zone is not usable")]
    Zone(#[source] ZoneError),
    /// A label that is none.
    #[error("the label is not usable")]
    Label(#[source] NameError),
    /// Too many records.
    #[error("no block can be made of this")]
    Block(#[source] BlockError),
}

/// The result of [`make_block`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeBlock {
    /// The whole block, hexadecimal.
    pub block: String,
    /// Its storage key, hexadecimal.
    pub q: String,
}

/// One record of an opened block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedRecord {
    /// Name of its type, or `TYPE` and a number.
    #[serde(rename = "type")]
    pub record_type: String,
    /// Text form of its data.
    pub value: String,
    /// The 16 bits of FLAGS.
    pub flags: u16,
    /// Microseconds since 1970.
    pub expires: u64,
}

/// The result of [`open_block`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedBlock {
    /// Whether shape, storage key, signature, tag and record set are good. Expiry is not judged.
    pub valid: bool,
    /// What is wrong, if something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Microseconds since 1970; none if the bytes are not even the shape of a block.
    pub expires: Option<u64>,
    /// The decrypted record set, hexadecimal; empty if it could not be decrypted.
    pub rdata: String,
    /// All its records, unfiltered.
    pub records: Vec<OpenedRecord>,
}

/// The result of [`verify_revocation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckedRevocation {
    /// Whether signature, order and work are good. Expiry is not judged.
    pub valid: bool,
    /// What is wrong, if something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether the zone itself signed it.
    pub signature_valid: bool,
    /// Average leading zero bits of the proofs.
    pub average: f64,
    /// The revoked zone, as its zTLD; none if the bytes have not the shape of a revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Until when its work makes it hold, in microseconds since 1970, if it is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

/// Makes a block: `key` as RFC 9498 prints it (PKEY big-endian scalar, EDKEY seed), `rdata` as it is, without padding.
pub fn make_block(
    key_hex: &str,
    zone_type_number: u32,
    label: &str,
    expires_micros: u64,
    rdata_hex: &str,
) -> Result<MadeBlock, ToolError> {
    let zone_type =
        ZoneType::from_number(zone_type_number).ok_or(ToolError::Zone(ZoneError::UnknownType(zone_type_number)))?;
    let key = zeroize::Zeroizing::new(unhex("the key", key_hex)?);
    let key: &[u8; 32] = key.as_slice().try_into().map_err(|_| ToolError::KeyLength(key.len()))?;
    let secret = ZoneSecret::from_rfc_bytes(zone_type, key).map_err(ToolError::Zone)?;
    let label: Label = label.parse().map_err(ToolError::Label)?;
    let rdata = unhex("the record set", rdata_hex)?;
    let block =
        Block::make(&secret, &label, Timestamp::from_micros(expires_micros), &rdata).map_err(ToolError::Block)?;
    Ok(MadeBlock { block: HEXLOWER.encode(block.as_bytes()), q: block.storage_key().to_string() })
}

/// Opens a block with zone and label. A bad block is a result, not an error; only unusable arguments are errors.
pub fn open_block(ztld: &str, label: &str, block_hex: &str) -> Result<OpenedBlock, ToolError> {
    let zone: ZoneKey = ztld.trim().parse().map_err(ToolError::Zone)?;
    let label: Label = label.parse().map_err(ToolError::Label)?;
    let bytes = unhex("the block", block_hex)?;
    let mut opened =
        OpenedBlock { valid: false, reason: None, expires: None, rdata: String::new(), records: Vec::new() };
    let block = match Block::parse(&bytes) {
        Ok(block) => block,
        Err(error) => return Ok(OpenedBlock { reason: Some(error.to_string()), ..opened }),
    };
    opened.expires = Some(block.expiration().as_micros());
    match block.open(&LabelKeys::of(&zone, &label)) {
        Ok(rdata) => {
            opened.rdata = HEXLOWER.encode(&rdata);
            fill_records(&mut opened, decode_rdata(&rdata));
        }
        Err(error) => opened.reason = Some(error.to_string()),
    }
    Ok(opened)
}

/// Checks a revocation against a difficulty, by default [`crate::DIFFICULTY`]. A bad one is a result, not an error.
pub fn verify_revocation(message_hex: &str, difficulty: u32) -> Result<CheckedRevocation, ToolError> {
    let bytes = unhex("the revocation", message_hex)?;
    let mut checked = CheckedRevocation {
        valid: false,
        reason: None,
        signature_valid: false,
        average: 0.0,
        zone: None,
        expires: None,
    };
    let revocation = match Revocation::from_bytes(&bytes) {
        Ok(revocation) => revocation,
        Err(error) => return Ok(CheckedRevocation { reason: Some(error.to_string()), ..checked }),
    };
    checked.zone = Some(revocation.zone.to_string());
    checked.signature_valid = revocation.is_signature_valid();
    checked.average = f64::from(revocation.scores().iter().sum::<u32>()) / PROOFS as f64;
    match revocation.check(difficulty) {
        Ok(bits) => {
            checked.valid = true;
            checked.expires = Some(revocation.expiration(bits, difficulty).as_micros());
        }
        Err(error) => checked.reason = Some(error.to_string()),
    }
    Ok(checked)
}

fn fill_records(opened: &mut OpenedBlock, records: Result<Vec<Record>, RdataError>) {
    match records {
        Ok(records) => {
            opened.valid = true;
            opened.records = records.iter().map(OpenedRecord::from).collect();
        }
        Err(error) => opened.reason = Some(error.to_string()),
    }
}

impl From<&Record> for OpenedRecord {
    fn from(record: &Record) -> Self {
        Self {
            record_type: record.record_type.to_string(),
            value: record.value(),
            flags: record.flags.bits(),
            expires: record.expiration.as_micros(),
        }
    }
}

/// Hexadecimal digits in either case, with white space between them, as terminals wrap them.
fn unhex(what: &'static str, text: &str) -> Result<Vec<u8>, ToolError> {
    let digits: String = text.split_whitespace().collect();
    HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| ToolError::NotHex { what })
}
