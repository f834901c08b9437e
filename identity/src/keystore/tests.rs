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
    assert_eq!(keystore.get(SecretKind::DRIVE, b"a").unwrap().unwrap().public(), drive.public());
    assert_eq!(keystore.get(SecretKind::WRITER, b"a").unwrap().unwrap().public(), writer.public());
    assert!(keystore.get(SecretKind::WRITER, b"b").unwrap().is_none());
    assert_eq!(keystore.ids(SecretKind::DRIVE).unwrap(), [b"a".to_vec(), b"b".to_vec()]);
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
    assert_eq!(keystore.get(SecretKind::DRIVE, b"a").unwrap().unwrap().public(), key.public());
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
    assert!(keystore.get(SecretKind::DRIVE, b"a").unwrap().is_none());
    assert_eq!(keystore.get(SecretKind::WRITER, b"a").unwrap().unwrap().public(), stays.public());
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
    assert!(keystore.get(SecretKind::DRIVE, b"a").unwrap().is_none());
    assert_eq!(fs::read(dir.join("keystore")).unwrap(), before);
}

#[test]
fn what_a_killed_run_left_behind_is_no_obstacle() {
    let home = tempfile::tempdir().unwrap();
    drop(open(home.path()));
    fs::write(home.path().join("keystore.new"), b"half a file").unwrap();
    open(home.path()).insert(SecretKind::DRIVE, b"a", &SecretKey::generate()).unwrap();
    assert!(open(home.path()).get(SecretKind::DRIVE, b"a").unwrap().is_some());
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

/// The secrets of a file whose data key lies open.
fn decoded(bytes: &[u8]) -> Result<format::Secrets, format::FormatError> {
    let file = format::read(bytes)?;
    let key = file.header.open_key()?.ok_or(format::FormatError::NoUsableSlot(Vec::new()))?;
    file.open(&key)
}

#[test]
fn the_file_format_does_not_drift() {
    let (bytes, secrets) = fixed_file();
    assert_eq!(HEXLOWER.encode(&bytes), FIXED);
    assert_eq!(decoded(&bytes).unwrap(), secrets);
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let (bytes, _) = fixed_file();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(decoded(&bad).is_err(), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(decoded(&bytes[..len]).is_err(), "cut to {len}");
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
    assert_eq!(keystore.get_bytes(SecretKind(999), b"later").unwrap().unwrap().as_slice(), [5; 200]);
    assert!(keystore.get(SecretKind::DRIVE, b"a").unwrap().is_some());
}

#[test]
fn a_keystore_with_foreign_slots_only_says_so() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("keystore"), later_file(&[2, 3])).unwrap();
    let error = Keystore::open_or_create(home.path()).unwrap_err();
    assert!(matches!(&error, KeystoreError::NoUsableSlot { kinds } if *kinds == [2, 3]), "{error}");
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
        let _ = decoded(&bytes);
        let mut mixed = fixed_file().0;
        mixed.truncate(keep);
        mixed.extend(&bytes);
        let _ = decoded(&mixed);
    }
}

const WORDS: &[u8] = b"correct horse battery staple";

fn words(passphrase: &[u8]) -> NewPassphrase {
    NewPassphrase::new(Some((passphrase, KdfCost::LEAST))).unwrap()
}

/// A keystore with one key behind a passphrase, and locked.
fn locked(dir: &Path) -> (Keystore, SecretKey) {
    let mut keystore = open(dir);
    let key = SecretKey::generate();
    keystore.insert(SecretKind::DRIVE, b"a", &key).unwrap();
    keystore.set_passphrase(&words(WORDS)).unwrap();
    keystore.lock().unwrap();
    (keystore, key)
}

fn try_to_unlock(keystore: &mut Keystore, passphrase: &[u8]) -> Result<(), KeystoreError> {
    let key = keystore.passphrase_slot()?.unwrap().open(passphrase)?;
    keystore.unlock(&key)
}

