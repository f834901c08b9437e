//! What a zone key and a label give together: the blinded key, the storage key, and the key of the contents
//! (RFC 9498, sections 5.1 and 6.1).

use std::fmt;

use curve25519_dalek::scalar::Scalar;
use hkdf::Hkdf;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use crate::{Label, ZoneKey, ZoneSecret, ZoneType};

/// Where a block lies in the DHT: SHA-512 of the blinded zone key ("q"). Text form: 128 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageKey([u8; 64]);

impl StorageKey {
    /// The key of a block that carries this blinded key.
    pub(crate) fn of_blinded(blinded: &[u8; 32]) -> Self {
        Self(Sha512::digest(blinded).into())
    }

    /// The 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl From<[u8; 64]> for StorageKey {
    fn from(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_string();
        write!(f, "StorageKey({})", text.get(..10).unwrap_or(&text))
    }
}

/// The factor that blinds a zone key for one label.
pub(crate) struct Blinding {
    hash: [u8; 64],
    scalar: Scalar,
}

impl Blinding {
    pub(crate) fn new(zone: &ZoneKey, label: &Label) -> Self {
        let mut hash = [0; 64];
        hkdf(b"key-derivation", zone.zkey(), &[label.as_bytes(), b"gns"], &mut hash);
        let mut little_endian = hash;
        little_endian.reverse();
        Self { hash, scalar: Scalar::from_bytes_mod_order_wide(&little_endian) }
    }

    /// The factor modulo the group order. It is not clamped, whatever the RFC remarks for EDKEY: its vectors show that.
    pub(crate) const fn scalar(&self) -> &Scalar {
        &self.scalar
    }

    /// The 64 bytes before reduction.
    pub(crate) const fn hash(&self) -> &[u8; 64] {
        &self.hash
    }
}

/// Everything a reader needs for one label of one zone.
pub struct LabelKeys {
    pub(crate) zone_type: ZoneType,
    pub(crate) blinded: [u8; 32],
    pub(crate) key: Zeroizing<[u8; 32]>,
    /// PKEY uses the first four bytes.
    pub(crate) nonce: [u8; 16],
}

impl LabelKeys {
    /// For a reader: blinds the public key. About 50 microseconds.
    pub fn of(zone: &ZoneKey, label: &Label) -> Self {
        let blinding = Blinding::new(zone, label);
        let blinded = (blinding.scalar() * zone.point()).compress().to_bytes();
        Self::new(zone, label, blinded)
    }

    /// For the owner: the same keys, computed from the secret.
    pub(crate) fn of_secret(secret: &ZoneSecret, label: &Label, blinding: &Blinding) -> Self {
        let blinded = secret.blinded_point(blinding).compress().to_bytes();
        Self::new(secret.public(), label, blinded)
    }

    fn new(zone: &ZoneKey, label: &Label, blinded: [u8; 32]) -> Self {
        let (mut key, mut nonce) = (Zeroizing::new([0; 32]), [0; 16]);
        let info = &[label.as_bytes()];
        match zone.zone_type() {
            ZoneType::Pkey => {
                hkdf(b"gns-aes-ctx-key", zone.zkey(), info, key.as_mut());
                let (used, _) = nonce.split_at_mut(4);
                hkdf(b"gns-aes-ctx-iv", zone.zkey(), info, used);
            }
            ZoneType::Edkey => {
                hkdf(b"gns-xsalsa-ctx-key", zone.zkey(), info, key.as_mut());
                hkdf(b"gns-xsalsa-ctx-iv", zone.zkey(), info, &mut nonce);
            }
        }
        Self { zone_type: zone.zone_type(), blinded, key, nonce }
    }

    /// Where the block of this label lies.
    pub fn storage_key(&self) -> StorageKey {
        StorageKey::of_blinded(&self.blinded)
    }

    /// The blinded zone key ("zkey'") that the block carries.
    pub const fn blinded_key(&self) -> &[u8; 32] {
        &self.blinded
    }
}

impl fmt::Debug for LabelKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabelKeys").field("storage_key", &self.storage_key()).finish_non_exhaustive()
    }
}

/// HKDF of mixed hashes: extract with SHA-512, expand with SHA-256 (section 5.1.1).
fn hkdf(salt: &[u8], ikm: &[u8], info: &[&[u8]], out: &mut [u8]) {
    let (prk, _) = Hkdf::<Sha512>::extract(Some(salt), ikm);
    let expand = Hkdf::<Sha256>::from_prk(&prk).expect("64 bytes are enough for a pseudo-random key");
    expand.expand_multi_info(info, out).expect("at most 64 bytes are asked for");
}
