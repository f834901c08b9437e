//! The keystore: one file with the secret keys of this node (specs/overlay.md, section 3.1).
//!
//! The secrets are sealed under a random data key. Slots in the header hold that key, each locked in its own way. Today's only
//! slot kind holds it openly, so what protects the file is its mode, 0600 in a directory of mode 0700; a passphrase slot
//! can be added without touching the rest. Every change replaces the file as a whole and is on disk before it returns.

mod file;
mod format;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use zeroize::Zeroizing;

pub(crate) use file::{create_new_file, read_private_file};

use crate::SecretKey;
use format::{Header, Secret};

/// Largest keystore file we read or write, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Longest id of a secret, in bytes.
const MAX_ID_BYTES: usize = 64;
/// Longest secret, in bytes.
const MAX_SECRET_BYTES: usize = 256;
/// Most secrets in one keystore.
const MAX_SECRETS: usize = 16_384;
/// Name of the file inside the home directory.
const FILE_NAME: &str = "keystore";

/// What a secret is for. Numbers are never reused; unknown ones are kept when the file is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretKind(u16);

impl SecretKind {
    /// Key pair of a drive; the id is its public key.
    pub const DRIVE: Self = Self(1);
    /// This node's writer key for a drive; the id is the drive's public key.
    pub const WRITER: Self = Self(2);
    /// Secret key of a zone in GNUnet's 36 bytes; the id is the zone's 36 bytes.
    pub const ZONE: Self = Self(6);
    /// What the keys of apps are derived from, 32 random bytes; the id is its generation as a u32 (big-endian).
    pub const APP_ROOT: Self = Self(5);
    // Kept for later: 3 identity, 4 device, 7 contact.
}

/// The open keystore. One process at a time: the lock of the home directory sees to that.
pub struct Keystore {
    path: PathBuf,
    header: Header,
    data_key: Zeroizing<[u8; 32]>,
    secrets: BTreeMap<(u16, Vec<u8>), Secret>,
    warnings: Vec<KeystoreWarning>,
}

/// Something that was wrong and has been put right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeystoreWarning {
    /// Others could read the file or directory; its mode has been tightened.
    #[error("{} could be read by others (mode {found:o}); it is now {repaired:o}", path.display())]
    ModeRepaired {
        /// Which file or directory.
        path: PathBuf,
        /// Permission bits before.
        found: u32,
        /// Permission bits now.
        repaired: u32,
    },
}

/// Why the keystore could not be opened or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// The file system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Written by a newer version.
    #[error("the keystore has format {found}, this version of p2pnode reads up to {known}: install a newer one")]
    NewerFormat {
        /// Format number of the file.
        found: u16,
        /// Highest number we know.
        known: u16,
    },
    /// No slot that we can open.
    #[error(
        "the keystore is locked in a way this version of p2pnode cannot open (slot kinds {kinds:?}): install a newer one"
    )]
    NoUsableSlot {
        /// Kinds of the slots it has.
        kinds: Vec<u16>,
    },
    /// The bytes are not what was written.
    #[error("the keystore {} is damaged ({what}): put a backup in its place, or move it away and lose its keys", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another key is stored under this kind and id.
    #[error("another key is already stored there; it was not replaced")]
    AlreadyThere,
    /// A limit of the format.
    #[error("{what} is {value}, at most {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        value: usize,
        /// How large it may be.
        limit: usize,
    },
}

impl Keystore {
    /// Opens `keystore` in `dir`, or makes an empty one; makes `dir` too. Blocks on the disk.
    pub fn open_or_create(dir: &Path) -> Result<Self, KeystoreError> {
        let mut warnings = Vec::new();
        file::make_private_dir(dir, &mut warnings)?;
        let path = dir.join(FILE_NAME);
        match read_private_file(&path, MAX_FILE_BYTES, &mut warnings)? {
            Some(bytes) => Self::decode(path, &bytes, warnings),
            None => Self::create(path, warnings),
        }
    }

    /// What had to be repaired when it was opened; worth showing to the user.
    pub fn warnings(&self) -> &[KeystoreWarning] {
        &self.warnings
    }

