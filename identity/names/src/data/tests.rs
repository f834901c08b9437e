use super::*;
use proptest::prelude::*;

/// The wire form of values as people write them, and the value as it is shown.
fn check(record_type: RecordType, value: &str, hex: &str) {
    let data = data_from_text(record_type, value).unwrap_or_else(|error| panic!("{value}: {error}"));
    assert_eq!(data_encoding::HEXLOWER.encode(&data), hex, "{record_type} {value}");
    assert_eq!(data_to_text(record_type, &data), value, "{record_type}");
    let master = data_to_master_text(record_type, &data);
    assert_eq!(data_from_tokens(record_type, &tokens(&master).unwrap()).unwrap(), data, "{record_type} {master}");
}

#[test]
fn dns_types_have_the_wire_forms_of_their_rfcs() {
    check(RecordType::A, "192.0.2.7", "c0000207");
    check(RecordType::AAAA, "2001:db8::7", "20010db8000000000000000000000007");
    check(RecordType::NS, "ns.example", "026e73076578616d706c6500");
    check(RecordType::CNAME, "a\\.b.example", "03612e62076578616d706c6500");
    check(RecordType::PTR, ".", "00");
    check(RecordType::MX, "10 mail.example", "000a046d61696c076578616d706c6500");
    check(RecordType::SRV, "1 2 443 www", "0001000201bb0377777700");
    check(RecordType::TXT, "hello gns", "68656c6c6f20676e73");
    check(RecordType::TXT, "\" led\\\"\\000\"", "206c65642200");
    check(
        RecordType::SOA,
        "ns hostmaster 1 2 3 4 5",
        "026e73000a686f73746d61737465720000000001000000020000000300000004000000 05".replace(' ', "").as_str(),
    );
    check(RecordType::CAA, "0 issue \"ca.example\"", "0005697373756563612e6578616d706c65");
    check(RecordType::TLSA, "3 1 1 00ff", "03010100ff");
    check(RecordType::DS, "60485 5 1 2bb183", "ec4505012bb183");
    check(RecordType::SSHFP, "4 2 aa", "0402aa");
    check(RecordType::HINFO, "\"pi\" \"linux\"", "027069056c696e7578");
    check(RecordType::URI, "1 2 \"https://example/\"", "0001000268747470733a2f2f6578616d706c652f");
    check(RecordType::DNSKEY, "257 3 15 AQID", "0101030f010203");
    check(RecordType::OPENPGPKEY, "AQID", "010203");
    check(RecordType::NAPTR, "1 2 \"u\" \"sip\" \"!a!b!\" .", "0001000201750373697005216121622100");
    check(
        RecordType::HTTPS,
        "1 . alpn=h2,h3 port=8443",
        "0001000001000602683202683300030002 20fb".replace(' ', "").as_str(),
    );
    check(
        RecordType::SVCB,
        "2 a mandatory=alpn no-default-alpn ipv4hint=192.0.2.1 ipv6hint=::1 key667=\"x\"",
        "000201610000000002000100020000000400 04c00002010006001000000000000000000000000000000001029b000178"
            .replace(' ', "")
            .as_str(),
    );
    check(
        RecordType::SVCB,
        "1 . dohpath=\"/q{?dns}\" key667=\"a \\\"b\\\" c\"",
        "00010000070008 2f717b3f646e737d 029b0007 61202262222063".replace(' ', "").as_str(),
    );
    check(RecordType::new(65_280), "\\# 3 abcdef", "abcdef");
    check(RecordType::A, "\\# 3 abcdef", "abcdef");
    check(RecordType::new(731), "\\# 0", "");
}

#[test]
fn gns_types_have_the_wire_forms_of_the_rfc() {
    check(RecordType::NICK, "愛称", "e6849be7a7b0");
    check(RecordType::LEHO, "www.example.com", "7777772e6578616d706c652e636f6d");
    check(RecordType::REDIRECT, "www.+", "7777772e2b00");
    check(RecordType::REDIRECT, "+", "2b00");
    check(RecordType::GNS2DNS, "example.com@192.0.2.53", "6578616d706c652e636f6d003139322e302e322e353300");
    check(RecordType::BOX, "6 443 TLSA 3 1 1 00ff", "000601bb0000003403010100ff");
    check(RecordType::BOX, "17 53 TXT \"two words\"", "0011003500000010 74776f20776f726473".replace(' ', "").as_str());
    let zone = "000G0037FH3QTBCK15Y8BCCNRVWPV17ZC7TSGB1C9ZG2TPGHZVFV1GMG3W";
    check(RecordType::PKEY, zone, "677c477d2d93097c85b195c6f96d84ff61f5982c2c4fe02d5a11fedfb0c2901f");
    assert!(data_from_text(RecordType::EDKEY, zone).is_err());
}

