use p2p_identity::WriterKey;
use proptest::prelude::*;

use super::*;
use crate::{
    entry::tests::key,
    head::{Head, MAX_HEAD_BYTES, VersionVector},
    header::{Header, Visibility},
    writers::{Certificate, MAX_WRITER_SET_BYTES, WriterSet},
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn owner() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn writer() -> SecretKey {
    SecretKey::from_seed(&[2; 32])
}

fn writer_key(secret: &SecretKey) -> WriterKey {
    secret.public().into()
}

fn ext() -> Ext {
    Ext::new(vec![(7, Bytes::from_static(b"later"))]).unwrap()
}

fn head() -> Head {
    Head {
        drive: owner().public().into(),
        writer: writer_key(&writer()),
        counter: 5,
        vv: VersionVector::new(vec![(writer_key(&writer()), 5), (writer_key(&owner()), 300)]).unwrap(),
        root: [0x10; 32].into(),
        header: [0x11; 32].into(),
        writer_set: Some([0x12; 32].into()),
        epoch: 1,
        files: 4,
        bytes: 1000,
        prev: vec![[0x13; 32].into()],
        change_list: None,
        hlc: 1 << 16,
        message: "hello".to_owned(),
        ext: ext(),
    }
}

fn header() -> Header {
    let drive = owner().public().into();
    Header { drive, visibility: Visibility::Public, title: "Photos".to_owned(), created_ms: 1000, ext: Ext::default() }
}

fn certificate(writer: WriterKey) -> Certificate {
    Certificate {
        drive: owner().public().into(),
        writer,
        prefix: Some(key("docs")),
        not_after_hlc: u64::MAX,
        max_counter: 100,
        epoch: 1,
        ext: ext(),
    }
}

fn writer_set() -> WriterSet {
    WriterSet {
        drive: owner().public().into(),
        epoch: 2,
        certificates: vec![Signed::sign(&certificate(writer_key(&writer())), &owner()).unwrap()],
        revoked: vec![([0xee; 32].into(), 9)],
        ext: Ext::default(),
    }
}

fn signed_bytes<T: Body>(body: &T, key: &SecretKey) -> Bytes {
    Signed::sign(body, key).unwrap().as_bytes().clone()
}

/// Writes and signs without any of the checks.
fn sign_anyway<T: Body>(body: &T, key: &SecretKey) -> Result<Signed<T>, SignedError> {
    let mut out = ByteWriter::new();
    out.raw(&[FORMAT, T::OBJECT]);
    body.write(&mut out);
    let body = out.into_bytes();
    Signed::decode([&[0], body.as_slice(), &key.sign(&body)].concat().into())
}

#[test]
fn every_object_survives_signing_and_reading() {
    fn check<T: Body + PartialEq + std::fmt::Debug>(body: &T, key: &SecretKey) {
        let signed = Signed::sign(body, key).unwrap();
        assert_eq!(signed.body(), body);
        assert_eq!(signed.hash(), ContentId::of(signed.as_bytes()));
        assert_eq!(Signed::<T>::decode(signed.as_bytes().clone()), Ok(signed));
    }
    check(&head(), &writer());
    check(&header(), &owner());
    check(&certificate(writer_key(&writer())), &owner());
    check(&writer_set(), &owner());
}

#[test]
fn the_bytes_of_a_head_do_not_drift() {
    let bytes = signed_bytes(&head(), &writer());
    let owner_hex = hex(&owner().public());
    let writer_hex = hex(&writer().public());
    let expected = [
        "000101", // plain, format, head
        &owner_hex,
        &writer_hex,
        "05", // counter
        "02", // two writers, by key
        &writer_hex,
        "05",
        &owner_hex,
        "ac02", // 300
        &"10".repeat(32),
        &"11".repeat(32),
        &"12".repeat(32),
        "0104e807", // epoch 1, 4 entries, 1000 bytes
        "01",
        &"13".repeat(32),
        &"00".repeat(32), // no change list
        "808004",         // clock
        "0568656c6c6f",
        "01", // one ext item: number 7
        "07056c61746572",
    ]
    .concat();
    assert_eq!(hex(&bytes[..bytes.len() - 64]), expected);
    assert_eq!(ContentId::of(&bytes).to_string(), HEAD_HASH);
}

#[test]
fn the_bytes_of_header_certificate_and_writer_set_do_not_drift() {
    let owner_hex = hex(&owner().public());
    let header = signed_bytes(&header(), &owner());
    let expected = ["000102", &owner_hex, "000650686f746f73e80700"].concat();
    assert_eq!(hex(&header[..header.len() - 64]), expected);

    let writer_hex = hex(&writer().public());
    let certificate = signed_bytes(&certificate(writer_key(&writer())), &owner());
    let limits = "ffffffffffffffffff01640101";
    let expected = ["000103", &owner_hex, &writer_hex, "04646f6373", limits, "07056c61746572"].concat();
    assert_eq!(hex(&certificate[..certificate.len() - 64]), expected);

    let set = signed_bytes(&writer_set(), &owner());
    let len = format!("{:02x}01", (certificate.len() & 0x7f) | 0x80);
    assert_eq!(certificate.len() >> 7, 1);
    let revoked = ["01", &"ee".repeat(32), "09"].concat();
    let expected = ["000104", &owner_hex, "0201", &len, &hex(&certificate), &revoked, "00"].concat();
    assert_eq!(hex(&set[..set.len() - 64]), expected);
}

const HEAD_HASH: &str = "b0451b76ad42859b9add95193a7b4f51c62e836c107c1cbfb8c39a0ab7f6de64";

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    fn check<T: Body + std::fmt::Debug>(bytes: &Bytes) {
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Signed::<T>::decode(bad.into()).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Signed::<T>::decode(bytes.slice(..len)).is_err(), "cut to {len}");
        }
    }
    check::<Head>(&signed_bytes(&head(), &writer()));
    check::<Header>(&signed_bytes(&header(), &owner()));
    check::<WriterSet>(&signed_bytes(&writer_set(), &owner()));
}

