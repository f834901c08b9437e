use std::{fs, os::unix::fs::PermissionsExt};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::ByteWriter;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn open(dir: &Path) -> Keystore {
    Keystore::open_or_create(dir).unwrap()
}

#[test]
fn keys_are_found_again_after_opening_anew() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("node/keys");
    let (drive, writer) = (SecretKey::generate(), SecretKey::generate());
    let mut keystore = open(&dir);
    keystore.insert(SecretKind::DRIVE, b"a", &drive).unwrap();
    keystore.insert(SecretKind::WRITER, b"a", &writer).unwrap();
    keystore.insert(SecretKind::DRIVE, b"b", &writer).unwrap();
    drop(keystore);
    let keystore = open(&dir);
    assert_eq!(keystore.get(SecretKind::DRIVE, b"a").unwrap().public(), drive.public());
    assert_eq!(keystore.get(SecretKind::WRITER, b"a").unwrap().public(), writer.public());
    assert!(keystore.get(SecretKind::WRITER, b"b").is_none());
    assert_eq!(keystore.ids(SecretKind::DRIVE), [b"a".to_vec(), b"b".to_vec()]);
    assert!(keystore.warnings().is_empty());
    assert_eq!((mode(&dir), mode(&dir.join("keystore"))), (0o700, 0o600));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_stored_key_is_never_replaced_by_another() {
    let home = tempfile::tempdir().unwrap();
    let mut keystore = open(home.path());
    let key = SecretKey::generate();
    keystore.insert(SecretKind::DRIVE, b"a", &key).unwrap();
    keystore.insert(SecretKind::DRIVE, b"a", &key).unwrap();
    let refused = keystore.insert(SecretKind::DRIVE, b"a", &SecretKey::generate());
    assert!(matches!(refused, Err(KeystoreError::AlreadyThere)));
    assert_eq!(keystore.get(SecretKind::DRIVE, b"a").unwrap().public(), key.public());
    assert!(matches!(
        keystore.insert(SecretKind::DRIVE, &[0; 65], &key),
        Err(KeystoreError::TooLarge { value: 65, limit: 64, .. })
    ));
}

#[test]
fn a_key_that_was_removed_is_gone_after_opening_anew_too() {
    let home = tempfile::tempdir().unwrap();
    let (gone, stays) = (SecretKey::generate(), SecretKey::generate());
    let mut keystore = open(home.path());
    keystore.insert(SecretKind::DRIVE, b"a", &gone).unwrap();
    keystore.insert(SecretKind::WRITER, b"a", &stays).unwrap();
    assert!(keystore.remove(SecretKind::DRIVE, b"a").unwrap());
    assert!(!keystore.remove(SecretKind::DRIVE, b"a").unwrap(), "there is none any more");
    drop(keystore);
    let mut keystore = open(home.path());
    assert!(keystore.get(SecretKind::DRIVE, b"a").is_none());
    assert_eq!(keystore.get(SecretKind::WRITER, b"a").unwrap().public(), stays.public());
    keystore.insert(SecretKind::DRIVE, b"a", &stays).unwrap();
}

#[test]
fn a_file_that_others_can_read_is_taken_from_them_with_a_warning() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("keys");
    drop(open(&dir));
    let file = dir.join("keystore");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let keystore = open(&dir);
    assert_eq!(
        keystore.warnings(),
        [
            KeystoreWarning::ModeRepaired { path: dir.clone(), found: 0o755, repaired: 0o700 },
            KeystoreWarning::ModeRepaired { path: file.clone(), found: 0o644, repaired: 0o600 },
        ]
    );
    assert_eq!((mode(&dir), mode(&file)), (0o700, 0o600));
}

#[test]
fn a_write_that_fails_leaves_memory_and_file_as_they_were() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("keys");
    let mut keystore = open(&dir);
    let before = fs::read(dir.join("keystore")).unwrap();
    // A directory in the way of the temporary file.
    fs::create_dir_all(dir.join("keystore.new/x")).unwrap();
    let error = keystore.insert(SecretKind::DRIVE, b"a", &SecretKey::generate()).unwrap_err();
    assert!(matches!(error, KeystoreError::Io { .. }), "{error}");
    assert!(keystore.get(SecretKind::DRIVE, b"a").is_none());
    assert_eq!(fs::read(dir.join("keystore")).unwrap(), before);
}

#[test]
fn what_a_killed_run_left_behind_is_no_obstacle() {
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    fs::write(home.path().join("keystore.new"), b"half a file").unwrap();
    open(home.path()).insert(SecretKind::DRIVE, b"a", &SecretKey::generate()).unwrap();
    assert!(open(home.path()).get(SecretKind::DRIVE, b"a").is_some());
}

#[test]
fn secrets_do_not_show() {
    let home = tempfile::tempdir().unwrap();
    let mut keystore = open(home.path());
    keystore.insert(SecretKind::DRIVE, b"a", &SecretKey::from_seed(&[0xab; 32])).unwrap();
    let text = format!("{keystore:?}");
    assert!(!text.contains("171") && !text.contains("ab, ab"), "{text}");
    let file = fs::read(home.path().join("keystore")).unwrap();
    assert!(!file.windows(8).any(|window| window == [0xab; 8]));
}

