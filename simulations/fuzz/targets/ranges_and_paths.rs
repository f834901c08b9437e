//! Run lists of groups, and paths.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p2p_drives::{GroupRanges, PathKey};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(ranges) = GroupRanges::from_bytes(bytes) {
        assert_eq!(GroupRanges::from_bytes(&ranges.to_bytes()).as_ref(), Ok(&ranges));
    }
    if let Ok(key) = PathKey::from_bytes(bytes) {
        assert_eq!(PathKey::from_path(&key.to_path()).as_ref(), Ok(&key));
    }
    if let Ok(path) = std::str::from_utf8(bytes)
        && let Ok(key) = PathKey::from_path(path)
    {
        assert!(key.components().all(|component| component != ".." && component != "." && !component.is_empty()));
    }
});