#[test]
fn one_kind_of_object_never_passes_for_another() {
    let header = signed_bytes(&header(), &owner());
    assert_eq!(
        Signed::<Certificate>::decode(header.clone()),
        Err(SignedError::OtherObject { expected: "certificate", found: 2 })
    );
    let mut sealed = header.to_vec();
    sealed[0] = 1;
    assert_eq!(Signed::<Header>::decode(sealed.into()), Err(SignedError::Sealed(1)));
    let mut newer = header.to_vec();
    newer[1] = 2;
    assert_eq!(Signed::<Header>::decode(newer.into()), Err(SignedError::UnknownFormat(2)));
}

#[test]
fn only_the_key_that_the_body_names_may_sign() {
    assert_eq!(Signed::sign(&head(), &owner()), Err(SignedError::WrongKey));
    assert_eq!(sign_anyway(&head(), &owner()), Err(SignedError::BadSignature));
    assert_eq!(sign_anyway(&header(), &writer()), Err(SignedError::BadSignature));
}

#[test]
fn heads_that_contradict_themselves_are_refused() {
    let refused = |change: fn(&mut Head)| {
        let mut head = head();
        change(&mut head);
        matches!(sign_anyway(&head, &writer()), Err(SignedError::Invalid(_) | SignedError::Codec(_)))
    };
    assert!(!refused(|_| ()));
    assert!(refused(|head| head.counter = 0));
    assert!(refused(|head| head.counter = 6));
    assert!(refused(|head| head.writer_set = None));
    assert!(refused(|head| head.prev = vec![[1; 32].into(); 17]));
    assert!(refused(|head| head.message = "x".repeat(1025)));
    let mut large = head();
    large.ext = Ext::new(vec![(1, vec![0; MAX_HEAD_BYTES].into())]).unwrap();
    assert!(matches!(Signed::sign(&large, &writer()), Err(SignedError::TooLarge { limit: 8192, .. })));
}

#[test]
fn the_largest_head_of_all_fits_8_kib() {
    let mut head = head();
    let mut counters: Vec<_> = (1..128u8).map(|n| (WriterKey::from([n; 32]), u64::MAX)).collect();
    counters.push((head.writer, u64::MAX));
    head.counter = u64::MAX;
    head.vv = VersionVector::new(counters).unwrap();
    (head.epoch, head.files, head.bytes, head.hlc) = (u64::MAX, u64::MAX, u64::MAX, u64::MAX);
    head.prev = vec![[1; 32].into(); 16];
    head.message = "x".repeat(1024);
    let len = signed_bytes(&head, &writer()).len();
    assert!(len < MAX_HEAD_BYTES - 500, "{len} bytes leave no room for ext");
}

#[test]
fn version_vectors_merge_by_the_larger_counter() {
    let keys = [1, 2, 3].map(|n| WriterKey::from([n; 32]));
    let a = VersionVector::new(vec![(keys[1], 5), (keys[0], 1)]).unwrap();
    let b = VersionVector::new(vec![(keys[1], 4), (keys[2], 9)]).unwrap();
    let merged = a.merged_with(&b).unwrap();
    assert_eq!(merged.counters(), [(keys[0], 1), (keys[1], 5), (keys[2], 9)]);
    assert_eq!(merged, b.merged_with(&a).unwrap());
    assert!(merged.covers(&a) && merged.covers(&b) && !a.covers(&b));
    assert_eq!(a.counter(&keys[2]), 0);
    assert!(VersionVector::new(vec![(keys[0], 0)]).is_err());
    let mut twin = [1; 32];
    twin[31] = 9;
    assert!(VersionVector::new(vec![(keys[0], 1), (twin.into(), 1)]).is_err(), "they share 8 bytes");
    let many = (0..129u8).map(|n| (WriterKey::from([n; 32]), 1)).collect();
    assert!(VersionVector::new(many).is_err());
}

