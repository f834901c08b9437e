//! The passphrase slot: a data key sealed under what Argon2id makes of a passphrase (RFC 9106; specs/overlay.md, 3.1).
//!
//! Parameters: memory in KiB, passes, lanes as varints, salt (16). Wrapped key: nonce (24), then XChaCha20-Poly1305 of the
//! data key with the parameters as associated data.

use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use zeroize::{Zeroize, Zeroizing};

use super::{KeystoreError, fill_random};
use crate::{ByteReader, ByteWriter, CodecError};

/// Longest passphrase, in bytes.
pub const MAX_PASSPHRASE_BYTES: usize = 1024;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
/// Most memory a file may ask for, in KiB: a hostile one must not exhaust the computer.
const MAX_MEMORY_KIB: u32 = 2 * 1024 * 1024;
/// Most passes a file may ask for.
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 64;
/// Deriving takes at least this long when a passphrase is set.
const GOAL: Duration = Duration::from_millis(500);
/// Beyond this much memory more passes are taken instead: a node that unlocks must stay below the memory at which it lets
/// peers go, which is 256 MiB or less.
const CALIBRATED_MEMORY_KIB: u32 = 64 * 1024;

/// What guessing one passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl KdfCost {
    /// Never less than this: the second choice of what is still taken for safe.
    pub const LEAST: Self = Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
    /// The second recommendation of RFC 9106, section 4.
    const USUAL: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

    /// Grows from the usual cost until one guess takes half a second on this computer, with at most a quarter of its
    /// memory (`None`: unknown). Takes a second or two.
    pub fn calibrated(memory_bytes: Option<u64>) -> Self {
        let most = most_memory_kib(memory_bytes);
        let mut cost = Self::usual(memory_bytes);
        loop {
            let begun = Instant::now();
            let _ = cost.derive(b"how long does it take", &[0; SALT_BYTES]);
            if begun.elapsed() >= GOAL || cost.passes >= MAX_PASSES {
                return cost;
            }
            if cost.memory_kib <= most / 2 {
                cost.memory_kib *= 2;
            } else {
                cost.passes += cost.passes.div_ceil(2);
                cost.passes = cost.passes.min(MAX_PASSES);
            }
        }
    }

    /// What a new passphrase costs at least on a computer with so much memory.
    pub fn usual(memory_bytes: Option<u64>) -> Self {
        let most = most_memory_kib(memory_bytes);
        if most < Self::USUAL.memory_kib { Self { memory_kib: most, ..Self::LEAST } } else { Self::USUAL }
    }

    /// Whether guessing is cheaper than at `other`: less memory, or less work in all.
    pub fn is_below(self, other: Self) -> bool {
        let work = |cost: Self| u64::from(cost.memory_kib) * u64::from(cost.passes);
        self.memory_kib < other.memory_kib || work(self) < work(other)
    }

    fn derive(self, passphrase: &[u8], salt: &[u8; SALT_BYTES]) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let too_large = |_| KeystoreError::TooLarge {
            what: "the memory that the passphrase slot asks for, in KiB",
            value: self.memory_kib as usize,
            limit: MAX_MEMORY_KIB as usize,
        };
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(too_large)?;
        let mut memory = vec![Block::new(); params.block_count()];
        let mut key = Zeroizing::new([0; 32]);
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let done = argon.hash_password_into_with_memory(passphrase, salt, key.as_mut(), &mut memory);
        memory.iter_mut().for_each(Zeroize::zeroize);
        crate::scrub::stack();
        done.map_err(too_large)?;
        Ok(key)
    }
}

/// A quarter of the memory, within bounds, in KiB.
fn most_memory_kib(memory_bytes: Option<u64>) -> u32 {
    let quarter = memory_bytes.map_or(u64::from(KdfCost::USUAL.memory_kib), |bytes| bytes / 4 / 1024);
    u32::try_from(quarter).unwrap_or(u32::MAX).clamp(KdfCost::LEAST.memory_kib, CALIBRATED_MEMORY_KIB)
}

/// What a passphrase is tried on; a copy of the slot, so that half a second of work needs no keystore.
#[derive(Debug, Clone)]
pub struct PassphraseSlot {
    cost: KdfCost,
    salt: [u8; SALT_BYTES],
    pub(super) params: Vec<u8>,
    pub(super) wrapped: Vec<u8>,
}

/// The data key of a keystore, got by a passphrase.
/// On the heap: a key that is moved would leave a copy behind.
pub struct DataKey(pub(super) Box<Zeroizing<[u8; 32]>>);

