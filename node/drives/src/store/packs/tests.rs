use proptest::prelude::*;

use super::*;

/// Distinct bytes of a length.
fn bytes_of(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn append(packs: &Packs, items: &[Vec<u8>]) -> Vec<(ContentId, PackLocation)> {
    let batch: Vec<_> = items.iter().map(|bytes| (ContentId::of(bytes), &bytes[..])).collect();
    let locations = packs.append(&batch).expect("appended");
    batch.into_iter().map(|(hash, _)| hash).zip(locations).collect()
}

fn scan(packs: &Packs) -> (Vec<(ContentId, PackLocation)>, u64) {
    let mut found = Vec::new();
    let bad = packs.scan_all(|item| found.push((item.hash, item.location))).expect("scanned");
    (found, bad)
}

#[test]
fn items_are_read_back_and_found_by_a_scan() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (packs, recovery) = Packs::open(dir.path()).expect("opened");
    assert_eq!(recovery, PackRecovery { end: 0, cut_bytes: 0, bad_bytes: 0 });
    let items = [vec![], b"one".to_vec(), bytes_of(2, 65_535), bytes_of(3, MAX_PACK_ITEM_BYTES)];
    let mut placed = append(&packs, &items[..2]);
    placed.extend(append(&packs, &items[2..]));
    packs.sync().expect("synced");
    assert_eq!(placed[1].1, PackLocation { pack: 0, offset: 36, len: 3 });
    for ((hash, location), bytes) in placed.iter().zip(&items) {
        assert_eq!(packs.read(hash, *location).expect("read"), *bytes);
    }
    assert_eq!(scan(&packs), (placed.clone(), 0));
    drop(packs);
    let (packs, recovery) = Packs::open(dir.path()).expect("opened again");
    assert_eq!(recovery.cut_bytes, 0);
    assert_eq!(scan(&packs), (placed, 0));
}

#[test]
fn the_form_on_disk_is_fixed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (packs, _) = Packs::open(dir.path()).expect("opened");
    append(&packs, &[b"hi".to_vec()]);
    let mut expected = blake3::hash(b"hi").as_bytes().to_vec();
    expected.extend([0, 0, 0, 2, b'h', b'i']);
    assert_eq!(fs::read(dir.path().join("0.pack")).expect("read"), expected);
    let location = PackLocation { pack: 1, offset: 0x0203, len: 4 };
    assert_eq!(location.to_bytes(), [0, 0, 0, 1, 0, 0, 2, 3, 0, 0, 0, 4]);
    assert_eq!(PackLocation::from_bytes(location.to_bytes()), location);
}

#[test]
fn a_pack_cut_at_any_byte_of_its_last_item_keeps_all_earlier_items() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (packs, _) = Packs::open(dir.path()).expect("opened");
    let placed = append(&packs, &[bytes_of(0, 500), b"second".to_vec(), bytes_of(2, 90)]);
    drop(packs);
    let path = dir.path().join("0.pack");
    let whole = fs::read(&path).expect("read");
    let last = placed[2].1.offset as usize;
    for len in last..whole.len() {
        fs::write(&path, &whole[..len]).expect("written");
        let (packs, recovery) = Packs::open(dir.path()).expect("opened");
        assert_eq!(recovery, PackRecovery { end: last as u64, cut_bytes: (len - last) as u64, bad_bytes: 0 });
        assert_eq!(scan(&packs), (placed[..2].to_vec(), 0));
        assert!(matches!(packs.read(&placed[2].0, placed[2].1), Err(PackError::Missing(_))));
        // The next item takes the place of the torn one.
        let again = append(&packs, &[bytes_of(2, 90)]);
        assert_eq!(again[0], placed[2]);
        assert_eq!(fs::read(&path).expect("read"), whole);
    }
}

#[test]
fn a_last_item_with_holes_or_garbage_behind_it_is_cut() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (packs, _) = Packs::open(dir.path()).expect("opened");
    let placed = append(&packs, &[bytes_of(0, 500), bytes_of(1, 300)]);
    drop(packs);
    let path = dir.path().join("0.pack");
    let whole = fs::read(&path).expect("read");
    let end = whole.len() as u64;
    // What a power cut leaves: the length grew, the bytes did not arrive.
    for tail in [vec![0; 10_000], vec![0xff; 500], bytes_of(9, 2000)] {
        fs::write(&path, [&whole[..], &tail].concat()).expect("written");
        let (packs, recovery) = Packs::open(dir.path()).expect("opened");
        assert_eq!(recovery, PackRecovery { end, cut_bytes: tail.len() as u64, bad_bytes: 0 });
        assert_eq!(scan(&packs).0, placed);
    }
}

