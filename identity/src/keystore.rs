//! The keystore: one file with the secret keys of this node (specs/overlay.md, section 3.1).
//!
//! The secrets are sealed under a random data key. Slots in the header hold that key, each locked in its own way. Until a
//! passphrase is set a slot holds it openly, and what protects the file is its mode, 0600 in a directory of mode 0700.
//! With one the keystore can be locked: the data key is wiped, and every call that needs a secret says so at once.
//! Every change replaces the file as a whole and is on disk before it returns.

mod file;
mod format;
mod passphrase;
mod vault;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use zeroize::Zeroizing;

pub(crate) use file::{create_new_file, read_private_file, remove_file};

pub use passphrase::{DataKey, KdfCost, MAX_PASSPHRASE_BYTES, NewPassphrase, PassphraseSlot};

use crate::SecretKey;
use format::Header;
use vault::Vault;

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
    /// Keys of this device: signing seed (32), agreement secret (32); the id is the identity's.
    pub const DEVICE: Self = Self(4);
    /// What this node shares with a contact, 32 bytes; the id is the contact's identity.
    pub const CONTACT: Self = Self(7);
    /// The one-time secret of an invite, 16 bytes; the id is the invite's.
    pub const INVITE: Self = Self(8);
    /// The key by which the network knows this node, a seed, where it does not lie in a file of its own; the id is empty.
    pub const TRANSPORT: Self = Self(9);
    // 3 was kept for the identity's root key, which no keystore holds.
}

