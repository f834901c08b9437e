//! The secrets in memory: each is sealed, and the key of the seals is the only thing that has to be kept out of swap and
//! wiped to close them all.

use std::collections::BTreeMap;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use region::LockGuard;
use zeroize::{Zeroize, Zeroizing};

use super::fill_random;
use super::format::Secrets;

/// Derives the key of the seals in memory from the data key of the file.
const CONTEXT: &str = "p2pnode keystore v1 secrets in memory";
const NONCE_BYTES: usize = 24;

/// A key in memory that the system is asked not to write to swap, wiped when dropped.
struct GuardedKey {
    bytes: Box<[u8; 32]>,
    /// Held for as long as the bytes; `None` where the system refused.
    guard: Option<LockGuard>,
}

impl GuardedKey {
    fn new(key: &[u8; 32]) -> Self {
        let mut bytes = Box::new([0; 32]);
        let guard = region::lock(bytes.as_ptr(), bytes.len()).ok();
        *bytes = *key;
        Self { bytes, guard }
    }
}

impl Drop for GuardedKey {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// All secrets of an open keystore.
pub(super) struct Vault {
    data_key: GuardedKey,
    seal: GuardedKey,
    sealed: BTreeMap<(u16, Vec<u8>), Vec<u8>>,
}

impl Vault {
    pub(super) fn new(data_key: &[u8; 32], secrets: &Secrets) -> Self {
        let derived = Zeroizing::new(blake3::derive_key(CONTEXT, data_key));
        let mut vault =
            Self { data_key: GuardedKey::new(data_key), seal: GuardedKey::new(&derived), sealed: BTreeMap::new() };
        for (slot, secret) in secrets {
            vault.put(slot.clone(), secret);
        }
        crate::scrub::stack();
        vault
    }

    pub(super) fn data_key(&self) -> &[u8; 32] {
        &self.data_key.bytes
    }

    /// Whether the system keeps the key out of swap.
    pub(super) fn is_kept_from_swap(&self) -> bool {
        self.data_key.guard.is_some() && self.seal.guard.is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.sealed.len()
    }

    pub(super) fn get(&self, slot: &(u16, Vec<u8>)) -> Option<Zeroizing<Vec<u8>>> {
        let secret = self.open(slot, self.sealed.get(slot)?);
        crate::scrub::stack();
        Some(secret)
    }

    pub(super) fn put(&mut self, slot: (u16, Vec<u8>), secret: &[u8]) {
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce);
        let payload = Payload { msg: secret, aad: &slot.1 };
        let sealed = XChaCha20Poly1305::new(&(*self.seal.bytes).into()).encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("a secret of at most 256 bytes can be sealed");
        self.sealed.insert(slot, [nonce.as_slice(), &sealed].concat());
    }

    pub(super) fn remove(&mut self, slot: &(u16, Vec<u8>)) -> bool {
        self.sealed.remove(slot).is_some()
    }

    pub(super) fn ids(&self, kind: u16) -> Vec<Vec<u8>> {
        self.sealed.keys().filter(|(stored, _)| *stored == kind).map(|(_, id)| id.clone()).collect()
    }

    /// All of them, to be written; wiped when dropped.
    pub(super) fn all(&self) -> Secrets {
        self.sealed.iter().map(|(slot, sealed)| (slot.clone(), self.open(slot, sealed))).collect()
    }

    fn open(&self, slot: &(u16, Vec<u8>), sealed: &[u8]) -> Zeroizing<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk().expect("sealed by us with a nonce");
        let payload = Payload { msg: sealed, aad: &slot.1 };
        let opened = XChaCha20Poly1305::new(&(*self.seal.bytes).into()).decrypt(&XNonce::from(*nonce), payload);
        Zeroizing::new(opened.expect("sealed by us under this key"))
    }
}
