//! Blocks of the published vectors with one thing wrong: never a panic, never an answer.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use data_encoding::HEXLOWER;
use p2p_names::{
    Block, BlockError, Label, LabelKeys, StorageKey, StoreRefusal, Timestamp, ZoneKey, ZoneType, check_store,
    newest_valid,
};
use serde_json::Value;

/// A published block, its keys, and a time at which it holds.
struct Case {
    block: Vec<u8>,
    keys: LabelKeys,
    q: StorageKey,
    now: Timestamp,
}

fn cases() -> Vec<Case> {
    [include_str!("vectors/rfc9498/records.json"), include_str!("vectors/gnunet-0.19.3/blocks.json")]
        .iter()
        .flat_map(|file| serde_json::from_str::<Value>(file).unwrap()["cases"].as_array().unwrap().clone())
        .map(|case| {
            let text = |field: &str| case[field].as_str().unwrap().to_owned();
            let block = HEXLOWER.decode(text("rrblock").as_bytes()).unwrap();
            let zone: ZoneKey = text("ztld").parse().unwrap();
            let keys = LabelKeys::of(&zone, &text("label_utf8").parse::<Label>().unwrap());
            let end = Block::parse(&block).unwrap().expiration();
            Case { block, q: keys.storage_key(), keys, now: Timestamp::from_micros(end.as_micros() - 1) }
        })
        .collect()
}

impl Case {
    fn refusal(&self, bytes: &[u8]) -> BlockError {
        match check_store(&self.q, bytes, None, self.now) {
            Err(StoreRefusal::Block(error)) => error,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn one_flipped_bit_anywhere_is_noticed() {
    for case in cases() {
        for at in 0..case.block.len() {
            let mut bad = case.block.clone();
            bad[at] ^= 1 << (at % 8);
            let refusal = case.refusal(&bad);
            match at {
                0..4 => assert!(matches!(refusal, BlockError::SizeMismatch { .. }), "{at}: {refusal}"),
                4..8 => assert!(matches!(refusal, BlockError::UnknownZoneType(_)), "{at}: {refusal}"),
                8..40 => assert_eq!(refusal, BlockError::WrongKey, "{at}"),
                // An earlier expiration may be over already.
                104..112 => assert!(matches!(refusal, BlockError::BadSignature | BlockError::Expired(_)), "{at}"),
                _ => assert_eq!(refusal, BlockError::BadSignature, "{at}"),
            }
            assert!(Block::parse(&bad).and_then(|block| block.open(&case.keys)).is_err());
            assert_eq!(newest_valid(&case.q, [bad.as_slice()], case.now), None);
        }
    }
}

#[test]
fn cut_and_grown_blocks_are_refused() {
    for case in cases() {
        for len in 0..case.block.len() {
            assert!(Block::parse(&case.block[..len]).is_err(), "{len}");
        }
        // The size field follows, so only the signature can tell.
        for len in [112, 120, 128, 150] {
            let mut bad = case.block.clone();
            bad.resize(len, 0);
            bad[..4].copy_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
            let result = Block::parse(&bad).and_then(|block| block.open(&case.keys));
            assert!(result.is_err(), "{len}");
        }
    }
}

#[test]
fn a_blinded_key_that_is_no_point_verifies_nothing() {
    let is_no_point = |byte: &u8| ZoneKey::new(ZoneType::Edkey, [*byte; 32]).is_err();
    let no_point = (0..=u8::MAX).find(is_no_point).unwrap();
    for case in cases() {
        for key in [[no_point; 32], [0; 32], {
            let mut identity = [0; 32];
            identity[0] = 1;
            identity
        }] {
            let mut bad = case.block.clone();
            bad[8..40].copy_from_slice(&key);
            let block = Block::parse(&bad).unwrap();
            assert_eq!(block.verify(), Err(BlockError::BadSignature));
            assert_eq!(case.refusal(&bad), BlockError::WrongKey);
        }
    }
}

#[test]
fn the_other_zone_type_does_not_fit_the_signature() {
    for case in cases() {
        let mut bad = case.block.clone();
        let other = if bad[7] == 0 { ZoneType::Edkey } else { ZoneType::Pkey };
        bad[4..8].copy_from_slice(&other.number().to_be_bytes());
        let block = Block::parse(&bad).unwrap();
        assert_eq!(block.verify(), Err(BlockError::BadSignature));
        assert_eq!(block.open(&case.keys), Err(BlockError::WrongKey));
    }
}

#[test]
fn an_expired_block_is_neither_stored_nor_returned() {
    for case in cases() {
        let end = Block::parse(&case.block).unwrap().expiration();
        let refused = check_store(&case.q, &case.block, None, end);
        assert_eq!(refused, Err(StoreRefusal::Block(BlockError::Expired(end))));
        assert_eq!(newest_valid(&case.q, [case.block.as_slice()], end), None);
        assert!(newest_valid(&case.q, [case.block.as_slice()], case.now).is_some());
    }
}