#[test]
fn project_types_have_the_forms_of_the_specification() {
    let peer = p2p_identity::PeerId::from([7; 32]);
    let key = "07".repeat(32);
    let device = crate::base32gns_encode(&[9; 32]);
    assert_eq!(device.len(), 52);
    check(RecordType::P2PPEER, &peer.to_string(), &format!("50325001010026002408011220{key}"));
    check(
        RecordType::P2PPEER,
        &format!("{peer} device={device} thing=lamp-1 addr=/ip4/192.0.2.1/tcp/4001 addr=/dns/a.example/udp/1/quic-v1"),
        &format!(
            "50325001010026002408011220{key}020020{}0300066c616d702d31810008 04c000020106 0fa1 81001135 09612e6578616d706c65 910200 01 cd03",
            "09".repeat(32)
        )
        .replace(' ', ""),
    );
    let drive = p2p_identity::DriveId::from([7; 32]);
    check(RecordType::P2PDRIVE, &format!("p2p://{drive}/"), &format!("5032500101002101{key}"));
    check(
        RecordType::P2PDRIVE,
        &format!("p2p://{drive}/docs/a?v=3 seed={peer}"),
        &format!("5032500101002101{key}0200072f646f63732f610300080000000000000003810026002408011220{key}"),
    );
}

#[test]
fn a_push_subscription_survives_its_bytes_and_hides_its_topic_key() {
    let peer = p2p_identity::PeerId::from([7; 32]);
    let address = multiaddr::from_text("/ip4/192.0.2.1/tcp/4001").unwrap();
    let full = PushRecord {
        receive_key: [1; 32],
        root_key: [2; 32],
        epoch: 3,
        topic_key: [4; 32],
        mailboxes: vec![Mailbox { slot: [5; 16], peer, addresses: vec![address] }],
        end: Some(crate::Timestamp::from_secs(1_795_668_667)),
        quota: Some((100, 65_536)),
        work_bits: Some(12),
        revoked: vec![[6; 16]; 64],
        peer: Some(peer),
    };
    let data = full.to_data();
    assert_eq!(PushRecord::from_data(&data), Some(full.clone()));
    let text = data_to_text(RecordType::P2PPUSH, &data);
    let (key, root) = (crate::base32gns_encode(&[1; 32]), crate::base32gns_encode(&[2; 32]));
    let slot = "05".repeat(16);
    assert_eq!(
        text,
        format!(
            "key={key} root={root} epoch=3 mailbox={peer},{slot},/ip4/192.0.2.1/tcp/4001 \
             expires=2026-11-26T04:51:07Z quota=100,65536 pow=12"
        )
    );
    assert!(!format!("{full:?}").contains("4, 4"));
    let small = PushRecord { mailboxes: vec![], ..full.clone() };
    assert_eq!(PushRecord::from_data(&small.to_data()), None, "one mailbox is needed");
    let many = PushRecord { revoked: vec![[6; 16]; 65], ..full };
    assert_eq!(PushRecord::from_data(&many.to_data()), None);
    let master = data_to_master_text(RecordType::P2PPUSH, &data);
    assert_eq!(data_from_tokens(RecordType::P2PPUSH, &tokens(&master).unwrap()).unwrap(), data);
}

#[test]
fn capability_revocations_are_base64url_words() {
    check(RecordType::P2PREVOKE, "oQE AQID", "50325001010002a10101000301 0203".replace(' ', "").as_str());
    check(RecordType::P2PREVOKE, "oQE more=2", "50325001010002a1018000020002");
    assert!(data_from_text(RecordType::P2PREVOKE, "more=2").is_err());
    assert!(data_from_text(RecordType::P2PREVOKE, &"AQ ".repeat(17)).is_err());
}

#[test]
fn identities_are_a_head_and_base64url_words() {
    let head = format!("0:{}", "ab".repeat(32));
    let hex = format!("50325001010028{}{}020003010203810002fffe", "00".repeat(8), "ab".repeat(32));
    check(RecordType::P2PIDENTITY, &format!("{head} AQID __4"), &hex);
    for bad in [head.clone(), format!("{head} !"), "0:ab AQID".to_owned(), format!("{head} AQID AQ AQ AQ AQ AQ")] {
        assert!(data_from_text(RecordType::P2PIDENTITY, &bad).is_err(), "{bad}");
    }
}

#[test]
fn unusable_project_records_keep_their_bytes() {
    let drive = p2p_identity::DriveId::from([7; 32]);
    let good = data_from_text(RecordType::P2PDRIVE, &format!("p2p://{drive}/")).unwrap();
    let with = |tail: &[u8]| [&good[..], tail].concat();
    assert!(DriveRecord::from_data(&with(&[0x90, 0, 1, 5])).is_some(), "unknown tags from 0x80 on are skipped");
    assert!(DriveRecord::from_data(&with(&[0x70, 0, 1, 5])).is_none(), "unknown tags below are not");
    assert!(DriveRecord::from_data(&with(&[0x01, 0, 0])).is_none(), "no second target");
    assert!(DriveRecord::from_data(&with(&[0x81, 0xff, 0xff])).is_none(), "a length past the end");
    assert!(DriveRecord::from_data(b"P2P\x01").is_none(), "the target is missing");
    assert!(DriveRecord::from_data(b"P2P\x02").is_none(), "another version");
    let text = data_to_text(RecordType::P2PDRIVE, b"P2P\x02");
    assert_eq!(text, "\\# 4 50325002");
    assert!(
        DriveRecord::from_data(&with(&[0x04, 0, 32].iter().copied().chain([1; 32]).collect::<Vec<_>>()))
            .is_some_and(|record| !format!("{record:?}").contains("1, 1"))
    );
}

