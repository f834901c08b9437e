//! The ids of nodes, drives, writers and content. All are 32 bytes; each has its own text form and its own type.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::text::{self, IdText, id_type};

/// Characters that `fmt_short` and `Debug` show.
const SHORT_CHARS: usize = 10;

/// Bytes before the key in the libp2p form of an Ed25519 peer id: identity multihash of 36 bytes, protobuf key type 1, 32 bytes.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// Longest base58 text we try to decode, in characters; an Ed25519 peer id has 52.
const MAX_PEER_ID_CHARS: usize = 64;

/// Why a text is not the id that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text looks like an id but its checksum is wrong.
    #[error("this id is damaged: a character is wrong or missing; copy it again")]
    Damaged,
    /// A good id of something else.
    #[error("this is an id of another kind (type {found}), a drive was expected")]
    OtherType {
        /// The type number in the id (specs/drives.md, section 9).
        found: u8,
    },
    /// No id at all.
    #[error("this is not {expected}")]
    NotAnId {
        /// What was expected, with its article.
        expected: &'static str,
    },
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first ten characters of the text form, for logs.
            pub fn fmt_short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(SHORT_CHARS);
                text
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl From<$name> for [u8; 32] {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.fmt_short())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(de::Error::custom)
                } else {
                    <[u8; 32]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

id! {
    /// A node: its Ed25519 public key. Text form: the libp2p peer id (`12D3Koo…`).
    PeerId
}

id! {
    /// A drive: its Ed25519 public key. Text form: the 56 characters of its link.
    DriveId
}

id! {
    /// Who writes to a drive: an Ed25519 public key. Text form: 52 characters of z-base-32.
    WriterKey
}

id! {
    /// A person: the BLAKE3 hash of their genesis link. Text form: 56 characters, like a drive's, with a type of its own.
    IdentityId
}

id! {
    /// Bytes by their BLAKE3 hash. Text form: 64 hexadecimal digits, as `b3sum` prints them.
    ContentId
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        f.write_str(&bs58::encode(bytes).into_string())
    }
}

impl FromStr for PeerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let not = IdError::NotAnId { expected: "a peer id (they begin with 12D3Koo)" };
        if text.len() > MAX_PEER_ID_CHARS {
            return Err(not);
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| not.clone())?;
        let key = bytes.strip_prefix(&PEER_ID_PREFIX).and_then(|key| key.try_into().ok());
        key.map(Self).ok_or(not)
    }
}

impl fmt::Display for DriveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::encode_id(id_type::DRIVE, &self.0))
    }
}

impl FromStr for DriveId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text::decode_id(text) {
            IdText::Id { id_type: id_type::DRIVE, key } => Ok(Self(key)),
            IdText::Id { id_type, .. } => Err(IdError::OtherType { found: id_type }),
            IdText::Damaged => Err(IdError::Damaged),
            IdText::NotAnId => Err(IdError::NotAnId { expected: "a drive id (56 letters and digits)" }),
        }
    }
}

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::encode_id(id_type::IDENTITY, &self.0))
    }
}

impl FromStr for IdentityId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text::decode_id(text) {
            IdText::Id { id_type: id_type::IDENTITY, key } => Ok(Self(key)),
            IdText::Damaged => Err(IdError::Damaged),
            _ => Err(IdError::NotAnId { expected: "an identity (56 letters and digits)" }),
        }
    }
}

impl WriterKey {
    /// The first 8 bytes, by which entries name their writer. Two writers of one drive never share them.
    pub fn prefix(&self) -> [u8; 8] {
        *self.0.first_chunk().expect("32 bytes have a first 8")
    }
}

impl fmt::Display for WriterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::hash_to_text(&self.0))
    }
}

impl FromStr for WriterKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let not = IdError::NotAnId { expected: "a writer key (52 letters and digits)" };
        text::hash_from_text(text).map(Self).ok_or(not)
    }
}

impl ContentId {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl From<blake3::Hash> for ContentId {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl FromStr for ContentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let not = IdError::NotAnId { expected: "a content hash (64 hexadecimal digits)" };
        if text.len() != 64 {
            return Err(not);
        }
        blake3::Hash::from_hex(text).map(|hash| Self(*hash.as_bytes())).map_err(|_| not)
    }
}

#[cfg(test)]
mod tests;
