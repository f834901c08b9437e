//! The functions behind `p2p name block` and `p2p name revocation`, on the published vectors.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use p2p_names::{make_block, open_block, verify_revocation};
use serde_json::{Value, json};

fn case(text: &str, index: usize) -> Value {
    serde_json::from_str::<Value>(text).unwrap()["cases"][index].clone()
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap()
}

#[test]
fn a_block_is_made_and_opened_as_the_rfc_prints_it() {
    for index in 0..2 {
        let case = case(include_str!("vectors/rfc9498/records.json"), index);
        let zone_type = u32::try_from(case["zone_type"].as_u64().unwrap()).unwrap();
        let opened = open_block(text(&case, "ztld"), text(&case, "label_utf8"), text(&case, "rrblock")).unwrap();
        assert!(opened.valid, "{opened:?}");
        assert_eq!(opened.rdata, text(&case, "rdata"));
        assert_eq!(opened.records.len(), case["records"].as_array().unwrap().len());
        let made = make_block(
            text(&case, "zone_private_key"),
            zone_type,
            text(&case, "label_utf8"),
            opened.expires.unwrap(),
            &text(&case, "rdata").to_uppercase(),
        )
        .unwrap();
        assert_eq!((made.block.as_str(), made.q.as_str()), (text(&case, "rrblock"), text(&case, "q")));
    }
}

#[test]
fn results_print_as_the_fields_of_the_commands() {
    let case = case(include_str!("vectors/rfc9498/records.json"), 1);
    let opened = open_block(text(&case, "ztld"), text(&case, "label_utf8"), text(&case, "rrblock")).unwrap();
    let printed = serde_json::to_value(&opened).unwrap();
    assert_eq!(printed["valid"], json!(true));
    assert_eq!(
        printed["records"][2],
        json!({"type": "TXT", "value": "Hello World", "flags": 4, "expires": 11464693629000000u64})
    );
}

#[test]
fn a_bad_block_is_a_result_with_a_reason() {
    let case = case(include_str!("vectors/rfc9498/records.json"), 0);
    let (ztld, block) = (text(&case, "ztld"), text(&case, "rrblock"));
    let wrong_label = open_block(ztld, "other", block).unwrap();
    assert!(!wrong_label.valid && wrong_label.reason.is_some() && wrong_label.expires.is_some());
    assert!(wrong_label.records.is_empty() && wrong_label.rdata.is_empty());
    let cut = open_block(ztld, "testdelegation", &block[..100]).unwrap();
    assert!(!cut.valid && cut.expires.is_none());
    let flipped = format!("{}0", &block[..block.len() - 1]);
    assert!(!open_block(ztld, "testdelegation", &flipped).unwrap().valid);
    assert!(open_block("alice", "testdelegation", block).is_err());
    assert!(open_block(ztld, "a.b", block).is_err());
    assert!(open_block(ztld, "a", "xyz").is_err());
    assert!(make_block("00", 65536, "a", 1, "").is_err());
    assert!(make_block(&"01".repeat(32), 7, "a", 1, "").is_err());
}

#[test]
fn a_revocation_is_judged_by_the_difficulty_given() {
    let case = case(include_str!("vectors/rfc9498/revocation.json"), 0);
    let checked = verify_revocation(text(&case, "proof"), 5).unwrap();
    assert!(checked.valid && checked.signature_valid && checked.reason.is_none());
    assert!((checked.average - 7.0).abs() < f64::EPSILON);
    let strict = verify_revocation(text(&case, "proof"), 22).unwrap();
    assert!(!strict.valid && strict.signature_valid && strict.reason.is_some());
    let cut = verify_revocation("00", 5).unwrap();
    assert!(!cut.valid && !cut.signature_valid);
}
