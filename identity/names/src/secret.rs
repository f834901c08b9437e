//! Secret keys of zones: making them, their GNUnet text, and the two ways of signing (RFC 9498, sections 5.1.1 and 5.1.2).

use std::fmt;

use curve25519_dalek::{
    edwards::EdwardsPoint,
    scalar::{Scalar, clamp_integer},
};
use ed25519_dalek::{Signature, VerifyingKey, hazmat};
use p2p_identity::scrub_stack;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use crate::{
    ZoneError, ZoneKey, ZoneType,
    base32gns::{base32gns_decode, base32gns_encode},
    derive::Blinding,
    ecdsa,
    zone::ZONE_ID_BYTES,
};

/// The secret key of a zone. Prints as `ZoneSecret(..)`, has no `Display`, and is wiped from memory when dropped.
///
/// It stands on the heap: a key that is moved would leave a copy behind wherever it was.
#[derive(Clone)]
pub struct ZoneSecret {
    parts: Box<Parts>,
}

#[derive(Clone)]
struct Parts {
    /// PKEY: d, little-endian. EDKEY: the seed.
    bytes: Zeroizing<[u8; 32]>,
    /// The number that multiplies the base point, modulo the group order.
    scalar: Zeroizing<Scalar>,
    /// EDKEY: the second half of the seed's hash, for nonces. PKEY: zeros.
    prefix: Zeroizing<[u8; 32]>,
    public: ZoneKey,
}

impl ZoneSecret {
    /// A new key of 32 bytes from a good source of random numbers. PKEY clamps them (section 5.1.1), EDKEY takes them as seed.
    pub fn from_random(zone_type: ZoneType, random: &[u8; 32]) -> Self {
        let bytes = match zone_type {
            ZoneType::Pkey => Zeroizing::new(clamp_integer(*random)),
            ZoneType::Edkey => Zeroizing::new(*random),
        };
        Self::from_stored(zone_type, &bytes).expect("a clamped number is not a multiple of the order")
    }

    /// Of the 32 bytes as RFC 9498 prints them: PKEY a big-endian number, EDKEY the seed.
    pub fn from_rfc_bytes(zone_type: ZoneType, bytes: &[u8; 32]) -> Result<Self, ZoneError> {
        let mut stored = Zeroizing::new(*bytes);
        if zone_type == ZoneType::Pkey {
            stored.reverse();
        }
        Self::from_stored(zone_type, &stored)
    }

    /// The bytes that [`ZoneSecret::from_rfc_bytes`] takes. Wiped when dropped.
    pub fn to_rfc_bytes(&self) -> Zeroizing<[u8; 32]> {
        let mut out = self.parts.bytes.clone();
        if self.parts.public.zone_type() == ZoneType::Pkey {
            out.reverse();
        }
        out
    }

    /// Of the 36 bytes of GNUnet's key file: u32 zone type, then the key, PKEY little-endian.
    pub fn from_gnunet_bytes(bytes: &[u8]) -> Result<Self, ZoneError> {
        let (number, key) = bytes.split_first_chunk::<4>().ok_or(ZoneError::BadLength(bytes.len()))?;
        let number = u32::from_be_bytes(*number);
        let zone_type = ZoneType::from_number(number).ok_or(ZoneError::UnknownType(number))?;
        let key: &[u8; 32] = key.try_into().map_err(|_| ZoneError::BadLength(key.len()))?;
        Self::from_stored(zone_type, key)
    }

    /// The 36 bytes of GNUnet's key file. Wiped when dropped.
    pub fn to_gnunet_bytes(&self) -> Zeroizing<[u8; ZONE_ID_BYTES]> {
        let mut out = Zeroizing::new([0; ZONE_ID_BYTES]);
        let (number, key) = out.split_at_mut(4);
        number.copy_from_slice(&self.parts.public.zone_type().number().to_be_bytes());
        key.copy_from_slice(self.parts.bytes.as_ref());
        out
    }

    /// Of GNUnet's private key text: Base32GNS of its key file. White space around it is ignored.
    pub fn from_gnunet_text(text: &str) -> Result<Self, ZoneError> {
        let bytes = Zeroizing::new(base32gns_decode(text.trim()).map_err(|_| ZoneError::NotZtld)?);
        Self::from_gnunet_bytes(&bytes)
    }

