//! Signed objects: heads, headers, certificates and writer sets.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use p2p_drives::{Certificate, Head, Header, Signed, WriterSet};

fuzz_target!(|bytes: &[u8]| {
    let bytes = Bytes::copy_from_slice(bytes);
    let _ = Signed::<Head>::decode(bytes.clone());
    let _ = Signed::<Header>::decode(bytes.clone());
    let _ = Signed::<Certificate>::decode(bytes.clone());
    let _ = Signed::<WriterSet>::decode(bytes);
});
