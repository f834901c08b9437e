use p2p_identity::{ContentId, WriterKey};
use proptest::prelude::*;

use super::super::wire::*;
use super::*;
use crate::blob::{Grain, GroupRanges, SizeProof};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id(byte: u8) -> ContentId {
    ContentId::from([byte; 32])
}

/// `count` times the two digits.
fn times(digits: &str, count: usize) -> String {
    digits.repeat(count)
}

fn vector(entries: &[(u8, u64)]) -> VectorList {
    let entry = |&(writer, counter): &(u8, u64)| VectorEntry { writer: WriterKey::from([writer; 32]), counter };
    VectorList::new(entries.iter().map(entry).collect()).expect("ascending")
}

fn path(text: &str) -> Path {
    text.as_bytes().try_into().expect("short")
}

fn check<M: Message + PartialEq + std::fmt::Debug>(message: &M, expected: &str) {
    let bytes = message.encode().expect("within limits");
    assert_eq!(hex(&bytes), expected, "{message:?}");
    assert_eq!(&M::decode(&bytes).expect("own form"), message);
}

#[test]
fn control_messages_have_fixed_forms() {
    let summary = Summary { root: id(0xaa), vector: vector(&[(1, 300), (2, 1)]), complete: true };
    let summary_hex = format!("{}02{}ac02{}0101", times("aa", 32), times("01", 32), times("02", 32));
    let hello = Hello { topic: [0x11; 32], nonce: [0x22; 16] };
    check(&Control::Hello(hello), &format!("01{}{}", times("11", 32), times("22", 16)));
    let nonce = NonceProof { nonce: [0x33; 16], proof: [0x44; 32] };
    check(&Control::Nonce(nonce), &format!("02{}{}", times("33", 16), times("44", 32)));
    let requests = vec![Request::Heads(Heads { after: VectorList::default() }), Request::Unknown(7)];
    let prove = Prove { proof: [0x55; 32], summary: summary.clone(), requests: requests.try_into().expect("two") };
    check(&Control::Prove(prove), &format!("03{}{summary_hex}0202060001{}", times("55", 32), "07"));
    check(&Control::Accept(Accept { session: 300, summary }), &format!("04ac02{summary_hex}"));
    check(&Control::Refused, "05");
    let added = GroupRanges::from_groups(3..5);
    check(&Control::Have(Have { root: id(0xbb), added, complete: false }), &format!("06{}02030200", times("bb", 32)));
    let envelope = vec![1, 2, 3].try_into().expect("short");
    check(&Control::HeadAnnounce(HeadAnnounce { envelope }), "0703010203");
    check(&Control::Bye(ByeReason::NOT_SERVED), "0802");
}

#[test]
fn requests_have_fixed_forms() {
    let open = Open { head: Some(id(0xcc)), path: Some(path("a\u{1}b")), prefetch_bytes: 65_536 };
    check(&Request::Open(open), &format!("0101{}0103610162808004", times("cc", 32)));
    check(&Request::Open(Open { head: None, path: None, prefetch_bytes: 0 }), "01000000");
    let hashes = vec![id(1), id(2)].try_into().expect("two");
    check(&Request::Nodes(Nodes { hashes }), &format!("0202{}{}", times("01", 32), times("02", 32)));
    let after = Some(ChangePlace { writer: WriterKey::from([9; 32]), counter: 5, ordinal: 6 });
    let changes = Changes { since: vector(&[(9, 4)]), after, max: 128 };
    check(&Request::Changes(changes), &format!("0301{}0401{}05068001", times("09", 32), times("09", 32)));
    let get =
        Get { hash: id(0xdd), ranges: GroupRanges::from_groups(0..2), grain: Grain::BULK, size_proof: SizeProof::Yes };
    check(&Request::Get(get.clone()), &format!("04{}0200020601", times("dd", 32)));
    let files = vec![FileRef { hash: id(0xee), size: 200 }].try_into().expect("one");
    check(&Request::GetMany(GetMany { files }), &format!("0501{}c801", times("ee", 32)));
    check(&Request::Heads(Heads { after: VectorList::default() }), "0600");
    check(&Request::Log(Log { counter: 3, before_hlc: 300, max: 64 }), "0903ac0240");
    let frame = RequestFrame { session: 129, request: Request::Get(get) };
    check(&frame, &format!("810104{}0200020601", times("dd", 32)));
}

