//! z-base-32 and the 56-character id of links (specs/drives.md, section 9).

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};

/// Characters of a typed id: 35 bytes, which fit one DNS label.
pub(crate) const ID_CHARS: usize = 56;
/// Characters of a 32-byte hash or key in z-base-32.
pub const HASH_TEXT_CHARS: usize = 52;

const CHECKSUM_CONTEXT: &str = "p2p-drives link v1";
const ALPHABET: &str = "ybndrfg8ejkmcpqxot1uwisza345h769";

static ZBASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str(ALPHABET);
    // A person reading a link aloud does not say the case, and browsers lower it.
    spec.translate.from.push_str("YBNDRFGEJKMCPQXOTUWISZAH");
    spec.translate.to.push_str("ybndrfgejkmcpqxotuwiszah");
    spec.encoding().expect("the alphabet has 32 different symbols")
});

/// The type byte of an id.
pub(crate) mod id_type {
    pub(crate) const DRIVE: u8 = 1;
    pub(crate) const SNAPSHOT: u8 = 2;
    pub(crate) const BLOB: u8 = 3;
    // 4 is kept for seed links.
    pub(crate) const WRITER_INVITATION: u8 = 5;
    pub(crate) const IDENTITY: u8 = 6;
}

/// What 56 characters turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum IdText {
    /// The checksum is right.
    Id { id_type: u8, key: [u8; 32] },
    /// It has the shape of an id, but was mistyped or cut.
    Damaged,
    /// It has not the shape of an id.
    NotAnId,
}

/// The z-base-32 text (52 characters) of a hash, as links name the head of a drive.
pub fn hash_to_text(hash: &[u8; 32]) -> String {
    ZBASE32.encode(hash)
}

/// Reads what [`hash_to_text`] wrote; `None` when it is anything else.
pub fn hash_from_text(text: &str) -> Option<[u8; 32]> {
    if text.len() != HASH_TEXT_CHARS {
        return None;
    }
    ZBASE32.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// Whether all characters are of the z-base-32 alphabet, in lower case.
pub(crate) fn is_zbase32(text: &str) -> bool {
    text.bytes().all(|byte| ALPHABET.as_bytes().contains(&byte))
}

pub(crate) fn encode_id(id_type: u8, key: &[u8; 32]) -> String {
    let mut bytes = [0; 35];
    bytes[0] = id_type;
    bytes[1..33].copy_from_slice(key);
    bytes[33..].copy_from_slice(&checksum(id_type, key));
    ZBASE32.encode(&bytes)
}

pub(crate) fn decode_id(text: &str) -> IdText {
    if text.len() != ID_CHARS || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return IdText::NotAnId;
    }
    let Ok(bytes) = ZBASE32.decode(text.as_bytes()) else {
        return IdText::Damaged;
    };
    let Some((id_type, rest)) = bytes.split_first() else {
        return IdText::Damaged;
    };
    let Some((key, sum)) = rest.split_first_chunk::<32>() else {
        return IdText::Damaged;
    };
    if sum != checksum(*id_type, key) {
        return IdText::Damaged;
    }
    IdText::Id { id_type: *id_type, key: *key }
}

fn checksum(id_type: u8, key: &[u8; 32]) -> [u8; 2] {
    let mut hasher = blake3::Hasher::new_derive_key(CHECKSUM_CONTEXT);
    hasher.update(&[id_type]).update(key);
    let hash = hasher.finalize();
    let [first, second, ..] = *hash.as_bytes();
    [first, second]
}
