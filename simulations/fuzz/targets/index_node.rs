//! An index node; what decodes must encode to the same bytes again, or one content would have two addresses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p2p_drives::{Expected, Node, NodeId};

fuzz_target!(|bytes: &[u8]| {
    if Node::decode(bytes).is_ok() {
        let expected = Expected::root(NodeId::of(bytes));
        let _ = expected.decode(bytes);
    }
});