#[test]
fn answers_have_fixed_forms() {
    check(&Status::Ok, "00");
    check(&Status::NotFound, "01");
    check(&Status::Stale, "02");
    check(&Status::Busy { retry_ms: 1000 }, "03e807");
    check(&Status::Refused, "04");
    check(&Status::BadRequest, "05");
    check(&Status::TooLarge, "06");
    check(&Item::Head(vec![7, 8].try_into().expect("short")), "01020708");
    check(&Item::Node { len: 196_608 }, "0280800c");
    check(&Item::Blob { hash: id(0x77), size: 64 }, &format!("03{}40", times("77", 32)));
    check(&Item::End, "04");
    let record = ChangeRecord {
        writer_prefix: [1, 2, 3, 4, 5, 6, 7, 8],
        counter: 300,
        ordinal: 1,
        op: ChangeOp::RENAME_PREFIX,
        key: path("old"),
        value: Some(path("new")),
    };
    check(&Item::Change(record), "050102030405060708ac020102036f6c6401036e6577");
    assert_eq!(encode_node_len(Some(0x0102)).expect("small"), [0, 0, 1, 2]);
    assert_eq!(encode_node_len(None).expect("small"), [0; 4]);
    assert_eq!(decode_node_len([0, 0, 1, 2]), Ok(Some(0x0102)));
    assert_eq!(decode_node_len([0; 4]), Ok(None));
}

#[test]
fn unknown_numbers_are_told_from_malformed_ones() {
    for number in [0, 9, 255] {
        assert_eq!(Control::decode(&[number, 1, 2, 3]), Ok(Control::Unknown(number)));
    }
    for number in [0, 7, 8, 10, 255] {
        assert_eq!(Request::decode(&[number, 1, 2, 3]), Ok(Request::Unknown(number)));
        let frame = RequestFrame { session: 1, request: Request::Unknown(number) };
        assert_eq!(RequestFrame::decode(&[1, number, 9]), Ok(frame));
    }
    assert_eq!(Status::decode(&[7]), Err(DecodeError::UnknownNumber(7)));
    assert_eq!(Item::decode(&[6]), Err(DecodeError::UnknownNumber(6)));
    assert!(matches!(Control::decode(&[]), Err(DecodeError::Malformed(_))));
    assert_eq!(Control::decode(&[5, 0]), Err(DecodeError::TrailingBytes(1)));
    assert_eq!(Status::decode(&[0, 0]), Err(DecodeError::TrailingBytes(1)));
    assert_eq!(Control::decode(&vec![9; MAX_FRAME_BYTES + 1]), Err(DecodeError::FrameTooLong(65_537)));
}

#[test]
fn what_is_above_a_limit_is_neither_sent_nor_taken() {
    let large = Open { head: None, path: None, prefetch_bytes: MAX_PREFETCH_BYTES + 1 };
    assert!(matches!(Request::Open(large).encode(), Err(EncodeError::AboveLimit { .. })));
    assert!(matches!(Request::decode(&[1, 0, 0, 0x81, 0x80, 0x40]), Err(DecodeError::AboveLimit { .. })));
    let files = vec![FileRef { hash: id(1), size: u64::MAX }; 2].try_into().expect("two");
    let many = GetMany { files };
    assert!(matches!(Request::GetMany(many.clone()).encode(), Err(EncodeError::AboveLimit { .. })));
    let forged = postcard::to_extend(&many, vec![5]).expect("small");
    assert!(matches!(Request::decode(&forged), Err(DecodeError::AboveLimit { value: u64::MAX, .. })));
    assert!(matches!(Item::Node { len: 196_609 }.encode(), Err(EncodeError::AboveLimit { .. })));
    assert!(matches!(Item::decode(&[2, 0x81, 0x80, 0x0c]), Err(DecodeError::AboveLimit { .. })));
    let blob = Item::Blob { hash: id(1), size: MAX_PREFETCH_BYTES + 1 };
    assert!(matches!(blob.encode(), Err(EncodeError::AboveLimit { .. })));
    assert!(decode_node_len([0, 3, 0, 1]).is_err() && decode_node_len([0, 3, 0, 0]).is_ok());
    assert!(encode_node_len(Some(MAX_NODE_BYTES + 1)).is_err());
    let mut grain_7 = vec![4];
    grain_7.extend([1; 32]);
    grain_7.extend([0, 7, 0]);
    assert!(matches!(Request::decode(&grain_7), Err(DecodeError::Malformed(_))));
}

#[test]
fn four_early_requests_fit_and_five_do_not() {
    let request = Request::Heads(Heads { after: VectorList::default() });
    assert!(Bounded::<_, MAX_EARLY_REQUESTS>::try_from(vec![request; 5]).is_err());
    let summary = Summary { root: id(1), vector: VectorList::default(), complete: false };
    let prove = |requests: Vec<Request>| {
        let requests = requests.try_into().expect("at most four");
        Control::Prove(Prove { proof: [0; 32], summary: summary.clone(), requests })
    };
    let files = || vec![FileRef { hash: id(1), size: 1 }; MAX_FILES_PER_REQUEST].try_into().expect("the most");
    let large = || Request::GetMany(GetMany { files: files() });
    assert!(prove(vec![large(), large(), large()]).encode().is_ok());
    let four = prove(vec![large(), large(), large(), large()]);
    assert!(matches!(four.encode(), Err(EncodeError::FrameTooLong(len)) if len > MAX_FRAME_BYTES));
}