/// The open keystore. One process at a time: the lock of the home directory sees to that.
pub struct Keystore {
    path: PathBuf,
    header: Header,
    /// The secrets; `None` while it is locked.
    vault: Option<Vault>,
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
    /// The system does not keep the keys out of swap.
    #[error(
        "the system does not let this program keep keys out of swap (limit of locked memory): encrypt the swap, or raise the limit"
    )]
    NotKeptFromSwap,
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
    /// It is locked: what needs a key waits until its owner unlocks it.
    #[error("the keys are locked")]
    Locked,
    /// Not the passphrase.
    #[error("this is not the passphrase")]
    WrongPassphrase,
    /// It cannot be locked without one.
    #[error("no passphrase is set, so the keys cannot be locked")]
    NoPassphrase,
    /// The passphrase is too short or too long.
    #[error("a passphrase has 1 to {MAX_PASSPHRASE_BYTES} bytes")]
    BadPassphrase,
    /// Another version has locked it in a further way, which a new data key would make useless.
    #[error(
        "the keystore can also be opened in a way that this version of p2pnode does not know: install a newer one to change its passphrase"
    )]
    ForeignSlots,
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

    /// What had to be repaired when it was opened, or cannot be had; worth showing to the user.
    pub fn warnings(&self) -> &[KeystoreWarning] {
        &self.warnings
    }

    /// Whether a passphrase is needed to open it.
    pub fn is_protected(&self) -> bool {
        self.header.open_key().is_ok_and(|key| key.is_none())
    }

    /// Whether nothing that needs a secret can be done.
    pub fn is_locked(&self) -> bool {
        self.vault.is_none()
    }

    /// Wipes all keys from memory. What is on disk stays.
    ///
    /// # Errors
    /// [`KeystoreError::NoPassphrase`]: anybody could open it again.
    pub fn lock(&mut self) -> Result<(), KeystoreError> {
        if !self.is_protected() {
            return Err(KeystoreError::NoPassphrase);
        }
        self.vault = None;
        Ok(())
    }

    /// What a passphrase can be tried on; `None` where there is none. Trying takes long, and needs no keystore.
    pub fn passphrase_slot(&self) -> Result<Option<PassphraseSlot>, KeystoreError> {
        self.header.passphrase_slot().map_err(|error| error.at(&self.path))
    }

    /// Opens it with what [`PassphraseSlot::open`] gave. Blocks on the disk.
    pub fn unlock(&mut self, key: &DataKey) -> Result<(), KeystoreError> {
        if self.vault.is_some() {
            return Ok(());
        }
        let bytes = read_private_file(&self.path, MAX_FILE_BYTES, &mut self.warnings)?;
        let bytes =
            bytes.ok_or_else(|| KeystoreError::Damaged { path: self.path.clone(), what: "it is gone".into() })?;
        let file = format::read(&bytes).map_err(|error| error.at(&self.path))?;
        let secrets = file.open(&key.0).map_err(|error| error.at(&self.path))?;
        self.vault = Some(Vault::new(&key.0, &secrets));
        drop(secrets);
        crate::scrub::stack();
        Ok(())
    }

    /// Sets, changes or (with `None`) takes away the passphrase, under a new data key: a copy of the old file opens
    /// nothing of what is added later. On disk when it returns.
    ///
    /// # Errors
    /// [`KeystoreError::Locked`].
    pub fn set_passphrase(&mut self, new: &NewPassphrase) -> Result<(), KeystoreError> {
        let vault = self.vault.as_ref().ok_or(KeystoreError::Locked)?;
        if self.header.has_foreign_slots() {
            return Err(KeystoreError::ForeignSlots);
        }
        let header = match &new.slot {
            Some(slot) => self.header.with_passphrase(slot),
            None => self.header.with_open_key(&new.data_key),
        };
        let secrets = vault.all();
        write(&self.path, &header, &new.data_key, &secrets)?;
        self.header = header;
        self.vault = Some(Vault::new(&new.data_key, &secrets));
        Ok(())
    }

    /// Puts another slot in the place of the one that the passphrase opened, made by [`PassphraseSlot::renewed`]; all keys
    /// stay. On disk when it returns.
    ///
    /// # Errors
    /// [`KeystoreError::Locked`], or there is no passphrase any more.
    pub fn renew(&mut self, slot: &PassphraseSlot) -> Result<(), KeystoreError> {
        if !self.is_protected() {
            return Err(KeystoreError::NoPassphrase);
        }
        let vault = self.vault.as_ref().ok_or(KeystoreError::Locked)?;
        let header = self.header.with_passphrase(slot);
        write(&self.path, &header, vault.data_key(), &vault.all())?;
        self.header = header;
        Ok(())
    }

    /// The key stored under `kind` and `id`.
    ///
    /// # Errors
    /// [`KeystoreError::Locked`].
    pub fn get(&self, kind: SecretKind, id: &[u8]) -> Result<Option<SecretKey>, KeystoreError> {
        let secret = self.get_bytes(kind, id)?;
        let seed = secret.as_ref().and_then(|secret| <&[u8; 32]>::try_from(secret.as_slice()).ok());
        Ok(seed.map(SecretKey::from_seed))
    }

    /// Stores a key; it is on disk when this returns. Storing the same key again does nothing, another one is refused.
    pub fn insert(&mut self, kind: SecretKind, id: &[u8], key: &SecretKey) -> Result<(), KeystoreError> {
        self.insert_bytes(kind, id, key.seed().as_slice())
    }

    /// The secret stored under `kind` and `id`, where it is no Ed25519 seed.
    ///
    /// # Errors
    /// [`KeystoreError::Locked`].
    pub fn get_bytes(&self, kind: SecretKind, id: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, KeystoreError> {
        let vault = self.vault.as_ref().ok_or(KeystoreError::Locked)?;
        Ok(vault.get(&(kind.0, id.to_vec())))
    }

    /// As [`Keystore::insert`], for secrets that are no Ed25519 seeds.
    pub fn insert_bytes(&mut self, kind: SecretKind, id: &[u8], secret: &[u8]) -> Result<(), KeystoreError> {
        if id.len() > MAX_ID_BYTES {
            return Err(KeystoreError::TooLarge { what: "the id of a key", value: id.len(), limit: MAX_ID_BYTES });
        }
        if secret.len() > MAX_SECRET_BYTES {
            return Err(KeystoreError::TooLarge { what: "a key", value: secret.len(), limit: MAX_SECRET_BYTES });
        }
        let vault = self.vault.as_mut().ok_or(KeystoreError::Locked)?;
        let slot = (kind.0, id.to_vec());
        if let Some(stored) = vault.get(&slot) {
            let same = blake3::hash(&stored) == blake3::hash(secret);
            return if same { Ok(()) } else { Err(KeystoreError::AlreadyThere) };
        }
        if vault.len() >= MAX_SECRETS {
            let value = vault.len() + 1;
            return Err(KeystoreError::TooLarge { what: "the number of keys", value, limit: MAX_SECRETS });
        }
        vault.put(slot.clone(), secret);
        let written = write(&self.path, &self.header, vault.data_key(), &vault.all());
        if written.is_err() {
            vault.remove(&slot);
        }
        written
    }

    /// Forgets a secret for ever; whether there was one. On disk when it returns.
    pub fn remove(&mut self, kind: SecretKind, id: &[u8]) -> Result<bool, KeystoreError> {
        let vault = self.vault.as_mut().ok_or(KeystoreError::Locked)?;
        let slot = (kind.0, id.to_vec());
        let Some(secret) = vault.get(&slot) else { return Ok(false) };
        vault.remove(&slot);
        let written = write(&self.path, &self.header, vault.data_key(), &vault.all());
        if written.is_err() {
            vault.put(slot, &secret);
        }
        written.map(|()| true)
    }

    /// Ids of all secrets of one kind, in order.
    ///
    /// # Errors
    /// [`KeystoreError::Locked`].
    pub fn ids(&self, kind: SecretKind) -> Result<Vec<Vec<u8>>, KeystoreError> {
        Ok(self.vault.as_ref().ok_or(KeystoreError::Locked)?.ids(kind.0))
    }

    fn create(path: PathBuf, warnings: Vec<KeystoreWarning>) -> Result<Self, KeystoreError> {
        let mut data_key = Zeroizing::new([0; 32]);
        fill_random(data_key.as_mut());
        let header = Header::with_open_slot(&data_key);
        write(&path, &header, &data_key, &BTreeMap::new())?;
        let vault = Some(Vault::new(&data_key, &BTreeMap::new()));
        Ok(Self { path, header, vault, warnings })
    }

    fn decode(path: PathBuf, bytes: &[u8], mut warnings: Vec<KeystoreWarning>) -> Result<Self, KeystoreError> {
        let at = |error: format::FormatError| error.at(&path);
        let file = format::read(bytes).map_err(at)?;
        let vault = match file.header.open_key().map_err(at)? {
            Some(data_key) => Some(Vault::new(&data_key, &file.open(&data_key).map_err(at)?)),
            None => {
                // Checked now: a keystore that nobody can open is said at the start, not at the first unlock.
                file.header.passphrase_slot().map_err(at)?;
                None
            }
        };
        if vault.as_ref().is_some_and(|vault| !vault.is_kept_from_swap()) {
            warnings.push(KeystoreWarning::NotKeptFromSwap);
        }
        Ok(Self { path, header: file.header, vault, warnings })
    }
}

fn write(path: &Path, header: &Header, data_key: &[u8; 32], secrets: &format::Secrets) -> Result<(), KeystoreError> {
    let mut nonce = [0; 24];
    fill_random(&mut nonce);
    let bytes = format::encode(header, data_key, &nonce, secrets).map_err(|error| error.at(path))?;
    crate::scrub::stack();
    file::replace(path, &bytes)
}

impl std::fmt::Debug for Keystore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keystore")
            .field("path", &self.path)
            .field("secrets", &self.vault.as_ref().map(Vault::len))
            .finish_non_exhaustive()
    }
}

fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system provides random numbers");
}

#[cfg(test)]
mod tests;