#[test]
fn encodings_of_older_gnunet_are_read() {
    let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    assert_eq!(data_to_text(RecordType::REDIRECT, &hex("7777772e2b")), "www.+");
    let old = hex("076578616d706c6503636f6d003139322e302e322e353300");
    assert_eq!(data_to_text(RecordType::GNS2DNS, &old), "example.com@192.0.2.53");
}

#[test]
fn wrong_values_are_refused_with_what_was_expected() {
    for (record_type, value) in [
        (RecordType::A, "192.0.2"),
        (RecordType::A, "192.0.2.1 2"),
        (RecordType::A, ""),
        (RecordType::MX, "mail.example"),
        (RecordType::MX, "+5 mail"),
        (RecordType::MX, "70000 mail"),
        (RecordType::MX, "1 a..b"),
        (RecordType::TLSA, "3 1 1"),
        (RecordType::TLSA, "3 1 1 zz"),
        (RecordType::TXT, "\"open"),
        (RecordType::TXT, "\"\\25\""),
        (RecordType::NICK, "a.b"),
        (RecordType::REDIRECT, ""),
        (RecordType::GNS2DNS, "example.com"),
        (RecordType::PKEY, "alice"),
        (RecordType::BOX, "6 443 BOX 6 443 A 192.0.2.1"),
        (RecordType::HTTPS, "1 . alpn=h2 alpn=h3"),
        (RecordType::HTTPS, "1 . colour=red"),
        (RecordType::P2PDRIVE, "https://example"),
        (RecordType::P2PPEER, "12D3Koo"),
        (RecordType::new(731), "1"),
        (RecordType::new(731), "\\# 2 00"),
    ] {
        let error = data_from_text(record_type, value).unwrap_err().to_string();
        assert!(error.contains("expected"), "{error}");
    }
}

fn any_type() -> impl Strategy<Value = RecordType> {
    let known: Vec<_> = RecordType::known().collect();
    prop_oneof![proptest::sample::select(known), any::<u32>().prop_map(RecordType::new)]
}

/// Data that often has the shape of its type: small numbers, short names, the mark of our own types.
fn likely_data() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(vec![0]),
        Just(vec![0, 1]),
        Just(b"P2P\x01".to_vec()),
        Just(vec![3, b'w', b'w', b'w']),
        Just(vec![0, 0, 0, 16]),
        Just(vec![0, 1, 0]),
        ("[ -~]{0,6}", 0..9u8)
            .prop_map(|(text, key)| { [&[0, key, 0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat() }),
        proptest::collection::vec(any::<u8>(), 0..6),
        "[a-z.@+]{1,8}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn the_text_of_any_data_reads_back_the_same(record_type in any_type(), data in likely_data()) {
        let text = data_to_text(record_type, &data);
        let master = data_to_master_text(record_type, &data);
        if record_type == RecordType::P2PPUSH {
            return Ok(());
        }
        let again = data_from_text(record_type, &text).unwrap();
        let from_master = data_from_tokens(record_type, &tokens(&master).unwrap()).unwrap();
        prop_assert_eq!(&again, &from_master, "{} and {}", text, master);
        let has_old_forms = [RecordType::REDIRECT, RecordType::GNS2DNS].contains(&record_type);
        let inner_old = record_type == RecordType::BOX;
        let skips_tags = record_type.number() >= RecordType::P2PPEER.number();
        if !has_old_forms && !inner_old && !skips_tags {
            prop_assert_eq!(&again, &data, "{}", text);
        }
        prop_assert_eq!(data_to_text(record_type, &again), text);
    }

    #[test]
    fn any_text_is_a_value_or_refused(record_type in any_type(), text in "\\PC{0,60}") {
        if let Ok(data) = data_from_text(record_type, &text) {
            let shown = data_to_text(record_type, &data);
            prop_assert_eq!(data_from_text(record_type, &shown).unwrap(), data);
        }
    }

    #[test]
    fn any_bytes_are_a_multiaddr_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40), text in "(/(ip4|tcp|p2p|dns|ws|[a-z0-9.]{1,6})){0,6}") {
        if let Some(text) = multiaddr::to_text(&bytes) {
            prop_assert_eq!(multiaddr::from_text(&text), Some(bytes));
        }
        if let Some(bytes) = multiaddr::from_text(&text) {
            prop_assert!(multiaddr::to_text(&bytes).is_some());
        }
    }
}
