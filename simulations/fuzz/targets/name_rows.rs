//! Rows of the namestore and states of a search, as they lie on disk.
#![no_main]

use libfuzzer_sys::fuzz_target;
use p2p_names::{LabelEntry, PowSearch, ZoneEntry};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = LabelEntry::from_bytes(bytes) {
        assert_eq!(LabelEntry::from_bytes(&entry.to_bytes()).as_ref(), Ok(&entry));
    }
    if let Ok(entry) = ZoneEntry::from_bytes(bytes) {
        assert_eq!(ZoneEntry::from_bytes(&entry.to_bytes()).as_ref(), Ok(&entry));
    }
    if let Ok(search) = PowSearch::from_bytes(bytes) {
        let _ = search.average();
    }
});