#[test]
fn a_locked_keystore_gives_nothing_until_it_is_unlocked() {
    let home = tempfile::tempdir().unwrap();
    let (mut keystore, key) = locked(home.path());
    let is_refused = |result: Result<(), KeystoreError>| matches!(result, Err(KeystoreError::Locked));
    assert!(is_refused(keystore.get(SecretKind::DRIVE, b"a").map(drop)));
    assert!(is_refused(keystore.ids(SecretKind::DRIVE).map(drop)));
    assert!(is_refused(keystore.insert(SecretKind::DRIVE, b"b", &key)));
    assert!(is_refused(keystore.remove(SecretKind::DRIVE, b"a").map(drop)));
    assert!(is_refused(keystore.set_passphrase(&NewPassphrase::new(None).unwrap())));
    assert!(matches!(try_to_unlock(&mut keystore, b"wrong"), Err(KeystoreError::WrongPassphrase)));
    assert!(keystore.is_locked());
    try_to_unlock(&mut keystore, WORDS).unwrap();
    assert_eq!(keystore.get(SecretKind::DRIVE, b"a").unwrap().unwrap().public(), key.public());
    // Locked is also how it begins.
    drop(keystore);
    let mut keystore = open(home.path());
    assert!(keystore.is_locked() && keystore.is_protected());
    try_to_unlock(&mut keystore, WORDS).unwrap();
    keystore.insert(SecretKind::DRIVE, b"b", &SecretKey::generate()).unwrap();
    assert!(keystore.remove(SecretKind::DRIVE, b"b").unwrap() && !keystore.remove(SecretKind::DRIVE, b"b").unwrap());
}

#[test]
fn a_passphrase_is_changed_and_taken_away_under_new_data_keys() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("keystore");
    let before = {
        drop(open(home.path()));
        fs::read(&path).unwrap()
    };
    let open_key = format::read(&before).unwrap().header.open_key().unwrap().unwrap();
    let (mut keystore, key) = locked(home.path());
    let file = fs::read(&path).unwrap();
    assert!(!file.windows(32).any(|window| window == open_key.as_slice()), "the old key opens nothing");
    assert!(format::read(&file).unwrap().open(&open_key).is_err());
    try_to_unlock(&mut keystore, WORDS).unwrap();
    keystore.set_passphrase(&words(b"another")).unwrap();
    keystore.lock().unwrap();
    assert!(try_to_unlock(&mut keystore, WORDS).is_err());
    try_to_unlock(&mut keystore, b"another").unwrap();
    assert!(matches!(NewPassphrase::new(Some((b"", KdfCost::LEAST))), Err(KeystoreError::BadPassphrase)));
    keystore.set_passphrase(&NewPassphrase::new(None).unwrap()).unwrap();
    assert!(matches!(keystore.lock(), Err(KeystoreError::NoPassphrase)));
    assert_eq!(open(home.path()).get(SecretKind::DRIVE, b"a").unwrap().unwrap().public(), key.public());
}

#[test]
fn a_slot_that_would_exhaust_the_computer_is_refused_unopened() {
    let params = |memory: u64, passes: u64, lanes: u64| {
        let mut out = ByteWriter::new();
        [memory, passes, lanes].into_iter().for_each(|value| out.u64(value));
        out.raw(&[0; 16]);
        out.into_bytes()
    };
    assert!(PassphraseSlot::read(&params(2 * 1024 * 1024, 64, 4), &[]).is_ok());
    for (memory, passes, lanes) in [(2 * 1024 * 1024 + 1, 3, 4), (65_536, 65, 4), (65_536, 3, 65), (0, 3, 4), (8, 0, 1)]
    {
        assert!(PassphraseSlot::read(&params(memory, passes, lanes), &[]).is_err(), "{memory} {passes} {lanes}");
    }
    let slot = PassphraseSlot::read(&params(8, 1, 4), &[1; 80]).unwrap();
    assert!(slot.open(b"too little memory for four lanes").is_err());
}

#[test]
fn every_flipped_bit_of_a_passphrase_slot_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    drop(locked(home.path()));
    let path = home.path().join("keystore");
    let good = fs::read(&path).unwrap();
    let header_end = 14 + u32::from_be_bytes(good[10..14].try_into().unwrap()) as usize;
    // One bit of each byte: every guess costs.
    for at in 14..header_end {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        let opened = Keystore::open_or_create(home.path()).and_then(|mut keystore| {
            let is_cheap = keystore.passphrase_slot()?.is_some_and(|slot| slot.cost() == KdfCost::LEAST);
            if is_cheap { try_to_unlock(&mut keystore, WORDS) } else { Err(KeystoreError::WrongPassphrase) }
        });
        assert!(opened.is_err(), "byte {at}");
    }
}