#[test]
fn version_vectors_out_of_order_are_refused() {
    let entry = |writer, counter| VectorEntry { writer: WriterKey::from([writer; 32]), counter };
    assert!(VectorList::new(vec![entry(2, 1), entry(1, 1)]).is_none());
    assert!(VectorList::new(vec![entry(1, 1), entry(1, 2)]).is_none());
    assert!(VectorList::new(vec![entry(1, 0)]).is_none());
    let most = (0..=128).map(|writer| entry(writer, 1)).collect::<Vec<_>>();
    assert!(VectorList::new(most.clone()).is_none() && VectorList::new(most[1..].to_vec()).is_some());
    for entries in [vec![entry(2, 1), entry(1, 1)], vec![entry(1, 0)], most] {
        let bytes = postcard::to_extend(&entries, vec![6]).expect("small");
        assert!(matches!(Request::decode(&bytes), Err(DecodeError::Malformed(_))), "{entries:?}");
    }
}

#[test]
fn a_presence_bitmap_has_one_form() {
    let presence = Presence::new([true, false, false, false, false, false, false, false, false, true]);
    assert_eq!(presence.encode(), [0x01, 0x02]);
    assert_eq!(Presence::decode(10, &[0x01, 0x02]), Ok(presence.clone()));
    assert!(presence.contains(9) && !presence.contains(8) && !presence.contains(99));
    for (files, bytes) in [(10, &[1][..]), (10, &[1, 4]), (8, &[1, 0]), (513, &[0; 65])] {
        assert_eq!(Presence::decode(files, bytes), Err(DecodeError::Presence));
    }
    assert_eq!(Presence::decode(0, &[]).map(|presence| presence.iter().count()), Ok(0));
}

fn bytes32() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>()
}

fn any_id() -> impl Strategy<Value = ContentId> {
    bytes32().prop_map(ContentId::from)
}

fn any_vector() -> impl Strategy<Value = VectorList> {
    proptest::collection::btree_map(bytes32(), 1..u64::MAX, 0..6).prop_map(|entries| {
        let entry = |(writer, counter)| VectorEntry { writer: WriterKey::from(writer), counter };
        VectorList::new(entries.into_iter().map(entry).collect()).expect("ascending")
    })
}

fn any_ranges() -> impl Strategy<Value = GroupRanges> {
    proptest::collection::vec((0..1_u64 << 50, 1..1_u64 << 20), 0..6).prop_map(|runs| {
        let mut ranges = GroupRanges::empty();
        for (start, len) in runs {
            ranges.insert(start..start + len);
        }
        ranges
    })
}

fn any_path() -> impl Strategy<Value = Path> {
    proptest::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| bytes.try_into().expect("short"))
}

fn any_request() -> impl Strategy<Value = Request> {
    let place = (bytes32(), any::<u64>(), any::<u32>()).prop_map(|(writer, counter, ordinal)| ChangePlace {
        writer: WriterKey::from(writer),
        counter,
        ordinal,
    });
    prop_oneof![
        (proptest::option::of(any_id()), proptest::option::of(any_path()), 0..=MAX_PREFETCH_BYTES)
            .prop_map(|(head, path, prefetch_bytes)| Request::Open(Open { head, path, prefetch_bytes })),
        proptest::collection::vec(any_id(), 0..8)
            .prop_map(|hashes| Request::Nodes(Nodes { hashes: hashes.try_into().expect("few") })),
        (any_vector(), proptest::option::of(place), any::<u32>())
            .prop_map(|(since, after, max)| Request::Changes(Changes { since, after, max })),
        (any_id(), any_ranges(), 0..=6_u8, any::<bool>()).prop_map(|(hash, ranges, grain, proof)| {
            let size_proof = if proof { SizeProof::Yes } else { SizeProof::No };
            Request::Get(Get { hash, ranges, grain: Grain::try_from(grain).expect("valid"), size_proof })
        }),
        proptest::collection::vec((any_id(), 0..10_000_u64), 0..8).prop_map(|files| {
            let files: Vec<_> = files.into_iter().map(|(hash, size)| FileRef { hash, size }).collect();
            Request::GetMany(GetMany { files: files.try_into().expect("few") })
        }),
        any_vector().prop_map(|after| Request::Heads(Heads { after })),
        (any::<u64>(), any::<u64>(), 0..=MAX_LOG_HEADS).prop_map(|(counter, before_hlc, max)| Request::Log(Log {
            counter,
            before_hlc,
            max
        })),
        prop_oneof![7..=8_u8, 10..=255_u8].prop_map(Request::Unknown),
    ]
}

