//! Bytes of the keystore file.
//!
//! ```text
//! magic "p2pkeyst" (8)  version u16  header length u32        big-endian
//! header                kdf bytes <= 1,024, slots <= 32 of { kind, params <= 1,024, wrapped data key <= 1,024 }
//! nonce (24)            fresh for every write
//! sealed                XChaCha20-Poly1305 of the content; associated data = BLAKE3 of everything before the nonce
//! content               version = 1, count, secrets of { kind, id <= 64, secret <= 256 } sorted by kind and id
//! ```
//! The records are those of `ByteReader`. `kdf` is empty today: parameters that all slots share.

use std::{collections::BTreeMap, path::Path};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use zeroize::Zeroizing;

use super::{KeystoreError, MAX_FILE_BYTES, MAX_ID_BYTES, MAX_SECRET_BYTES, MAX_SECRETS, PassphraseSlot};
use crate::{ByteReader, ByteWriter, CodecError};

const MAGIC: &[u8; 8] = b"p2pkeyst";
const VERSION: u16 = 1;
const CONTENT_VERSION: u64 = 1;
/// Longest header, in bytes.
const MAX_HEADER_BYTES: usize = 64 * 1024 + 4096;
/// Longest kdf parameters, slot parameters or wrapped key, in bytes.
const MAX_FIELD_BYTES: usize = 1024;
/// Most slots.
const MAX_SLOTS: usize = 32;
/// The slot that holds the data key openly.
const SLOT_OPEN: u16 = 0;
/// The slot that holds it under a passphrase. Kept: 2 recovery words, 3 OS keyring or TPM, 4 another device.
const SLOT_PASSPHRASE: u16 = 1;

/// One secret, wiped when dropped.
pub(super) type Secret = Zeroizing<Vec<u8>>;
/// All secrets by kind and id.
pub(super) type Secrets = BTreeMap<(u16, Vec<u8>), Secret>;

/// What lies before the sealed content.
pub(super) struct Header {
    kdf: Vec<u8>,
    slots: Vec<Slot>,
}

struct Slot {
    kind: u16,
    params: Vec<u8>,
    wrapped: Zeroizing<Vec<u8>>,
}

/// A [`KeystoreError`] that does not know its file yet.
#[derive(Debug)]
pub(super) enum FormatError {
    Damaged(String),
    Newer(u16),
    NoUsableSlot(Vec<u16>),
    TooLarge(usize),
}

impl FormatError {
    pub(super) fn at(self, path: &Path) -> KeystoreError {
        match self {
            Self::Damaged(what) => KeystoreError::Damaged { path: path.to_owned(), what },
            Self::Newer(found) => KeystoreError::NewerFormat { found, known: VERSION },
            Self::NoUsableSlot(kinds) => KeystoreError::NoUsableSlot { kinds },
            Self::TooLarge(value) => {
                KeystoreError::TooLarge { what: "the keystore file", value, limit: MAX_FILE_BYTES }
            }
        }
    }
}

impl From<CodecError> for FormatError {
    fn from(error: CodecError) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl Header {
    pub(super) fn with_open_slot(data_key: &[u8; 32]) -> Self {
        let wrapped = Zeroizing::new(data_key.to_vec());
        Self { kdf: Vec::new(), slots: vec![Slot { kind: SLOT_OPEN, params: Vec::new(), wrapped }] }
    }

    /// The same with the data key under a passphrase instead, and nowhere open. Slots of kinds we do not know stay.
    pub(super) fn with_passphrase(&self, slot: &PassphraseSlot) -> Self {
        let wrapped = Zeroizing::new(slot.wrapped.clone());
        self.with_slot(Slot { kind: SLOT_PASSPHRASE, params: slot.params.clone(), wrapped })
    }

    /// The same with the data key open again.
    pub(super) fn with_open_key(&self, data_key: &[u8; 32]) -> Self {
        self.with_slot(Slot { kind: SLOT_OPEN, params: Vec::new(), wrapped: Zeroizing::new(data_key.to_vec()) })
    }

    fn with_slot(&self, slot: Slot) -> Self {
        let foreign = self.slots.iter().filter(|slot| slot.kind > SLOT_PASSPHRASE).map(Slot::copy);
        Self { kdf: self.kdf.clone(), slots: std::iter::once(slot).chain(foreign).collect() }
    }

    /// Whether there are slots of kinds we do not know: they hold the data key as it is.
    pub(super) fn has_foreign_slots(&self) -> bool {
        self.slots.iter().any(|slot| slot.kind > SLOT_PASSPHRASE)
    }

    /// The slot that a passphrase opens, if the key lies nowhere open.
    pub(super) fn passphrase_slot(&self) -> Result<Option<PassphraseSlot>, FormatError> {
        if self.slots.iter().any(|slot| slot.kind == SLOT_OPEN) {
            return Ok(None);
        }
        match self.slots.iter().find(|slot| slot.kind == SLOT_PASSPHRASE) {
            Some(slot) => Ok(Some(PassphraseSlot::read(&slot.params, &slot.wrapped)?)),
            None => Err(FormatError::NoUsableSlot(self.slots.iter().map(|slot| slot.kind).collect())),
        }
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = ByteWriter::with_capacity(256);
        out.bytes(&self.kdf);
        out.count(self.slots.len());
        for slot in &self.slots {
            out.u64(u64::from(slot.kind));
            out.bytes(&slot.params);
            out.bytes(&slot.wrapped);
        }
        Zeroizing::new(out.into_bytes())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = ByteReader::new(bytes);
        let kdf = reader.bytes("kdf parameters", MAX_FIELD_BYTES)?.to_vec();
        let count = reader.count("slots", MAX_SLOTS)?;
        let mut slots = Vec::with_capacity(count);
        for _ in 0..count {
            let kind = reader.u16()?;
            let params = reader.bytes("slot parameters", MAX_FIELD_BYTES)?.to_vec();
            let wrapped = Zeroizing::new(reader.bytes("wrapped key", MAX_FIELD_BYTES)?.to_vec());
            slots.push(Slot { kind, params, wrapped });
        }
        reader.finish()?;
        Ok(Self { kdf, slots })
    }

    /// The data key where it lies open.
    pub(super) fn open_key(&self) -> Result<Option<Zeroizing<[u8; 32]>>, FormatError> {
        let Some(slot) = self.slots.iter().find(|slot| slot.kind == SLOT_OPEN) else { return Ok(None) };
        let key = <[u8; 32]>::try_from(slot.wrapped.as_slice());
        let damaged = |_| FormatError::Damaged("its data key has not 32 bytes".to_owned());
        key.map(|key| Some(Zeroizing::new(key))).map_err(damaged)
    }
}

impl Slot {
    fn copy(&self) -> Self {
        Self { kind: self.kind, params: self.params.clone(), wrapped: self.wrapped.clone() }
    }
}

/// The whole file.
pub(super) fn encode(
    header: &Header,
    data_key: &[u8; 32],
    nonce: &[u8; 24],
    secrets: &Secrets,
) -> Result<Zeroizing<Vec<u8>>, FormatError> {
    let header = header.encode();
    let mut out = Zeroizing::new(Vec::with_capacity(header.len() + 64));
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    let header_len = u32::try_from(header.len()).map_err(|_| FormatError::TooLarge(header.len()))?;
    out.extend_from_slice(&header_len.to_be_bytes());
    out.extend_from_slice(&header);
    let aad = *blake3::hash(&out).as_bytes();

    let content = encode_content(secrets);
    let payload = Payload { msg: &content, aad: &aad };
    let sealed = XChaCha20Poly1305::new(&(*data_key).into()).encrypt(&XNonce::from(*nonce), payload);
    let sealed = sealed.map_err(|_| FormatError::TooLarge(content.len()))?;
    out.extend_from_slice(nonce);
    out.extend_from_slice(&sealed);
    if out.len() > MAX_FILE_BYTES {
        return Err(FormatError::TooLarge(out.len()));
    }
    Ok(out)
}

/// A file whose content is still sealed.
pub(super) struct SealedFile<'a> {
    pub(super) header: Header,
    aad: [u8; 32],
    nonce: [u8; 24],
    sealed: &'a [u8],
}

