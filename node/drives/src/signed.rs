//! Signed objects: heads, headers, certificates, writer sets (specs/drives.md, 5.1 and 10).
//!
//! ```text
//! outer kind u8: 0 plain (1 sealed, later)
//! body       format u8 = 1, object u8 (1 head, 2 header, 3 certificate, 4 writer set), fields
//! signature  64 bytes, Ed25519 over the body
//! ```
//! The hash of an object is BLAKE3 of all of this, as received; it is kept and passed on like that, never encoded again. The
//! object number keeps the four apart: without it the owner's signature of one could pass for another.

use bytes::Bytes;
use p2p_identity::{ByteReader, ByteWriter, CodecError, ContentId, SecretKey, verify};
use thiserror::Error;

const OUTER_PLAIN: u8 = 0;
const FORMAT: u8 = 1;
const SIGNATURE_BYTES: usize = 64;
/// Most numbers in an `ext` list.
pub const MAX_EXT_ITEMS: usize = 64;

/// What can be signed. Implemented by the four bodies only.
pub trait Body: Sized + sealed::Sealed {
    /// Largest signed object, envelope and signature included, in bytes.
    const MAX_BYTES: usize;
    /// What it is called in errors.
    const NAME: &'static str;
    /// Tells the kinds of bodies apart.
    #[doc(hidden)]
    const OBJECT: u8;

    /// Whose signature it must bear.
    fn signer(&self) -> [u8; 32];
    /// Writes the fields behind format and object number.
    #[doc(hidden)]
    fn write(&self, out: &mut ByteWriter);
    /// Reads and checks what `write` wrote.
    #[doc(hidden)]
    fn read(reader: &mut ByteReader<'_>) -> Result<Self, SignedError>;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// A body with a good signature, and the bytes it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<T> {
    body: T,
    bytes: Bytes,
    hash: ContentId,
}

/// Why bytes are no signed object, or a body cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignedError {
    /// Above the limit of its kind.
    #[error("{name} is {len} bytes, at most {limit}")]
    TooLarge {
        /// Which kind of object.
        name: &'static str,
        /// Its size in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// An envelope for private drives.
    #[error("the object is sealed (kind {0}), which needs a newer version of p2pnode")]
    Sealed(u8),
    /// Written by a newer version.
    #[error("the object has format {0}, which needs a newer version of p2pnode")]
    UnknownFormat(u8),
    /// Another kind of object.
    #[error("the object is of kind {found}, not a {expected}")]
    OtherObject {
        /// What was expected.
        expected: &'static str,
        /// The object number found.
        found: u8,
    },
    /// The signature is not that of the key the body names.
    #[error("the signature is not valid")]
    BadSignature,
    /// Signing with a key that the body does not name.
    #[error("this key may not sign this object")]
    WrongKey,
    /// Fields that contradict each other or the rules.
    #[error("{0}")]
    Invalid(&'static str),
    /// Bytes that do not decode.
    #[error("bad encoding")]
    Codec(#[from] CodecError),
}

impl<T: Body> Signed<T> {
    /// Signs `body` with the key it names as signer. What is refused when reading is refused here as well.
    pub fn sign(body: &T, key: &SecretKey) -> Result<Self, SignedError> {
        if key.public() != body.signer() {
            return Err(SignedError::WrongKey);
        }
        let mut out = ByteWriter::with_capacity(1024);
        out.raw(&[FORMAT, T::OBJECT]);
        body.write(&mut out);
        let body_bytes = out.into_bytes();
        let bytes = [&[OUTER_PLAIN], body_bytes.as_slice(), &key.sign(&body_bytes)].concat();
        Self::decode(bytes.into())
    }

    /// Reads bytes from anywhere and checks the signature.
    pub fn decode(bytes: Bytes) -> Result<Self, SignedError> {
        if bytes.len() > T::MAX_BYTES {
            return Err(SignedError::TooLarge { name: T::NAME, len: bytes.len(), limit: T::MAX_BYTES });
        }
        let (outer, rest) = bytes.split_first().ok_or(CodecError::Short)?;
        if *outer != OUTER_PLAIN {
            return Err(SignedError::Sealed(*outer));
        }
        let (body_bytes, signature) = rest.split_last_chunk::<SIGNATURE_BYTES>().ok_or(CodecError::Short)?;
        let mut reader = ByteReader::new(body_bytes);
        let format = reader.byte()?;
        if format != FORMAT {
            return Err(SignedError::UnknownFormat(format));
        }
        let found = reader.byte()?;
        if found != T::OBJECT {
            return Err(SignedError::OtherObject { expected: T::NAME, found });
        }
        let body = T::read(&mut reader)?;
        reader.finish()?;
        verify(&body.signer(), body_bytes, signature).map_err(|_| SignedError::BadSignature)?;
        let hash = ContentId::of(&bytes);
        Ok(Self { body, bytes, hash })
    }
}

impl<T> Signed<T> {
    /// What was signed.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// The object as it was received: keep and pass on this.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// BLAKE3 of [`Self::as_bytes`].
    pub fn hash(&self) -> ContentId {
        self.hash
    }
}

/// Numbered byte strings for later versions. Unknown numbers are kept and ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ext(Vec<(u32, Bytes)>);

impl Ext {
    /// Sorts by number; `None` for more than [`MAX_EXT_ITEMS`] or one number twice.
    pub fn new(mut items: Vec<(u32, Bytes)>) -> Option<Self> {
        items.sort_by_key(|(number, _)| *number);
        let is_good = items.len() <= MAX_EXT_ITEMS && items.is_sorted_by(|a, b| a.0 < b.0);
        is_good.then_some(Self(items))
    }

    /// The bytes under a number.
    pub fn value(&self, number: u32) -> Option<&Bytes> {
        self.0.iter().find(|(stored, _)| *stored == number).map(|(_, bytes)| bytes)
    }

    /// All numbers and their bytes, in order.
    pub fn items(&self) -> &[(u32, Bytes)] {
        &self.0
    }

    pub(crate) fn write(&self, out: &mut ByteWriter) {
        out.count(self.0.len());
        for (number, bytes) in &self.0 {
            out.u64(u64::from(*number));
            out.bytes(bytes);
        }
    }

    pub(crate) fn read(reader: &mut ByteReader<'_>) -> Result<Self, SignedError> {
        let count = reader.count("ext items", MAX_EXT_ITEMS)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            let number = reader.u32()?;
            let limit = reader.remaining();
            items.push((number, Bytes::copy_from_slice(reader.bytes("ext item", limit)?)));
        }
        if items.is_sorted_by(|a, b| a.0 < b.0) {
            Ok(Self(items))
        } else {
            Err(SignedError::Invalid("ext numbers are not in order"))
        }
    }
}

/// Writes an optional hash: 32 zero bytes stand for none.
pub(crate) fn write_optional_hash(out: &mut ByteWriter, hash: Option<&ContentId>) {
    out.raw(&hash.map_or([0; 32], |hash| *hash.as_bytes()));
}

/// Reads what [`write_optional_hash`] wrote.
pub(crate) fn read_optional_hash(reader: &mut ByteReader<'_>) -> Result<Option<ContentId>, SignedError> {
    let hash = reader.array::<32>()?;
    Ok((hash != [0; 32]).then(|| hash.into()))
}

#[cfg(test)]
mod tests;