#[test]
fn writer_sets_that_break_a_rule_are_refused() {
    let refused = |change: &dyn Fn(&mut WriterSet)| {
        let mut set = writer_set();
        change(&mut set);
        matches!(sign_anyway(&set, &owner()), Err(SignedError::Invalid(_)))
    };
    let sign = |certificate: &Certificate, key: &SecretKey| Signed::sign(certificate, key).unwrap();
    assert!(!refused(&|_| ()));
    assert!(refused(&|set| set.epoch = 0), "a certificate of a later epoch");
    assert!(refused(&|set| set.certificates.push(set.certificates[0].clone())));
    assert!(refused(&|set| set.certificates = vec![sign(&certificate(writer_key(&owner())), &owner())]));
    assert!(refused(&|set| set.revoked.push(set.revoked[0])));
    assert!(refused(&|set| set.revoked = vec![(writer_key(&writer()), 1)]));
    let foreign = Certificate { drive: writer().public().into(), ..certificate([5; 32].into()) };
    assert!(refused(&|set| set.certificates = vec![sign(&foreign, &writer())]));
    let forged =
        Signed { body: certificate([5; 32].into()), bytes: Bytes::from_static(b"forged"), hash: [0; 32].into() };
    let mut set = writer_set();
    set.certificates = vec![forged];
    assert!(sign_anyway(&set, &owner()).is_err());
}

#[test]
fn a_full_writer_set_fits_its_limit() {
    let sign = |n: u32| {
        let mut writer = [0; 32];
        writer[..4].copy_from_slice(&n.to_be_bytes());
        let prefix = Some(key(&"x".repeat(255)));
        let full = Certificate { prefix, max_counter: u64::MAX, ext: Ext::default(), ..certificate(writer.into()) };
        Signed::sign(&full, &owner()).unwrap()
    };
    let revoked = (0..256u32).map(|n| {
        let mut writer = [0xff; 32];
        writer[1..5].copy_from_slice(&n.to_be_bytes());
        (writer.into(), 1_000_000)
    });
    let set = WriterSet { certificates: (0..128).map(sign).collect(), revoked: revoked.collect(), ..writer_set() };
    let len = signed_bytes(&set, &owner()).len();
    assert!(len <= MAX_WRITER_SET_BYTES, "{len}");
}

#[test]
fn certificates_say_what_is_allowed() {
    let certificate = certificate(writer_key(&writer()));
    assert!(certificate.allows(&key("docs")) && certificate.allows(&key("docs/a")));
    assert!(!certificate.allows(&key("docs2")) && !certificate.allows(&key("a")));
    assert!(certificate.admits(100, 5) && !certificate.admits(101, 5));
    let everywhere = Certificate { prefix: None, not_after_hlc: 4, ..certificate };
    assert!(everywhere.allows(&key("a")) && !everywhere.admits(1, 5));
    let set = writer_set();
    assert_eq!(set.certificate(&writer_key(&writer())).unwrap().max_counter, 100);
    assert_eq!(set.revoked_at(&[0xee; 32].into()), Some(9));
}

#[test]
fn unknown_ext_numbers_are_kept_and_twice_the_same_is_refused() {
    let signed = Signed::sign(&head(), &writer()).unwrap();
    assert_eq!(signed.body().ext.value(7).unwrap().as_ref(), b"later");
    assert!(Ext::new(vec![(1, Bytes::new()), (1, Bytes::new())]).is_none());
    assert!(Ext::new((0..65).map(|n| (n, Bytes::new())).collect()).is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(object in 0..6u8, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let framed: Bytes = [&[0, 1, object], bytes.as_slice()].concat().into();
        for bytes in [bytes.into(), framed] {
            prop_assert!(Signed::<Head>::decode(bytes.clone()).is_err());
            prop_assert!(Signed::<Header>::decode(bytes.clone()).is_err());
            prop_assert!(Signed::<Certificate>::decode(bytes.clone()).is_err());
            prop_assert!(Signed::<WriterSet>::decode(bytes).is_err());
        }
    }

    #[test]
    fn a_body_with_anything_in_it_is_read_or_refused_before_its_signature(
        at in any::<prop::sample::Index>(), junk in proptest::collection::vec(any::<u8>(), 1..12),
    ) {
        for good in [signed_bytes(&head(), &writer()), signed_bytes(&writer_set(), &owner())] {
            let mut bytes = good.to_vec();
            let at = at.index(bytes.len());
            bytes.splice(at..(at + junk.len()).min(good.len()), junk.clone());
            if bytes != good {
                let bytes = Bytes::from(bytes);
                prop_assert!(Signed::<Head>::decode(bytes.clone()).is_err());
                prop_assert!(Signed::<WriterSet>::decode(bytes).is_err());
            }
        }
    }
}
