//! Sealing a few bytes for whoever holds an X25519 key, and the pairwise secret of two devices.
//!
//! A sealed box: the sender's one-time public key (32), then ChaCha20-Poly1305 of the bytes under
//! `derive_key("p2pnode sealed box v1", shared || one-time key || receiver's key)`, with a nonce of zeros: the key is used once.

use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, aead::Aead};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::scrub;

const BOX_CONTEXT: &str = "p2pnode sealed box v1";
const KEY_BYTES: usize = 32;
const NONCE: [u8; 12] = [0; 12];

/// An X25519 secret key. Prints as `AgreementKey(..)`, wiped when dropped; on the heap, so that moves leave nothing.
pub struct AgreementKey(Box<StaticSecret>);

impl AgreementKey {
    /// A fresh key from the operating system's random numbers.
    ///
    /// # Panics
    /// When the operating system has no random numbers to give.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(bytes.as_mut()).expect("the operating system provides random numbers");
        Self::from_bytes(&bytes)
    }

    /// The key of 32 bytes.
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        let key = Self(Box::new(StaticSecret::from(*bytes)));
        scrub::stack();
        key
    }

    /// The bytes, for storing the key. Wiped when dropped.
    pub fn to_bytes(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public key.
    pub fn public(&self) -> [u8; KEY_BYTES] {
        PublicKey::from(&*self.0).to_bytes()
    }

    /// What only the holders of the two keys can compute; `None` where the other key gives everybody the same.
    pub fn agree(&self, other: &[u8; KEY_BYTES]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
        let shared = self.0.diffie_hellman(&PublicKey::from(*other));
        let agreed = shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()));
        scrub::stack();
        agreed
    }

    /// Opens a sealed box; `None` if it is not for this key, or was changed.
    pub fn open(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (one_time, sealed) = sealed.split_first_chunk::<KEY_BYTES>()?;
        let key = box_key(&*self.agree(one_time)?, one_time, &self.public());
        let opened = ChaCha20Poly1305::new(&(*key).into()).decrypt(&Nonce::from(NONCE), sealed).ok();
        scrub::stack();
        opened.map(Zeroizing::new)
    }
}

impl std::fmt::Debug for AgreementKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AgreementKey(..)")
    }
}

/// Seals bytes that only the holder of `receiver` can read; `None` where that is no key that somebody can hold.
pub fn seal_for(receiver: &[u8; KEY_BYTES], bytes: &[u8]) -> Option<Vec<u8>> {
    let one_time = AgreementKey::generate();
    let public = one_time.public();
    let key = box_key(&*one_time.agree(receiver)?, &public, receiver);
    let sealed = ChaCha20Poly1305::new(&(*key).into()).encrypt(&Nonce::from(NONCE), bytes).ok()?;
    Some([public.as_slice(), &sealed].concat())
}

fn box_key(shared: &[u8; 32], one_time: &[u8; 32], receiver: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key(BOX_CONTEXT);
    hasher.update(shared).update(one_time).update(receiver);
    Zeroizing::new(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_receiver_opens_a_box_and_every_flipped_bit_is_noticed() {
        let (mine, other) = (AgreementKey::generate(), AgreementKey::generate());
        let sealed = seal_for(&mine.public(), b"a passphrase").unwrap();
        assert_eq!(mine.open(&sealed).unwrap().as_slice(), b"a passphrase");
        assert!(other.open(&sealed).is_none());
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // The top bit of an X25519 key does not count (RFC 7748, section 5), but it is part of what the box key is made of.
            assert!(mine.open(&bad).is_none(), "bit {bit}");
        }
        assert!(mine.open(&sealed[..31]).is_none());
    }

    #[test]
    fn two_agree_on_the_same_and_a_key_of_small_order_on_nothing() {
        let (a, b) = (AgreementKey::generate(), AgreementKey::generate());
        assert_eq!(a.agree(&b.public()), b.agree(&a.public()));
        assert_eq!(a.agree(&[0; 32]), None);
        assert!(seal_for(&[0; 32], b"x").is_none());
        assert_eq!(AgreementKey::from_bytes(&a.to_bytes()).public(), a.public());
        assert_eq!(format!("{a:?}"), "AgreementKey(..)");
    }
}
