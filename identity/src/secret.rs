//! Ed25519 signing keys that do not leak.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::scrub;

/// An Ed25519 signing key. It has no text form, prints as `SecretKey(..)` and is wiped from memory when dropped.
///
/// It stands on the heap: a key that is moved would leave a copy behind wherever it was.
#[derive(Clone)]
pub struct SecretKey(Box<SigningKey>);

/// The signature does not belong to this message and key, or the key is no Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the signature is not valid")]
pub struct BadSignature;

impl SecretKey {
    /// A fresh key from the operating system's random numbers.
    ///
    /// # Panics
    /// When the operating system has no random numbers to give: no key made without them would be one.
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).expect("the operating system provides random numbers");
        Self::from_seed(&seed)
    }

    /// The key of a 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = Self(Box::new(SigningKey::from_bytes(seed)));
        scrub::stack();
        key
    }

    /// The seed, for storing the key. Wiped when dropped.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs `message` (Ed25519, RFC 8032).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.0.sign(message).to_bytes();
        scrub::stack();
        signature
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Checks a signature strictly: keys and points of small order are refused, so one signature fits one key and message.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), BadSignature> {
    let key = VerifyingKey::from_bytes(public).map_err(|_| BadSignature)?;
    key.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    #[test]
    fn the_second_vector_of_rfc_8032_is_reproduced() {
        let seed = HEXLOWER.decode(b"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
        let key = SecretKey::from_seed(&seed.try_into().unwrap());
        assert_eq!(HEXLOWER.encode(&key.public()), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        assert_eq!(
            HEXLOWER.encode(&key.sign(&[0x72])),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
    }

    #[test]
    fn a_secret_key_shows_nothing_of_itself() {
        assert_eq!(format!("{:?}", SecretKey::from_seed(&[3; 32])), "SecretKey(..)");
    }

    #[test]
    fn a_key_of_small_order_verifies_nothing() {
        let mut identity_point = [0; 32];
        identity_point[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert_eq!(verify(&identity_point, b"anything", &signature), Err(BadSignature));
    }

    #[test]
    fn two_generated_keys_differ() {
        assert_ne!(SecretKey::generate().public(), SecretKey::generate().public());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_flipped_bit_in_key_message_or_signature_is_noticed(
            seed: [u8; 32], message in proptest::collection::vec(any::<u8>(), 1..64), position: prop::sample::Index, bit in 0..8u8,
        ) {
            let key = SecretKey::from_seed(&seed);
            let (public, signature) = (key.public(), key.sign(&message));
            prop_assert_eq!(verify(&public, &message, &signature), Ok(()));
            let (mut bad_public, mut bad_message, mut bad_signature) = (public, message.clone(), signature);
            bad_public[position.index(32)] ^= 1 << bit;
            bad_message[position.index(message.len())] ^= 1 << bit;
            bad_signature[position.index(64)] ^= 1 << bit;
            prop_assert_eq!(verify(&bad_public, &message, &signature), Err(BadSignature));
            prop_assert_eq!(verify(&public, &bad_message, &signature), Err(BadSignature));
            prop_assert_eq!(verify(&public, &message, &bad_signature), Err(BadSignature));
        }
    }
}
