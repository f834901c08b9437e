//! Blocks: a record set, encrypted for who knows zone and label, signed by a key that tells neither (RFC 9498, section 6.3).
//!
//! Layout: u32 size, u32 zone type, blinded key (32), signature (64), u64 expiration, encrypted RDATA. The header has
//! 112 bytes; EDKEY puts its 16-byte tag before the ciphertext.

use std::fmt;

use aes::{
    Aes256,
    cipher::{KeyIvInit, StreamCipher},
};
use crypto_secretbox::{AeadInPlace, KeyInit, XSalsa20Poly1305};
use ctr::Ctr32BE;
use thiserror::Error;

use crate::{
    Label, LabelKeys, StorageKey, Timestamp, ZoneSecret, ZoneType, derive::Blinding, rdata::MAX_RDATA_BYTES, secret,
};

/// Bytes before the encrypted records.
pub const BLOCK_HEADER_BYTES: usize = 112;
/// Largest block that is made and opened, in bytes: GNUnet's limit of 63 KiB.
pub const MAX_BLOCK_BYTES: usize = 64_512;
/// Largest block that the DHT stores, in bytes: header, tag and 8,192 bytes of records (specs/names.md, 12.2).
pub const MAX_STORED_BLOCK_BYTES: usize = 8_320;

/// Bytes of the Poly1305 tag of EDKEY blocks.
const TAG_BYTES: usize = 16;
/// GNS_RECORD_SIGN of the registry "GNUnet Signature Purposes".
const PURPOSE_RECORD_SIGN: u32 = 15;

/// Why bytes are not a block, or not the block that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BlockError {
    /// Shorter than the header, or longer than a block may be.
    #[error("a block has {min} to {max} bytes, this one {len}")]
    BadLength {
        /// The actual length.
        len: usize,
        /// The smallest for its zone type.
        min: usize,
        /// The largest here.
        max: usize,
    },
    /// The size field differs from the length.
    #[error("the block says it has {claimed} bytes, it has {actual}")]
    SizeMismatch {
        /// What the size field says.
        claimed: u32,
        /// How many bytes there are.
        actual: usize,
    },
    /// Neither PKEY nor EDKEY.
    #[error("zone type {0} is not known")]
    UnknownZoneType(u32),
    /// The block belongs to another label or zone.
    #[error("the block belongs to another storage key")]
    WrongKey,
    /// The signature does not verify, or the blinded key is no key.
    #[error("the signature of the block is not valid")]
    BadSignature,
    /// The signature is right but the contents do not decrypt.
    #[error("the contents do not decrypt: the tag is wrong")]
    BadTag,
    /// Its time is over.
    #[error("the block expired at {0}")]
    Expired(Timestamp),
    /// The records are too many to make a block of.
    #[error("the record set is {0} bytes, at most {MAX_RDATA_BYTES}")]
    LongRdata(usize),
}

/// A block of good shape. Whether its signature is good, [`Block::verify`] says.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    bytes: Vec<u8>,
    zone_type: ZoneType,
    blinded: [u8; 32],
    signature: [u8; 64],
    expiration: Timestamp,
}

impl Block {
    /// Makes the block of a label from its record set.
    ///
    /// `expiration` must be greater than that of every block made before for this label: with PKEY, two record sets under
    /// one expiration reveal each other. The namestore sees to it.
    pub fn make(secret: &ZoneSecret, label: &Label, expiration: Timestamp, rdata: &[u8]) -> Result<Self, BlockError> {
        if rdata.len() > MAX_RDATA_BYTES {
            return Err(BlockError::LongRdata(rdata.len()));
        }
        let blinding = Blinding::new(secret.public(), label);
        let keys = LabelKeys::of_secret(secret, label, &blinding);
        let bdata = encrypt(&keys, expiration, rdata);
        let signature = secret.sign_derived(&blinding, &keys.blinded, &signed_message(expiration, &bdata));

        let len = BLOCK_HEADER_BYTES + bdata.len();
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(&size_field(len));
        bytes.extend_from_slice(&keys.zone_type.number().to_be_bytes());
        bytes.extend_from_slice(&keys.blinded);
        bytes.extend_from_slice(&signature);
        bytes.extend_from_slice(&expiration.as_micros().to_be_bytes());
        bytes.extend_from_slice(&bdata);
        Ok(Self { bytes, zone_type: keys.zone_type, blinded: keys.blinded, signature, expiration })
    }

