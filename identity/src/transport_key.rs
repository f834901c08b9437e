//! The key by which the network knows this node. It lies in a file of its own, so that an unattended restart can go on
//! routing while the keystore is locked; or in the keystore, and then the node waits for its passphrase
//! (specs/overlay.md, 3.1).
//!
//! File: magic `p2ptrkey` (8), version u16 big-endian = 1, seed (32), check (4) = first bytes of the BLAKE3 hash of what is before.

use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    ByteReader, CodecError, Keystore, SecretKey, SecretKind,
    keystore::{KeystoreError, create_new_file, read_private_file, remove_file},
};

const MAGIC: &[u8; 8] = b"p2ptrkey";
const VERSION: u16 = 1;
/// Largest file we look at, in bytes; ours has 46.
const MAX_FILE_BYTES: usize = 1024;
const CHECK_BYTES: usize = 4;

/// Why the transport key could not be loaded or made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportKeyError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] KeystoreError),
    /// The file is there but is not what we wrote.
    #[error(
        "the transport key {} is damaged: put a backup in its place, or move it away and this node gets a new peer id",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// Written by a newer version.
    #[error("the transport key {} has format {found}, this version of p2pnode reads up to {VERSION}: install a newer one", path.display())]
    NewerFormat {
        /// Which file.
        path: PathBuf,
        /// Its format number.
        found: u16,
    },
}

/// Where the transport key is to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKeyAt {
    /// In a file of its own, which needs no passphrase.
    File,
    /// In the keystore, so that nobody has it while that is locked.
    Keystore,
}

/// Loads the key from `path` or from the keystore, or makes one where there is none, and moves it to where it is to lie.
/// `None` where only the passphrase of the keystore can tell what it is. A file that is damaged is never replaced, and a
/// file that others could read is taken from them. Blocks on the disk.
pub fn load_or_create_transport_key(
    path: &Path,
    keystore: &mut Keystore,
    at: TransportKeyAt,
) -> Result<Option<SecretKey>, TransportKeyError> {
    let in_file =
        read_private_file(path, MAX_FILE_BYTES, &mut Vec::new())?.map(|bytes| decode(path, &bytes)).transpose()?;
    if keystore.is_locked() {
        // Without a file a new key would be another node: the one there was lies in the keystore.
        return Ok(in_file.filter(|_| at == TransportKeyAt::File));
    }
    let stored = keystore.get(SecretKind::TRANSPORT, &[])?;
    let key = in_file.clone().or_else(|| stored.clone()).unwrap_or_else(SecretKey::generate);
    // Written where it is to be before it goes from where it was: a kill in between leaves it in both.
    match at {
        TransportKeyAt::Keystore => {
            keystore.insert(SecretKind::TRANSPORT, &[], &key)?;
            remove_file(path)?;
        }
        TransportKeyAt::File => {
            if in_file.is_none() {
                create_new_file(path, &encode(&key))?;
            }
            if stored.is_some() {
                keystore.remove(SecretKind::TRANSPORT, &[])?;
            }
        }
    }
    crate::scrub::stack();
    Ok(Some(key))
}

fn encode(key: &SecretKey) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(64));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(key.seed().as_slice());
    let check = check(&bytes);
    bytes.extend_from_slice(&check);
    bytes
}