    /// The key stored under `kind` and `id`.
    pub fn get(&self, kind: SecretKind, id: &[u8]) -> Option<SecretKey> {
        let secret = self.secrets.get(&(kind.0, id.to_vec()))?;
        let seed = <&[u8; 32]>::try_from(secret.as_slice()).ok()?;
        Some(SecretKey::from_seed(seed))
    }

    /// Stores a key; it is on disk when this returns. Storing the same key again does nothing, another one is refused.
    pub fn insert(&mut self, kind: SecretKind, id: &[u8], key: &SecretKey) -> Result<(), KeystoreError> {
        self.insert_bytes(kind, id, key.seed().as_slice())
    }

    /// The secret stored under `kind` and `id`, where it is no Ed25519 seed.
    pub fn get_bytes(&self, kind: SecretKind, id: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.secrets.get(&(kind.0, id.to_vec())).cloned()
    }

    /// As [`Keystore::insert`], for secrets that are no Ed25519 seeds.
    pub fn insert_bytes(&mut self, kind: SecretKind, id: &[u8], secret: &[u8]) -> Result<(), KeystoreError> {
        if id.len() > MAX_ID_BYTES {
            return Err(KeystoreError::TooLarge { what: "the id of a key", value: id.len(), limit: MAX_ID_BYTES });
        }
        if secret.len() > MAX_SECRET_BYTES {
            return Err(KeystoreError::TooLarge { what: "a key", value: secret.len(), limit: MAX_SECRET_BYTES });
        }
        let secret = Zeroizing::new(secret.to_vec());
        let slot = (kind.0, id.to_vec());
        if let Some(stored) = self.secrets.get(&slot) {
            let same = blake3::hash(stored) == blake3::hash(&secret);
            return if same { Ok(()) } else { Err(KeystoreError::AlreadyThere) };
        }
        if self.secrets.len() >= MAX_SECRETS {
            let value = self.secrets.len() + 1;
            return Err(KeystoreError::TooLarge { what: "the number of keys", value, limit: MAX_SECRETS });
        }
        self.secrets.insert(slot.clone(), secret);
        let written = self.write();
        if written.is_err() {
            self.secrets.remove(&slot);
        }
        written
    }

    /// Removes the secret under `kind` and `id`; it is gone from the disk's file when this returns. Whether there was one.
    pub fn remove(&mut self, kind: SecretKind, id: &[u8]) -> Result<bool, KeystoreError> {
        let slot = (kind.0, id.to_vec());
        let Some(secret) = self.secrets.remove(&slot) else { return Ok(false) };
        let written = self.write();
        if written.is_err() {
            self.secrets.insert(slot, secret);
        }
        written.map(|()| true)
    }

    /// Ids of all keys of one kind, in order.
    pub fn ids(&self, kind: SecretKind) -> Vec<Vec<u8>> {
        let ids = self.secrets.keys().filter(|(stored, _)| *stored == kind.0);
        ids.map(|(_, id)| id.clone()).collect()
    }

    fn create(path: PathBuf, warnings: Vec<KeystoreWarning>) -> Result<Self, KeystoreError> {
        let mut data_key = Zeroizing::new([0; 32]);
        fill_random(data_key.as_mut());
        let header = Header::with_open_slot(&data_key);
        let keystore = Self { path, header, data_key, secrets: BTreeMap::new(), warnings };
        keystore.write()?;
        Ok(keystore)
    }

    fn decode(path: PathBuf, bytes: &[u8], warnings: Vec<KeystoreWarning>) -> Result<Self, KeystoreError> {
        let (header, data_key, secrets) = format::decode(bytes).map_err(|error| error.at(&path))?;
        Ok(Self { path, header, data_key, secrets, warnings })
    }

    fn write(&self) -> Result<(), KeystoreError> {
        let mut nonce = [0; 24];
        fill_random(&mut nonce);
        let bytes = format::encode(&self.header, &self.data_key, &nonce, &self.secrets)
            .map_err(|error| error.at(&self.path))?;
        file::replace(&self.path, &bytes)
    }
}

impl std::fmt::Debug for Keystore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keystore")
            .field("path", &self.path)
            .field("secrets", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system provides random numbers");
}

#[cfg(test)]
mod tests;
