//! Links and ids as people paste them; what parses prints to something that parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p2p_identity::{DriveId, Link, PeerId};

fuzz_target!(|text: &str| {
    if let Ok(link) = text.parse::<Link>() {
        assert_eq!(link.to_string().parse::<Link>().as_ref(), Ok(&link));
    }
    let _ = text.parse::<DriveId>();
    let _ = text.parse::<PeerId>();
});