fn decode(path: &Path, bytes: &[u8]) -> Result<SecretKey, TransportKeyError> {
    let damaged = |_: CodecError| TransportKeyError::Damaged { path: path.to_owned() };
    let mut reader = ByteReader::new(bytes);
    let magic = reader.array::<8>().map_err(damaged)?;
    let found = u16::from_be_bytes(reader.array().map_err(damaged)?);
    if magic == *MAGIC && found > VERSION {
        return Err(TransportKeyError::NewerFormat { path: path.to_owned(), found });
    }
    let seed = Zeroizing::new(reader.array::<32>().map_err(damaged)?);
    let before_check = bytes.len().saturating_sub(CHECK_BYTES);
    let expected = check(bytes.get(..before_check).unwrap_or_default());
    let stored = reader.array::<CHECK_BYTES>().map_err(damaged)?;
    reader.finish().map_err(damaged)?;
    if magic != *MAGIC || found != VERSION || stored != expected {
        return Err(TransportKeyError::Damaged { path: path.to_owned() });
    }
    Ok(SecretKey::from_seed(&seed))
}

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("a hash has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KdfCost, NewPassphrase};
    use std::{fs, os::unix::fs::PermissionsExt};

    /// The key of a home that keeps it in a file.
    fn from_file(path: &Path) -> Result<SecretKey, TransportKeyError> {
        let mut keystore = Keystore::open_or_create(path.parent().unwrap()).unwrap();
        load_or_create_transport_key(path, &mut keystore, TransportKeyAt::File).map(Option::unwrap)
    }

    #[test]
    fn the_key_moves_between_file_and_keystore_and_stays_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transport.key");
        let mut keystore = Keystore::open_or_create(dir.path()).unwrap();
        let mut load = |at| {
            let key = load_or_create_transport_key(&path, &mut keystore, at).unwrap().unwrap().public();
            (key, path.exists(), keystore.get(SecretKind::TRANSPORT, &[]).unwrap().is_some())
        };
        let (made, ..) = load(TransportKeyAt::File);
        assert_eq!(load(TransportKeyAt::Keystore), (made, false, true));
        assert_eq!(load(TransportKeyAt::Keystore), (made, false, true));
        assert_eq!(load(TransportKeyAt::File), (made, true, false));
        // A kill between the two steps leaves it in both.
        let copy = fs::read(&path).unwrap();
        load(TransportKeyAt::Keystore);
        fs::write(&path, &copy).unwrap();
        assert_eq!(load(TransportKeyAt::Keystore), (made, false, true));
        fs::write(&path, &copy).unwrap();
        assert_eq!(load(TransportKeyAt::File), (made, true, false));
    }

    #[test]
    fn behind_a_passphrase_there_is_no_key_and_none_is_made_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transport.key");
        let mut keystore = Keystore::open_or_create(dir.path()).unwrap();
        let cheap = KdfCost { memory_kib: 8, passes: 1, lanes: 1 };
        keystore.set_passphrase(&NewPassphrase::new(Some((b"words", cheap))).unwrap()).unwrap();
        let made = load_or_create_transport_key(&path, &mut keystore, TransportKeyAt::Keystore).unwrap().unwrap();
        keystore.lock().unwrap();
        // Also for who has just set it to lie in a file again.
        for at in [TransportKeyAt::Keystore, TransportKeyAt::File] {
            assert!(load_or_create_transport_key(&path, &mut keystore, at).unwrap().is_none());
            assert!(!path.exists());
        }
        let key = keystore.passphrase_slot().unwrap().unwrap().open(b"words").unwrap();
        keystore.unlock(&key).unwrap();
        let again = load_or_create_transport_key(&path, &mut keystore, TransportKeyAt::File).unwrap().unwrap();
        assert_eq!(again.public(), made.public());
        keystore.lock().unwrap();
        // In its file it needs no passphrase, unless it is to move.
        let mut load = |at| load_or_create_transport_key(&path, &mut keystore, at).unwrap();
        assert!(load(TransportKeyAt::File).is_some());
        assert!(load(TransportKeyAt::Keystore).is_none());
        assert!(path.exists());
    }

    #[test]
    fn another_key_in_the_file_does_not_replace_the_one_in_the_keystore() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transport.key");
        let mut keystore = Keystore::open_or_create(dir.path()).unwrap();
        load_or_create_transport_key(&path, &mut keystore, TransportKeyAt::Keystore).unwrap().unwrap();
        create_new_file(&path, &encode(&SecretKey::generate())).unwrap();
        let error = load_or_create_transport_key(&path, &mut keystore, TransportKeyAt::Keystore).unwrap_err();
        assert!(matches!(error, TransportKeyError::File(KeystoreError::AlreadyThere)), "{error}");
        assert!(path.exists());
    }

    #[test]
    fn the_key_is_made_once_and_then_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transport.key");
        let made = from_file(&path).unwrap();
        assert_eq!(from_file(&path).unwrap().public(), made.public());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "it and the keystore; no temporary file is left");
    }

    #[test]
    fn a_key_that_others_can_read_is_taken_from_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transport.key");
        let made = from_file(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(from_file(&path).unwrap().public(), made.public());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transport.key");
        from_file(&path).unwrap();
        let good = fs::read(&path).unwrap();
        let mut cases: Vec<Vec<u8>> = (0..good.len()).map(|len| good[..len].to_vec()).collect();
        cases.extend((0..good.len() * 8).map(|bit| {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            bad
        }));
        for bad in cases {
            fs::write(&path, &bad).unwrap();
            let error = from_file(&path).unwrap_err();
            assert!(
                matches!(error, TransportKeyError::Damaged { .. } | TransportKeyError::NewerFormat { .. }),
                "{error}"
            );
            assert_eq!(fs::read(&path).unwrap(), bad);
        }
    }

    #[test]
    fn a_key_of_a_newer_format_names_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transport.key");
        fs::write(&path, b"p2ptrkey\x00\x07and something we do not know").unwrap();
        let error = from_file(&path).unwrap_err().to_string();
        assert!(error.contains("format 7") && error.contains("newer"), "{error}");
    }
}
