//! The receiving end of a verified stream: whatever comes, only proven bytes are taken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p2p_drives::{Decoder, Grain, GroupRanges, PARENT_BYTES, Plan, SizeProof, Step};
use p2p_identity::ContentId;

fuzz_target!(|bytes: &[u8]| {
    let Some((head, mut rest)) = bytes.split_first_chunk::<8>() else { return };
    let size = u64::from_le_bytes(*head) % (4 * 1024 * 1024);
    let hash = ContentId::of(b"something else");
    let ranges = GroupRanges::of_size(size);
    let mut decoder = Decoder::new(&hash, size, &ranges, Grain::BULK, SizeProof::No);
    let mut below = Vec::new();
    for step in Plan::new(size, &ranges, Grain::BULK, SizeProof::No) {
        match step {
            Step::Parent(_) => {
                let Some((pair, after)) = rest.split_first_chunk::<{ PARENT_BYTES as usize }>() else { return };
                rest = after;
                if decoder.on_parent(pair).is_err() {
                    return;
                }
            }
            Step::Unit(unit) => {
                let Some((data, _)) = rest.split_at_checked(unit.len) else { return };
                assert!(decoder.on_unit(data, &mut below).is_err(), "nothing here can be proven");
                return;
            }
        }
    }
});