    /// Reads a block and checks its shape: length, size field, zone type. No signature is looked at.
    pub fn parse(bytes: &[u8]) -> Result<Self, BlockError> {
        let bad_length = |min| BlockError::BadLength { len: bytes.len(), min, max: MAX_BLOCK_BYTES };
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(bad_length(BLOCK_HEADER_BYTES));
        }
        let header = Header::read(bytes).ok_or_else(|| bad_length(BLOCK_HEADER_BYTES))?;
        if usize::try_from(header.size) != Ok(bytes.len()) {
            return Err(BlockError::SizeMismatch { claimed: header.size, actual: bytes.len() });
        }
        let zone_type = ZoneType::from_number(header.zone_type).ok_or(BlockError::UnknownZoneType(header.zone_type))?;
        let min = min_block_bytes(zone_type);
        if bytes.len() < min {
            return Err(bad_length(min));
        }
        Ok(Self {
            bytes: bytes.to_vec(),
            zone_type,
            blinded: header.blinded,
            signature: header.signature,
            expiration: header.expiration,
        })
    }

    /// Checks the signature. About 100 microseconds.
    pub fn verify(&self) -> Result<(), BlockError> {
        let message = signed_message(self.expiration, self.bdata());
        if secret::verify(self.zone_type, &self.blinded, &message, &self.signature) {
            Ok(())
        } else {
            Err(BlockError::BadSignature)
        }
    }

    /// Checks that this is the block of these keys, verifies and decrypts it: the RDATA. Expiry is not judged.
    pub fn open(&self, keys: &LabelKeys) -> Result<Vec<u8>, BlockError> {
        if self.blinded != keys.blinded || self.zone_type != keys.zone_type {
            return Err(BlockError::WrongKey);
        }
        self.verify()?;
        decrypt(keys, self.expiration, self.bdata()).ok_or(BlockError::BadTag)
    }

    /// Where it belongs in the DHT.
    pub fn storage_key(&self) -> StorageKey {
        StorageKey::of_blinded(&self.blinded)
    }

    /// Until when it counts.
    pub const fn expiration(&self) -> Timestamp {
        self.expiration
    }

    /// The type of the zone it comes from.
    pub const fn zone_type(&self) -> ZoneType {
        self.zone_type
    }

    /// The whole block.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The whole block.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn bdata(&self) -> &[u8] {
        self.bytes.get(BLOCK_HEADER_BYTES..).unwrap_or_default()
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("storage_key", &self.storage_key())
            .field("zone_type", &self.zone_type)
            .field("expiration", &self.expiration)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

struct Header {
    size: u32,
    zone_type: u32,
    blinded: [u8; 32],
    signature: [u8; 64],
    expiration: Timestamp,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let (zone_type, rest) = rest.split_first_chunk::<4>()?;
        let (blinded, rest) = rest.split_first_chunk::<32>()?;
        let (signature, rest) = rest.split_first_chunk::<64>()?;
        let expiration = rest.first_chunk::<8>()?;
        Some(Self {
            size: u32::from_be_bytes(*size),
            zone_type: u32::from_be_bytes(*zone_type),
            blinded: *blinded,
            signature: *signature,
            expiration: Timestamp::from_micros(u64::from_be_bytes(*expiration)),
        })
    }
}

/// Fewest bytes of a block: the header, and the tag of an empty record set.
pub(crate) const fn min_block_bytes(zone_type: ZoneType) -> usize {
    match zone_type {
        ZoneType::Pkey => BLOCK_HEADER_BYTES,
        ZoneType::Edkey => BLOCK_HEADER_BYTES + TAG_BYTES,
    }
}

fn size_field(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("a block is at most 64 KiB, checked before").to_be_bytes()
}

/// What is signed: u32 size, u32 purpose, u64 expiration, the encrypted records.
fn signed_message(expiration: Timestamp, bdata: &[u8]) -> Vec<u8> {
    let len = 16 + bdata.len();
    let mut message = Vec::with_capacity(len);
    message.extend_from_slice(&size_field(len));
    message.extend_from_slice(&PURPOSE_RECORD_SIGN.to_be_bytes());
    message.extend_from_slice(&expiration.as_micros().to_be_bytes());
    message.extend_from_slice(bdata);
    message
}

/// PKEY: 4 bytes nonce, expiration, a block counter that starts at 1.
fn aes_counter(keys: &LabelKeys, expiration: Timestamp) -> Ctr32BE<Aes256> {
    let [a, b, c, d, ..] = keys.nonce;
    let nonce = u128::from(u32::from_be_bytes([a, b, c, d]));
    let iv = (nonce << 96 | u128::from(expiration.as_micros()) << 32 | 1).to_be_bytes();
    Ctr32BE::<Aes256>::new(&(*keys.key).into(), &iv.into())
}

/// EDKEY: 16 bytes nonce, expiration.
fn secretbox(keys: &LabelKeys, expiration: Timestamp) -> (XSalsa20Poly1305, [u8; 24]) {
    let mut nonce = [0; 24];
    let (front, back) = nonce.split_at_mut(16);
    front.copy_from_slice(&keys.nonce);
    back.copy_from_slice(&expiration.as_micros().to_be_bytes());
    (XSalsa20Poly1305::new(&(*keys.key).into()), nonce)
}

fn encrypt(keys: &LabelKeys, expiration: Timestamp, rdata: &[u8]) -> Vec<u8> {
    match keys.zone_type {
        ZoneType::Pkey => {
            let mut out = rdata.to_vec();
            aes_counter(keys, expiration).apply_keystream(&mut out);
            out
        }
        ZoneType::Edkey => {
            let (cipher, nonce) = secretbox(keys, expiration);
            let mut text = rdata.to_vec();
            let tag = cipher
                .encrypt_in_place_detached(&nonce.into(), &[], &mut text)
                .expect("the record set is far below the cipher's limit");
            [tag.as_slice(), &text].concat()
        }
    }
}

fn decrypt(keys: &LabelKeys, expiration: Timestamp, bdata: &[u8]) -> Option<Vec<u8>> {
    match keys.zone_type {
        ZoneType::Pkey => {
            let mut out = bdata.to_vec();
            aes_counter(keys, expiration).apply_keystream(&mut out);
            Some(out)
        }
        ZoneType::Edkey => {
            let (tag, text) = bdata.split_first_chunk::<TAG_BYTES>()?;
            let (cipher, nonce) = secretbox(keys, expiration);
            let mut out = text.to_vec();
            cipher.decrypt_in_place_detached(&nonce.into(), &[], &mut out, tag.into()).ok()?;
            Some(out)
        }
    }
}

#[cfg(test)]
mod tests;