#[test]
fn a_damaged_item_in_the_middle_takes_nothing_else_with_it() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (packs, _) = Packs::open(dir.path()).expect("opened");
    let placed = append(&packs, &[bytes_of(0, 500), bytes_of(1, 300), bytes_of(2, 100)]);
    drop(packs);
    let path = dir.path().join("0.pack");
    let mut bytes = fs::read(&path).expect("read");
    bytes[placed[1].1.offset as usize + 40] ^= 1;
    fs::write(&path, &bytes).expect("written");
    let (packs, recovery) = Packs::open(dir.path()).expect("opened");
    assert_eq!(recovery, PackRecovery { end: bytes.len() as u64, cut_bytes: 0, bad_bytes: 336 });
    assert_eq!(scan(&packs), (vec![placed[0], placed[2]], 336));
    assert!(matches!(packs.read(&placed[1].0, placed[1].1), Err(PackError::Missing(_))));
}

#[test]
fn whatever_is_damaged_in_a_header_the_items_behind_it_are_found() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (packs, _) = Packs::open(dir.path()).expect("opened");
    let placed = append(&packs, &[bytes_of(0, 500), bytes_of(1, 300), bytes_of(2, 100), bytes_of(3, 0)]);
    drop(packs);
    let path = dir.path().join("0.pack");
    let whole = fs::read(&path).expect("read");
    let header = placed[1].1.offset as usize;
    for at in header..header + HEADER_BYTES {
        for bit in [0x01, 0x10, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= bit;
            fs::write(&path, &bytes).expect("written");
            let (packs, recovery) = Packs::open(dir.path()).expect("opened");
            assert_eq!(recovery, PackRecovery { end: whole.len() as u64, cut_bytes: 0, bad_bytes: 336 });
            assert_eq!(scan(&packs), (vec![placed[0], placed[2], placed[3]], 336));
        }
    }
}

#[test]
fn a_full_pack_is_followed_by_the_next() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (packs, _) = Packs::open(dir.path()).expect("opened");
    // One batch of a little more than a pack holds.
    let count = PACK_BYTES as u32 / (MAX_PACK_ITEM_BYTES + HEADER_BYTES) as u32 + 3;
    let items: Vec<_> = (0..count).map(|number| bytes_of(number, MAX_PACK_ITEM_BYTES)).collect();
    let placed = append(&packs, &items);
    packs.sync().expect("synced");
    assert_eq!(packs.numbers().expect("listed"), [0, 1]);
    assert!(packs.pack_len(0).expect("measured") <= PACK_BYTES);
    assert_eq!(placed[count as usize - 3].1, PackLocation { pack: 1, offset: 0, len: MAX_PACK_ITEM_BYTES as u32 });
    for ((hash, location), bytes) in placed.iter().zip(&items) {
        assert!(packs.read(hash, *location).expect("read") == *bytes);
    }
    assert!(matches!(packs.remove(1), Err(PackError::InUse(1))));
    packs.remove(0).expect("removed");
    packs.remove(0).expect("removing twice is no error");
    assert!(matches!(packs.read(&placed[0].0, placed[0].1), Err(PackError::Missing(_))));
    assert_eq!(scan(&packs).0, placed[count as usize - 3..]);
    drop(packs);
    assert_eq!(Packs::open(dir.path()).expect("opened").0.numbers().expect("listed"), [1]);
}

#[test]
fn wrong_and_too_large_items_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (packs, _) = Packs::open(dir.path()).expect("opened");
    let good = ContentId::of(b"good");
    assert!(matches!(packs.append(&[(good, b"good"), (good, b"bad")]), Err(PackError::WrongHash)));
    let large = vec![0; MAX_PACK_ITEM_BYTES + 1];
    let result = packs.append(&[(good, b"good"), (ContentId::of(&large), &large)]);
    assert!(matches!(result, Err(PackError::ItemTooLarge(_))));
    assert_eq!(packs.pack_len(0).expect("measured"), 0);
}

#[test]
fn locations_from_nowhere_are_missing() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (packs, _) = Packs::open(dir.path()).expect("opened");
    let placed = append(&packs, &[b"item".to_vec()])[0];
    for location in [
        PackLocation { pack: 7, ..placed.1 },
        PackLocation { offset: 1, ..placed.1 },
        PackLocation { offset: u32::MAX, ..placed.1 },
        PackLocation { len: 3, ..placed.1 },
        PackLocation { len: u32::MAX, ..placed.1 },
    ] {
        assert!(matches!(packs.read(&placed.0, location), Err(PackError::Missing(_))), "{location:?}");
    }
    assert!(matches!(packs.read(&ContentId::of(b"other"), placed.1), Err(PackError::Missing(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_open_as_a_pack(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0..200_usize) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let good = b"a good item in front".to_vec();
        let (packs, _) = Packs::open(dir.path()).expect("opened");
        let placed = append(&packs, std::slice::from_ref(&good));
        drop(packs);
        let path = dir.path().join("0.pack");
        let mut file = fs::read(&path).expect("read");
        file.extend(&bytes[cut.min(bytes.len())..]);
        fs::write(&path, file).expect("written");
        let (packs, recovery) = Packs::open(dir.path()).expect("opened");
        prop_assert_eq!(recovery.end, 56);
        prop_assert_eq!(packs.read(&placed[0].0, placed[0].1).expect("read"), good);
    }
}