#[test]
fn a_thousand_lockings_lose_nothing_that_was_acknowledged_in_between() {
    let home = tempfile::tempdir().unwrap();
    let mut keystore = open(home.path());
    // A cost that is none: what is tested is not how long a guess takes.
    let cheap = KdfCost { memory_kib: 8, passes: 1, lanes: 1 };
    keystore.set_passphrase(&NewPassphrase::new(Some((WORDS, cheap))).unwrap()).unwrap();
    let keystore = std::sync::Mutex::new(keystore);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let (mut stored, mut refused) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..1_000 {
                keystore.lock().unwrap().lock().unwrap();
                std::thread::yield_now();
                let slot = keystore.lock().unwrap().passphrase_slot().unwrap().unwrap();
                let key = slot.open(WORDS).unwrap();
                keystore.lock().unwrap().unlock(&key).unwrap();
            }
            is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        for number in 0u32.. {
            if is_done.load(std::sync::atomic::Ordering::Relaxed) {
                break;
            }
            let key = SecretKey::generate();
            match keystore.lock().unwrap().insert(SecretKind::DRIVE, &number.to_be_bytes(), &key) {
                Ok(()) => stored.push((number, key.public())),
                Err(KeystoreError::Locked) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    });
    assert!(!stored.is_empty(), "{refused} were refused and none stored");
    let mut keystore = open(home.path());
    try_to_unlock(&mut keystore, WORDS).unwrap();
    for (number, public) in stored {
        let found = keystore.get(SecretKind::DRIVE, &number.to_be_bytes()).unwrap();
        assert_eq!(found.map(|key| key.public()), Some(public), "{number}");
    }
}

#[test]
fn a_slot_is_renewed_at_another_cost_and_nothing_else_changes() {
    let home = tempfile::tempdir().unwrap();
    let (mut keystore, key) = locked(home.path());
    let old = keystore.passphrase_slot().unwrap().unwrap();
    let data_key = old.open(WORDS).unwrap();
    let dearer = KdfCost { passes: 3, ..KdfCost::LEAST };
    let slot = PassphraseSlot::renewed(WORDS, &data_key, dearer).unwrap();
    assert!(matches!(keystore.renew(&slot), Err(KeystoreError::Locked)));
    keystore.unlock(&data_key).unwrap();
    keystore.renew(&slot).unwrap();
    let mut again = open(home.path());
    assert_eq!(again.passphrase_slot().unwrap().unwrap().cost(), dearer);
    assert!(matches!(try_to_unlock(&mut again, b"wrong"), Err(KeystoreError::WrongPassphrase)));
    try_to_unlock(&mut again, WORDS).unwrap();
    assert_eq!(again.get(SecretKind::DRIVE, b"a").unwrap().unwrap().public(), key.public());
    again.set_passphrase(&NewPassphrase::new(None).unwrap()).unwrap();
    assert!(matches!(again.renew(&slot), Err(KeystoreError::NoPassphrase)));
}

#[test]
fn costs_are_compared_by_memory_and_by_work() {
    let cost = |memory_kib, passes| KdfCost { memory_kib, passes, lanes: 1 };
    let usual = KdfCost::usual(None);
    assert_eq!(usual, KdfCost { memory_kib: 65_536, passes: 3, lanes: 4 });
    assert!(!usual.is_below(usual) && !cost(65_536, 5).is_below(usual));
    assert!(cost(65_536, 2).is_below(usual) && cost(19 * 1024, 64).is_below(usual) && KdfCost::LEAST.is_below(usual));
    // A small computer asks less, and is content with it.
    let small = KdfCost::usual(Some(128 << 20));
    assert!(small.memory_kib == 32 * 1024 && !small.is_below(small) && small.is_below(usual));
    assert!(!usual.is_below(small));
}
