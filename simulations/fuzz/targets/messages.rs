//! Every message of the drive protocol; what decodes must encode to the same bytes again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p2p_drives::codec::{Message, decode_node_len};
use p2p_drives::wire::{Control, Item, Presence, Request, RequestFrame, Status};

fn check<M: Message>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes)
        && let Ok(again) = message.encode()
    {
        assert!(M::decode(&again).is_ok(), "what was encoded decodes");
    }
}

fuzz_target!(|bytes: &[u8]| {
    check::<Control>(bytes);
    check::<Request>(bytes);
    check::<RequestFrame>(bytes);
    check::<Status>(bytes);
    check::<Item>(bytes);
    if let Some((files, rest)) = bytes.split_first() {
        let _ = Presence::decode(usize::from(*files), rest);
    }
    if let Some(prefix) = bytes.first_chunk() {
        let _ = decode_node_len(*prefix);
    }
});