/// Reads the whole file, which is at most [`MAX_FILE_BYTES`] long.
pub(super) fn read(bytes: &[u8]) -> Result<SealedFile<'_>, FormatError> {
    let mut reader = ByteReader::new(bytes);
    if reader.array::<8>()? != *MAGIC {
        return Err(FormatError::Damaged("it does not begin like a keystore".to_owned()));
    }
    match u16::from_be_bytes(reader.array()?) {
        VERSION => {}
        0 => return Err(FormatError::Damaged("its format number is 0".to_owned())),
        newer => return Err(FormatError::Newer(newer)),
    }
    let header_len = u32::from_be_bytes(reader.array()?) as usize;
    if header_len > MAX_HEADER_BYTES {
        return Err(FormatError::Damaged(format!("its header is {header_len} bytes, at most {MAX_HEADER_BYTES}")));
    }
    let header = Header::decode(reader.raw(header_len)?)?;
    let before_nonce = bytes.len().saturating_sub(reader.remaining());
    let aad = *blake3::hash(bytes.get(..before_nonce).unwrap_or_default()).as_bytes();
    let nonce = reader.array::<24>()?;
    let sealed = reader.raw(reader.remaining())?;
    Ok(SealedFile { header, aad, nonce, sealed })
}

impl SealedFile<'_> {
    /// The secrets.
    pub(super) fn open(&self, data_key: &[u8; 32]) -> Result<Secrets, FormatError> {
        let payload = Payload { msg: self.sealed, aad: &self.aad };
        let content = XChaCha20Poly1305::new(&(*data_key).into()).decrypt(&XNonce::from(self.nonce), payload);
        let content = content.map_err(|_| FormatError::Damaged("its seal is broken".to_owned()))?;
        decode_content(&Zeroizing::new(content))
    }
}

fn encode_content(secrets: &Secrets) -> Zeroizing<Vec<u8>> {
    // Enough room from the start: a buffer that grows leaves copies of secrets behind.
    let bytes: usize = secrets.iter().map(|((_, id), secret)| id.len() + secret.len() + 8).sum();
    let mut out = ByteWriter::with_capacity(bytes + 16);
    out.u64(CONTENT_VERSION);
    out.count(secrets.len());
    for ((kind, id), secret) in secrets {
        out.u64(u64::from(*kind));
        out.bytes(id);
        out.bytes(secret);
    }
    Zeroizing::new(out.into_bytes())
}

fn decode_content(bytes: &[u8]) -> Result<Secrets, FormatError> {
    let mut reader = ByteReader::new(bytes);
    let version = reader.u64()?;
    if version > CONTENT_VERSION {
        return Err(FormatError::Newer(u16::try_from(version).unwrap_or(u16::MAX)));
    }
    let count = reader.count("secrets", MAX_SECRETS)?;
    let mut secrets = Secrets::new();
    for _ in 0..count {
        let kind = reader.u16()?;
        let id = reader.bytes("id of a secret", MAX_ID_BYTES)?.to_vec();
        let secret = Zeroizing::new(reader.bytes("secret", MAX_SECRET_BYTES)?.to_vec());
        if secrets.insert((kind, id), secret).is_some() {
            return Err(FormatError::Damaged("it holds one id twice".to_owned()));
        }
    }
    reader.finish()?;
    Ok(secrets)
}