    /// GNUnet's private key text, 58 symbols. Whoever reads it owns the zone. Wiped when dropped.
    pub fn to_gnunet_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base32gns_encode(self.to_gnunet_bytes().as_ref()))
    }

    /// The zone this key signs for.
    pub const fn public(&self) -> &ZoneKey {
        &self.parts.public
    }

    /// Signs with the zone's own key: revocations (section 4.2).
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = match self.parts.public.zone_type() {
            ZoneType::Pkey => ecdsa::sign(&self.parts.scalar, &self.to_rfc_bytes(), message),
            ZoneType::Edkey => raw_sign(*self.parts.scalar, *self.parts.prefix, self.parts.public.zkey(), message),
        };
        scrub_stack();
        signature
    }

    /// Signs with the key of one label: blocks.
    pub(crate) fn sign_derived(&self, blinding: &Blinding, blinded: &[u8; 32], message: &[u8]) -> [u8; 64] {
        let derived = Zeroizing::new(blinding.scalar() * *self.parts.scalar);
        let signature = match self.parts.public.zone_type() {
            ZoneType::Pkey => {
                let mut octets = Zeroizing::new(derived.to_bytes());
                octets.reverse();
                ecdsa::sign(&derived, &octets, message)
            }
            ZoneType::Edkey => {
                // The whole 64 bytes of the derivation, not the reduced number: the RFC's vectors show it.
                let prefix =
                    Sha256::new().chain_update(self.parts.prefix.as_ref()).chain_update(blinding.hash()).finalize();
                raw_sign(*derived, prefix.into(), blinded, message)
            }
        };
        scrub_stack();
        signature
    }

    /// The public key of one label: `h * d * G`, cheaper than blinding the public key.
    pub(crate) fn blinded_point(&self, blinding: &Blinding) -> EdwardsPoint {
        EdwardsPoint::mul_base(&(blinding.scalar() * *self.parts.scalar))
    }

    fn from_stored(zone_type: ZoneType, bytes: &[u8; 32]) -> Result<Self, ZoneError> {
        let (scalar, prefix) = match zone_type {
            ZoneType::Pkey => (Scalar::from_bytes_mod_order(*bytes), [0; 32]),
            ZoneType::Edkey => expand_seed(bytes),
        };
        if scalar == Scalar::ZERO {
            return Err(ZoneError::BadSecret);
        }
        let public = ZoneKey::of_point(zone_type, &EdwardsPoint::mul_base(&scalar));
        let mut secret = Self {
            parts: Box::new(Parts {
                bytes: Zeroizing::default(),
                scalar: Zeroizing::new(scalar),
                prefix: Zeroizing::new(prefix),
                public,
            }),
        };
        secret.parts.bytes.copy_from_slice(bytes);
        scrub_stack();
        Ok(secret)
    }
}

impl fmt::Debug for ZoneSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ZoneSecret(..)")
    }
}

/// The clamped scalar and the nonce prefix of an Ed25519 seed (RFC 8032, 5.1.5).
fn expand_seed(seed: &[u8; 32]) -> (Scalar, [u8; 32]) {
    let hash = Zeroizing::new(<[u8; 64]>::from(Sha512::digest(seed)));
    let (mut low, mut high) = (Zeroizing::new([0; 32]), [0; 32]);
    let (first, second) = hash.split_at(32);
    low.copy_from_slice(first);
    high.copy_from_slice(second);
    (Scalar::from_bytes_mod_order(clamp_integer(*low)), high)
}

fn raw_sign(scalar: Scalar, hash_prefix: [u8; 32], public: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let key = VerifyingKey::from_bytes(public).expect("the public key was computed from the secret one");
    let secret = hazmat::ExpandedSecretKey { scalar, hash_prefix };
    hazmat::raw_sign::<Sha512>(&secret, message, &key).to_bytes()
}

/// Whether `signature` was made for `message` with the secret of this key, blinded or not.
pub(crate) fn verify(zone_type: ZoneType, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    match zone_type {
        ZoneType::Pkey => ecdsa::verify(public, message, signature),
        ZoneType::Edkey => VerifyingKey::from_bytes(public)
            .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
            .is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_secret_shows_nothing_of_itself() {
        assert_eq!(format!("{:?}", ZoneSecret::from_random(ZoneType::Edkey, &[3; 32])), "ZoneSecret(..)");
    }

    #[test]
    fn the_seed_of_rfc_8032_gives_its_public_key() {
        let seed = [0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4];
        let rest = [0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60];
        let seed: [u8; 32] = [seed, rest].concat().try_into().unwrap();
        let key = ZoneSecret::from_rfc_bytes(ZoneType::Edkey, &seed).unwrap();
        assert_eq!(key.public().zkey()[..4], [0xd7, 0x5a, 0x98, 0x01]);
        let ordinary = ed25519_dalek::SigningKey::from_bytes(&seed);
        assert_eq!(key.sign(b"x"), ed25519_dalek::Signer::sign(&ordinary, b"x").to_bytes());
    }

    #[test]
    fn zero_is_no_secret() {
        assert_eq!(ZoneSecret::from_rfc_bytes(ZoneType::Pkey, &[0; 32]).err(), Some(ZoneError::BadSecret));
        assert!(ZoneSecret::from_gnunet_text("000G0").is_err());
        assert!(ZoneSecret::from_gnunet_bytes(&[0; 36]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_secret_survives_every_form(random: [u8; 32], edkey: bool, message: [u8; 20]) {
            let zone_type = if edkey { ZoneType::Edkey } else { ZoneType::Pkey };
            let secret = ZoneSecret::from_random(zone_type, &random);
            for again in [
                ZoneSecret::from_rfc_bytes(zone_type, &secret.to_rfc_bytes()).unwrap(),
                ZoneSecret::from_gnunet_bytes(secret.to_gnunet_bytes().as_ref()).unwrap(),
                ZoneSecret::from_gnunet_text(&secret.to_gnunet_text()).unwrap(),
            ] {
                prop_assert_eq!(again.public(), secret.public());
                prop_assert_eq!(again.sign(&message), secret.sign(&message));
            }
            prop_assert!(verify(zone_type, secret.public().zkey(), &message, &secret.sign(&message)));
        }
    }
}