impl DataKey {
    /// The key itself. Whoever has it and the file has all secrets: for tests that look for it where it must not be.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// A data key for a keystore that gets another passphrase, or none. Making it takes as long as one guess, and needs no
/// keystore.
pub struct NewPassphrase {
    pub(super) slot: Option<PassphraseSlot>,
    pub(super) data_key: Box<Zeroizing<[u8; 32]>>,
}

impl std::fmt::Debug for NewPassphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassphrase(..)")
    }
}

impl NewPassphrase {
    /// A passphrase, or none.
    ///
    /// # Errors
    /// [`KeystoreError::BadPassphrase`]: it is empty, or longer than [`MAX_PASSPHRASE_BYTES`].
    pub fn new(passphrase: Option<(&[u8], KdfCost)>) -> Result<Self, KeystoreError> {
        let mut data_key: Box<Zeroizing<[u8; 32]>> = Box::default();
        fill_random(data_key.as_mut_slice());
        let slot = match passphrase {
            Some((passphrase, cost)) => {
                if passphrase.is_empty() || passphrase.len() > MAX_PASSPHRASE_BYTES {
                    return Err(KeystoreError::BadPassphrase);
                }
                Some(PassphraseSlot::seal(cost, passphrase, &data_key)?)
            }
            None => None,
        };
        Ok(Self { slot, data_key })
    }
}

impl PassphraseSlot {
    /// Seals a data key. Takes as long as one guess.
    pub(super) fn seal(cost: KdfCost, passphrase: &[u8], data_key: &[u8; 32]) -> Result<Self, KeystoreError> {
        let mut salt = [0; SALT_BYTES];
        fill_random(&mut salt);
        let mut out = ByteWriter::new();
        out.u64(u64::from(cost.memory_kib));
        out.u64(u64::from(cost.passes));
        out.u64(u64::from(cost.lanes));
        out.raw(&salt);
        let params = out.into_bytes();
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce);
        let key = cost.derive(passphrase, &salt)?;
        let payload = Payload { msg: data_key, aad: &params };
        let sealed = XChaCha20Poly1305::new(&(*key).into()).encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("32 bytes can be sealed");
        Ok(Self { cost, salt, params, wrapped: [nonce.as_slice(), &sealed].concat() })
    }

    /// Reads a slot; refuses what would exhaust the computer.
    pub(super) fn read(params: &[u8], wrapped: &[u8]) -> Result<Self, CodecError> {
        let mut reader = ByteReader::new(params);
        let mut bounded = |what, limit: u32| match reader.u32()? {
            value if (1..=limit).contains(&value) => Ok(value),
            value => Err(CodecError::TooMany { what, value: u64::from(value), limit: u64::from(limit) }),
        };
        let memory_kib = bounded("KiB of memory for the passphrase", MAX_MEMORY_KIB)?;
        let passes = bounded("passes for the passphrase", MAX_PASSES)?;
        let lanes = bounded("lanes for the passphrase", MAX_LANES)?;
        let salt = reader.array()?;
        reader.finish()?;
        let cost = KdfCost { memory_kib, passes, lanes };
        Ok(Self { cost, salt, params: params.to_vec(), wrapped: wrapped.to_vec() })
    }

    /// Tries a passphrase; takes half a second of one core, and the memory that its cost says.
    ///
    /// # Errors
    /// [`KeystoreError::WrongPassphrase`].
    pub fn open(&self, passphrase: &[u8]) -> Result<DataKey, KeystoreError> {
        let key = self.cost.derive(passphrase, &self.salt)?;
        let (nonce, sealed) = self.wrapped.split_first_chunk().ok_or(KeystoreError::WrongPassphrase)?;
        let payload = Payload { msg: sealed, aad: &self.params };
        let opened = XChaCha20Poly1305::new(&(*key).into()).decrypt(&XNonce::from(*nonce), payload);
        let opened = Zeroizing::new(opened.map_err(|_| KeystoreError::WrongPassphrase)?);
        let mut data_key = DataKey(Box::default());
        if opened.len() != data_key.0.len() {
            return Err(KeystoreError::WrongPassphrase);
        }
        data_key.0.copy_from_slice(&opened);
        crate::scrub::stack();
        Ok(data_key)
    }

    /// The data key that this slot gave, under the same passphrase at another cost. Takes as long as one guess.
    ///
    /// # Errors
    /// The cost asks for more than this computer has.
    pub fn renewed(passphrase: &[u8], key: &DataKey, cost: KdfCost) -> Result<Self, KeystoreError> {
        let slot = Self::seal(cost, passphrase, &key.0);
        crate::scrub::stack();
        slot
    }

    /// What one guess costs.
    pub fn cost(&self) -> KdfCost {
        self.cost
    }
}
