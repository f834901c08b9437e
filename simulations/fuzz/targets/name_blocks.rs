//! Blocks, record sets and revocations of the name system, as peers send them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p2p_names::{Block, Revocation, StorageKey, Timestamp, check_store, data_to_text, decode_rdata, encode_rdata};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(block) = Block::parse(bytes) {
        assert_eq!(block.as_bytes(), bytes);
        let _ = check_store(&block.storage_key(), bytes, None, Timestamp::from_secs(1));
    }
    let _ = check_store(&StorageKey::from([7; 64]), bytes, Some(bytes), Timestamp::ZERO);
    if let Ok(records) = decode_rdata(bytes) {
        for record in &records {
            let _ = data_to_text(record.record_type, &record.data);
        }
        if let Ok(again) = encode_rdata(&records) {
            assert_eq!(decode_rdata(&again).as_ref(), Ok(&records));
        }
    }
    if let Ok(revocation) = Revocation::from_bytes(bytes) {
        assert_eq!(revocation.to_bytes(), bytes);
        let _ = revocation.is_signature_valid();
    }
});
