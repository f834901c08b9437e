//! The key by which the network knows this node. It lies in a file of its own, so that an unattended restart can go on
//! routing while the keystore is locked (specs/overlay.md, 3.1).
//!
//! File: magic `p2ptrkey` (8), version u16 big-endian = 1, seed (32), check (4) = first bytes of the BLAKE3 hash of what is before.

use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    ByteReader, CodecError, SecretKey,
    keystore::{KeystoreError, create_new_file, read_private_file},
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

/// Loads the key in `path`, or makes one there when there is no file. A file that is damaged is never replaced.
/// A file that others could read is taken from them. Blocks on the disk.
pub fn load_or_create_transport_key(path: &Path) -> Result<SecretKey, TransportKeyError> {
    if let Some(bytes) = read_private_file(path, MAX_FILE_BYTES, &mut Vec::new())? {
        return decode(path, &bytes);
    }
    let key = SecretKey::generate();
    create_new_file(path, &encode(&key))?;
    Ok(key)
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
    use std::{fs, os::unix::fs::PermissionsExt};

    #[test]
    fn the_key_is_made_once_and_then_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transport.key");
        let made = load_or_create_transport_key(&path).unwrap();
        assert_eq!(load_or_create_transport_key(&path).unwrap().public(), made.public());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_key_that_others_can_read_is_taken_from_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transport.key");
        let made = load_or_create_transport_key(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(load_or_create_transport_key(&path).unwrap().public(), made.public());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transport.key");
        load_or_create_transport_key(&path).unwrap();
        let good = fs::read(&path).unwrap();
        let mut cases: Vec<Vec<u8>> = (0..good.len()).map(|len| good[..len].to_vec()).collect();
        cases.extend((0..good.len() * 8).map(|bit| {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            bad
        }));
        for bad in cases {
            fs::write(&path, &bad).unwrap();
            let error = load_or_create_transport_key(&path).unwrap_err();
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
        let error = load_or_create_transport_key(&path).unwrap_err().to_string();
        assert!(error.contains("format 7") && error.contains("newer"), "{error}");
    }
}