/// The file of the data key 0x11.., nonce 0x22.. and one drive key: no release may write it differently.
const FIXED: &str = concat!(
    "7032706b6579737400010000002500010000201111111111111111111111111111111111111111111111111111111111111111",
    "222222222222222222222222222222222222222222222222",
    "8266e60e35ddc4a7d67e27f88e4a92d101a4f0e726adc9d7537845d442d36a166de48570b6cce9c96f1c0b687101f733a201da20623632",
);

fn fixed_file() -> (Vec<u8>, format::Secrets) {
    let mut secrets = format::Secrets::new();
    secrets.insert((1, b"id".to_vec()), Zeroizing::new(vec![0x33; 32]));
    let header = Header::with_open_slot(&[0x11; 32]);
    let bytes = format::encode(&header, &[0x11; 32], &[0x22; 24], &secrets).unwrap().to_vec();
    (bytes, secrets)
}

#[test]
fn the_file_format_does_not_drift() {
    let (bytes, secrets) = fixed_file();
    assert_eq!(HEXLOWER.encode(&bytes), FIXED);
    assert_eq!(format::decode(&bytes).unwrap().2, secrets);
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let (bytes, _) = fixed_file();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(format::decode(&bad).is_err(), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(format::decode(&bytes[..len]).is_err(), "cut to {len}");
    }
}

#[test]
fn a_newer_format_is_refused_with_its_number() {
    let home = tempfile::tempdir().unwrap();
    let (mut bytes, _) = fixed_file();
    bytes[8..10].copy_from_slice(&9u16.to_be_bytes());
    fs::write(home.path().join("keystore"), &bytes).unwrap();
    let error = Keystore::open_or_create(home.path()).unwrap_err().to_string();
    assert!(
        error.contains("format 9") && error.contains("up to 1") && error.contains("install a newer one"),
        "{error}"
    );
    assert_eq!(fs::read(home.path().join("keystore")).unwrap(), bytes, "it is not touched");
}

/// A file as a later version could write it: an unknown slot beside ours, parameters, and an unknown kind of secret.
fn later_file(slot_kinds: &[u16]) -> Vec<u8> {
    let mut header = ByteWriter::new();
    header.bytes(b"argon");
    header.count(slot_kinds.len());
    for kind in slot_kinds {
        header.u64(u64::from(*kind));
        header.bytes(b"params");
        header.bytes(&[0x11; 32]);
    }
    let header = header.into_bytes();
    let mut file = b"p2pkeyst\x00\x01".to_vec();
    file.extend((header.len() as u32).to_be_bytes());
    file.extend(&header);
    let aad = *blake3::hash(&file).as_bytes();
    let mut content = ByteWriter::new();
    content.u64(1);
    content.count(1);
    content.u64(999);
    content.bytes(b"later");
    content.bytes(&[5; 200]);
    let sealed = XChaCha20Poly1305::new(&[0x11; 32].into())
        .encrypt(&XNonce::from([1; 24]), Payload { msg: &content.into_bytes(), aad: &aad })
        .unwrap();
    file.extend([1; 24]);
    file.extend(sealed);
    file
}

#[test]
fn unknown_slots_parameters_and_kinds_are_kept_when_the_file_is_written_again() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("keystore");
    fs::write(&path, later_file(&[77, 0])).unwrap();
    open(home.path()).insert(SecretKind::DRIVE, b"a", &SecretKey::generate()).unwrap();
    let bytes = fs::read(&path).unwrap();
    let header_end = 14 + u32::from_be_bytes(bytes[10..14].try_into().unwrap()) as usize;
    let later = later_file(&[77, 0]);
    assert_eq!(bytes[..header_end], later[..header_end]);
    let keystore = open(home.path());
    assert_eq!(keystore.secrets[&(999, b"later".to_vec())].as_slice(), [5; 200]);
    assert!(keystore.get(SecretKind::DRIVE, b"a").is_some());
}

#[test]
fn a_keystore_with_foreign_slots_only_says_so() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("keystore"), later_file(&[1, 3])).unwrap();
    let error = Keystore::open_or_create(home.path()).unwrap_err();
    assert!(matches!(&error, KeystoreError::NoUsableSlot { kinds } if *kinds == [1, 3]), "{error}");
}

#[test]
fn a_file_above_4_mib_is_refused_unread() {
    let home = tempfile::tempdir().unwrap();
    let file = fs::File::create(home.path().join("keystore")).unwrap();
    file.set_len(4 * 1024 * 1024 + 1).unwrap();
    assert!(matches!(Keystore::open_or_create(home.path()), Err(KeystoreError::TooLarge { .. })));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), keep in 0..64usize) {
        let _ = format::decode(&bytes);
        let mut mixed = fixed_file().0;
        mixed.truncate(keep);
        mixed.extend(&bytes);
        let _ = format::decode(&mixed);
    }
}