fn any_control() -> impl Strategy<Value = Control> {
    let summary = || {
        (any_id(), any_vector(), any::<bool>()).prop_map(|(root, vector, complete)| Summary { root, vector, complete })
    };
    prop_oneof![
        (bytes32(), any::<[u8; 16]>()).prop_map(|(topic, nonce)| Control::Hello(Hello { topic, nonce })),
        (bytes32(), any::<[u8; 16]>()).prop_map(|(proof, nonce)| Control::Nonce(NonceProof { nonce, proof })),
        (bytes32(), summary(), proptest::collection::vec(any_request(), 0..=4)).prop_map(
            |(proof, summary, requests)| {
                let requests = requests.try_into().expect("at most four");
                Control::Prove(Prove { proof, summary, requests })
            }
        ),
        (any::<u32>(), summary()).prop_map(|(session, summary)| Control::Accept(Accept { session, summary })),
        Just(Control::Refused),
        (any_id(), any_ranges(), any::<bool>()).prop_map(|(root, added, complete)| Control::Have(Have {
            root,
            added,
            complete
        })),
        proptest::collection::vec(any::<u8>(), 0..300)
            .prop_map(|bytes| { Control::HeadAnnounce(HeadAnnounce { envelope: bytes.try_into().expect("short") }) }),
        any::<u8>().prop_map(|reason| Control::Bye(ByeReason(reason))),
        (9..=255_u8).prop_map(Control::Unknown),
    ]
}

fn any_item() -> impl Strategy<Value = Item> {
    let record =
        (any::<[u8; 8]>(), any::<u64>(), any::<u32>(), any::<u8>(), any_path(), proptest::option::of(any_path()));
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Item::Head(bytes.try_into().expect("short"))),
        (0..=MAX_NODE_BYTES as u32).prop_map(|len| Item::Node { len }),
        (any_id(), 0..=MAX_PREFETCH_BYTES).prop_map(|(hash, size)| Item::Blob { hash, size }),
        Just(Item::End),
        record.prop_map(|(writer_prefix, counter, ordinal, op, key, value)| {
            Item::Change(ChangeRecord { writer_prefix, counter, ordinal, op: ChangeOp(op), key, value })
        }),
    ]
}

/// A complete form cut short is no message, unless it is of an unknown kind, which says nothing about its length.
fn never_passes_when_cut<M: Message>(bytes: &[u8], is_unknown: impl Fn(&M) -> bool) {
    for len in 0..bytes.len() {
        assert!(
            M::decode(&bytes[..len]).is_ok_and(|message| is_unknown(&message)) || M::decode(&bytes[..len]).is_err()
        );
    }
}

proptest! {
    #[test]
    fn control_messages_round_trip(message in any_control()) {
        let bytes = message.encode().expect("within limits");
        prop_assert_eq!(Control::decode(&bytes), Ok(message));
        never_passes_when_cut::<Control>(&bytes, |message| matches!(message, Control::Unknown(_)));
    }

    #[test]
    fn requests_round_trip(session in any::<u32>(), request in any_request()) {
        let bytes = request.encode().expect("within limits");
        prop_assert_eq!(Request::decode(&bytes), Ok(request.clone()));
        never_passes_when_cut::<Request>(&bytes, |request| matches!(request, Request::Unknown(_)));
        let frame = RequestFrame { session, request };
        prop_assert_eq!(RequestFrame::decode(&frame.encode().expect("within limits")), Ok(frame));
    }

    #[test]
    fn items_round_trip(item in any_item()) {
        let bytes = item.encode().expect("within limits");
        prop_assert_eq!(Item::decode(&bytes), Ok(item));
        never_passes_when_cut::<Item>(&bytes, |_| false);
    }

    #[test]
    fn presence_round_trips(bits in proptest::collection::vec(any::<bool>(), 0..=512)) {
        let presence = Presence::new(bits.iter().copied());
        prop_assert_eq!(Presence::decode(bits.len(), &presence.encode()), Ok(presence));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), number in 0..10_u8) {
        let numbered = [&[number][..], &bytes].concat();
        for bytes in [&bytes, &numbered] {
            let _ = Status::decode(bytes);
            let _ = RequestFrame::decode(bytes);
            // What is taken can be sent again.
            if let Ok(message) = Control::decode(bytes) {
                prop_assert!(message.encode().is_ok());
            }
            if let Ok(request) = Request::decode(bytes) {
                prop_assert!(request.encode().is_ok());
            }
            if let Ok(item) = Item::decode(bytes) {
                prop_assert!(item.encode().is_ok());
            }
            let _ = Presence::decode(bytes.len() * 8, bytes);
        }
    }

    #[test]
    fn a_flipped_bit_never_panics(message in any_control(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = message.encode().expect("within limits");
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = Control::decode(&bytes);
    }
}
