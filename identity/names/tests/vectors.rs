//! The published vectors of RFC 9498 and blocks written by GNUnet 0.19.3, recreated byte for byte.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use data_encoding::HEXLOWER;
use p2p_names::{
    Block, Label, LabelKeys, Record, RecordType, Timestamp, ZoneKey, ZoneSecret, ZoneType, base32gns_decode,
    base32gns_encode, check_store, decode_rdata, encode_rdata,
};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} is a text"))
}

fn bytes(case: &Value, field: &str) -> Vec<u8> {
    HEXLOWER.decode(text(case, field).as_bytes()).unwrap()
}

fn number(case: &Value, field: &str) -> u32 {
    u32::from_str_radix(text(case, field), 16).unwrap()
}

fn record_cases() -> Vec<Value> {
    [include_str!("vectors/rfc9498/records.json"), include_str!("vectors/gnunet-0.19.3/blocks.json")]
        .iter()
        .flat_map(|file| json(file)["cases"].as_array().unwrap().clone())
        .collect()
}

fn secret(case: &Value) -> ZoneSecret {
    let zone_type = ZoneType::from_number(u32::try_from(case["zone_type"].as_u64().unwrap()).unwrap()).unwrap();
    ZoneSecret::from_rfc_bytes(zone_type, &bytes(case, "zone_private_key").try_into().unwrap()).unwrap()
}

#[test]
fn base32gns_samples_are_read_and_written() {
    let file = json(include_str!("vectors/rfc9498/base32gns.json"));
    for case in file["rfc"]["encode"].as_array().unwrap() {
        assert_eq!(base32gns_encode(&bytes(case, "input_hex")), text(case, "output"));
    }
    for case in file["rfc"]["decode"].as_array().unwrap() {
        assert_eq!(base32gns_decode(text(case, "input")).unwrap(), bytes(case, "output_hex"));
    }
    for pair in file["extra"]["pairs"].as_array().unwrap() {
        assert_eq!(base32gns_encode(&bytes(pair, "bytes_hex")), text(pair, "text"));
        assert_eq!(base32gns_decode(text(pair, "text")).unwrap(), bytes(pair, "bytes_hex"));
    }
}

#[test]
fn zones_are_those_of_their_secrets() {
    for case in record_cases() {
        let (id, secret) = (text(&case, "id"), secret(&case));
        assert_eq!(secret.public().to_bytes().to_vec(), bytes(&case, "zone_identifier"), "{id}");
        assert_eq!(secret.public().to_string(), text(&case, "ztld"), "{id}");
        assert_eq!(text(&case, "ztld").parse::<ZoneKey>().unwrap(), *secret.public(), "{id}");
        assert_eq!(secret.to_rfc_bytes().to_vec(), bytes(&case, "zone_private_key"), "{id}");
        if case.get("gnunet_ego_file").is_some() {
            assert_eq!(secret.to_gnunet_bytes().to_vec(), bytes(&case, "gnunet_ego_file"), "{id}");
            let again = ZoneSecret::from_gnunet_text(&secret.to_gnunet_text()).unwrap();
            assert_eq!(again.public(), secret.public(), "{id}");
        }
    }
}

#[test]
fn every_block_is_recreated_byte_for_byte() {
    for case in record_cases() {
        let (id, secret) = (text(&case, "id"), secret(&case));
        let label: Label = text(&case, "label_utf8").parse().unwrap();
        assert_eq!(label.as_bytes(), bytes(&case, "label_hex"), "{id}");
        let expected = bytes(&case, "rrblock");
        let expiration = Block::parse(&expected).unwrap().expiration();
        let block = Block::make(&secret, &label, expiration, &bytes(&case, "rdata")).unwrap();
        assert_eq!(HEXLOWER.encode(block.as_bytes()), HEXLOWER.encode(&expected), "{id}");
        assert_eq!(&block.as_bytes()[112..], bytes(&case, "bdata"), "{id}");
        if let Some(column) = case.get("namecache_expiration_column").and_then(Value::as_u64) {
            assert_eq!(expiration.as_micros(), column, "{id}");
        }
    }
}

#[test]
fn every_block_verifies_and_decrypts_with_the_public_key() {
    for case in record_cases() {
        let id = text(&case, "id");
        let zone: ZoneKey = text(&case, "ztld").parse().unwrap();
        let keys = LabelKeys::of(&zone, &text(&case, "label_utf8").parse().unwrap());
        assert_eq!(keys.storage_key().as_bytes().to_vec(), bytes(&case, "q"), "{id}");
        assert_eq!(keys.blinded_key().to_vec(), bytes(&case, "zkdf"), "{id}");
        let block = Block::parse(&bytes(&case, "rrblock")).unwrap();
        assert_eq!(block.storage_key(), keys.storage_key(), "{id}");
        assert_eq!(block.open(&keys).unwrap(), bytes(&case, "rdata"), "{id}");
        let earlier = Timestamp::from_micros(block.expiration().as_micros() - 1);
        check_store(&keys.storage_key(), block.as_bytes(), None, earlier).unwrap();
    }
}

#[test]
fn every_record_set_is_read_and_written() {
    for case in record_cases() {
        let id = text(&case, "id");
        let rdata = bytes(&case, "rdata");
        let records = decode_rdata(&rdata).unwrap();
        let expected = case["records"].as_array().unwrap();
        assert_eq!(records.len(), expected.len(), "{id}");
        for (record, expected) in records.iter().zip(expected) {
            assert_eq!(Some(record.expiration.as_micros()), expected["expiration_us"].as_u64(), "{id}");
            assert_eq!(record.record_type, RecordType::new(number(expected, "type_hex")), "{id}");
            assert_eq!(u32::from(record.flags.bits()), number(expected, "flags_hex"), "{id}");
            assert_eq!(record.data, bytes(expected, "data_hex"), "{id}");
        }
        assert_eq!(encode_rdata(&records).unwrap(), rdata, "{id}");
    }
}

#[test]
fn a_block_of_one_label_does_not_open_with_the_keys_of_another() {
    for case in record_cases() {
        let block = Block::parse(&bytes(&case, "rrblock")).unwrap();
        let zone: ZoneKey = text(&case, "ztld").parse().unwrap();
        assert!(block.open(&LabelKeys::of(&zone, &"other".parse().unwrap())).is_err());
    }
}

#[test]
fn records_are_values_of_their_types() {
    let cases = record_cases();
    let values: Vec<String> = cases
        .iter()
        .flat_map(|case| decode_rdata(&bytes(case, "rdata")).unwrap())
        .map(|record: Record| format!("{} {}", record.record_type, record.value()))
        .collect();
    for expected in [
        "A 192.0.2.7",
        "AAAA 2001:db8::7",
        "AAAA ::dead:beef",
        "TXT hello gns",
        "TXT Hello World",
        "NICK 愛称",
        "LEHO www.example.com",
        "REDIRECT www.+",
        "GNS2DNS example.com@192.0.2.53",
        "PKEY 000G0079EZ1N98355Z7Z6FVY0JY8ZZXGA1309KZRZ82C9ESH9J06XP3AA0",
    ] {
        assert!(values.iter().any(|value| value == expected), "{expected} is not among {values:#?}");
    }
    assert!(values.iter().any(|value| value.starts_with("BOX 6 443 TLSA 3 0 1 00112233")), "{values:#?}");
}
