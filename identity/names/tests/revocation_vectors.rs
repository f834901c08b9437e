//! The published revocations: scores, average, signature and end of validity.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use data_encoding::HEXLOWER;
use p2p_names::{EPOCH, Revocation, RevocationError, ZoneKey, ZoneSecret, ZoneType};
use serde_json::Value;

fn cases() -> Vec<(Value, u32)> {
    let first = |text: &str| serde_json::from_str::<Value>(text).unwrap()["cases"][0].clone();
    vec![
        (first(include_str!("vectors/rfc9498/revocation.json")), 5),
        (first(include_str!("vectors/gnunet-0.19.3/revocation.json")), 3),
    ]
}

fn bytes(case: &Value, field: &str) -> Vec<u8> {
    HEXLOWER.decode(case[field].as_str().unwrap().as_bytes()).unwrap()
}

#[test]
fn published_revocations_are_read_and_hold() {
    for (case, difficulty) in cases() {
        let proof = bytes(&case, "proof");
        let revocation = Revocation::from_bytes(&proof).unwrap();
        assert_eq!(revocation.to_bytes(), proof);
        assert_eq!(revocation.zone, case["ztld"].as_str().unwrap().parse::<ZoneKey>().unwrap());
        assert_eq!(Some(revocation.timestamp.as_micros()), case["timestamp_us"].as_u64());
        assert_eq!(Some(revocation.ttl_micros), case["ttl_us"].as_u64());
        let expected: Vec<u64> =
            case["leading_zero_bits"].as_array().unwrap().iter().map(|bits| bits.as_u64().unwrap()).collect();
        assert_eq!(revocation.scores().map(u64::from).to_vec(), expected);
        let bits = revocation.check(difficulty).unwrap();
        assert_eq!(Some(f64::from(bits) / 32.0), case["average_leading_zero_bits"].as_f64());
        let steps = bits / 32 - difficulty + 1;
        assert_eq!(revocation.expiration(bits, difficulty), revocation.timestamp.after(EPOCH * steps * 11 / 10));
        assert!(matches!(revocation.check(22), Err(RevocationError::TooEasy { needed: 704, .. })));
    }
}

#[test]
fn published_revocations_are_recreated_byte_for_byte() {
    for (case, _) in cases() {
        let proof = bytes(&case, "proof");
        let read = Revocation::from_bytes(&proof).unwrap();
        let key = bytes(&case, "zone_private_key").try_into().unwrap();
        let secret = ZoneSecret::from_rfc_bytes(ZoneType::Pkey, &key).unwrap();
        assert_eq!(Revocation::sign(&secret, read.timestamp, read.ttl_micros, read.proofs).to_bytes(), proof);
    }
}
